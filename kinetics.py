"""Kinetics: clips of human actions, as a dataset for the Hugging Face `datasets` library, in one file.

    >>> import kinetics
    >>> from datasets import load_dataset
    >>> ds = load_dataset("kinetics", "700", data_dir="path/to/clips")      # clips that you have
    >>> ds = load_dataset("kinetics", "700", split="train", streaming=True)  # the public archives

Each clip is a segment of about 10 s of a YouTube video with one of 400, 600 or 700 labels:

    release    classes  clips    archives on the public mirror
    400        400      306,245  456 GB
    600        600      about 495,000  779 GB
    700        700      about 650,000  (its clips lie in the archives of 700-2020)
    700-2020   700      about 644,000  710 GB

Annotations: DeepMind, CC BY 4.0 (https://deepmind.com/research/open-source/kinetics). The videos belong to
those who uploaded them. Public copy of the clips: https://github.com/cvdfoundation/kinetics-dataset.

With `datasets` 4 and newer, which run no dataset scripts, `import kinetics` registers the builder under the
name "kinetics". With `datasets` 3.6 this file works as a script, too:
`load_dataset("./kinetics.py", "700", trust_remote_code=True)`.
"""

import copy
import csv
import difflib
import functools
import hashlib
import http.client
import io
import json
import math
import os
import re
import shutil
import socket
import string
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib import import_module
from itertools import chain
from random import random
from stat import S_ISDIR
from typing import Any, BinaryIO, ClassVar

import datasets
import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from datasets.exceptions import DatasetGenerationError
from datasets.iterable_dataset import ExamplesIterable
from datasets.utils.logging import get_logger
from filelock import FileLock

try:  # quicker than zlib, and installed with us; this file alone does without
    _inflater: Any = import_module("isal.isal_zlib")
except ImportError:
    _inflater = zlib

__version__ = "0.1.0"

__all__ = [
    "ANNOTATION_SCHEMA",
    "LABELS",
    "RELEASES",
    "SPLITS",
    "ArchiveError",
    "ChangedError",
    "DownloadCache",
    "HttpFile",
    "Kinetics",
    "KineticsConfig",
    "annotation_file",
    "annotations_of_tree",
    "archive_urls",
    "clip_name",
    "clip_names",
    "embed_bytes",
    "file_order",
    "find_annotations",
    "find_label",
    "find_split",
    "first_of_each",
    "from_torchvision",
    "label_indices",
    "list_directory",
    "map_index",
    "map_label",
    "read_annotations",
    "read_archive",
    "read_split",
    "replacement_directories",
    "select_clips",
    "size_of",
    "split_directories",
    "to_torchvision",
]

# A child of the library's logger, so that `datasets.logging.set_verbosity_*` rules it.
_logger = get_logger("datasets.kinetics")

# `datasets` replaces `open`, `os.path.isdir` and others in the module of a builder by ones that take URLs and split
# paths at "::", unless it thinks that it has done so. We open URLs ourselves, and paths are paths.
_patched_for_streaming = True

RELEASES = ("400", "600", "700", "700-2020")
SPLITS = ("train", "validation", "test")

# Every spelling of a split that a published annotation file or a directory name uses.
_SPLIT_SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "validate": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}

_VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")
_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
# Whole clips are some MB; what claims more than this is no clip, and Arrow's binary type ends at 2 GiB.
_MAX_CLIP_BYTES = 1 << 30
# Headers of one member: 512 bytes, a long name, extended fields. tarfile reads what they claim to be into memory.
_MAX_HEADER_BYTES = 1 << 20

# Local trees are cut into this many shards, which 1 to 6, 8, 10, 12, 16, 32 and 64 nodes or workers share evenly.
_TREE_SHARDS = 960

_CVDF = "https://s3.amazonaws.com"
_DEEPMIND = "https://storage.googleapis.com"
# The public mirror serves 700 from the archives of 700-2020.
_MIRROR_FOLDERS = {"400": "400", "600": "600", "700": "700_2020", "700-2020": "700_2020"}
# The default edition of the annotations. The mirror's own CSV names what its archives hold, but for 600 it names
# half of them (https://github.com/cvdfoundation/kinetics-dataset/issues/33), and for 700 there is none.
_EDITIONS = {
    "400": _CVDF + "/kinetics/400/annotations",
    "600": _DEEPMIND + "/deepmind-media/Datasets/kinetics600.tar.gz",
    "700": _DEEPMIND + "/deepmind-media/Datasets/kinetics700.tar.gz",
    "700-2020": _CVDF + "/kinetics/700_2020/annotations",
}
# 1,392 clips that replace unreadable ones of the 400 training set, in an archive of their own.
_REPLACEMENTS = "/kinetics/400/replacement_for_corrupted_k400.tgz"

# Rows of the default editions, where two sources agree: for 400 the counts that the mirror's own scripts and
# its users give, for 600 DeepMind's file.
_ROWS = {
    "400": {"train": 246_534, "validation": 19_906, "test": 39_805},
    "600": {"validation": 28_267},
    "700": {},
    "700-2020": {},
}

# Of what a cache holds; another number and caches are made anew.
_STORED_VERSION = datasets.Version("1.0.0")

_HOMEPAGE = "https://deepmind.com/research/open-source/kinetics"
_LICENSE = "Annotations: CC BY 4.0. The videos belong to those who uploaded them."
PAPERS = {
    "400": "https://arxiv.org/abs/1705.06950",
    "600": "https://arxiv.org/abs/1808.01340",
    "700": "https://arxiv.org/abs/1907.06987",
    "700-2020": "https://arxiv.org/abs/2010.10864",
}
CITATIONS = {
    "400": """@article{kay2017kinetics,
  title={The Kinetics Human Action Video Dataset},
  author={Kay, Will and Carreira, Jo{\\~a}o and Simonyan, Karen and Zhang, Brian and Hillier, Chloe and
    Vijayanarasimhan, Sudheendra and Viola, Fabio and Green, Tim and Back, Trevor and Natsev, Paul and
    Suleyman, Mustafa and Zisserman, Andrew},
  journal={arXiv preprint arXiv:1705.06950},
  year={2017}
}""",
    "600": """@article{carreira2018kinetics600,
  title={A Short Note about Kinetics-600},
  author={Carreira, Jo{\\~a}o and Noland, Eric and Banki-Horvath, Andras and Hillier, Chloe and Zisserman, Andrew},
  journal={arXiv preprint arXiv:1808.01340},
  year={2018}
}""",
    "700": """@article{carreira2019kinetics700,
  title={A Short Note on the Kinetics-700 Human Action Dataset},
  author={Carreira, Jo{\\~a}o and Noland, Eric and Hillier, Chloe and Zisserman, Andrew},
  journal={arXiv preprint arXiv:1907.06987},
  year={2019}
}""",
    "700-2020": """@article{smaira2020kinetics700,
  title={A Short Note on the Kinetics-700-2020 Human Action Dataset},
  author={Smaira, Lucas and Carreira, Jo{\\~a}o and Noland, Eric and Clancy, Ellen and Wu, Amy and Zisserman, Andrew},
  journal={arXiv preprint arXiv:2010.10864},
  year={2020}
}""",
}


def _choose(value: Any, choices: Sequence[str], what: str) -> str:
    """`value` if it is one of `choices`, else a ValueError that names them and the nearest spelling."""
    if value not in choices:
        raise ValueError(_unknown(value, choices, what))
    return value


def _unknown(value: Any, choices: Sequence[str], what: str) -> str:
    near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listing = "python -c 'import kinetics; print(kinetics.LABELS)'"
    shown = ", ".join(choices) if len(choices) <= 20 else f"one of {len(choices)}, which {listing} lists"
    return f"unknown {what} {value!r}{hint} (valid: {shown})"


def _some(names: Iterable[str], shown: int = 3) -> str:
    """The first of many names, for a message, which must be text even where names of files are not."""
    names = list(names)
    texts = (name if _is_text(name) else ascii(name) for name in names[:shown])
    return ", ".join(texts) + (", ..." if len(names) > shown else "")


# ---- Labels -------------------------------------------------------------------------------------------------


def _plain(label: str) -> str:
    """What every public tool's spelling of a label has in common: its letters and digits, in lower case.

    Distinct for all classes of a release. torchvision and the ActivityNet crawler write class directories with
    `_` for spaces and without `'`, `(` and `)`; others keep the label, quote it for a URL, or change its case.
    """
    return re.sub(r"[^a-z0-9]", "", urllib.parse.unquote(label).lower())


@functools.cache
def _plain_labels(release: str) -> dict[str, int]:
    return {_plain(label): index for index, label in enumerate(LABELS[release])}


def find_label(name: str, release: str) -> int:
    """Index of a class of `release` (0 to 399, 599 or 699), by its label or any public tool's spelling of it.

    Raises ValueError naming the nearest label where the release has no such class.
    """
    labels = LABELS[_choose(release, RELEASES, "release")]
    if not isinstance(name, str):
        raise ValueError(f"class {name!r} is no label; pass one as LABELS[{release!r}] has it, such as {labels[0]!r}")
    index = _plain_labels(release).get(_plain(name))
    if index is None:
        _choose(name, labels, f"class of {release}")
    assert index is not None
    return index


def map_index(index: int, source: str, target: str) -> int | None:
    """The index in release `target` of the class that has `index` in release `source`; None where it has none.

    A class is the same where its label is, but for the case of letters: 400 and 600 write "American" differently.
    -1, which stands for no label, stays -1.
    """
    if index == -1:
        return -1
    labels = LABELS[_choose(source, RELEASES, "release")]
    return _plain_labels(_choose(target, RELEASES, "release")).get(_plain(labels[_in_range(index, source)]))


def _in_range(index: int, release: str) -> int:
    if not 0 <= index < len(LABELS[release]):
        raise ValueError(
            f"class index {index} is outside of release {release} (valid: 0 to {len(LABELS[release]) - 1})"
        )
    return index


def map_label(label: str, source: str, target: str) -> str | None:
    """The label in release `target` of a class of release `source`; None where `target` does not have it."""
    index = map_index(find_label(label, source), source, target)
    return None if index is None else LABELS[target][index]


@functools.cache
def _torchvision_order(release: str) -> tuple[int, ...]:
    """Our index of each torchvision index.

    torchvision.datasets.Kinetics numbers the sorted names of its class folders, which it writes with `_` for
    spaces and without `'`, `(` and `)`: that order differs from the order of the labels in a few places.
    """
    names = [label.replace(" ", "_").translate({ord(char): None for char in "'()"}) for label in LABELS[release]]
    return tuple(sorted(range(len(names)), key=names.__getitem__))


def to_torchvision(index: int, release: str) -> int:
    """The index that torchvision.datasets.Kinetics gives to the class that has `index` in `release`."""
    return _torchvision_order(_choose(release, RELEASES, "release")).index(_in_range(index, release))


def from_torchvision(index: int, release: str) -> int:
    """The index in `release` of the class to which torchvision.datasets.Kinetics gives `index`."""
    return _torchvision_order(_choose(release, RELEASES, "release"))[_in_range(index, release)]


def label_indices(labels: pa.Array | pa.ChunkedArray, release: str) -> pa.Array | pa.ChunkedArray:
    """Class indices (int64) of an Arrow array of labels; -1 where the label is null.

    Raises ValueError naming the first label that is no class of `release`, its row, and the nearest class.
    """
    indices = pc.index_in(labels, value_set=pa.array(LABELS[_choose(release, RELEASES, "release")]))
    if indices.null_count > labels.null_count:
        unknown = pc.and_(pc.is_null(indices), pc.is_valid(labels))
        spellings = pc.unique(pc.filter(labels, unknown)).to_pylist()
        known = {name: _plain_labels(release).get(_plain(name)) for name in spellings}
        for name, index in known.items():
            if index is None:
                row = pc.index(labels, name).as_py()
                _choose(name, LABELS[release], f"class of {release} in row {row + 1}")
        found = pa.array(known.values(), type=pa.int32())
        others = pc.take(found, pc.index_in(labels, value_set=pa.array(list(known))))
        indices = pc.if_else(unknown, others, indices)
    return pc.fill_null(indices.cast(pa.int64()), -1)


# ---- Annotations --------------------------------------------------------------------------------------------

ANNOTATION_SCHEMA = pa.schema(
    [
        ("youtube_id", pa.string()),
        ("time_start", pa.float32()),
        ("time_end", pa.float32()),
        ("split", pa.string()),
        ("label", pa.string()),
    ]
)
_JSON_ENTRY = pa.struct(
    [
        ("annotations", pa.struct([("label", pa.string()), ("segment", pa.list_(pa.float32(), 2))])),
        ("subset", pa.string()),
    ]
)
_SPLIT_TABLE = (pa.array(_SPLIT_SPELLINGS.keys()), pa.array(_SPLIT_SPELLINGS.values()))
_ID = "[A-Za-z0-9_-]{11}"
_ID_CHARACTERS = (string.ascii_letters + string.digits + "_-").encode()


def clip_name(youtube_id: str, time_start: float, time_end: float) -> str:
    """Name of a clip's file without its suffix: the id and the whole seconds, in six digits each."""
    return f"{youtube_id}_{int(time_start):06d}_{int(time_end):06d}"


def read_annotations(path: str | os.PathLike[str]) -> pa.Table:
    """The rows of an annotation file, CSV or JSON of any edition, as a table with `ANNOTATION_SCHEMA`.

    A row is a clip: [time_start, time_end) in seconds (float32) of the video `youtube_id`, the `split` ("train",
    "validation" or "test") and the `label`, null where the file gives none. Rows keep the order of the file.

    JSON holds one clip a video; where a CSV of the same name lies beside it and holds more, a warning says so.

    Raises ValueError with the file, the line (for JSON: the entry) and what is wrong with it.
    """
    path = os.fspath(path)
    table = _read_json(path) if _is_json(path) else _read_csv(path)
    splits = _known_splits(table["split"])
    start, end = table["time_start"], table["time_end"]
    good = pc.and_(pc.greater_equal(start, 0), pc.and_(pc.less(start, end), pc.is_finite(end)))
    good = pc.fill_null(good, False)
    if not _are_ids(table["youtube_id"]) or splits.null_count or pc.any(pc.invert(good)).as_py():
        raise ValueError(_first_problem(path, _row_problem))
    labels = table["label"]
    if pc.min(pc.binary_length(labels)).as_py() == 0:
        labels = pc.if_else(pc.equal(labels, ""), None, labels)
    return table.set_column(3, "split", splits).set_column(4, "label", labels).cast(ANNOTATION_SCHEMA)


def _known_splits(spellings: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Our names of the splits (string), null where a spelling is none that we know."""
    # One spelling throughout, as nearly all files have it, is told quicker than looked up in each row.
    if len(spellings) and not spellings.null_count and pc.all(pc.equal(spellings, spellings[0])).as_py():
        return pa.repeat(pa.scalar(_SPLIT_SPELLINGS.get(spellings[0].as_py()), pa.string()), len(spellings))
    return pc.take(_SPLIT_TABLE[1], pc.index_in(spellings, value_set=_SPLIT_TABLE[0]))


def _are_ids(ids: pa.ChunkedArray) -> bool:
    """Whether all of `ids` look like YouTube ids."""
    if ids.null_count:
        return False
    # The characters of a whole chunk at once take a fifth of the time of a regular expression on each id; what
    # lies in a chunk besides its values can only make this doubt them.
    texts = (chunk.buffers()[2] for chunk in ids.chunks if len(chunk))
    if pc.all(pc.equal(pc.binary_length(ids), 11)).as_py() and not any(
        text.to_pybytes().translate(None, _ID_CHARACTERS) for text in texts
    ):
        return True
    return pc.all(pc.match_substring_regex(ids, f"^{_ID}$")).as_py() is not False


def _row_problem(row: dict[str, Any]) -> str | None:
    if not re.fullmatch(_ID, row["youtube_id"] or ""):
        return f"youtube_id {row['youtube_id']!r} is not 11 characters of A-Z, a-z, 0-9, _ and -"
    seconds = []
    for name in ("time_start", "time_end"):
        try:
            seconds.append(float(row[name]))
        except (TypeError, ValueError):
            seconds.append(math.nan)
        if not math.isfinite(seconds[-1]):
            return f"{name} {row[name]!r} is not a number of seconds"
    start, end = seconds
    if not 0 <= start < end:
        return f"the segment [{start}, {end}) is empty or begins before 0"
    if row["split"] not in _SPLIT_SPELLINGS:
        return f"split {row['split']!r} is none of {', '.join(_SPLIT_SPELLINGS)}"
    return None


def _first_problem(path: str, problem_of: Callable[[dict[str, Any]], str | None], error: Any = "") -> str:
    """File, line (JSON: entry) and `problem_of` the first row that has one, found row by row after a fast reading
    of the whole file has shown that there is one, by `error` if by none of ours."""
    for where, row in _json_rows(path) if _is_json(path) else _csv_rows(path):
        problem = row if isinstance(row, str) else problem_of(row)
        if problem is not None:
            return f"{path}: {where}: {problem}"
    return f"{path}: not readable as annotations ({error})" if error else f"{path}: not readable as annotations"


def _csv_rows(path: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """("line N", row) of a CSV file; in the place of a row that cannot be read, why."""
    number = 0

    def lines(file: BinaryIO) -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(file, start=1):
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")

    with open(path, "rb") as file:
        reader = csv.reader(lines(file))
        try:
            header = next(reader)
            for row in reader:
                if len(row) == len(header):
                    yield f"line {number}", dict(zip(header, row, strict=True))
                elif row:
                    yield f"line {number}", f"{len(row)} columns, not {len(header)}: {','.join(row)}"
        except (csv.Error, UnicodeDecodeError) as error:
            yield f"line {number}", str(error)


def _json_rows(path: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """(video id, row) of a JSON file; in the place of a row that cannot be read, why."""
    with open(path, "rb") as file:
        for youtube_id, entry in json.load(file).items():
            try:
                entry = pa.array([entry], type=_JSON_ENTRY)[0].as_py()
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                yield youtube_id, str(error)
                continue
            annotations = (entry or {}).get("annotations") or {}
            start, end = annotations.get("segment") or (None, None)
            split = entry and entry["subset"]
            row = {"youtube_id": youtube_id, "time_start": start, "time_end": end, "split": split}
            yield youtube_id, {**row, "label": annotations.get("label")}


def _is_json(path: str) -> bool:
    return path.lower().endswith(".json")


def _read_csv(path: str) -> pa.Table:
    columns = dict(zip(ANNOTATION_SCHEMA.names, ANNOTATION_SCHEMA.types, strict=True))
    convert = pa.csv.ConvertOptions(column_types=columns)
    try:
        with open(path, "rb") as file:
            line = file.readline()
        # A line alone without its end is to Arrow an empty file.
        source = path if line.endswith(b"\n") else io.BytesIO(line + b"\n")
        table = pa.csv.read_csv(source, convert_options=convert)
        header = table.column_names  # decoded here
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if "Empty CSV" in str(error):
            raise ValueError(f"{path}: the file is empty") from None
        raise ValueError(_first_problem(path, _row_problem, error)) from None
    absent = [name for name in ANNOTATION_SCHEMA.names[:4] if name not in header]
    if absent:
        raise ValueError(f"{path}: line 1: no column {_some(absent)} in the header, which has {', '.join(header)}")
    if "label" not in header:  # the test sets of most editions
        table = table.append_column("label", pa.nulls(len(table), pa.string()))
    return table.select(ANNOTATION_SCHEMA.names)


def _read_json(path: str) -> pa.Table:
    with open(path, "rb") as file:
        try:
            entries = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(entries, dict):
        raise ValueError(f"{path}: a {type(entries).__name__}, not an object that maps video ids to annotations")
    try:
        rows = pa.array(list(entries.values()), type=_JSON_ENTRY)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(_first_problem(path, _row_problem, error)) from None
    annotations = rows.field("annotations")
    segments = pc.struct_field(annotations, "segment")
    table = pa.table(
        {
            "youtube_id": pa.array(list(entries), type=pa.string()),
            "time_start": pc.list_element(segments, 0),
            "time_end": pc.list_element(segments, 1),
            "split": rows.field("subset"),
            "label": pc.struct_field(annotations, "label"),
        }
    )
    _compare_with_csv(path)
    return table


def _compare_with_csv(path: str) -> None:
    csv_path = os.path.splitext(path)[0] + ".csv"
    if not os.path.isfile(csv_path):
        return
    ids = _read_csv(csv_path)["youtube_id"]
    more = len(ids) - pc.count_distinct(ids).as_py()
    if more:
        _logger.warning(
            f"{path} holds one clip a video; {csv_path} beside it holds {more:,} more, of videos with several: "
            "read the CSV to have them"
        )


def clip_names(table: pa.Table) -> pa.Array:
    """File names without suffix (string) of the rows of a table; the vector form of `clip_name`."""

    def digits(name: str) -> Any:
        return pc.utf8_lpad(table[name].cast(pa.int64(), safe=False).cast(pa.string()), 6, padding="0")

    names = pc.binary_join_element_wise(table["youtube_id"], digits("time_start"), digits("time_end"), "_")
    return names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names


def find_annotations(directory: str, split: str) -> str | None:
    """The annotation file of a split in a directory: `train.csv` and the like first, then `*_train.csv`, CSV first.

    None where there is none. Raises ValueError where several are as good.
    """
    if not os.path.isdir(directory):
        return None
    found: dict[tuple[str, bool], list[str]] = {}
    for name, words, suffix in _annotation_names(directory):
        if _SPLIT_SPELLINGS.get(words[-1]) == split:
            found.setdefault((suffix, len(words) > 1), []).append(directory + "/" + name)
    for key in ((".csv", False), (".csv", True), (".json", False), (".json", True)):
        if len(found.get(key, [])) > 1:
            raise ValueError(f"several annotation files for {split}: {_some(found[key])}; pass one as annotations=")
        if key in found:
            return found[key][0]
    return None


def _annotation_names(directory: str) -> Iterator[tuple[str, list[str], str]]:
    """Name, the words of it and suffix of the files in a directory that may hold annotations."""
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
        stem, suffix = os.path.splitext(name.lower())
        if suffix in (".csv", ".json"):
            yield name, re.split(r"[^a-z]+", stem), suffix


def annotations_of_tree(data_dir: str, split: str) -> str | None:
    """The annotation file of a split in a tree, as `find_annotations` finds it in `annotations/` or beside the splits.

    None where there is none; a warning names files whose names do not tell us that they are one.
    """
    for place in (data_dir + "/annotations", data_dir):
        found = find_annotations(place, split)
        if found is not None:
            return found
    # Beside the splits lie reports and lists, too: there a name has to have the split in it.
    names = ["annotations/" + name for name, _ in _unread(data_dir + "/annotations")]
    names += [name for name, words in _unread(data_dir) if any(_SPLIT_SPELLINGS.get(word) == split for word in words)]
    if names:
        _logger.warning(f"no annotations of the {split} split are read: {_passed_over(names, split)}")
    return None


def _unread(directory: str) -> list[tuple[str, list[str]]]:
    """Name and words of the files in a directory that may hold annotations, but whose name does not end in a split."""
    return [(name, words) for name, words, _ in _annotation_names(directory) if words[-1] not in _SPLIT_SPELLINGS]


def _passed_over(names: list[str], split: str) -> str:
    advice = f"a name has to end in the split, as in {split}.csv: rename it, or pass one as annotations="
    return f"{_some(names)} passed over, since {advice}"


# ---- Public archives ----------------------------------------------------------------------------------------


def _mirror(mirror: str | None) -> str | None:
    """The URL in the place of the public hosts, if any: `mirror`, or else what the environment variable says."""
    for name, url in (("mirror", mirror), ("KINETICS_MIRROR", os.environ.get("KINETICS_MIRROR"))):
        if url and not (isinstance(url, str) and _is_url(url)):
            raise ValueError(f"{name} is {url!r}; it must be a URL that starts with http:// or https://")
        if url:
            return url
    return None


def _mirrored(url: str, mirror: str | None) -> str:
    mirror = _mirror(mirror)
    for host in (_CVDF, _DEEPMIND):
        if mirror and url.startswith(host + "/"):
            return mirror.rstrip("/") + url[len(host) :]
    return url


def _quoted(url: str) -> str:
    """The archives of 600 are named after their classes; the lists give the names with or without quoting."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(path=urllib.parse.quote(urllib.parse.unquote(parts.path))))


def archive_urls(
    release: str, split: str, *, classes: Sequence[str] | None = None, mirror: str | None = None
) -> list[str]:
    """URLs of the public archives that hold the clips of a split, by the mirror's own list of paths.

    With `classes`, of those classes alone where the archives are one a class (600 but for test, 700-2020 train).
    `mirror` (or the environment variable KINETICS_MIRROR), a URL, takes the place of the public hosts. The
    archive of replacements comes first for the training set of 400: its clips win over the others'.
    """
    folder = _MIRROR_FOLDERS[_choose(release, RELEASES, "release")]
    short = {"train": "train", "validation": "val", "test": "test"}[_choose(split, SPLITS, "split")]
    list_url = _mirrored(f"{_CVDF}/kinetics/{folder}/{short}/k{folder}_{short}_path.txt", mirror)
    with HttpFile(list_url) as file:
        lines = file.read().decode("utf-8").splitlines()
    urls = [_quoted(_mirrored(line.strip(), mirror)) for line in lines if line.strip()]
    if classes:
        urls = _archives_of_classes(urls, release, classes)
    if release == "400" and split == "train":
        urls.insert(0, _mirrored(_CVDF + _REPLACEMENTS, mirror))
    return urls


def _archives_of_classes(urls: list[str], release: str, classes: Sequence[str]) -> list[str]:
    """Those of `urls` that are the archives of `classes`, if the list as a whole is one archive a class."""
    stems = [url.rsplit("/", 1)[-1].split(".tar")[0] for url in urls]
    indices = [find_label(name, release) for name in classes]
    by_name = {_plain(stem): url for stem, url in zip(stems, urls, strict=True)}
    if by_name.keys() == _plain_labels(release).keys():
        return [by_name[_plain(LABELS[release][index])] for index in sorted(indices)]
    # Numbered in label order: true of the archives of 700-2020, whose labels are not those of 700 in every clip.
    numbers = [int(number) for stem in stems for number in re.findall(r"_(\d+)$", stem)]
    if release == "700-2020" and numbers == list(range(1, len(LABELS[release]) + 1)):
        return [urls[index] for index in sorted(indices)]
    return urls


class ChangedError(OSError):
    """What the server has is not what the bytes at hand were the beginning of."""


class ArchiveError(OSError):
    """An archive that is cut off or corrupt."""


class HttpFile(io.RawIOBase):
    """A file on a web server, read front to back once, which outlives dropped connections.

    After an error it waits (0.5 s, doubling, with jitter; or what the server asks for, at most 10 min) and goes on by
    Range at the byte where it stopped; where a server ignores Range it skips what it had. An answer that tells less
    than an earlier one, no ETag or no length, is no change. `size` is the length in bytes, None where the server does
    not tell. Buffers nothing itself: wrap it in `io.BufferedReader` for small reads.

    `start` is the byte to begin at, for a reader that has what lies before it, and `etag` the file's then.

    Raises FileNotFoundError or PermissionError where the server says so, ChangedError where the file changed between
    two requests or is shorter than was announced, and ConnectionError, which names the byte, where six more tries in
    a row give no byte. Two more are enough where nobody was ever there: a refused connection, an unknown host.
    """

    retries = 6
    retries_of_nobody = 2
    backoff_seconds = 0.5
    timeout_seconds = 30.0
    longest_wait_seconds = 600.0

    def __init__(self, url: str, *, start: int = 0, etag: str | None = None):
        self.url = url
        self.etag = etag
        self.size: int | None = None
        self._position = start
        self._part_end: int | None = None  # where what an answer to a Range holds ends, which may be less than all
        self._response: Any = None
        self._failures = 0
        self._was_there = False
        self._has_complained = False
        while self._response is None:
            self._attempt(self._connect)

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        while self.size is None or self._position < self.size:
            count = self._attempt(lambda: self._read(buffer))
            if count is not None:
                self._position += count
                return count
        return 0

    def close(self) -> None:
        self._disconnect()
        super().close()

    def _attempt(self, step: Any) -> Any:
        """What `step` returns, or None after an error that another try may mend."""
        wait, retries = None, self.retries
        try:
            result = step()
        except urllib.error.HTTPError as error:
            if error.code not in (408, 425, 429) and error.code < 500:
                kind = {
                    401: PermissionError,
                    403: PermissionError,
                    404: FileNotFoundError,
                    410: FileNotFoundError,
                    416: ChangedError,  # shorter than what we had of it
                }
                if error.code == 416 and self._is_end(error.headers):
                    self.size = self._position
                    return None
                shorter = ""
                if error.code == 416:
                    announced = "had before" if self.size is None else f"announced, {self.size:,} bytes"
                    shorter = f": no byte {self._position:,} there, the file is shorter than {announced}"
                raise kind.get(error.code, OSError)(f"{self.url}: HTTP {error.code} {error.reason}{shorter}") from None
            wait = _seconds_asked(error.headers.get("Retry-After", ""))
            wait = None if wait is None else min(wait, self.longest_wait_seconds)
            reason = f"HTTP {error.code} {error.reason}"
        except ChangedError:
            raise
        except (http.client.HTTPException, OSError) as error:  # of TLS and of routes, too
            cause = getattr(error, "reason", error)  # what urllib wraps
            reason = str(cause) or type(cause).__name__
            if not self._was_there and isinstance(cause, (ConnectionRefusedError, socket.gaierror)):
                retries = self.retries_of_nobody
        else:
            self._failures = 0
            self._was_there = True
            return result
        self._disconnect()
        self._failures += 1
        if self._failures > retries:
            where, advice = "", "see that the network and the server are there, and run the same command again"
            if self._position:
                where = f", at byte {self._position:,}" + ("" if self.size is None else f" of {self.size:,}")
                advice = "what is complete stays, run the same command again to go on"
            raise ConnectionError(f"{self.url}: {reason}{where}, after {self._failures} tries; {advice}")
        if not self._has_complained:
            self._has_complained = True
            _logger.warning(f"no answer from {urllib.parse.urlsplit(self.url).netloc} ({reason}), trying again")
        if wait is None:
            wait = self.backoff_seconds * 2 ** (self._failures - 1) * (0.5 + random())
        _logger.info(f"{self.url}: {reason} at byte {self._position:,}; next try in {wait:.1f} s")
        time.sleep(wait)
        return None

    def _connect(self) -> bool:
        # Identity, since a proxy that compresses would make byte positions meaningless.
        headers = {"User-Agent": f"kinetics-dataset/{__version__}", "Accept-Encoding": "identity"}
        if self._position:
            headers["Range"] = f"bytes={self._position}-"
            if self.etag:
                headers["If-Range"] = self.etag
        request = urllib.request.Request(self.url, headers=headers)
        response = urllib.request.urlopen(request, timeout=self.timeout_seconds)
        self._response = response
        size, self._part_end = response.length, None
        if response.status == 206:
            part = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
            if part is None or not self._position == int(part[1]) <= int(part[2]):
                raise http.client.HTTPException(f"asked for byte {self._position:,}, got {part and part[0]}")
            size, self._part_end = None if part[3] == "*" else int(part[3]), int(part[2]) + 1
        etag = response.headers.get("ETag")
        if (self.etag and etag and etag != self.etag) or (None not in (size, self.size) and size != self.size):
            raise ChangedError(f"{self.url}: changed on the server while it was read; start again")
        self.size = self.size if size is None else size
        self.etag = self.etag or etag
        if response.status != 206:
            self._skip(self._position)
        return True

    def _is_end(self, headers: Any) -> bool:
        """Whether an answer that nothing follows says that a file of which nothing told the length is complete."""
        told = headers.get("Content-Range") == f"bytes */{self._position}"
        return self._was_there and self.size is None and (told or self._position == self._part_end)

    def _skip(self, count: int) -> None:
        scratch = memoryview(bytearray(1 << 20))
        while count:
            got = self._response.readinto(scratch[: min(count, len(scratch))])
            if not got:
                raise ConnectionError("the connection was closed")
            count -= got

    def _read(self, buffer: Any) -> int:
        if self._response is None:
            self._connect()
        count = self._response.readinto(buffer)
        if count or not len(buffer) or self._position == self.size:
            return count
        if self._position == self._part_end:
            self._disconnect()
            return self._read(buffer)
        if self.size is not None or self._part_end is not None:
            raise ConnectionError("the connection was closed")
        return 0

    def _disconnect(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def _seconds_asked(retry_after: str) -> float | None:
    """What a Retry-After header asks for, in seconds or as a date; None where it says nothing."""
    if re.fullmatch("[0-9]+", retry_after):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _open_binary(path: str) -> BinaryIO:
    if _is_url(path):
        return io.BufferedReader(HttpFile(path))
    return open(path, "rb")


class _Forward:
    """What tarfile needs of a file, over one that is read front to back only; undoes gzip, and checks its sum."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._position = 0
        self.header_bytes = 0
        self.last_header = b""
        magic = file.read(2)  # not peek, which gives one byte where a connection breaks after it
        self._ready = memoryview(magic)
        self._inflate = None
        if magic == b"\x1f\x8b":
            self._inflate = _inflater.decompressobj(31)
            self._ready = memoryview(self._inflate.decompress(magic))

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        while self._position < position and self.take(min(position - self._position, 1 << 20)):
            continue

    def read(self, size: int) -> bytes:
        """For tarfile, which reads headers only: no more than `_MAX_HEADER_BYTES` until `header_bytes` is 0 again."""
        self.header_bytes += size
        if self.header_bytes > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of over {_MAX_HEADER_BYTES:,} bytes")
        self.last_header = self.take(size)
        return self.last_header

    def take(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            if not self._ready:
                block = self._file.read(min(missing, 1 << 20)) if self._inflate is None else self._inflated()
                if not block:
                    break
                self._ready = memoryview(block)
            parts.append(self._ready[:missing])
            self._ready = self._ready[missing:]
            missing -= len(parts[-1])
        self._position += size - missing
        return b"".join(parts)

    def _inflated(self) -> bytes:
        """The next bytes of what is compressed; none at the end."""
        assert self._inflate is not None
        data = b""
        while not data:
            pending = self._inflate.unconsumed_tail or self._inflate.unused_data or self._file.read(1 << 18)
            if self._inflate.eof:
                if not pending.strip(b"\0"):
                    return b""  # the end, or the zeros that some tools pad with
                self._inflate = _inflater.decompressobj(31)  # another gzip member follows
            elif not pending:
                raise EOFError("it ends before its checksum")
            data = self._inflate.decompress(pending, 1 << 18)
        return data


def read_archive(
    file: BinaryIO, *, name: str, on_refused: Callable[[str, str], Any] | None = None
) -> Iterator[tuple[str, bytes]]:
    """The clips in a tar archive, compressed by gzip or not, one at a time: (member name, bytes).

    Reads `file`, a buffered reader, front to back and writes nothing to disk. Members that are no clips (by
    their suffix) are passed over; links, devices, absolute names, names with `..` and members that claim over
    1 GiB are refused, with a warning that names them; with `on_refused`, it is called instead, with the member's
    name and the reason.

    Raises ArchiveError, an OSError, with `name`, the archive's path or URL, where it is cut off or corrupt.
    """
    stream = _Forward(file)
    clips = 0
    # The last two: numbers that are none, and headers of headers of headers. Looked up now, since a reader that is
    # left unfinished is closed at the interpreter's exit, when the modules' names are gone.
    damage = (tarfile.TarError, EOFError, zlib.error, _inflater.error, ValueError, RecursionError)
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                tar.members = []  # or it keeps every header of the archive
                stream.header_bytes = 0
                if member.size < 0:
                    raise tarfile.ReadError(f"{member.name} claims {member.size:,} bytes")
                refused = _refusal(member)
                if refused and on_refused is not None:
                    on_refused(member.name, refused)
                elif refused:
                    _logger.warning(f"{name}: refused member {member.name!r}: {refused}")
                elif member.isreg() and is_clip(member.name.rpartition("/")[2]):
                    # The stream stands at the member's bytes; tarfile's own file object would copy them again.
                    data = stream.take(member.size)
                    if len(data) != member.size:
                        raise EOFError(f"{member.name} has {len(data):,} of {member.size:,} bytes")
                    yield member.name, data
                    clips += 1
        # tarfile takes a damaged or a missing header for the end, which is blocks of zeros. Reading them to the last
        # also brings gzip to its checksum.
        if len(stream.last_header) < tarfile.BLOCKSIZE:
            raise EOFError("no end mark")
        for block in (stream.last_header, *iter(lambda: stream.take(1 << 16), b"")):
            if block.strip(b"\0"):
                raise tarfile.ReadError("a damaged header")
    except damage as error:
        advice = "" if _is_url(name) else "; fetch it again"
        raise ArchiveError(
            f"{name}: the archive is cut off or corrupt after {clips:,} clips, at byte {stream.tell():,} of what it "
            f"holds ({error}){advice}"
        ) from error


def _refusal(member: tarfile.TarInfo) -> str | None:
    if member.isdir():
        return None
    if not member.isreg() or member.issparse():
        return "a link" if member.islnk() or member.issym() else "a device or another special file"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "its name leads out of the archive"
    if member.size > _MAX_CLIP_BYTES:
        return f"it claims {member.size:,} bytes"
    return None


def _is_text(path: str) -> bool:
    """Whether a path can be written as UTF-8: the bytes of a file name need not."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def is_clip(file_name: str) -> bool:
    return file_name.lower().endswith(_VIDEO_SUFFIXES) and not file_name.startswith(".")


class DownloadCache:
    """The download cache of `datasets`: each file lies there under the name that the library gives to its URL.

    With `force`, files are fetched although they are there, once by each cache object.
    """

    def __init__(self, directory: str | None = None, *, force: bool = False):
        self.directory = str(directory or datasets.config.DOWNLOADED_DATASETS_PATH)
        self._force = force
        self._fetched: set[str] = set()

    def path(self, url: str) -> str:
        return os.path.join(self.directory, datasets.utils.file_utils.hash_url_to_filename(url))

    def bytes_of(self, url: str) -> int:
        """How many bytes of the file at `url` are there, of a partial download too."""
        path = self.path(url)
        held = next(filter(os.path.exists, (path, path + ".incomplete")), None)
        return os.path.getsize(held) if held and not self._is_forced(url) else 0

    def _is_forced(self, url: str) -> bool:
        return self._force and url not in self._fetched

    def fetch(self, url: str, *, progress: Callable[[int], Any] | None = None) -> str:
        """Path of the file at `url`, downloaded if need be. A partial file stays, and the next call goes on from it.

        `progress` is called with the number of bytes of each step. Raises what `HttpFile` raises.
        """
        path = self.path(url)
        os.makedirs(self.directory, exist_ok=True)
        with FileLock(path + ".lock"):
            force = self._is_forced(url)
            if force or not os.path.exists(path):
                try:
                    _download(url, path, resume=not force, progress=progress)
                except ChangedError:
                    _download(url, path, resume=False, progress=progress)
        self._fetched.add(url)
        return path


def _download(url: str, path: str, *, resume: bool, progress: Callable[[int], Any] | None) -> None:
    partial, tag = path + ".incomplete", path + ".etag"
    start, etag = 0, None
    if resume and os.path.exists(partial) and os.path.exists(tag):
        start = os.path.getsize(partial)
        with open(tag, encoding="utf-8") as file:
            etag = file.read()
        if not etag:  # nothing would tell that the file has changed since
            start = 0
    try:
        source = HttpFile(url, start=start, etag=etag)
    except ChangedError:
        start, source = 0, HttpFile(url)
    with source, open(partial, "r+b" if start else "wb") as file:
        file.seek(start)
        with open(tag, "w", encoding="utf-8") as tag_file:
            tag_file.write(source.etag or "")
        if progress is not None:
            progress(start)
        for chunk in iter(lambda: source.read(1 << 20), b""):
            file.write(chunk)
            if progress is not None:
                progress(len(chunk))
    os.replace(partial, path)
    os.remove(tag)


# ---- Annotations of a split ---------------------------------------------------------------------------------


def annotation_file(
    release: str,
    split: str,
    *,
    annotations: str | None = None,
    mirror: str | None = None,
    cache: DownloadCache | None = None,
) -> str:
    """Local path of the annotation file of a split, downloaded if need be.

    `annotations` is a directory, a file or a tarball, or the URL of one; if None, the published edition: the
    mirror's own for 400 and 700-2020, DeepMind's for 600 and 700. Raises FileNotFoundError where it has no such file.
    """
    cache = cache or DownloadCache()
    where = annotations or _mirrored(_EDITIONS[_choose(release, RELEASES, "release")], mirror)
    if _is_url(where) and not where.endswith((".csv", ".json", *_ARCHIVE_SUFFIXES)):
        names = split_spellings(split)
        for name in names:
            try:
                return cache.fetch(f"{where.rstrip('/')}/{name}.csv")
            except FileNotFoundError:
                continue
        raise FileNotFoundError(f"no annotations of the {split} split at {where}: tried {', '.join(names)} + .csv")
    if os.path.isdir(where):
        found = find_annotations(where, split)
        if found is None:
            names = [name for name, _ in _unread(where)]
            unread = f"; {_passed_over(names, split)}" if names else ""
            raise FileNotFoundError(f"no annotation file of the {split} split in {where}, such as {split}.csv{unread}")
        return found
    path = cache.fetch(where) if _is_url(where) else where
    if not where.endswith(_ARCHIVE_SUFFIXES):
        return path
    try:
        return _extracted(path, where, split)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        if path != where:
            os.remove(path)  # or it stays in the cache for good
        raise ArchiveError(f"{where}: cut off or corrupt ({error}); try again, or pass annotations=") from None


def _extracted(tarball: str, where: str, split: str) -> str:
    """Path of the CSV of `split`, taken out of a tarball of annotations and kept beside it."""
    path = f"{tarball}-{split}.csv"
    with FileLock(path + ".lock"):
        if os.path.exists(path) and os.stat(path).st_mtime_ns >= os.stat(tarball).st_mtime_ns:
            return path
        with tarfile.open(tarball) as tar:
            for member in tar:
                stem, suffix = os.path.splitext(member.name.rpartition("/")[2].lower())
                if member.isreg() and suffix == ".csv" and _SPLIT_SPELLINGS.get(stem) == split:
                    with open(path + ".incomplete", "wb") as file:
                        shutil.copyfileobj(tar.extractfile(member), file)  # type: ignore[arg-type]
                    os.replace(path + ".incomplete", path)
                    return path
    raise FileNotFoundError(f"no CSV of the {split} split in {where}")


def read_split(path: str, release: str, split: str) -> pa.Table:
    """The rows of a split in an annotation file, as `read_annotations` gives them but with `label` as index (int64).

    The index is -1 where the file gives no label. Raises ValueError where the file is malformed, has no row of the
    split, or has a label that is no class of the release.
    """
    table = read_annotations(path)
    table = table.filter(pc.equal(table["split"], split))
    if not len(table):
        raise ValueError(f"{path} has no row of the {split} split")
    try:
        return table.set_column(4, "label", label_indices(table["label"], release))
    except ValueError:
        known = _plain_labels(release)

        def problem_of(row: dict[str, Any]) -> str | None:
            if _SPLIT_SPELLINGS[row["split"]] != split or not row["label"] or _plain(row["label"]) in known:
                return None
            return _unknown(row["label"], LABELS[release], f"class of {release}")

        raise ValueError(_first_problem(path, problem_of)) from None


def first_of_each(table: pa.Table, path: str) -> pa.Table:
    """Rows of `read_split`, a clip that the file at `path` gives several times once, as its first row has it.

    A warning names the clips whose rows are left out.
    """
    counts = pc.value_counts(table["youtube_id"])
    several = pc.filter(counts.field("values"), pc.greater(counts.field("counts"), 1))
    if not len(several):
        return table
    rows = pc.indices_nonzero(pc.is_in(table["youtube_id"], value_set=several))
    names = clip_names(table.take(rows)).to_pylist()
    seen: set[str] = set()
    repeats = {}
    for row, name in zip(rows.to_pylist(), names, strict=True):
        if name in seen:
            repeats[row] = name
        seen.add(name)
    if not repeats:
        return table
    _logger.warning(
        f"{path}: {len(repeats):,} rows repeat another's clip ({_some(repeats.values())}); the first counts"
    )
    return table.filter(pc.invert(pc.is_in(pa.array(range(len(table))), value_set=pa.array(list(repeats)))))


def select_clips(
    table: pa.Table,
    release: str,
    *,
    classes: Sequence[str] | None = None,
    max_clips_per_class: int | None = None,
    seed: int = 0,
) -> pa.Table:
    """Rows of `read_split`, of these classes and at most so many of each, as the fields of `KineticsConfig` say.

    Raises ValueError where no row has a label to choose `classes` by.
    """
    if classes is not None:
        indices = pa.array([find_label(name, release) for name in classes], type=pa.int64())
        if pc.all(pc.less(table["label"], 0)).as_py():
            raise ValueError("no clip of this split has a label, so classes cannot choose among them")
        table = table.filter(pc.is_in(table["label"], value_set=indices))
    if max_clips_per_class is not None:
        table = _limited(table, max_clips_per_class, seed)
    return table.combine_chunks()


def _limited(table: pa.Table, limit: int, seed: int) -> pa.Table:
    """At most `limit` rows of each label, chosen by a hash of seed and clip name, in the order of the table."""
    names = clip_names(table).to_pylist()
    labels = table["label"].to_pylist()
    taken: dict[int, int] = {}
    rows = []
    for row in sorted(range(len(table)), key=lambda row: hashlib.sha256(f"{seed}:{names[row]}".encode()).digest()):
        taken[labels[row]] = taken.get(labels[row], 0) + 1
        if taken[labels[row]] <= limit:
            rows.append(row)
    return table.take(sorted(rows))


# ---- Clips of a split ---------------------------------------------------------------------------------------


class _Wanted:
    """The clips of a split to load: rows (youtube_id, time_start, time_end, label as index), found by file name.

    `whole` holds all annotated clips of the split, if they are more; `source` names where these are from.
    """

    def __init__(self, table: pa.Table, whole: pa.Table | None = None, source: str = ""):
        self.table = table
        self.source = source
        self._whole = whole

    def __getstate__(self) -> dict[str, Any]:
        # Without the dictionaries, which every process makes when it needs them.
        return {"table": self.table, "source": self.source, "_whole": self._whole}

    def __len__(self) -> int:
        return len(self.table)

    @functools.cached_property
    def annotated(self) -> "_Wanted":
        """All annotated clips of the split, asked for or not."""
        return self if self._whole is None else _Wanted(self._whole)

    @functools.cached_property
    def names(self) -> pa.Array:
        return clip_names(self.table)

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names.to_pylist())}

    @functools.cached_property
    def _rows_by_id(self) -> dict[str, int]:
        counts = pc.value_counts(self.table["youtube_id"])
        single = set(pc.filter(counts.field("values"), pc.equal(counts.field("counts"), 1)).to_pylist())
        return {name: row for row, name in enumerate(self.table["youtube_id"].to_pylist()) if name in single}

    def row(self, stem: str) -> int | None:
        """Row of the clip whose file is called `stem`; the id alone is enough where the split has one clip of it."""
        row = self._rows.get(stem)
        return self._rows_by_id.get(stem) if row is None and len(stem) == 11 else row

    def name(self, stem: str) -> str:
        """The name of the clip whose file is called `stem`, the id alone included; `stem` where it is none of them."""
        row = self._rows_by_id.get(stem) if len(stem) == 11 else None
        return stem if row is None else self.names[row].as_py()

    def positions(self, names: list[str]) -> pa.Array:
        """For each row the position (int32) of its clip in `names`, null where it is not among them."""
        return pc.index_in(self.names, value_set=pa.array(names, type=pa.string()))


_KEY_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def _examples(rows: pa.Table, contents: pa.Array, paths: pa.Array) -> pa.Table:
    video = pa.StructArray.from_arrays([contents, paths], names=["bytes", "path"])
    return pa.table({"video": video, **{name: rows[name] for name in _KEY_COLUMNS}})


class _Files:
    """Clips in files of their own. A shard is a range of rows."""

    def __init__(self, examples: pa.Table):
        self._examples = examples.combine_chunks()

    @property
    def shards(self) -> list[Any]:
        count, rows = min(_TREE_SHARDS, len(self._examples)), len(self._examples)
        return [(rows * shard // count, rows * (shard + 1) // count) for shard in range(count)]

    def tables(self, shard: tuple[int, int], came: set[int]) -> Iterator[pa.Table]:
        """`came` is for archives, which may hold a clip twice."""
        yield self._examples.slice(shard[0], shard[1] - shard[0])


class _Archives:
    """Clips in tar archives. A shard is the path or URL of one; the clips in `replacements`, one too, win.

    `what` names the split in messages. A damaged archive gives the clips before the damage and a warning; where
    `strict` is set, it raises ArchiveError.
    """

    def __init__(
        self,
        wanted: _Wanted,
        shards: list[str],
        replacements: str | None,
        cache: DownloadCache,
        *,
        what: str,
        strict: bool,
    ):
        self.wanted = wanted
        self.shards = shards
        self._replacements = replacements
        self._cache = cache
        self._what = what
        self._strict = strict
        self._origins: dict[str, str] = {}
        # What `report` tells: by shard the members that are not annotated, and those that came before.
        self._besides: dict[str, tuple[list[str], list[str]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**{name: value for name, value in vars(self).items() if name != "_replaced"}, "_besides": {}}

    def urls(self) -> list[str]:
        return [shard for shard in self.shards if _is_url(shard)]

    def downloaded(self) -> "_Archives":
        """The same with the archives as they lie in the download cache."""
        local = {url: self._cache.path(url) for url in self.urls()}
        there = copy.copy(self)
        there.shards = [local.get(shard, shard) for shard in self.shards]
        there._replacements = local.get(self._replacements or "", self._replacements)
        there._origins = {path: url for url, path in local.items()}
        return there

    def tables(self, shard: str, came: set[int]) -> Iterator[pa.Table]:
        """The wanted clips of an archive, a table of one row each; not those in `came`, to which they are added."""
        for file_name, data, row in self._clips(shard, came):
            contents, paths = pa.array([data], type=pa.binary()), pa.array([file_name])
            yield _examples(self.wanted.table.take([row]), contents, paths)

    def examples(self, shard: str) -> Iterator[dict[str, Any]]:
        """The same as Python values, without a copy of a clip's bytes."""
        columns = [(name, self.wanted.table[name].combine_chunks()) for name in _KEY_COLUMNS]
        for file_name, data, row in self._clips(shard, set()):
            keys = {name: column[row].as_py() for name, column in columns}
            yield {"video": {"bytes": data, "path": file_name}, **keys}

    def report(self) -> None:
        """Says which members of the archives read since the last report are not annotated, and which came twice."""
        # One by one, since the readers of other archives may end in other threads, and what one tells is told.
        told = [self._besides.pop(shard, ([], [])) for shard in list(self._besides)]
        for index, what in enumerate(("not annotated", "there twice, of which one is loaded")):
            names = [name for besides in told for name in besides[index]]
            if names:
                _logger.warning(f"{self._what}: members of archives that are {what}: {len(names):,} ({_some(names)})")

    def _clips(self, shard: str, came: set[int]) -> Iterator[tuple[str, bytes, int]]:
        """(file name, bytes, row) of each clip to load in an archive that is not in `came`, to which it is added.

        An archive from the network is read a second time where it is damaged: it may have been so on the way.
        """
        url = shard if _is_url(shard) else self._origins.get(shard)
        # In the cache, a file's name does not tell what it is.
        name = shard if url in (None, shard) else f"{url} ({shard})"
        # Looked up now, as in `read_archive`. A file may be a link to nothing.
        damage: tuple[type[OSError], ...] = (ArchiveError, ChangedError)
        damage += (FileNotFoundError,) if url is None else ()
        replaced = set() if shard == self._replacements else self._replaced
        loaded: set[int] = set()
        for may_read_again in (url is not None, False):
            try:
                for file_name, data, row in self._members(shard, name, came, replaced):
                    if row not in loaded:
                        loaded.add(row)
                        yield file_name, data, row
                break
            except damage as error:
                if may_read_again:
                    _logger.warning(f"{error}; reading it once more from its start")
                    if url is not None and url != shard:
                        os.remove(shard)
                        self._cache.fetch(url)
                    continue
                if self._strict:
                    raise
                advice = "" if url is None else "the server's copy is damaged; "
                _logger.warning(f"{error}; {advice}{len(loaded):,} clips of it are loaded, the others count as absent")
                break
        came |= loaded
        _logger.info(f"{name}: {len(loaded):,} clips to load")

    def _members(self, shard: str, name: str, came: set[int], replaced: set[int]) -> Iterator[tuple[str, bytes, int]]:
        """The same of one reading from the start, but for those in `replaced`."""
        here: set[int] = set()
        stems: list[str] = []
        unknown: list[str] = []
        twice: list[str] = []
        try:
            with _open_binary(shard) as file:
                for member, data in read_archive(file, name=name):
                    file_name, stem = member.rpartition("/")[2], _stem(member)
                    stems.append(stem)
                    row = self.wanted.row(stem)
                    if row is None:
                        _logger.debug(f"{name}: {member!a} is not among the clips to load")
                        if self.wanted.annotated.row(stem) is None:
                            unknown.append(file_name)
                    elif row in replaced:
                        continue
                    elif row in here or row in came:
                        twice.append(file_name)
                    else:
                        here.add(row)
                        yield file_name, data, row
        finally:  # not before: archives are read side by side, and `report` forgets what it tells
            self._besides[shard] = (unknown, twice)
        if shard == self._replacements and not os.path.exists(self._replaced_path):
            self._note_replaced(stems)

    @functools.cached_property
    def _replaced(self) -> set[int]:
        """Rows of the clips that the archive of replacements holds; their names are kept on disk since it is 2 GB to
        read."""
        if self._replacements is None:
            return set()
        os.makedirs(self._cache.directory, exist_ok=True)
        with FileLock(self._replaced_path + ".lock"):
            if not os.path.exists(self._replaced_path):
                _logger.warning(f"{self._replacements}: reading once which clips it replaces")
                return {row for _, _, row in self._clips(self._replacements, set())}
            with open(self._replaced_path, encoding="utf-8") as file:
                rows = map(self.wanted.row, json.load(file))
                return {row for row in rows if row is not None}

    @property
    def _replaced_path(self) -> str:
        assert self._replacements is not None
        state = [] if _is_url(self._replacements) else _state_of([self._replacements])
        return os.path.join(self._cache.directory, f"kinetics-replaced-clips-{_digest(self._replacements, state)}.json")

    def _note_replaced(self, stems: list[str]) -> None:
        os.makedirs(self._cache.directory, exist_ok=True)
        partial = f"{self._replaced_path}.{os.getpid()}.incomplete"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(sorted(stems), file)
        os.replace(partial, self._replaced_path)


class _ArchiveStream(ExamplesIterable):
    """Examples of archives, which says at its end, in each process for what was read there, what else they hold."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        self.kwargs["source"].report()

    def shuffle_data_sources(self, generator: Any) -> "_ArchiveStream":
        shards = self.kwargs["shards"]
        order = copy.deepcopy(generator).permutation(len(shards))
        shuffled = {**self.kwargs, "shards": [shards[index] for index in order]}
        return _ArchiveStream(self.generate_examples_fn, shuffled)

    def shard_data_sources(self, *args: Any, **kwargs: Any) -> "_ArchiveStream":
        return _ArchiveStream(self.generate_examples_fn, super().shard_data_sources(*args, **kwargs).kwargs)

    def reshard_data_sources(self) -> "_ArchiveStream":
        return self  # an archive is read front to back


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode("utf-8")).hexdigest()[:16]


def find_split(name: str) -> str:
    """Our name of a split, of SPLITS, by any spelling that annotation files or folders use: "validation" by "val".

    Raises ValueError naming the nearest one where there is no such split.
    """
    return _SPLIT_SPELLINGS.get(name) or _choose(name, SPLITS, "split")


def split_spellings(split: str) -> list[str]:
    """What the folder of a split may be called: "val", "validate", "validation"."""
    return [name for name, meaning in _SPLIT_SPELLINGS.items() if meaning == split]


def split_directories(data_dir: str, split: str) -> list[str]:
    """The directories in `data_dir` that hold a split: of its spellings ("val", "validate", ...) those that exist."""
    return [f"{data_dir}/{name}" for name in split_spellings(split) if os.path.isdir(f"{data_dir}/{name}")]


def list_directory(directory: str) -> tuple[list[str], list[str]]:
    """Paths of the clips in a directory and in the directories in it, and those of the archives in it."""
    clips, dead_links, archives = _listing(directory)
    return clips + dead_links, archives


def _listing(directory: str) -> tuple[list[str], list[str], list[str]]:
    """The same with the links to nothing apart: clips, dead links that are called like clips, archives."""
    clips: list[str] = []
    dead_links: list[str] = []
    archives: list[str] = []

    def add(entry: Any) -> None:
        # Nothing but a link needs a look.
        is_dead = entry.is_symlink() and not os.path.exists(entry.path)
        (dead_links if is_dead else clips).append(entry.path)

    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir():
                with os.scandir(entry.path) as files:
                    for file in files:
                        if is_clip(file.name):
                            add(file)
            elif is_clip(entry.name):
                add(entry)
            elif entry.name.lower().endswith(_ARCHIVE_SUFFIXES):
                archives.append(entry.path)
    return clips, dead_links, archives


def file_order(path: str, folder: str, *, has_bytes: bool, label: int, release: str) -> tuple[bool, int, bool, str]:
    """Sort key of the files of one clip, of which the first is the one that counts.

    Those with bytes come first, then the one in the folder of its class, one in no `folder` ("") and those in others,
    then those that are named by more than the video, then the first name. `label` is the clip's, -1 without.
    """
    index = _plain_labels(release).get(_plain(folder))
    place = 1 if not folder else 0 if index == label else 2
    return not has_bytes, place, len(_stem(path)) == 11, path


def _has_bytes(path: str) -> bool:
    """Whether a file is there and not empty; `path` may be a URL."""
    try:
        if "://" in path:
            files, name = fsspec.url_to_fs(path)
            return files.size(name) != 0
        return os.path.getsize(path) > 0
    except OSError:
        return False


def _by_name(
    paths: Iterable[str], order: Callable[[str, str], Any], *, name_of: Callable[[str], str] = str
) -> tuple[dict[str, str], list[str]]:
    """The clips' files by name, which is `name_of` their names without suffix, and the names that several have.

    Of several it is the first by `order`, a key of name and path.
    """
    paths = list(paths)
    names = list(map(name_of, map(_stem, paths)))
    by_name = dict(zip(names, paths, strict=True))
    rivals: dict[str, list[str]] = {}
    if len(by_name) < len(paths):
        counts = Counter(names)
        for name, path in zip(names, paths, strict=True):
            if counts[name] > 1:
                rivals.setdefault(name, []).append(path)
    for name, files in rivals.items():
        by_name[name] = min(files, key=functools.partial(order, name))
    return by_name, list(rivals)


def _state_of(paths: Iterable[str]) -> list[tuple[str, int, int]]:
    """Name, size and time (ns) of files and of directories, whose size is no matter.

    A directory's time changes with its entries, so that the clips in it need no look.
    """
    # Of a link to nothing, its own.
    stats = ((path, os.stat(path, follow_symlinks=os.path.exists(path))) for path in paths)
    return sorted((path, 0 if S_ISDIR(stat.st_mode) else stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def _with_holders(directory: str) -> list[str]:
    """A directory of clips, with what in it holds clips: directories and archives."""
    with os.scandir(directory) as entries:
        holders = [entry.path for entry in entries if entry.is_dir() or entry.name.lower().endswith(_ARCHIVE_SUFFIXES)]
    return [directory, *holders]


def replacement_directories(data_dir: str) -> list[str]:
    """Where the public scripts put the replacements of 400, as an archive or extracted, if anywhere."""
    names = ("replacement", "replacement/replacement_for_corrupted_k400", "replacement_for_corrupted_k400")
    return [f"{data_dir}/{name}" for name in names if os.path.isdir(f"{data_dir}/{name}")]


def _replacement_archives(data_dir: str) -> list[str]:
    """The archive of replacements of 400 wherever it lies beside the splits."""
    name = _REPLACEMENTS.rpartition("/")[2]
    beside = [f"{folder}/{name}" for folder in [data_dir, *replacement_directories(data_dir)]]
    return [path for path in beside if os.path.isfile(path)]


def _folder(path: str, split: str) -> str:
    """The folder in that of its split in which a clip lies, which may name its class; "" where it lies in none."""
    folder = path.rsplit("/", 2)[-2]
    return "" if _SPLIT_SPELLINGS.get(folder) == split else folder


def _rows_of_names(paths: Iterable[str], release: str, split: str) -> pa.Table:
    """Annotations of a tree without annotation files: the class is the directory, the segment in the file name."""
    known = _plain_labels(release)
    label_of = functools.cache(lambda folder: known.get(_plain(folder)))
    paths = [path for path in paths if label_of(_folder(path, split)) is not None]
    by_stem, _ = _by_name(paths, lambda _, path: (not _has_bytes(path), path))
    stems = sorted(by_stem)
    pattern = rf"^(?P<youtube_id>{_ID})_(?P<time_start>\d{{6}})_(?P<time_end>\d{{6}})$"
    fields = pc.extract_regex(pa.array(stems, type=pa.string()), pattern)
    labels = pa.array([label_of(_folder(by_stem[stem], split)) for stem in stems], type=pa.int64())
    # A null's fields are empty, which are no numbers.
    is_clip_name = pc.is_valid(fields)
    fields, labels = fields.filter(is_clip_name), labels.filter(is_clip_name)
    return pa.table(
        {
            "youtube_id": fields.field("youtube_id"),
            "time_start": fields.field("time_start").cast(pa.float32()),
            "time_end": fields.field("time_end").cast(pa.float32()),
            "label": labels,
        }
    )


# ---- The builder --------------------------------------------------------------------------------------------


# "torchcodec", or "torchvision" with `datasets` 3.
_DECODER_PACKAGE = datasets.Video.dtype.partition(".")[0]


@functools.cache
def _decoder_problem() -> str | None:
    """Why the decoder that this release of `datasets` uses for video does not load, or None."""
    module, _, name = datasets.Video.dtype.rpartition(".")
    try:
        getattr(import_module(module), name)
    except (ImportError, AttributeError, OSError, RuntimeError) as error:  # torchcodec without FFmpeg: RuntimeError
        return f"{_DECODER_PACKAGE} does not load ({str(error).strip().splitlines()[0]})"
    return None


@functools.cache
def _tell_about_decoding(problem: str) -> None:
    _logger.warning(
        f'{problem}: `video` comes as {{"bytes", "path"}}. For frames through `datasets`, install torch, '
        f"{_DECODER_PACKAGE} and FFmpeg's shared libraries; decode=False says that bytes are wanted."
    )


def _as_list(names: Any) -> Any:
    """The names in a list, of any iterable or of one name alone; what is neither as it is."""
    if isinstance(names, str):
        return [names]
    return list(names) if isinstance(names, Iterable) else names


@dataclass(eq=False)
class KineticsConfig(datasets.BuilderConfig):
    """What to load of a release of Kinetics. Each field is an argument of `load_dataset("kinetics", release, ...)`.

    Attributes:
        data_dir: directory with `train`, `val`/`validate`/`validation` and `test`, each holding
            `<class>/<clip>.mp4`, `<clip>.mp4` or archives as the public mirror has them. Without it, the public
            archives.
        splits: of "train", "validation" and "test", those to load; nothing of the others is fetched. All that
            are there if None.
        classes: labels to load; all if None. `label` keeps its index in the whole release.
        max_clips_per_class: at most this many annotated clips of each class, chosen by `seed`.
        annotations: directory, file or URL that replaces the annotations (default: those in `data_dir`; without
            them the names of class directories and files; else the published edition).
        mirror: URL that takes the place of the public hosts (default: the environment variable KINETICS_MIRROR).
        on_missing: "skip" counts and names annotated clips that are absent and archives that are damaged, "raise"
            raises FileNotFoundError and ArchiveError.
        seed: chooses among the clips where `max_clips_per_class` is given.
        decode: whether `video` is decoded by `datasets`, to a torchcodec `VideoDecoder`, or stays
            `{"bytes", "path"}`; None decodes where the decoder loads. The stored data is the same.
    """

    data_dir: str | None = None
    splits: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    max_clips_per_class: int | None = None
    annotations: str | None = None
    mirror: str | None = None
    on_missing: str = "skip"
    seed: int = 0
    decode: bool | None = None

    def check(self) -> None:
        """Raises ValueError naming what is wrong with a field, and makes paths absolute."""
        _choose(self.name, RELEASES, "release")
        for name in ("splits", "classes"):
            value = _as_list(getattr(self, name))
            if value is not None and (not isinstance(value, list) or not value):
                raise ValueError(f"{name} is {value!r}; pass a list of one name or more, or leave it out to have all")
            setattr(self, name, value)
        for split in self.splits or ():
            _choose(split, SPLITS, "split")
        self.classes = self.classes and [LABELS[self.name][find_label(name, self.name)] for name in self.classes]
        _choose(self.on_missing, ("skip", "raise"), "on_missing")
        limit = self.max_clips_per_class
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise ValueError(f"max_clips_per_class is {limit!r}; it must be 1 or more, a whole number")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise ValueError(f"seed is {self.seed!r}; it must be a whole number")
        if self.decode is not None and not isinstance(self.decode, bool):
            raise ValueError(f"decode is {self.decode!r}; it must be True, False or None")
        _mirror(self.mirror)
        for name in ("data_dir", "annotations"):
            path = getattr(self, name)
            if path is not None and not isinstance(path, str | os.PathLike):
                raise ValueError(f"{name} is {path!r}; it must be a path{' or a URL' * (name == 'annotations')}")
            if path is not None and (name == "data_dir" or not _is_url(os.fspath(path))):
                path = os.path.abspath(os.path.expanduser(path)).replace(os.sep, "/")
                setattr(self, name, path)
                if not (os.path.isdir(path) or (os.path.exists(path) and name == "annotations")):
                    raise FileNotFoundError(f"{name}={path!r} does not exist or is not a directory")

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """The name of the cache: what was asked for and, for a local tree, the state in which it is now."""
        self.check()
        asked = {name: getattr(self, name) for name in config_kwargs if name != "decode"}
        if files := self._files():
            asked["files"] = _digest(_state_of(files))
        mirror = _mirror(self.mirror)
        if mirror:
            asked["mirror"] = mirror
        return super().create_config_id(asked, custom_features)

    def _files(self) -> set[str]:
        """Local files and directories that change when clips or annotations do, and with nothing else in a tree."""
        data_dir = self.data_dir
        files: set[str] = set()
        splits = self.splits or SPLITS
        if data_dir is not None:
            folders = {split: split_directories(data_dir, split) for split in splits}
            splits = [split for split in splits if folders[split]]
            holders = [*chain(*folders.values()), *replacement_directories(data_dir)]
            files.update(*map(_with_holders, holders), _replacement_archives(data_dir))
        if self.annotations is not None:
            places = [self.annotations]
            files.update(filter(os.path.isfile, places))
        else:
            places = [data_dir + "/annotations", data_dir] if data_dir is not None else []
        found = (find_annotations(place, split) for place in places for split in splits)
        return files | {path for path in found if path is not None}

    def __eq__(self, other: object) -> bool:
        # Without `decode`, which does not change what is stored: `datasets` compares the config of a cache
        # directory's name with the declared config of that name.
        if not isinstance(other, KineticsConfig):
            return NotImplemented
        return {**vars(self), "decode": None} == {**vars(other), "decode": None}


def features_of(release: str) -> datasets.Features:
    """The columns of an example, see the README. `label` is -1 where the release gives none."""
    return datasets.Features(
        {
            "video": datasets.Video(),
            "label": datasets.ClassLabel(names=list(LABELS[release])),
            "youtube_id": datasets.Value("string"),
            "time_start": datasets.Value("float32"),
            "time_end": datasets.Value("float32"),
        }
    )


class _NothingToLoad(Exception):
    """Why a split has no clip to load."""


class Kinetics(datasets.ArrowBasedBuilder):
    """Kinetics-400, 600, 700 and 700-2020. See `KineticsConfig` for the arguments."""

    VERSION = _STORED_VERSION
    BUILDER_CONFIG_CLASS = KineticsConfig
    BUILDER_CONFIGS: ClassVar = [
        KineticsConfig(name=release, version=_STORED_VERSION, description=f"Kinetics-{release}") for release in RELEASES
    ]

    def __init__(self, *args: Any, **kwargs: Any):
        # Now, since an iterator gives its names once, and `datasets` copies what it is given.
        for name in ("splits", "classes"):
            if name in kwargs:
                kwargs[name] = _as_list(kwargs[name])
        super().__init__(*args, **kwargs)
        if kwargs.get("features") is None:
            self._decode_as_asked(self.info)

    def _create_builder_config(self, config_name: Any = None, **kwargs: Any) -> Any:
        if config_name is None:
            raise ValueError(f"which release? Pass one of {', '.join(RELEASES)}: load_dataset('kinetics', '700')")
        _choose(config_name, RELEASES, "release")
        fixed = ("name", "version", "description", "data_files")
        fields = [name for name in KineticsConfig.__dataclass_fields__ if name not in fixed]
        for name in kwargs.keys() - {"custom_features", "config_id"}:
            _choose(name, fields, "option")
        return super()._create_builder_config(config_name=config_name, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        release = self.config.name
        splits = None
        if self.config.data_dir is None:
            # Known without asking a server, so that split names and counts are there before anything is fetched.
            names = self.config.splits or SPLITS
            whole = self.config.classes is None and self.config.max_clips_per_class is None
            counts = _ROWS[release] if whole and self.config.annotations is None else {}
            splits = datasets.SplitDict(
                {name: datasets.SplitInfo(name, num_examples=counts.get(name, 0)) for name in names}
            )
        return datasets.DatasetInfo(
            description=f"Kinetics-{release}: clips of about 10 s of {len(LABELS[release])} human actions.",
            features=features_of(release),
            homepage=_HOMEPAGE,
            license=_LICENSE,
            citation=CITATIONS[release],
            splits=splits,
        )

    def get_exported_dataset_info(self) -> datasets.DatasetInfo:
        # `datasets` 3 takes what lies in a dataset_infos.json beside a builder for facts about every load of it.
        return datasets.DatasetInfo()

    def _decode_as_asked(self, info: datasets.DatasetInfo) -> datasets.DatasetInfo:
        decode, problem = self.config.decode, None
        if decode is not False:
            problem = _decoder_problem()
        if problem and decode:
            raise ImportError(f"decode=True, but {problem}; install it or pass decode=False for bytes")
        if problem:
            _tell_about_decoding(problem)
        info.features["video"] = datasets.Video(decode=decode is not False and problem is None)
        return info

    def _load_info(self) -> datasets.DatasetInfo:
        # The cache may have been made where the decoder loads, or does not.
        return self._decode_as_asked(super()._load_info())

    # -- Where the clips are

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        config = self.config
        download = dl_manager.download_config
        cache = DownloadCache(download.cache_dir, force=bool(download.force_download))
        find = self._public_source if config.data_dir is None else self._local_source
        sources: dict[str, _Files | _Archives] = {}
        left_out: dict[str, str] = {}
        for split in config.splits or SPLITS:
            try:
                source = find(split, cache)
            except _NothingToLoad as problem:
                left_out[split] = str(problem)
            else:
                sources.update({split: source} if source is not None else {})
        if left_out and not sources:
            reasons = "; ".join(f"{split}: {reason}" for split, reason in left_out.items())
            raise ValueError(
                f"nothing of kinetics {config.name} is left to load: {reasons}. Choose other classes= or splits=, or "
                "see that data_dir= and annotations= belong together"
            )
        for split, reason in left_out.items():
            _logger.warning(f"{self._name(split)}: left out: {reason}")
        if not sources:
            raise FileNotFoundError(
                f"no clips of kinetics {config.name} in {config.data_dir}: it should hold train, val (or validate, "
                "validation) or test, each with <class>/<clip>.mp4, <clip>.mp4 or *.tar.gz; "
                f"it holds {_some(sorted(os.listdir(config.data_dir)), 10) or 'nothing'}"
            )
        archives = {split: source for split, source in sources.items() if isinstance(source, _Archives)}
        if not dl_manager.is_streaming:
            self._download(archives, cache)
            sources.update({split: source.downloaded() for split, source in archives.items()})
        elif archives and config.on_missing == "raise":
            raise ValueError(
                "on_missing='raise' cannot hold while archives are streamed: what is absent shows at their end only; "
                "load without streaming, or pass on_missing='skip'"
            )
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"shards": source.shards, "source": source})
            for split, source in sources.items()
        ]

    def local_clips(self, split: str, paths: Iterable[str] | None = None) -> pa.Table | None:
        """The annotated clips of a split, those to load, and where `data_dir` has them in files of their own.

        Columns: label (int64, -1 without), youtube_id (string), time_start and time_end (float32, seconds), path
        (string, null where a clip is absent). The schema's metadata has "annotated", the number of annotated clips of
        the whole split, and "annotations", the name or public URL of their file, without it where names of files and
        directories are all that there is. `paths` are the files, where they are not to be looked for. None where
        no file is called like a clip, or no clip has a label to choose `classes` by and this split was not asked
        for. Raises FileNotFoundError where the split has no such files, with what to do about archives.
        """
        files, archives = self._listed(split) if paths is None else (self._readable(split, paths), [])
        if not files:
            there = "no clips" + f", but {len(archives):,} archives, which have to be extracted first" * bool(archives)
            raise FileNotFoundError(f"{self.config.data_dir}: the {split} split has {there}")
        try:
            wanted = self._wanted(split, DownloadCache(), files)
        except _NothingToLoad as reason:
            _logger.warning(f"{self._name(split)}: left out: {reason}")
            return None
        return self._found(split, wanted, files)

    def _name(self, split: str) -> str:
        return f"kinetics {self.config.name} {split}"

    def _found(self, split: str, wanted: _Wanted, files: list[str]) -> pa.Table:
        by_name = self._one_of_each(split, wanted.annotated, files)
        names = list(by_name)
        positions = wanted.positions(names)
        annotated = positions if wanted.annotated is wanted else wanted.annotated.positions(names)
        known = set(annotated.to_pylist())
        extra = [name for position, name in enumerate(names) if position not in known]
        unasked = len(known - {None}) - len(set(positions.to_pylist()) - {None})
        if unasked:
            _logger.info(f"{self._name(split)}: files annotated but not asked for: {unasked:,}")
        missing = wanted.names.filter(pc.is_null(positions)).to_pylist()
        self._report(split, len(wanted), missing, extra)
        paths = pa.array(list(by_name.values()), type=pa.string()).take(positions)
        about = {"annotated": f"{len(wanted.annotated)}"} | ({"annotations": wanted.source} if wanted.source else {})
        return wanted.table.select(_KEY_COLUMNS).append_column("path", paths).replace_schema_metadata(about)

    def _one_of_each(self, split: str, annotated: _Wanted, files: list[str]) -> dict[str, str]:
        """The clips' files by the clips' names; which of those that lie there twice are left out is said."""

        def order(name: str, path: str) -> Any:
            row = annotated.row(name)
            label = -1 if row is None else annotated.table["label"][row].as_py()
            folder = _folder(path, split)
            return file_order(path, folder, has_bytes=_has_bytes(path), label=label, release=self.config.name)

        by_name, several = _by_name(files, order, name_of=annotated.name)
        if several:
            _logger.warning(
                f"{self._name(split)}: clips that lie there twice, of which one file counts: {len(several):,} "
                f"({_some(several)})"
            )
        replacements, _ = _by_name(self._replacements(split), order, name_of=annotated.name)
        return by_name | replacements

    def _readable(self, split: str, paths: Iterable[str]) -> list[str]:
        """`paths` without those that Arrow cannot hold, which is said."""
        paths = list(paths)
        odd = [path for path in paths if not path.isascii() and not _is_text(path)]
        if odd:
            names = [repr(path.removeprefix(f"{self.config.data_dir}/")) for path in odd]
            _logger.warning(
                f"{self._name(split)}: files left out, whose names are no UTF-8: {len(odd):,} ({_some(names)})"
            )
            paths = list(filter(_is_text, paths))
        return paths

    def _listed(self, split: str) -> tuple[list[str], list[str]]:
        """What `data_dir` has of a split: the paths of clips, or else of archives."""
        paths: list[str] = []
        dead_links: list[str] = []
        archives: list[str] = []
        for directory in split_directories(self.config.data_dir, split):
            clips, dead, tars = _listing(directory)
            paths += clips
            dead_links += dead
            archives += tars
        if dead_links:
            names = _some(map(_stem, dead_links))
            _logger.warning(f"{self._name(split)}: links to nothing, left out: {len(dead_links):,} ({names})")
        if paths and archives:
            _logger.warning(
                f"{self._name(split)}: clips and {len(archives):,} archives lie side by side; the archives are left out"
            )
        paths = self._readable(split, paths)
        return paths, [] if paths else archives

    def _local_source(self, split: str, cache: DownloadCache) -> _Files | _Archives | None:
        config = self.config
        files, archives = self._listed(split)
        if not files and not archives:
            if config.splits is not None:
                raise FileNotFoundError(
                    f"no clips and no archives in {config.data_dir}/ {', '.join(split_spellings(split))}"
                )
            return None
        wanted = self._wanted(split, cache, files)
        if not files:
            replacements = None
            if config.name == "400" and split == "train":
                archives += _replacement_archives(config.data_dir)
                name = _REPLACEMENTS.rpartition("/")[2]
                replacements = next((path for path in archives if path.endswith("/" + name)), None)
            return self._archives(split, wanted, sorted(archives), replacements, cache)
        found = self._found(split, wanted, files)
        found = found.filter(pc.is_valid(found["path"]))
        if not len(found):
            self._raise_if_unwanted(wanted)
            raise _NothingToLoad(f"none of its {len(wanted):,} annotated clips is there")
        return _Files(_examples(found, pa.nulls(len(found), pa.binary()), found["path"].combine_chunks()))

    def _replacements(self, split: str) -> list[str]:
        """The extracted replacements of 400, beside the splits, which win over the clips that they replace."""
        data_dir = self.config.data_dir
        if data_dir is None or self.config.name != "400" or split != "train":
            return []
        # One of the directories may lie in another.
        clips = {clip for folder in replacement_directories(data_dir) for clip in _listing(folder)[0]}
        if not clips:
            for archive in _replacement_archives(data_dir):
                _logger.warning(
                    f"{self._name('train')}: no clips are replaced, since {archive} is not extracted; extract it into "
                    f"{data_dir}/replacement"
                )
        return self._readable("train", sorted(clips))

    def _public_source(self, split: str, cache: DownloadCache) -> _Archives:
        config = self.config
        wanted = self._wanted(split, cache, [])
        try:
            urls = archive_urls(config.name, split, classes=config.classes, mirror=config.mirror)
        except FileNotFoundError as error:
            raise self._with_way_out(error) from None
        replacements = next((url for url in urls if url.endswith(_REPLACEMENTS)), None)
        if replacements is not None and not _is_there(replacements):
            _logger.warning(f"kinetics 400 train: no clips are replaced, since the mirror has no {replacements}")
            urls.remove(replacements)
            replacements = None
        return self._archives(split, wanted, urls, replacements, cache)

    def _archives(
        self, split: str, wanted: _Wanted, shards: list[str], replacements: str | None, cache: DownloadCache
    ) -> _Archives:
        self._raise_if_unwanted(wanted)
        strict = self.config.on_missing == "raise"
        return _Archives(wanted, shards, replacements, cache, what=self._name(split), strict=strict)

    def _raise_if_unwanted(self, wanted: _Wanted) -> None:
        if not len(wanted):
            raise _NothingToLoad(f"none of its annotated clips is of the classes {_some(self.config.classes or ())}")

    def _with_way_out(self, error: FileNotFoundError) -> FileNotFoundError:
        """`error`, about one split, with how to load the others where that was not said."""
        way_out = "" if self.config.splits else '; to load other splits, name them, as in splits=["validation"]'
        return FileNotFoundError(f"{error}{way_out}")

    def _wanted(self, split: str, cache: DownloadCache, files: list[str]) -> _Wanted:
        """The clips of a split to load."""
        config = self.config
        path, source = None, ""
        if config.annotations is None and config.data_dir is not None:
            path = annotations_of_tree(config.data_dir, split)
        is_published = path is None and config.annotations is None
        if is_published and files and all(_folder(file, split) for file in files):  # a class tree
            table = _rows_of_names(files, config.name, split)
            if not len(table):
                raise _NothingToLoad(
                    f"none of its {len(files):,} files, called like a clip, lies in a directory called like a class"
                )
        else:
            try:
                path = path or annotation_file(
                    config.name, split, annotations=config.annotations, mirror=config.mirror, cache=cache
                )
            except FileNotFoundError as error:
                raise self._with_way_out(error) from None
            table = first_of_each(read_split(path, config.name, split), path)
            source = self._public_name(path, is_published=is_published)
        if config.classes is None and config.max_clips_per_class is None:
            return _Wanted(table.combine_chunks(), source=source)
        try:
            options = {"classes": config.classes, "max_clips_per_class": config.max_clips_per_class}
            return _Wanted(select_clips(table, config.name, seed=config.seed, **options), table, source)
        except ValueError as error:
            if config.splits is not None:
                raise
            raise _NothingToLoad(str(error)) from None

    def _public_name(self, path: str, *, is_published: bool) -> str:
        """What anybody may call a file of annotations: the URL that was given or is the default, or their file.

        Neither folders of this machine nor what gives access are in it.
        """
        given = _EDITIONS[self.config.name] if is_published else self.config.annotations
        if given is not None and _is_url(given):
            url = urllib.parse.urlsplit(given)
            return url._replace(netloc=url.netloc.rpartition("@")[2], query="", fragment="").geturl()
        return os.path.basename(path)

    def _report(self, split: str, wanted: int, missing: list[str], extra: list[str]) -> None:
        """Says which clips are absent and which are not annotated; raises where that is asked for."""
        if missing and self.config.on_missing == "raise":
            raise FileNotFoundError(
                f"{len(missing):,} of {wanted:,} annotated clips of the {split} split are absent: {_some(missing, 10)}"
            )
        parts = []
        if missing:
            parts.append(f"annotated without a file: {len(missing):,} ({_some(missing)})")
        if extra:
            parts.append(f"files not annotated: {len(extra):,} ({_some(extra)})")
        if parts:
            count = f"{wanted - len(missing):,} of {wanted:,} clips"
            _logger.warning(f"{self._name(split)}: {count}; {'; '.join(parts)}")

    # -- Without streaming

    def _download(self, archives: dict[str, _Archives], cache: DownloadCache) -> None:
        """Fetches the archives, after it has said how many bytes they are and how much room there is."""
        shards = [shard for source in archives.values() for shard in source.shards]
        urls = list(filter(_is_url, shards))
        with ThreadPoolExecutor(max_workers=16) as pool:
            sizes = dict(zip(urls, pool.map(size_of, urls), strict=True))
        total, unknown = sum(sizes.values()), sum(not size for size in sizes.values())
        to_fetch = sum(max(0, size - cache.bytes_of(url)) for url, size in sizes.items())
        # How much of the archives a selection takes shows when they are read.
        takes_all = all(source.wanted.annotated is source.wanted for source in archives.values())
        copied = total + sum(map(os.path.getsize, filter(os.path.exists, shards)))  # of local ones
        needed = {self._output_dir: copied if takes_all else 0} if os.path.isdir(self._output_dir) else {}
        if urls:
            os.makedirs(cache.directory, exist_ok=True)
            needed[cache.directory] = to_fetch
        rooms = _rooms(needed)
        if urls:
            untold = f" (the server does not tell the size of {unknown:,})" if unknown else ""
            free = ", ".join(f"{room.free / 1e9:,.2f} GB are free in {room.directory}" for room in rooms)
            _logger.warning(
                f"kinetics {self.config.name} ({', '.join(archives)}): {len(urls):,} archives of {total / 1e9:,.2f} GB"
                f"{untold}, {to_fetch / 1e9:,.2f} GB of them to download to {cache.directory}, and at most "
                f"{copied / 1e9:,.2f} GB for the dataset in {self._cache_dir_root}; {free}"
            )
        for room in rooms:
            if room.needed > room.free:
                raise OSError(
                    f"{room.needed / 1e9:,.2f} GB are needed and {room.free / 1e9:,.2f} GB are free in "
                    f"{room.directory}; choose splits= or classes=, pass a cache_dir= with more room, or use "
                    "streaming=True, which stores nothing"
                )
        if not urls:
            return
        self._download_size = total
        stopped = threading.Event()
        whole = sum(size for url, size in sizes.items() if cache.bytes_of(url) >= size)  # of a part, `fetch` tells
        with datasets.utils.tqdm(
            total=total, initial=whole, unit="B", unit_scale=True, desc="Downloading archives"
        ) as bar:

            def progress(count: int) -> None:
                if stopped.is_set():
                    raise InterruptedError("the download was stopped; the same call goes on from here")
                bar.update(count)

            with ThreadPoolExecutor(max_workers=4) as pool:
                try:
                    list(pool.map(functools.partial(cache.fetch, progress=progress), urls))
                except BaseException:
                    stopped.set()  # or an error or Ctrl-C would wait for the archives in flight, of a gigabyte each
                    raise

    def _download_and_prepare(self, dl_manager: Any, verification_mode: Any, **kwargs: Any) -> None:
        self.info.splits = None  # the published counts; what is made may be less of it
        try:
            super()._download_and_prepare(dl_manager, verification_mode, **kwargs)
        except OSError as error:
            # As whatever OSError the making of a split raises is called there.
            if str(error).startswith("Cannot find data file") and error.__context__ is not None:
                raise error.__context__ from None
            raise
        self.info.download_size = self.__dict__.get("_download_size", 0)
        # `datasets` cannot read a split without rows.
        empty = [split for split, info in self.info.splits.items() if not info.num_examples]
        reason = "the archives hold none of its annotated clips"
        if len(empty) == len(self.info.splits):
            raise FileNotFoundError(
                f"nothing of kinetics {self.config.name} is left to load: {', '.join(empty)}: {reason}; see that "
                "data_dir= and annotations= belong together, and to this release"
            )
        for split in empty:
            _logger.warning(f"{self._name(split)}: left out: {reason}")
            del self.info.splits[split]

    def _prepare_split(self, split_generator: Any, **kwargs: Any) -> None:
        super()._prepare_split(split_generator, **kwargs)
        source, split = split_generator.gen_kwargs["source"], split_generator.name
        if not isinstance(source, _Archives):
            return
        files = self._fs.ls(self._fs._strip_protocol(self._output_dir), detail=False)
        built = [path for path in files if os.path.basename(path).startswith(f"{self.dataset_name}-{split}")]
        names = clip_names(pa.concat_tables(_read_keys(path, self._fs) for path in built))
        wanted = source.wanted.names
        missing = wanted.filter(pc.invert(pc.is_in(wanted, value_set=names)))
        self._report(split, len(wanted), missing.to_pylist(), [])
        counts = pc.value_counts(names)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()
        if twice:
            _logger.warning(
                f"{self._name(split)}: {len(twice):,} clips lie in several archives and come more than once "
                f"({_some(twice)}), since processes do not know of each other's; without num_proc each comes once"
            )

    def _prepare_split_single(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        try:
            yield from super()._prepare_split_single(*args, **kwargs)
        except DatasetGenerationError as error:
            # In the process that wrote, since what comes out of another one has lost its cause.
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise

    def _get_examples_iterable_for_split(self, split_generator: Any) -> Any:
        if isinstance(split_generator.gen_kwargs["source"], _Archives):
            # Through Arrow tables, as clips in files take, each clip's bytes would be copied several times.
            return _ArchiveStream(self._generate_examples, split_generator.gen_kwargs)
        return super()._get_examples_iterable_for_split(split_generator)

    def _generate_examples(self, shards: list[Any], source: Any) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
        for shard_index, shard in enumerate(shards):
            for index, example in enumerate(source.examples(shard)):
                yield (shard_index, index), example

    def _generate_tables(self, shards: list[Any], source: Any) -> Iterator[tuple[tuple[int, int], pa.Table]]:
        came: set[int] = set()
        for shard_index, shard in enumerate(shards):
            for index, table in enumerate(source.tables(shard, came)):
                yield (shard_index, index), table
        if isinstance(source, _Archives):
            source.report()


@dataclass
class _Room:
    """Bytes needed and free in one file system, `directory` a place in it."""

    directory: str
    needed: int
    free: int


def _rooms(needed: dict[str, int]) -> list[_Room]:
    """The file systems of directories, by the bytes that each directory needs."""
    rooms: dict[int, _Room] = {}
    for directory, size in needed.items():
        room = rooms.setdefault(_device(directory), _Room(directory, 0, shutil.disk_usage(directory).free))
        room.needed += size
    return list(rooms.values())


def _device(path: str) -> int:
    return os.stat(path).st_dev


def _read_keys(path: str, files: Any) -> pa.Table:
    """The columns that name a clip, of a file of a build; `files` is the fsspec file system in which it lies."""
    columns = ["youtube_id", "time_start", "time_end"]
    if path.endswith(".parquet"):
        with files.open(path) as file:
            return pa.parquet.read_table(file, columns=columns)
    # Mapped, the bytes of the clips are not read.
    with pa.memory_map(path) if os.path.exists(path) else files.open(path) as file:
        reader = pa.ipc.open_stream(file)
        schema = pa.schema([reader.schema.field(name) for name in columns])
        return pa.Table.from_batches([batch.select(columns) for batch in reader], schema)


def _is_there(url: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=30).close()
    except urllib.error.HTTPError as error:
        return error.code != 404
    except (OSError, http.client.HTTPException) as error:
        _logger.info(f"{url}: {error}")  # reading it will retry, or say what is wrong
    return True


def size_of(url: str) -> int:
    """Length in bytes by a HEAD request; 0 where the server does not tell."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=30) as response:
            return response.length or int(response.headers.get("Content-Length") or 0)
    except (OSError, http.client.HTTPException, ValueError) as error:
        _logger.info(f"{url}: size unknown: {error}")
        return 0


def embed_bytes(ds: Any, *, batch_size: int = 32, num_proc: int | None = None) -> Any:
    """`ds` with the bytes of its clips in `video` instead of local paths, for `to_parquet`.

    `ds` is a `Dataset`, a stream (`IterableDataset`), or a dict of one of them by split. `push_to_hub` does this
    itself from `datasets` 4.5 on; `Dataset.to_parquet` writes the paths in all releases.
    """
    if isinstance(ds, dict):
        parts = {split: embed_bytes(part, batch_size=batch_size, num_proc=num_proc) for split, part in ds.items()}
        return type(ds)(parts)
    options = {"batched": True, "batch_size": batch_size, "features": ds.features}
    if isinstance(ds, datasets.Dataset):
        options |= {"num_proc": num_proc, "desc": "Embedding clips"}
    return ds.with_format("arrow").map(_embedded, **options).with_format(None)


def _embedded(table: pa.Table) -> pa.Table:
    videos = table["video"].to_pylist()
    for video in videos:
        if video["bytes"] is None:
            with open(video["path"], "rb") as file:
                video["bytes"] = file.read()
            video["path"] = video["path"].rpartition("/")[2]
    column = pa.array(videos, type=datasets.Video.pa_type)
    return table.set_column(table.column_names.index("video"), "video", column)


# ---- Registration -------------------------------------------------------------------------------------------


def _register() -> None:
    """Makes `load_dataset("kinetics", ...)` use this builder, and leaves every other name to the library.

    `datasets` finds its own builders ("csv", "parquet") by name, but lists `data_dir` for them before it builds;
    so the function that maps names to builders answers for ours.
    """
    try:
        load, inspect = import_module("datasets.load"), import_module("datasets.inspect")
        original, module_class = load.dataset_module_factory, load.DatasetModule
    except (ImportError, AttributeError):
        _explain_at_load()
        return
    if getattr(original, "answers_for_kinetics", False):
        return

    @functools.wraps(original)
    def dataset_module_factory(path: str, *args: Any, **kwargs: Any) -> Any:
        if path != "kinetics" or (kwargs.get("data_dir") is None and _is_prepared("kinetics")):
            return original(path, *args, **kwargs)
        return module_class(__name__, str(Kinetics.VERSION), {"dataset_name": "kinetics"})

    dataset_module_factory.answers_for_kinetics = True  # type: ignore[attr-defined]
    for module in (load, inspect):
        if getattr(module, "dataset_module_factory", None) is original:
            module.dataset_module_factory = dataset_module_factory  # type: ignore[attr-defined]


def _is_prepared(directory: str) -> bool:
    """Whether `directory` is a prepared dataset, Parquet with a card of its files, for `datasets` without us."""
    card = directory + "/README.md"
    if not os.path.isfile(card) or os.path.isfile(directory + "/kinetics.py"):
        return False
    with open(card, encoding="utf-8", errors="replace") as file:
        return any(line.startswith("configs:") for line in file)


def _explain_at_load() -> None:
    """For a future `datasets` without the function that we answer for: says at once, and at each load, what to do."""
    problem = (
        f"datasets {datasets.__version__} has no place where kinetics could register. Use the builder: "
        "`builder = kinetics.Kinetics(config_name='700', data_dir=...)`, then "
        "`builder.as_streaming_dataset()`, or `builder.download_and_prepare()` and "
        "`builder.as_dataset()`; or install datasets<6."
    )
    # Who has taken a function out of `datasets` before this import reads this alone.
    _logger.warning(problem)

    def explain(original: Any) -> Any:
        @functools.wraps(original)
        def load(path: str, *args: Any, **kwargs: Any) -> Any:
            if path == "kinetics" and not _is_prepared("kinetics"):
                raise RuntimeError(problem)
            return original(path, *args, **kwargs)

        return load

    loaders = re.compile("load_dataset|load_dataset_builder|get_dataset_[a-z_]+")
    for module in (datasets, sys.modules.get("datasets.load"), sys.modules.get("datasets.inspect")):
        for name in filter(loaders.fullmatch, dir(module)):
            setattr(module, name, explain(getattr(module, name)))


# ---- The classes --------------------------------------------------------------------------------------------

# One line a class: the releases that have it (4 = 400, 6 = 600, 7 = 700 and 700-2020) and its label. Index is
# the place among the labels of a release in byte order, as published models and MMAction2's maps have it.
_CLASS_TABLE = """
467 abseiling
67 acting in play
67 adjusting glasses
467 air drumming
67 alligator wrestling
467 answering questions
467 applauding
467 applying cream
67 archaeological excavation
467 archery
67 arguing
467 arm wrestling
467 arranging flowers
7 arresting
67 assembling bicycle
467 assembling computer
67 attending conference
467 auctioning
47 baby waking up
67 backflip (human)
467 baking cookies
4 balloon blowing
467 bandaging
467 barbequing
467 bartending
67 base jumping
67 bathing dog
67 battle rope training
467 beatboxing
467 bee keeping
7 being excited
7 being in zero gravity
467 belly dancing
467 bench pressing
467 bending back
467 bending metal
467 biking through snow
467 blasting sand
7 blending fruit
67 blowdrying hair
67 blowing bubble gum
467 blowing glass
467 blowing leaves
467 blowing nose
467 blowing out candles
467 bobsledding
67 bodysurfing
467 bookbinding
67 bottling
7 bouncing ball (not juggling)
67 bouncing on bouncy castle
467 bouncing on trampoline
467 bowling
467 braiding hair
467 breading or breadcrumbing
467 breakdancing
67 breaking boards
7 breaking glass
67 breathing fire
467 brush painting
7 brushing floor
467 brushing hair
467 brushing teeth
467 building cabinet
67 building lego
67 building sandcastle
467 building shed
6 bull fighting
67 bulldozing
467 bungee jumping
67 burping
467 busking
67 calculating
67 calligraphy
467 canoeing or kayaking
467 capoeira
67 capsizing
67 card stacking
67 card throwing
467 carrying baby
7 carrying weight
467 cartwheeling
67 carving ice
7 carving marble
467 carving pumpkin
7 carving wood with a knife
67 casting fishing line
467 catching fish
467 catching or throwing baseball
467 catching or throwing frisbee
467 catching or throwing softball
467 celebrating
67 changing gear in car
467 changing oil
4 changing wheel
67 changing wheel (not on bike)
7 chasing
467 checking tires
7 checking watch
467 cheerleading
67 chewing gum
67 chiseling stone
67 chiseling wood
67 chopping meat
6 chopping vegetables
467 chopping wood
67 clam digging
467 clapping
467 clay pottery making
467 clean and jerk
4 cleaning floor
467 cleaning gutters
467 cleaning pool
467 cleaning shoes
467 cleaning toilet
467 cleaning windows
467 climbing a rope
467 climbing ladder
467 climbing tree
7 closing door
67 coloring in
67 combing hair
467 contact juggling
67 contorting
47 cooking chicken
467 cooking egg
467 cooking on campfire
4 cooking sausages
67 cooking sausages (not on barbeque)
67 cooking scallops
67 cosplaying
7 coughing
467 counting money
467 country line dancing
67 cracking back
67 cracking knuckles
467 cracking neck
467 crawling baby
7 crocheting
67 crossing eyes
467 crossing river
467 crying
67 cumbia
67 curling (sport)
7 curling eyelashes
467 curling hair
67 cutting apple
7 cutting cake
467 cutting nails
67 cutting orange
467 cutting pineapple
467 cutting watermelon
467 dancing ballet
467 dancing charleston
467 dancing gangnam style
467 dancing macarena
467 deadlifting
7 dealing cards
467 decorating the christmas tree
7 decoupage
67 delivering mail
47 digging
467 dining
67 directing traffic
467 disc golfing
467 diving cliff
67 docking boat
467 dodgeball
467 doing aerobics
67 doing jigsaw puzzle
467 doing laundry
467 doing nails
7 doing sudoku
467 drawing
467 dribbling basketball
4 drinking
4 drinking beer
467 drinking shots
467 driving car
467 driving tractor
67 drooling
467 drop kicking
467 drumming fingers
67 dumpster diving
467 dunking basketball
67 dyeing eyebrows
67 dyeing hair
4 dying hair
467 eating burger
467 eating cake
467 eating carrots
467 eating chips
467 eating doughnuts
467 eating hotdog
467 eating ice cream
7 eating nachos
467 eating spaghetti
467 eating watermelon
467 egg hunting
67 embroidering
7 entering church
47 exercising arm
467 exercising with an exercise ball
467 extinguishing fire
467 faceplanting
67 falling off bike
67 falling off chair
467 feeding birds
467 feeding fish
467 feeding goats
67 fencing (sport)
67 fidgeting
7 filling cake
47 filling eyebrows
467 finger snapping
67 fixing bicycle
467 fixing hair
67 flint knapping
7 flipping bottle
467 flipping pancake
67 fly tying
467 flying kite
467 folding clothes
467 folding napkins
467 folding paper
467 front raises
467 frying vegetables
4 garbage collecting
47 gargling
67 geocaching
467 getting a haircut
67 getting a piercing
467 getting a tattoo
467 giving or receiving award
67 gold panning
467 golf chipping
467 golf driving
467 golf putting
67 gospel singing in church
467 grinding meat
7 grooming cat
467 grooming dog
467 grooming horse
467 gymnastics tumbling
467 hammer throw
67 hand washing clothes
67 head stand
467 headbanging
467 headbutting
7 helmet diving
7 herding cattle
7 high fiving
467 high jump
467 high kick
67 historical reenactment
467 hitting baseball
467 hockey stop
467 holding snake
67 home roasting coffee
467 hopscotch
467 hoverboarding
67 huddling
4 hugging
67 hugging (not baby)
67 hugging baby
467 hula hooping
467 hurdling
467 hurling (sport)
467 ice climbing
467 ice fishing
467 ice skating
67 ice swimming
67 inflating balloons
67 installing carpet
467 ironing
67 ironing hair
467 javelin throw
67 jaywalking
467 jetskiing
467 jogging
467 juggling balls
467 juggling fire
467 juggling soccer ball
67 jumping bicycle
467 jumping into pool
67 jumping jacks
7 jumping sofa
467 jumpstyle dancing
67 karaoke
467 kicking field goal
467 kicking soccer ball
467 kissing
467 kitesurfing
467 knitting
467 krumping
67 land sailing
467 laughing
67 lawn mower racing
467 laying bricks
67 laying concrete
7 laying decking
67 laying stone
67 laying tiles
67 leatherworking
7 letting go of balloon
67 licking
67 lifting hat
7 lighting candle
67 lighting fire
7 listening with headphones
67 lock picking
467 long jump
67 longboarding
67 looking at phone
7 looking in mirror
67 luge
467 lunge
467 making a cake
467 making a sandwich
67 making balloon shapes
4 making bed
67 making bubbles
67 making cheese
67 making horseshoes
467 making jewelry
7 making latte art
67 making paper aeroplanes
467 making pizza
7 making slime
467 making snowman
467 making sushi
467 making tea
67 making the bed
467 marching
67 marriage proposal
467 massaging back
467 massaging feet
467 massaging legs
67 massaging neck
467 massaging person's head
7 metal detecting
467 milking cow
7 milking goat
7 mixing colours
67 moon walking
467 mopping floor
67 mosh pit dancing
467 motorcycling
67 mountain climber (exercise)
7 moving baby
7 moving child
467 moving furniture
467 mowing lawn
67 mushroom foraging
67 needle felting
467 news anchoring
4 opening bottle
67 opening bottle (not wine)
7 opening coconuts
67 opening door
467 opening present
67 opening refrigerator
67 opening wine bottle
67 packing
467 paragliding
467 parasailing
467 parkour
467 passing American football (in game)
47 passing American football (not in game)
6 passing american football (not in game)
67 passing soccer ball
467 peeling apples
7 peeling banana
467 peeling potatoes
67 person collecting garbage
467 petting animal (not cat)
467 petting cat
7 petting horse
67 photobombing
67 photocopying
7 picking apples
7 picking blueberries
46 picking fruit
67 pillow fight
67 pinching
67 pirouetting
67 planing wood
467 planting trees
467 plastering
467 playing accordion
7 playing american football
467 playing badminton
467 playing bagpipes
467 playing basketball
467 playing bass guitar
67 playing beer pong
7 playing billiards
67 playing blackjack
47 playing cards
467 playing cello
7 playing checkers
467 playing chess
467 playing clarinet
467 playing controller
467 playing cricket
467 playing cymbals
67 playing darts
467 playing didgeridoo
67 playing dominoes
467 playing drums
67 playing field hockey
467 playing flute
67 playing gong
467 playing guitar
67 playing hand clapping games
467 playing harmonica
467 playing harp
467 playing ice hockey
467 playing keyboard
467 playing kickball
67 playing laser tag
67 playing lute
7 playing mahjong
67 playing maracas
67 playing marbles
467 playing monopoly
67 playing netball
7 playing nose flute
7 playing oboe
67 playing ocarina
467 playing organ
467 playing paintball
67 playing pan pipes
467 playing piano
7 playing piccolo
67 playing pinball
67 playing ping pong
467 playing poker
67 playing polo
467 playing recorder
7 playing road hockey
7 playing rounders
67 playing rubiks cube
467 playing saxophone
67 playing scrabble
7 playing shuffleboard
7 playing slot machine
467 playing squash or racquetball
467 playing tennis
467 playing trombone
467 playing trumpet
467 playing ukulele
467 playing violin
467 playing volleyball
67 playing with trains
467 playing xylophone
7 poaching eggs
67 poking bellybutton
467 pole vault
7 polishing furniture
67 polishing metal
67 popping balloons
67 pouring beer
7 pouring milk
7 pouring wine
67 preparing salad
467 presenting weather forecast
7 pretending to be a statue
467 pull ups
7 pulling espresso shot
7 pulling rope (game)
467 pumping fist
467 pumping gas
467 punching bag
467 punching person (boxing)
467 push up
467 pushing car
467 pushing cart
67 pushing wheelbarrow
467 pushing wheelchair
67 putting in contact lenses
67 putting on eyeliner
67 putting on foundation
67 putting on lipstick
67 putting on mascara
67 putting on sari
67 putting on shoes
7 putting wallpaper on wall
67 raising eyebrows
467 reading book
467 reading newspaper
467 recording music
67 repairing puncture
467 riding a bike
467 riding camel
467 riding elephant
467 riding mechanical bull
4 riding mountain bike
467 riding mule
467 riding or walking with horse
467 riding scooter
67 riding snow blower
467 riding unicycle
467 ripping paper
67 roasting marshmallows
67 roasting pig
467 robot dancing
467 rock climbing
467 rock scissors paper
467 roller skating
7 rolling eyes
67 rolling pastry
67 rope pushdown
467 running on treadmill
467 sailing
467 salsa dancing
7 saluting
467 sanding floor
7 sanding wood
67 sausage making
67 sawing wood
467 scrambling eggs
67 scrapbooking
67 scrubbing face
467 scuba diving
7 seasoning food
67 separating eggs
467 setting table
67 sewing
467 shaking hands
467 shaking head
67 shaping bread dough
467 sharpening knives
467 sharpening pencil
467 shaving head
467 shaving legs
467 shearing sheep
67 shining flashlight
467 shining shoes
7 shoot dance
467 shooting basketball
467 shooting goal (soccer)
7 shooting off fireworks
67 shopping
467 shot put
7 shouting
467 shoveling snow
47 shredding paper
67 shucking oysters
467 shuffling cards
67 shuffling feet
467 side kick
7 sieving
467 sign language interpreting
7 silent disco
467 singing
67 sipping cup
467 situp
467 skateboarding
7 ski ballet
467 ski jumping
4 skiing (not slalom or crosscountry)
467 skiing crosscountry
67 skiing mono
467 skiing slalom
467 skipping rope
67 skipping stone
467 skydiving
467 slacklining
467 slapping
467 sled dog racing
67 sleeping
7 slicing onion
67 smashing
67 smelling feet
467 smoking
467 smoking hookah
67 smoking pipe
467 snatch weight lifting
467 sneezing
4 sniffing
467 snorkeling
467 snowboarding
467 snowkiting
467 snowmobiling
467 somersaulting
67 spelunking
7 spinning plates
467 spinning poi
7 splashing water
467 spray painting
47 spraying
467 springboard diving
67 square dancing
467 squat
7 squeezing orange
7 stacking cups
7 stacking dice
67 standing on hands
67 staring
67 steer roping
7 steering car
467 sticking tongue out
467 stomping grapes
467 stretching arm
467 stretching leg
4 strumming guitar
67 sucking lolly
467 surfing crowd
467 surfing water
7 surveying
467 sweeping floor
467 swimming backstroke
467 swimming breast stroke
467 swimming butterfly stroke
67 swimming front crawl
7 swimming with dolphins
7 swimming with sharks
467 swing dancing
67 swinging baseball bat
4 swinging legs
467 swinging on something
467 sword fighting
67 sword swallowing
67 tackling
67 tagging graffiti
467 tai chi
4 taking a shower
7 taking photo
67 talking on cell phone
467 tango dancing
467 tap dancing
467 tapping guitar
467 tapping pen
467 tasting beer
467 tasting food
67 tasting wine
467 testifying
467 texting
67 threading needle
467 throwing axe
4 throwing ball
67 throwing ball (not baseball or American football)
467 throwing discus
67 throwing knife
67 throwing snowballs
67 throwing tantrum
67 throwing water balloon
467 tickling
67 tie dying
67 tightrope walking
67 tiptoeing
467 tobogganing
467 tossing coin
47 tossing salad
467 training dog
467 trapezing
7 treating wood
467 trimming or shaving beard
67 trimming shrubs
467 trimming trees
467 triple jump
67 twiddling fingers
467 tying bow tie
467 tying knot (not on a tie)
67 tying necktie
67 tying shoe laces
4 tying tie
467 unboxing
7 uncorking champagne
467 unloading truck
67 using a microscope
67 using a paint roller
67 using a power drill
67 using a sledge hammer
67 using a wrench
67 using atm
67 using bagging machine
67 using circular saw
4 using computer
67 using inhaler
7 using megaphone
67 using puppets
467 using remote controller (not gaming)
467 using segway
7 vacuuming car
67 vacuuming floor
4 vault
67 visiting the zoo
67 wading through mud
67 wading through water
467 waiting in line
67 waking up
7 walking on stilts
467 walking the dog
67 walking through snow
7 walking with crutches
467 washing dishes
467 washing feet
467 washing hair
467 washing hands
67 watching tv
467 water skiing
467 water sliding
467 watering plants
67 waving hand
7 waxing armpits
467 waxing back
467 waxing chest
467 waxing eyebrows
467 waxing legs
467 weaving basket
67 weaving fabric
467 welding
467 whistling
467 windsurfing
67 winking
67 wood burning (art)
467 wrapping present
467 wrestling
467 writing
67 yarn spinning
467 yawning
467 yoga
467 zumba
"""


def _labels(mark: str) -> tuple[str, ...]:
    rows = (line.split(" ", 1) for line in _CLASS_TABLE.strip().splitlines())
    return tuple(label for marks, label in rows if mark in marks)


class _Labels(dict[str, tuple[str, ...]]):
    def __missing__(self, release: Any) -> tuple[str, ...]:
        raise KeyError(_unknown(release, RELEASES, "release"))


#: Labels of each release; the position of a label is its index.
LABELS = _Labels({"400": _labels("4"), "600": _labels("6"), "700": _labels("7"), "700-2020": _labels("7")})

if __name__ == "kinetics":
    _register()
