"""Manifest of a release, prepare.json: the options of each split, and its dropped clips."""

import json
import re
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from kinetics_tools.io import Folder
from kinetics_tools.preparation.report import MANIFEST_NAME, Report
from kinetics_tools.releases import SPLITS

LOCK_NAME = ".prepare.lock"
"""File name of the lock beside the releases, held by writers of a manifest or the card."""
_MADE_WITH = ("kinetics-dataset", "av", "pyarrow", "datasets")
# What every manifest has of a split; "absent", "basis" and "made_with" were added later.
_FIELDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("fingerprint", "files"), str),
    **dict.fromkeys(("shards", "shards_done", "clips", "rows", "bytes_out"), int),
    "dropped": dict,
    "seconds": (int, float),
}


def read_manifest(folder: Folder, release: str) -> dict[str, Any]:
    """Return the manifest of a release, with "splits" empty if there is none.

    Raises:
        ValueError: it is corrupt.
    """
    name = f"{release}/{MANIFEST_NAME}"
    try:
        content = folder.read(name)
    except FileNotFoundError:
        content = b""
    return parse_manifest(release, content, where=folder.path(name))


def parse_manifest(release: str, content: str | bytes, *, where: str = MANIFEST_NAME) -> dict[str, Any]:
    """Return the manifest in `content`, which may be empty. The ValueError for a corrupt one calls it `where`."""
    if not content:
        return {"release": release, "splits": {}}
    try:
        found: Any = json.loads(content)
    except ValueError:
        found = None
    splits = found.get("splits") if isinstance(found, dict) else None
    if not isinstance(splits, dict) or not all(map(_is_valid, splits.values())):
        raise ValueError(f"{where} is corrupt; remove it, and prepare or push each of its splits again")
    return dict(found)


def _is_valid(entry: Any) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in _FIELDS.items())


def put_split(manifest: dict[str, Any], split: str, entry: dict[str, Any]) -> None:
    """Add or replace the entry of a split. The splits stay in their usual order."""
    splits = {**manifest["splits"], split: entry}
    manifest["splits"] = {name: splits[name] for name in SPLITS if name in splits}


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """Return a manifest as JSON, with the names of missing clips on one line."""
    text = json.dumps(manifest, indent=2)
    text = re.sub(r'(?<="absent": )\[[^]]*\]', lambda found: json.dumps(json.loads(found[0])), text)
    return f"{text}\n".encode()


def made_with() -> dict[str, str]:
    """Return the versions of the libraries that decide the bytes of shards."""
    return {name: version(name) for name in _MADE_WITH}


def write_manifest(folder: Folder, report: Report) -> bool:
    """Write the splits of a report into the manifest, and keep its other splits.

    Return True if the manifest has changed.
    """
    manifest = read_manifest(folder, report.release)
    before = json.dumps(manifest)
    for name, split in report.splits.items():
        put_split(manifest, name, {**asdict(split), "options": dict(report.options), "made_with": made_with()})
    if json.dumps(manifest) == before:
        return False
    folder.write(f"{report.release}/{MANIFEST_NAME}", manifest_bytes(manifest))
    return True
