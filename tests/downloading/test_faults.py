"""`kinetics download` of what misbehaves: servers, archives, disks, and ends that nobody planned."""

import gzip
import os
import signal
import subprocess
import tarfile
import time
from collections import Counter

import pytest
from typer.testing import CliRunner

from kinetics_tools.cli.app import app
from kinetics_tools.downloading import download, read_ledger
from kinetics_tools.errors import DiskError
from tests.support.clients import KINETICS
from tests.support.fault_server import Fault, FaultServer
from tests.support.mirror import tar, tar_gz
from tests.support.mounts import small_disk
from tests.support.releases import (
    Release,
    fetched,
    impatient,
    kill_download,
    ledger_lines,
    leftovers,
    made_clips,
    many,
    mirror,
    mixed_faults,
    out,
    release,
    run_command,
    tree_of,
)

__all__ = ["impatient", "many", "mirror", "out", "release"]  # fixtures


# ---- Servers that misbehave

FAULTS = {
    "503": Fault("status", "*/part_*", retry_after=0, times=3),
    "503 with a date": Fault("status", "*/part_*", retry_after="Wed, 21 Oct 2015 07:28:00 GMT", times=3),
    "cut": Fault("cut", "*/part_*", at=20_000, times=3, relative=True),
    "cut by reset": Fault("cut", "*/part_*", at=20_000, times=3, relative=True, reset=True),
    "cut at the first byte": Fault("cut", "*/part_*", at=0, times=3, relative=True),
    "stall": Fault("stall", "*/part_*", at=30_000, seconds=2, times=1),
    "too long a length": Fault("wrong_length", "*/part_*", by=100, times=1, method="GET"),
    "too short a file": Fault("wrong_length", "*/part_*", by=-100, times=1, method="GET"),
    "corrupt": Fault("corrupt", "*/part_*", at=50_000, times=1),
    "corrupt header": Fault("corrupt", "*/part_*", at=2, times=1),
    "chunked": Fault("chunked", "*/part_*"),
    "changed in between": Fault("changed", "*/part_1.tar.gz", times=1, method="GET"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_passes_leaves_no_trace(many, out, name):
    with FaultServer(many.root, faults=[FAULTS[name]]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
        assert any(request.faults for request in mirror.requests)
    assert report.failed == {}
    assert report.is_complete
    assert tree_of(out) == many.tree()
    assert leftovers(out) == []


def test_cut_and_range_ignored(many, out):
    faults = [Fault("cut", "*/part_*", at=40_000, times=4), Fault("ignore_range")]
    with FaultServer(many.root, faults=faults) as mirror:
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
        assert sum("ignore_range" in request.faults for request in mirror.requests) >= 4
    assert tree_of(out) == many.tree()


@pytest.mark.parametrize("seed", range(6))
def test_all_faults_mixed_at_a_tenth_of_the_requests(many, out, seed):
    """Each run ends complete or with the unfetchable named, and a run without faults mends what is left."""
    mixed = mixed_faults(cut_at=33_000, stall_at=60_000, stall_seconds=1, corrupt_at=70_000, seed=100 * seed)
    with FaultServer(many.root, faults=mixed) as mirror:
        report = download("700", out, splits=["train"], workers=3, mirror=mirror.url)
        assert sum(len(request.faults) for request in mirror.requests) >= 5
        failed = {line["key"] for line in ledger_lines(out) if line["status"] == "failed"}
        assert failed == set(report.failed)
        assert report.is_complete == (not failed)
        if report.is_complete:
            assert leftovers(out) == []
        mirror.clear()
        assert download("700", out, splits=["train"], workers=3, mirror=mirror.url).is_complete
    assert tree_of(out) == many.tree()
    assert leftovers(out) == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("status", "*/part_3.tar.gz", code=404, method="GET"), "not found"),
        (Fault("status", "*/part_3.tar.gz", code=403, method="GET"), "denied"),
        (Fault("status", "*/part_3.tar.gz", code=500, method="GET"), "network"),
        (Fault("status", "*/part_3.tar.gz", code=418, method="GET"), "OSError"),
        (Fault("stall", "*/part_3.tar.gz", at=10, seconds=0.1), "network"),
        (Fault("corrupt", "*/part_3.tar.gz", at=40_000), "corrupt"),
        (Fault("wrong_length", "*/part_3.tar.gz", by=-500), "corrupt"),
    ],
)
def test_a_fault_that_stays_is_named_and_the_others_are_fetched(many, out, fault, kind):
    key = many.key("train", "part_3")
    with FaultServer(many.root, faults=[fault]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
        assert list(report.failed) == [key]
        assert not report.is_complete
        assert read_ledger(out)["train", key].error["class"] == kind
        assert report.counts["train"]["complete"] == 100
        assert "missing" not in report.counts["train"]  # who knows
        mirror.clear(log=True)
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
        assert set(fetched(mirror)) == {"part_3.tar.gz"}
    assert tree_of(out) == many.tree()
    assert leftovers(out) == []


def test_a_length_that_is_never_reached_is_said_in_bytes(many, out):
    size = many.size("train", "part_3")
    fault = Fault("wrong_length", "*/part_3.tar.gz", by=1000, method="GET")
    with FaultServer(many.root, faults=[fault]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    (reason,) = report.failed.values()
    assert reason.startswith(f"received {size:,} of {size + 1000:,} bytes, then: HTTP 416")


@pytest.mark.parametrize("fault", [Fault("status", "*/part_3*", code=404), Fault("cut", "*/part_3*", at=0)])
def test_an_archive_of_which_no_byte_came_leaves_nothing_behind(many, out, fault):
    with FaultServer(many.root, faults=[fault]) as mirror:
        assert not download("700", out, splits=["train"], mirror=mirror.url).is_complete
    assert leftovers(out) == []


def test_clips_out_of_an_archive_that_stays_corrupt_are_not_called_complete(tmp_path, out):
    # Random bytes are stored as they are by gzip: the damage shows at the checksum alone.
    clips = made_clips(120)
    parts = {"part_0": clips[:100], "part_1": clips[100:]}
    release = Release(tmp_path / "mirror", "700", {"train": parts}).write()
    with FaultServer(release.root, faults=[Fault("corrupt", "*/part_0.tar.gz", at=400_000)]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    counts = report.counts["train"]
    assert counts["complete"] == 20
    assert counts["unchecked"] > 50
    expected = release.tree()
    damaged = [path for path, content in tree_of(out).items() if expected[path] != content]
    assert len(damaged) == 1
    entries = read_ledger(out)
    assert entries["train", damaged[0].rpartition("/")[2][:-4]].status == "unchecked"


# ---- Archives that nobody should unpack


def member(name, kind=tarfile.REGTYPE, size=0, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def with_archive(tmp_path, content, clips=()):
    """A release whose only archive is `content`."""
    release = Release(tmp_path / "mirror", "700", {"train": {"part_0": clips or made_clips(1)}}).write()
    (release.root / release.key("train", "part_0")).write_bytes(content)
    return release


def test_members_that_lead_elsewhere_are_refused_named_and_written_nowhere(tmp_path, out):
    clips = made_clips(4, size=1000)
    outside = tmp_path / "outside"
    outside.mkdir()
    name = clips[0].file_name
    evil = {
        f"../{name}": b"evil",
        f"{tmp_path}/outside/{name}": b"evil",
        f"a/../../outside/{name}": b"evil",
        f"link/{name}": member(f"link/{name}", tarfile.SYMTYPE, link=str(outside)),
        f"hard/{name}": member(f"hard/{name}", tarfile.LNKTYPE, link="/etc/passwd"),
        "device.mp4": member("device.mp4", tarfile.CHRTYPE),
        "pipe.mp4": member("pipe.mp4", tarfile.FIFOTYPE),
        "new\nline\udcff.mp4": member("new\nline\udcff.mp4", tarfile.SYMTYPE, link="x"),
    }
    content = tar_gz({**evil, **{clip.file_name: clip.content for clip in clips[1:]}})
    release = with_archive(tmp_path, content, clips)
    before = {path for path in tmp_path.rglob("*") if out not in path.parents}
    with FaultServer(release.root) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    assert report.counts == {"train": {"complete": 3, "missing": 1}}
    assert len(report.refused) == len(evil)
    assert all(line.isprintable() and line.isascii() for line in report.refused)
    refused = [line for line in ledger_lines(out) if line["status"] == "refused"]
    assert [line["key"].partition("!")[2] for line in refused] == list(evil)
    assert {path for path in tmp_path.rglob("*") if out not in path.parents} - {out} == before
    assert set(tree_of(out)) == {f"train/{clip.label}/{clip.file_name}" for clip in clips[1:]}


def test_many_refusals_are_counted_after_the_first_hundred(tmp_path, out):
    evil = {f"../{number}.mp4": b"" for number in range(5000)}
    release = with_archive(tmp_path, tar_gz(evil))
    with FaultServer(release.root) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    assert len(report.refused) == 101
    assert "4,900 more members" in report.refused[-1]
    assert len(ledger_lines(out)) < 110


def test_100_000_empty_files_are_skipped(tmp_path, out):
    (clip,) = made_clips(1)
    empty = member("0.mp4").tobuf(tarfile.GNU_FORMAT) * 100_000
    release = with_archive(tmp_path, gzip.compress(empty + tar({clip.file_name: clip.content}), 1), [clip])
    with FaultServer(release.root) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    assert report.counts == {"train": {"complete": 1}}
    assert tree_of(out) == release.tree()
    assert len(ledger_lines(out)) == 2


def header(claim, name="big.mp4", kind=tarfile.REGTYPE):
    return member(name, kind, claim).tobuf(tarfile.GNU_FORMAT)


CLAIMS = {
    "a clip of 10 TB": header(10**13),
    "a long name of 10 TB": header(10**13, "x", tarfile.GNUTYPE_LONGNAME),
    "an extended header of 10 TB": header(10**13, "x", tarfile.XHDTYPE),
    "less than nothing": header(-(10**13)),
    "headers of headers": b"".join(header(1, "x", tarfile.GNUTYPE_LONGNAME) + b"a" * 512 for _ in range(1000)),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_header_that_claims_what_cannot_be_is_bounded(tmp_path, out, claim):
    """30 MB of zeros follow, 30 kB compressed: memory for them would show, let alone for 10 TB."""
    (clip,) = made_clips(1)
    first = tarfile.TarInfo(clip.file_name)
    first.size = len(clip.content)
    padding = b"\0" * (-len(clip.content) % 512)
    plain = first.tobuf(tarfile.GNU_FORMAT) + clip.content + padding + CLAIMS[claim] + b"\0" * 30_000_000
    release = with_archive(tmp_path, gzip.compress(plain, 1), [clip])
    with FaultServer(release.root) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    assert list(report.failed) == [release.key("train", "part_0")]
    assert "truncated or corrupt" in str(report.failed)
    assert set(tree_of(out)) <= set(release.tree())


# ---- Ends that nobody planned

COMMAND = [*KINETICS, "download", "700", "--split", "train"]


@pytest.mark.parametrize(
    "where",
    [
        "kinetics_tools.downloading.plan.archive_urls",
        "kinetics_tools.downloading.plan.remote_size",
        "kinetics_tools.downloading.archives.ArchiveRun.run",
    ],
)
def test_an_interrupt_says_how_to_go_on_whenever_it_comes(mirror, out, monkeypatch, where):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setenv("KINETICS_MIRROR", mirror.url)
    monkeypatch.setattr(where, interrupt)
    done = CliRunner().invoke(app, ["download", "700-2020", "--out", str(out)])
    assert done.exit_code == 130
    assert done.output == f"interrupted: finished clips are kept in {out}; rerun the same command to resume\n"


def test_an_interrupt_says_how_to_go_on_and_exits_with_130(many, out):
    command = [*COMMAND, "--out", str(out), "--rate-limit", "150k"]
    with FaultServer(many.root) as mirror:
        environment = {**os.environ, "KINETICS_MIRROR": mirror.url}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            while len([*out.rglob("*.mp4")]) < 10:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            output = process.stdout.read().decode()
        assert process.returncode == 130
        assert f"interrupted: finished clips are kept in {out}; rerun the same command to resume" in output
        assert "Traceback" not in output
        expected = many.tree()
        assert all(expected[path] == content for path, content in tree_of(out).items())
        assert 10 <= len(tree_of(out)) < 120
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
    assert tree_of(out) == expected
    assert leftovers(out) == []


@pytest.mark.parametrize("clip_bytes", [5_000, 400_000])
def test_a_full_disk_keeps_what_is_complete_and_says_so(tmp_path, out, clip_bytes):
    # A limit on the size of files is as good as a full disk: here for the archive's, there for a clip's.
    clips = made_clips(60 if clip_bytes < 10_000 else 3, size=clip_bytes)
    release = Release(tmp_path / "mirror", "700", {"train": {"part_0": clips}}).write()
    with FaultServer(release.root) as mirror:
        arguments = ["download", "700", "--split", "train", "--out", str(out)]
        exit_code, errors = run_command(arguments, mirror=mirror, max_file_bytes=100_000, errors=tmp_path / "errors")
        assert exit_code == 2
        assert "File too large; finished files are kept" in errors
        assert "rerun the command to resume" in errors
        expected = release.tree()
        assert all(expected[path] == content for path, content in tree_of(out).items())
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
    assert tree_of(out) == expected
    assert leftovers(out) == []


def test_a_disk_that_fills_up_keeps_what_is_complete_and_is_resumed_with_more_room(tmp_path, monkeypatch):
    clips = made_clips(40, size=10_000)
    parts = {f"part_{number}": clips[number::4] for number in range(4)}
    release = Release(tmp_path / "mirror", "700", {"train": parts}).write()
    with small_disk(tmp_path / "disk", 200_000) as disk, FaultServer(release.root) as mirror:
        out = disk / "out"
        # The room is checked before the work, but others may write to the disk, too.
        with monkeypatch.context() as patch:
            patch.setattr("kinetics_tools.downloading.plan.Plan._free_bytes", lambda plan: 1 << 30)
            with pytest.raises(
                DiskError, match=r"disk/out/.*: No space left on device; finished files are kept\. Make"
            ):
                download("700", out, splits=["train"], mirror=mirror.url, workers=2)
        assert all(release.tree()[path] == content for path, content in tree_of(out).items())
        with pytest.raises(OSError, match=r"about .* are needed and .* are free in .*disk/out; choose splits"):
            download("700", out, splits=["train"], mirror=mirror.url)
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
        assert tree_of(out) == release.tree()
        assert leftovers(out) == []


@pytest.mark.parametrize("name", ["x" * 300 + ".tar.gz", "ü" * 150 + ".tar", "a%00b.tar.gz"])
def test_a_name_that_no_file_can_have_costs_its_archive_alone(tmp_path, out, name):
    release = Release(tmp_path / "mirror", "700", {"train": {"part_0": made_clips(3)}}).write()
    path = next(release.root.rglob("*train_path.txt"))
    path.write_text(path.read_text() + f"https://s3.amazonaws.com/kinetics/700_2020/train/{name}\n")
    with FaultServer(release.root, faults=[Fault("status", f"*/train/{name[0]}*", code=404)]) as mirror:
        for keep in (False, True):
            report = download("700", out, splits=["train"], mirror=mirror.url, keep_archives=keep)
            assert report.counts == {"train": {"complete": 3}}
            assert list(report.failed.values()) == ["HTTP 404 Not Found"]


def test_a_folder_that_cannot_be_written_to_is_an_error_that_names_it(mirror, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/out/.partial: Not a directory"):
        download("700-2020", tmp_path / "file" / "out", mirror=mirror.url)


def test_killed_again_and_again(tmp_path, out):
    """tests/soak/soak_download.py does this 200 times, with more clips."""
    clips = made_clips(200, size=10_000)
    parts = {f"part_{number}": clips[number::4] for number in range(4)}
    release = Release(tmp_path / "mirror", "700", {"train": parts}).write()
    with FaultServer(release.root) as mirror:
        options = {"splits": ["train"], "workers": 2, "rate_limit": "200k"}
        killed = kill_download(mirror, out, kills=5, release=release, **options)
    assert killed.exit_code == 0
    assert killed.kills >= 3  # what is quicker than the killer is not killed
    assert (killed.rewritten, killed.fetched_again) == ([], [])
    assert tree_of(out) == release.tree()
    assert leftovers(out) == []
    completed = Counter(line["key"] for line in ledger_lines(out) if line["status"] == "complete")
    assert set(completed.values()) == {1}
