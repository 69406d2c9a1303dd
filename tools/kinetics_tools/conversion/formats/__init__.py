"""Formats of `convert`, a module each."""

from kinetics_tools.conversion.formats.base import Format
from kinetics_tools.conversion.formats.files import FilesFormat
from kinetics_tools.conversion.formats.videofolder import VideoFolderFormat
from kinetics_tools.conversion.formats.webdataset import WebDatasetFormat

__all__ = ["FORMATS", "Format"]

FORMATS: dict[str, type[Format]] = {
    "files": FilesFormat,
    "videofolder": VideoFolderFormat,
    "webdataset": WebDatasetFormat,
}
"""Formats by name."""
