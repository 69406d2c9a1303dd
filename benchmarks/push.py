"""Publishing and reading what was published, with a local Hub on the other core.

Push of 1 GB of shards against `HfApi.upload_folder` of the same files, each into a new repository; the same push once
more. Then streaming the pushed split with plain `datasets` against pyarrow reading the same files, from disk and out of
the system's cache, and against webdataset reading the same clips from tar out of the same Hub: all give rows as Python
values, and bytes a second count from the first clip on. All of them with the memory settings that docs/stream.md and
the card recommend, and all of them without.

    python benchmarks/push.py
"""

import contextlib
import importlib.util
import io
import os
import tarfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from _common import CORES, Result, alternate, fresh, import_decoders, ratio, report, workspace
from tests.support.hub_process import HubProcess, environment
from tests.support.hub_token import ANN

SHARDS, CLIPS, CLIP_BYTES = 16, 1_440, 700_000
ROUNDS = 5
REPO = "ann/kinetics"
# Memory that files held goes back to the host of a virtual machine a second after they went, and takes time to come
# again. A push that follows at once would be spared that: both sides wait.
REST_SECONDS = 3
# As docs/stream.md has them: else glibc gives the memory of each block back, and takes it again with all pages cleared.
KEEPING = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
}


@contextlib.contextmanager
def serving(root: Path) -> Iterator[HubProcess]:
    """A Hub that runs on another core than the client, where there is one."""
    root.mkdir()
    os.sched_setaffinity(0, CORES[-1:])
    try:
        stack = contextlib.ExitStack()
        hub = stack.enter_context(HubProcess(root))
    finally:
        os.sched_setaffinity(0, CORES[:1])
    with stack:
        yield hub


def push_seconds(out: Path, repo_id: str, again: bool) -> float:
    from rich.console import Console

    from kinetics_tools.publication.run import push

    start = time.perf_counter()
    done = push(out, repo_id, console=Console(quiet=True), pictures=False)  # what stands for clips are no videos
    took = time.perf_counter() - start
    assert done.files_sent == (0 if again else SHARDS), done
    return took


def upload_seconds(out: Path, repo_id: str) -> float:
    from huggingface_hub import HfApi

    api = HfApi()
    start = time.perf_counter()
    api.create_repo(repo_id, repo_type="dataset")
    api.upload_folder(folder_path=out, repo_id=repo_id, repo_type="dataset", ignore_patterns=[".*"])
    return time.perf_counter() - start


def forget(repo_id: str) -> None:
    from huggingface_hub import HfApi

    HfApi().delete_repo(repo_id, repo_type="dataset")


def timed_clips(clips: Iterable[bytes]) -> tuple[float, float]:
    """Seconds to the first clip, and bytes a second from then on."""
    start = time.perf_counter()
    clips = iter(clips)
    first_bytes = len(next(clips))
    first = time.perf_counter()
    size = sum(map(len, clips))
    assert size + first_bytes == CLIPS * CLIP_BYTES
    return first - start, size / (time.perf_counter() - first)


def stream(repo_id: str) -> tuple[float, float]:
    """By plain `datasets`."""
    import datasets

    import_decoders()

    def clips() -> Iterator[bytes]:
        rows = datasets.load_dataset(repo_id, "700", split="train", streaming=True)
        for row in rows.cast_column("video", datasets.Video(decode=False)):
            yield row["video"]["bytes"]

    return timed_clips(clips())


def read(out: Path, is_cached: bool) -> tuple[float, float]:
    """By pyarrow, from memory if the system has the files there, or from disk."""
    import pyarrow.parquet as pq

    for path in [] if is_cached else out.rglob("*.parquet"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return timed_clips(
        row["video"]["bytes"]
        for path in sorted(out.rglob("*.parquet"))
        for batch in pq.ParquetFile(path).iter_batches(batch_size=32)
        for row in batch.to_pylist()
    )


def read_tars(url: str, names: list[str]) -> tuple[float, float]:
    """By webdataset."""
    import webdataset

    urls = [f"pipe:curl -s -L -f {url}/datasets/ann/tars/resolve/main/{name}" for name in names]
    return timed_clips(sample["mp4"] for sample in webdataset.WebDataset(urls, shardshuffle=False))


def make(folder: Path) -> Path:
    from tests.support.prepared import write_prepared

    write_prepared(folder, "700", "train", shards=SHARDS, clips=CLIPS, clip_bytes=CLIP_BYTES)
    return folder


def make_tars(out: Path, folder: Path) -> list[str]:
    import json

    import pyarrow.parquet as pq

    folder.mkdir()
    names = []
    for path in sorted(out.rglob("*.parquet")):
        names.append(f"{path.stem}.tar")
        with tarfile.open(folder / names[-1], "w") as tar:
            for row in pq.read_table(path).to_pylist():
                video = row.pop("video")
                stem = video["path"].removesuffix(".mp4")
                for name, content in ((f"{stem}.mp4", video["bytes"]), (f"{stem}.json", json.dumps(row).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return names


def main() -> None:
    with workspace() as directory, serving(directory / "hub") as hub:
        variables = environment(hub.url, directory, token=ANN)
        env = {name: variables[name] for name in variables if name == "NO_PROXY" or name.startswith("HF_")}
        del env["HF_HOME"]  # each process has its own
        out = Path(fresh(make, directory / "out"))
        total = sum(path.stat().st_size for path in out.rglob("*.parquet"))

        def timed(side: Any, *arguments: Any) -> float:
            took = float(fresh(side, out, REPO, *arguments, env=env))
            if not arguments:
                fresh(forget, REPO, env=env)
            return took

        def uploaded() -> float:
            time.sleep(REST_SECONDS)
            return timed(upload_seconds)

        def pushed() -> tuple[float, float, int]:
            time.sleep(REST_SECONDS)
            first = timed(push_seconds, False)
            before = hub.bytes_received("/_blobs/*")
            again = timed(push_seconds, True)
            sent = hub.bytes_received("/_blobs/*") - before
            fresh(forget, REPO, env=env)
            return first, again, sent

        seconds: Any = alternate({"push": pushed, "upload": uploaded}, rounds=ROUNDS)
        pushes = [first for first, _, _ in seconds["push"]]
        again = [one for _, one, _ in seconds["push"]]
        sent = sum(one for _, _, one in seconds["push"])
        fresh(push_seconds, out, REPO, False, env=env)
        sides: dict[str, Any] = {
            "stream": lambda more: fresh(stream, REPO, env={**env, **more}),
            "disk": lambda more: fresh(read, out, False, env=more),
            "memory": lambda more: fresh(read, out, True, env=more),
        }
        has_webdataset = importlib.util.find_spec("webdataset") is not None
        if has_webdataset:
            names = fresh(make_tars, out, directory / "tars")
            fresh(upload_seconds, directory / "tars", "ann/tars", env=env)
            sides["tars"] = lambda more: fresh(read_tars, hub.url, names, env=more)
        read_by: Any = alternate(
            {
                (side, is_keeping): partial(sides[side], KEEPING if is_keeping else {})
                for is_keeping in (True, False)
                for side in sides
            },
            rounds=ROUNDS,
        )

    uploads = seconds["upload"]
    mine = _speed([total / one for one in pushes])
    other = f"{_speed([total / one for one in uploads])} upload_folder"
    once = f"{median(pushes):.2f} s the first time"
    first = [one for one, _ in read_by["stream", False]]
    results = [
        Result(f"push of {total / 1e9:.2f} GB", mine, other, ratio(uploads, pushes), "at least", 0.8),
        Result("the same once more", f"{median(again):.2f} s", once, ratio(again, pushes), "at most", 0.05),
        Result("content bytes of that", f"{sent:,}", "0", float(sent), "at most", 0),
        Result("first example", f"{median(first):.2f} s", "1 s", median(first), "at most", 1),
    ]
    peers = {"disk": ("pyarrow from disk", 0.6), "memory": ("pyarrow from memory", None), "tars": ("webdataset", 0.9)}
    for is_keeping in (True, False):
        streamed = [one for _, one in read_by["stream", is_keeping]]
        claim = "streaming, memory kept" if is_keeping else "streaming, memory as it is"
        for side, (name, target) in peers.items():
            if side in sides:
                theirs = [one for _, one in read_by[side, is_keeping]]
                bound: Any = "at least" if is_keeping and target else "no target"
                other = f"{_speed(theirs)} {name}"
                results.append(Result(claim, _speed(streamed), other, ratio(streamed, theirs), bound, target or 0.0))
    if not has_webdataset:
        print("webdataset is not installed: pip install webdataset")
    report(f"push: {SHARDS} files of {total / 1e9:.2f} GB, {CLIPS:,} clips", results)


def _speed(rates: Sequence[float]) -> str:
    return f"{median(rates) / 1e6:,.0f} MB/s"


if __name__ == "__main__":
    main()
