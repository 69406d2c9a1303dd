"""Frames of one clip as JPEG files.

Worker processes import this module and little else.
"""

import os
from pathlib import Path

from kinetics_tools.errors import ClipError, clip_reason
from kinetics_tools.io import new_directory
from kinetics_tools.media import write_jpegs


def frames_of(clip: tuple[bytes, str]) -> int | str:
    """Write the frames of a clip, given its bytes and a directory; return their number, or why there are none."""
    content, directory = clip
    if os.path.isdir(directory):
        return len(os.listdir(directory))
    try:
        with new_directory(Path(directory)) as folder:
            return write_jpegs(content, folder)
    except ClipError as error:
        return clip_reason(str(error), f"a clip of {len(content)} bytes")
