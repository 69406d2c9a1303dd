"""JSON from outside: parsed, and checked for its shape before it is used."""

import json
import math
import reprlib
from typing import Any

from kinetics_tools.text import printable

_NAMES = {str: "a string", bool: "true or false", int: "an integer of 64 bits", float: "a finite number", None: "null"}


def parse_json(content: str | bytes, shape: Any = object, **options: Any) -> Any:
    """Return the value of a JSON text, which must have `shape`; see `check_shape`.

    `options` are those of `json.loads`.

    Raises:
        ValueError: the text is not valid JSON, is nested too deeply, or has another shape.
    """
    try:
        value = json.loads(content, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return check_shape(value, shape)


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
        raise ValueError(f"value{problem}")
    return value


def _problem(value: Any, shape: Any) -> str | None:
    """Return where and how `value` differs, such as ".rows must be ..."; None if it does not."""
    if isinstance(shape, tuple):
        problem = None
        for one in shape:
            problem = _problem(value, one)
            if problem is None:
                return None
        return problem
    if isinstance(shape, dict):
        return _problem_of_object(value, shape)
    if isinstance(shape, list):
        return _problem_of_array(value, shape)
    if shape is int or (shape is float and isinstance(value, int)):
        is_good = type(value) is int and -(1 << 63) <= value < 1 << 63  # so no bool
    elif shape is float:
        is_good = isinstance(value, float) and math.isfinite(value)
    else:
        is_good = value is None if shape is None else isinstance(value, shape)
    return None if is_good else f" must be {_NAMES[shape]}, got {reprlib.repr(value)}"


def _problem_of_object(value: Any, shape: dict[Any, Any]) -> str | None:
    if not isinstance(value, dict):
        return f" must be an object, got {reprlib.repr(value)}"
    fields = dict.fromkeys(value, shape[str]) if str in shape else shape
    for name, one in fields.items():
        problem = _problem(value.get(name), one)
        if problem is not None:
            return f".{printable(name, 40)}{problem}" if name in value else f" has no {name!r}"
    return None


def _problem_of_array(value: Any, shape: list[Any]) -> str | None:
    if not isinstance(value, list):
        return f" must be an array, got {reprlib.repr(value)}"
    if len(shape) > 1 and len(shape) != len(value):
        return f" must have {len(shape)} items, got {len(value):,}"
    for number, item in enumerate(value):
        problem = _problem(item, shape[number if len(shape) > 1 else 0])
        if problem is not None:
            return f"[{number}]{problem}"
    return None
