"""Conversion of any source, killed, resumed and refused."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kinetics_tools import convert
from kinetics_tools.cli.app import app
from kinetics_tools.conversion.formats import FORMATS
from kinetics_tools.conversion.formats.base import put
from kinetics_tools.conversion.source import Unit, plan_parts
from kinetics_tools.errors import DiskError
from kinetics_tools.releases import LABELS
from tests.support.clients import KINETICS
from tests.support.clip_tree import copy_of, rows_of, served
from tests.support.conversions import killed_and_resumed, outputs_of
from tests.support.mirror import tar
from tests.support.prepared import write_prepared
from tests.support.trees import CLIPS, LAYOUTS, Clip, noisy, write_tree

ONLY_400 = sorted(set(LABELS["400"]) - set(LABELS["700"]))[:3]
WORDS = {"train": "train", "validation": "val", "test": "test"}


def class_tree(clips=CLIPS):
    """The clips of a class tree: path -> bytes."""
    return {
        f"{WORDS[split]}/{clip.label}/{clip.file_name}": clip.content for split, some in clips.items() for clip in some
    }


def clips_in(out):
    return {name: content for name, content in outputs_of(out).items() if not name.startswith("annotations/")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_and_archives_of_every_layout(tmp_path, layout):
    write_tree(tmp_path / "tree", layout)
    report = convert(tmp_path / "tree", tmp_path / "out", to="files", release="700")
    assert clips_in(tmp_path / "out") == class_tree()
    assert report.written == {"train": 8, "validation": 8, "test": 8}
    assert report.is_complete
    assert report.lines()[-1] == f"converted 24 clips to files in {tmp_path / 'out'}"
    assert repr(report) == "\n".join(report.lines())


def test_a_directory_of_another_release_is_converted_as_the_message_says(tmp_path):
    shared, others = CLIPS["train"][:1], [Clip(name, f"-other{n:05d}", 0, 10) for n, name in enumerate(ONLY_400)]
    write_tree(tmp_path / "tree", clips={"train": [*shared, *others]})
    words = ["convert", "700", str(tmp_path / "tree"), "--to", "files", "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert "this is release 400; ask for it, or pass --force-release" in refused.output
    done = CliRunner().invoke(app, [*words, "--force-release"])
    assert "converted 1 clip to files" in done.output
    assert clips_in(tmp_path / "out") == class_tree({"train": shared})


def test_missing_and_unreadable_clips_are_counted_named_and_retried(tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree", ".tar", clips={"train": CLIPS["train"]})
    (tree / "train" / "part_0.tar").unlink()
    report = convert(tree, tmp_path / "a", to="files", release="700")
    assert (report.written, report.missing) == ({"train": 5}, {"train": 3})
    assert "train: missing: 3" in report.lines()

    tree = write_tree(tmp_path / "flat", "flat", clips={"train": CLIPS["train"]})
    name = CLIPS["train"][2].stem
    (tree / "train" / f"{name}.mp4").unlink()
    os.symlink("/proc/self/mem", tree / "train" / f"{name}.mp4")  # a file that raises OSError when it is read
    report = convert(tree, tmp_path / "b", to="files", release="700")
    assert report.written == {"train": 7}
    assert [clip.name for clip in report.dropped["train"]] == [name]
    assert not report.is_complete
    done = CliRunner().invoke(app, ["convert", str(tree), "700", "--to", "files", "--out", str(tmp_path / "b")])
    assert done.exit_code == 1, done.output
    assert f"train: dropped: 1 ({name}: Input/output error); the same command retries them" in done.output
    for to in ("files", "lance") if importlib.util.find_spec("lance") else ("files",):
        out = tmp_path / to
        assert convert(tree, out, to=to, release="700").written == {"train": 7}
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda path: path.name.encode())
            assert convert(tree, out, to=to, release="700").is_complete
        count = len(list(out.rglob("*.mp4")))
        if to == "lance":
            import lance

            count = lance.dataset(str(out / "train.lance")).count_rows()
        assert count == 8


@pytest.mark.parametrize("layout", ["flat", ".tar"])
def test_empty_clips_are_dropped(tmp_path, layout):
    """As by prepare; a loader of the converted clips would end at one."""
    clips = CLIPS["train"]
    tree = write_tree(tmp_path / "tree", layout, clips={"train": clips})
    if layout == "flat":
        (tree / "train" / clips[2].file_name).write_bytes(b"")
    else:
        content = {clip.file_name: b"" if clip is clips[2] else clip.content for clip in clips[:3]}
        (tree / "train" / "part_0.tar").write_bytes(tar(content))
    report = convert(tree, tmp_path / "out", to="files", release="700")
    assert (report.written, report.missing) == ({"train": 7}, {"train": 0})
    assert f"train: dropped: 1 ({clips[2].stem}: empty); the same command retries them" in report.lines()


def test_parts_are_full_and_keep_the_order():
    """Sizes 4, 4, 4, 9 and 20 with parts of 10: the first two fit, and a unit that is too large is alone."""

    sized = SimpleNamespace(units={"train": [Unit(key, "", 1, size) for key, size in enumerate((4, 4, 4, 9, 20))]})
    assert [[unit.key for unit in part.units] for part in plan_parts(sized, 10)] == [[0, 1], [2], [3], [4]]
    many = SimpleNamespace(units={"train": [Unit(key, "", 4_000, 1) for key in range(5)]})
    assert [len(part.units) for part in plan_parts(many, 10)] == [2, 2, 1]  # of at most 10,000 clips


def test_a_clip_in_two_archives_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(FORMATS["files"], "part_bytes", 1)
    tree = write_tree(tmp_path / "tree", ".tar", clips={"train": CLIPS["train"]})
    (tree / "train" / "part_2.tar").write_bytes((tree / "train" / "part_0.tar").read_bytes())
    report = convert(tree, tmp_path / "out", to="files", release="700")
    assert "train: clips in several archives, written as often: 3" in "\n".join(report.lines())
    assert report.missing == {"train": 0}


def test_threads_may_write_the_same_file(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: put(tmp_path / "clip.mp4", b"video" * 1000), range(200)))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == b"video" * 1000


@pytest.mark.parametrize("to", ["files", "frames", "videofolder", "webdataset"])
def test_a_killed_conversion_resumes_with_the_same_result(tmp_path, monkeypatch, clips, to):
    if FORMATS[to].library:
        pytest.importorskip(FORMATS[to].library)
    out, whole = killed_and_resumed(tmp_path, monkeypatch, to, clips)
    assert out == whole
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_ctrl_c_says_how_to_resume(tmp_path):
    clips = [Clip("zumba", f"{number:011d}", 0, 10) for number in range(4000)]  # takes a second or more
    tree = write_tree(tmp_path / "tree", clips={"train": clips})
    command = [*KINETICS, "convert", str(tree), "700", "--to", "files", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while process.poll() is None and not (tmp_path / "out" / "train").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130, output
    assert "interrupted; finished parts are kept. Rerun the same command to resume" in output


def test_a_finished_conversion_is_only_described_again(prepared, tmp_path):
    before = convert(prepared, tmp_path / "out", to="files", workers=1)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "val").rglob("*.mp4")}
    assert convert(prepared, tmp_path / "out", to="files") == before
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_other_content_other_clips_and_a_second_run_are_refused(tmp_path):
    tree = write_tree(tmp_path / "tree", clips={"train": CLIPS["train"]})
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(ValueError, match="has other content; choose a new or empty directory"):
        convert(tree, out, to="files", release="700")
    (out / "mine").unlink()
    convert(tree, out, to="files", release="700")
    with pytest.raises(ValueError, match="has a conversion to files, or of clips that have changed since"):
        convert(tree, out, to="videofolder", release="700")
    first = CLIPS["train"][0]
    (tree / "train" / first.label / first.file_name).write_bytes(b"longer than before" * 9)
    with pytest.raises(ValueError, match="clips that have changed since"):
        convert(tree, out, to="files", release="700")
    with pytest.raises(ValueError, match="which is read, and would be mixed with it"):
        convert(tree, tree / "out", to="files", release="700")


def test_the_command_and_its_errors(prepared, tmp_path):
    out = ["--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["convert", str(prepared), "--to", "files", *out])
    assert done.exit_code == 0, done.output
    assert "validation: 26 clips" in done.output
    short = copy_of(prepared, tmp_path / "short")
    next((short / "700").glob("*.parquet")).unlink()
    tree = write_tree(tmp_path / "tree", clips={"train": CLIPS["train"]})
    (tmp_path / "empty").mkdir()
    for words, message in (
        ([str(prepared), "--to", "filez"], "unknown format 'filez'; did you mean 'files'"),
        ([str(prepared), "400", "--to", "files"], "unknown release of the prepared shards '400'"),
        ([str(prepared), "--to", "files", "--split", "train"], "has no split train of 700; it has validation"),
        ([str(prepared), "--to", "files", "--annotations", str(tmp_path)], "omit annotations"),
        ([str(short), "--to", "files"], "1 of 8 shards of validation are missing; rerun `kinetics prepare`"),
        ([str(tree), "--to", "files"], "name the release, such as 700"),
        ([str(tmp_path / "empty"), "700", "--to", "files"], "no clips in"),
        ([str(tmp_path / "no"), "700", "--to", "files"], "does not exist"),
    ):
        done = CliRunner().invoke(app, ["convert", *words, "--out", str(tmp_path / "x")])
        assert (done.exit_code, message in done.output) == (2, True), done.output


def test_shards_of_a_store_and_of_several_releases(prepared, tmp_path):
    both = copy_of(prepared, tmp_path / "both")
    write_prepared(both, "400", "train", shards=4, clips=4)
    with pytest.raises(ValueError, match="has shards of 400, 700; name the release to convert"):
        convert(both, tmp_path / "out", to="files")
    with served(both) as url:
        assert convert(url, tmp_path / "out", to="files", release="400").written == {"train": 4}


def test_a_full_disk_ends_the_run_which_resumes(tmp_path, small_disk):
    clips = noisy(CLIPS["train"], 50_000)
    tree = write_tree(tmp_path / "tree", clips={"train": clips})
    with pytest.raises(DiskError, match="Make room and rerun the command to resume"):
        convert(tree, small_disk / "out", to="files", release="700")
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    convert(tree, small_disk / "out", to="files", release="700")
    assert clips_in(small_disk / "out") == class_tree({"train": clips})


@pytest.mark.parametrize(
    ("column", "value"), [("youtube_id", "../../../xyz"), ("label", 700), ("time_start", float("inf")), ("video", None)]
)
def test_rows_that_prepare_did_not_write_are_refused(tmp_path, column, value):
    write_prepared(tmp_path / "prepared", "700", "train", shards=1, clips=1)
    (shard,) = (tmp_path / "prepared" / "700").glob("*.parquet")
    table = pq.read_table(shard)
    field = table.field(column)
    column = pa.array([value], field.type)
    pq.write_table(table.set_column(table.schema.get_field_index(field.name), field, column), shard)
    with pytest.raises(ValueError, match=rf"{shard.name}: invalid clip .*; prepare the clips of 700 again"):
        convert(tmp_path / "prepared", tmp_path / "out", to="files")
    assert outputs_of(tmp_path / "out") == {}


def test_the_output_is_local(prepared):
    with pytest.raises(ValueError, match="out='s3://bucket/k700' must be a local directory"):
        convert(prepared, "s3://bucket/k700", to="files")


def test_a_missing_library_is_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(ModuleNotFoundError, match=r"webdataset does not load .*: pip install webdataset"):
        convert(tmp_path / "no", tmp_path / "out", to="webdataset")


def test_prepared_shards_equal_the_source(prepared, tmp_path):
    rows = rows_of(prepared)
    convert(prepared, tmp_path / "out", to="files")
    found = {name.rpartition("/")[2]: content for name, content in clips_in(tmp_path / "out").items()}
    assert found == {name: row["video"]["bytes"] for name, row in rows.items()}
