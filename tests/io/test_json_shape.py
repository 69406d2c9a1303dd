"""JSON from outside: what is not of the expected shape is a ValueError, whatever it is."""

import contextlib
import gc
import json
import sys
import time

import pytest

from kinetics_tools.io import check_shape, parse_json

ENTRY = {"key": str, "bytes": (None, int), "deep": bool, "fps": float, "error": (None, {str: str})}


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ('{"key": "a", "deep": true, "fps": 25, "more": 1}', ENTRY),
        ('{"key": "a", "bytes": null, "deep": false, "fps": 29.97, "error": {"class": "b"}}', ENTRY),
        ("[]", [int]),
        ('["a", 1, [2.5]]', [str, int, [float]]),
        ('[null, "a", 3]', [(None, str, int)]),
        ('{"a": {"b": [{}]}}', object),
        (b'{"a": 9223372036854775807}', {str: int}),
    ],
)
def test_a_value_of_the_shape_is_returned(text, shape):
    assert parse_json(text, shape) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "shape", "problem"),
    [
        ("{", object, "Expecting property name"),
        (b'"\xff"', object, "invalid start byte"),
        ("[" * 100_000, object, "nested too deeply"),
        ('{"a":' * 100_000, object, "nested too deeply"),
        ("[]", ENTRY, r"value must be an object, got \[\]"),
        ("{}", ENTRY, "^value.key is missing$"),
        ('{"key": "a", "deep": 1, "fps": 1}', ENTRY, "value.deep must be true or false, got 1"),
        ('{"key": "a", "deep": true, "fps": true}', ENTRY, "value.fps must be a finite number, got True"),
        ('{"key": "a", "deep": true, "fps": 1e999}', ENTRY, "value.fps must be a finite number, got inf"),
        ('{"key": "a", "deep": true, "fps": 1, "error": {"b": 3}}', ENTRY, "value.error.b must be a string, got 3"),
        ('[1, "2"]', [int], r"value\[1\] must be an integer of 64 bits, got '2'"),
        ("[18446744073709551616]", [int], r"value\[0\] must be an integer of 64 bits"),
        (f"[1{'0' * 400}]", [float], r"value\[0\] must be a finite number"),
        ("[1.0]", [int], r"value\[0\] must be an integer of 64 bits, got 1.0"),
        ("[1, 2]", [int, int, int], r"value must have 3 items, got \[1, 2\]"),
        ('"abc"', [str], "value must be an array, got 'abc'"),
    ],
)
def test_any_other_value_is_an_error_that_names_the_part(text, shape, problem):
    with pytest.raises(ValueError, match=problem):
        parse_json(text, shape)


def test_messages_are_short_and_without_control_characters():
    title = "\x1b]0;title\x07" * 100_000
    for value, shape in (([title], [int]), ({title: title}, {str: int})):
        with pytest.raises(ValueError, match="must be an integer") as info:
            check_shape(value, shape)
        assert len(str(info.value)) < 200
        assert str(info.value).isprintable()


def test_no_garbage_is_collected_while_a_text_is_parsed():
    text, collected = json.dumps([{"a": []}] * 20_000), []
    gc.callbacks.append(lambda phase, info: collected.append(phase))
    try:
        gc.collect()
        collected.clear()
        json.loads(text)
        assert len(collected) > 10
        collected.clear()
        parse_json(text)
        assert len(collected) <= 2  # the one that is due afterwards
    finally:
        gc.callbacks.pop()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_stays_as_it_was(enabled):
    set_collector = gc.enable if enabled else gc.disable
    try:
        for text in ("[]", "{"):
            set_collector()
            with contextlib.suppress(ValueError):
                parse_json(text)
            assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_the_limit_of_recursion_stays_with_the_caller():
    limit = sys.getrecursionlimit()
    started = time.monotonic()
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 1_000_000)
    assert time.monotonic() - started < 10
    assert sys.getrecursionlimit() == limit
