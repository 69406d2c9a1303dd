"""x264's presets for the `train` profile of `kinetics prepare`: bytes, likeness to the scaled original, and time.

SSIM is the mean over all frames of a clip, then over the clips, of the luma of the prepared frame and of the original's
frame at that time, scaled to the same size: windows of 8 x 8 pixels, every 4 pixels, as FFmpeg's filter has them. Bytes
count against those of the originals' streams that are kept: their first pictures and its sound. The last column is
the time to decode the reference frames alone, which is what training does.

It needs the real clips, KINETICS_SHARED=folder.

    pip install -e '.[bench]'
    python benchmarks/presets.py [PRESET ...]
"""

import io
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any, get_args

import av
import av.video.reformatter
import numpy as np

from _common import Result, alternate, fresh, report, shared
from kinetics_tools.media import Encoding, encode
from kinetics_tools.media.encode import Preset

ROUNDS = 3
PRESETS = [preset for preset in get_args(Preset) if preset not in ("slower", "veryslow")]
SSIM, BYTES_SHARE = 0.95, 1.0


@dataclass(frozen=True)
class Measured:
    bytes_before: int
    bytes_after: int
    ssim: float
    encode_seconds: float
    decode_seconds: float


def measure(path: Path, preset: Preset) -> Measured:
    start = time.perf_counter()
    content = encode(path, Encoding(preset=preset))
    seconds = time.perf_counter() - start
    return Measured(kept_bytes(path), len(content), likeness(path, content), seconds, grid_seconds(content))


def kept_bytes(path: Path) -> int:
    with av.open(str(path)) as container:
        pictures = container.streams.video[0]
        sound = container.streams.best("audio", related=pictures)
        streams = [pictures] if sound is None else [pictures, sound]
        return sum(packet.size for packet in container.demux(streams))


def grid_seconds(content: bytes) -> float:
    def once() -> float:
        start = time.perf_counter()
        with av.open(io.BytesIO(content)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count, stream.codec_context.skip_frame = 1, "NONREF"
            for _ in container.decode(stream):
                pass
        return time.perf_counter() - start

    return min(once() for _ in range(3))


def likeness(path: Path, content: bytes) -> float:
    """Mean SSIM of the frames of `content` and of those that the original shows at their times."""
    scaler = av.video.reformatter.VideoReformatter()
    values = []
    with av.open(str(path)) as original, av.open(io.BytesIO(content)) as prepared:
        frames = original.decode(original.streams.video[0])
        shown = next(frames)
        following = next(frames, None)
        zero = shown.time
        half = 0.5 / float(original.streams.video[0].average_rate)
        for frame in prepared.decode(video=0):
            while following is not None and following.time - zero < frame.time + half:
                shown, following = following, next(frames, None)
            scaled = scaler.reformat(shown, frame.width, frame.height, "yuv420p", interpolation="BICUBIC")
            values.append(ssim(luma(scaled), luma(frame)))
    return mean(values)


def luma(frame: Any) -> Any:
    """(H, W) float32"""
    plane = frame.planes[0]
    pixels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    return pixels.astype(np.float32)


def ssim(one: Any, other: Any) -> float:
    def sums(values: Any) -> Any:
        height, width = (side // 4 for side in values.shape)
        blocks = values[: 4 * height, : 4 * width].reshape(height, 4, width, 4).sum((1, 3))
        return blocks[:-1, :-1] + blocks[1:, :-1] + blocks[:-1, 1:] + blocks[1:, 1:]

    count = 64
    small, smaller = (0.01 * 255 * count) ** 2, (0.03 * 255) ** 2 * count * (count - 1)
    first, second = sums(one), sums(other)
    spread = count * sums(one * one + other * other) - first**2 - second**2
    common = count * sums(one * other) - first * second
    alike = (2 * first * second + small) * (2 * common + smaller)
    return float((alike / ((first**2 + second**2 + small) * (spread + smaller))).mean())


def main() -> None:
    folder = shared()
    if folder is None:
        sys.exit("set KINETICS_SHARED to the folder with the real clips")
    clips = sorted((folder / "clips").iterdir())
    default = Encoding().preset
    presets = sys.argv[1:] or PRESETS
    sides = {(preset, clip): partial(fresh, measure, clip, preset) for preset in presets for clip in clips}
    rounds = alternate(sides, rounds=ROUNDS)

    print(f"{'preset':<12}{'bytes':>8}{'SSIM':>8}{'worst':>8}{'s a clip':>10}{'ms to decode the grid':>24}")
    totals = {}
    for preset in presets:
        of = [rounds[preset, clip] for clip in clips]
        share = sum(one[0].bytes_after for one in of) / sum(one[0].bytes_before for one in of)
        likenesses = [one[0].ssim for one in of]
        seconds = mean(median(each.encode_seconds for each in one) for one in of)
        decoding = 1000 * mean(median(each.decode_seconds for each in one) for one in of)
        totals[preset] = share, mean(likenesses), seconds
        worst = min(likenesses)
        print(f"{preset:<12}{share:8.3f}{mean(likenesses):8.4f}{worst:8.4f}{seconds:10.2f}{decoding:24.1f}")
    print()

    results = []
    if default in totals:
        share, likeness_, seconds = totals[default]
        results.append(Result(f"{default}: SSIM", f"{likeness_:.4f}", "1", likeness_, "at least", SSIM))
        results.append(Result(f"{default}: bytes", f"{share:.3f}", "1", share, "at most", BYTES_SHARE))
        for preset in presets:
            if preset != default:
                other = totals[preset][2]
                claim = f"{default}: time against {preset}"
                results.append(Result(claim, f"{seconds:.2f} s", f"{other:.2f} s", seconds / other, "no target"))
    report(f"presets over {len(clips)} real clips", results)


if __name__ == "__main__":
    main()
