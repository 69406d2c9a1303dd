"""A tree of 30 small real clips, some of them bad, and what `prepare` makes of it."""

import contextlib
import functools
import json
import os
import shutil
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from kinetics_tools.media import Encoding, write_clip
from kinetics_tools.preparation import prepare
from kinetics_tools.preparation.manifest import LOCK_NAME
from kinetics_tools.preparation.report import Report
from kinetics_tools.publication.digests import DIGESTS_NAME
from tests.support.in_process import run_here
from tests.support.trees import Clip, write_tree

LABELS = ("abseiling", "massaging person's head", "hurling (sport)", "zumba")
ROWS = 30
BAD = {3: "absent", 4: "empty", 5: "unreadable", 6: "unreadable"}  # index of a clip -> reason
FAST = Encoding(preset="ultrafast")
SOURCE: dict[str, Any] = {"profile": "source", "encoding": None}


def clip_bytes(folder: Path, number: int, *, frames: int = 9) -> bytes:
    """A clip of its own for each number: noise on a ramp, 15 frames a second."""
    rng = np.random.default_rng(number)
    images = rng.integers(0, 256, (frames, 48, 64, 3), np.uint8) // 4 + np.arange(64, dtype=np.uint8)[:, None] * 2
    path = folder / f"{number}.mp4"
    write_clip(path, images, fps=15)
    return path.read_bytes()


@functools.cache
def small_clip() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return clip_bytes(Path(folder), 0, frames=1)


def with_content(clip: Clip) -> Clip:
    """Return `clip` with the bytes of a real clip, and its name behind them."""
    name = clip.stem.encode()
    return replace(clip, content=small_clip() + struct.pack(">I4s", 8 + len(name), b"free") + name)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("made")
    return [
        Clip(LABELS[number % 4], f"-{number:010d}", number, number + 10, content=clip_bytes(folder, number))
        for number in range(ROWS)
    ]


@pytest.fixture(scope="session")
def tree(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 annotated clips: of these one is absent, one empty, one text and one cut off; one more is not annotated."""
    root = write_tree(tmp_path_factory.mktemp("tree") / "k700", clips={"validation": clips})
    paths = [root / "val" / clip.label / clip.file_name for clip in clips]
    paths[3].unlink()
    paths[4].write_bytes(b"")
    paths[5].write_text("no video")
    paths[6].write_bytes(clips[6].content[: len(clips[6].content) // 2])
    (paths[0].parent / "_bcdefghijk_000000_000010.mp4").write_bytes(clips[0].content)
    return root


@pytest.fixture(scope="session")
def prepared(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree, prepared in 8 shards. Tests that write to it take a `copy_of` it."""
    out = tmp_path_factory.mktemp("prepared")
    assert run(tree, out).is_complete
    return out


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads clips in this process: starting one for each shard takes most of the time of a small run."""
    for module in ("shard", "run"):
        monkeypatch.setattr(f"kinetics_tools.preparation.{module}.run", run_here)


def run(tree: Path | str, out: Path | str, **options: Any) -> Report:
    return prepare("700", tree, out, **{"encoding": FAST, "clips_per_shard": 4, "workers": 2, **options})


def copy_of(prepared: Path, out: Path) -> Path:
    """A copy whose files may be replaced and removed, but not changed in place."""
    return Path(shutil.copytree(prepared, out, copy_function=os.link, dirs_exist_ok=True))


def files_of(out: Path | str) -> dict[str, bytes]:
    """Return the files of a folder without what only one machine needs: the lock, and the digests of push."""
    own = (LOCK_NAME, DIGESTS_NAME)
    paths = [path for path in sorted(Path(out).rglob("*")) if path.is_file() and path.name not in own]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def shards_of(out: Path | str) -> dict[str, bytes]:
    return {name: content for name, content in files_of(out).items() if name.endswith(".parquet")}


def rows_of(out: Path | str) -> dict[str, dict[str, Any]]:
    """By file name, in the order of the shards."""
    tables = [pq.read_table(path) for path in sorted(Path(out).rglob("*.parquet"))]
    return {row["video"]["path"]: row for table in tables for row in table.to_pylist()}


def manifest_of(out: Path) -> dict[str, Any]:
    """Return the entry of the validation split in prepare.json."""
    found: dict[str, Any] = json.loads((out / "700" / "prepare.json").read_text())["splits"]["validation"]
    return found


@contextlib.contextmanager
def served(folder: Path, handler: Callable[..., Any] = SimpleHTTPRequestHandler, **options: Any) -> Iterator[str]:
    """URL of a web server that lists the folder, one of the stores that fsspec knows."""
    handler = functools.partial(handler, directory=str(folder), **options)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
