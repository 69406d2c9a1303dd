"""Reader of predictions in JSON, CSV and Parquet."""

import os
from collections import Counter
from pathlib import Path

from kinetics_tools.annotations import LabelSpace
from kinetics_tools.evaluation.fields import LabelIndices
from kinetics_tools.evaluation.submission import read_submission
from kinetics_tools.evaluation.tables import read_csv, read_parquet
from kinetics_tools.text import printable

_MAX_MESSAGE = 500  # characters
_READERS = {".json": read_submission, ".csv": read_csv, ".parquet": read_parquet}


def check_predictions(path: str | os.PathLike[str]) -> None:
    """Raise ValueError or FileNotFoundError if there are no predictions at `path`, before any other work."""
    if Path(path).suffix.lower() not in _READERS:
        raise ValueError(f"{os.fspath(path)}: predictions must be a .json, .csv or .parquet file")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {os.fspath(path)}; pass the path of the predictions")


def read_predictions(
    path: str | os.PathLike[str], release: str, space: LabelSpace | None = None
) -> tuple[dict[str, list[int]], list[str]]:
    """Return the five best classes, best first, by clip or video, and "name: reason" of invalid predictions.

    The format follows from the suffix of the file:

    - .json: a submission to the ActivityNet challenge, {"results": {video id: [{"label", "score"}, ...]}}
    - .csv: a line for each score, with the columns youtube_id, label, score; or for each clip, with youtube_id and one
      column for each class, named by its label or index
    - .parquet: as CSV, or with a column `scores`, a list with a number for each class

    CSV and Parquet with time_start and time_end are for clips, else for videos. Labels are names in any spelling, or
    indices in `space`, by default that of the release; scores of classes that the release does not have are skipped.
    Of equal scores the lower index comes first. Repeated predictions are invalid. Raises ValueError for a file in
    another format, FileNotFoundError for none.
    """
    check_predictions(path)
    best: dict[str, list[int]] = {}
    bad: list[str] = []
    times: Counter[str] = Counter()
    try:
        for key, found in _READERS[Path(path).suffix.lower()](Path(path), LabelIndices(release, space)):
            times[key] += 1
            if isinstance(found, str):
                bad.append(printable(f"{key}: {found}", _MAX_MESSAGE))
            elif found:
                best[key] = found
    except ValueError as error:  # with values of the file, which may have a million characters
        raise ValueError(printable(str(error), len(os.fspath(path)) + _MAX_MESSAGE)) from None
    for key in [key for key, count in times.items() if count > 1]:
        best.pop(key, None)
        often = "twice" if times[key] == 2 else f"{times[key]} times"
        bad.append(printable(f"{key}: predicted {often}", _MAX_MESSAGE))
    return best, bad
