"""Preparation of Parquet shards that plain `datasets` loads and streams."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.preparation.clip import DroppedClip
    from kinetics_tools.preparation.manifest import (
        LOCK_NAME,
        manifest_bytes,
        manifest_entry,
        parse_manifest,
        put_split,
        read_manifest,
    )
    from kinetics_tools.preparation.options import PrepareOptions
    from kinetics_tools.preparation.parquet import (
        DROPPED_SHAPE,
        FOOTER_BYTES,
        FOOTER_KEY,
        FORMAT,
        ShardReport,
        prepared_features,
        read_footer,
        read_report,
    )
    from kinetics_tools.preparation.plan import ShardPlan, parse_name, plan_shards
    from kinetics_tools.preparation.report import MANIFEST_NAME, SplitReport, total_per_class
    from kinetics_tools.preparation.run import parse_shards, prepare
    from kinetics_tools.preparation.shard import Job, prepare_shard
    from kinetics_tools.preparation.versions import check_versions, made_with

__all__ = [
    "DROPPED_SHAPE",
    "FOOTER_BYTES",
    "FOOTER_KEY",
    "FORMAT",
    "LOCK_NAME",
    "MANIFEST_NAME",
    "DroppedClip",
    "Job",
    "PrepareOptions",
    "ShardPlan",
    "ShardReport",
    "SplitReport",
    "check_versions",
    "made_with",
    "manifest_bytes",
    "manifest_entry",
    "parse_manifest",
    "parse_name",
    "parse_shards",
    "plan_shards",
    "prepare",
    "prepare_shard",
    "prepared_features",
    "put_split",
    "read_footer",
    "read_manifest",
    "read_report",
    "total_per_class",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "clip": ["DroppedClip"],
        "manifest": [
            "LOCK_NAME",
            "manifest_bytes",
            "manifest_entry",
            "parse_manifest",
            "put_split",
            "read_manifest",
        ],
        "options": ["PrepareOptions"],
        "parquet": [
            "DROPPED_SHAPE",
            "FOOTER_BYTES",
            "FOOTER_KEY",
            "FORMAT",
            "ShardReport",
            "prepared_features",
            "read_footer",
            "read_report",
        ],
        "plan": ["ShardPlan", "parse_name", "plan_shards"],
        "report": ["MANIFEST_NAME", "SplitReport", "total_per_class"],
        "run": ["parse_shards", "prepare"],
        "shard": ["Job", "prepare_shard"],
        "versions": ["check_versions", "made_with"],
    },
)
