"""Checks of arguments that several functions take, each with one wording of its rule."""

import math
from numbers import Integral, Real
from typing import Any


def check_whole(**values: Any) -> None:
    """Raises ValueError for a value that is no whole number of at least 1, naming it."""
    for name, value in values.items():
        if not is_whole(value):
            raise ValueError(f"{name}={value!r}: must be a whole number, at least 1")


def check_positive(**values: Any) -> None:
    """Raises ValueError for a value that is no finite number over 0, naming it."""
    for name, value in values.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
            raise ValueError(f"{name}={value!r}: must be a number over 0")


def is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
