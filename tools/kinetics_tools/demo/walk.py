"""Walk through the main tasks on the sample: each is a few lines of Python, kept in a transcript with their output."""

import ast
import contextlib
import io
import logging
import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.utils.logging import get_logger
from datasets.utils.tqdm import disable_progress_bars

from kinetics_tools.demo.sample import make_sample
from kinetics_tools.run import PlainConsole

TRANSCRIPT_NAME = "transcript.md"


@dataclass(frozen=True)
class _Task:
    """One task of the walk: `line` stands for `code` on the screen."""

    title: str
    line: str
    code: str


_PLAIN = """\
import gc
from datasets import Video, load_dataset
clips = load_dataset("kinetics", "700", split="validation", streaming=True)
for clip in clips.cast_column("video", Video(decode=False)).take(3):
    print(clip["youtube_id"], clip["label"], f"{clip['duration']:g} s", len(clip["video"]["bytes"]), "bytes")
del clips, clip
gc.collect()  # or Arrow's threads may abort Python at exit: huggingface/datasets#7566
"""

_TASKS = (
    _Task(
        "Load each release: archives, a flat directory, class directories",
        'load_dataset("kinetics", "700", data_dir="{out}/700")',
        """\
import kinetics  # registers "kinetics" with datasets
from datasets import load_dataset
for release in kinetics.RELEASES:
    data = load_dataset("kinetics", release, data_dir=f"{out}/{release}")
    print(release, data.num_rows)""",
    ),
    _Task(
        "Read one row",
        'data["train"].remove_columns("video")[0]',
        'data["train"].remove_columns("video")[0]',
    ),
    _Task(
        "Sample frames: eight of a clip of each class, as a contact sheet",
        "Frames(Segments(8), Scale((128, 170))).decode(video)",
        """\
from kinetics_tools.media import contact_sheet, write_png
from kinetics_tools.sampling import Frames, Scale, Segments
clips = load_dataset("kinetics", "700", data_dir=f"{out}/700", split="validation", decode=False)
by_class = {clip["label"]: clip["video"] for clip in clips}
eight = Frames(Segments(8), Scale((128, 170)))
rows = [eight.decode(video) for video in by_class.values()]
write_png(f"{out}/contact_sheet.png", contact_sheet(rows))
print("rows:", ", ".join(clips.features["label"].int2str(label) for label in by_class))""",
    ),
    _Task(
        "Find the truncated clip, which loading does not open",
        'Frames(Segments(1)).decode(clip["video"])',
        """\
from kinetics_tools.media import ClipError
for clip in load_dataset("kinetics", "700", data_dir=f"{out}/700", split="train", decode=False):
    try:
        frames = Frames(Segments(1)).decode(clip["video"])
    except ClipError as error:
        print(str(error).rpartition("/")[2])""",
    ),
    _Task(
        "Stream tar archives without unpacking them",
        'load_dataset("kinetics", "400", data_dir="{out}/400", split="train", streaming=True)',
        """\
stream = load_dataset("kinetics", "400", data_dir=f"{out}/400", split="train", streaming=True, decode=False)
sixteen = Frames(Segments(16), layout="CTHW")
for clip in stream.take(3):
    frames = sixteen.decode(clip["video"])
    print(clip["youtube_id"], stream.features["label"].int2str(clip["label"]), frames.shape)""",
    ),
    _Task(
        "Prepare Parquet shards for training (about half a minute)",
        'prepare("700", "{out}/700", "{out}/prepared", splits=["validation"])',
        """\
from kinetics_tools import prepare
report = prepare("700", f"{out}/700", f"{out}/prepared", splits=["validation"])
print(*report.lines()[:2], sep="\\n")""",
    ),
    _Task(
        "Publish them, here to a directory in place of the Hub",
        'push("{out}/prepared", "user/kinetics")',
        """\
from pathlib import Path
from kinetics_tools import push
published = push(f"{out}/prepared", f"file://{Path(out).resolve()}/published/kinetics")
print(published.lines()[0])""",
    ),
    _Task(
        "Load what was published with plain datasets, in a new Python process",
        'load_dataset("kinetics", "700", split="validation", streaming=True)',
        f"""\
import subprocess, sys
code = '''
{_PLAIN}'''
done = subprocess.run([sys.executable, "-c", code], cwd=f"{{out}}/published", stdout=subprocess.PIPE, text=True)
print(done.stdout.rstrip())""",
    ),
)


def run_demo(out: str | os.PathLike[str] = "demo") -> None:
    """Make the sample in `out` and run the main tasks on it.

    Writes `out`/transcript.md with all code and output, and `out`/contact_sheet.png. Turns off the progress bars of
    `datasets`. Raises the errors of `make_sample`.
    """
    console = PlainConsole()
    make_sample(out)
    disable_progress_bars()
    console.print(f"The sample is in {os.fspath(out)}: four releases of small clips that are drawn.")
    names: dict[str, Any] = {"out": os.fspath(out)}
    told: set[str] = set()  # releases whose missing clips were summed up
    pages = [f"# Demo\n\n```python\nout = {os.fspath(out)!r}\n```\n"]
    for number, task in enumerate(_TASKS, start=1):
        console.print()
        console.print(f"{number}. {task.title}", style="bold")
        for line in _wrapped(task.line.replace("{out}", os.fspath(out))):
            console.print(line, style="cyan")
        output, warnings = _run(task.code, names)
        summaries = {line.partition(":")[0]: line for line in _summaries(warnings)}
        for line in [*output.splitlines(), *(summaries[release] for release in summaries if release not in told)]:
            console.print_lines(_wrapped(line))
        told |= summaries.keys()
        printed = "".join(f"{line}\n" for line in [*warnings, *output.splitlines()])
        pages.append(f"## {task.title}\n\n```python\n{task.code}\n```\n\n```text\n{printed}```\n")
    transcript = Path(out) / TRANSCRIPT_NAME
    transcript.write_text("\n".join(pages), encoding="utf-8")
    console.print()
    console.print(f"All code and output: {transcript}")
    console.print('Next: load_dataset("kinetics", "700", data_dir="...") with your own clips')
    console.print(f"Picture: {Path(out) / 'contact_sheet.png'}")


def _wrapped(line: str) -> list[str]:
    """Return a line of the story as indented lines of a terminal with 80 columns; paths stay whole."""
    return textwrap.wrap(line, 80, initial_indent="   ", subsequent_indent="   ", break_long_words=False)


def _run(code: str, names: dict[str, Any]) -> tuple[str, list[str]]:
    """Run code as at the prompt, which prints the values of expressions; return its output and its warnings."""
    output, logger = io.StringIO(), get_logger("datasets.kinetics")
    warnings = _Warnings()
    logger.addHandler(warnings)
    logger.propagate = False
    try:
        with contextlib.redirect_stdout(output):
            for statement in ast.parse(code).body:
                exec(compile(ast.Interactive([statement]), "<demo>", "single"), names)
    finally:
        logger.removeHandler(warnings)
        logger.propagate = True
    return output.getvalue(), warnings.lines


class _Warnings(logging.Handler):
    """Handler that keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _summaries(warnings: Iterable[str]) -> list[str]:
    """Return a line for each release that warnings are about, with the numbers of clips of all its splits."""
    totals: dict[str, Counter[str]] = {}
    for warning in warnings:
        release = warning.removeprefix("kinetics ").partition(" ")[0]
        for kind, count in re.findall(r"(missing|unannotated)[a-z ]*: (\d+)", warning):
            totals.setdefault(release, Counter())[kind] += int(count)
    return [
        f"{release}: {', '.join(f'{count} {kind}' for kind, count in total.items())} (named in {TRANSCRIPT_NAME})"
        for release, total in totals.items()
    ]
