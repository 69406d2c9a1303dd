"""Which annotated clips a preparation has, as a table without video, for those who may not pass clips on."""

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinetics_tools.annotations import annotation_file
from kinetics_tools.annotations.read import clip_names, drop_repeats, read_split
from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation.card import annotation_features
from kinetics_tools.preparation.manifest import MANIFEST_NAME, manifest_bytes, parse_manifest, put_split
from kinetics_tools.preparation.parquet import FOOTER_KEY, ShardReport, read_report
from kinetics_tools.preparation.report import SplitReport
from kinetics_tools.publication.parts import Part

__all__ = ["write_availability"]

_KEYS = ["label", "youtube_id", "time_start", "time_end"]


def write_availability(store: Folder, parts: Iterable[Part], target: Folder, *, annotations: str | None = None) -> None:
    """Writes for each part one file of keys, labels and segments into `target`, with a prepare.json that `push` takes.

    The labels of clips that were dropped are in no shard: they come out of `annotations`, the published ones if None.
    Its name has a hash of what is in it. Raises FileNotFoundError where a shard is not here, and ValueError where a
    dropped clip is not annotated.
    """
    summaries: dict[str, dict[str, Any]] = {}
    for part in parts:
        table, report = _table(store, part, annotations)
        digest = hashlib.sha256(f"{part.fingerprint} {table.num_rows}".encode())
        for row in table.to_pylist():
            digest.update(json.dumps(row).encode())
        mine = Part(
            part.release,
            part.split,
            1,
            digest.hexdigest()[:8],
            f"{part.release}/{part.split}-*-of-00001-{digest.hexdigest()[:8]}.parquet",
            {"content": "annotations", **part.about},
        )
        report = replace(report, fingerprint=mine.fingerprint)
        file = io.BytesIO()
        metadata = {**table.schema.metadata, FOOTER_KEY.encode(): json.dumps(asdict(report)).encode()}
        pq.write_table(table.replace_schema_metadata(metadata), file)
        target.write(mine.pattern.replace("*", "00000"), file.getvalue())
        summary = summaries.setdefault(part.release, parse_manifest(part.release, ""))
        put_split(summary, part.split, {**asdict(SplitReport.of(mine, {0: report})), **mine.about})
    for release, summary in summaries.items():
        target.write(f"{release}/{MANIFEST_NAME}", manifest_bytes(summary))


def _table(store: Folder, part: Part, annotations: str | None) -> tuple[pa.Table, ShardReport]:
    schema = annotation_features(part.release).arrow_schema
    tables, reports = [], []
    names = sorted(name for name in store.sizes(part.release) if part.shard(f"{part.release}/{name}") is not None)
    if len(names) != part.count:
        raise FileNotFoundError(f"{store.url} has {len(names):,} of {part.count:,} files of {part.title}; prepare them")
    for name in names:
        with store.open(f"{part.release}/{name}") as file:
            report = read_report(file)
            if report is None:
                raise ValueError(f"{store.path(part.release)}/{name} is damaged; remove it and prepare it again")
            table = pq.read_table(file, columns=_KEYS)
        reports.append(report)
        there = pa.array([True] * len(table)), pa.nulls(len(table), pa.string())
        columns = [table[key] for key in _KEYS]
        tables.append(pa.Table.from_arrays([*columns, *there], names=schema.names).cast(schema))
    dropped = [one for report in reports for one in report.dropped]
    if dropped:
        tables.append(_dropped(part, {one.name: one.reason for one in dropped}, annotations).cast(schema))
    whole = pa.concat_tables(tables).sort_by([("youtube_id", "ascending"), ("time_start", "ascending")])
    whole = whole.combine_chunks()
    return whole, _sum(reports)


def _dropped(part: Part, reasons: dict[str, str], annotations: str | None) -> pa.Table:
    path = annotation_file(part.release, part.split, annotations=annotations)
    table = drop_repeats(read_split(path, part.release, part.split), path)
    names = clip_names(table).to_pylist()
    rows = [row for row, name in enumerate(names) if name in reasons]
    if len(rows) != len(reasons):
        unknown = next(iter(reasons.keys() - set(names)))
        raise ValueError(f"{unknown} of {part.title} is not in {path}; pass the annotations that it was prepared with")
    table = table.take(rows)
    keys = [table[key] for key in _KEYS]
    missing = pa.array([False] * len(rows)), pa.array([reasons[names[row]] for row in rows])
    return pa.Table.from_arrays([*keys, *missing], names=[*_KEYS, "available", "reason"])


def _sum(reports: list[ShardReport]) -> ShardReport:
    """Of a table that has a row of each clip; without a fingerprint, which is of the table."""
    return ShardReport(
        fingerprint="",
        clips=sum(one.clips for one in reports),
        rows=sum(one.clips for one in reports),
        bytes_in=0,
        bytes_out=0,
        seconds=round(sum(one.seconds for one in reports), 3),
        dropped=tuple(one for report in reports for one in report.dropped),
    )
