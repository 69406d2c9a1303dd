"""Formats of `convert`, a module each."""

from kinetics_tools.conversion.formats.base import Format
from kinetics_tools.conversion.formats.fiftyone import FiftyOneFormat
from kinetics_tools.conversion.formats.files import FilesFormat
from kinetics_tools.conversion.formats.frames import FramesFormat
from kinetics_tools.conversion.formats.lance import LanceFormat
from kinetics_tools.conversion.formats.mds import MdsFormat
from kinetics_tools.conversion.formats.videofolder import VideoFolderFormat
from kinetics_tools.conversion.formats.webdataset import WebDatasetFormat

__all__ = ["FORMATS", "Format"]

FORMATS: dict[str, type[Format]] = {
    "fiftyone": FiftyOneFormat,
    "files": FilesFormat,
    "frames": FramesFormat,
    "lance": LanceFormat,
    "mds": MdsFormat,
    "videofolder": VideoFolderFormat,
    "webdataset": WebDatasetFormat,
}
"""Formats by name."""
