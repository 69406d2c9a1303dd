"""Video files in and out: the only package that imports `av`.

Pictures are uint8 RGB arrays with the axes (H, W, C), clips are (T, H, W, C), sound is mono float32 in
[-1, 1]. PyAV's wheels include FFmpeg, so no `ffmpeg` program is needed.
"""

from kinetics_tools.errors import ClipError, EmptySegmentError
from kinetics_tools.media.audio import Sound, mono_flac, read_audio
from kinetics_tools.media.cut import Cut, cut
from kinetics_tools.media.encode import Encoding, encode
from kinetics_tools.media.jpeg import write_jpegs
from kinetics_tools.media.open import VideoSource
from kinetics_tools.media.pictures import Pixels, contact_sheet, write_png
from kinetics_tools.media.probe import ClipInfo, check_frames, probe
from kinetics_tools.media.reader import VideoReader, decode
from kinetics_tools.media.thumbnails import comment_of, jpeg, middle_tile, thumbnail, webp, with_comment
from kinetics_tools.media.transforms import Layout, View
from kinetics_tools.media.write import write_clip

__all__ = [
    "ClipError",
    "ClipInfo",
    "Cut",
    "EmptySegmentError",
    "Encoding",
    "Layout",
    "Pixels",
    "Sound",
    "VideoReader",
    "VideoSource",
    "View",
    "check_frames",
    "comment_of",
    "contact_sheet",
    "cut",
    "decode",
    "encode",
    "jpeg",
    "middle_tile",
    "mono_flac",
    "probe",
    "read_audio",
    "thumbnail",
    "webp",
    "with_comment",
    "write_clip",
    "write_jpegs",
    "write_png",
]
