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

_Ints = npt.NDArray[np.int64]
_MAX_FRAMES = 1 << 22
_MAX_PIXELS = 1 << 24  # FFmpeg's reading of larger pictures is refused
_MAX_TIMESCALE = (1 << 31) - 1  # of FFmpeg, which takes one above for corrupt
MAX_REORDERED = 16  # pictures that a decoder of any codec may hold back
_CODECS = (b"avc1", b"avc3", b"hvc1", b"hev1")
_DESCRIPTION_BYTES = 86  # of a sample entry of video, before the boxes in it
_IGNORED = {b"pasp", b"btrt"}  # aspect ratio of pixels, which count as square; bit rate
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
    keys: _Ints  # positions of key frames, ascending
    timescale: int  # units per second
    config: DecoderConfig | None  # None if the file states more, such as a rotation, or packets contain parameters


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
        table = None if moov is None else _table(moov, min(len(content), _MAX_FRAMES))
    except (ValueError, IndexError, KeyError, ArithmeticError):
        return None
    if table is None or not len(table.sizes) or table.offsets.min() < 0:
        return None
    if (table.offsets + table.sizes).max() > len(content):
        return None
    if table.config and any(_has_parameters(content, table, key) for key in table.keys.tolist()):
        table = replace(table, config=None)
    return table


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


def may_skip_samples(moov: bytes) -> bool:
    """Return True if the moov box of an mp4 may list samples that are not shown, in any track.

    That is, if some have no bytes, or times so far from the others that an edit list may hide them.
    """
    try:
        return any(_has_empty_samples(moov, place) for place in _places(moov, b"stsz")) or any(
            _has_far_times(moov, place) for place in _places(moov, b"ctts")
        )
    except ValueError:  # a table that does not fit
        return True


def _places(moov: bytes, kind: bytes) -> Iterator[int]:
    """Yield the positions after each of these words, nearly always boxes: a search takes less time than a walk."""
    place = moov.find(kind)
    while place >= 0:
        yield place + 4
        place = moov.find(kind, place + 4)


def _has_empty_samples(moov: bytes, place: int) -> bool:
    # In the order of bytes of the machine, which is faster: zero is zero in any.
    return not _number(moov, place + 4) and not np.frombuffer(moov, "u4", _number(moov, place + 8), place + 12).all()


def _has_far_times(moov: bytes, place: int) -> bool:
    duration = _number(moov, moov.rfind(b"stts", 0, place) + 16)  # of the first samples
    shown = np.frombuffer(moov, ">i4", 2 * _number(moov, place + 4), place + 8)[1::2].astype(np.int32)
    return len(shown) > 0 and int(shown.max()) - int(shown.min()) > MAX_REORDERED * duration


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of the boxes in a box."""
    # Not by `walk_boxes`, with which a table takes 1.4 times as long: there are many of these.
    position = 0
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if length < 8 or position + length > len(data):
            raise ValueError("a box that does not fit")
        yield data[position + 4 : position + 8], data[position + 8 : position + length]
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
    movie_timescale = 0
    for kind, content in _boxes(moov):
        if kind == b"mvhd":
            movie_timescale = _number(content, 20 if content[0] else 12)
        elif kind == b"mvex":
            return None
        elif kind == b"trak":
            track = dict(_boxes(content))
            media = dict(_boxes(track[b"mdia"]))
            if media[b"hdlr"][8:12] == b"vide":
                edits = dict(_boxes(track[b"edts"])).get(b"elst") if b"edts" in track else None
                header = media[b"mdhd"]
                timescale = _number(header, 20 if header[0] else 12)
                information = dict(_boxes(media[b"minf"]))
                if not _is_self_contained(information[b"dinf"]):
                    return None
                samples = dict(_boxes(information[b"stbl"]))
                if not 0 < timescale <= _MAX_TIMESCALE or _number(samples[b"stsz"], 8) > max_frames:
                    return None
                table = _samples(samples, edits, timescale, movie_timescale)
                matrix = track[b"tkhd"][52 if track[b"tkhd"][0] else 40 :][: len(_IDENTITY_MATRIX)]
                return table if table is None or matrix == _IDENTITY_MATRIX else replace(table, config=None)
    return None


def _is_self_contained(information: bytes) -> bool:
    """Return True if the only data reference of a track is the file itself."""
    references = dict(_boxes(information))[b"dref"]
    return len(references) == 20 and references[7] == 1 and references[19] & 1 == 1


def _samples(boxes: dict[bytes, bytes], edits: bytes | None, timescale: int, movie_timescale: int) -> FrameTable | None:
    if _number(boxes[b"stsd"], 4) != 1 or boxes[b"stsd"][12:16] not in _CODECS:
        return None
    same, count = _number(boxes[b"stsz"], 4), _number(boxes[b"stsz"], 8)
    sizes = np.full(count, same, np.int64) if same else _numbers(boxes[b"stsz"], 12, count)
    durations = _repeated(boxes[b"stts"], count)
    times = np.cumsum(durations) - durations
    if b"ctts" in boxes:
        times = times + _repeated(boxes[b"ctts"], count).astype(np.int32)
    if edits is not None:
        start = _only_edit(edits, times, timescale, movie_timescale)
        if start is None:
            return None
        times = times - start
    keys = np.arange(count)
    if b"stss" in boxes:
        keys = _numbers(boxes[b"stss"], 8, _number(boxes[b"stss"], 4)) - 1
        if (np.diff(keys) <= 0).any() or (len(keys) and not 0 <= keys[0] <= keys[-1] < count):
            return None
    return FrameTable(_offsets(boxes, sizes), sizes, times, durations, keys, timescale, _config(boxes[b"stsd"]))


def _config(descriptions: bytes) -> DecoderConfig | None:
    """Return the configuration in the only sample description; None if anything else there affects the pictures."""
    width, height = struct.unpack_from(">HH", descriptions, 8 + 32)
    if descriptions[12:16] != b"avc1" or width * height > _MAX_PIXELS:
        return None
    details = dict(_boxes(descriptions[8 + _DESCRIPTION_BYTES :]))
    parameters, colours = details.pop(b"avcC", b""), details.pop(b"colr", b"")
    if details.keys() - _IGNORED or len(parameters) < 7 or parameters[4] & 3 != _LENGTH_BYTES - 1:
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


def _offsets(boxes: dict[bytes, bytes], sizes: _Ints) -> _Ints:
    """Offset of each frame: frames are contiguous in chunks, and runs of chunks hold the same number of frames."""
    wide = b"stco" not in boxes
    table = boxes[b"co64" if wide else b"stco"]
    chunks = _numbers(table, 8, _number(table, 4), 8 if wide else 4)
    runs = _numbers(boxes[b"stsc"], 8, 3 * _number(boxes[b"stsc"], 4)).reshape(-1, 3)
    lengths = np.diff(np.append(runs[:, 0], len(chunks) + 1))
    per_chunk = np.repeat(runs[:, 1], lengths)
    if len(per_chunk) != len(chunks) or per_chunk.sum() != len(sizes):
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
