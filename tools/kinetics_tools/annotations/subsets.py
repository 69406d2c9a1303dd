"""Subsets of releases that papers use, and subsets in files.

The lists in `lists/subsets` are as their publishers wrote them; the first line of each names its release and source.
"""

import functools
import lzma
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations.find import absolute
from kinetics_tools.annotations.labels import label_index, normalize_label
from kinetics_tools.annotations.read import YOUTUBE_ID, clip_names
from kinetics_tools.annotations.renames import map_label
from kinetics_tools.releases import LABELS, RELEASES
from kinetics_tools.text import few, printable, stem_of, unknown_choice

_FOLDER = Path(__file__).with_name("lists") / "subsets"
_CMN = "kinetics-100-cmn"
_CMN_PARTS = {_CMN: ("train", "val", "test"), **{f"{_CMN}-{part}": (part,) for part in ("train", "val", "test")}}
SUBSETS = (*sorted(stem_of(name) for name in os.listdir(_FOLDER) if name.endswith(".txt")), *_CMN_PARTS)
"""Names of the known subsets."""
_CLIP = re.compile(rf"(?:[^/]*/)*(?P<clip>{YOUTUBE_ID}(?:_\d{{6}}_\d{{6}})?)(?:\.\w{{2,4}})?")


@dataclass(frozen=True)
class Subset:
    """Subset of a release: some of its classes, or some of its clips.

    Attributes:
        name: one of `SUBSETS`, or the absolute path of a file.
        classes: class names in the release; None for a subset by clips.
        missing: classes of the subset that the release does not have.
        clips: names of clips, or ids of videos; None for a subset by classes.
    """

    name: str
    classes: tuple[str, ...] | None
    missing: tuple[str, ...] = ()
    clips: frozenset[str] | None = None

    def choose(self, table: pa.Table) -> pa.Table:
        """Return the rows of `read_split` whose clips or videos are in `clips`; all for a subset by classes."""
        if self.clips is None:
            return table
        wanted = pa.array(sorted(self.clips), pa.string())
        is_wanted = (pc.is_in(one, value_set=wanted) for one in (clip_names(table), table["youtube_id"]))
        return table.filter(pc.or_(*is_wanted))

    def note(self, chosen: pa.Table) -> str | None:
        """Return what the subset names and the release or the split of `chosen` does not have; None for nothing."""
        name = os.path.basename(self.name)
        if self.missing:
            count = f"{len(self.missing):,} of {len(self.missing) + len(self.classes or ()):,} classes"
            return f"subset {name}: the release does not have {count}: {few(self.missing, len(self.missing))}"
        if self.clips is None:
            return None
        found = {*chosen["youtube_id"].to_pylist(), *clip_names(chosen).to_pylist()}
        missing = sorted(self.clips - found)
        if not missing:
            return None
        return f"subset {name}: this split does not have {len(missing):,} of {len(self.clips):,} clips ({few(missing)})"


def read_subset(name: str | os.PathLike[str], release: str) -> Subset:
    """Return a subset of a release.

    Args:
        name: one of `SUBSETS`, or a file with a class, a clip or a YouTube id per line. A clip is written as its file
            name or path, so the lists of CMN and of Mini-Kinetics-200 can be used unchanged.
        release: "400", "600", "700" or "700-2020". Classes of other releases are mapped, see `map_label`.

    Raises:
        ValueError: unknown subset, a line that is neither, or an unknown class.
    """
    if name in SUBSETS:
        return _known_subset(os.fspath(name), release)
    path = absolute(name)
    if not os.path.isfile(path):
        raise ValueError(f"{unknown_choice(name, SUBSETS, 'subset')}; or pass the path of an existing file")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text in UTF-8") from None
    lines = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")))
    if not lines:
        raise ValueError(f"{path}: names no class and no clip; write one per line")
    clips = [_CLIP.fullmatch(line) for line in lines]
    classes = [_name_of_class(line, release) for line in lines]
    # Some names of classes look like the id of a video.
    if all(clips) and None in classes:
        return Subset(path, None, clips=frozenset(clip["clip"] for clip in clips if clip))
    for line, label in zip(lines, classes, strict=True):
        if label is None:
            problem = unknown_choice(printable(line, 80), LABELS[release], f"class of {release}")
            raise ValueError(f"{path}: {problem}, and not all lines are clips")
    missing = tuple(line for line, label in zip(lines, classes, strict=True) if not label)
    return Subset(path, tuple(dict.fromkeys(label for label in classes if label)), missing)


def _name_of_class(line: str, release: str) -> str | None:
    """Return the class of a release that a line names, "" if only another release has it, None for any other line."""
    key = normalize_label(line)
    for source in (release, *RELEASES):
        if key in label_index(source):
            return map_label(line, source, release) or ""
    return None


@functools.cache
def _known_subset(name: str, release: str) -> Subset:
    if name in _CMN_PARTS:
        lines = lzma.decompress((_FOLDER / f"{_CMN}.txt.xz").read_bytes()).decode().splitlines()[1:]
        parts = tuple(f"{part} " for part in _CMN_PARTS[name])
        return Subset(name, None, clips=frozenset(line.rpartition("/")[2] for line in lines if line.startswith(parts)))
    header, *classes = (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    source = header.removeprefix("# ").partition(":")[0]
    mapped = {one: map_label(one, source, release) for one in classes}
    return Subset(
        name,
        tuple(one for one in mapped.values() if one is not None),
        tuple(one for one, found in mapped.items() if found is None),
    )
