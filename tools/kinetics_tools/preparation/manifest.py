"""Manifest of a release, prepare.json: the options of each split, and its dropped clips."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kinetics_tools.io import Folder, check_shape, parse_json
from kinetics_tools.preparation.parquet import DROPPED_SHAPE
from kinetics_tools.preparation.report import MANIFEST_NAME, Report, SplitReport
from kinetics_tools.releases import LABELS, SPLITS

LOCK_NAME = ".prepare.lock"
"""File name of the lock beside the releases, held by writers of a manifest or the card."""

_BASIS_SHAPE = {
    **dict.fromkeys(("annotated", "wanted"), int),
    **dict.fromkeys(("seed", "clips_per_shard"), (int, None)),
    **dict.fromkeys(("annotations", "subset", "exclude_by"), (str, None)),
    "classes": ([str], None),
    "excluded": ({str: int}, None),
}
# Fields that may be null were added later.
_ENTRY_SHAPE = {
    **dict.fromkeys(("fingerprint", "files"), str),
    **dict.fromkeys(("shards", "shards_done", "clips", "rows", "bytes_out"), int),
    "bytes_in": (int, None),
    "seconds": float,
    "dropped": {str: int},
    "absent": ([str], None),
    "unusable": ([DROPPED_SHAPE], None),
    "basis": (_BASIS_SHAPE, None),
    "options": ({str: object}, None),
    "made_with": ({str: str}, None),
    "per_class": ([int], None),
    "content": (str, None),
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
        found: dict[str, Any] = parse_json(content, {"splits": {str: {str: object}}})
        for split, entry in found["splits"].items():
            _check_entry(release, split, entry)
            found["splits"][split] = {name: value for name, value in entry.items() if value is not None}
    except ValueError as error:
        raise ValueError(
            f"{where} is corrupt; remove it, and prepare or push each of its splits again ({error})"
        ) from None
    return found


def _check_entry(release: str, split: str, entry: Mapping[str, Any]) -> None:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}")
    basis = entry.get("basis")
    check_shape({**entry, "basis": None if basis == {} else basis}, _ENTRY_SHAPE)
    if not re.fullmatch("[0-9a-f]{8}", entry["fingerprint"]):
        raise ValueError(f"fingerprint of {split} must be 8 hexadecimal digits, got {entry['fingerprint']!r}")
    if len(entry.get("per_class") or LABELS[release]) != len(LABELS[release]):
        raise ValueError(f"per_class of {split} must have {len(LABELS[release])} numbers")
    # The card names these files to `datasets`.
    files = f"{release}/{split}-*-of-{entry['shards']:05d}-{entry['fingerprint']}.parquet"
    if entry["files"] != files:
        raise ValueError(f"files of {split} must be {files!r}, got {entry['files']!r}")


def put_split(manifest: dict[str, Any], split: str, entry: dict[str, Any]) -> None:
    """Add or replace the entry of a split. The splits stay in their usual order."""
    splits = {**manifest["splits"], split: entry}
    manifest["splits"] = {name: splits[name] for name in SPLITS if name in splits}


def manifest_entry(split: SplitReport, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a split; `about` has its options, and its versions if no shard names them."""
    values = {name: value for name, value in asdict(split).items() if value is not None}
    versions = values.pop("made_with") or about.get("made_with", {})
    return {**values, **about, "made_with": versions}


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """Return a manifest as JSON, with the names of missing clips and the counts of classes on one line each."""
    text = json.dumps(manifest, indent=2)
    text = re.sub(r'("absent"|"per_class"): (\[\n(?:.*\n)*? +\])', _on_one_line, text)
    return f"{text}\n".encode()


def _on_one_line(found: re.Match[str]) -> str:
    return f"{found[1]}: {json.dumps(json.loads(found[2]))}"


def write_manifest(folder: Folder, report: Report) -> bool:
    """Write the splits of a report into the manifest, and keep its other splits.

    Return True if the manifest has changed.
    """
    manifest = read_manifest(folder, report.release)
    before = json.dumps(manifest)
    for name, split in report.splits.items():
        known = manifest["splits"].get(name, {})
        versions = known.get("made_with", {}) if known.get("fingerprint") == split.fingerprint else {}
        put_split(manifest, name, manifest_entry(split, {"options": dict(report.options), "made_with": versions}))
    if json.dumps(manifest) == before:
        return False
    folder.write(f"{report.release}/{MANIFEST_NAME}", manifest_bytes(manifest))
    return True
