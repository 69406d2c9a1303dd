"""The column `audio`: the sound of each clip as mono FLAC, decoded by PyAV alone."""

import io

import av
import datasets
import numpy as np
import pytest

from kinetics_tools.media import mono_flac, write_clip
from kinetics_tools.preparation.options import PrepareOptions
from kinetics_tools.publication import push
from tests.support.clip_tree import FAST, SOURCE, manifest_of, run, shards_of
from tests.support.trees import Clip, write_tree

pytestmark = pytest.mark.usefixtures("in_process")

RATE = 44_100
SOUNDS = {
    "sounding000": 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE),
    "silent00000": np.zeros(RATE),
    "without0000": None,
}


def decoded(content):
    """Return the samples (channels, samples) int16 of a sound file, and its rate."""
    with av.open(io.BytesIO(content)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        stream = container.streams.audio[0]
        assert stream.codec_context.name == "flac"
        return np.concatenate([one.reshape(-1, stream.codec_context.channels) for one in frames]).T, stream.rate


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    clips = []
    for name, sound in SOUNDS.items():
        frames = [np.full((48, 64, 3), level, np.uint8) for level in range(0, 200, 20)]
        write_clip(folder / name, frames, fps=10, audio=None if sound is None else sound.astype(np.float32))
        clips.append(Clip("zumba", name, 0, 1, content=(folder / name).read_bytes()))
    return write_tree(folder / "tree", clips={"validation": clips})


@pytest.mark.parametrize("options", [SOURCE, {"encoding": FAST}], ids=["source", "train"])
def test_the_sound_of_each_clip_is_a_column(tree, tmp_path, options):
    run(tree, tmp_path / "out", **options, audio_column=16_000)
    loaded = datasets.load_dataset(str(tmp_path / "out"), "700", split="validation")
    assert loaded.column_names[:3] == ["video", "audio", "label"]
    assert loaded.features["audio"] == datasets.Audio(sampling_rate=16_000)
    plain = loaded.cast_column("video", datasets.Video(decode=False))
    plain = plain.cast_column("audio", datasets.Audio(sampling_rate=16_000, decode=False))
    found = {row["youtube_id"]: row["audio"] for row in plain}
    assert found["silent00000"] is None
    assert found["without0000"] is None
    audio = found["sounding000"]
    assert audio["path"] == "sounding000_000000_000001.flac"
    samples, rate = decoded(audio["bytes"])
    assert (rate, samples.shape[0]) == (16_000, 1)
    assert abs(samples.shape[1] - 16_000) <= 2 * 1024 * 16_000 / RATE  # AAC pads to frames of 1,024 samples
    spectrum = np.abs(np.fft.rfft(samples[0, :16_000]))
    assert abs(np.argmax(spectrum) * 16_000 / len(samples[0, :16_000]) - 440) <= 2
    assert abs(np.abs(samples).max() / 32_768 - 0.3) < 0.03
    assert manifest_of(tmp_path / "out")["options"]["audio_column"] == 16_000
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| `audio` | `Audio` | the sound at 16000 Hz, mono, as FLAC; null where it is silent or missing |" in card


def test_without_it_the_columns_stay_the_same(tree, tmp_path):
    run(tree, tmp_path / "out", **SOURCE)
    loaded = datasets.load_dataset(str(tmp_path / "out"), "700", split="validation")
    assert "audio" not in loaded.column_names
    assert "`audio`" not in (tmp_path / "out" / "README.md").read_text().partition("## How the clips were made")[0]


def test_real_sound_of_two_channels_is_averaged(shared):
    """Decoded and averaged by PyAV at its own rate."""
    path = shared / "clips" / "nasa_two_streams.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.best("audio")
        rate = stream.rate
        resampler = av.AudioResampler("flt", stream.layout.name, rate)
        frames = [part for frame in container.decode(stream) for part in resampler.resample(frame)]
        channels = stream.codec_context.channels
    expected = np.concatenate([frame.to_ndarray().reshape(-1, channels) for frame in frames]).mean(axis=1)
    samples, found_rate = decoded(mono_flac(str(path), rate))
    assert found_rate == rate
    # The clip may begin with sound before its first frame, which is not part of it.
    shift = len(expected) - samples.shape[1]
    assert 0 <= shift < rate
    assert np.allclose(samples[0] / 32_767, expected[shift:].clip(-1, 1), atol=1e-4)


def test_splits_of_a_release_have_the_same_columns(tree, tmp_path):
    run(tree, tmp_path / "out", **SOURCE)
    (tree / "train").symlink_to(tree / "val")
    try:
        write = {"annotations": str(tree / "annotations")}
        (tree / "annotations" / "train.csv").write_text(
            (tree / "annotations" / "val.csv").read_text().replace(",val", ",train")
        )
        with pytest.raises(ValueError, match=r"audio_column differs between splits .*no column.*16000"):
            run(tree, tmp_path / "out", **SOURCE, **write, splits=["train"], audio_column=16_000)
    finally:
        (tree / "train").unlink()
        (tree / "annotations" / "train.csv").unlink()


def test_shards_with_sound_are_published_and_read_back(tree, tmp_path):
    run(tree, tmp_path / "out", **SOURCE, audio_column=16_000)
    report = push(tmp_path / "out", f"file://{tmp_path}/published", verify=True)
    assert report is not None
    assert shards_of(tmp_path / "published") == shards_of(tmp_path / "out")


@pytest.mark.parametrize("rate", [0, 1_000, 16_000.0, True, 1_000_000])
def test_rates_that_are_invalid(rate):
    with pytest.raises(ValueError, match="audio_column must be"):
        PrepareOptions(audio_column=rate)
