"""The pictures of the docs: what the drawn samplers mark, against the published formulae of their peers."""

import importlib
import json
import math
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
N, FPS = 300, 30


@pytest.fixture
def script(monkeypatch):
    """Import a script of docs/scripts by name."""
    monkeypatch.syspath_prepend(str(DOCS / "scripts"))
    yield importlib.import_module
    for name in ("_svg", "samplers", "speed", "contact_sheet"):
        sys.modules.pop(name, None)


@pytest.fixture
def marked(script, tmp_path):
    """Sampler as typed -> the rows of its picture -> the clips in a row, as lists of marked frame numbers."""
    script("samplers").main(tmp_path)
    found = defaultdict(list)
    for path in tmp_path.glob("*.svg"):
        for row in ET.parse(path).iter("{http://www.w3.org/2000/svg}g"):
            clips = defaultdict(list)
            for mark in row.findall("{http://www.w3.org/2000/svg}rect"):
                clips[int(mark.get("data-clip"))].append(int(mark.get("data-frame")))
                assert float(mark.get("x")) == pytest.approx(180 + 2.5 * clips[int(mark.get("data-clip"))][-1], abs=0.2)
            found[row.get("data-sampler")].append([clips[number] for number in sorted(clips)])
    return found


def spread(start, span, count):
    """Return PySlowFast's trunc(linspace(start, start + span - 1, count))."""
    return [int(start + (span - 1) * k / (count - 1) + 1e-9) for k in range(count)]


def test_random_clip(marked):
    rows = marked["RandomClip(16, 4)"]
    assert len({row[0][0] for row in rows}) == 3
    for [clip] in rows:  # TorchCodec: every fourth frame from a start in [0, N - span]
        assert clip == [clip[0] + 4 * k for k in range(16)]
        assert 0 <= clip[0] <= N - (4 * 15 + 1)
    for [clip] in marked["RandomClip(16, 4, target_fps=15)"]:  # PySlowFast: T stride fps / target_fps frames
        span = 16 * 4 * FPS / 15
        assert any(clip == spread(clip[0] + part / 30, span, 16) for part in range(30))
        assert 0 <= clip[0] <= N - span


def test_uniform_clips(marked):
    span = 16 * 4
    delta = N - span
    assert marked["UniformClips(5, 16, 4)"] == [[spread(delta * k / 5, span, 16)] for k in range(5)]
    expected = [[spread(k * (delta // 4), span, 16)] for k in range(5)]
    assert marked["UniformClips(5, 16, 4, offset=True)"] == expected


def test_segments(marked):
    assert marked["Segments(8)"] == [[[math.floor((i + 0.5) * N / 8) for i in range(8)]]]
    rows = marked["Segments(8, random=True)"]
    assert len(rows) == 3
    for [clip] in rows:  # MMAction2: offset_i = i a + randint(a)
        assert [frame // (N // 8) for frame in clip] == [*range(8)]


@pytest.mark.parametrize(("title", "rate"), [("", 30), (", frame_rate=15", 15), (", frame_rate=8", 8)])
def test_every_clip(marked, title, rate):
    ratio = FPS / rate
    if ratio.is_integer():
        resampled = [*range(0, N, int(ratio))]
    else:
        resampled = [math.floor(i * ratio) for i in range(math.floor(N * rate / FPS))]
    count = (len(resampled) - 16) // 16 + 1
    assert marked[f"EveryClip(16, 16{title})"] == [[resampled[16 * k : 16 * k + 16] for k in range(count)]]


def seconds(start):
    """Return pytorchvideo's frames of [start, start + 2) s, reduced to 16."""
    inside = [frame for frame in range(N) if math.ceil(start * FPS) <= frame < math.ceil((start + 2) * FPS)]
    return [inside[k * (len(inside) - 1) // 15] for k in range(16)]


def test_seconds(marked):
    assert marked["Seconds(2, 8, num_clips=5)"] == [[seconds(i * (10 - 2) / 4)] for i in range(5)]
    rows = marked["Seconds(2, 8)"]
    assert len(rows) == 3
    for [clip] in rows:
        assert clip == seconds(clip[0] / FPS)
        assert clip[0] <= math.ceil((10 - 2) * FPS)


def test_each_picture_is_in_its_page(script):
    page = (DOCS / "sample.md").read_text(encoding="utf-8")
    for name in script("samplers").PICTURES:
        assert f"](images/samplers/{name}.svg)" in page
        assert (DOCS / "images" / "samplers" / f"{name}.svg").exists()


def test_speed_has_a_bar_for_each_result(script, tmp_path):
    for name, claim, ratio in (("annotations", "CSV, faster than csv.DictReader", 11.1), ("push", "push of 1 GB", 0.9)):
        result = {"claim": claim, "ours": "1 s", "other": "2 s", "ratio": ratio}
        kept = {"title": name, "machine": "2026-01-01, A CPU, 1 of 2 cores", "results": [result]}
        (tmp_path / f"{name}.json").write_text(json.dumps(kept))
    script("speed").main(tmp_path, tmp_path / "speed.svg")
    texts = [one.text for one in ET.parse(tmp_path / "speed.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"11.1x", "peer: csv.DictReader", "0.90x", "Measured: 2026-01-01, A CPU"} <= set(texts)
    assert not any("PyAV" in one for one in texts)


def test_speed_reads_the_kept_results(script, tmp_path):
    script("speed").main(out=tmp_path / "speed.svg")
    values = [one.text for one in ET.parse(tmp_path / "speed.svg").iter() if one.get("class") == "value"]
    assert 6 <= len(values) <= 10


def test_the_contact_sheet_is_small():
    assert (DOCS / "images" / "contact-sheet.webp").stat().st_size < 200_000
