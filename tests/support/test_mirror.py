"""The layout of mirror.py, read by the standard library: nothing of the project takes part."""

import csv
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tests.support.fault_server import FaultServer
from tests.support.mirror import Row, annotation_csv, tar, tar_gz, write_deepmind, write_mirror, write_video

ROWS: list[tuple[str, str, int, int]] = [
    ("abseiling", "-abcdefghi0", 1, 11),
    ("massaging person's head, neck", "_bcdefghij1", 90, 100),
]


def members(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive if info.isfile()}  # type: ignore[union-attr]


def test_layout_of_400(tmp_path: Path) -> None:
    clips = {"-abcdefghi0_000001_000011.mp4": b"one", "_bcdefghij1_000090_000100.mp4": b"two"}
    directory = write_mirror(
        tmp_path,
        "400",
        {"val": {"part_1": clips, "part_0": b"not gzip", "part_2.tar": clips, "gone": None}, "test": {}},
        annotations={"val": ROWS},
        replacement={"-abcdefghi0_000001_000011.mp4": b"better"},
    )
    assert directory == tmp_path / "kinetics/400"
    base = "https://s3.amazonaws.com/kinetics/400/val"
    listing = [f"{base}/{name}" for name in ("part_1.tar.gz", "part_0.tar.gz", "part_2.tar", "gone.tar.gz")]
    assert (directory / "val/k400_val_path.txt").read_text() == "\n".join(listing) + "\n"
    assert (directory / "test/k400_test_path.txt").read_text() == ""
    assert members((directory / "val/part_1.tar.gz").read_bytes()) == clips
    assert members((directory / "val/part_2.tar").read_bytes()) == clips
    assert (directory / "val/part_0.tar.gz").read_bytes() == b"not gzip"
    assert not (directory / "val/gone.tar.gz").exists()
    stem = "replacement_for_corrupted_k400"
    name = f"{stem}/-abcdefghi0_000001_000011.mp4"
    assert members((directory / f"{stem}.tgz").read_bytes()) == {name: b"better"}
    text = (directory / "annotations/val.csv").read_text()
    assert text.startswith("label,youtube_id,time_start,time_end,split,is_cc\nabseiling,-abcdefghi0,1,11,val,0\n")
    assert next(csv.DictReader(text.splitlines()[:1] + text.splitlines()[2:]))["label"] == ROWS[1][0]


@pytest.mark.parametrize(
    ("release", "directory", "tarball"),
    [
        ("600", "600", "kinetics600"),
        ("700", "700_2020", "kinetics700"),
        ("700-2020", "700_2020", "kinetics700_2020"),
    ],
)
def test_layout_of_the_other_releases(tmp_path: Path, release: str, directory: str, tarball: str) -> None:
    archives = {"train": {"massaging person's head": {"a.mp4": b"a"}}}
    annotations: dict[str, Sequence[Row]] = {
        "train": ROWS,
        "val": ROWS[:1],
        "test": [row[1:] for row in ROWS],
    }
    write_mirror(tmp_path, release, archives, annotations=annotations)
    base = tmp_path / "kinetics" / directory
    line = f"https://s3.amazonaws.com/kinetics/{directory}/train/massaging person's head.tar.gz\n"
    assert (base / f"train/k{directory}_train_path.txt").read_text() == line
    assert members((base / "train/massaging person's head.tar.gz").read_bytes()) == {"a.mp4": b"a"}
    assert (base / "annotations/test.csv").read_text().startswith("youtube_id,time_start,time_end,split\n-abc")
    files = members((tmp_path / f"deepmind-media/Datasets/{tarball}.tar.gz").read_bytes())
    subsets = ("train", "validate", "test")
    assert set(files) == {f"{tarball}/{subset}.{suffix}" for subset in subsets for suffix in ("csv", "json")}
    assert files[f"{tarball}/validate.csv"] == annotation_csv(ROWS[:1], "validate")
    assert json.loads(files[f"{tarball}/validate.json"]) == {
        "-abcdefghi0": {
            "annotations": {"label": "abseiling", "segment": [1.0, 11.0]},
            "duration": 10.0,
            "subset": "validate",
            "url": "https://www.youtube.com/watch?v=-abcdefghi0",
        }
    }
    assert "label" not in json.loads(files[f"{tarball}/test.json"])["-abcdefghi0"]["annotations"]


def test_quoted_path_list_leads_to_the_archive(tmp_path: Path) -> None:
    name = "massaging person's head (50%)"
    base = write_mirror(tmp_path, "600", {"val": {name: {"a.mp4": b"a"}}}, quoted=True)
    with FaultServer(tmp_path) as server:
        url = (base / "val/k600_val_path.txt").read_text().strip()
        with urlopen(server.url + urlsplit(url).path) as answer:
            assert members(answer.read()) == {"a.mp4": b"a"}


def test_archives_are_reproducible(tmp_path: Path) -> None:
    clips = {"b.mp4": bytes(range(256)) * 1_000, "class/a.mp4": b"a"}
    assert tar_gz(clips) == tar_gz(clips)
    assert list(members(tar_gz(clips))) == list(clips)
    link = tarfile.TarInfo("../evil")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(fileobj=io.BytesIO(tar({"link": link}))) as archive:
        assert [(info.name, info.issym(), info.mtime) for info in archive] == [("../evil", True, 0)]
    first, second = (write_deepmind(tmp_path, "400", {"val": ROWS}).read_bytes() for _ in range(2))
    assert first == second


def test_a_video_lies_beside_the_page_around_it(tmp_path: Path) -> None:
    assert write_video(tmp_path, "-bcdefghij0", b"video") == tmp_path / "videos" / "-bcdefghij0.mp4"
    with FaultServer(tmp_path) as server:
        with urlopen(f"{server.url}/watch/-bcdefghij0.html") as page:
            assert page.headers["Content-Type"] == "text/html"
            assert b'<video src="/videos/-bcdefghij0.mp4">' in page.read()
        with urlopen(f"{server.url}/videos/-bcdefghij0.mp4") as video:
            assert video.read() == b"video"


def test_what_is_not_on_the_mirror(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"release '500' is not on the mirror; take one of 400, 600"):
        write_mirror(tmp_path, "500", {})
    with pytest.raises(ValueError, match=r"split 'validation' is not on the mirror; take one of train, val"):
        write_mirror(tmp_path, "400", {"validation": {}})
    with pytest.raises(ValueError, match=r"release '600' has no replacement archive; only '400'"):
        write_mirror(tmp_path, "600", {}, replacement={})
