"""Clips into Parquet shards that plain `datasets` loads and streams."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.preparation.run import prepare

__all__ = [
    "prepare",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "run": ["prepare"],
    },
)
