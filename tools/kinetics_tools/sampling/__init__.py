"""Frames of clips for video models: samplers, crops, `Frames` for datasets, and collation."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports
from kinetics_tools.sampling.collate import as_torch, collate, has_torch
from kinetics_tools.sampling.crops import (
    CenterCrop,
    Framing,
    RandomCrop,
    RandomResizedCrop,
    Scale,
    ShortSide,
    ThreeCrops,
)
from kinetics_tools.sampling.frames import Frames, FramesDataset
from kinetics_tools.sampling.samplers import GRID, EveryClip, RandomClip, Sampler, Seconds, Segments, UniformClips

if TYPE_CHECKING:
    from kinetics_tools.sampling.shards import shuffle_shards
    from kinetics_tools.sampling.torchvision_compat import KineticsClips

__all__ = [
    "GRID",
    "CenterCrop",
    "EveryClip",
    "Frames",
    "FramesDataset",
    "Framing",
    "KineticsClips",
    "RandomClip",
    "RandomCrop",
    "RandomResizedCrop",
    "Sampler",
    "Scale",
    "Seconds",
    "Segments",
    "ShortSide",
    "ThreeCrops",
    "UniformClips",
    "as_torch",
    "collate",
    "has_torch",
    "shuffle_shards",
]

# They import `datasets`, annotations and sources, which the workers of a loader do not need.
__getattr__ = lazy_exports(__name__, {"shards": ["shuffle_shards"], "torchvision_compat": ["KineticsClips"]})
