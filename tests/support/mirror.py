"""The public Kinetics mirror as files: archives, path lists and annotations, laid out as it has them.

    write_mirror(root, "400", {"val": {"part_0": {"abc_000001_000011.mp4": clip}}}, annotations={"val": rows})

Standard library only, and nothing of the project: a mistake there cannot hide itself here.
"""

import csv
import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

# Path lists name the official host in full; clients put the mirror in its place.
OFFICIAL_URL = "https://s3.amazonaws.com"
# CVDF serves 700 from the archives of 700-2020.
MIRROR_NAMES = {"400": "400", "600": "600", "700": "700_2020", "700-2020": "700_2020"}
SPLITS = ("train", "val", "test")

# (label, youtube_id, time_start, time_end), or without label as in DeepMind's test files.
Row = tuple[str, str, int, int] | tuple[str, int, int]
# A clip by member name, a link or device as a TarInfo of any name.
Members = Mapping[str, bytes | tarfile.TarInfo]


def tar(members: Members) -> bytes:
    """An uncompressed tar, the same bytes for the same members in the same order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_gz(members: Members, *, level: int = 1) -> bytes:
    """`tar`, gzipped without name and time. Clips do not compress, so a low level loses nothing."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=level, mtime=0) as file:
        file.write(tar(members))
    return buffer.getvalue()


def write_mirror(
    root: Path | str,
    release: str,
    archives: Mapping[str, Mapping[str, Members | bytes | None]],
    *,
    annotations: Mapping[str, Sequence[Row]] | None = None,
    replacement: Members | None = None,
    deepmind: bool = True,
    quoted: bool = False,
) -> Path:
    """Lays out one release as the public mirror does and returns its directory; releases share a root.

    archives     split ("train", "val", "test") -> archive name -> its clips, in the order of the path list.
                 A name without suffix gets ".tar.gz". `bytes` are written as they are (a broken archive),
                 None is listed but absent (404)
    annotations  split -> rows, written as CVDF's CSV and, with `deepmind`, as DeepMind's tarball
    replacement  clip -> bytes of replacement_for_corrupted_k400.tgz, which keeps them in a directory of its
                 own name
    quoted       URL-quote the path list; the real lists of 600 hold names with plain spaces
    """
    name = MIRROR_NAMES[_choice("release", release, MIRROR_NAMES)]
    directory = Path(root) / "kinetics" / name
    for split, files in archives.items():
        _choice("split", split, SPLITS)
        lines = []
        for archive, content in files.items():
            file_name = archive if archive.endswith((".tar.gz", ".tgz", ".tar")) else f"{archive}.tar.gz"
            lines.append(f"/kinetics/{name}/{split}/{file_name}")
            if isinstance(content, Mapping):
                content = tar(content) if file_name.endswith(".tar") else tar_gz(content)
            if content is not None:
                _write(directory / split / file_name, content)
        listing = "".join(f"{OFFICIAL_URL}{quote(line) if quoted else line}\n" for line in lines)
        _write(directory / split / f"k{name}_{split}_path.txt", listing.encode())
    for split, rows in (annotations or {}).items():
        _choice("split", split, SPLITS)
        _write(directory / "annotations" / f"{split}.csv", annotation_csv(rows, split, is_cc=name == "400"))
    if replacement is not None:
        if name != "400":
            raise ValueError(f"release {release!r} has no replacement archive; only '400' has one")
        stem = "replacement_for_corrupted_k400"
        members = {f"{stem}/{clip}": content for clip, content in replacement.items()}
        _write(directory / f"{stem}.tgz", tar_gz(members))
    if annotations and deepmind:
        write_deepmind(root, release, annotations)
    return directory


def write_deepmind(root: Path | str, release: str, annotations: Mapping[str, Sequence[Row]]) -> Path:
    """Writes DeepMind's annotation tarball, where the val split is called validate, and returns its path."""
    name = f"kinetics{_choice('release', release, MIRROR_NAMES).replace('-', '_')}"
    members: dict[str, bytes] = {}
    for split, rows in annotations.items():
        subset = "validate" if _choice("split", split, SPLITS) == "val" else split
        members[f"{name}/{subset}.csv"] = annotation_csv(rows, subset)
        members[f"{name}/{subset}.json"] = _annotation_json(rows, subset)
    path = Path(root) / "deepmind-media" / "Datasets" / f"{name}.tar.gz"
    _write(path, tar_gz(members))
    return path


def write_video(root: Path | str, youtube_id: str, content: bytes) -> Path:
    """Writes /videos/<id>.mp4 and, for yt-dlp's generic extractor to find it, the page /watch/<id>.html around it."""
    path = Path(root) / "videos" / f"{youtube_id}.mp4"
    page = f'<!doctype html><title>{youtube_id}</title><video src="/videos/{youtube_id}.mp4"></video>\n'
    _write(path, content)
    _write(Path(root) / "watch" / f"{youtube_id}.html", page.encode())
    return path


def annotation_csv(rows: Sequence[Row], split: str, *, is_cc: bool = False) -> bytes:
    """The annotation file of one split; `split` is what its last column says, `is_cc` CVDF's extra one."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    label = ["label"] if not rows or len(rows[0]) == 4 else []
    writer.writerow([*label, "youtube_id", "time_start", "time_end", "split", *(["is_cc"] if is_cc else [])])
    writer.writerows([*row, split, *([0] if is_cc else [])] for row in rows)
    return buffer.getvalue().encode()


def _annotation_json(rows: Sequence[Row], subset: str) -> bytes:
    # Keyed by id as DeepMind's: a video's second clip takes the place of its first.
    entries = {}
    for row in rows:
        youtube_id, start, end = row[-3:]
        label = {"label": row[0]} if len(row) == 4 else {}
        entries[youtube_id] = {
            "annotations": {**label, "segment": [float(start), float(end)]},
            "duration": float(end) - float(start),
            "subset": subset,
            "url": f"https://www.youtube.com/watch?v={youtube_id}",
        }
    return json.dumps(entries).encode()


def _choice(what: str, value: str, valid: Iterable[str]) -> str:
    if value not in valid:
        raise ValueError(f"{what} {value!r} is not on the mirror; take one of {', '.join(valid)}")
    return value


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
