"""Draw one frame each of twelve clips of the demo, with their labels: docs/images/contact-sheet.webp.

    kinetics demo --out demo
    python docs/scripts/contact_sheet.py demo

Needs Pillow, which the extra `docs` installs.
"""

import sys
from collections import defaultdict
from pathlib import Path

from datasets import load_dataset
from PIL import Image, ImageDraw, ImageFont

import kinetics  # noqa: F401 - registers the dataset
from kinetics_tools.sampling import Frames, Scale, Segments

OUT = Path(__file__).parents[1] / "images" / "contact-sheet.webp"

_COLUMNS, _PER_CLASS = 4, 2
_WIDTH, _HEIGHT, _GAP, _CAPTION, _RADIUS = 272, 205, 16, 42, 8
_SCALE = 4  # of the corners' mask, for smooth edges


def main(demo: Path = Path("demo"), out: Path = OUT) -> None:
    """Draw the validation clips of 700 in `demo`."""
    clips = load_dataset("kinetics", "700", data_dir=str(demo / "700"), split="validation", decode=False)
    by_class = defaultdict(list)
    for clip in clips.sort("youtube_id"):
        by_class[clips.features["label"].int2str(clip["label"])].append(clip)
    middle = Frames(Segments(1), Scale((_HEIGHT, _WIDTH)))
    # One clip of each class, then the next ones, so that neighbours differ.
    chosen = [(label, by_class[label][number]) for number in range(_PER_CLASS) for label in sorted(by_class)]

    rows = -(-len(chosen) // _COLUMNS)
    size = (_GAP + _COLUMNS * (_WIDTH + _GAP), _GAP + rows * (_HEIGHT + _CAPTION + _GAP))
    sheet = Image.new("RGB", size, "#ffffff")
    for number, (label, clip) in enumerate(chosen):
        row, column = divmod(number, _COLUMNS)
        place = (_GAP + column * (_WIDTH + _GAP), _GAP + row * (_HEIGHT + _CAPTION + _GAP))
        picture = Image.fromarray(middle.decode(clip["video"])[0])
        sheet.paste(picture, place, _rounded(picture.size))
        _write_caption(ImageDraw.Draw(sheet), place, label, clip)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, quality=82, method=6)


def _rounded(size: tuple[int, int]) -> Image.Image:
    large = Image.new("L", (size[0] * _SCALE, size[1] * _SCALE))
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), _RADIUS * _SCALE, fill=255)
    return large.resize(size, Image.Resampling.LANCZOS)


def _write_caption(draw: ImageDraw.ImageDraw, place: tuple[int, int], label: str, clip: dict) -> None:
    left, top = place[0] + 2, place[1] + _HEIGHT + 5
    draw.text((left, top), label, "#1f2933", ImageFont.load_default(17))
    segment = f"{clip['youtube_id']}  {clip['time_start']:g}-{clip['time_end']:g} s"
    draw.text((left, top + 21), segment, "#5b6775", ImageFont.load_default(13))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
