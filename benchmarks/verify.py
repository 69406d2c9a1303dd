"""Verifying a tree of clips, on one core: `verify` of 2,000 clips nobody has looked at yet, in processes of its own.

Against opening each clip as PyAV does by itself, and against the `ffprobe` program, one clip after the other. The
figures are clips for each second of processor time, the worker's and its start among it; the files are in the page
cache. Also: the same tree again, from memory; Matroska, whose frames must be counted; and `--deep`.

The clips are copies of the real ones in KINETICS_SHARED, each with a few bytes behind its end that tell it from the
others; without that folder, of clips that `kinetics demo` makes.

    KINETICS_SHARED=... python benchmarks/verify.py
"""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import av

from _common import (
    Result,
    alternate,
    annotation_rows,
    clip_file,
    fresh,
    marked,
    processor_seconds,
    ratio,
    report,
    shared,
    workspace,
    write_csv,
)
from kinetics_tools.demo.sample import make_sample
from kinetics_tools.verification import verify

CLIPS = 2_000
FEW = 30  # for what takes long
ROUNDS = 3
RELEASE = "700-2020"


def make_tree(directory: Path, sources: Sequence[bytes], count: int) -> Path:
    """A flat tree of `count` clips with annotations."""
    rows = annotation_rows(count)
    (directory / "train").mkdir(parents=True)
    for number, row in enumerate(rows):
        (directory / "train" / clip_file(row)).write_bytes(marked(sources[number % len(sources)], number))
    write_csv(directory / "annotations" / "train.csv", rows, "train")
    return directory


def rate(look: Callable[[Path], int], directory: Path) -> float:
    """Clips a second of processor time."""
    start = processor_seconds()
    count = look(directory)
    return count / (processor_seconds() - start)


def with_verify(directory: Path) -> int:
    (directory / ".kinetics-probes.jsonl").unlink(missing_ok=True)
    return verify(RELEASE, directory, workers=1).opened


def from_memory(directory: Path) -> int:
    found = verify(RELEASE, directory, workers=1)
    assert found.opened == 0, f"{found.opened} clips were not remembered"
    return len(found.clips)


def with_deep(directory: Path) -> int:
    (directory / ".kinetics-probes.jsonl").unlink(missing_ok=True)
    return verify(RELEASE, directory, workers=1, deep=True).opened


def with_pyav(directory: Path) -> int:
    count = 0
    for path in (directory / "train").iterdir():
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.width
            assert container.duration
            count += 1
    return count


def with_ffprobe(directory: Path) -> int:
    count = 0
    for path in (directory / "train").iterdir():
        command = ["ffprobe", "-v", "error", "-show_entries", "stream=width,nb_frames,duration", "-of", "csv", path]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        count += 1
    return count


def sources(directory: Path) -> tuple[list[bytes], list[bytes]]:
    """Clips in mp4 and, of the real ones, in Matroska."""
    folder = shared()
    if folder is None:
        make_sample(directory, releases=["600"])
        return [path.read_bytes() for path in sorted((directory / "600" / "val").iterdir())[:2]], []
    names = ("arm_wrestling_340x256.mp4", "sports_340x256.mp4")
    return [(folder / "clips" / name).read_bytes() for name in names], [
        (folder / "clips" / "flipping_pancake_426x240.mkv").read_bytes()
    ]


def main() -> None:
    with workspace() as directory:
        mp4, matroska = sources(directory / "sample")
        many = make_tree(directory / "many", mp4, CLIPS)
        few = make_tree(directory / "few", mp4, FEW)
        sides = {
            "ours": lambda: fresh(rate, with_verify, many),
            "again": lambda: fresh(rate, from_memory, many),  # the side before it left what it found
            "PyAV": lambda: fresh(rate, with_pyav, many),
            "deep": lambda: fresh(rate, with_deep, few),
        }
        if shutil.which("ffprobe"):
            sides["ffprobe"] = lambda: fresh(rate, with_ffprobe, few)
        if matroska:
            of_matroska = make_tree(directory / "matroska", matroska, CLIPS)
            sides["Matroska"] = lambda: fresh(rate, with_verify, of_matroska)
        took = alternate(sides, rounds=ROUNDS)

    def shown(name: str) -> str:
        return f"{median(took[name]):,.0f} clips/s"

    fixed = [500.0] * ROUNDS
    results = [Result("clips/s per core", shown("ours"), "500 clips/s", ratio(took["ours"], fixed), "at least", 1)]
    for peer, target in (("PyAV", 1.0), ("ffprobe", 10.0)):
        if peer in took:
            times = ratio(took["ours"], took[peer])
            results.append(Result(f"times as fast as {peer}", shown("ours"), shown(peer), times, "at least", target))
    if matroska:
        times = ratio(took["Matroska"], fixed)
        results.append(Result("Matroska, clips/s per core", shown("Matroska"), "500 clips/s", times, "no target"))
    times = ratio(took["again"], took["ours"])
    results.append(Result("again, times the first run", shown("again"), shown("ours"), times, "at least", 2))
    times = ratio(took["deep"], took["ours"])
    results.append(Result("--deep, share of the headers' rate", shown("deep"), shown("ours"), times, "no target"))
    report(f"verify: {CLIPS:,} clips", results)


if __name__ == "__main__":
    main()
