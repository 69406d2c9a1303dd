"""Text from outside on a terminal: control characters are escaped on every surface."""

import io
import json
import logging
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kinetics_tools.cli.app import StderrHandler, app
from kinetics_tools.errors import ClipError, DiskError
from kinetics_tools.media import probe
from kinetics_tools.run import PlainConsole
from tests.support.mirror import annotation_csv, tar
from tests.support.releases import impatient
from tests.support.trees import Clip, load, write_tree

__all__ = ["impatient"]  # fixture

EVIL = "\x1b]0;title\x07\x1b[31m\u202e"  # sets the title of the window and the color, and turns the direction of text
SHOWN = "\\x1b]0;title\\x07\\x1b[31m"
CLIPS = [Clip("zumba", f"-zumba{number:05d}", 1, 11) for number in range(3)]
ROWS = [clip.row for clip in CLIPS]


def kinetics(*words: object) -> str:
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code in (0, 1, 2), done.output
    return done.output


def tree_at(root: Path, layout: str = "class folders") -> Path:
    return write_tree(root / "tree", layout, clips={"validation": CLIPS})


def verified(root: Path) -> str:
    return kinetics("verify", "700", root)


def file_name(root: Path) -> str:
    tree = tree_at(root)
    (tree / "val" / "zumba" / f"{EVIL}.mp4").write_text("junk")
    return verified(tree)


def folder_name(root: Path) -> str:
    tree = tree_at(root)
    (tree / "val" / EVIL).mkdir()
    (tree / "val" / EVIL / "zzzzzzzzzzz_000001_000011.mp4").write_text("junk")
    return verified(tree)


def file_name_in_load(root: Path) -> str:
    tree = tree_at(root)
    (tree / "val" / "zumba" / f"{EVIL}abcdefghijk_000001_000011.mp4").write_text("junk")
    list(load(data_dir=tree, split="validation", streaming=True))
    return ""


def file_name_in_prepare(root: Path) -> str:
    tree = tree_at(root)
    (tree / "val" / "zumba" / f"{EVIL}abcdefghijk_000001_000011.mp4").write_text("junk")
    return kinetics("prepare", "700", "--data-dir", tree, "--out", root / "out", "--dry-run")


def ledger(root: Path) -> str:
    tree = tree_at(root)
    (tree / "val" / "zumba" / CLIPS[0].file_name).unlink()
    error = {"class": "gone", "message": f"{EVIL}bad"}
    line = {"key": CLIPS[0].stem, "split": "validation", "source": "youtube", "status": "unavailable", "error": error}
    (tree / "ledger.jsonl").write_text(json.dumps(line) + "\n")
    return verified(tree)


def annotation_name(root: Path) -> str:
    tree = tree_at(root)
    (tree / "annotations" / "val.csv").rename(tree / "annotations" / f"{EVIL}_val.csv")
    (tree / "annotations" / f"{EVIL}_val.csv").write_text("label\n")
    return verified(tree)


def annotation_name_that_is_skipped(root: Path) -> str:
    tree = tree_at(root)
    (tree / "annotations" / "val.csv").rename(tree / "annotations" / f"{EVIL}.csv")
    return kinetics("verify", "700", tree, "--split", "val", "--annotations", tree / "annotations")


def annotation_content(root: Path) -> str:
    tree = tree_at(root)
    path = tree / "annotations" / "val.csv"
    path.write_text(path.read_text().replace(",val", f",{EVIL}val", 1))
    return verified(tree)


def annotation_header(root: Path) -> str:
    tree = tree_at(root)
    path = tree / "annotations" / "val.csv"
    path.write_text(path.read_text().replace("youtube_id", f"{EVIL}youtube_id", 1))
    return verified(tree)


def with_archive(root: Path) -> Path:
    tree = tree_at(root, ".tar.gz")
    link = tarfile.TarInfo(f"{EVIL}link.mp4")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = {f"{EVIL}_000001_000011.mp4": b"junk", link.name: link}
    (tree / "val" / "part_9.tar").write_bytes(tar(members))
    return tree


def member_name(root: Path) -> str:
    return verified(with_archive(root))


def member_name_in_load(root: Path) -> str:
    list(load(data_dir=with_archive(root), split="validation", streaming=True))
    return ""


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = self.server.answer(self.path)  # type: ignore[attr-defined]
        if isinstance(answer, str):
            self.wfile.write(f"HTTP/1.1 404 {answer}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


def download_from(root: Path, answer: Callable[[str], bytes | str]) -> str:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.answer = answer  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KINETICS_MIRROR", f"http://127.0.0.1:{server.server_port}")
            return kinetics("download", "400", "--split", "test", "--out", root / "out")
    finally:
        server.shutdown()
        server.server_close()


def reason_of_a_server(root: Path) -> str:
    return download_from(root, lambda path: EVIL)


def path_list(root: Path) -> str:
    def answer(path: str) -> bytes | str:
        if path.endswith("path.txt"):
            return f"https://s3.amazonaws.com/kinetics/400/test/{EVIL}part.tar.gz".encode()
        return annotation_csv(ROWS, "test") if path.endswith("test.csv") else "Not Found"

    return download_from(root, answer)


def member_name_in_download(root: Path) -> str:
    def answer(path: str) -> bytes | str:
        if path.endswith("path.txt"):
            return b"https://s3.amazonaws.com/kinetics/400/test/part.tar"
        if path.endswith("test.csv"):
            return annotation_csv(ROWS, "test")
        return (root / "tree" / "val" / "part_9.tar").read_bytes()

    with_archive(root)
    return download_from(root, answer)


def key_of_predictions(root: Path) -> str:
    (root / "p.json").write_text(json.dumps({"results": {f"{EVIL}abc": [{"label": "zumba", "score": 1}]}}))
    return kinetics(
        "evaluate", "700", root / "p.json", "--split", "val", "--annotations", tree_at(root) / "annotations"
    )


def label_of_predictions(root: Path) -> str:
    results = {CLIPS[0].youtube_id: [{"label": f"{EVIL}zumba", "score": 1}]}
    (root / "p.json").write_text(json.dumps({"results": results}))
    return kinetics(
        "evaluate", "700", root / "p.json", "--split", "val", "--annotations", tree_at(root) / "annotations"
    )


def header_of_predictions(root: Path) -> str:
    (root / "p.csv").write_text(f"{EVIL}label,score\n")
    return kinetics("evaluate", "700", root / "p.csv", "--split", "val", "--annotations", tree_at(root) / "annotations")


SURFACES = [
    file_name,
    folder_name,
    file_name_in_load,
    file_name_in_prepare,
    ledger,
    annotation_name,
    annotation_name_that_is_skipped,
    annotation_content,
    annotation_header,
    member_name,
    member_name_in_load,
    reason_of_a_server,
    path_list,
    member_name_in_download,
    key_of_predictions,
    label_of_predictions,
    header_of_predictions,
]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("datasets.kinetics")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.mark.parametrize("surface", SURFACES)
def test_escapes_never_reach_a_terminal_raw(surface, tmp_path, logged, impatient):
    text = "\n".join([surface(tmp_path), *logged])
    assert SHOWN in text or ascii(SHOWN)[1:-1] in text or "%1B%5D0" in text
    assert not any(character in text for character in EVIL if not character.isprintable())


def test_errors_of_python_are_printable(tmp_path):
    (tmp_path / f"{EVIL}.mp4").write_text("junk")
    with pytest.raises(ClipError) as error:
        probe(tmp_path / f"{EVIL}.mp4")
    assert SHOWN in str(error.value)
    assert str(error.value).isprintable()
    assert str(DiskError(28, EVIL, EVIL)).isprintable()


def test_a_console_escapes_names_and_applies_no_markup(capsys):
    PlainConsole().print_lines([f"{EVIL}a", "[red]b", ":car:", "c\nd"])
    assert capsys.readouterr().out.splitlines() == [f"{SHOWN}\\u202ea", "[red]b", ":car:", "c\\nd"]


def test_a_line_of_the_log_goes_through_the_console_of_a_spinner(capsys):
    shown, logger = io.StringIO(), logging.Logger("test")
    logger.addHandler(StderrHandler())
    with PlainConsole(file=shown, force_terminal=True, width=80).status("reading lists"):
        logger.warning("no answer; retrying")  # or it would share a line with the spinner
    assert "no answer; retrying\n" in shown.getvalue()
    assert capsys.readouterr().err == ""
