"""JSON from outside: parsed, and checked for its shape before it is used."""

import contextlib
import gc
import json
import math
import reprlib
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from kinetics_tools.text import printable

_REASONS = {
    str: "must be a string",
    bool: "must be true or false",
    int: "must be an integer of 64 bits",
    float: "must be a finite number",
    None: "must be null",
}
_MISSING = "is missing"


def parse_json(content: str | bytes, shape: Any = object, **options: Any) -> Any:
    """Return the value of a JSON text, which must have `shape`; see `check_shape`.

    `options` are those of `json.loads`.

    Raises:
        ValueError: the text is not valid JSON, is nested too deeply, or has another shape.
    """
    try:
        with _without_collection():
            value = json.loads(content, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return check_shape(value, shape)


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Pause the garbage collector, which visits each new object several times: over half the time of a large text."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check_shape(value: Any, shape: Any) -> Any:
    """Return `value`, a parsed JSON text, if it has `shape`.

    A shape is one of these:

    - str, bool, int (64 bits), float (finite; integers, too), None for null, or object for any value;
    - [shape] for an array of any length, [shape, shape, ...] for one of this length;
    - {"name": shape, ...} for an object with at least these fields; one that may be null may be missing, too;
    - {str: shape} for an object with any fields;
    - (shape, shape, ...) for any of these shapes.

    Raises:
        ValueError: it has another shape. The message names the first part that differs.
    """
    problem = _problem(value, shape)
    if problem is not None:
        where, reason, found = problem
        got = "" if reason == _MISSING else f", got {reprlib.repr(found)}"
        raise ValueError(f"value{printable(where, 200)} {reason}{got}")
    return value


# Where a value differs, such as ".rows[3]", what must be there, and what is there.
_Problem = tuple[str, str, Any]


def _problem(value: Any, shape: Any) -> _Problem | None:
    """Return how `value` differs from `shape`; None if it does not."""
    kind = type(shape)
    if kind is tuple:
        problem = None
        for one in shape:
            problem = _problem(value, one)
            if problem is None:
                return None
        return problem
    if kind is list:
        return _problem_of_array(value, shape)
    if kind is dict:
        return _problem_of_object(value, shape)
    found = type(value)  # a bool is an instance of int
    if shape is float and found is float:
        is_good = math.isfinite(value)
    elif shape is int or (shape is float and found is int):
        is_good = found is int and -(1 << 63) <= value < 1 << 63
    else:
        is_good = value is None if shape is None else isinstance(value, shape)
    return None if is_good else ("", _REASONS[shape], value)


def _problem_of_object(value: Any, shape: dict[Any, Any]) -> _Problem | None:
    if not isinstance(value, dict):
        return "", "must be an object", value
    for name, one in (dict.fromkeys(value, shape[str]) if str in shape else shape).items():
        problem = _problem(value.get(name), one)
        if problem is not None:
            where, reason, found = problem
            return f".{printable(name, 40)}{where}", reason if name in value else _MISSING, found
    return None


def _problem_of_array(value: Any, shape: list[Any]) -> _Problem | None:
    if not isinstance(value, list):
        return "", "must be an array", value
    if len(shape) > 1 and len(shape) != len(value):
        return "", f"must have {len(shape)} items", value
    for number, (item, one) in enumerate(zip(value, shape if len(shape) > 1 else repeat(shape[0]), strict=False)):
        problem = _problem(item, one)
        if problem is not None:
            where, reason, found = problem
            return f"[{number}]{where}", reason, found
    return None
