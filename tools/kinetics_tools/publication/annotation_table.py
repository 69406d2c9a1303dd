"""Table of the annotated clips of a preparation without video, for publishers without the right to share clips."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinetics_tools.annotations import annotation_file
from kinetics_tools.annotations.read import clip_names, drop_repeats, read_split
from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation import (
    FOOTER_KEY,
    MANIFEST_NAME,
    ShardReport,
    SplitReport,
    made_with,
    manifest_bytes,
    manifest_entry,
    parse_manifest,
    put_split,
    read_report,
    total_per_class,
)
from kinetics_tools.preparation.card import annotation_features
from kinetics_tools.publication.parts import Part

_KEYS = ["label", "youtube_id", "time_start", "time_end"]


def write_annotation_table(
    store: Folder, parts: Iterable[Part], target: Folder, *, annotations: str | None = None
) -> None:
    """Write one file of keys, labels and segments per part into `target`, with a prepare.json that `push` reads.

    Its fingerprint is a hash of its rows. Labels of dropped clips, which no shard has, come from `annotations`, by
    default the published ones.

    Raises:
        FileNotFoundError: a shard is missing.
        ValueError: a shard is corrupt, or a dropped clip is not in the annotations.
    """
    manifests: dict[str, dict[str, Any]] = {}
    for part in parts:
        table, reports = _read_shards(store, part)
        dropped = {one.name: one.reason for report in reports for one in report.dropped}
        if dropped:
            table = pa.concat_tables([table, _dropped_rows(part, dropped, annotations).cast(table.schema)])
        table = table.sort_by([("youtube_id", "ascending"), ("time_start", "ascending")]).combine_chunks()
        digest = hashlib.sha256(f"{part.fingerprint} {table.num_rows}".encode())
        for row in table.to_pylist():
            digest.update(json.dumps(row).encode())
        fingerprint = digest.hexdigest()[:8]
        pattern = f"{part.release}/{part.split}-*-of-00001-{fingerprint}.parquet"
        listed = Part(part.release, part.split, 1, fingerprint, pattern, {"content": "annotations", **part.about})
        report = ShardReport(
            fingerprint=fingerprint,
            clips=table.num_rows,
            rows=table.num_rows,
            bytes_in=0,
            bytes_out=0,
            seconds=round(sum(one.seconds for one in reports), 3),
            dropped=tuple(one for report in reports for one in report.dropped),
            made_with=made_with(),
            per_class=total_per_class(reports),
        )
        metadata = {**table.schema.metadata, FOOTER_KEY.encode(): json.dumps(asdict(report)).encode()}
        with target.writing(pattern.replace("*", "00000")) as file:
            pq.write_table(table.replace_schema_metadata(metadata), file)
        manifest = manifests.setdefault(part.release, parse_manifest(part.release, ""))
        put_split(manifest, part.split, manifest_entry(SplitReport.of(listed, {0: report}), listed.about))
    for release, manifest in manifests.items():
        target.write(f"{release}/{MANIFEST_NAME}", manifest_bytes(manifest))


def _read_shards(store: Folder, part: Part) -> tuple[pa.Table, list[ShardReport]]:
    """Return a row of each prepared clip, and the report of each shard."""
    schema = annotation_features(part.release).arrow_schema
    tables, reports = [], []
    names = [name for name in sorted(store.sizes(part.release)) if part.shard(f"{part.release}/{name}") is not None]
    if len(names) != part.count:
        raise FileNotFoundError(
            f"{store.url} has {len(names):,} of {part.count:,} shards of {part.title}; run `kinetics prepare` first"
        )
    for name in names:
        with store.open(f"{part.release}/{name}") as file:
            report = read_report(file)
            if report is None:
                raise ValueError(f"{store.path(part.release)}/{name} is corrupt; remove it and prepare it again")
            try:
                table = pq.read_table(file, columns=_KEYS)
                columns = [*(table[key] for key in _KEYS), pa.array([True] * len(table)), pa.nulls(len(table))]
                tables.append(pa.Table.from_arrays(columns, names=schema.names).cast(schema))
            except (pa.ArrowException, KeyError) as error:
                raise ValueError(f"{store.path(part.release)}/{name} is corrupt ({error}); prepare it again") from None
            reports.append(report)
    return pa.concat_tables(tables), reports


def _dropped_rows(part: Part, reasons: Mapping[str, str], annotations: str | None) -> pa.Table:
    path = annotation_file(part.release, part.split, annotations=annotations)
    table = drop_repeats(read_split(path, part.release, part.split), path)
    names = clip_names(table).to_pylist()
    rows = [row for row, name in enumerate(names) if name in reasons]
    if len(rows) != len(reasons):
        unknown = next(iter(reasons.keys() - set(names)))
        raise ValueError(f"{unknown} of {part.title} is not in {path}; pass the annotations that it was prepared with")
    keys = table.take(rows)
    columns = [*(keys[key] for key in _KEYS), pa.array([False] * len(rows))]
    columns.append(pa.array([reasons[names[row]] for row in rows]))
    return pa.Table.from_arrays(columns, names=[*_KEYS, "available", "reason"])
