"""Synthetic sample of Kinetics, and a walk through the main tasks on it."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.demo.sample import make_sample
    from kinetics_tools.demo.walk import run_demo

__all__ = ["make_sample", "run_demo"]

__getattr__ = lazy_exports(__name__, {"sample": ["make_sample"], "walk": ["run_demo"]})
