"""Text for people."""

from itertools import count

import pytest

from kinetics_tools.text import as_names, few, format_size, printable


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345_678, "12.3 MB"), (4.5e12, "4,500.00 GB")]
)
def test_sizes_for_people(count, text):
    assert format_size(count) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abseiling/ä 字 😀.mp4", "abseiling/ä 字 😀.mp4"),
        ("\x1b]0;title\x07\x1b[31m", "\\x1b]0;title\\x07\\x1b[31m"),
        ("a\nb\r\tc\x7f\x85", "a\\nb\\r\\tc\\x7f\\x85"),
        ("\u202emp4.exe\u2028\ufeff", "\\u202emp4.exe\\u2028\\ufeff"),  # right to left, a line end, a mark
        ("\udcff.mp4", "\\udcff.mp4"),  # invalid UTF-8 in the name of a file
        ("C:\\clips", "C:\\clips"),
    ],
)
def test_text_from_outside_is_one_line_without_control_characters(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


def test_text_from_outside_may_be_shortened():
    assert (printable("abcdef", 3), printable("abc", 3)) == ("abc...", "abc")


def test_names_in_texts_and_iterables():
    assert as_names("a,b c , ,") == as_names(["a", "b c,"]) == as_names(one for one in ("a,b c",)) == ["a", "b c"]
    assert (as_names([400, "600,700"]), as_names([]), as_names(None), as_names(5)) == ([400, "600", "700"], [], None, 5)


def test_a_few_of_many_names_takes_no_more_than_it_shows():
    names = map(str, count())
    assert few(names) == "0, 1, 2, ..."
    assert next(names) == "4"
    assert few(["a", "b"]) == "a, b"
