"""Walk through the main tasks on the sample: Python that is printed, run, and can be copied."""

import ast
import os
from pathlib import Path
from typing import Any

from datasets.utils.tqdm import disable_progress_bars
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from kinetics_tools.demo.sample import make_sample

_WALK = (
    """\
# Importing kinetics registers the name with load_dataset.
import kinetics
from datasets import load_dataset""",
    """\
# Every release loads from the files on disk: archives, flat directories, class directories.
for release in kinetics.RELEASES:
    data = load_dataset("kinetics", release, data_dir=f"{out}/{release}")
    print(release, data.num_rows)""",
    """\
# The columns, and the values of one clip.
{name: type(feature).__name__ for name, feature in data["train"].features.items()}
data["train"].remove_columns("video")[0]""",
    """\
# Missing and unannotated clips are skipped and counted.
from pathlib import Path
annotated = len(Path(f"{out}/700/annotations/train.csv").read_text().splitlines()) - 1
on_disk = len(list(Path(f"{out}/700/train").glob("*/*.mp4")))
loaded = load_dataset("kinetics", "700", data_dir=f"{out}/700", split="train").num_rows
print(f"{annotated} annotated, {on_disk} on disk, {loaded} loaded")""",
    """\
# Frames: a row per class, eight frames from left to right.
from kinetics_tools.media import contact_sheet, write_png
from kinetics_tools.sampling import Frames, Scale, Segments
clips = load_dataset("kinetics", "700", data_dir=f"{out}/700", split="validation", decode=False)
by_class = {clip["label"]: clip["video"] for clip in clips}
eight = Frames(Segments(8), Scale((128, 170)))
rows = [eight.decode(video) for video in by_class.values()]
write_png(f"{out}/contact_sheet.png", contact_sheet(rows))
[clips.features["label"].int2str(label) for label in by_class]""",
    """\
# Loading does not decode. Reading finds the truncated clip.
from kinetics_tools.media import ClipError
for clip in load_dataset("kinetics", "700", data_dir=f"{out}/700", split="train", decode=False):
    try:
        frames = Frames(Segments(1)).decode(clip["video"])
    except ClipError as error:
        print(error)""",
    """\
# Streaming starts at once, here from tar archives that stay packed.
stream = load_dataset(
    "kinetics", "400", data_dir=f"{out}/400", split="train", streaming=True, decode=False
)
sixteen = Frames(Segments(16), layout="CTHW")
for clip in stream.take(3):
    frames = sixteen.decode(clip["video"])
    print(clip["youtube_id"], stream.features["label"].int2str(clip["label"]), frames.shape)""",
    """\
# For training: Parquet shards, shuffled, and encoded for fast sampling.
from kinetics_tools import prepare
report = prepare("700", f"{out}/700", f"{out}/prepared", splits=["validation"])
print(*report.lines(), sep="\\n")""",
    """\
# Publish: usually to the Hub, "user/kinetics"; here to a directory, which gets the same files.
from kinetics_tools import push
published = push(f"{out}/prepared", f"file://{Path(out).resolve()}/published/kinetics")
print(*published.lines(), sep="\\n")""",
    """\
# Published clips load with plain datasets, here in a fresh Python that does not import kinetics.
import subprocess, sys
code = """
    + """'''
import gc, sys
from datasets import Video, load_dataset
clips = load_dataset("kinetics", "700", split="validation", streaming=True)
for clip in clips.cast_column("video", Video(decode=False)).take(3):
    print(clip["youtube_id"], clip["label"], f"{clip['duration']:g} s", len(clip["video"]["bytes"]), "bytes")
print("kinetics" in sys.modules)
del clips, clip
gc.collect()  # or Arrow's threads may abort Python at exit: huggingface/datasets#7566
'''
done = subprocess.run([sys.executable, "-c", code], cwd=f"{out}/published", stdout=subprocess.PIPE, text=True)
print(done.stdout)""",
)


def run_demo(out: str | os.PathLike[str] = "demo") -> None:
    """Make the sample in `out` and walk through the main tasks on it, printing each line before it runs.

    Also writes `out`/contact_sheet.png, and turns off the progress bars of `datasets`. Raises the errors of
    `make_sample`.
    """
    console = Console(soft_wrap=True, markup=False, highlight=False)
    make_sample(out)
    console.print(f"The sample is in {os.fspath(out)}. All lines below are Python that you can copy.\n")
    disable_progress_bars()
    names: dict[str, Any] = {}
    for snippet in (f"out = {os.fspath(out)!r}", *_WALK):
        statements = ast.parse(snippet).body
        _show(snippet, statements, console)
        # One statement at a time, as at the prompt, which prints the value of an expression.
        for statement in statements:
            exec(compile(ast.Interactive([statement]), "<demo>", "single"), names)
        console.print()
    console.print(
        f"See {Path(out) / 'contact_sheet.png'}, and the four layouts beside it.\n"
        'Next: load_dataset("kinetics", "700", data_dir="...") with clips of your own.'
    )


def _show(snippet: str, statements: list[ast.stmt], console: Console) -> None:
    continued = {
        number
        for statement in statements
        for number in range(statement.lineno + 1, (statement.end_lineno or statement.lineno) + 1)
    }
    code = Syntax("", "python", theme="ansi_dark").highlight(snippet)
    for number, line in enumerate(code.split("\n"), start=1):
        if line:
            console.print(Text.assemble(("... " if number in continued else ">>> ", "dim"), line))
