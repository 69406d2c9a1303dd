"""Prepared folders without video: shards as `prepare` writes them, of rows that are made."""

import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation.card import write_card
from kinetics_tools.preparation.clip import DroppedClip
from kinetics_tools.preparation.manifest import write_manifest
from kinetics_tools.preparation.parquet import FORMAT, ShardReport, ShardWriter, prepared_features
from kinetics_tools.preparation.plan import ShardPlan
from kinetics_tools.preparation.report import Report, SplitReport
from kinetics_tools.releases import LABELS


def plan_of(release: str, split: str, clips: int, shards: int, crf: int = 23) -> ShardPlan:
    """Return the plan of clips whose ids begin with the release and split; `crf` stands for all options."""
    name = f"{release[-3:]}{split[:2]}"
    table = pa.table(
        {
            "label": pa.array([row % 400 for row in range(clips)], pa.int64()),
            "youtube_id": [f"{name}{row:06d}" for row in range(clips)],
            "time_start": pa.array([float(row % 300) for row in range(clips)], pa.float32()),
            "time_end": pa.array([float(row % 300 + 10) for row in range(clips)], pa.float32()),
        }
    ).replace_schema_metadata({"annotated": str(clips), "annotations": f"{split}.csv"})
    options = {"profile": "train", "crf": crf, **FORMAT}
    plan = ShardPlan.of(table, release=release, split=split, clips_per_shard=-(-clips // shards), options=options)
    assert plan.count == shards, f"{clips} clips make {plan.count} shards, not {shards}"
    return plan


def write_shard(
    store: Folder, plan: ShardPlan, shard: int, *, clip_bytes: int, absent: Iterable[str] = ()
) -> ShardReport:
    """One of a plan; of each clip the bytes are a function of its name, the options and the size."""
    dropped, rows, per_class = [], 0, [0] * len(LABELS[plan.release])
    with (
        store.writing(plan.name(shard)) as file,
        ShardWriter(file, prepared_features(plan.release)) as writer,
    ):
        for row in plan.rows(shard).to_pylist():
            if row["youtube_id"] in absent:
                dropped.append(DroppedClip(row["name"], "absent"))
                continue
            content = random.Random(f"{row['name']} {plan.fingerprint}").randbytes(clip_bytes)
            measured = {"duration": 10.0, "fps": 25.0, "num_frames": 250, "width": 340, "height": 256}
            keys = {name: row[name] for name in ("label", "youtube_id", "time_start", "time_end")}
            video = {"bytes": content, "path": f"{row['name']}.mp4"}
            writer.add({"video": video, **keys, **measured, "has_audio": False})
            rows += 1
            per_class[row["label"]] += 1
        size = rows * clip_bytes
        clips = len(plan.rows(shard))
        counts = (clips, rows, size, size, 10.0 * rows, tuple(dropped))
        report = ShardReport(plan.fingerprint, *counts, per_class=tuple(per_class))
        writer.report(report)
    return report


def write_prepared(
    out: Path | str,
    release: str,
    split: str,
    *,
    shards: int = 8,
    clips: int | None = None,
    clip_bytes: int = 500,
    crf: int = 23,
    absent: Iterable[str] = (),
    only: Iterable[int] | None = None,
) -> ShardPlan:
    """A split in `out`; with `only`, these of its shards."""
    store, plan = Folder(out), plan_of(release, split, clips or 3 * shards, shards, crf)
    finished = {
        shard: write_shard(store, plan, shard, clip_bytes=clip_bytes, absent=absent)
        for shard in (range(plan.count) if only is None else only)
    }
    options: dict[str, Any] = {"profile": "train", "crf": crf, **FORMAT}
    report = Report(release=release, out=store.url, options=options, splits={}, to_make=0)
    write_manifest(store, replace(report, splits={split: SplitReport.of(plan, finished)}))
    write_card(store)
    return plan
