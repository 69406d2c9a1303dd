"""Checks of arguments that several functions take, each with one wording of its rule."""

import math
from numbers import Integral, Real
from typing import Any


def check_whole(least: int = 1, **values: Any) -> None:
    """Raises ValueError for a value that is no whole number of at least `least`, naming it."""
    for name, value in values.items():
        if not is_whole(value, least):
            raise ValueError(f"{name}={value!r}: must be a whole number, at least {least}")


def check_positive(**values: Any) -> None:
    """Raises ValueError for a value that is no finite number over 0, naming it."""
    for name, value in values.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
            raise ValueError(f"{name}={value!r}: must be a number over 0")


def is_whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
