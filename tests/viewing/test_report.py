"""The static report, read in a browser and compared with verify and with what was made."""

import io
import re
import subprocess

import pandas as pd
import pytest
from typer.testing import CliRunner

from kinetics_tools import verify
from kinetics_tools.cli.app import app
from kinetics_tools.io import Folder
from kinetics_tools.viewing import read_clips, write_report
from tests.support.browser import Page
from tests.support.clip_tree import BAD, LABELS, ROWS
from tests.support.in_process import run_here
from tests.support.prepared import write_prepared
from tests.support.trees import write_annotations

STATUSES = ("present", "missing", "empty", "unreadable", "duplicate", "misplaced", "short", "unexpected")


@pytest.fixture(scope="module")
def report(tree, tmp_path_factory):
    """A report of the tree of 30 clips, with predictions and a table of countries."""
    folder = tmp_path_factory.mktemp("report")
    found = read_clips(tree, "700")
    annotated = found.table.to_pylist()
    assert repr(found) == f"Clips({str(tree)!r}, directory, {len(annotated)} rows)"
    keys = [row["clip"] for row in annotated if row["status"] != "unexpected"]
    ids = [name[:11] for name in keys]
    rows = [f"{name},zumba,1.0" for name in ids]
    (folder / "scores.csv").write_text("\n".join(["youtube_id,label,score", *rows]))
    (folder / "countries.csv").write_text("\n".join(["youtube_id,country", f"{ids[0]},DE", f"{ids[1]},BR"]))
    write_report(
        tree, "700", out=folder / "out", predictions=folder / "scores.csv", metadata=folder / "countries.csv", workers=1
    )
    return folder / "out"


def opened(browser, folder, **options):
    view = Page(browser, (folder / "index.html").as_uri(), allowed="file://", **options)
    view.page.wait_for_selector("body[data-ready]")
    return view


def cells(page, selector):
    return [[cell.strip() for cell in row.split("\t")] for row in page.locator(selector).all_inner_texts()]


def test_its_counts_are_those_of_verify(browser, report, tree):
    view = opened(browser, report)
    counts = verify("700", tree).splits["validation"].counts
    shown = cells(view.page, "#overview tbody tr")
    assert shown == [["700", "validation", *(str(counts[status]) for status in STATUSES)]]
    assert counts["short"] == ROWS - len(BAD)  # clips of less than a second
    view.page.wait_for_selector("#chart-status svg")
    assert view.page.locator(".chart svg").count() == view.page.locator(".chart").count() >= 10
    assert "Europe" in view.page.locator("#chart-continent").inner_text()
    view.assert_clean()


def test_the_figures_of_the_demo_are_those_of_the_csv_of_verify(demo_sample, monkeypatch, tmp_path):
    monkeypatch.setattr("kinetics_tools.viewing.report.write_pictures", lambda folder, charts: None)
    monkeypatch.setattr("kinetics_tools.viewing.previews.run", run_here)
    verify("700", demo_sample / "700", csv_path=tmp_path / "clips.csv")
    frame = pd.read_csv(tmp_path / "clips.csv")
    page = write_report(demo_sample / "700", "700", out=tmp_path / "out").path.read_text()
    rows = re.findall(r"<tr><td>700</td><td>(\w+)</td>((?:<td class=\"number\">[\d,]+</td>)+)", page)
    counts = frame.groupby(["split", "status"]).size()
    assert {split: [int(number) for number in re.findall(r">(\d+)<", cells)] for split, cells in rows} == {
        split: [counts.get((split, status), 0) for status in STATUSES] for split in frame.split.unique()
    }
    tiles = {name: value for value, name in re.findall(r"<b>([^<]+)</b><span>([^<]+)</span>", page)}
    assert tiles["present"] == str((frame.status == "present").sum())
    assert tiles["classes with clips"] == f"{frame[frame.status == 'present'].label.nunique()} of 700"
    assert tiles["hours of video"] == f"{frame.duration.sum() / 3600:.1f}"


def test_a_class_is_found_and_its_clip_plays(browser, report):
    view = opened(browser, report)
    assert view.page.locator("#gallery .card").count() == len(LABELS)
    view.page.fill("#class-search", "ZUM")
    assert view.page.locator("#gallery .card").all_inner_texts()[0].startswith("zumba")
    image = view.page.locator("#gallery .card img")
    poster = image.get_attribute("src")
    image.click()
    loop = image.get_attribute("src")
    assert (poster, loop) == (poster, poster.replace(".webp", "-loop.webp"))
    view.page.wait_for_function("document.querySelector('#gallery img').naturalWidth > 0")
    view.assert_clean()
    posters = [path for path in (report / "images").iterdir() if "-loop" not in path.name]
    assert len(posters) == len(LABELS)
    for path in posters:
        content = path.read_bytes()
        assert content[:4] + content[8:12] == b"RIFFWEBP"
        assert len(content) <= 8_000
        animation = path.with_name(f"{path.stem}-loop.webp").read_bytes()
        assert b"ANIM" in animation[:60]
        assert len(animation) <= 60_000


def test_each_clip_that_is_not_there_is_listed_with_its_command(browser, report, tree, clips):
    view = opened(browser, report)
    rows = cells(view.page, "#problem-table tbody tr")
    status = {"absent": "missing", None: "short"}
    expected = {clip.stem: BAD.get(number) for number, clip in enumerate(clips)}
    assert {row[2]: row[4] for row in rows} == {name: status.get(bad, bad) for name, bad in expected.items()}
    view.page.fill("#problem-search", clips[3].stem)
    (row,) = cells(view.page, "#problem-table tbody tr")
    assert row[6] == f"kinetics download 700 --out {tree} --split validation --classes {clips[3].label}"
    view.assert_clean()


def test_wrong_predictions_are_listed_and_confused_classes_drawn(browser, report, clips):
    view = opened(browser, report)
    rows = cells(view.page, "#wrong tbody tr")
    assert {row[0] for row in rows} == {clip.stem for clip in clips if clip.label != "zumba"}
    assert {row[2] for row in rows} == {"zumba"}
    assert "top-1" in view.page.locator("#overview").inner_text()
    assert "abseiling as zumba" in view.page.locator("#chart-confused").inner_text()
    view.assert_clean()


@pytest.mark.parametrize("width", [1440, 390])
def test_it_fits_a_screen_and_a_telephone(browser, report, width):
    view = opened(browser, report, width=width)
    view.assert_fits("report")
    view.assert_clean()


def test_charts_are_written_as_pictures(report):
    assert (report / "charts" / "status.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (report / "charts" / "status.svg").read_text()


def test_names_are_text_and_never_markup(browser, tmp_path, clips):
    evil = '<img src=x onerror=alert(1)>"\x1b[31m'
    root = tmp_path / "<b>k700"
    write_annotations(root / "annotations" / "val.csv", clips[:1], "validation")
    folder = root / "val" / "abseiling"
    folder.mkdir(parents=True)
    (folder / clips[0].file_name).write_bytes(b"no video")
    (folder / f"{evil}.mp4").write_bytes(clips[1].content)
    write_report(root, "700", out=tmp_path / "out", workers=1)
    view = opened(browser, tmp_path / "out")
    assert view.page.locator("header .source").inner_text() == str(root)
    assert view.page.locator("h1 b, header b").count() == 0
    assert "\x1b" not in (tmp_path / "out" / "index.html").read_text()
    view.assert_clean()


def test_prepared_shards_are_counted_by_their_columns(prepared, clips):
    rows = read_clips(prepared).table.to_pylist()
    assert read_clips("700", prepared).table.to_pylist() == read_clips(prepared, 700).table.to_pylist() == rows
    assert {row["clip"]: row["status"] for row in rows} == {
        clip.stem: {"absent": "missing"}.get(BAD.get(number, ""), BAD.get(number, "present"))
        for number, clip in enumerate(clips)
    }
    assert {row["label"] for row in rows if row["status"] == "present"} == set(LABELS)


def test_no_video_of_prepared_shards_is_read(tmp_path, monkeypatch):
    write_prepared(tmp_path, "700", "train", shards=8, clips=40, clip_bytes=200_000)
    read = []

    class Counted(io.BufferedReader):
        def read(self, size=-1):
            content = super().read(size)
            read.append(len(content))
            return content

    def opened_file(folder, name, **_):
        return Counted(open(folder.path(name), "rb", buffering=0))

    monkeypatch.setattr(Folder, "open", opened_file)
    assert len(read_clips(tmp_path).table) == 40
    assert 0 < sum(read) < 40 * 200_000 / 10


def test_prepared_shards_give_the_same_classes_and_pictures(browser, prepared, tree, tmp_path):
    write_report(prepared, out=tmp_path / "out", annotations=str(tree / "annotations"), workers=1)
    view = opened(browser, tmp_path / "out")
    assert view.page.locator("#gallery .card img").count() == len(LABELS)
    assert len(cells(view.page, "#problem-table tbody tr")) == len(BAD)
    view.assert_clean()


def test_the_csv_of_verify_is_a_source(tree, tmp_path):
    report = verify("700", tree, csv_path=tmp_path / "clips.csv")
    assert read_clips(tmp_path / "clips.csv", "700").table.select(["clip", "status", "fps"]).to_pydict() == (
        report.clips.select(["clip", "status", "fps"]).to_pydict()
    )
    with pytest.raises(ValueError, match="name the release"):
        read_clips(tmp_path / "clips.csv")


def test_other_files_are_not_overwritten(tree, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ValueError, match=r"index\.html"):
        write_report(tree, "700", out=tmp_path)
    assert (tmp_path / "index.html").read_text() == "mine"


@pytest.mark.parametrize(("size", "name"), [(64, r"charts/\w+\.(png|svg)"), (1024, r"index\.html")])
def test_a_full_disk_is_named(tree, small_disk, size, name):
    subprocess.run(["mount", "-o", f"remount,size={size}k", str(small_disk)], check=True)
    done = CliRunner().invoke(app, ["report", str(tree), "700", "--out", str(small_disk / "report")])
    file = rf"{re.escape(str(small_disk))}/report/{name}"
    assert re.search(rf"error: {file}: No space left on device; make room and rerun the command\n$", done.output)
    assert done.exit_code == 2


@pytest.mark.parametrize("place", [".", "report"])
def test_a_report_is_not_mixed_with_the_clips(tree, place):
    with pytest.raises(ValueError, match=r"which is read, and would be mixed with it"):
        write_report(tree, "700", out=tree / place)
    assert not (tree / place / "charts").exists()


@pytest.mark.parametrize("command", ["report", "view"])
def test_the_release_may_come_first(command):
    done = CliRunner().invoke(app, [command, "700", "nowhere"])
    assert "error: nowhere does not exist" in done.output


def test_a_source_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        write_report("nowhere", "700", out=tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
