"""`kinetics download` of single videos, for clips that the archives lack."""

import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from kinetics_tools.cli.app import app
from kinetics_tools.downloading import YouTubeOptions, download, read_ledger
from kinetics_tools.downloading.youtube.ranged_file import RangedFile
from kinetics_tools.io import RetryPolicy
from kinetics_tools.media import write_clip
from tests.support.clients import KINETICS
from tests.support.fault_server import Fault, FaultServer
from tests.support.mirror import write_video
from tests.support.releases import impatient, leftovers, mirror, out, release, small_release, states
from tests.support.trees import Clip, load

__all__ = ["impatient", "mirror", "out", "release"]  # fixtures


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """20 s of grey that gets lighter."""
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    pictures = (np.full((96, 128, 3), index, np.uint8) for index in range(200))
    write_clip(path, pictures, fps=10)
    return path.read_bytes()


@pytest.fixture
def lacking(tmp_path, video):
    """A release whose archives lack three clips: the video of one is there, of one too short, of one gone."""
    there, short, gone = absent = [Clip("zumba", f"video{number:06d}", 5, 9) for number in range(3)]
    short = absent[1] = Clip("zumba", short.youtube_id, 30, 40)
    release = small_release(tmp_path / "mirror", absent={"train": absent})
    write_video(release.root, there.youtube_id, video)
    write_video(release.root, short.youtube_id, video)
    return release, there, short, gone


def test_videos_bring_what_archives_lack_and_each_failure_is_classed(lacking, out, monkeypatch):
    monkeypatch.setattr(RangedFile, "policy", RetryPolicy(4, first_wait_seconds=0.001))
    release, there, short, gone = lacking
    with FaultServer(release.root) as mirror:
        download("700-2020", out, splits=["train"], mirror=mirror.url)
        before = states(out)
        asked = {"splits": ["train"], "source": "youtube", "mirror": mirror.url}
        asked["youtube"] = YouTubeOptions(url_template=f"{mirror.url}/watch/{{youtube_id}}.html")
        assert download("700-2020", out, dry_run=True, **asked).to_fetch == {"train": 3}
        mirror.clear(log=True)
        report = download("700-2020", out, **asked)
        assert report.counts == {"train": {"complete": 9, "unavailable": 2}}
        assert report.errors == {"no such segment": 1, "removed": 1}
        assert report.is_complete  # no other run would bring more
        reason = "Unable to download webpage: HTTP Error 404: Not Found"
        assert f"failed: 1 removed, such as {gone.stem}: {reason}" in report.lines()
        assert "skipped without --retry-errors: 1 clip" in report.lines()
        assert "the same command" not in "\n".join(report.lines())
        assert f"outcome of each clip: {out / 'ledger.jsonl'}" in report.lines()
        assert report.bytes_fetched == mirror.bytes_sent("/videos/*")
        assert mirror.count("*.tar.gz") == mirror.count("*_path.txt") == 0
        clip = out / "train" / "zumba" / there.file_name
        assert before.items() <= states(out).items()
        assert states(out).keys() - before.keys() == {clip}

        entries = read_ledger(out)
        entry = entries["train", there.stem]
        assert (entry.source, entry.status, entry.bytes) == ("youtube", "complete", clip.stat().st_size)
        assert entry.duration == pytest.approx(4, abs=0.1)
        assert entries["train", gone.stem].error["class"] == "removed"
        assert entries["train", short.stem].error["class"] == "no such segment"

        # Only what may go by is tried again, unless more is asked for.
        mirror.clear(log=True)
        download("700-2020", out, **asked)
        assert [mirror.count(f"/watch/{one.youtube_id}*") > 0 for one in (there, short, gone)] == [False, True, False]
        mirror.clear(log=True)
        download("700-2020", out, retry_errors=True, **asked)
        assert [mirror.count(f"/watch/{one.youtube_id}*") > 0 for one in (there, short, gone)] == [False, True, True]

        # The archives know nothing better.
        after = states(out)
        download("700-2020", out, splits=["train"], keep_archives=True, mirror=mirror.url)
        assert states(out) == after
    assert leftovers(out) == []
    assert len(load("700-2020", data_dir=str(out), split="train")) == 9


@pytest.mark.parametrize("is_link", [False, True])
def test_a_clip_cut_from_a_video_that_is_gone_is_cut_again(lacking, out, is_link):
    release, there, _, _ = lacking
    with FaultServer(release.root) as mirror:
        asked = {"splits": ["train"], "classes": ["zumba"], "source": "youtube", "mirror": mirror.url}
        asked["youtube"] = YouTubeOptions(url_template=f"{mirror.url}/watch/{{youtube_id}}.html")
        download("700-2020", out, **asked)
        (path,) = out.rglob("*.mp4")
        assert path.name == there.file_name
        content = path.read_bytes()
        path.unlink()
        if is_link:
            path.symlink_to("nothing.mp4")
        report = download("700-2020", out, splits=["train"], mirror=mirror.url)
        assert report.counts["train"]["pending"] == 1
        assert (
            report.lines()[-1]
            == "incomplete: the archives have no more clips; rerun with --source youtube to cut the rest"
        )
        download("700-2020", out, **asked)
        assert path.read_bytes() == content


def test_clips_of_a_tree_that_others_made_are_not_cut_anew(lacking, out):
    release, there, short, _ = lacking
    folder = out / "train" / "zumba"
    folder.mkdir(parents=True)
    (folder / short.file_name).write_bytes(b"somebody's own copy")
    (folder / there.file_name).write_bytes(b"")  # of what has no byte there is nothing to keep
    with FaultServer(release.root) as mirror:
        asked = {"splits": ["train"], "classes": ["zumba"], "source": "youtube", "mirror": mirror.url}
        asked["youtube"] = YouTubeOptions(url_template=f"{mirror.url}/watch/{{youtube_id}}.html")
        report = download("700-2020", out, **asked)
        assert report.counts == {"train": {"complete": 1, "found": 1, "unavailable": 3}}
        assert report.is_complete
        assert (folder / short.file_name).read_bytes() == b"somebody's own copy"
        assert mirror.count(f"/watch/{short.youtube_id}*") == 0
        # Of what the ledger knows to be otherwise, there is.
        (folder / there.file_name).write_bytes(b"torn")
        assert download("700-2020", out, **asked).counts == report.counts
    assert (folder / there.file_name).stat().st_size == read_ledger(out)["train", there.stem].bytes


def test_an_interrupt_finishes_the_videos_in_flight_and_says_so(lacking, out, tmp_path):
    release, there, _, _ = lacking
    noise = np.random.default_rng(0).integers(0, 256, (100, 96, 128, 3), np.uint8)
    write_clip(tmp_path / "noise.mp4", noise, fps=10)
    write_video(release.root, there.youtube_id, (tmp_path / "noise.mp4").read_bytes())
    with FaultServer(release.root, faults=[Fault("slow", "/videos/*", bytes_per_second=200_000)]) as mirror:
        template = f"{mirror.url}/watch/{{youtube_id}}.html"
        command = [*KINETICS, "download", "700-2020", "--split", "train", "--classes", "zumba", "--out", str(out)]
        # So slow that it would take minutes, unless an interrupt ended that, too.
        command += ["--source", "youtube", "--workers", "1", "--rate-limit", "100", "--url-template", template]
        environment = {**os.environ, "KINETICS_MIRROR": mirror.url}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            while not mirror.count(f"/videos/{there.youtube_id}.mp4", "GET"):
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 130
    assert "finishing the clips in flight; interrupt again to abort them" in output
    assert f"interrupted: finished clips are kept in {out}; rerun the same command to resume" in output
    assert "Traceback" not in output
    assert (out / "train" / "zumba" / there.file_name).exists()
    assert leftovers(out) == []


def test_the_command_has_the_options_of_videos(lacking, out, monkeypatch):
    release, there, _, _ = lacking
    with FaultServer(release.root) as mirror:
        monkeypatch.setenv("KINETICS_MIRROR", mirror.url)
        command = ["download", "700-2020", "--out", str(out), "--split", "train", "--classes", "zumba"]
        command += ["--source", "youtube", "--url-template", f"{mirror.url}/watch/{{youtube_id}}.html", "--sleep", "0"]
        dry = CliRunner().invoke(app, [*command, "--dry-run"])
        assert dry.exit_code == 0
        assert dry.output.startswith(
            "train: 5 clips: pending 5\ntrain: 5 single videos to download\nto download: unknown until"
        )
        assert re.search(r"\ndisk: about 15.2 MB needed, [\d.,]+ GB free\nnext: ", dry.output)  # 38 s
        result = CliRunner().invoke(app, [*command, "--formats", "best", "--rate-limit", "10MB", "--retry-errors"])
        assert result.exit_code == 0
        assert "train: 5 clips: complete 1, unavailable 4" in result.output
        assert (out / "train" / "zumba" / there.file_name).exists()


def test_where_the_same_command_would_not_help_it_is_not_advised(lacking, out):
    with FaultServer(lacking[0].root) as mirror:
        asked = {"splits": ["train"], "classes": ["zumba"], "source": "youtube", "mirror": mirror.url}
        template = f"{mirror.url}/watch/{{youtube_id}}.html"
        youtube = YouTubeOptions(url_template=template, formats="b[height<=1]")
        for _ in range(2):
            report = download("700-2020", out, youtube=youtube, **asked)
            assert report.counts == {"train": {"failed": 2, "unavailable": 3}}
            assert not report.is_complete
            assert "skipped without --retry-errors: 5 clips" in report.lines()
            assert report.lines()[-1] == "incomplete: rerun the same command with --retry-errors to retry failed videos"
        assert report.to_fetch == {"train": 0}
        youtube = YouTubeOptions(url_template=template)
        report = download("700-2020", out, youtube=youtube, retry_errors=True, **asked)
    assert report.counts["train"]["complete"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "youtube", "keep_archives": True}, "keep_archives has no effect with source='youtube'"),
        ({"youtube": YouTubeOptions()}, "have no effect with source='archives'"),
        ({"retry_errors": True}, "have no effect with source='archives'"),
    ],
)
def test_options_of_the_other_source_are_an_error(mirror, out, options, message):
    with pytest.raises(ValueError, match=message):
        download("700-2020", out, mirror=mirror.url, **options)
    assert not out.exists()
