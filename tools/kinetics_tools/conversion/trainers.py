"""Formats of the lists of clips that trainers read."""

from dataclasses import dataclass

SPLIT_WORDS = {"train": "train", "validation": "val", "test": "test"}
"""Split -> its name in the lists."""


@dataclass(frozen=True)
class Trainer:
    """Format of the lists of one trainer: a line per clip, path and label.

    Attributes:
        name: name of the trainer.
        separator: character between path and label.
        refused: characters in a path that its parser takes for something else.
        file_name: name of a list, with `{release}` and `{split}`.
        merged_name: name of a list of the merged classes.
        opengvlab: True if its published models use the label order of OpenGVLab.
        merged_space: label space of its merged lists.
        tests_validation: True if its test list is that of validation.
    """

    name: str
    separator: str = " "
    refused: str = ' "'
    file_name: str = "{split}.csv"
    merged_name: str = "{split}.csv"
    opengvlab: bool = False
    merged_space: str = "opengvlab-710"
    tests_validation: bool = False

    def line(self, path: str, label: int) -> str:
        """Return the line of a clip, with its end."""
        return f"{path}{self.separator}{label}\n"


# Line by line, as the readers of the trainers split them:
# slowfast, mmaction2: line.split(" "); pytorchvideo: line.rsplit(" ", 1); dali: a stream of words;
# videomae, vjepa, umt and internvideo: pandas with its separator, to which '"' begins a quoted field.
_ALL = (
    Trainer("slowfast", refused=" "),
    Trainer("pytorchvideo", refused=""),
    Trainer(
        "mmaction2",
        refused=" ",
        file_name="kinetics{release}_{split}_list_videos.txt",
        merged_name="k{release}_{split}_list_videos.txt",
        merged_space="mmaction2-710",
    ),
    Trainer("videomae", tests_validation=True),
    Trainer("umt", separator=",", refused=',"', opengvlab=True, tests_validation=True),
    Trainer("internvideo", separator=",", refused=',"', opengvlab=True, tests_validation=True),
    Trainer("vjepa"),
    Trainer("dali", refused=" \t", file_name="{split}.txt", merged_name="{split}.txt"),
)
TRAINERS = {trainer.name: trainer for trainer in _ALL}
"""Trainers by name."""
