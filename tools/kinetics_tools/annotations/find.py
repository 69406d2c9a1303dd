"""Where the annotations of a split are: in a clip directory, in a file that the user names, or published."""

import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator

from datasets.utils.logging import get_logger
from filelock import FileLock

from kinetics_tools.errors import ArchiveError
from kinetics_tools.io.cache import DownloadCache
from kinetics_tools.io.hosts import mirrored
from kinetics_tools.io.http import is_url
from kinetics_tools.releases import DEFAULT_ANNOTATIONS, RELEASES, SPLIT_SPELLINGS, split_spellings
from kinetics_tools.text import ARCHIVE_SUFFIXES, check_choice, few

__all__ = ["annotation_file", "annotations_of_tree", "find_annotation_file", "find_annotations"]

_logger = get_logger("datasets.kinetics")


def find_annotations(directory: str, split: str) -> str | None:
    """The annotation file of a split in a directory: `train.csv` and the like first, then `*_train.csv`, CSV first.

    None where there is none. Raises ValueError where several are as good.
    """
    if not os.path.isdir(directory):
        return None
    found: dict[tuple[str, bool], list[str]] = {}
    for name, words, suffix in _annotation_names(directory):
        if SPLIT_SPELLINGS.get(words[-1]) == split:
            found.setdefault((suffix, len(words) > 1), []).append(directory + "/" + name)
    for key in ((".csv", False), (".csv", True), (".json", False), (".json", True)):
        if len(found.get(key, [])) > 1:
            raise ValueError(f"several annotation files for {split}: {few(found[key])}; pass one as annotations=")
        if key in found:
            return found[key][0]
    return None


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
    names += [name for name, words in _unread(data_dir) if any(SPLIT_SPELLINGS.get(word) == split for word in words)]
    if names:
        _logger.warning(f"no annotations of the {split} split are read: {_passed_over(names, split)}")
    return None


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
    where = annotations or mirrored(DEFAULT_ANNOTATIONS[check_choice(release, RELEASES, "release")], mirror)
    if is_url(where) and not where.endswith((".csv", ".json", *ARCHIVE_SUFFIXES)):
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
    path = cache.fetch(where) if is_url(where) else where
    if not where.endswith(ARCHIVE_SUFFIXES):
        return path
    try:
        return _extracted(path, where, split)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        if path != where:
            os.remove(path)  # or it stays in the cache for good
        raise ArchiveError(f"{where}: cut off or corrupt ({error}); try again, or pass annotations=") from None


def _annotation_names(directory: str) -> Iterator[tuple[str, list[str], str]]:
    """Name, the words of it and suffix of the files in a directory that may hold annotations."""
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
        stem, suffix = os.path.splitext(name.lower())
        if suffix in (".csv", ".json"):
            yield name, re.split(r"[^a-z]+", stem), suffix


def _unread(directory: str) -> list[tuple[str, list[str]]]:
    """Name and words of the files in a directory that may hold annotations, but whose name does not end in a split."""
    return [(name, words) for name, words, _ in _annotation_names(directory) if words[-1] not in SPLIT_SPELLINGS]


def _passed_over(names: list[str], split: str) -> str:
    advice = f"a name has to end in the split, as in {split}.csv: rename it, or pass one as annotations="
    return f"{few(names)} passed over, since {advice}"


def _extracted(tarball: str, where: str, split: str) -> str:
    """Path of the CSV of `split`, taken out of a tarball of annotations and kept beside it."""
    path = f"{tarball}-{split}.csv"
    with FileLock(path + ".lock"):
        if os.path.exists(path) and os.stat(path).st_mtime_ns >= os.stat(tarball).st_mtime_ns:
            return path
        with tarfile.open(tarball) as tar:
            for member in tar:
                stem, suffix = os.path.splitext(member.name.rpartition("/")[2].lower())
                if member.isreg() and suffix == ".csv" and SPLIT_SPELLINGS.get(stem) == split:
                    with open(path + ".incomplete", "wb") as file:
                        shutil.copyfileobj(tar.extractfile(member), file)  # type: ignore[arg-type]
                    os.replace(path + ".incomplete", path)
                    return path
    raise FileNotFoundError(f"no CSV of the {split} split in {where}")


def find_annotation_file(
    directory: str | os.PathLike[str] | None, release: str, split: str, *, annotations: str | None = None
) -> str:
    """Return the path of the annotation file of a split, for one who may have some of their own.

    It is the one that `annotations` names (a file, a URL, or a directory), else the one in `directory`/annotations or
    `directory`, else the published one, downloaded if necessary. Raises what `annotation_file` raises.
    """
    where = annotations or directory
    if where is not None and os.path.isdir(where):
        found = annotations_of_tree(os.fspath(where), split)
        if found is not None:
            return found
    return annotation_file(release, split, annotations=annotations)
