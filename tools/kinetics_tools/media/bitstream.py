"""Facts from the bits of coded pictures, which tell without a decoder what a decoder will show."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

REORDERING_CODECS = ("h264", "hevc")
"""Codecs that may store pictures in another order than they are shown in, and that `shows_every_packet` knows."""
_START = b"\0\0\1"
# Types of H.264's units.
_SLICES, _IDR_SLICE, _SEQUENCE_PARAMETERS = range(1, 6), 5, 7
_B_SLICES = (1, 6)
BYTES_TO_SLICE = 4096
# Types of HEVC's units: slices are below 32, and these are slices of a picture that no earlier one is needed for.
_HEVC_SLICES, _HEVC_IDR = range(32), (19, 20)
# Profiles of H.264 with the format of chroma in their sequence parameters.
_HIGH_PROFILES = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)


def shows_every_packet(codec: str, parameters: bytes | None, packet: Any, *, is_key: bool) -> bool:
    """Return True if a decoder that starts at `packet` shows one frame for it and for each packet after it.

    That holds for H.264 of progressive pictures and HEVC if they start with an IDR picture, and for VP8, VP9 and AV1
    from a key frame on (VP8: see `is_hidden_vp8`). For any other codec it is unknown, so False. MPEG-4 Part 2, for
    example, has pictures that are not coded and packets with two pictures.
    """
    if codec in ("vp8", "vp9", "av1"):
        return is_key
    data = bytes(packet)
    if codec == "hevc":
        kinds = (unit[0] >> 1 & 63 for unit in _units(parameters, data, 21))
        return next((kind for kind in kinds if kind in _HEVC_SLICES), None) in _HEVC_IDR
    if codec != "h264":
        return False
    sequences = list(_sequence_parameters(parameters or b""))
    for unit in _units(parameters, data, 4):
        kind = unit[0] & 31
        if kind == _SEQUENCE_PARAMETERS:
            sequences.append(unit)
        elif kind in _SLICES:
            return kind == _IDR_SLICE and bool(sequences) and all(_sequence(one)[0] for one in sequences)
    return False


def is_hidden_vp8(packet: Any) -> bool:
    """Return True if a packet of VP8 is a picture that is not shown: others only refer to it."""
    return not memoryview(packet)[0] & 16


def may_reorder(codec: str, parameters: bytes | None, packets: Iterable[Any]) -> bool:
    """Return True if a decoder may output pictures in another order than that of the packets."""
    if codec == "hevc":
        return True
    if codec != "h264" or all(_sequence(one)[1] for one in _sequence_parameters(parameters or b"")):
        return False
    # The parameters allow it, but only pictures that may refer to a later one are output earlier.
    for packet in packets:
        for unit in _units(parameters, bytes(memoryview(packet)[:BYTES_TO_SLICE]), 4):
            if unit[0] & 31 in _SLICES:
                bits = _Bits(unit[1:16])
                bits.unsigned()  # number of the first macroblock
                if bits.unsigned() in _B_SLICES:
                    return True
                break
    return False


def _units(parameters: bytes | None, data: bytes, width_at: int) -> Iterator[bytes]:
    """Yield the units in a packet; the position `width_at` of a record of parameters states the width of lengths."""
    if not parameters or parameters[0] != 1 or len(parameters) <= width_at:  # units after start codes
        yield from (unit for unit in data.split(_START)[1:] if unit)
        return
    width = (parameters[width_at] & 3) + 1
    position = 0
    while position + width < len(data):
        length = int.from_bytes(data[position : position + width], "big")
        position += width
        if length:
            yield data[position : position + length]
        position += length


def _sequence_parameters(parameters: bytes) -> Iterator[bytes]:
    if parameters[:1] != b"\1":
        yield from (unit for unit in parameters.split(_START)[1:] if unit and unit[0] & 31 == _SEQUENCE_PARAMETERS)
        return
    position = 6
    for _ in range(parameters[5] & 31 if len(parameters) > 5 else 0):
        length = int.from_bytes(parameters[position : position + 2], "big")
        yield parameters[position + 2 : position + 2 + length]
        position += 2 + length


class _Bits:
    """Reader of the bits of a unit; it reads zeros after the end."""

    def __init__(self, unit: bytes) -> None:
        data = unit.replace(b"\0\0\3", b"\0\0")
        self._number, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        shifted = self._number >> self._left if self._left >= 0 else self._number << -self._left
        return shifted & ((1 << count) - 1)

    def unsigned(self) -> int:
        """Return an Exp-Golomb number."""
        zeros = 0
        while zeros < 32 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


@functools.lru_cache(maxsize=64)
def _sequence(sequence: bytes) -> tuple[bool, bool]:
    """Return True if no picture is two fields, which may lie in two packets, and True if pictures keep their order.

    Both are False if they are unknown.
    """
    if len(sequence) < 5:
        return False, False
    bits = _Bits(sequence[4:])
    bits.unsigned()  # number of the set
    if sequence[1] in _HIGH_PROFILES:
        if bits.unsigned() == 3:  # format of chroma
            bits.take(1)
        bits.unsigned(), bits.unsigned()  # depth of bits
        bits.take(1)
        if bits.take(1):  # scaling matrices, which nearly no encoder writes, would follow
            return False, False
    bits.unsigned()  # bits of frame numbers
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.take(1)
        bits.unsigned(), bits.unsigned()
        for _ in range(min(bits.unsigned(), 255)):
            bits.unsigned()
    bits.unsigned()  # reference frames
    bits.take(1)
    bits.unsigned(), bits.unsigned()  # width and height
    return bool(bits.take(1)), order == 2
