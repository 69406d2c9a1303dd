"""Frame table of an mp4: where each frame lies and when it is shown, as FFmpeg's demuxer gives them.

FFmpeg does the same packet by packet, which takes most of a millisecond per clip. Unusual files (fragments, several
edits, an edit that hides frames, several sample descriptions, references to other files, encryption) are left to it.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

_BOX = struct.Struct(">I4s")
_Ints = npt.NDArray[np.int64]
_MAX_FRAMES = 1 << 22
_MAX_PIXELS = 1 << 24  # FFmpeg's reading of larger pictures is refused
_MAX_TIMESCALE = (1 << 31) - 1  # of FFmpeg, which takes one above for corrupt
_CODECS = {b"avc1": "h264", b"avc3": "h264", b"hvc1": "hevc", b"hev1": "hevc"}
_PARAMETERS = {"h264": b"avcC", "hevc": b"hvcC"}  # the box with the parameters of a codec
# Handlers and sample entries of tracks beside the video that FFmpeg opens by their headers alone.
_OTHER_TRACKS = {b"vide": tuple(_CODECS), b"soun": (b"mp4a", b"Opus"), b"sbtl": (b"tx3g",)}
_DESCRIPTION_BYTES = 86  # of a sample entry of video, before the boxes in it
# The boxes in it that are read or ignored: aspect ratio of pixels, which count as square; bit rate.
_KNOWN_DETAILS = {b"avcC", b"colr", b"pasp", b"btrt"}
_PARENTS = (b"mdia", b"minf", b"dinf", b"stbl", b"edts")
_IDENTITY_MATRIX = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_LENGTH_BYTES = 4  # of the length before each unit of H.264
_SLICES, _PARAMETER_SETS = (1, 2, 5), (7, 8)  # types of units


@dataclass(frozen=True)
class DecoderConfig:
    """Configuration that an H.264 decoder is opened with."""

    parameters: bytes  # the AVCDecoderConfigurationRecord (avcC) of the file
    # Primaries, transfer and matrix by their numbers in ISO/IEC 23091-2, and 1 for limited or 2 for full range; None
    # if the file leaves it to the pictures.
    colours: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class FrameTable:
    """Frames of the first video track; arrays are (frames,) int64 in the order of storage."""

    offsets: _Ints  # in the file, in bytes
    sizes: _Ints  # in bytes
    times: _Ints  # when frames are shown, in units of 1 / timescale s, as FFmpeg counts them
    durations: _Ints  # stated, in the same units
    duration: int  # sum of them
    keys: _Ints  # positions of key frames, ascending
    timescale: int  # units per second
    codec: str  # FFmpeg's name
    parameters: bytes  # of the decoder, b"" if the file has none
    width: int  # stated, in pixels, before rotation
    height: int
    has_sound: bool
    has_known_tracks: bool  # if all tracks are of usual kinds
    config: DecoderConfig | None  # None if the file states more, such as a rotation, or packets contain parameters

    @property
    def seconds(self) -> float:
        """Stated duration of all frames."""
        return self.duration / self.timescale

    @property
    def fps(self) -> float:
        """Stated mean rate."""
        return self.timescale * len(self.sizes) / self.duration

    def packet(self, content: bytes, position: int) -> bytes:
        """Return the bytes of a packet."""
        start = int(self.offsets[position])
        return content[start : start + int(self.sizes[position])]


class PacketsOfTable(Sequence[Any]):
    """Packets of a plain mp4 in the order of storage, made when they are indexed."""

    def __init__(self, table: FrameTable, content: bytes) -> None:
        self.table, self._content = table, memoryview(content)
        self._time_base = Fraction(1, table.timescale)
        columns = (table.offsets, table.sizes, table.times, table.durations)
        self._rows = list(zip(*(column.tolist() for column in columns), strict=True))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: Any) -> Any:
        offset, size, time, duration = self._rows[position]
        data: Any = self._content[offset : offset + size]
        packet: Any = av.Packet(data)
        packet.pts, packet.duration, packet.time_base = time, duration, self._time_base
        return packet


def frame_table(content: bytes) -> FrameTable | None:
    """Return the frame table of a plain mp4; None for any other file, and for a corrupt one."""
    if content[4:8] != b"ftyp":
        return None
    try:
        moov = _movie(content)
    except ValueError:
        return None
    table = None if moov is None else movie_table(moov, len(content))
    if table and table.config and any(_has_parameters(content, table, key) for key in table.keys.tolist()):
        table = replace(table, config=None)
    return table


def movie_table(moov: bytes, size: int) -> FrameTable | None:
    """Return the frame table in the only moov box of a file of `size` bytes; None if it is unusual or corrupt."""
    try:
        table = _table(moov, min(size, _MAX_FRAMES))
    except (ValueError, IndexError, KeyError, ArithmeticError, struct.error):
        return None
    if table is None or not len(table.sizes) or table.offsets.min() < 0:
        return None
    return table if (table.offsets + table.sizes).max() <= size else None


def walk_boxes(header_at: Callable[[int], bytes], size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start of content, end) of the outermost boxes in `size` bytes; ValueError for an invalid one.

    `header_at` returns the 16 bytes at a position. The last box may end beyond `size`.
    """
    position = 0
    while position + 8 <= size:
        header = header_at(position)
        length, header_size = int.from_bytes(header[:4], "big"), 8
        if length == 1:  # the length follows, in 64 bits
            length, header_size = int.from_bytes(header[8:], "big"), 16
        elif length == 0:  # up to the end of the file
            length = size - position
        if length < header_size:
            raise ValueError("not a box")
        yield header[4:8], position + header_size, position + length
        position += length


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of the boxes in a box."""
    # Not by `walk_boxes`, with which a table takes 1.4 times as long: there are many of these.
    position = 0
    while position + 8 <= len(data):
        length, kind = _BOX.unpack_from(data, position)
        if length < 8 or position + length > len(data):
            raise ValueError("a box that does not fit")
        yield kind, data[position + 8 : position + length]
        position += length


def _movie(content: bytes) -> bytes | None:
    """Content of the only moov box; None for a file with fragments or several such boxes."""
    moov = None
    for kind, start, end in walk_boxes(lambda position: content[position : position + 16], len(content)):
        if kind == b"moof" or (kind == b"moov" and moov is not None):
            return None
        if kind == b"moov":
            moov = content[start:end]
    return moov


def _has_parameters(content: bytes, table: FrameTable, position: int) -> bool:
    """Return True if parameter sets precede the picture in a packet."""
    start = int(table.offsets[position])
    end = start + int(table.sizes[position])
    while start + _LENGTH_BYTES < end:
        kind = content[start + _LENGTH_BYTES] & 31
        if kind in _SLICES:
            return False
        if kind in _PARAMETER_SETS:
            return True
        start += _LENGTH_BYTES + _number(content, start, _LENGTH_BYTES)
    return False


def _table(moov: bytes, max_frames: int) -> FrameTable | None:
    movie_timescale, video, others = 0, None, []
    for kind, content in _boxes(moov):
        if kind == b"mvhd":
            movie_timescale = _number(content, 20 if content[0] else 12)
        elif kind == b"mvex":
            return None
        elif kind == b"trak":
            track = _track(content)
            if not _is_usual(track):
                return None
            if video is None and track[b"hdlr"][8:12] == b"vide":
                video = track
            elif video is None and not _is_known(track):  # FFmpeg may take it for the video
                return None
            else:
                others.append(track)
    if video is None or _number(video[b"stsz"], 8) > max_frames:
        return None
    return _samples(video, movie_timescale, others)


def _track(content: bytes) -> dict[bytes, bytes]:
    """Boxes of a track by type, with those in the boxes that only hold others."""
    found: dict[bytes, bytes] = {}
    unread = [content]
    for data in unread:
        for kind, inner in _boxes(data):
            if kind in _PARENTS:
                unread.append(inner)
            # In QuickTime a second handler, that of the data, lies deeper.
            elif found.setdefault(kind, inner) is not inner and kind != b"hdlr":
                raise ValueError("a repeated box")
    return found


def _is_usual(track: dict[bytes, bytes]) -> bool:
    """Return True if a track has one sample description, its samples lie in this file, and FFmpeg knows its version."""
    references, descriptions = track[b"dref"], track[b"stsd"]
    return (
        track[b"mdhd"][0] <= 1
        and (len(references), references[4:12], references[19] & 1) == (20, b"\0\0\0\1\0\0\0\x0c", 1)
        and descriptions[4:8] == b"\0\0\0\1"
        and _number(descriptions, 8) == len(descriptions) - 8
    )


def _samples(
    boxes: dict[bytes, bytes], movie_timescale: int, others: Sequence[dict[bytes, bytes]]
) -> FrameTable | None:
    """Return the table of a track beside others."""
    codec = _CODECS.get(boxes[b"stsd"][12:16])
    timescale = _number(boxes[b"mdhd"], 20 if boxes[b"mdhd"][0] else 12)
    if codec is None or not 0 < timescale <= _MAX_TIMESCALE:
        return None
    same, count = _number(boxes[b"stsz"], 4), _number(boxes[b"stsz"], 8)
    sizes = np.full(count, same, np.int64) if same else _numbers(boxes[b"stsz"], 12, count)
    durations = _repeated(boxes[b"stts"], count)
    times = np.cumsum(durations) - durations
    if b"ctts" in boxes:
        times = times + _repeated(boxes[b"ctts"], count).astype(np.int32)
    if b"elst" in boxes:
        start = _only_edit(boxes[b"elst"], times, timescale, movie_timescale)
        if start is None:
            return None
        times = times - start
    keys = np.arange(count)
    if b"stss" in boxes:
        keys = _numbers(boxes[b"stss"], 8, _number(boxes[b"stss"], 4)) - 1
        if (keys[1:] <= keys[:-1]).any() or (len(keys) and not 0 <= keys[0] <= keys[-1] < count):
            return None
    width, height = struct.unpack_from(">HH", boxes[b"stsd"], 8 + 32)
    details = dict(_boxes(boxes[b"stsd"][8 + _DESCRIPTION_BYTES :]))
    matrix = boxes[b"tkhd"][52 if boxes[b"tkhd"][0] else 40 :][: len(_IDENTITY_MATRIX)]
    is_usual = boxes[b"stsd"][12:16] == b"avc1" and width * height <= _MAX_PIXELS and matrix == _IDENTITY_MATRIX
    return FrameTable(
        offsets=_offsets(boxes, sizes),
        sizes=sizes,
        times=times,
        durations=durations,
        duration=int(durations.sum()),
        keys=keys,
        timescale=timescale,
        codec=codec,
        parameters=details.get(_PARAMETERS.get(codec, b""), b""),
        width=width,
        height=height,
        has_sound=any(track[b"hdlr"][8:12] == b"soun" for track in others),
        has_known_tracks=all(map(_is_known, others)),
        config=_config(details) if is_usual else None,
    )


def _config(details: dict[bytes, bytes]) -> DecoderConfig | None:
    """Return the configuration in a sample description; None if anything else there affects the pictures."""
    parameters, colours = details.get(b"avcC", b""), details.get(b"colr", b"")
    if details.keys() - _KNOWN_DETAILS or len(parameters) < 7 or parameters[4] & 3 != _LENGTH_BYTES - 1:
        return None
    if not colours:
        return DecoderConfig(parameters, None)
    if colours[:4] != b"nclx" or len(colours) != 11:
        return None
    primaries, transfer, matrix = struct.unpack(">3H", colours[4:10])
    return DecoderConfig(parameters, (primaries, transfer, matrix, 2 if colours[10] & 128 else 1))


def _only_edit(edits: bytes, times: _Ints, timescale: int, movie_timescale: int) -> int | None:
    """Time at which the presentation begins; None unless one edit shows all frames at their own speed."""
    if _number(edits, 4) != 1:
        return None
    wide = edits[0] == 1
    length = _number(edits, 8, 8 if wide else 4)
    start = int.from_bytes(edits[16:24] if wide else edits[12:16], "big", signed=True)
    rate = _number(edits, 24 if wide else 16)
    end = start + length * timescale / movie_timescale
    return start if rate == 1 << 16 and start == times.min() and times.max() < end else None


def _is_known(track: dict[bytes, bytes]) -> bool:
    """Return True if the headers of a track beside the video hold nothing that FFmpeg may refuse."""
    _samples_per_chunk(track, len(_chunks(track)))
    return track[b"stsd"][12:16] in _OTHER_TRACKS.get(track[b"hdlr"][8:12], ())


def _samples_per_chunk(boxes: dict[bytes, bytes], count: int) -> _Ints:
    """Return the number of samples in each of `count` chunks, from runs of chunks that hold the same number."""
    runs = _numbers(boxes[b"stsc"], 8, 3 * _number(boxes[b"stsc"], 4)).reshape(-1, 3)
    ends = np.full(len(runs), count + 1)
    ends[:-1] = runs[1:, 0]
    lengths = ends - runs[:, 0]
    if lengths.min() <= 0 or runs[0, 0] != 1 or (runs[:, 2] != 1).any():
        raise ValueError("chunks without order, or of another sample description")
    return np.repeat(runs[:, 1], lengths)


def _chunks(boxes: dict[bytes, bytes]) -> _Ints:
    """Offset of each chunk."""
    wide = b"stco" not in boxes
    table = boxes[b"co64" if wide else b"stco"]
    return _numbers(table, 8, _number(table, 4), 8 if wide else 4)


def _offsets(boxes: dict[bytes, bytes], sizes: _Ints) -> _Ints:
    """Offset of each frame: frames are contiguous in chunks."""
    chunks = _chunks(boxes)
    per_chunk = _samples_per_chunk(boxes, len(chunks))
    if per_chunk.sum() != len(sizes):
        raise ValueError("chunks and frames disagree")
    before = np.cumsum(sizes) - sizes
    firsts = before[np.cumsum(per_chunk) - per_chunk]
    return np.repeat(chunks - firsts, per_chunk) + before


def _repeated(table: bytes, count: int) -> _Ints:
    """Values of a run-length table of (count, value)."""
    pairs = _numbers(table, 8, 2 * _number(table, 4)).reshape(-1, 2)
    if pairs[:, 0].sum() != count:
        raise ValueError("a table and the number of frames disagree")
    return np.repeat(pairs[:, 1], pairs[:, 0])


def _number(data: bytes, position: int, width: int = 4) -> int:
    return int.from_bytes(data[position : position + width], "big")


def _numbers(data: bytes, position: int, count: int, width: int = 4) -> _Ints:
    numbers: Any = np.frombuffer(data, f">u{width}", count, position)
    return numbers.astype(np.int64)
