"""Frames, read by the lines of MMAction2 and compared with an independent decode."""

import io

import av
import numpy as np

from kinetics_tools import convert
from kinetics_tools.releases import LABELS
from tests.support.clip_tree import rows_of
from tests.support.trees import Clip, write_tree


def read_rawframes(path, prefix):
    """As RawframeDataset of MMAction2 reads its list."""
    for line in path.read_text().splitlines():
        line_split = line.strip().split()
        frame_dir, total_frames, label = prefix / line_split[0], int(line_split[1]), [int(x) for x in line_split[2:]]
        assert len(label) == 1
        yield [frame_dir / f"img_{number:05d}.jpg" for number in range(1, total_frames + 1)], label[0]


def decoded(content):
    with av.open(io.BytesIO(content)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).astype(float)


def test_mmaction2_reads_the_frames_of_prepared_shards(prepared, tmp_path):
    report = convert(prepared, tmp_path / "out", to="frames")
    rows = {name.removesuffix(".mp4"): row for name, row in rows_of(prepared).items()}
    assert report.written == {"validation": len(rows)}
    found = read_rawframes(tmp_path / "out" / "kinetics700_val_list_rawframes.txt", tmp_path / "out" / "rawframes_val")
    for paths, label in found:
        row = rows.pop(paths[0].parent.name)
        frames = np.concatenate([decoded(path.read_bytes()) for path in paths])
        source = decoded(row["video"]["bytes"])
        assert (label, frames.shape) == (row["label"], source.shape)
        # JPEG halves the resolution of colours, and the clips are noise.
        assert np.abs(frames.mean(axis=3) - source.mean(axis=3)).mean() < 3
        assert len(list(paths[0].parent.iterdir())) == len(paths)
    assert not rows


def test_clips_that_cannot_be_decoded_are_dropped_and_named(clips, tmp_path):
    broken = Clip("zumba", "notavideo00", 0, 10, content=b"no video")
    tree = write_tree(tmp_path / "tree", clips={"train": [broken, clips[0]]})
    report = convert(tree, tmp_path / "out", to="frames", release="700")
    assert report.written == {"train": 1}
    assert [(one.name, one.reason) for one in report.dropped["train"]] == [(broken.stem, "unreadable")]
    assert not report.is_complete
    lines = (tmp_path / "out" / "kinetics700_train_list_rawframes.txt").read_text().splitlines()
    assert lines == [f"{clips[0].label}/{clips[0].stem} 9 {LABELS['700'].index(clips[0].label)}"]
    assert not (tmp_path / "out" / "rawframes_train" / "zumba" / broken.stem).exists()
    assert not list((tmp_path / "out").rglob("*.tmp"))
