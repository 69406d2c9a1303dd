"""Search for the annotations of a split: in a clip directory, in a given file, or published."""

import os
import re
from collections.abc import Iterator

from datasets.utils.logging import get_logger
from filelock import FileLock

from kinetics_tools.annotations.read import MAX_FILE_BYTES
from kinetics_tools.errors import ArchiveError, RemoteError
from kinetics_tools.io import (
    WEB_PAGE,
    DownloadCache,
    has_host,
    is_url,
    is_web_page,
    join_url,
    mirrored,
    path_part,
    read_archive,
    without_credentials,
    write_file,
)
from kinetics_tools.io.links import utf8_path
from kinetics_tools.releases import DEFAULT_ANNOTATIONS, SPLIT_SPELLINGS, check_release, split_spellings
from kinetics_tools.text import ARCHIVE_SUFFIXES, few, is_utf8

_logger = get_logger("datasets.kinetics")

_SUFFIXES = (".csv", ".json")


def absolute(path: str | os.PathLike[str]) -> str:
    """Return a local path as an absolute one with "/" between its parts; `~` is the home directory."""
    return os.path.abspath(os.path.expanduser(path)).replace(os.sep, "/")


def check_annotations(path: str | os.PathLike[str]) -> str:
    """Return the path or URL of annotations; a path becomes absolute.

    Raises:
        ValueError: it is neither.
        FileNotFoundError: the path does not exist.
    """
    if not isinstance(path, str | os.PathLike) or (is_url(os.fspath(path)) and not has_host(os.fspath(path))):
        raise ValueError(f"annotations must be a path or a URL, got {path!r}")
    if is_url(os.fspath(path)):
        return os.fspath(path)
    path = absolute(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"annotations={path!r} does not exist")
    folder, name = os.path.split(path)
    return path if is_utf8(path) else f"{utf8_path(folder)}/{name}"


def annotation_file(
    release: str,
    split: str,
    *,
    annotations: str | None = None,
    data_dir: str | None = None,
    mirror: str | None = None,
    cache: DownloadCache | None = None,
) -> str:
    """Return the local path of the annotation file of a split, downloaded if necessary.

    Args:
        release: "400", "600", "700" or "700-2020".
        split: "train", "validation" or "test".
        annotations: a directory, a file or a tarball, or the URL of one.
        data_dir: a clip directory, searched if `annotations` is None. If it has no annotations, the published edition
            is used: the mirror's for 400 and 700-2020, DeepMind's for 600 and 700.
        mirror: URL that replaces the public hosts.
        cache: download cache.

    Raises:
        FileNotFoundError: there is no annotation file of this split.
        ArchiveError: a tarball of annotations is truncated or corrupt.
        RemoteError: a web page came instead of annotations.
    """
    if annotations is None and data_dir is not None and (found := annotations_of_tree(data_dir, split)):
        return found
    cache = cache or DownloadCache()
    where = annotations or mirrored(DEFAULT_ANNOTATIONS[check_release(release)], mirror)
    if annotations is None and data_dir is not None:
        try:
            return annotation_file(release, split, annotations=where, cache=cache)
        except (ConnectionError, FileNotFoundError) as error:
            raise type(error)(f"{error}; {where_to_put(data_dir, split)}") from None
    if is_url(where) and not path_part(where).lower().endswith((*_SUFFIXES, *ARCHIVE_SUFFIXES)):
        return _download(where, split, cache)
    if os.path.isdir(where):
        found = find_annotations(where, split) or find_annotations(where + "/annotations", split)
        if found is None:
            names = [name for name, _ in _unrecognized(where)]
            hint = f"; {_skipped(names, split)}" if names else ""
            raise FileNotFoundError(f"no annotation file of the {split} split in {where}, such as {split}.csv{hint}")
        return found
    path = _fetch(where, cache) if is_url(where) else where
    if not path_part(where).lower().endswith(ARCHIVE_SUFFIXES):
        return path
    try:
        return _extract(path, without_credentials(where), split)
    except ArchiveError as error:
        if path != where:
            os.remove(path)  # or it stays in the cache for good
        raise ArchiveError(f"{error}; retry, or pass annotations=") from None


def where_to_put(data_dir: str, split: str) -> str:
    """Return the advice for a clip directory without annotations, when the published ones cannot be had."""
    return f"{data_dir} has no annotations: put them there, as {data_dir}/annotations/{split}.csv"


def annotations_of_tree(data_dir: str, split: str) -> str | None:
    """Return the annotation file of a split in `annotations/` or beside the splits; None if there is none.

    Files that may be annotations, but do not name the split, are logged.
    """
    for place in (data_dir + "/annotations", data_dir):
        found = find_annotations(place, split)
        if found is not None:
            return found
    # Reports and lists are beside the splits, too: a name there has to have the split in it.
    names = ["annotations/" + name for name, _ in _unrecognized(data_dir + "/annotations")]
    names += [
        name for name, words in _unrecognized(data_dir) if any(SPLIT_SPELLINGS.get(word) == split for word in words)
    ]
    if names:
        _logger.warning(f"no annotations of the {split} split are read: {_skipped(names, split)}")
    return None


def find_annotations(directory: str, split: str) -> str | None:
    """Return the annotation file of a split in a directory: CSV before JSON, `train.csv` before `*_train.csv`.

    Returns None if there is none. Raises ValueError if several are equally good.
    """
    found: dict[tuple[bool, bool], list[str]] = {}
    for name, words in _candidates(directory):
        if SPLIT_SPELLINGS.get(words[-1]) == split:
            rank = name.lower().endswith(".json"), len(words) > 1
            found.setdefault(rank, []).append(directory + "/" + name)
    if not found:
        return None
    best = found[min(found)]
    if len(best) > 1:
        raise ValueError(f"several annotation files for {split}: {few(best)}; pass one as annotations=")
    return best[0]


def _candidates(directory: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the files in a directory that may hold annotations, each with the words of its name."""
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
        stem, suffix = os.path.splitext(name.lower())
        path = f"{directory}/{name}"
        # A FIFO would block, but a broken link is an error of the user, so that it is not taken for no annotations.
        if suffix in _SUFFIXES and (os.path.isfile(path) or not os.path.exists(path)):
            yield name, re.split(r"[^a-z]+", stem)


def _unrecognized(directory: str) -> list[tuple[str, list[str]]]:
    return [(name, words) for name, words in _candidates(directory) if words[-1] not in SPLIT_SPELLINGS]


def _skipped(names: list[str], split: str) -> str:
    advice = f"a name has to end in the split, as in {split}.csv: rename it, or pass one as annotations="
    return f"{few(names)} skipped, because {advice}"


def _download(directory_url: str, split: str, cache: DownloadCache) -> str:
    names, denied = split_spellings(split), ""
    for name in names:
        try:
            return _fetch(join_url(directory_url, f"{name}.csv"), cache)
        except FileNotFoundError:
            continue
        except PermissionError as error:  # of a store that does not tell what it has, perhaps
            denied = f"; {error}"
    where = without_credentials(directory_url)
    raise FileNotFoundError(f"no annotations of the {split} split at {where}: tried {', '.join(names)} + .csv{denied}")


def _fetch(url: str, cache: DownloadCache) -> str:
    """Return the path of a file in the cache. Web pages, as networks with a login give for any URL, are not kept."""
    path = cache.fetch(url)
    with open(path, "rb") as file:
        head = file.read(1 << 10)
    if is_web_page(head):
        os.remove(path)
        raise RemoteError(f"{without_credentials(url)}: {WEB_PAGE}")
    return path


def _extract(tarball: str, where: str, split: str) -> str:
    """Return the path of the CSV of a split, extracted from a tarball of annotations and kept beside it."""
    path = f"{tarball}-{split}.csv"

    def is_wanted(name: str) -> bool:
        stem, suffix = os.path.splitext(name.lower())
        return suffix == ".csv" and SPLIT_SPELLINGS.get(stem) == split

    with FileLock(path + ".lock"):
        if os.path.exists(path) and os.stat(path).st_mtime_ns >= os.stat(tarball).st_mtime_ns:
            return path
        with open(tarball, "rb") as archive:
            for _, content in read_archive(archive, name=where, is_wanted=is_wanted, max_bytes=MAX_FILE_BYTES):
                write_file(path, content)
                return path
    raise FileNotFoundError(f"no CSV of the {split} split in {where}")
