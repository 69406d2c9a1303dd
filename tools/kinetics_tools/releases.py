"""Facts about the releases of Kinetics: names, splits, class names, features, papers and public annotations."""

import csv
import functools
import re
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinetics_tools.text import check_choice, is_count, unknown_choice

if TYPE_CHECKING:
    import datasets  # Functions import it: it takes a second, and `kinetics classes` does without.

#: Version of the Arrow cache of the builder; bump it to invalidate caches.
CACHE_VERSION = "1.0.0"

RELEASES = ("400", "600", "700", "700-2020")
"""Names of the releases."""
SPLITS = ("train", "validation", "test")
"""Names of the splits."""
# Every spelling of a split that a published annotation file or a directory name uses.
SPLIT_SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "validate": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}

_CVDF = "https://s3.amazonaws.com"
_DEEPMIND = "https://storage.googleapis.com"
#: Hosts of all public files, which a mirror replaces.
PUBLIC_HOSTS = (_CVDF, _DEEPMIND)
# The public mirror serves 700 from the archives of 700-2020.
_MIRROR_FOLDERS = {"400": "400", "600": "600", "700": "700_2020", "700-2020": "700_2020"}
#: 1,392 clips that replace unreadable ones of the 400 training set, in an archive of their own.
REPLACEMENTS_URL = _CVDF + "/kinetics/400/replacement_for_corrupted_k400.tgz"
# The default edition of the annotations. The mirror's own CSV names what its archives hold, but for 600 it names
# half of them (https://github.com/cvdfoundation/kinetics-dataset/issues/33), and for 700 there is none.
DEFAULT_ANNOTATIONS = {
    "400": _CVDF + "/kinetics/400/annotations",
    "600": _DEEPMIND + "/deepmind-media/Datasets/kinetics600.tar.gz",
    "700": _DEEPMIND + "/deepmind-media/Datasets/kinetics700.tar.gz",
    "700-2020": _CVDF + "/kinetics/700_2020/annotations",
}
# Rows of the default editions, where two sources agree: for 400 the counts that the mirror's own scripts and
# its users give, for 600 DeepMind's file.
ANNOTATED_CLIPS = {
    "400": {"train": 246_534, "validation": 19_906, "test": 39_805},
    "600": {"validation": 28_267},
    "700": {},
    "700-2020": {},
}

HOMEPAGE = "https://deepmind.com/research/open-source/kinetics"
LICENSE = "Annotations: CC BY 4.0. The videos belong to those who uploaded them."
PAPERS = {
    "400": "https://arxiv.org/abs/1705.06950",
    "600": "https://arxiv.org/abs/1808.01340",
    "700": "https://arxiv.org/abs/1907.06987",
    "700-2020": "https://arxiv.org/abs/2010.10864",
}
CITATIONS = {
    "400": """@article{kay2017kinetics,
  title={The Kinetics Human Action Video Dataset},
  author={Kay, Will and Carreira, Jo{\\~a}o and Simonyan, Karen and Zhang, Brian and Hillier, Chloe and
    Vijayanarasimhan, Sudheendra and Viola, Fabio and Green, Tim and Back, Trevor and Natsev, Paul and
    Suleyman, Mustafa and Zisserman, Andrew},
  journal={arXiv preprint arXiv:1705.06950},
  year={2017}
}""",
    "600": """@article{carreira2018kinetics600,
  title={A Short Note about Kinetics-600},
  author={Carreira, Jo{\\~a}o and Noland, Eric and Banki-Horvath, Andras and Hillier, Chloe and Zisserman, Andrew},
  journal={arXiv preprint arXiv:1808.01340},
  year={2018}
}""",
    "700": """@article{carreira2019kinetics700,
  title={A Short Note on the Kinetics-700 Human Action Dataset},
  author={Carreira, Jo{\\~a}o and Noland, Eric and Hillier, Chloe and Zisserman, Andrew},
  journal={arXiv preprint arXiv:1907.06987},
  year={2019}
}""",
    "700-2020": """@article{smaira2020kinetics700,
  title={A Short Note on the Kinetics-700-2020 Human Action Dataset},
  author={Smaira, Lucas and Carreira, Jo{\\~a}o and Noland, Eric and Clancy, Ellen and Wu, Amy and Zisserman, Andrew},
  journal={arXiv preprint arXiv:2010.10864},
  year={2020}
}""",
}


def _read_labels() -> dict[str, tuple[str, ...]]:
    with open(Path(__file__).with_name("annotations") / "classes.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)  # half the time of a DictReader, in each `import kinetics`
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    labels = {release: tuple(compress(columns["class"], map(int, columns[release]))) for release in RELEASES[:3]}
    return {**labels, "700-2020": labels["700"]}


class _Labels(dict[str, tuple[str, ...]]):
    """Class names by release, whose KeyError suggests the nearest release."""

    def __missing__(self, release: Any) -> tuple[str, ...]:
        if is_count(release):
            return self[str(release)]
        raise KeyError(unknown_choice(release, RELEASES, "release"))


LABELS = _Labels(_read_labels())
"""Class names by release. The position of a name is its label: byte order, as in MMAction2's label maps."""


def check_release(release: Any) -> str:
    """Return the name of a release, which may be given as a number, such as 400.

    Raises:
        ValueError: unknown release. The message suggests the nearest one.
    """
    return str(check_choice(str(release) if is_count(release) else release, RELEASES, "release"))


def source_first(source: Any, release: Any) -> tuple[Any, Any]:
    """Return a source and a release in this order. Functions whose release is optional accept both orders."""
    is_turned = release is not None and str(source) in RELEASES and str(release) not in RELEASES
    return (release, source) if is_turned else (source, release)


def find_split(name: str) -> str:
    """Return the split, one of `SPLITS`, that `name` spells, such as "validation" for "val".

    Raises:
        ValueError: unknown spelling.
    """
    return SPLIT_SPELLINGS.get(name) or str(check_choice(name, SPLITS, "split"))


def resolve_split(split: Any) -> tuple[Any, tuple[str, ...] | None]:
    """Return the `split` of `load_dataset` in the names of `SPLITS`, and which of them it reads; None for all.

    Args:
        split: a name in any spelling, an expression of them such as "train+val[:10%]", a `ReadInstruction`, a list,
            tuple or dict of these, or None.

    Raises:
        ValueError: an unknown split, or an expression that `datasets` does not read.
    """
    import datasets

    if split is None or str(split) == "all":
        return split, None
    if isinstance(split, dict | list | tuple):
        keys, values = (split.keys(), split.values()) if isinstance(split, dict) else (range(len(split)), split)
        resolved, read = zip(*map(resolve_split, values), strict=True)
        names = None if None in read else tuple(dict.fromkeys(name for of_one in read for name in of_one))
        return dict(zip(keys, resolved, strict=True)) if isinstance(split, dict) else type(split)(resolved), names
    terms = [re.fullmatch(r"(\w*)(.*)", term.strip(), re.DOTALL) for term in str(split).split("+")]
    parts = [(find_split(term[1]), term[2]) for term in terms if term is not None]
    expression = "+".join(name + rest for name, rest in parts)
    datasets.ReadInstruction.from_spec(expression)  # or it would be refused after everything is built
    return expression, tuple(dict.fromkeys(name for name, _ in parts))


def split_spellings(split: str) -> list[str]:
    """Return the words for a split, such as "val", "validate" and "validation"."""
    return [name for name, meaning in SPLIT_SPELLINGS.items() if meaning == split]


@functools.cache
def directory_names(split: str) -> tuple[str, ...]:
    """Return the names that the directory of a split may have, such as "val", "videos_val" and "val_256"."""
    # Of MMAction2 ("videos_val"), and of the copies with a short side of 256 pixels.
    return tuple(form.format(word) for form in ("{}", "videos_{}", "{}_256") for word in split_spellings(split))


def archive_list_url(release: str, split: str) -> str:
    """Return the URL of the mirror's list of the archives of a split."""
    folder = _MIRROR_FOLDERS[check_release(release)]
    short = {"train": "train", "validation": "val", "test": "test"}[check_choice(split, SPLITS, "split")]
    return f"{_CVDF}/kinetics/{folder}/{short}/k{folder}_{short}_path.txt"


def clip_features(release: str) -> "datasets.Features":
    """Return the columns of an example. `label` is -1 where the release gives none, times are in seconds."""
    import datasets

    return datasets.Features(
        {
            "video": datasets.Video(),
            "label": datasets.ClassLabel(names=list(LABELS[release])),
            "youtube_id": datasets.Value("string"),
            "time_start": datasets.Value("float32"),
            "time_end": datasets.Value("float32"),
        }
    )


def dataset_info(release: str) -> "datasets.DatasetInfo":
    """Return the `DatasetInfo` of a release: description, features, licence and citation, without splits."""
    import datasets

    return datasets.DatasetInfo(
        description=f"Kinetics-{release}: clips of about 10 s of {len(LABELS[release])} human actions.",
        features=clip_features(release),
        homepage=HOMEPAGE,
        license=LICENSE,
        citation=CITATIONS[release],
    )
