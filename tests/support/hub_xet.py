"""The Xet store of the tests' Hub: files arrive as chunks in xorbs, and shards that say which chunks make a file.

The formats: https://huggingface.co/docs/xet/xorb and https://huggingface.co/docs/xet/shard
"""

import functools
import hashlib
import json
import mmap
import re
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow

from tests.support.hub_answer import Refusal
from tests.support.hub_storage import Storage, write_whole


def add_shard(repo: Storage, shard: bytes) -> None:
    """Builds the files at once, so that all else finds blobs as LFS would have left them; a file that does
    not come out as its SHA-256 is refused. For buckets clients send none."""
    files, xorbs = _split_shard(shard)
    for recipe in files:
        sha256 = recipe["sha256"]
        if sha256 is None or not repo.blob(sha256).exists():
            upload, digest = repo.upload(recipe["hash"]), hashlib.sha256()
            with open(upload, "wb") as file:
                for xorb, start, stop in recipe["terms"]:
                    for chunk in _unpack(repo.xorb(xorb), start, stop):
                        digest.update(chunk)
                        file.write(chunk)
            sha256 = recipe["sha256"] = sha256 or digest.hexdigest()
            repo.keep_blob(sha256, upload, digest.hexdigest())
        for name in (sha256, recipe["hash"]):
            write_whole(repo.directory / "xet" / name, json.dumps(recipe).encode())
    write_whole(repo.directory / "xet" / f"{hashlib.sha256(shard).hexdigest()}.xorbs", xorbs)


def shard_of_chunk(repo: Storage, chunk_hash: str) -> bytes:
    """Return the chunks uploaded together with a chunk, so that a client without a cache skips them."""
    chunk = struct.pack("<4Q", *(int(number, 16) for number in re.findall(".{16}", chunk_hash)))
    for path in (repo.directory / "xet").glob("*.xorbs"):
        xorbs = path.read_bytes()
        if chunk in xorbs:
            return _shard_of_xorbs(xorbs)
    raise Refusal(404, f"no xorb holds the chunk {chunk_hash}")


def reconstruction(
    repo: Storage, terms: Iterable[tuple[str, int, int]], first: int, last: int, url_of: Callable[[str], str]
) -> dict[str, Any]:
    """Which chunks of which xorbs hold the bytes [first, last) of a file of these terms, and where to fetch them."""
    found: list[dict[str, Any]] = []
    fetch: dict[str, list[dict[str, Any]]] = {}
    offset = position = 0
    for xorb, start, stop in terms:
        marks = _marks(repo.xorb(xorb))
        begin = position - marks[start].unpacked  # where in the file the xorb's first byte would be
        position = begin + marks[stop].unpacked
        while start < stop and begin + marks[start + 1].unpacked <= first:
            start += 1
        while start < stop and begin + marks[stop - 1].unpacked >= last:
            stop -= 1
        if start == stop:
            continue
        if not found:
            offset = first - begin - marks[start].unpacked
        chunks = {"start": start, "end": stop}
        packed = {"start": marks[start].packed, "end": marks[stop].packed - 1}
        length = marks[stop].unpacked - marks[start].unpacked
        found.append({"hash": xorb, "unpacked_length": length, "range": chunks})
        fetch.setdefault(xorb, []).append({"range": chunks, "url": url_of(xorb), "url_range": packed})
    return {"offset_into_first_range": offset, "terms": found, "fetch_info": fetch}


class _Mark(NamedTuple):
    """Where a chunk begins, in its xorb and in what that unpacks to."""

    packed: int
    unpacked: int


def _chunk_header(xorb: Any, at: int) -> tuple[int, int, int]:
    """Bytes packed, how, and bytes unpacked of the chunk at a place in a xorb."""
    sizes = [int.from_bytes(xorb[i : i + 3], "little") for i in (at + 1, at + 5)]
    return sizes[0], xorb[at + 4], sizes[1]


@functools.lru_cache(256)
def _marks(path: Path) -> list[_Mark]:
    """Return the offset of each chunk of a xorb, and of the end."""
    marks = [_Mark(0, 0)]
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as xorb:
        while marks[-1].packed < len(xorb) and xorb[marks[-1].packed] == 0:  # the version; a footer begins otherwise
            packed, _, unpacked = _chunk_header(xorb, marks[-1].packed)
            marks.append(_Mark(marks[-1].packed + 8 + packed, marks[-1].unpacked + unpacked))
    return marks


def _unpack(path: Path, start: int, stop: int) -> Iterator[bytes | bytearray]:
    """The chunks [start, stop) of a xorb."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as xorb:
        for mark in _marks(path)[start:stop]:
            packed, scheme, unpacked = _chunk_header(xorb, mark.packed)
            chunk: bytes | bytearray = xorb[mark.packed + 8 : mark.packed + 8 + packed]
            if scheme != 0:
                chunk = pyarrow.decompress(chunk, decompressed_size=unpacked, codec="lz4", asbytes=True)
            if scheme == 2:  # the first bytes of each four, then the second ones, ...
                grouped, chunk, at = chunk, bytearray(unpacked), 0
                for i in range(4):
                    count = len(range(i, unpacked, 4))
                    chunk[i::4] = grouped[at : at + count]
                    at += count
            yield chunk


_SHARD_TAG = b"HFRepoMetaData\0" + bytes.fromhex("5569 6745 6a7b 8157 83a5 bdd9 5ccd d14a a9")
_BOOKEND = b"\xff" * 32 + b"\0" * 16  # after the files, and after the xorbs


def _split_shard(shard: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """Each file's Xet hash, SHA-256 (or None) and terms (of which xorb the chunks [start, stop)), and, as it is in the
    shard, the list of the xorbs and their chunks."""
    files, at = [], 48
    while not shard.startswith(_BOOKEND, at):
        flags, count = struct.unpack_from("<II", shard, at + 32)
        entries = range(at + 48, at + 48 + 48 * count, 48)
        terms = [(_hash(shard, entry), *struct.unpack_from("<II", shard, entry + 40)) for entry in entries]
        last = entries.stop + (48 * count if flags & 1 << 31 else 0)  # with that flag come hashes to verify terms
        has_sha256 = bool(flags & 1 << 30)
        sha256 = _hash(shard, last) if has_sha256 else None
        files.append({"hash": _hash(shard, at), "sha256": sha256, "terms": terms})
        at = last + 48 * has_sha256
    begin = at = at + 48
    while not shard.startswith(_BOOKEND, at):
        at += 48 + 48 * struct.unpack_from("<I", shard, at + 36)[0]
    return files, shard[begin:at]


def _shard_of_xorbs(xorbs: bytes) -> bytes:
    """A shard with no files; its tables for looking up are empty, so that who reads it makes them."""
    end = 96 + len(xorbs) + 48
    header = struct.pack("<32s2Q", _SHARD_TAG, 2, 200)
    footer = struct.pack("<9Q32x2Q72xQ", 1, 48, 96, end, 0, end, 0, end, 0, int(time.time()), 2**63, end)
    return header + _BOOKEND + xorbs + _BOOKEND + footer


def _hash(shard: bytes, at: int) -> str:
    """Write a hash like Xet: four little-endian numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack_from("<4Q", shard, at))
