"""Files of clips with names that all trainers can read: hard links, or extracted from prepared shards."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations import clip_names
from kinetics_tools.conversion.source import Part, Source, SourceClip
from kinetics_tools.conversion.trainers import SPLIT_WORDS
from kinetics_tools.errors import DiskError
from kinetics_tools.io import disk_errors, write_file
from kinetics_tools.probing import probe_files
from kinetics_tools.releases import LABELS
from kinetics_tools.text import printable


def without_unreadable(clips: pa.Table, root: str) -> tuple[pa.Table, list[str]]:
    """Return the clips that are readable by their headers, as for `verify`, and the names and reasons of the others.

    Args:
        clips: rows of `clip_tables` with a path.
        root: clip directory, whose cache of probes is used.
    """
    paths = pc.utf8_slice_codeunits(clips["path"], len(root) + 1).to_pylist()
    probes = probe_files(root, paths)
    names = clip_names(clips)
    reasons = [f"{names[number]}: {printable(probes.errors[number])}" for number in sorted(probes.errors)]
    return clips.filter(pa.array(probes.readable())), reasons


def safe_folder(label: int, release: str) -> str:
    """Return the name of the directory of a class, without spaces and quotes, as torchvision writes it."""
    return re.sub(r"['()]", "", LABELS[release][label]).replace(" ", "_")


def link_clips(clips: pa.Table, release: str, split: str, directory: str | os.PathLike[str]) -> pa.Table:
    """Return clips with the paths of hard links `directory`/<split>/<class>/<clip>.mp4, which are made if missing.

    Args:
        clips: rows with a path and a label.
        release: release of the labels.
        split: split of the clips.
        directory: where to make the links; on the file system of the clips.

    Raises:
        DiskError: a link cannot be made, or another file has its name.
    """
    paths = []
    rows = zip(clips["path"].to_pylist(), clips["label"].to_pylist(), clip_names(clips).to_pylist(), strict=True)
    for path, label, name in rows:
        suffix = os.path.splitext(path)[1].lower()
        link = Path(directory).absolute() / SPLIT_WORDS[split] / safe_folder(label, release) / f"{name}{suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        _link(path, link)
        paths.append(link.as_posix())
    return clips.set_column(clips.schema.get_field_index("path"), "path", pa.array(paths, pa.string()))


def _link(path: str, link: Path) -> None:
    target = os.path.realpath(path)
    try:
        os.link(target, link)
    except FileExistsError:
        if not os.path.samefile(target, link):
            raise DiskError(f"{link} is another file than {path}; remove it, or pass another directory") from None
    except OSError as error:
        reason = error.strerror or error
        raise DiskError(f"{link} cannot be linked to {path} ({reason}); pass a directory on the same disk") from None


def extract_clips(source: Source, split: str, directory: str | os.PathLike[str]) -> int:
    """Write the clips of a split of a source to `directory`/<split>/<class>/<clip>.mp4; return their number.

    Clips of the same size that exist are kept, so the same call resumes. Clips without a label are skipped.

    Raises:
        DiskError: a file cannot be written.
    """
    count = 0
    for clip in source.read(Part(split, 0, tuple(source.units[split]))):
        if isinstance(clip, SourceClip) and clip.label >= 0:
            count += 1
            folder = Path(directory) / SPLIT_WORDS[split] / safe_folder(clip.label, source.release)
            _extract(clip, folder / clip.file_name)
    return count


def _extract(clip: SourceClip, path: Path) -> None:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size == len(clip.content):
            return
        write_file(path, clip.content)
