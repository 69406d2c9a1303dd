"""Probes of many clips: worker processes, and the cache that `verify` and `KineticsClips` share."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.probing.cache import ProbeCache, open_cache
    from kinetics_tools.probing.clip_probe import ClipProbe, FileState, PackedProbe, digest, file_state, probe_clip
    from kinetics_tools.probing.files import FileProber, probe_bar, probe_files, probe_items
    from kinetics_tools.probing.table import ProbeTable

__all__ = [
    "ClipProbe",
    "FileProber",
    "FileState",
    "PackedProbe",
    "ProbeCache",
    "ProbeTable",
    "digest",
    "file_state",
    "open_cache",
    "probe_bar",
    "probe_clip",
    "probe_files",
    "probe_items",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "cache": ["ProbeCache", "open_cache"],
        "clip_probe": ["ClipProbe", "FileState", "PackedProbe", "digest", "file_state", "probe_clip"],
        "files": ["FileProber", "probe_bar", "probe_files", "probe_items"],
        "table": ["ProbeTable"],
    },
)
