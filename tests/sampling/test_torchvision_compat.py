"""`KineticsClips` against torchvision's counting, over directories, datasets and prepared columns."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import datasets
import numpy as np
import pytest

import kinetics
from kinetics_tools.media import decode, write_clip
from kinetics_tools.probing import files
from kinetics_tools.sampling.torchvision_compat import KineticsClips
from kinetics_tools.verification import verify
from tests.support import mounts
from tests.support.trees import Clip, write_annotations

pytestmark = pytest.mark.usefixtures("probed_here")

HEIGHT, WIDTH = 48, 64
PROBES = ".kinetics-probes.jsonl"
LABELS = ("abseiling", "massaging person's head", "zumba")
FRAMES = (30, 12, 20)


@pytest.fixture
def no_reads(monkeypatch):
    """Fail if a clip is probed."""
    monkeypatch.setattr("kinetics_tools.probing.files.probe_packed", lambda *_, **__: pytest.fail("reads a clip"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three clips of 30, 12 and 20 frames, 10 a second, the first one with sound, as torchvision lays them out."""
    root = tmp_path_factory.mktemp("made")
    paths = []
    for number, (label, count) in enumerate(zip(LABELS, FRAMES, strict=True)):
        folder = root / "val" / label.replace(" ", "_").replace("'", "")
        folder.mkdir(parents=True)
        rng = np.random.default_rng(number)
        images = rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)
        sound = rng.normal(0, 0.1, count * 4410).astype(np.float32) if number == 0 else None
        paths.append(folder / f"abcdefghij{number}_000001_000011.mp4")
        write_clip(paths[-1], images, fps=10, audio=sound)
    return root, paths


@pytest.fixture
def tree(made, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(made[0], root)
    return root


def table(paths, **columns):
    rows = {
        "video": [{"bytes": path.read_bytes(), "path": path.name} for path in paths],
        "label": [kinetics.LABELS["400"].index(label) for label in LABELS],
        **columns,
    }
    plain = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = {
        "video": datasets.Video(decode=False),
        "label": datasets.ClassLabel(names=list(kinetics.LABELS["400"])),
        **{name: datasets.Value("int32" if name == "num_frames" else "float32") for name in columns},
    }
    stored = datasets.Features({**features, "video": plain, "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict(rows, features=stored).cast(datasets.Features(features))


def loaded(root, count, **options):
    return KineticsClips(root, count, split="val", tensors=False, **options)


@pytest.mark.parametrize(("count", "step", "rate"), [(8, 1, None), (8, 8, None), (5, 3, 5), (4, 2, 8), (10, 1, 20)])
def test_windows_are_numbered_as_by_torchvision(tree, made, count, step, rate):
    """Clip after clip, floor((R - T) / step) + 1 each; R = ceil(N / r) for whole r = fps / rate, else floor(N / r)."""
    windows = []
    for clip, frames in enumerate(FRAMES):
        ratio = 10 / (rate or 10)
        length = -(-frames // int(ratio)) if ratio.is_integer() else int(frames / ratio)
        resampled = [int(np.float32(i) * np.float32(ratio)) for i in range(length)]
        windows += [(clip, resampled[start : start + count]) for start in range(0, length - count + 1, step)]
    videos = loaded(tree, count, step_between_clips=step, frame_rate=rate)
    assert len(videos) == len(windows)
    for number in {0, len(windows) // 2, len(windows) - 1}:
        clip, indices = windows[number]
        video, _, label = videos[number]
        np.testing.assert_array_equal(video, decode(made[1][clip], indices, layout="TCHW"))
        assert label == kinetics.LABELS["400"].index(LABELS[clip])
        assert videos.get_clip_location(number)[0] == clip
    np.testing.assert_array_equal(videos[-1][0], videos[len(windows) - 1][0])


def test_what_an_item_is(tree):
    videos = loaded(tree, 8, output_format="THWC", size=(24, 32), transform=lambda video: video[::2])
    video, audio, label = videos[4]
    assert video.shape == (4, 24, 32, 3)
    assert (video.dtype, audio.dtype, type(label)) == (np.uint8, np.float32, int)
    assert audio.shape == (1, round(0.8 * 44_100))
    assert videos[len(videos) - 1][1].shape == (1, 0)
    assert loaded(tree, 8, audio=False)[4][1].shape == (1, 0)
    assert (videos.num_videos, videos.classes) == (3, list(kinetics.LABELS["400"]))
    for index in (len(videos), -len(videos) - 1):
        with pytest.raises(IndexError, match=rf"window -?\d+ of {len(videos)}"):
            videos[index]
    with pytest.raises(ValueError, match=r"unknown output_format 'CTHW'.*\(valid: TCHW, THWC\)"):
        loaded(tree, 8, output_format="CTHW")
    with pytest.raises(ValueError, match=r"size=64: must be \(height, width\)"):
        loaded(tree, 8, size=64)


def test_tensors(tree, torch):
    video, audio, label = KineticsClips(tree, 8, split="val")[0]
    assert (video.dtype, audio.dtype) == (torch.uint8, torch.float32)
    assert video.shape == (8, 3, HEIGHT, WIDTH)
    assert label == 0
    loader = torch.utils.data.DataLoader(KineticsClips(tree, 8, split="val", audio=False), batch_size=4, num_workers=1)
    assert next(iter(loader))[0].shape == (4, 8, 3, HEIGHT, WIDTH)


def test_datasets_and_directories_hold_the_same(tree, made):
    ours, theirs = loaded(tree, 8), KineticsClips(table(made[1]), 8, tensors=False)
    assert len(ours) == len(theirs)
    for number in (0, 25, len(ours) - 1):
        for one, other in zip(ours[number], theirs[number], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["arrow", "numpy", "torch"])
@pytest.mark.parametrize("columns", [{}, {"num_frames": list(FRAMES), "fps": [10.0] * 3}])
def test_datasets_may_have_a_format(made, kind, columns, request):
    if kind == "torch":
        request.getfixturevalue("torch")
    rows = table(made[1], **columns)
    plain, formatted = (KineticsClips(one, 8, tensors=False) for one in (rows, rows.with_format(kind)))
    assert len(formatted) == len(plain) == sum(frames - 7 for frames in FRAMES)
    for one, other in zip(plain[24], formatted[24], strict=True):
        assert type(one) is type(other)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("columns", [{}, {"num_frames": list(FRAMES), "fps": [10.0] * 3}])
@pytest.mark.parametrize(
    "set_up",
    [
        lambda rows: rows.with_format("numpy", columns=["label"]),
        lambda rows: rows.with_transform(lambda batch: {"words": ["none"] * len(batch["video"])}),
    ],
    ids=["columns", "transform"],
)
def test_what_a_format_leaves_of_the_columns_is_put_aside(made, columns, set_up):
    rows = table(made[1], **columns)
    plain, formatted = (KineticsClips(one, 8, tensors=False) for one in (rows, set_up(rows)))
    assert len(formatted) == len(plain) == sum(frames - 7 for frames in FRAMES)
    np.testing.assert_array_equal(formatted[24][0], plain[24][0])


def test_rows_without_a_video_are_told_of_their_columns(made):
    with pytest.raises(ValueError, match="column='video' does not exist; the columns are clip, label"):
        KineticsClips(table(made[1]).rename_column("video", "clip"), 8)


def test_columns_of_prepared_rows_are_believed(made, no_reads):
    videos = KineticsClips(table(made[1], num_frames=list(FRAMES), fps=[10.0] * 3), 8, tensors=False)
    assert len(videos) == sum(frames - 7 for frames in FRAMES)
    assert videos[23][0].shape == (8, 3, HEIGHT, WIDTH)


def test_windows_are_read_by_the_rate_that_they_were_counted_with(made):
    """Which of a clip of variable rate may be another than the frames' own times say, here half of it."""
    rows = table(made[1], num_frames=list(FRAMES), fps=[5.0] * 3)
    videos = KineticsClips(rows, 4, frame_rate=5, step_between_clips=4, tensors=False, audio=False)
    assert len(videos) == sum(frames // 4 for frames in FRAMES)
    for number in range(FRAMES[0] // 4):
        expected = decode(made[1][0], range(4 * number, 4 * number + 4), layout="TCHW")
        np.testing.assert_array_equal(videos[number][0], expected)


def test_one_split_of_a_prepared_folder_is_loaded(tree, tmp_path, monkeypatch):
    from kinetics_tools.preparation.run import prepare

    shutil.copytree(tree / "val", tree / "train")
    prepare("400", tree, tmp_path / "out", profile="source")
    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    videos = loaded(tmp_path / "out", 8)
    assert videos.num_videos == 3
    names = [path.name for path in cache.rglob("*.arrow")]
    assert names
    assert all("validation" in name for name in names), names


def test_a_second_start_reads_no_clip(tree, monkeypatch):
    first = loaded(tree, 8)
    with monkeypatch.context() as patch:
        patch.setattr("kinetics_tools.probing.files.probe_packed", lambda *_, **__: pytest.fail("reads a clip"))
        again = loaded(tree, 4)
    assert len(again) == len(first) + 3 * 4
    changed = next(tree.glob("val/zumba/*.mp4"))
    write_clip(changed, np.zeros((9, HEIGHT, WIDTH, 3), np.uint8), fps=10)
    assert len(loaded(tree, 8)) == len(first) - 13 + 2
    (tree / PROBES).write_text("{half")
    assert len(loaded(tree, 8)) == len(first) - 13 + 2


@pytest.mark.parametrize("first", ["KineticsClips", "verify"])
def test_verify_has_the_same_cache(tree, monkeypatch, first):
    clips = [Clip(label, f"abcdefghij{number}", 1, 11) for number, label in enumerate(LABELS)]
    write_annotations(tree / "annotations" / "val.csv", clips, "val")
    starts = {"verify": lambda: verify("400", tree, workers=1), "KineticsClips": lambda: loaded(tree, 8)}
    starts.pop(first)()
    monkeypatch.setattr("kinetics_tools.probing.files.probe_packed", lambda *_, **__: pytest.fail("reads a clip"))
    for other in starts.values():
        other()


def test_what_a_killed_start_has_read_is_kept(tree, monkeypatch):
    """The process ends at the third clip, without any clean-up: the first two are in the cache."""
    script = "; ".join(
        [
            "import os, kinetics_tools.probing.files as files, itertools",
            "from kinetics_tools.sampling import KineticsClips",
            "serve = files.probe_packed",
            "count = itertools.count()",
            "serve_some = lambda item: os._exit(9) if next(count) == 2 else serve(item)",
            "files.run_processes = lambda _, items, **__: ((key, serve_some(item)) for key, item in items)",
            f"KineticsClips({str(tree)!r}, 8, split='val', tensors=False)",
        ]
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    read = []
    real = files.probe_packed
    monkeypatch.setattr(files, "probe_packed", lambda clip, **_: (read.append(clip), real(clip))[1])
    assert len(loaded(tree, 8)) == sum(frames - 7 for frames in FRAMES)
    assert len(read) == 1


def test_worker_processes_read_files_and_rows(tree, made, worker_processes):
    expected = sum(frames - 7 for frames in FRAMES)
    assert len(loaded(tree, 8)) == len(KineticsClips(table(made[1]), 8, num_workers=2, tensors=False)) == expected


def test_an_error_of_the_medium_is_not_kept(tree, monkeypatch):
    def fail(path):
        raise OSError("input/output error of the medium")

    with monkeypatch.context() as patch:
        patch.setattr("kinetics_tools.probing.clip_probe.probe", fail)
        with pytest.warns(UserWarning, match=r"3 clips without windows: .*\.mp4 \(OSError\)"):
            assert len(loaded(tree, 8)) == 0
    assert len(loaded(tree, 8)) == sum(frames - 7 for frames in FRAMES)


def test_a_bad_clip_is_named_at_each_start(tree):
    next(tree.glob("val/zumba/*.mp4")).write_bytes(b"junk")
    for _ in range(2):
        with pytest.warns(
            UserWarning, match=r"1 clip without windows: val/zumba/abcdefghij2_000001_000011\.mp4 \(Invalid data"
        ):
            assert len(loaded(tree, 8)) == sum(frames - 7 for frames in FRAMES[:2])


def test_a_link_to_nothing_is_a_clip_that_is_absent(tree, caplog):
    lost = next(tree.glob("val/zumba/*.mp4"))
    lost.unlink()
    lost.symlink_to(tree / "gone.mp4")
    for _ in range(2):
        caplog.clear()
        assert len(loaded(tree, 8)) == sum(frames - 7 for frames in FRAMES[:2])
        assert "links to nothing are skipped: 1 (abcdefghij2_000001_000011)" in caplog.text


# Of torchvision.datasets.Kinetics, releases 0.17 to 0.25, in this order.
TORCHVISION = {
    "frames_per_clip": 8,
    "num_classes": "400",
    "split": "val",
    "frame_rate": None,
    "step_between_clips": 1,
    "transform": None,
    "extensions": ("avi", "mp4"),
    "download": False,
    "num_download_workers": 1,
    "num_workers": 1,
    "_precomputed_metadata": None,
    "_video_width": 0,
    "_video_height": 0,
    "_video_min_dimension": 0,
    "_audio_samples": 0,
    "_audio_channels": 0,
    "_legacy": False,
    "output_format": "TCHW",
}


def test_arguments_are_those_of_torchvision(tree):
    for videos in (
        KineticsClips(tree, *TORCHVISION.values(), tensors=False),
        KineticsClips(root=tree, **TORCHVISION, tensors=False),
        KineticsClips(
            root=str(tree), **{**TORCHVISION, "num_classes": 400, "num_workers": 0, "extensions": ["avi", "mp4"]}
        ),
    ):
        assert len(videos) == sum(frames - 7 for frames in FRAMES)
        assert videos[0][0].shape == (8, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("extensions", ("mkv",), "omit it"),
        ("download", True, "run `kinetics download` before"),
        ("_precomputed_metadata", {}, "omit it"),
        ("_video_width", 224, "pass size=(height, width)"),
        ("_video_height", 224, "pass size=(height, width)"),
        ("_video_min_dimension", 256, "scale in `transform`"),
        ("_audio_samples", 16_000, "resample the returned `audio`"),
        ("_audio_channels", 1, "mix the returned `audio`"),
        ("_legacy", True, 'pass output_format="THWC"'),
    ],
)
def test_arguments_without_a_use_say_what_to_do_instead(tree, name, value, instead):
    with pytest.raises(ValueError, match=re.escape(f"{name}={value!r}: has no effect here; {instead}")):
        KineticsClips(tree, **{**TORCHVISION, name: value})


def test_what_is_no_dataset_with_numbered_rows_is_refused(made):
    rows = table(made[1])
    for several in (datasets.DatasetDict(train=rows), datasets.IterableDatasetDict(train=rows.to_iterable_dataset())):
        with pytest.raises(TypeError, match=r"DatasetDict: choose one split of train, as by \['train'\]"):
            KineticsClips(several, 8)
    with pytest.raises(TypeError, match="IterableDataset: must be a path or a map-style dataset, so without streaming"):
        KineticsClips(rows.to_iterable_dataset(), 8)


def test_windows_are_taken_one_by_one(tree):
    videos = loaded(tree, 8)
    with pytest.raises(TypeError, match=r"window slice\(0, 2, None\): must be one whole number"):
        videos[0:2]
    np.testing.assert_array_equal(videos[np.int64(3)][0], videos[3][0])


def test_clips_without_a_window_are_counted(tree):
    next(tree.glob("val/zumba/*.mp4")).write_bytes(b"junk")
    with pytest.warns(UserWarning, match=r"2 of 3 clips are unreadable or too short for EveryClip\(frames_per_clip=15"):
        videos = loaded(tree, 15)
    assert len(videos) == 16
    assert videos.get_clip_location(15) == (0, 15)


def test_a_read_only_mount(tree, hf_cache, monkeypatch):
    with mounts.read_only(tree) as mounted:
        for _ in range(2):
            assert len(loaded(mounted, 8)) == sum(frames - 7 for frames in FRAMES)
            monkeypatch.setattr("kinetics_tools.probing.files.probe_packed", lambda *_, **__: pytest.fail("reads"))
    assert [path.name for path in tree.iterdir()] == ["val"]
    (cache,) = Path(hf_cache, "downloads").glob("kinetics-probes-*.jsonl")
    assert len(cache.read_text().splitlines()) == 1 + len(FRAMES)


def test_no_place_for_a_cache(tree, monkeypatch, caplog):
    with mounts.read_only(tree) as mounted:
        monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", str(mounted / "downloads"))
        assert len(loaded(mounted, 8)) == sum(frames - 7 for frames in FRAMES)
    assert "probes of clips cannot be cached (Read-only file system); each run opens all clips" in caplog.text


def test_a_full_disk_costs_only_the_cache(tree, tmp_path, caplog):
    with mounts.small_disk(tmp_path / "disk") as disk:
        shutil.copytree(tree, disk, dirs_exist_ok=True)
        (disk / PROBES).write_bytes(b'{"kinetics probes": 2}'.ljust(4095) + b"\n")  # the next line needs a new block
        mounts.fill(disk)
        assert len(loaded(disk, 8)) == sum(frames - 7 for frames in FRAMES)
    assert f"{PROBES}: No space left on device" in caplog.text
    assert "the clips are read again at the next start" in caplog.text


def test_repr(tree, made):
    windows = "41 windows of EveryClip(frames_per_clip=8, step_between_clips=1, frame_rate=None)"
    assert repr(loaded(tree, 8)) == f"KineticsClips({str(tree)!r}, 3 clips, {windows}, 400 classes)"
    assert repr(KineticsClips(table(made[1]), 8, tensors=False)).startswith("KineticsClips(3 rows, 3 clips")


def test_directories_that_hold_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        KineticsClips(tmp_path / "absent", 8)
    with pytest.raises(FileNotFoundError, match="no clips"):
        KineticsClips(tmp_path, 8)
    with pytest.raises(ValueError, match="split"):
        KineticsClips(tmp_path, 8, split="valid")


def test_real_clips(shared):
    """torchvision: windows over all frames that PyAV decodes."""
    paths = sorted((shared / "clips").iterdir())
    counts = []
    for path in paths:
        with av.open(str(path)) as container:
            counts.append(sum(1 for _ in container.decode(video=0)))
    rows = [{"video": {"bytes": path.read_bytes(), "path": path.name}} for path in paths]
    plain = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    made = datasets.Dataset.from_list(rows, features=datasets.Features({"video": plain}))
    videos = KineticsClips(made.cast_column("video", datasets.Video(decode=False)), 16, tensors=False)
    assert len(videos) == sum(count - 15 for count in counts)
    assert videos[0][2] == -1
