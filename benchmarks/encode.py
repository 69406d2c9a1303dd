"""Clips for training: `encode` against the `ffmpeg` program with the same settings, one process a clip, on one core.

Ours runs as a worker of `kinetics prepare` does: one process encodes one clip after the other. The program is what a
user would start for each clip, with x264's and the scaler's settings equal to ours and one thread, and writes to a
file in memory where there is such a folder. Both keep the core busy all the time, so processor time is what counts:
what else the machine does is not in it. The real clips, KINETICS_SHARED=folder, are joined by a made one of
1920x1080 pixels, which also tells how much memory a worker needs; without the folder it stands alone.

    pip install -e '.[bench]'
    python benchmarks/encode.py
"""

import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from _common import Result, alternate, fresh, processor_seconds, ratio, report, shared, workspace
from kinetics_tools.media import Encoding, encode, probe, write_clip
from kinetics_tools.media.encode import H264, SCALER

ROUNDS = 5
HEIGHT, WIDTH, FPS, SECONDS = 1080, 1920, 30, 10
MEMORY_MB = 700


def write_large(path: Path) -> Path:
    """Texture that moves under a little noise."""
    rng = np.random.default_rng(0)
    texture = rng.integers(40, 200, (HEIGHT // 8 + 16, WIDTH // 8 + 16, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    grain = rng.integers(0, 16, (8, HEIGHT, WIDTH, 3), np.uint8)

    def frames() -> Iterator[Any]:
        for index in range(FPS * SECONDS):
            top, left = index // 3 % 64, index % 128
            yield texture[top : top + HEIGHT, left : left + WIDTH] + grain[index % 8]

    sound = rng.normal(0, 0.1, 44_100 * SECONDS).astype(np.float32)
    write_clip(path, frames(), fps=FPS, audio=sound)
    return path


def ours(clips: Sequence[Path]) -> float:
    encode(clips[0])
    start = processor_seconds()
    for clip in clips:
        encode(clip)
    return processor_seconds() - start


def program(clips: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> float:
    encoder = Encoding()
    x264 = {**H264, "preset": encoder.preset, "crf": str(encoder.crf)}
    settings = [word for name, value in x264.items() for word in (f"-{name}", value)]
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        start = processor_seconds()
        for clip, (width, height) in zip(clips, sizes, strict=True):
            scale = f"scale={width}:{height}:flags={SCALER},setsar=1"
            reading = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", str(clip)]
            streams = ["-map", "0:v:0", "-map", "0:a:0?", "-vf", scale, "-filter_threads", "1", "-pix_fmt", "yuv420p"]
            writing = ["-c:v", "libx264", *settings, "-c:a", "copy", "-movflags", "+faststart", "-y"]
            subprocess.run([*reading, *streams, *writing, f"{directory}/clip.mp4"], check=True)
        return processor_seconds() - start


def peak_mb(clip: Path) -> float:
    encode(clip)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if not shutil.which("ffmpeg"):
        sys.exit("there is no ffmpeg program to compare with")
    with workspace() as directory:
        large = write_large(directory / "large.mp4")
        folder = shared()
        groups = {"1080p, 10 s": [large]}
        if folder is not None:
            groups = {"real clips": sorted((folder / "clips").iterdir()), **groups}
        sides = {}
        for name, clips in groups.items():
            infos = [probe(encode(clip)) for clip in clips]
            sides["ours", name] = partial(fresh, ours, clips)
            sides["program", name] = partial(fresh, program, clips, [(info.width, info.height) for info in infos])
        took = alternate(sides, rounds=ROUNDS)
        memory = fresh(peak_mb, large)

    results = []
    for name, clips in groups.items():
        rates = [len(clips) / median(took[side, name]) for side in ("ours", "program")]
        faster = ratio(took["program", name], took["ours", name])
        one, other = (f"{rate:.2f} clips/s" for rate in rates)
        results.append(Result(f"{name}, against ffmpeg", one, other, faster, "at least", 1.0))
    share = memory / MEMORY_MB
    results.append(Result("peak memory, 1080p", f"{memory:.0f} MB", f"{MEMORY_MB} MB", share, "at most", 1.0))
    report("clips encoded for training", results)


if __name__ == "__main__":
    main()
