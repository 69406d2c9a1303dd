"""read_archive: what tar archives hold, whole, damaged or hostile, read front to back."""

import gzip
import io
import logging
import random
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zlib

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics_tools.errors import ArchiveError
from kinetics_tools.io.tar import read_archive
from tests.support.mirror import tar, tar_gz
from tests.support.trees import (
    CLIPS,
    Clip,
    clips_of,
    left_after,
    load,
    noisy,
    ordered_rows,
    rows,
    rows_of,
    write_annotations,
    write_clips,
    write_tree,
)

# Sizes around tar's blocks of 512 bytes, none among them.
SIZES = (700, 0, 1, 511, 512, 513, 3000, 1024, 0)
CLIPS_BY_NAME = {
    f"abcdefghij{index}_000001_000011.mp4": random.Random(index).randbytes(size) for index, size in enumerate(SIZES)
}
PLAIN = tar(CLIPS_BY_NAME)
PACKED = tar_gz(CLIPS_BY_NAME)
with tarfile.open(fileobj=io.BytesIO(PLAIN)) as _archive:
    HEADERS = [info.offset for info in _archive]
MEMBERS_END = HEADERS[-1] + 512  # the last one is empty


def buffered(data):
    return io.BufferedReader(io.BytesIO(data))


def read(data, name="part_0.tar"):
    return list(read_archive(buffered(data), name=name))


def member(name, size=0, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, target
    return info


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# ---- Whole archives


@pytest.mark.parametrize("data", [PLAIN, PACKED, gzip.compress(PLAIN, 9), gzip.compress(PLAIN, 0)])
def test_every_clip_comes_in_order_with_its_bytes(data):
    assert read(data) == list(CLIPS_BY_NAME.items())


@given(st.lists(st.integers(0, len(PLAIN)), max_size=4).map(sorted))
def test_gzip_members_one_after_another_are_one_archive(cuts):
    parts = [PLAIN[start:end] for start, end in zip([0, *cuts], [*cuts, len(PLAIN)], strict=True)]
    assert read(b"".join(gzip.compress(part, 1) for part in parts)) == list(CLIPS_BY_NAME.items())


def test_zeros_after_the_end_are_padding():
    assert read(PLAIN + bytes(50_000)) == read(PACKED + bytes(5_000)) == list(CLIPS_BY_NAME.items())


def test_only_the_two_blocks_of_zeros_that_tar_demands():
    assert read(PLAIN[: MEMBERS_END + 1024]) == list(CLIPS_BY_NAME.items())


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("packed", [False, True])
def test_long_names_in_every_format_of_tar(format, packed):
    names = ["a" * 70 + "/" + "b" * 60 + ".mp4", "short.mp4"]
    if format != tarfile.USTAR_FORMAT:
        names += ["c" * 300 + ".mp4", "动作/" + "é" * 120 + ".mp4", "d" * 100 + "/" + "e" * 200 + ".mp4"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for index, name in enumerate(names):
            info = member(name, size=index * 100)
            info.mtime = 1.5 if format == tarfile.PAX_FORMAT else 1  # a fraction needs a header of its own
            archive.addfile(info, io.BytesIO(bytes([index]) * info.size))
    data = gzip.compress(buffer.getvalue()) if packed else buffer.getvalue()
    assert read(data) == [(name, bytes([index]) * (index * 100)) for index, name in enumerate(names)]


@pytest.mark.parametrize("data", [tar, tar_gz])
def test_a_thousand_empty_clips(data):
    names = {f"{index:011d}_000001_000011.mp4": b"" for index in range(1000)}
    assert read(data(names)) == list(names.items())


@pytest.mark.parametrize("data", [tar({}), tar_gz({}), tar({"readme.txt": b"x"}), tar({"empty": member("e", 0)})])
def test_an_archive_without_clips_gives_none(data):
    assert read(data) == []


def test_what_is_no_clip_is_passed_over():
    names = ["._a.mp4", "x/._a.mp4", ".mp4", "a.txt", "list.csv", "a.mp4.part"]  # the first of macOS' own
    folder = member("folder.mp4", kind=tarfile.DIRTYPE)
    data = tar({**dict.fromkeys(names, b"x"), "folder": folder, "x/a.mp4": b"clip"})
    assert read(data) == [("x/a.mp4", b"clip")]


def test_one_clip_is_held_at_a_time():
    clip = random.Random(1).randbytes(200_000)
    data = tar_gz({f"{index}.mp4": clip for index in range(50)})
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_archive(buffered(data), name="x"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 50
    assert peak < 10 * len(clip)


def test_the_next_clip_is_read_when_it_is_asked_for():
    file = buffered(tar({"a.mp4": b"a" * 100, "b.mp4": b"b" * 10_000_000}))
    clips = read_archive(file, name="x")
    assert next(clips) == ("a.mp4", b"a" * 100)
    assert file.tell() < 2_000_000


# ---- Damage


def partial(data):
    """The clips read until an error that must name the archive, and whether it came."""
    found = []
    clips = read_archive(buffered(data), name="k400/part_7.tar")
    while True:
        try:
            found.append(next(clips))
        except StopIteration:
            return found, False
        except OSError as error:
            if "k400/part_7.tar" not in str(error):
                raise
            return found, True


@pytest.mark.parametrize("data", [PLAIN, PACKED], ids=["tar", "gz"])
def test_an_archive_cut_off_anywhere_is_an_error_or_whole(data):
    clips = list(CLIPS_BY_NAME.items())
    step = 7 if data is PLAIN else 1
    for length in range(0, len(data), step):
        found, failed = partial(data[:length])
        assert found == clips[: len(found)]
        # Without its last zeros an archive may be whole; a gzip stream never is without its checksum.
        assert failed or (data is PLAIN and found == clips), f"cut at byte {length}"


def test_an_error_says_what_is_wrong_and_what_to_do():
    with pytest.raises(OSError, match=r"^k400/part_7\.tar: the archive is truncated or corrupt .*download it again"):
        read(PLAIN[:3000], "k400/part_7.tar")


def test_a_flipped_bit_anywhere_in_gzip_is_an_error_or_harmless():
    clips = list(CLIPS_BY_NAME.items())
    for position in range(len(PACKED)):
        data = bytearray(PACKED)
        data[position] ^= 1 << position % 8
        found, failed = partial(bytes(data))
        assert failed or found == clips, f"byte {position}"


def test_a_flipped_byte_in_any_header_of_a_plain_tar_is_an_error_or_harmless():
    clips = list(CLIPS_BY_NAME.items())
    for offset in HEADERS:
        for position in range(offset, offset + 512, 5):
            data = bytearray(PLAIN)
            data[position] ^= 0xFF
            found, failed = partial(bytes(data))
            assert failed or found == clips, f"byte {position - offset} of the header at {offset}"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"<html>404</html>",
        bytes(100),
        b"\x1f",
        b"\x1f\x8b",
        b"\x1f\x8bnot gzip",
        gzip.compress(b""),
        b"PK\3\4" * 500,
    ],
)
def test_what_is_no_archive_is_an_error_that_names_it(data):
    assert partial(data) == ([], True)


@given(st.binary(max_size=2000), st.booleans())
def test_no_bytes_raise_anything_but_an_os_error(data, packed):
    partial(gzip.compress(data, 1) if packed else data)


@given(st.integers(0, len(PLAIN) - 1), st.binary(min_size=1, max_size=600), st.booleans())
def test_no_garbage_inside_raises_anything_but_an_os_error(position, garbage, packed):
    data = PLAIN[:position] + garbage + PLAIN[position + len(garbage) :]
    found, _ = partial(gzip.compress(data, 1) if packed else data)
    assert len(found) <= len(CLIPS_BY_NAME)


def test_garbage_after_gzip_is_an_error():
    assert partial(PACKED + b"garbage")[1]
    assert partial(PACKED + zlib.compress(PLAIN))[1]


# ---- Hostile members


HOSTILE = {
    "../outside.mp4": member("../outside.mp4", 3),
    "a/../../outside.mp4": member("a/../../outside.mp4", 3),
    "/etc/outside.mp4": member("/etc/outside.mp4", 3),
    "..": member("..", 3),
    "link.mp4": member("link.mp4", kind=tarfile.SYMTYPE, target="/etc/passwd"),
    "hard.mp4": member("hard.mp4", kind=tarfile.LNKTYPE, target="good0.mp4"),
    "tty.mp4": member("tty.mp4", kind=tarfile.CHRTYPE),
    "disk.mp4": member("disk.mp4", kind=tarfile.BLKTYPE),
    "pipe.mp4": member("pipe.mp4", kind=tarfile.FIFOTYPE),
}


def with_member(info):
    """An archive with a clip before the member and one after it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for extra in (member("good0.mp4", 4), info, member("good1.mp4", 4)):
            archive.addfile(extra, io.BytesIO(b"evil"[: extra.size] if extra is info else b"good"))
    return buffer.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("packed", [False, True])
def test_a_hostile_member_is_refused_and_named_and_the_others_come(name, packed, caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = with_member(HOSTILE[name])
    found = read(gzip.compress(data) if packed else data, "part_7.tar.gz")
    assert found == [("good0.mp4", b"good"), ("good1.mp4", b"good")]
    (warning,) = warnings(caplog)
    assert "part_7.tar.gz" in warning
    assert "refused" in warning
    assert repr(name) in warning
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["..a/x.mp4", "a..b.mp4", "./x.mp4", "-rf.mp4", "a b'(c).mp4"])
def test_a_name_that_only_looks_odd_is_a_clip(name, caplog):
    assert (name, b"good") in read(tar({name: b"good"}))
    assert not warnings(caplog)


@pytest.mark.parametrize("name", ["huge.mp4", "huge.txt"])
@pytest.mark.parametrize("size", [(1 << 28) + 1, 10 << 40])
def test_a_header_that_claims_terabytes_takes_no_memory(name, size, caplog):
    data = PLAIN[:MEMBERS_END] + member(name, size).tobuf(tarfile.GNU_FORMAT) + bytes(2048)
    tracemalloc.start()
    try:
        found, failed = partial(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert failed
    assert found == list(CLIPS_BY_NAME.items())
    assert any(repr(name) in warning and f"{size:,}" in warning for warning in warnings(caplog))
    assert peak < 4 << 20


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_of_headers_that_claims_much_takes_no_memory(kind):
    claimed = 200 << 20
    data = gzip.compress(member("x.mp4", claimed, kind).tobuf() + bytes(64 << 20), 1)
    tracemalloc.start()
    try:
        found, failed = partial(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found, failed) == ([], True)
    assert peak < 16 << 20


@pytest.mark.parametrize("size", [-1, -512, -1024, -5120])
@pytest.mark.parametrize("name", ["x.mp4", "x.txt"])
def test_a_negative_size_ends_in_an_error(name, size):
    data = tar({"a.mp4": b"x" * 700})[:1536] + member(name, size).tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    found, failed = partial(data)
    assert failed
    assert found[:1] == [("a.mp4", b"x" * 700)]


@pytest.mark.parametrize("size", [-1, -512, -1024])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_header_of_a_header_with_a_negative_size_ends_in_an_error(kind, size, compress):
    header = member("x", size)
    header.type = kind
    found, failed = partial(compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    assert (found, failed) == ([], True)


@pytest.mark.parametrize("name", ["global", "longlink", "longname", "pax"])
def test_real_archives_with_negative_sizes_end_in_an_error(shared, name):
    for suffix in (".tar", ".tar.gz"):
        assert partial((shared / "faults" / "31-archive-negative-size" / f"{name}{suffix}").read_bytes()) == ([], True)


def test_zeros_behind_the_end_take_no_memory():
    data = gzip.compress(tar({"a.mp4": b"x"}) + bytes(256 << 20), compresslevel=1)
    tracemalloc.start()
    assert read(data) == [("a.mp4", b"x")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def peak_of(function):
    """The result of a function, and the most memory that it takes at a time."""
    tracemalloc.start()
    try:
        return function(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compress", [bytes, lambda data: gzip.compress(data, 1)])
def test_a_large_clip_is_in_memory_once(compress):
    size = 32 << 20
    data = compress(tar({"a.mp4": bytes(size), "b.mp4": bytes(size)}))

    def count():
        total = 0
        for _, content in read_archive(buffered(data), name="x"):
            total += len(content)
            del content
        return total

    total, peak = peak_of(count)
    assert total == 2 * size
    assert peak < 1.5 * size


def extended(kind, records):
    """A member after an extended header with these records."""
    header = member("header", len(records), kind)
    return header.tobuf() + records + bytes(-len(records) % 512) + member("a.txt").tobuf()


def record(key, value):
    length = next(n for n in range(len(key + value), 9999999) if len(f"{n} {key}={value}\n") == n)
    return f"{length} {key}={value}\n".encode()


# Records on which the patterns of tarfile would work for hours, or with what it would fail.
@pytest.mark.parametrize(
    "records",
    [
        b"1" * 60_000,
        b"1 " * 30_000 + b"=",
        b"5 a=\n" * 10 + b"0 b=\n",
        b"9" * 5000 + b" a=b\n",
        record("a", "7" * 9000),
    ],
)
def test_an_extended_header_that_is_no_list_of_records_is_corrupt(records):
    started = time.monotonic()
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE):
        assert partial(extended(kind, records) + bytes(1024)) == ([], True)
    assert time.monotonic() - started < 10


def test_extended_headers_for_all_members_are_not_kept():
    data = b"".join(extended(tarfile.XGLTYPE, record(f"key{n}", "a" * 30_000)) for n in range(300))
    (found, failed), peak = peak_of(lambda: partial(data + bytes(1024)))
    assert (found, failed) == ([], False)
    assert peak < len(data) + (2 << 20)


@pytest.mark.parametrize("name", ["a.txt", "a.mp4"])
def test_members_without_a_clip_are_bounded(name, monkeypatch):
    monkeypatch.setattr("kinetics_tools.io.tar._MAX_OVERHEAD_BYTES", 512 * 1000)
    with pytest.raises(ArchiveError, match="headers of 512,512 bytes, far more than its clips need"):
        read(member(name).tobuf() * 1001 + bytes(1024))
    clips = {f"{n}.mp4": b"x" for n in range(2000)}  # which need headers, too
    assert len(read(tar(clips))) == 2000


def test_gzip_members_without_content_are_bounded():
    empty, good = gzip.compress(b""), gzip.compress(tar({"a.mp4": b"x"}))
    assert read(empty * 900 + good) == [("a.mp4", b"x")]
    with pytest.raises(ArchiveError, match="over 1,001 gzip members without content"):
        read(empty * 50_000 + good)
    small = b"".join(gzip.compress(PLAIN[at : at + 512]) for at in range(0, len(PLAIN), 512))
    assert read(small) == list(CLIPS_BY_NAME.items())


def test_a_name_longer_than_any_path_is_refused(caplog):
    data = tar({"a" * 5000 + ".mp4": b"x", "b.mp4": b"y"})
    assert read(data) == [("b.mp4", b"y")]
    (warning,) = warnings(caplog)
    assert f"refused member '{'a' * 200}': its name has 5,004 characters" in warning


def test_many_refused_members_are_counted(caplog):
    links = {f"{n}.mp4": member(f"{n}.mp4", kind=tarfile.SYMTYPE, target="x") for n in range(250)}
    assert read(tar({**links, "b.mp4": b"y"})) == [("b.mp4", b"y")]
    assert len(warnings(caplog)) == 101
    assert warnings(caplog)[-1].endswith("refused member '(others)': 150 more members")


@pytest.mark.parametrize(
    "name", ["31-archive-negative-size/sparse_cut.tar", "27-fuzz/archive--IndexError_kinetics.py_931"]
)
def test_real_archives_with_corrupt_sparse_headers_end_in_an_error(shared, name):
    assert partial((shared / "faults" / name).read_bytes())[1]


def not_utf_8(name):
    """A header of a clip of 4 bytes whose name begins with a byte that is no UTF-8."""
    return member(f"\udcff{name}", 4).tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")


def test_a_name_that_is_no_utf_8_is_passed_through():
    assert read(not_utf_8(".mp4") + b"good" + bytes(508 + 1024)) == [("\udcff.mp4", b"good")]


# ---- In a tree


VAL = CLIPS["validation"]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_load_refuses_hostile_members_writes_nothing_beside_and_gives_the_clips(tmp_path, streaming, caplog):
    members = {f"{clip.label}/{clip.file_name}": clip.content for clip in VAL[:4]}
    members |= {f"../{VAL[4].file_name}": VAL[4].content, f"/tmp/{VAL[5].file_name}": VAL[5].content}
    members[VAL[6].file_name] = member(VAL[6].file_name, kind=tarfile.SYMTYPE, target="/etc/passwd")
    (tmp_path / "tree" / "val").mkdir(parents=True)
    (tmp_path / "tree" / "val" / "part_0.tar").write_bytes(tar(members))
    write_annotations(tmp_path / "tree" / "val.csv", VAL, "val")
    found = load(data_dir=str(tmp_path / "tree"), split="validation", streaming=streaming)
    assert rows(found) == rows_of(VAL[:4])
    refused = [warning for warning in warnings(caplog) if "refused" in warning]
    assert len(refused) == 3
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["part_0.tar", "tree", "val", "val.csv"]


def test_a_clip_twice_in_an_archive_comes_once(tmp_path):
    clip = VAL[0]
    members = {f"a/{clip.file_name}": clip.content, f"b/{clip.file_name}": b"again", "b/x.mp4": b"other"}
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "part_0.tar").write_bytes(tar(members))
    write_annotations(tmp_path / "val.csv", VAL, "val")
    for streaming in (False, True):
        assert rows(load(data_dir=str(tmp_path), split="validation", streaming=streaming)) == rows_of([clip])


@pytest.fixture
def broken(tmp_path):
    """Three archives, the second cut off in the third of its three clips; the tree, and the clips that are whole."""
    clips = noisy(clips_of("validation", 9), 5_000)
    parts = [{clip.file_name: clip.content for clip in clips[start : start + 3]} for start in (0, 3, 6)]
    data = [tar(parts[0]), tar(parts[1]), tar(parts[2])]
    with tarfile.open(fileobj=io.BytesIO(data[1])) as archive:
        data[1] = data[1][: archive.getmembers()[2].offset_data + 1000]
    (tmp_path / "val").mkdir()
    for number, part in enumerate(data):
        (tmp_path / "val" / f"part_{number}.tar").write_bytes(part)
    write_annotations(tmp_path / "val.csv", clips, "val")
    return str(tmp_path), [clip for clip in clips if clip is not clips[5]], clips[5]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_broken_archive_is_named_and_costs_the_clips_after_the_damage(broken, streaming, caplog):
    data_dir, whole, lost = broken
    assert rows(load(data_dir=data_dir, split="validation", streaming=streaming)) == rows_of(whole)
    damage, *others = warnings(caplog)
    assert "part_1.tar: the archive is truncated or corrupt after 2 clips, at byte " in damage
    assert f"({lost.file_name} has 1,000 of 5,000 bytes); download it again; 2 of its clips are loaded" in damage
    absent = f"kinetics 700 validation: 8 of 9 clips; missing: 1 ({lost.stem})"
    assert others == ([] if streaming else [absent])


@pytest.mark.parametrize("num_proc", [None, 2])
def test_a_broken_archive_raises_where_that_is_asked_for(broken, num_proc):
    with pytest.raises(ArchiveError, match=r"part_1\.tar: the archive is truncated or corrupt after 2 clips"):
        load(data_dir=broken[0], split="validation", on_missing="raise", num_proc=num_proc)


def test_a_stream_with_a_broken_archive_is_resumed_at_every_position(broken):
    def make():
        return load(data_dir=broken[0], split="validation", streaming=True)

    whole = ordered_rows(make())
    assert sorted(whole) == rows_of(broken[1])
    for position in range(1, len(whole) + 1):
        assert left_after(position, make) == whole[position:]


def test_a_broken_archive_of_replacements_replaces_what_it_holds_before_the_damage(tmp_path, caplog):
    clips = noisy(clips_of("train", 8), 5_000)
    better = [Clip(*clip.row, content=b"better " + clip.content) for clip in clips[:2]]
    write_clips(tmp_path / "train", clips, ".tar")
    write_annotations(tmp_path / "train.csv", clips, "train")
    data = tar({clip.file_name: clip.content for clip in better})
    (tmp_path / "replacement_for_corrupted_k400.tgz").write_bytes(data[: len(data) // 2])
    for streaming in (False, True):
        found = load("400", data_dir=str(tmp_path), split="train", streaming=streaming)
        assert rows(found) == rows_of([better[0], *clips[1:]], "400")
    assert "replacement_for_corrupted_k400.tgz: the archive is truncated or corrupt after 1 clips" in caplog.text


# ---- Archives and annotations that do not match


@pytest.fixture
def overlapping(tmp_path):
    """Two archives with clips [0, 1] and [1, 2, another] of four annotated clips."""
    clips = clips_of("validation", 4)
    other = Clip("zumba", "unannotated", 3, 13)
    again = Clip(*clips[1].row, content=b"the copy in the later archive")
    (tmp_path / "val").mkdir()
    for name, part in (("a", clips[:2]), ("b", [again, clips[2], other])):
        (tmp_path / "val" / f"{name}.tar.gz").write_bytes(tar_gz({clip.file_name: clip.content for clip in part}))
    write_annotations(tmp_path / "val.csv", clips, "val")
    return str(tmp_path), clips


def test_a_build_tells_what_is_missing_what_is_not_annotated_and_what_is_there_twice(overlapping, caplog):
    data_dir, clips = overlapping
    assert rows(load(data_dir=data_dir, split="validation")) == rows_of(clips[:3])
    assert warnings(caplog) == [
        "kinetics 700 validation: unannotated members of archives: 1 (unannotated_000003_000013.mp4)",
        f"kinetics 700 validation: members that occur twice (one is loaded): 1 ({clips[1].file_name})",
        f"kinetics 700 validation: 3 of 4 clips; missing: 1 ({clips[3].stem})",
    ]
    with pytest.raises(FileNotFoundError, match=f"^1 of 4 annotated clips .* are missing: {clips[3].stem}"):
        load(data_dir=data_dir, split="validation", on_missing="raise")


def test_a_build_in_processes_names_the_clips_that_come_twice(overlapping, caplog):
    data_dir, clips = overlapping
    with pytest.raises(FileNotFoundError, match=f"^1 of 4 annotated clips .* are missing: {clips[3].stem}"):
        load(data_dir=data_dir, split="validation", num_proc=2, on_missing="raise")
    caplog.clear()
    found = load(data_dir=data_dir, split="validation", num_proc=2)
    assert {row[3:] for row in rows(found)} == {row[3:] for row in rows_of(clips[:3])}
    missing, twice = warnings(caplog)
    assert f"3 of 4 clips; missing: 1 ({clips[3].stem})" in missing
    assert f"1 clips are in several archives and loaded several times ({clips[1].stem})" in twice


@pytest.mark.parametrize("file_format", ["arrow", "parquet"])
def test_a_build_anywhere_tells_what_is_missing(overlapping, file_format, caplog):
    data_dir, clips = overlapping
    builder = datasets.load_dataset_builder("kinetics", "700", data_dir=data_dir, decode=False)
    builder.download_and_prepare(f"memory://{file_format}", file_format=file_format)
    assert f"3 of 4 clips; missing: 1 ({clips[3].stem})" in warnings(caplog)[-1]


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_stream_tells_at_its_end_what_is_not_annotated(overlapping, shuffled, caplog):
    stream = load(data_dir=overlapping[0], split="validation", streaming=True)
    stream = stream.shuffle(seed=0, buffer_size=1) if shuffled else stream
    iterator = iter(stream)
    next(iterator)
    assert warnings(caplog) == []
    assert len(list(iterator)) == 3
    message = "kinetics 700 validation: unannotated members of archives: 1 (unannotated_000003_000013.mp4)"
    assert warnings(caplog) == [message]
    caplog.clear()
    assert len(list(stream)) == 4
    assert warnings(caplog) == [message]


def test_archives_that_are_read_side_by_side_tell_a_thing_once(tmp_path, caplog):
    class Slow(logging.Handler):
        """Lets the readers of other archives come to their ends while one tells."""

        def emit(self, record):
            time.sleep(0.1)

    clips = clips_of("validation", 6)
    others = [Clip("zumba", f"unannotated{number}", 3, 13) for number in range(3)]
    (tmp_path / "val").mkdir()
    for number, three in enumerate(zip(clips[:3], clips[3:], others, strict=True)):
        (tmp_path / "val" / f"{number}.tar").write_bytes(tar({clip.file_name: clip.content for clip in three}))
    write_annotations(tmp_path / "val.csv", clips, "val")
    stream = load(data_dir=str(tmp_path), split="validation", streaming=True).shuffle(seed=0, buffer_size=100)
    slow, logger = Slow(), logging.getLogger("datasets.kinetics")
    logger.addHandler(slow)
    try:
        assert len(list(stream)) == 6
    finally:
        logger.removeHandler(slow)
    text = " ".join(warnings(caplog))
    assert [text.count(other.stem) for other in others] == [1, 1, 1]


def test_a_stream_that_is_left_unfinished_ends_with_the_program_without_a_word(tmp_path):
    data_dir = write_tree(tmp_path, ".tar.gz", clips={"validation": VAL})
    code = f"""
import datasets, kinetics
stream = datasets.load_dataset("kinetics", "700", data_dir={str(data_dir)!r}, streaming=True, decode=False)
iterator = iter(stream["validation"])
print(next(iterator)["youtube_id"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [VAL[0].youtube_id], "")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_name_that_is_no_utf_8_is_no_annotated_clip(tmp_path, streaming, caplog):
    clip = VAL[0]
    data = not_utf_8(clip.file_name[1:]) + b"good" + bytes(508) + tar({clip.file_name: clip.content})
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "part_0.tar").write_bytes(data)
    write_annotations(tmp_path / "val.csv", [clip], "val")
    assert rows(load(data_dir=str(tmp_path), split="validation", streaming=streaming)) == rows_of([clip])
    (told,) = [warning for warning in warnings(caplog) if "unannotated" in warning]
    assert "\\udcff" + clip.file_name[1:] in told
    assert told.isascii()
