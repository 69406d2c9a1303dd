"""Fenced blocks of Markdown pages, and a program that runs those of a page in their order."""

import re
from dataclasses import dataclass
from pathlib import Path

# A comment on the line before a block says why it does not run everywhere.
NEEDS = {
    "the network",
    "a cluster",
    "a fresh machine",
    "a GPU",
    "a browser",
    "datasets 3.6",
    "FiftyOne",
    "mosaicml-streaming",
    "pylance",
    "torch",
    "torchcodec",
    "torchdata",
}
_BLOCK = re.compile(
    r"^(?:<!-- (?P<marker>[^\n]*?) -->\n)?^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)

_START = r"""
import contextlib, io, re, subprocess

def _check(place, printed, expected):
    if expected is not None:
        shown = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
        for line in filter(str.strip, expected.splitlines()):
            pattern = ".*".join(re.escape(part) for part in " ".join(line.split()).split("..."))
            assert any(re.fullmatch(pattern, one) for one in shown), f"{place}: no line {line!r} in:\n{printed}"

def _python(place, code, expected):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile("\n" * (place[1] - 1) + code, place[0], "exec"), globals())
    _check(place, printed.getvalue(), expected)

def _sh(place, code, expected):
    done = subprocess.run(["bash", "-e", "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    # `kinetics verify` and `kinetics evaluate` exit with 1 where something is missing, as in the sample.
    allowed = (0, 1) if re.search(r"kinetics (verify|evaluate)", code) else (0,)
    assert done.returncode in allowed, f"{place}: status {done.returncode}\n{done.stdout}{done.stderr}"
    _check(place, done.stdout + done.stderr, expected)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what it needs, its code, and what the next block says that it prints."""

    line: int
    language: str
    needs: str | None
    code: str
    output: str | None = None


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that are Python or shell."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in _BLOCK.finditer(text):
        language, marker = match["language"], match["marker"] or ""
        code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        if language == "text" and found and not text[end : match.start()].strip() and not marker:
            found[-1] = Block(**{**vars(found[-1]), "output": code})
        elif language in ("python", "sh"):
            line = text.count("\n", 0, match.start("code")) + 1
            needs = marker.removeprefix("needs ") if marker.startswith("needs ") else None
            found.append(Block(line, language, needs, code))
        end = match.end()
    return found


def page_program(page: Path, has: set[str]) -> str:
    """Return a program that runs the blocks of a page, without those that need something that `has` lacks."""
    calls = [
        f"_{block.language}({(page.name, block.line)!r}, {block.code!r}, {block.output!r})"
        for block in blocks(page)
        if block.needs is None or block.needs in has
    ]
    return "\n".join([_START, *calls]) if calls else ""
