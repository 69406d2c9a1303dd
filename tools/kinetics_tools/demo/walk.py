"""A walk through the main job on the sample: Python that is shown, run, and can be copied."""

import ast
import os
from pathlib import Path
from typing import Any

from datasets.utils.tqdm import disable_progress_bars
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from kinetics_tools.demo.sample import make_sample

__all__ = ["run_demo"]

_WALK = (
    """\
# Importing kinetics makes its name known to load_dataset.
import kinetics
from datasets import load_dataset""",
    """\
# Every release loads from what is on disk: archives, plain files, class folders.
for release in kinetics.RELEASES:
    data = load_dataset("kinetics", release, data_dir=f"{out}/{release}")
    print(release, data.num_rows)""",
    """\
# The columns, and one clip's place among them.
{name: type(feature).__name__ for name, feature in data["train"].features.items()}
data["train"].remove_columns("video")[0]""",
    """\
# Rows without a clip and clips without a row are left out, and counted.
from pathlib import Path
annotated = len(Path(f"{out}/700/annotations/train.csv").read_text().splitlines()) - 1
on_disk = len(list(Path(f"{out}/700/train").glob("*/*.mp4")))
loaded = load_dataset("kinetics", "700", data_dir=f"{out}/700", split="train").num_rows
print(f"{annotated} annotated, {on_disk} on disk, {loaded} loaded")""",
    """\
# Frames: a row for each class, eight times from left to right.
from kinetics_tools.media import contact_sheet, write_png
from kinetics_tools.sampling import Frames, Scale, Segments
clips = load_dataset("kinetics", "700", data_dir=f"{out}/700", split="validation", decode=False)
by_class = {clip["label"]: clip["video"] for clip in clips}
eight = Frames(Segments(8), Scale((128, 170)))
rows = [eight.decode(video) for video in by_class.values()]
write_png(f"{out}/contact_sheet.png", contact_sheet(rows))
[clips.features["label"].int2str(label) for label in by_class]""",
    """\
# Loading does not decode. Reading finds the clip that the download cut short.
from kinetics_tools.media import ClipError
for clip in load_dataset("kinetics", "700", data_dir=f"{out}/700", split="train", decode=False):
    try:
        frames = Frames(Segments(1)).decode(clip["video"])
    except ClipError as error:
        print(error)""",
    """\
# Streaming starts at once, here out of tar archives that stay packed.
stream = load_dataset(
    "kinetics", "400", data_dir=f"{out}/400", split="train", streaming=True, decode=False
)
sixteen = Frames(Segments(16), layout="CTHW")
for clip in stream.take(3):
    frames = sixteen.decode(clip["video"])
    print(clip["youtube_id"], stream.features["label"].int2str(clip["label"]), frames.shape)""",
    """\
# For training: Parquet files, shuffled, and encoded so that sampling decodes little.
from kinetics_tools import prepare
report = prepare("700", f"{out}/700", f"{out}/prepared", splits=["validation"])
print(*report.lines(), sep="\\n")""",
    """\
# Published: as a rule to the Hub, "user/kinetics", here into a folder, which gets the same files.
from kinetics_tools import push
sent = push(f"{out}/prepared", f"file://{Path(out).resolve()}/published/kinetics")
print(*sent.lines(), sep="\\n")""",
    """\
# There they load with plain datasets: here in a fresh Python that knows nothing of us.
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
gc.collect()  # or threads of Arrow may abort Python at its end: huggingface/datasets#7566
'''
done = subprocess.run([sys.executable, "-c", code], cwd=f"{out}/published", stdout=subprocess.PIPE, text=True)
print(done.stdout)""",
)


def run_demo(out: str | os.PathLike[str] = "demo") -> None:
    """Make the sample under `out` and walk through the main job on it, printing each line before it runs.

    Writes OUT/contact_sheet.png besides the sample, and turns off the progress bars of `datasets`. Raises
    what `make_sample` raises.
    """
    console = Console(soft_wrap=True, markup=False, highlight=False)
    make_sample(out)
    console.print(f"The sample is in {os.fspath(out)}. From here on, this is Python that you can copy.\n")
    disable_progress_bars()
    names: dict[str, Any] = {}
    for snippet in (f"out = {os.fspath(out)!r}", *_WALK):
        statements = ast.parse(snippet).body
        _show(snippet, statements, console)
        # A statement at a time and as at the prompt, so that the value of an expression is printed.
        for statement in statements:
            exec(compile(ast.Interactive([statement]), "<demo>", "single"), names)
        console.print()
    console.print(
        f"Look at {Path(out) / 'contact_sheet.png'}, and at the four layouts beside it.\n"
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
