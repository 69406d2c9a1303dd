"""Names of class directories, checked against the classes of the release that is asked for."""

from collections.abc import Iterable

from datasets.utils.logging import get_logger

from kinetics_tools.annotations.labels import label_index, misfit, normalize_label
from kinetics_tools.annotations.selection import Selection
from kinetics_tools.releases import LABELS, SPLITS
from kinetics_tools.sources.tree import class_directories
from kinetics_tools.text import few, nearest

_logger = get_logger("datasets.kinetics")


def check_class_folders(data_dir: str, selection: Selection, paths: Iterable[str] | None = None) -> None:
    """Check the class directories of the selected splits, or those among `paths`, which are those of `tree_state`.

    See `check_class_names`.
    """
    check_class_names(class_directories(data_dir, selection.splits or SPLITS, paths), selection)


def check_class_names(folders: Iterable[str], selection: Selection) -> None:
    """Check class directories, given as "train/abseiling", and log those that are not classes of the release.

    Nothing is logged if none of them is a class, because a tree with annotations may have directories of any name.

    Raises:
        ValueError: they fit another release better, and `selection.force_release` is False.
    """
    release, known = selection.release, label_index(selection.release)
    names = {folder: folder.rpartition("/")[2] for folder in sorted(folders)}
    reason = misfit(names.values(), release, "class directories")
    if reason and not selection.force_release:
        raise ValueError(reason)
    odd = [folder for folder, name in names.items() if normalize_label(name) not in known]
    if 0 < len(odd) < len(names):
        _logger.warning(
            f"kinetics {release}: directories that are not named after a class: {len(odd):,} "
            f"({few(with_nearest(folder, release) for folder in odd)})"
        )


def with_nearest(folder: str, release: str) -> str:
    """Return the path of a directory with the class that its name is most like, for messages."""
    near = nearest(folder.rpartition("/")[2].replace("_", " "), LABELS[release])
    return f"{folder}; nearest class: {near}" if near else folder
