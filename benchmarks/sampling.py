"""Frames out of clips as video models sample them: 224x224 RGB, uint8, on one core.

The clips are the real ones: originals, as labs store them, one of them scaled up to 1080p, and each of them prepared,
as `kinetics prepare --profile train` does it. A row is a way of sampling over all clips: random clips of 16 frames,
4 apart, and 8 frames, 8 apart; and 10 uniform clips of 16 frames, 4 apart, as models are tested. All sides get the
same bytes and the same indices: in prepared clips random ones start on the grid of reference frames.

The others at their fastest: TorchCodec, exact and approximate, with one thread, scaling inside; decord with the size
given to its reader, one thread; PyAV as its manual says, decoding from the last key frame and converting what is
wanted. Each side reads a clip anew from its bytes for each sample, and scales the whole picture without cropping. What
is not installed is left out. Times are medians over rounds in which the sides take turns.

Then how long `KineticsClips` takes to start over 2,000 clips, the second time and the first, against what torchvision's
`VideoClips` does: it reads the time stamps of all packets of all clips.

    pip install -e '.[bench,torch]' decord
    python benchmarks/sampling.py
"""

import contextlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

from _common import Result, alternate, fresh, ratio, report, shared, workspace

ROUNDS = 3
STARTS = 6
SIZE = 224
LARGE = "1080p"
WAYS = {"random 16 x 4": (16, 4), "random 8 x 8": (8, 8), "10 views of 16 x 4": (16, 4)}
VIEWS = 10
CLIPS = 2_000

Read = Callable[[bytes, Sequence[int]], Any]
# (content, indices) for each sample.
Samples = list[tuple[bytes, list[int]]]


# ---- Sides --------------------------------------------------------------------------------------------------


def with_ours() -> Read:
    from kinetics_tools.media import decode

    return lambda content, indices: decode(content, indices, size=(SIZE, SIZE), layout="TCHW")


def with_torchcodec(seek_mode: str) -> Read:
    import torch
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    torch.set_num_threads(1)

    def read(content: bytes, indices: Sequence[int]) -> Any:
        decoder = VideoDecoder(
            content,
            stream_index=0,
            num_ffmpeg_threads=1,
            seek_mode=seek_mode,
            dimension_order="NHWC",
            transforms=[Resize((SIZE, SIZE))],
        )
        return decoder.get_frames_at(list(indices)).data

    return read


def with_decord() -> Read:
    import decord

    def read(content: bytes, indices: Sequence[int]) -> Any:
        reader = decord.VideoReader(io.BytesIO(content), width=SIZE, height=SIZE, num_threads=1)
        return reader.get_batch(list(indices)).asnumpy()

    return read


def with_pyav() -> Read:
    def read(content: bytes, indices: Sequence[int]) -> Any:
        wanted = set(indices)
        images = {}
        with av.open(io.BytesIO(content)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            rate, base = stream.average_rate or Fraction(30), stream.time_base or Fraction(1)
            zero = stream.start_time or 0
            container.seek(int(min(wanted) / rate / base) + zero, stream=stream)
            for frame in container.decode(stream):
                index = round(((frame.pts or 0) - zero) * base * rate)
                if index in wanted:
                    images[index] = frame.to_ndarray(format="rgb24", width=SIZE, height=SIZE)
                if index >= max(wanted):
                    break
        last = images[max(images)]
        return np.stack([images.get(index, last) for index in indices])

    return read


SIDES: Mapping[str, Callable[[], Read]] = {
    "ours": with_ours,
    "torchcodec exact": partial(with_torchcodec, "exact"),
    "torchcodec approximate": partial(with_torchcodec, "approximate"),
    "decord": with_decord,
    "PyAV": with_pyav,
}


def seconds_of(side: str, samples: Samples) -> list[float]:
    """CPU seconds of this process for each sample, after one that warms up."""
    read = SIDES[side]()
    read(*samples[0])
    spent = []
    for content, indices in samples:
        before = time.process_time()
        read(content, indices)
        spent.append(time.process_time() - before)
    return spent


def missing(side: str) -> str | None:
    """Why a side cannot run; in a process of its own, since decord and torchcodec bring libraries of FFmpeg."""
    try:
        SIDES[side]()
    except (ImportError, OSError, RuntimeError) as error:
        return str(error).strip().splitlines()[0]
    return None


# ---- Clips --------------------------------------------------------------------------------------------------


def originals() -> dict[str, bytes]:
    folder = shared()
    if folder is None:
        raise SystemExit("set KINETICS_SHARED to the folder with the real clips")
    clips = {path.stem: first_stream(path.read_bytes()) for path in sorted((folder / "clips").iterdir())}
    return {**clips, LARGE: scaled_up(clips["sports_340x256"])}


def first_stream(content: bytes) -> bytes:
    """The clip, of several video streams the first one alone: decord cannot be told which to read."""
    file = io.BytesIO()
    with av.open(io.BytesIO(content)) as source:
        if len(source.streams.video) == 1:
            return content
        with av.open(file, "w", format="mp4") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
    return file.getvalue()


def scaled_up(content: bytes) -> bytes:
    """1920x1080 pixels, encoded as YouTube's clips are: x264's defaults, a key frame every 250."""
    file = io.BytesIO()
    with av.open(io.BytesIO(content)) as source, av.open(file, "w", format="mp4") as target:
        stream = target.add_stream("libx264", 30, options={"preset": "veryfast", "crf": "23", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for index, frame in enumerate(source.decode(video=0)):
            large = frame.reformat(1920, 1080, "yuv420p", interpolation="BICUBIC")
            large.pict_type, large.pts, large.time_base = 0, index, Fraction(1, 30)
            target.mux(stream.encode(large))
        target.mux(stream.encode())
    return file.getvalue()


def prepared(content: bytes) -> bytes:
    from kinetics_tools.media import encode

    return encode(content)


def indices_of(content: bytes, way: str, *, is_prepared: bool) -> list[list[int]]:
    """Indices of each sample of a clip: as many random ones as STARTS, or all views in one."""
    from kinetics_tools.media import VideoReader
    from kinetics_tools.sampling.samplers import RandomClip, UniformClips

    count, stride = WAYS[way]
    with VideoReader(content) as reader:
        frames, fps = reader.num_frames, reader.fps
    if not way.startswith("random"):
        return [UniformClips(VIEWS, count, stride)(frames, fps).reshape(-1).tolist()]
    rng = np.random.default_rng(0)
    sampler = RandomClip(count, stride, align="grid" if is_prepared else None)
    return [sampler(frames, fps, rng).tolist() for _ in range(STARTS)]


# ---- Starting -----------------------------------------------------------------------------------------------


def write_clips(root: Path, content: bytes) -> Path:
    """2,000 clips of one class, which are one file under many names."""
    folder = root / "val" / "abseiling"
    folder.mkdir(parents=True)
    (root / "clip.mp4").write_bytes(content)
    for number in range(CLIPS):
        (folder / f"{number:011d}_000000_000010.mp4").hardlink_to(root / "clip.mp4")
    return root


def start(root: Path) -> float:
    from kinetics_tools.sampling.torchvision_compat import KineticsClips

    before = time.process_time()
    clips = KineticsClips(root, 16, split="val", tensors=False)
    seconds = time.process_time() - before
    assert clips.num_videos == CLIPS
    return seconds


def first_start(root: Path) -> float:
    for kept in root.glob(".*.json"):
        kept.unlink()
    return start(root)


def scan(root: Path) -> float:
    before = time.process_time()
    for path in root.glob("val/*/*.mp4"):
        with av.open(str(path)) as container:
            times = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
            assert times
    return time.process_time() - before


def starts(root: Path) -> list[Result]:
    sides = {"first": first_start, "again": start, "scan": scan}
    runs = alternate({name: partial(fresh, side, root) for name, side in sides.items()}, rounds=ROUNDS)
    other = f"scan {median(runs['scan']):.2f} s"
    return [
        Result(
            f"start over {CLIPS:,} clips, {name}",
            f"{median(runs[name]):.3f} s",
            other,
            ratio(runs["scan"], runs[name]),
            bound,
            target,
        )
        for name, bound, target in (("again", "at least", 50.0), ("first", "no target", 0.0))
    ]


# ---- Table --------------------------------------------------------------------------------------------------


def measure(clips: Mapping[str, bytes], way: str, sides: Sequence[str], *, is_prepared: bool) -> dict[str, list[Any]]:
    """For each side and round, the mean seconds a sample of each clip."""
    samples: Samples = []
    owners = []
    for name, content in clips.items():
        for indices in indices_of(content, way, is_prepared=is_prepared):
            samples.append((content, indices))
            owners.append(name)
    runs = alternate({side: partial(fresh, seconds_of, side, samples) for side in sides}, rounds=ROUNDS)
    return {
        side: [
            {name: np.mean([one for one, owner in zip(spent, owners, strict=True) if owner == name]) for name in clips}
            for spent in rounds
        ]
        for side, rounds in runs.items()
    }


def total(rounds: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[float]:
    return [sum(one[name] for name in names) for one in rounds]


def compare(
    claim: str,
    ours: Mapping[str, Sequence[Mapping[str, float]]],
    theirs: Mapping[str, Sequence[Mapping[str, float]]],
    names: Sequence[str],
    target: float | None,
) -> Result:
    """Ours against the fastest other side, over these clips."""
    mine = total(ours["ours"], names)
    others = {side: total(rounds, names) for side, rounds in theirs.items() if side != "ours"}
    best = min(others, key=lambda side: median(others[side]))
    return Result(
        claim,
        f"{1000 * median(mine) / len(names):.1f} ms",
        f"{best} {1000 * median(others[best]) / len(names):.1f} ms",
        ratio(others[best], mine),
        "no target" if target is None else "at least",
        target or 0.0,
    )


def main() -> None:
    sides = []
    for side in SIDES:
        problem = fresh(missing, side)
        if problem:
            print(f"left out: {side}: {problem}")
        else:
            sides.append(side)
    with workspace() as folder:
        cache = Path(folder)
        clips = originals()
        for name, content in clips.items():
            (cache / name).write_bytes(prepared(content))
        train = {name: (cache / name).read_bytes() for name in clips}
        begun = starts(write_clips(cache / "tree", clips["arm_wrestling_340x256"]))
    small = [name for name in clips if name != LARGE]
    results: list[Result] = []
    for way in WAYS:
        before = measure(clips, way, sides, is_prepared=False)
        after = measure(train, way, sides, is_prepared=True)
        with contextlib.suppress(ValueError):  # as where no peer is installed
            results.append(compare(f"{way}, originals", before, before, small, 1.2))
            results += [compare(f"{way}, {name}", before, before, [name], 1.0) for name in clips]
            results.append(compare(f"{way}, prepared", after, after, small, 1.5))
            results += [compare(f"{way}, prepared {name}", after, after, [name], None) for name in clips]
            target = 8.0 if way.startswith("random") else None  # all views together take most frames of a clip
            results.append(compare(f"{way}, prepared against peers' originals", after, before, small, target))
            for side in sides[1:]:
                results.append(compare(f"{way}, the same", after, {side: before[side]}, small, None))
            results.append(compare(f"{way}, prepared {LARGE} against peers' original", after, before, [LARGE], None))
    report("Frames, 224x224 RGB", results + begun)


if __name__ == "__main__":
    main()
