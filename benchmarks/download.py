"""Extraction while downloading, in bytes of archives a second.

`download` of a split against `curl | tar xz`, each with one archive and on one core; then `download` of two archives
with two workers on two cores against itself with one worker on one. The server is a process of its own, on the other
core where there are two; with two workers it shares the cores with them.

An archive holds 400 clips of 0.4 to 1.4 MB at gzip level 6, as the public ones: real clips repeated under other
names, or random bytes where there are none. Every run starts with an empty folder; the clock has the whole call,
with lists, annotations, ledger and renaming.

    python benchmarks/download.py
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from archives import write_archive

from _common import CORES, Result, alternate, annotation_rows, fresh, mirror, ratio, report, serve, workspace
from kinetics_tools.downloading import download

RELEASE = "700-2020"
CLIPS = 400  # of an archive
ROUNDS = 5


def ours(url: str, out: Path, archives: int, cores: list[int]) -> float:
    """Bytes a second of `download` into `out` on these cores, with as many workers."""
    os.sched_setaffinity(0, cores)
    split = {1: "validation", 2: "train"}[archives]
    start = time.perf_counter()
    done = download(RELEASE, out, splits=[split], workers=len(cores), mirror=url)
    took = time.perf_counter() - start
    assert done.is_complete, done
    assert done.counts == {split: {"complete": archives * CLIPS}}, done.counts
    return done.bytes_fetched / took


def curl_and_tar(archive: str, size: int, out: Path) -> float:
    out.mkdir()
    start = time.perf_counter()
    subprocess.run(f"curl -sSf '{archive}' | tar xz -C '{out}'", shell=True, check=True)
    took = time.perf_counter() - start
    assert len(os.listdir(out)) == CLIPS
    return size / took


def main() -> None:
    with workspace() as directory:
        root, out = directory / "mirror", directory / "out"
        rows = annotation_rows(3 * CLIPS)
        parts = [rows[number * CLIPS : (number + 1) * CLIPS] for number in range(3)]
        release = mirror.write_mirror(
            root,
            RELEASE,
            {"val": {"k700_val_001": None}, "train": {"a": None, "b": None}},
            annotations={"val": parts[0], "train": parts[1] + parts[2]},
            deepmind=False,
        )
        names = ("val/k700_val_001", "train/a", "train/b")
        files = [release / f"{name}.tar.gz" for name in names]
        for file, part in zip(files, parts, strict=True):
            file.parent.mkdir(exist_ok=True)
            write_archive(file, part)
        size = files[0].stat().st_size

        def measured(side: Callable[[], float]) -> Callable[[], float]:
            def call() -> float:
                try:
                    return side()
                finally:
                    shutil.rmtree(out, ignore_errors=True)

            return call

        with serve(root) as url:
            archive = f"{url}/{files[0].relative_to(root).as_posix()}"
            rates = alternate(
                {
                    "one": measured(lambda: float(fresh(ours, url, out, 1, CORES[:1]))),
                    "curl": measured(lambda: curl_and_tar(archive, size, out)),
                    "two, one core": measured(lambda: float(fresh(ours, url, out, 2, CORES[:1]))),
                    "two": measured(lambda: float(fresh(ours, url, out, 2, CORES[:2]))),
                },
                rounds=ROUNDS,
            )

    def line(claim: str, side: str, against: str, name: str, target: float) -> Result:
        shown, other = (f"{median(rates[one]) / 1e6:,.0f} MB/s" for one in (side, against))
        return Result(claim, shown, f"{other} {name}", ratio(rates[side], rates[against]), "at least", target)

    report(
        f"download: archives of {CLIPS} clips and {size / 1e6:,.0f} MB",
        [
            line("one archive, one core", "one", "curl", "curl | tar xz", 0.7),
            line("two workers, two cores", "two", "two, one core", "one worker, one core", 1.6),
        ],
    )


if __name__ == "__main__":
    main()
