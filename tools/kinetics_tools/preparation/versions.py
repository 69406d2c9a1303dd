"""Versions of the libraries that decide the bytes of shards. Shards of several versions are not mixed by default."""

import functools
import socket
from collections.abc import Iterable, Mapping
from importlib.metadata import version

_LIBRARIES = ("kinetics-dataset", "av", "pyarrow")
_UNKNOWN = "an unknown version"  # of shards whose footer has none, because an early release wrote them
_AND = " and "

Versions = Mapping[str, str]


@functools.cache  # of this process, although they may be upgraded meanwhile
def made_with() -> dict[str, str]:
    """Return the versions of the libraries of this machine that decide the bytes of shards."""
    return {name: version(name) for name in _LIBRARIES}


def merge_versions(made: Iterable[Versions]) -> dict[str, str]:
    """Return library -> version of shards, such as "18.1.0", or "17.0.0 and 18.1.0" for a mixture.

    It is empty if no shard names its versions.
    """
    distinct = {tuple(sorted(one.items())) for one in made}
    if distinct == {()}:
        return {}
    found = [dict(one) for one in distinct]
    names = dict.fromkeys(name for name in (*_LIBRARIES, *(name for one in found for name in one)))
    return {name: _AND.join(sorted({one.get(name, _UNKNOWN) for one in found})) for name in names if found}


def check_versions(made: Iterable[Versions], where: str) -> None:
    """Raise ValueError if shards are made with several versions of a library. The message calls them `where`."""
    merged = merge_versions(made := list(made))
    mixed = [name for name, versions in merged.items() if _AND in versions]
    if mixed:
        sets = {", ".join(f"{name} {one[name]}" for name in mixed if name in one) or "unknown versions" for one in made}
        here = ", ".join(f"{name} {made_with()[name]}" for name in mixed if name in made_with())
        raise ValueError(
            f"{where} would mix shards made with {' and shards made with '.join(sorted(sets))}, whose bytes may "
            f"differ; {socket.gethostname()} has {here}. Install the same versions everywhere, choose another "
            "directory, or pass allow_mixed_versions"
        )
