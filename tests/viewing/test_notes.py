"""Pages instead of errors: of sources that lack something, a report and the app say what."""

import sys
from types import SimpleNamespace

import pytest

from kinetics_tools.preparation.manifest import MANIFEST_NAME
from kinetics_tools.viewing import read_clips, write_report
from tests.support.browser import Page
from tests.support.clip_tree import LABELS, clip_bytes, copy_of
from tests.support.in_process import run_here
from tests.support.trees import Clip, write_annotations

NO_CLIP = "No clip is present: see the reasons below."
STATES = {
    "empty split": NO_CLIP,
    "no annotations": "clips are neither checked nor missing, because there are no annotations",
    "all corrupt": NO_CLIP,
    "one clip": "",
    "test clip": "No clip has a label, so there are no classes.",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No pictures of charts and no processes; no network, and no waits for it."""
    monkeypatch.setattr("kinetics_tools.viewing.report.write_pictures", lambda folder, charts: None)
    monkeypatch.setattr("kinetics_tools.viewing.previews.run", run_here)
    monkeypatch.setattr("kinetics_tools.probing.files.run_processes", run_here)
    monkeypatch.setenv("KINETICS_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setattr(sys.modules["kinetics_tools.io.retry"], "time", SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A clip directory for each of STATES."""
    root = tmp_path_factory.mktemp("states")
    good = clip_bytes(root, 0, frames=15)
    found = {}
    for name in STATES:
        clips = [Clip(LABELS[number], f"video{number:06d}", 0, 1) for number in range(2)]
        split = "test" if name == "test clip" else "val"
        folder = root / name / split
        folder.mkdir(parents=True)
        if name == "test clip":
            (root / name / "test.csv").write_text("youtube_id,time_start,time_end,split\nvideo000000,0,1,test\n")
        elif name != "no annotations":
            kept = clips[:1] if name == "one clip" else clips
            write_annotations(root / name / "annotations" / "val.csv", kept, "validation")
        contents = {"no annotations": good, "all corrupt": b"no video", "one clip": good, "test clip": good}
        for clip in clips[:1] if name in ("one clip", "test clip") else clips:
            if name in contents:
                path = folder / clip.label / clip.file_name if split == "val" else folder / clip.file_name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(contents[name])
        found[name] = root / name
    return found


@pytest.mark.parametrize("state", STATES)
def test_a_report_is_written_and_says_what_there_is_not(sources, state, tmp_path):
    done = write_report(sources[state], "700", out=tmp_path / "out", workers=1)
    page = done.path.read_text()
    assert STATES[state] in page
    assert any(STATES[state] in note for note in done.notes) or not STATES[state]
    assert done.is_complete == (state != "no annotations")
    if state == "no annotations":
        rows = read_clips(sources[state], "700").table.to_pylist()
        assert [(row["clip"], row["label"], row["status"], row["detail"]) for row in rows] == [
            (f"video{number:06d}_000000_000001", LABELS[number], "present", "not checked") for number in range(2)
        ]
        assert rows[0]["path"] == f"val/{LABELS[0]}/video000000_000000_000001.mp4"


def test_the_app_says_what_there_is_not(sources, browser):
    from kinetics_tools.viewing.app import serve
    from kinetics_tools.viewing.viewer import Viewer

    for state, note in STATES.items():
        app = serve(Viewer(read_clips(sources[state], "700", workers=1)))
        view = Page(browser, app.local_url, allowed=app.local_url)
        view.page.wait_for_selector("h1")
        shown = [text.strip() for text in view.page.locator(".notes p").all_inner_texts()]
        assert any(one.startswith(note) for one in shown) if note else not shown, state
        if state == "one clip":
            bar = view.page.locator(f'#bars-label [data-value="{LABELS[3]}"] .count')  # a class without a clip
            assert bar.inner_text() == "0"
        view.page.get_by_role("tab", name="Clips").click()
        view.page.wait_for_selector("text=/clips?, page 1 of 1/")
        view.assert_clean()
        app.close()


def test_shards_that_cannot_be_read_are_named_and_the_others_counted(prepared, tmp_path):
    out = copy_of(prepared, tmp_path / "out")
    first, second = sorted((out / "700").glob("*.parquet"))[:2]
    content = first.read_bytes()
    first.unlink()
    second.unlink()
    second.write_bytes(content[:1000])
    done = write_report(out, "700", out=tmp_path / "report", workers=1)
    assert not done.is_complete
    (problem, _) = done.notes
    assert problem.startswith(f"2 of 8 shards of 700 validation cannot be read (700/{second.name}: ")
    assert "1 shard missing" in problem
    whole, rest = (len(read_clips(folder).table) for folder in (prepared, out))
    assert 0 < whole - rest <= 8


def test_shards_of_another_release_are_named(prepared):
    assert (prepared / "700" / MANIFEST_NAME).exists()
    with pytest.raises(ValueError, match="has prepared shards of 700, and none of 600"):
        read_clips(prepared, "600")
