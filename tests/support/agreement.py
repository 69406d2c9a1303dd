"""What verify, loading, sampling and prepare say of one file, against a plain decode by PyAV."""

import random
import resource
import signal
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from kinetics_tools.media import ClipError, Encoding, VideoReader, check_frames
from kinetics_tools.preparation.clip import PreparedClip, prepare_clip
from kinetics_tools.probing.clip_probe import probe_clip
from kinetics_tools.run import Crash, run
from kinetics_tools.sampling.crops import CenterCrop
from kinetics_tools.sampling.frames import Frames
from kinetics_tools.sampling.samplers import Segments
from tests.support.mutations import mutated

LONGEST_SECONDS = 10
FAST = Encoding(short_side=64, preset="ultrafast", audio="none")
_MEMORY_BYTES = 1 << 30
_ADDRESSES_BYTES = 1 << 33  # more than are used, for the stacks of threads


def plain_frames(path: str | Path) -> list[Any]:
    """Every frame that PyAV shows of the first video stream that is no cover picture, as RGB arrays.

    Like the `ffmpeg` program, it goes on after packets that the decoder rejects, reads no other stream, and turns
    pictures upright.
    """
    frames = []
    with av.open(str(path), metadata_errors="replace") as container:
        cover = av.stream.Disposition.attached_pic
        stream = next(stream for stream in container.streams.video if not stream.disposition & cover)
        stream.codec_context.thread_count = 1
        for other in container.streams:
            if other is not stream:  # as the program does: a corrupt packet of sound may end a block of pictures
                other.discard = av.stream.Discard.all
        for packet in container.demux(stream):
            try:
                decoded = stream.codec_context.decode(packet)
            except av.error.InvalidDataError:
                continue
            frames += [_rgb(frame) for frame in decoded]  # at once: some decoders write into frames that they gave
    return frames


def _rgb(frame: av.VideoFrame) -> Any:
    options = {}
    if frame.colorspace == 1:  # BT.709, which PyAV does not take from the frame
        options = {"src_colorspace": "ITU709", "dst_colorspace": "ITU709"}
        options |= {"src_color_range": "MPEG", "dst_color_range": "JPEG"}
    picture = frame.reformat(format="rgb24", **options).to_ndarray()
    matrix: Any = frame.side_data.get(av.sidedata.sidedata.Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    # The pixel (x, y) is shown at (ax + cy, bx + dy).
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix)) if matrix else (1, 0, 0, 0, 1)
    if [bool(one) for one in (a, b, c, d)] == [False, True, True, False]:
        picture, a, d = picture.swapaxes(0, 1), c, b
    elif b or c or not (a and d):  # no multiple of 90 degrees
        return picture
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def disagreements(path: str) -> list[str]:
    """Return what is not as it should be of a clip, corrupt or not.

    A clip that `verify --deep` calls good has the same frames for all, in the order of a plain decode. One that it
    calls corrupt is dropped by prepare; only ClipError may come of it.
    """
    shallow, deep = probe_clip(path), probe_clip(path, deep=True)
    kept, encoded = (prepare_clip(("clip", path), encoding=encoding) for encoding in (None, FAST))
    found = []
    if (shallow.error is None) != isinstance(kept, PreparedClip):
        found.append(f"verify: {shallow.error}, prepare --profile source: {kept}")
    if (deep.error is None) != isinstance(encoded, PreparedClip):
        found.append(f"verify --deep: {deep.error}, prepare: {getattr(encoded, 'detail', 'kept')}")
    if shallow.error is not None and deep.error is None:
        found.append(f"verify: {shallow.error}, verify --deep: good")
    try:
        with VideoReader(path) as reader:
            sampled = reader.decode(range(reader.num_frames))
        Frames(Segments(4), CenterCrop(16), on_error="raise").decode(path)
    except ClipError as error:
        return found if deep.error else [*found, f"verify --deep: good, sampling: {error}"]
    if deep.error is None:
        expected = plain_frames(path)
        info: Any = shallow.info
        counts = (len(expected), info.num_frames, check_frames(path), len(sampled))
        if len(set(counts)) != 1:
            found.append(f"frames of PyAV, verify, verify --deep, sampling: {counts}")
        elif any(not _is_same(one, other) for one, other in zip(sampled, expected, strict=True)):
            found.append("frames are in another order than PyAV's")
    return found


def _is_same(one: Any, other: Any) -> bool:
    # Rounding differs where swscale converts in another way, as for odd formats of pixels.
    return one.shape == other.shape and float(np.abs(one.astype(int) - other).mean()) < 2


def mutation_disagreements(
    seeds: Sequence[Path], numbers: Iterable[int], folder: Path, *, workers: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each mutation of `seeds`, and what is not as it should be of it, such as 10 s or 1 GB.

    The seconds are of work; a clip that sleeps ends after twelve times as many.
    """
    tasks = ((number, (str(seeds[number % len(seeds)]), number, str(folder))) for number in numbers)
    for number, found in run(_checked, tasks, workers=workers, batch_size=1, limit_seconds=12 * LONGEST_SECONDS):
        if not isinstance(found, Crash):
            yield number, found
        elif Path(folder, f"{number}.mp4").exists():  # else FFmpeg's muxer crashed on changed stamps
            yield number, [found.reason]


def _checked(task: tuple[str, int, str]) -> list[str]:
    """Mutate a file, given with a seed and a folder to write to; for a process of its own, whose memory it limits."""
    path, seed, folder = task
    target = Path(folder, f"{seed}.mp4")
    target.write_bytes(mutated(Path(path).read_bytes(), random.Random(seed)))
    before = _peak_bytes()
    signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)  # ends this process; others may take the cores
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES_BYTES, resource.RLIM_INFINITY))
    try:
        found = disagreements(str(target))
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        target.unlink()
    return [*found, "took over 1 GB"] if _peak_bytes() > max(before, _MEMORY_BYTES) else found


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def seeds(shared: Path) -> list[Path]:
    """Return the clips in the directories of real clips and of faults."""
    names = (".mp4", ".mkv", ".avi", ".ts", ".webm")
    folders = sorted(path for path in (shared / "clips", *(shared / "faults").iterdir()) if path.is_dir())
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
    return [path for path in files if path.suffix in names or path.name.startswith(("decode--", "probe--"))]
