"""Sources of clips: clip directories, archives and the public mirror."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.sources.archives import ArchiveSource, ArchiveStream, read_keys
    from kinetics_tools.sources.class_folders import check_class_folders
    from kinetics_tools.sources.clips import ClipFinder, FileSource, check_data_dir
    from kinetics_tools.sources.decoder import decoder_problem, will_decode
    from kinetics_tools.sources.embed import embed_bytes
    from kinetics_tools.sources.mirror import archive_urls
    from kinetics_tools.sources.replacements import (
        REPLACEMENTS_NAME,
        has_replacements,
        replaced_clip,
        replacement_archives,
        replacement_clips,
        replacement_directories,
    )
    from kinetics_tools.sources.tables import clip_tables, local_clips
    from kinetics_tools.sources.tree import (
        SplitFiles,
        clips_below,
        extraction,
        file_order,
        is_prepared,
        layout_hint,
        scan_directory,
        scan_split,
        split_directories,
        tree_state,
    )

__all__ = [
    "REPLACEMENTS_NAME",
    "ArchiveSource",
    "ArchiveStream",
    "ClipFinder",
    "FileSource",
    "SplitFiles",
    "archive_urls",
    "check_class_folders",
    "check_data_dir",
    "clip_tables",
    "clips_below",
    "decoder_problem",
    "embed_bytes",
    "extraction",
    "file_order",
    "has_replacements",
    "is_prepared",
    "layout_hint",
    "local_clips",
    "read_keys",
    "replaced_clip",
    "replacement_archives",
    "replacement_clips",
    "replacement_directories",
    "scan_directory",
    "scan_split",
    "split_directories",
    "tree_state",
    "will_decode",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "archives": ["ArchiveSource", "ArchiveStream", "read_keys"],
        "class_folders": ["check_class_folders"],
        "clips": ["ClipFinder", "FileSource", "check_data_dir"],
        "decoder": ["decoder_problem", "will_decode"],
        "embed": ["embed_bytes"],
        "mirror": ["archive_urls"],
        "replacements": [
            "REPLACEMENTS_NAME",
            "has_replacements",
            "replaced_clip",
            "replacement_archives",
            "replacement_clips",
            "replacement_directories",
        ],
        "tables": ["clip_tables", "local_clips"],
        "tree": [
            "SplitFiles",
            "clips_below",
            "extraction",
            "file_order",
            "is_prepared",
            "layout_hint",
            "scan_directory",
            "scan_split",
            "split_directories",
            "tree_state",
        ],
    },
)
