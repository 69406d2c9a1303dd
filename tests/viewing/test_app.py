"""The app of `kinetics view`, used in a browser."""

import urllib.error
import urllib.request

import pyarrow as pa
import pytest

from kinetics_tools.viewing import read_clips
from kinetics_tools.viewing.filters import Filter
from kinetics_tools.viewing.predictions import score, with_predictions, wrong
from tests.support.browser import Page
from tests.support.clip_tree import LABELS, clip_bytes
from tests.support.trees import Clip, write_annotations
from tests.viewing.test_statistics import made

EVIL = '<img src=x onerror=alert(1)>"'


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Thirty clips of a second, one of them missing, and a file whose name is markup."""
    root = tmp_path_factory.mktemp("k700")
    made_in = tmp_path_factory.mktemp("made")
    clips = [Clip(LABELS[number % 3], f"video{number:06d}", number, number + 1) for number in range(30)]
    write_annotations(root / "annotations" / "val.csv", clips, "validation")
    content = clip_bytes(made_in, 0, frames=15)
    for clip in clips[1:]:
        path = root / "val" / clip.label / clip.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "val" / LABELS[0] / f"{EVIL}.mp4").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def app(source, tmp_path_factory):
    from kinetics_tools.viewing.app import serve
    from kinetics_tools.viewing.viewer import Viewer

    clips = read_clips(source, "700", workers=1)
    guesses = tmp_path_factory.mktemp("guesses") / "guesses.csv"
    guesses.write_text(
        "youtube_id,label,score\n" + "".join(f"video{number:06d},abseiling,1\n" for number in range(1, 30))
    )
    scored, scores = score(clips, guesses, "validation")
    served = serve(Viewer(scored, clips, scores))
    yield served
    served.close()


@pytest.fixture
def view(app, browser):
    opened = Page(browser, app.local_url, allowed=app.local_url)
    opened.page.set_default_timeout(40_000)
    opened.page.wait_for_selector("#bars-label")
    yield opened
    opened.assert_clean()


def texts(page, selector):
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def test_a_bar_of_a_class_leads_to_its_clips_and_they_are_paged(view):
    page = view.page
    page.locator('#bars-label [data-value="abseiling"]').click()
    page.wait_for_selector("text=10 clips, page 1 of 1")
    assert len(texts(page, "#grid .grid-container button")) == 10
    page.get_by_label("Class").fill("all")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=31 clips, page 1 of 2")
    page.get_by_role("button", name="Next").click()
    page.wait_for_selector("text=31 clips, page 2 of 2")
    assert len(texts(page, "#grid .grid-container button")) == 31 - 24


def test_a_clip_that_is_searched_plays_and_shows_the_frames_of_a_sampler(view):
    page = view.page
    page.get_by_role("tab", name="Clips").click()
    page.get_by_label("Search by id").fill("video000007")
    page.wait_for_selector("text=1 clip, page 1 of 1")
    page.locator("#grid img").first.click()
    page.wait_for_selector("#player video")
    assert "video000007_000007_000008" in page.locator("#facts").inner_text()
    link = page.locator("#facts a").get_attribute("href")
    assert link == "https://www.youtube.com/watch?v=video000007&t=7s"
    page.evaluate("document.querySelector('#player video').play()")
    page.wait_for_function("document.querySelector('#player video').currentTime > 0")
    page.wait_for_selector("#timeline rect")
    assert page.locator("#timeline rect").count() == 16
    page.get_by_label("Sampler").click()
    page.get_by_role("option", name="Segments").click()
    # Of 15 frames, 16 equal parts: the frames floor((i + 1/2) 15 / 16).
    expected = [f"frame {int((part + 0.5) * 15 / 16)}" for part in range(16)]
    page.wait_for_function(
        "expected => [...document.querySelectorAll('#timeline title')]"
        ".map(title => title.textContent.split(',')[0]).join() === expected",
        arg=",".join(expected),
    )


def test_names_are_text_and_never_markup(view):
    page = view.page
    page.locator('#bars-status [data-value="unexpected"]').click()
    page.wait_for_selector("text=1 clip, page 1 of 1")
    page.locator("#grid img").first.click()
    page.wait_for_selector("#facts tr")
    assert EVIL in page.locator("#facts").inner_text()
    assert page.locator("#facts img").count() == 0


def test_releases_and_sources_are_compared(view):
    page = view.page
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_function("document.body.innerText.includes('renamed')")
    assert "removed" in page.locator("body").inner_text()
    assert "378 same, 10 renamed, 12 removed, 312 new" in page.locator("#classes").inner_text()
    page.get_by_role("tab", name="Predictions").click()
    # Ten of thirty are abseiling, one of them without a prediction.
    page.wait_for_selector("#scores p")
    scores = "top-1 30.00% over 30 annotated videos, 31.03% over 29 scored videos"
    assert scores in " ".join(page.locator("#scores").inner_text().split())
    page.locator("#wrong").get_by_text("video000002_000002_000003").locator("visible=true").first.click()
    page.wait_for_selector("#facts >> text=video000002_000002_000003")
    assert "abseiling (wrong)" in page.locator("#facts").inner_text()


@pytest.mark.parametrize("width", [1440, 390])
def test_it_fits_a_screen_and_a_telephone(app, browser, width):
    view = Page(browser, app.local_url, allowed=app.local_url, width=width)
    view.page.get_by_role("tab", name="Clips", exact=True).click()
    view.page.locator("#grid img").first.click()
    view.page.wait_for_selector("#facts tr")
    for tab in ("Clip", "Clips", "Overview"):
        view.page.get_by_role("tab", name=tab, exact=True).click()
        view.assert_fits(f"view-{tab.lower()}")
    view.assert_clean()


def test_nothing_outside_of_the_source_is_served(app, tmp_path):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    for path in ("/etc/passwd", str(secret), "pyproject.toml"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{app.local_url}gradio_api/file={path}")
        assert error.value.code in (403, 404)


def test_filters_keep_the_clips_that_have_all_of_it():
    clips = made(
        clip=["abc", "ABD", "xyz", "abz"],
        split=["train", "train", "train", "validation"],
        status=["present", "missing", "present", "present"],
        duration=[10.0, None, 5.0, 9.0],
        width=[340, None, 340, 320],
        height=[256, None, 256, 240],
        has_audio=[True, None, False, True],
    )
    assert Filter().rows(clips).tolist() == [0, 1, 2, 3]
    assert Filter(text="ab").rows(clips).tolist() == [0, 1, 3]
    assert Filter(text="ab", split="train", status="present").rows(clips).tolist() == [0]
    assert Filter(seconds=(6, None)).rows(clips).tolist() == [0, 3]
    assert Filter(seconds=(None, 9)).rows(clips).tolist() == [2, 3]
    assert Filter(resolution="340x256", has_audio=False).rows(clips).tolist() == [2]


def test_wrong_predictions_come_worst_first():
    clips = made(
        clip=["a", "b", "c", "d"], youtube_id=["a", "b", "c", "d"], label=["abseiling"] * 4, status=["present"] * 4
    )
    table = with_predictions(clips, "train", {"a": [0], "b": [1, 0], "c": [1, 2]})
    assert table["prediction"].to_pylist() == ["right", "wrong", "wrong", None]
    assert wrong(table).select(["clip", "rank"]).to_pylist() == [{"clip": "c", "rank": None}, {"clip": "b", "rank": 2}]
    assert table.schema.field("rank").type == pa.int64()
