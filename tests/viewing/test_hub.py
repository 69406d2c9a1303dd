"""Reports and views of a published copy: what is asked of the Hub, and what is said where it cannot be had."""

import random
import sys
from types import SimpleNamespace

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi, HfFileSystem
from typer.testing import CliRunner

from kinetics_tools.cli.app import app as command
from kinetics_tools.viewing import read_clips, write_report
from tests.support.browser import Page
from tests.support.fault_server import Fault
from tests.support.hub import Hub
from tests.support.hub_token import ANN, BOB
from tests.support.prepared import write_prepared

CLIPS, CLIP_BYTES, SHARDS = 80, 300_000, 8
TAIL = 1 << 16  # a footer is read by one request of so many bytes
PAGE = (1 << 20) + CLIP_BYTES  # the largest page of a column


def use(patch, url):
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    patch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    patch.setenv("HF_TOKEN", ANN)
    for name in ("huggingface_hub.utils._http", "kinetics_tools.io.retry"):
        patch.setattr(sys.modules[name], "time", SimpleNamespace(sleep=lambda seconds: None))
    HfFileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def server(tmp_path_factory, prepared):
    """A Hub with two private repositories: made/k700 has large videos, of random bytes, and real/k700 small clips."""
    root = tmp_path_factory.mktemp("made")
    write_prepared(root, "700", "train", shards=SHARDS, clips=CLIPS, clip_bytes=CLIP_BYTES, absent=["700tr000003"])
    with Hub(tmp_path_factory.mktemp("hub")) as hub, pytest.MonkeyPatch.context() as patch:
        use(patch, hub.url)
        huggingface_hub.utils.disable_progress_bars()
        api = HfApi(endpoint=hub.url, token=ANN)
        for repo_id, folder in {"ann/made": root, "ann/real": prepared}.items():
            api.create_repo(repo_id, repo_type="dataset", private=True)
            api.upload_folder(repo_id=repo_id, folder_path=folder, repo_type="dataset")
        yield SimpleNamespace(hub=hub, root=root)
    HfFileSystem.clear_instance_cache()


@pytest.fixture
def hub(server, monkeypatch):
    use(monkeypatch, server.hub.url)
    server.hub.clear(log=True)
    return server.hub


def sent(hub):
    """Return the number of bytes of shards that were sent, and the largest number for one request."""
    sizes = [request.sent for request in hub.matching("/_blobs/*", "GET")]
    return sum(sizes), max(sizes, default=0)


def test_a_report_reads_footers_and_columns_and_no_video(hub, tmp_path):
    done = write_report("ann/made", "700", out=tmp_path / "out")
    total, most = sent(hub)
    assert total < SHARDS * (TAIL + 4_000)  # of 24 MB
    assert most == TAIL
    assert {one.range is not None for one in hub.matching("/_blobs/*", "GET")} == {True}
    clips = read_clips("ann/made").table
    assert clips["status"].value_counts().to_pylist() == [
        {"values": "present", "counts": CLIPS - 1},
        {"values": "missing", "counts": 1},
    ]
    assert done.is_complete
    assert "No pictures of clips" in done.path.read_text()


def test_a_clip_is_read_without_the_rest_of_its_shard(hub, server):
    from kinetics_tools.viewing.viewer import Viewer

    viewer = Viewer(read_clips("ann/made", "700"))
    hub.clear(log=True)
    for row, (most, requests) in {77: (TAIL + PAGE + 4_000, 3), 76: (PAGE, 1)}.items():
        path = viewer.table["path"][row].as_py()
        number = viewer.table["row"][row].as_py()
        with open(viewer.video(row), "rb") as file:
            assert file.read() == pq.read_table(server.root / path)["video"][number]["bytes"].as_py()
        total, _ = sent(hub)
        assert CLIP_BYTES < total < most < CLIPS / SHARDS * CLIP_BYTES
        assert len(hub.matching("/_blobs/*", "GET")) == requests
        hub.clear(log=True)
    viewer.posters([75, 76])  # their shard has no such column
    assert sent(hub)[0] == 0


def test_a_clip_of_the_hub_plays(hub, browser):
    from kinetics_tools.viewing.app import serve
    from kinetics_tools.viewing.viewer import Viewer

    app = serve(Viewer(read_clips("ann/real")))
    view = Page(browser, app.local_url, allowed=app.local_url)
    page = view.page
    page.get_by_role("tab", name="Clips").click()
    page.locator("#grid img").first.click()
    page.wait_for_selector("#player video")
    page.evaluate("document.querySelector('#player video').play()")
    page.wait_for_function("document.querySelector('#player video').currentTime > 0")
    view.assert_clean()
    app.close()


def test_a_private_copy_needs_a_token_and_a_public_one_does_not(hub, monkeypatch):
    for token in (BOB, None):
        monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN")
        HfFileSystem.clear_instance_cache()
        with pytest.raises(FileNotFoundError, match="ann/made does not exist, is empty, or needs a token"):
            read_clips("ann/made", "700")
    HfApi(endpoint=hub.url, token=ANN).update_repo_settings("ann/made", repo_type="dataset", private=False)
    HfFileSystem.clear_instance_cache()
    assert len(read_clips("ann/made", "700").table) == CLIPS
    assert not any(request.authorized for request in hub.matching("/_blobs/*", "GET"))


def test_shards_of_another_release_are_named(hub, tmp_path):
    done = CliRunner().invoke(command, ["report", "ann/real", "600", "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "ann/real has prepared shards of 700, and none of 600" in done.output


def test_without_a_network_the_pages_say_so(browser, monkeypatch, tmp_path):
    from kinetics_tools.viewing.app import serve
    from kinetics_tools.viewing.viewer import Viewer

    use(monkeypatch, "http://127.0.0.1:9")
    done = CliRunner().invoke(command, ["report", "ann/made", "700", "--out", str(tmp_path / "out")])
    assert done.exit_code == 1, done.output
    for text in (done.output, (tmp_path / "out" / "index.html").read_text()):
        assert "ann/made cannot be read: " in " ".join(text.split())
        assert "check your network connection" in " ".join(text.split())
    app = serve(Viewer(read_clips("ann/made", "700")))
    view = Page(browser, app.local_url, allowed=app.local_url)
    view.page.wait_for_selector("text=ann/made cannot be read: ")
    view.assert_clean()
    app.close()


def test_a_shard_that_the_hub_does_not_give_is_named(hub):
    hub.add(Fault("status", "*/train-00002-*", code=500))
    clips = read_clips("ann/made", "700")
    assert len(clips.table) == CLIPS - CLIPS // SHARDS
    (problem,) = clips.problems
    assert problem.startswith(f"1 of {SHARDS} shards of 700 train cannot be read (700/train-00002-")
    hub.clear()


def test_posters_of_a_column_are_read_alone(hub, tmp_path):
    from kinetics_tools.viewing.rows import read_value

    values = [random.Random(number).randbytes(8_000) for number in range(600)]
    table = pa.table({"poster": [{"bytes": value, "path": None} for value in values]})
    options = {"compression": "none", "use_dictionary": False, "write_page_index": True, "row_group_size": 250}
    chunks = {"min_chunk_size": 1 << 16, "max_chunk_size": 1 << 17, "norm_level": 0}
    pq.write_table(table, tmp_path / "x.parquet", use_content_defined_chunking=chunks, **options)
    HfApi(endpoint=hub.url, token=ANN).upload_file(
        path_or_fileobj=tmp_path / "x.parquet", path_in_repo="x.parquet", repo_id="ann/real", repo_type="dataset"
    )
    hub.clear(log=True)
    for row in (0, 249, 250, 599):
        assert read_value("hf://datasets/ann/real", "x.parquet", row, "poster.bytes") == values[row]
    assert sent(hub)[0] < TAIL + 4 * 150_000 < len(values) * 8_000
    assert read_value("hf://datasets/ann/real", "x.parquet", 0, "video.bytes") is None
    with pytest.raises(IndexError, match="has 600 rows, not a row 600"):
        read_value("hf://datasets/ann/real", "x.parquet", 600, "poster.bytes")
