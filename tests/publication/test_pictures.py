"""Pictures beside a card. Figures come from the clips as they were made, and frames from a decode by PyAV alone."""

import io
import re
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from typer.testing import CliRunner

from kinetics_tools.cli.app import app
from kinetics_tools.media import VideoReader
from kinetics_tools.preparation.parquet import ShardWriter, prepared_features
from kinetics_tools.publication.class_chart import class_chart
from kinetics_tools.publication.pictures import Pictures, Read, make_pictures
from kinetics_tools.releases import LABELS
from tests.support.clip_tree import BAD, clip_bytes
from tests.support.hub import Hub
from tests.support.hub_pushes import REPO, content, files, quiet, shards, text
from tests.support.hub_token import ANN
from tests.support.trees import Clip

CHART, SHEET = "images/classes.svg", "images/clips.jpg"
SHOWN = re.compile(r"!\[[^\]]*\]\((images/[^)]*)\)")
CAPTION = re.compile(r"\*One frame each, row by row: (.*)\.\*")
TILE, GAP = (164, 220), 4  # (height, width)


def blob(hub: Hub, path: str) -> bytes:
    repository = hub.repositories[REPO]
    return repository.blob(repository.commit().files[path].oid).read_bytes()


def pixels(picture: bytes) -> np.ndarray:
    with av.open(io.BytesIO(picture)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def tiles(picture: bytes) -> list[np.ndarray]:
    """Return the tiles of a contact sheet, row by row, with 4 in a row."""
    whole = pixels(picture)
    places = [(row, column) for row in range(whole.shape[0] // (TILE[0] + GAP)) for column in range(4)]
    edges = [(GAP + row * (TILE[0] + GAP), GAP + column * (TILE[1] + GAP)) for row, column in places]
    return [whole[top : top + TILE[0], left : left + TILE[1]] for top, left in edges]


def expected_tile(video: bytes) -> np.ndarray:
    """Return the middle frame, whose center has the shape of a tile, scaled to one."""
    with av.open(io.BytesIO(video)) as container:
        frames = list(container.decode(video=0))
    frame = frames[len(frames) // 2]
    height = frame.width * TILE[0] // TILE[1]  # clips of 64x48 are higher than a tile
    top = (frame.height - height) // 2
    part = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(frame.to_ndarray(format="rgb24")[top : top + height]), format="rgb24"
    )
    return part.reformat(TILE[1], TILE[0], "rgb24", interpolation="BILINEAR").to_ndarray()


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_the_card_shows_clips_per_class_and_a_frame_of_each(
    hub: Hub, prepared: Path, clips: list[Clip], tmp_path: Path
) -> None:
    report = quiet(prepared, REPO)
    assert (report.commits, report.notes) == (1, [])
    card = text(hub, "README.md")
    assert SHOWN.findall(card) == [SHEET, CHART]
    assert card.index(SHEET) < card.index("## Load it") < card.index("## Clips") < card.index(CHART)

    chart = blob(hub, CHART)
    counts = Counter(clip.label for number, clip in enumerate(clips) if number not in BAD)
    assert sum(counts.values()) == 26
    title = ElementTree.fromstring(chart).findtext("{http://www.w3.org/2000/svg}title") or ""
    assert title == (
        "Clips per class. Kinetics-700, 26 clips in 4 of 700 classes: most 7 (abseiling), median 6.5, fewest 6 (zumba)"
    )
    assert re.findall(r"\(images/classes.svg\)", card) == ["(images/classes.svg)"]
    bars = [float(low) - float(high) for low, high in re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)h", chart.decode())]
    assert [round(7 * bar / bars[0], 1) for bar in bars] == sorted(counts.values(), reverse=True)

    sheet = blob(hub, SHEET)
    assert max(len(chart), len(sheet)) < 200_000
    labels = CAPTION.findall(card)[0].split(", ")
    assert sorted(labels) == sorted(counts)
    first: dict[str, bytes] = {}
    for name in shards(prepared):
        for row in pq.read_table(prepared / name, columns=["label", "video"]).to_pylist():
            first.setdefault(LABELS["700"][row["label"]], row["video"]["bytes"])
    assert labels == list(first)
    shown = tiles(sheet)
    for number, (label, tile) in enumerate(zip(labels, shown, strict=True)):
        own, other = (difference(tile, expected_tile(first[one])) for one in (label, labels[number - 1]))
        assert own < 6 < other

    head, _ = hub.repositories[REPO].resolve("main"), hub.clear(log=True)
    again = quiet(prepared, REPO)
    assert (again.commits, content(hub)) == (0, 0)
    assert hub.repositories[REPO].resolve("main") == head
    quiet(prepared, f"file://{tmp_path}/folder")
    assert [(tmp_path / "folder" / name).read_bytes() for name in (CHART, SHEET)] == [chart, sheet]


def test_pictures_go_with_the_option_and_with_the_videos(hub: Hub, prepared: Path, tree: Path) -> None:
    quiet(prepared, REPO)
    report = quiet(prepared, REPO, pictures=False)
    assert (report.commits, report.files_deleted, report.notes) == (1, 0, [])
    assert not files(hub).keys() & {CHART, SHEET}
    assert not SHOWN.search(text(hub, "README.md"))
    assert quiet(prepared, REPO, pictures=False).commits == 0
    assert quiet(prepared, REPO).commits == 1
    assert files(hub).keys() >= {CHART, SHEET}
    annotations = str(tree / "annotations" / "val.csv")
    assert quiet(prepared, REPO, annotations_only=True, annotations=annotations, force=True).files_deleted == 8
    assert SHOWN.findall(text(hub, "README.md")) == [CHART]
    assert SHEET not in files(hub)


def test_the_command_without_pictures(prepared: Path, tmp_path: Path) -> None:
    for option, expected in (([], [CHART, SHEET]), (["--no-pictures"], [])):
        result = CliRunner().invoke(app, ["push", str(prepared), f"file://{tmp_path}/there", *option])
        assert result.exit_code == 0, result.output
        found = [path.relative_to(tmp_path / "there").as_posix() for path in (tmp_path / "there").glob("images/*")]
        assert sorted(found) == expected


@pytest.mark.parametrize("pictures", [True, False])
def test_a_file_of_the_users_stays(hub: Hub, prepared: Path, pictures: bool) -> None:
    quiet(prepared, REPO)
    mine = {SHEET: b"\xff\xd8\xff\xfe\x00\x06mine", CHART: b"<svg/>" * 50_000}
    for path, what in mine.items():
        HfApi(endpoint=hub.url, token=ANN).upload_file(
            path_or_fileobj=what, path_in_repo=path, repo_id=REPO, repo_type="dataset"
        )
    report = quiet(prepared, REPO, pictures=pictures)
    assert {path: blob(hub, path) for path in mine} == mine
    assert not SHOWN.search(text(hub, "README.md"))
    kept = "kinetics push did not make the file that is there, and keeps it"
    assert report.lines().count(f"the card has no {SHEET}: {kept}") == pictures
    assert quiet(prepared, REPO, pictures=pictures).commits == 0


# ---- What is read


def shard_of(path: Path, labels: list[int], *, broken: Collection[int]) -> Path:
    """A shard of a clip for each label; the clips with the numbers `broken` do not decode."""
    with open(path, "wb") as file, ShardWriter(file, prepared_features("700")) as writer:
        for number, label in enumerate(labels):
            video = b"no video" if number in broken else clip_bytes(path.parent, number)
            keys = {"label": label, "youtube_id": f"{number:011d}", "time_start": 0.0, "time_end": 10.0}
            measured = {"duration": 0.6, "fps": 15.0, "num_frames": 9, "width": 64, "height": 48, "has_audio": False}
            writer.add({"video": {"bytes": video, "path": f"{number}.mp4"}, **keys, **measured})
    return path


def reading(path: Path, names: list[str]) -> Read:
    """Opens the file at `path` as each shard, and adds the name of the shard to `names`."""

    def read(name: str, function: Callable[[BinaryIO], None]) -> None:
        names.append(name)
        with open(path, "rb") as file:
            function(file)

    return read


def test_one_shard_is_enough_for_a_sheet_and_none_for_the_same_one(tmp_path: Path) -> None:
    """Of 1,408 shards in the larger split and 1,408 in the smaller one."""
    labels = [20, -1, 21, 20, *range(22, 40)]
    path = shard_of(tmp_path / "shard.parquet", labels, broken=[0])
    names = {split: [f"700/{split}-{number:05d}-of-01408-1f3a9c02.parquet" for number in range(1408)]
             for split in ("train", "validation")}  # fmt: skip
    entries = {
        split: {"rows": rows, "files": f"700/{split}-*-of-01408-1f3a9c02.parquet", "per_class": [1] * 700}
        for split, rows in (("train", 900), ("validation", 700))
    }
    sizes = dict.fromkeys([*names["train"], *names["validation"]], 1000)
    read: list[str] = []

    def pictures(published: dict[str, bytes], sizes: dict[str, int] = sizes) -> Pictures:
        manifests = {"700": {"splits": entries}, "700-2020": {"splits": {}}}
        return make_pictures(manifests, sizes, published, reading(path, read), is_wanted=True)

    found = pictures({})
    assert read == names["validation"][:1]
    expected = [LABELS["700"][label] for label in (21, 20, *range(22, 32))]
    assert re.split("[,;] ", found.texts[SHEET]) == expected
    assert pixels(found.files[SHEET]).shape == (508, 900, 3)
    read.clear()
    again = pictures(found.files)
    assert (again.files, again.texts, read) == (found.files, found.texts, [])
    pictures(found.files, {**sizes, names["validation"][0]: 1001})
    assert read == names["validation"][:1]


def test_clips_that_cannot_be_decoded_cost_few_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shard_of(tmp_path / "shard.parquet", list(range(20)), broken=range(20))
    opened: list[object] = []

    def reader(clip: object) -> VideoReader:
        opened.append(clip)
        return VideoReader(clip)  # type: ignore[arg-type]

    monkeypatch.setattr("kinetics_tools.publication.pictures.VideoReader", reader)
    shard = "700/validation-{}-of-00008-1f3a9c02.parquet"
    split = {"rows": 160, "files": shard.format("*"), "per_class": [1] * 700}
    sizes = {shard.format(f"{number:05d}"): 1000 for number in range(8)}
    found = make_pictures({"700": {"splits": {"validation": split}}}, sizes, {}, reading(path, []), is_wanted=True)
    assert found.notes == [f"the card has no {SHEET}: the first clips, from {next(iter(sizes))} on, cannot be decoded"]
    assert len(opened) == 16


def test_the_chart_of_all_releases_is_small() -> None:
    largest = {release: dict.fromkeys(("train", "validation", "test"), [999] * len(LABELS[release]))
               for release in LABELS}  # fmt: skip
    chart = class_chart(largest)
    assert len(chart) < 200_000
    assert len(ElementTree.fromstring(chart).findall("{http://www.w3.org/2000/svg}g")) == 4
