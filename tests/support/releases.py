"""A release of made-up clips on a mirror, what a download of it must leave on disk, and downloads that are killed."""

import json
import os
import random
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import kinetics  # noqa: F401  (registers the builder)
from kinetics_tools.io.http import HttpFile
from tests.support import patience
from tests.support.fault_server import Fault, FaultServer
from tests.support.forked import CONTEXT
from tests.support.mirror import write_mirror
from tests.support.trees import Clip, clips_of

LABELS = ("abseiling", "massaging person's head", "hurling (sport)", "petting animal (not cat)", "zumba")
# The folders that `download` makes.
FOLDERS = {"train": "train", "validation": "val", "test": "test"}


def made_clips(count: int, *, size: int = 20_000, seed: int = 0) -> list[Clip]:
    """Clips of about `size` random bytes, in all of LABELS."""
    rng = random.Random(seed)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    clips = []
    for number in range(count):
        youtube_id = f"{number:05d}{''.join(rng.choices(letters, k=6))}"[::-1]
        content = rng.randbytes(rng.randint(size // 2, size * 3 // 2))
        clips.append(Clip(LABELS[number % len(LABELS)], youtube_id, number, number + 10, content=content))
    return clips


@dataclass
class Release:
    """Files of one release on a mirror: for each split archives of clips, by name and in order."""

    root: Path
    release: str
    archives: Mapping[str, Mapping[str, Sequence[Clip]]]
    absent: Mapping[str, Sequence[Clip]] = field(default_factory=dict)  # annotated, in no archive
    extra: Sequence[Clip] = ()  # in the first archive of each split, not annotated
    unlabelled: Sequence[str] = ()  # splits without labels
    replacement: Mapping[str, bytes] | None = None

    def write(self) -> "Release":
        short = {"train": "train", "validation": "val", "test": "test"}
        archives, annotations = {}, {}
        for split, parts in self.archives.items():
            files = {name: {clip.file_name: clip.content for clip in clips} for name, clips in parts.items()}
            if files:
                next(iter(files.values())).update({clip.file_name: clip.content for clip in self.extra})
            archives[short[split]] = files
            rows = [clip.row for clip in (*self.clips(split), *self.absent.get(split, ()))]
            annotations[short[split]] = [row[1:] for row in rows] if split in self.unlabelled else rows
        write_mirror(self.root, self.release, archives, annotations=annotations, replacement=self.replacement)
        return self

    def clips(self, *splits: str) -> list[Clip]:
        """The annotated clips of these splits (all without any) that archives hold."""
        parts = [self.archives[split] for split in splits or self.archives]
        return [clip for part in parts for clips in part.values() for clip in clips]

    def tree(self, *splits: str, labels: Sequence[str] | None = None) -> dict[str, bytes]:
        """Return the expected files after a download of these splits: path below the folder -> content."""
        files = {}
        for split in splits or self.archives:
            for clip in self.clips(split):
                if labels is None or clip.label in labels:
                    folder = "" if split in self.unlabelled else f"{clip.label}/"
                    content = (self.replacement or {}).get(clip.file_name, clip.content)
                    files[f"{FOLDERS[split]}/{folder}{clip.file_name}"] = content
        return files

    def key(self, split: str, archive: str) -> str:
        """The ledger's name of an archive."""
        folder = {"700": "700_2020", "700-2020": "700_2020"}.get(self.release, self.release)
        return f"kinetics/{folder}/{ {'validation': 'val'}.get(split, split) }/{archive}.tar.gz"

    def size(self, split: str, archive: str) -> int:
        return (self.root / self.key(split, archive)).stat().st_size


def small_release(root: Path, release: str = "700-2020", **options: Any) -> Release:
    """Three splits of eight clips with the most awkward labels and ids, train in two archives."""
    clips = {split: clips_of(split) for split in FOLDERS}
    archives = {
        "train": {"part_0": clips["train"][:5], "part_1": clips["train"][5:]},
        "validation": {"part_0": clips["validation"]},
        "test": {"part_0": clips["test"]},
    }
    return Release(root, release, archives, **options).write()


def mixed_faults(*, cut_at: int, stall_at: int, stall_seconds: float, corrupt_at: int, seed: int = 0) -> list[Fault]:
    """Each kind of fault of an archive, which strikes a tenth of the requests; positions are in bytes."""
    kinds: list[dict[str, Any]] = [
        {"kind": "cut", "at": 0, "relative": True},
        {"kind": "cut", "at": cut_at, "relative": True, "reset": True},
        {"kind": "status", "retry_after": 0},
        {"kind": "stall", "at": stall_at, "seconds": stall_seconds},
        {"kind": "wrong_length", "by": 7},
        {"kind": "wrong_length", "by": -7},
        {"kind": "corrupt", "at": corrupt_at},
        {"kind": "ignore_range"},
        {"kind": "chunked"},
        {"kind": "changed"},
    ]
    return [Fault(path="*/part_*", probability=0.1, seed=seed + number, **kind) for number, kind in enumerate(kinds)]


def tree_of(out: Path) -> dict[str, bytes]:
    """All files of the splits of a folder, hidden ones too."""
    folders = [out / folder for folder in FOLDERS.values()]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def leftovers(out: Path) -> list[str]:
    """Return temporary and partial files, which a complete run may not leave."""
    return sorted(path.relative_to(out).as_posix() for path in out.rglob(".*"))


def ledger_lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]


# ---- Kills


def _run(options: dict[str, Any], http: dict[str, float]) -> None:
    """A download in a process of its own."""
    from kinetics_tools.downloading import download

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    # Over loopback, the kernels of both sides would hold megabytes that nobody has read, which a kill throws away. So
    # packets and the window are as small here as on a network that is slower than the reader.
    connect = socket.socket.connect

    def connect_with_a_small_buffer(self: socket.socket, address: Any) -> None:
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        connect(self, address)

    socket.socket.connect = connect_with_a_small_buffer  # type: ignore[method-assign]
    for name, value in http.items():
        setattr(HttpFile, name, value)
    report = download(**options)
    os._exit(0 if report.is_complete else 1)


def _run_command(arguments: list[str], mirror: str, max_file_bytes: int, errors: Path) -> None:
    """The command, in a process of its own."""
    from kinetics_tools.cli.app import main

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    os.environ["KINETICS_MIRROR"] = mirror
    sys.argv = ["kinetics", *arguments]
    main()


def run_command(
    arguments: list[str], *, mirror: FaultServer, max_file_bytes: int, errors: Path
) -> tuple[int | None, str]:
    """Exit code and errors of the command, where no file can get longer than `max_file_bytes`."""
    process = CONTEXT.Process(target=_run_command, args=(arguments, mirror.url, max_file_bytes, errors))
    process.start()
    process.join()
    return process.exitcode, errors.read_text()


@dataclass
class Killed:
    """Facts about a download that was killed repeatedly and then completed."""

    kills: int = 0
    runs: int = 0
    exit_code: int = 0
    rewritten: list[str] = field(default_factory=list)  # clips whose file was made again after it was complete
    fetched_again: list[str] = field(default_factory=list)  # requests for bytes of an archive that were on disk
    seconds: float = 0.0


def kill_download(
    mirror: FaultServer,
    out: Path,
    *,
    kills: int,
    release: Release,
    seed: int = 0,
    http: Mapping[str, float] | None = None,
    **options: Any,
) -> Killed:
    """Runs `download` into `out`, kills it `kills` times at random moments, and lets the last run end.

    Every third kill comes after a random time since the process began, which hits the reading of lists and of
    what is there; the others after a random number of clips since then, and a random moment.
    """
    rng = random.Random(seed)
    clips = len(release.clips())
    arguments = ({"release": release.release, "out": out, "mirror": mirror.url, **options}, dict(http or {}))
    killed, started = Killed(), time.monotonic()
    last_seen: dict[str, tuple[int, int]] = {}
    partial: dict[str, int] = {}
    while True:
        asked = len(mirror.requests)
        process = CONTEXT.Process(target=_run, args=arguments)
        process.start()
        killed.runs += 1
        if killed.kills < kills:
            _wait_for_the_moment(process, out, rng, per_run=clips / kills)
            if process.is_alive():
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode is not None
        killed.kills += process.exitcode == -signal.SIGKILL
        _compare(out, last_seen, killed)
        for key, size in partial.items():
            for request in mirror.requests[asked:]:
                if request.path == f"/{key}" and request.method == "GET":
                    if request.range != f"bytes={size}-":
                        killed.fetched_again.append(f"{key}: {request.range} with {size} bytes on disk")
                    break
        files = (out / ".partial").glob("*.gz")
        partial = {path.name.replace("--", "/"): size for path in files if (size := path.stat().st_size)}
        if process.exitcode != -signal.SIGKILL:
            killed.exit_code = process.exitcode
            killed.seconds = time.monotonic() - started
            return killed


def _wait_for_the_moment(process: Any, out: Path, rng: random.Random, *, per_run: float) -> None:
    if rng.random() < 1 / 3:
        process.join(rng.uniform(0, 0.3))
        return
    ledger = out / "ledger.jsonl"
    # Lines are of about 250 bytes. The mean is less than a run's share, so that there is something left to kill.
    until = (ledger.stat().st_size if ledger.exists() else 0) + rng.uniform(0, per_run) * 250
    while process.is_alive() and not (ledger.exists() and ledger.stat().st_size > until):
        time.sleep(0.0005)
    time.sleep(rng.uniform(0, 0.003))


def _compare(out: Path, last_seen: dict[str, tuple[int, int]], killed: Killed) -> None:
    """Notes which clips have another file than when they were last seen under their names."""
    for folder in FOLDERS.values():
        for path in (out / folder).rglob("*.mp4"):
            stat = path.stat()
            state = (stat.st_ino, stat.st_mtime_ns)
            if last_seen.get(str(path), state) != state:
                killed.rewritten.append(path.name)
            last_seen[str(path)] = state


# ---- For tests of `kinetics download`


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    patience.impatient(monkeypatch)
    monkeypatch.setattr(HttpFile, "timeout_seconds", 0.5)


@pytest.fixture
def release(tmp_path):
    return small_release(tmp_path / "mirror")


@pytest.fixture
def mirror(release):
    with FaultServer(release.root) as mirror:
        yield mirror


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A release of 120 clips in six archives of about 100 kB."""
    clips = made_clips(120, size=5000)
    archives = {"train": {f"part_{number}": clips[number::6] for number in range(6)}}
    return Release(tmp_path_factory.mktemp("mirror"), "700", archives).write()


def fetched(mirror, pattern="*.t*gz"):
    """Names of the archives that were asked for."""
    return sorted(request.path.rpartition("/")[2] for request in mirror.matching(pattern, "GET"))


def states(out):
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.rglob("*.mp4")}
