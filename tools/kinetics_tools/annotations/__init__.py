"""Annotations: reading and finding them, class names, and which clips are asked for."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.annotations.find import annotation_file, annotations_of_tree, find_annotations
    from kinetics_tools.annotations.index import ClipIndex
    from kinetics_tools.annotations.labels import (
        find_label,
        from_torchvision,
        label_index,
        label_indices,
        misfit,
        normalize_label,
        to_torchvision,
    )
    from kinetics_tools.annotations.other_split import OtherSplit, shares_video
    from kinetics_tools.annotations.read import (
        ANNOTATION_SCHEMA,
        YOUTUBE_ID,
        clip_name,
        clip_names,
        drop_repeats,
        is_json,
        read_annotations,
        read_split,
    )
    from kinetics_tools.annotations.renames import map_index, map_label
    from kinetics_tools.annotations.selection import Selection, as_list, seeded_order
    from kinetics_tools.annotations.spaces import MERGED, MERGED_CLASSES, SPACES, LabelSpace, label_space, spaces_of
    from kinetics_tools.annotations.subsets import SUBSETS, read_subset

__all__ = [
    "ANNOTATION_SCHEMA",
    "MERGED",
    "MERGED_CLASSES",
    "SPACES",
    "SUBSETS",
    "YOUTUBE_ID",
    "ClipIndex",
    "LabelSpace",
    "OtherSplit",
    "Selection",
    "annotation_file",
    "annotations_of_tree",
    "as_list",
    "clip_name",
    "clip_names",
    "drop_repeats",
    "find_annotations",
    "find_label",
    "from_torchvision",
    "is_json",
    "label_index",
    "label_indices",
    "label_space",
    "map_index",
    "map_label",
    "misfit",
    "normalize_label",
    "read_annotations",
    "read_split",
    "read_subset",
    "seeded_order",
    "shares_video",
    "spaces_of",
    "to_torchvision",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "find": ["annotation_file", "annotations_of_tree", "find_annotations"],
        "index": ["ClipIndex"],
        "labels": [
            "find_label",
            "from_torchvision",
            "label_index",
            "label_indices",
            "misfit",
            "normalize_label",
            "to_torchvision",
        ],
        "other_split": ["OtherSplit", "shares_video"],
        "read": [
            "ANNOTATION_SCHEMA",
            "YOUTUBE_ID",
            "clip_name",
            "clip_names",
            "drop_repeats",
            "is_json",
            "read_annotations",
            "read_split",
        ],
        "renames": ["map_index", "map_label"],
        "selection": ["Selection", "as_list", "seeded_order"],
        "spaces": ["MERGED", "MERGED_CLASSES", "SPACES", "LabelSpace", "label_space", "spaces_of"],
        "subsets": ["SUBSETS", "read_subset"],
    },
)
