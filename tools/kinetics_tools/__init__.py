"""Tools around the Kinetics dataset: download, verify, prepare, publish, sample and evaluate.

>>> from kinetics_tools import download, prepare, push, verify
>>> from kinetics_tools.sampling import Frames, RandomClip
"""

import logging
from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports
from kinetics_tools.text import escape_record

if TYPE_CHECKING:
    from kinetics_tools.annotations import LabelSpace, label_space
    from kinetics_tools.conversion import convert, export, export_merged
    from kinetics_tools.demo import make_sample, run_demo
    from kinetics_tools.downloading import download
    from kinetics_tools.errors import KineticsError
    from kinetics_tools.evaluation import evaluate
    from kinetics_tools.preparation import prepare
    from kinetics_tools.publication import push
    from kinetics_tools.verification import verify
    from kinetics_tools.viewing import write_report

__version__ = "0.1.0"

__all__ = [
    "KineticsError",
    "LabelSpace",
    "convert",
    "download",
    "evaluate",
    "export",
    "export_merged",
    "label_space",
    "make_sample",
    "prepare",
    "push",
    "run_demo",
    "verify",
    "write_report",
]

logging.getLogger("datasets.kinetics").addFilter(escape_record)

__getattr__ = lazy_exports(
    __name__,
    {
        "annotations": ["LabelSpace", "label_space"],
        "conversion": ["convert", "export", "export_merged"],
        "demo": ["make_sample", "run_demo"],
        "downloading": ["download"],
        "errors": ["KineticsError"],
        "evaluation": ["evaluate"],
        "preparation": ["prepare"],
        "publication": ["push"],
        "verification": ["verify"],
        "viewing": ["write_report"],
    },
)
