"""A small made-up Kinetics, and a walk through the main job on it."""

from kinetics_tools.demo.sample import make_sample
from kinetics_tools.demo.walk import run_demo

__all__ = ["make_sample", "run_demo"]
