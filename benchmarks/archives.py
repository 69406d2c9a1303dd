"""Streaming clips out of tar.gz archives, in bytes of clips for each second of processor time, on one core.

On an idle machine that is the rate by the clock, too, since it is the core that limits every side; the clock's figures
have lines without a target. On a busy machine they favour the side that waits most for its own threads, `iter_archive`.

Over loopback HTTP, the server in a process of its own: the whole way (`load_dataset(..., streaming=True)` and
iterating over its examples to their bytes) and `read_archive` over `HttpFile` alone, against the `iter_archive` of
`datasets`' `StreamingDownloadManager`, reading each member. From disk: `read_archive` against Python's `tarfile` in
stream mode, on the compressed archive and on the same one uncompressed.

The archive holds 1,000 clips of 0.4 to 1.4 MB at gzip level 6, as the public ones: real clips repeated under other
names, or random bytes where there are none.

    python benchmarks/archives.py
"""

import io
import itertools
import random
import tarfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import datasets

import kinetics  # noqa: F401  (registers the builder)
from _common import (
    Result,
    Row,
    alternate,
    annotation_rows,
    clip_file,
    fresh,
    import_decoders,
    mirror,
    ratio,
    report,
    serve,
    shared,
    workspace,
)
from kinetics_tools.io.http import HttpFile
from kinetics_tools.io.tar import read_archive

RELEASE = "700-2020"
CLIPS = 1_000  # as many as a public archive holds
GZIP_LEVEL = 6
ROUNDS = 3


def whole_way(url: str) -> int:
    options: dict[str, Any] = {"splits": ["validation"], "decode": False, "mirror": url}
    dataset = datasets.load_dataset("kinetics", RELEASE, split="validation", streaming=True, **options)
    return sum(len(example["video"]["bytes"]) for example in dataset)


def read_archive_http(url: str) -> int:
    with io.BufferedReader(HttpFile(url)) as file:
        return sum(len(data) for _, data in read_archive(file, name=url))


def iter_archive_http(url: str) -> int:
    manager = datasets.StreamingDownloadManager()
    return sum(len(file.read()) for _, file in manager.iter_archive(manager.download(url)))


def read_archive_disk(path: str) -> int:
    with open(path, "rb") as file:
        return sum(len(data) for _, data in read_archive(file, name=path))


def tarfile_disk(path: str, mode: str) -> int:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        return sum(len(tar.extractfile(member).read()) for member in tar)


def rates_of(read: Callable[..., int], *args: Any) -> tuple[float, float]:
    """Bytes of clips a second, of processor time and by the clock."""
    import_decoders()
    processor, clock = time.process_time(), time.perf_counter()
    count = read(*args)
    return count / (time.process_time() - processor), count / (time.perf_counter() - clock)


def clip_contents() -> list[bytes]:
    """Contents of clips of 0.4 to 1.4 MB."""
    folder = shared()
    if folder is None:
        rng = random.Random(0)
        return [rng.randbytes(rng.randint(400_000, 1_400_000)) for _ in range(16)]
    contents = [path.read_bytes() for path in sorted((folder / "clips").iterdir())]
    return [content for content in contents if 400_000 <= len(content) <= 1_400_000]


def write_archive(path: Path, rows: list[Row]) -> int:
    """Writes a tar, compressed or not by its suffix, with a clip for each row; returns the bytes of the clips."""
    options = {"compresslevel": GZIP_LEVEL} if path.suffix == ".gz" else {}
    total = 0
    with tarfile.open(path, "w:gz" if options else "w", **options) as tar:  # type: ignore[call-overload]
        for row, content in zip(rows, itertools.cycle(clip_contents()), strict=False):
            member = tarfile.TarInfo(clip_file(row))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            total += len(content)
    return total


def main() -> None:
    with workspace() as directory:
        rows = annotation_rows(CLIPS)
        release = mirror.write_mirror(
            directory, RELEASE, {"val": {"k700_val_001": None}}, annotations={"val": rows}, deepmind=False
        )
        compressed = release / "val" / "k700_val_001.tar.gz"
        plain = directory / "k700_val_001.tar"
        total = write_archive(compressed, rows)
        write_archive(plain, rows)
        with serve(directory) as url:
            archive = f"{url}/{compressed.relative_to(directory).as_posix()}"
            sides: dict[str, tuple[Any, ...]] = {
                "load_dataset": (whole_way, url),
                "read_archive": (read_archive_http, archive),
                "iter_archive": (iter_archive_http, archive),
                "read_archive, tar.gz": (read_archive_disk, str(compressed)),
                "tarfile r|gz": (tarfile_disk, str(compressed), "r|gz"),
                "read_archive, tar": (read_archive_disk, str(plain)),
                "tarfile r|": (tarfile_disk, str(plain), "r|"),
            }
            runs = alternate({name: partial(fresh, rates_of, *call) for name, call in sides.items()}, rounds=ROUNDS)

    processor = {side: [run[0] for run in rounds] for side, rounds in runs.items()}
    clock = {side: [run[1] for run in rounds] for side, rounds in runs.items()}

    def lines(claim: str, ours: str, other: str, target: float) -> list[Result]:
        def compared(rates: dict[str, list[float]]) -> tuple[str, str, float]:
            shown, against = (f"{median(rates[side]) / 1e6:,.0f} MB/s" for side in (ours, other))
            return shown, f"{against} {other}", ratio(rates[ours], rates[other])

        return [
            Result(claim, *compared(processor), "at least", target),
            Result("  by the clock", *compared(clock), "no target"),
        ]

    report(
        f"archives: {CLIPS:,} clips, {total / 1e6:,.0f} MB",
        [
            *lines("HTTP, load_dataset to bytes", "load_dataset", "iter_archive", 4),
            *lines("HTTP, read_archive", "read_archive", "iter_archive", 4),
            *lines("disk, tar.gz, read_archive", "read_archive, tar.gz", "tarfile r|gz", 0.8),
            *lines("disk, tar, read_archive", "read_archive, tar", "tarfile r|", 0.8),
        ],
    )


if __name__ == "__main__":
    main()
