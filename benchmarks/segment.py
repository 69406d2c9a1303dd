"""A segment of 10 s out of a video of 10 minutes, at a local server: how much moves, and how long it takes.

Ours is `fetch_clip`, the other is what tools for Kinetics do: yt-dlp downloads the whole video, and then it is cut.
It depends on the line. The server sends 25 or 100 Mbit/s on each connection, or as fast as it can: then all that takes
time is the core, and encoding 10 s is most of both. There the other is also measured as the ActivityNet crawler cuts,
where there is an `ffmpeg`: `ffmpeg -i VIDEO -ss START`, which decodes from the beginning, and x264's medium preset.

The video is made: 640x360 pixels, 25 fps, 1.0 Mbit/s and a key frame every 5 s, as YouTube has it, index in front,
sound. Each run has a process of its own, with all imports done and another video fetched before the clock starts.

    pip install -e '.[bench,youtube]'
    python benchmarks/segment.py
"""

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median

import av
import numpy as np

from _common import Result, alternate, fault_server, fresh, mirror, ratio, report, serve, workspace

ROUNDS = 3
SECONDS, FPS, KEY_FRAME_SECONDS = 600, 25, 5
HEIGHT, WIDTH = 360, 640
START, END = 307, 317
LINES_MBIT = (25, 100)
ID, WARM_ID = "abcdefghij0", "abcdefghij1"


def write_video(path: Path, *, seconds: int) -> Path:
    """Texture that moves under a little noise, and a tone."""
    rng = np.random.default_rng(0)
    texture = rng.integers(60, 200, (HEIGHT // 8 + 8, WIDTH // 8 + 8), np.uint8).repeat(8, 0).repeat(8, 1)
    noise = rng.integers(0, 36, (32, HEIGHT, WIDTH), np.uint8)
    grey = np.full(HEIGHT * WIDTH // 4, 128, np.uint8)
    options = {"preset": "ultrafast", "crf": "30", "g": str(FPS * KEY_FRAME_SECONDS), "threads": "1"}
    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        pictures = file.add_stream("libx264", FPS, options=options)
        pictures.height, pictures.width, pictures.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        sound = file.add_stream("aac", 44_100, layout="stereo", options={"aac_coder": "fast", "b": "128000"})
        for second in range(seconds):
            for index in range(second * FPS, (second + 1) * FPS):
                top, left = index % 64, index // 2 % 64
                frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
                frame.planes[0].update(texture[top : top + HEIGHT, left : left + WIDTH] + noise[index % 32])
                frame.planes[1].update(grey)
                frame.planes[2].update(grey)
                frame.pts, frame.time_base = index, Fraction(1, FPS)
                file.mux(pictures.encode(frame))
            tone = rng.normal(0, 0.1, (2, 44_100)).astype(np.float32)
            samples = av.AudioFrame.from_ndarray(tone, "fltp", "stereo")
            samples.sample_rate, samples.pts = 44_100, second * 44_100
            file.mux(sound.encode(samples))
        file.mux(pictures.encode())
        file.mux(sound.encode())
    return path


def whole(url: str, path: Path) -> None:
    """What yt-dlp downloads at this address."""
    import yt_dlp

    with yt_dlp.YoutubeDL({"quiet": True, "no_warnings": True, "noprogress": True, "outtmpl": str(path)}) as downloader:
        downloader.download([url])


def with_segment(url: str, folder: Path, youtube_id: str) -> None:
    from kinetics_tools.downloading import YouTubeOptions, fetch_clip

    options = YouTubeOptions(url_template=f"{url}/watch/{{youtube_id}}.html")
    fetch_clip(youtube_id, START, END, folder / "clip.mp4", options=options)


def with_whole_and_cut(url: str, folder: Path, youtube_id: str) -> None:
    from kinetics_tools.media import cut

    whole(f"{url}/watch/{youtube_id}.html", folder / "whole.mp4")
    cut(folder / "whole.mp4", folder / "clip.mp4", start_seconds=START, end_seconds=END)
    (folder / "whole.mp4").unlink()


def with_whole_and_ffmpeg(url: str, folder: Path, youtube_id: str) -> None:
    whole(f"{url}/watch/{youtube_id}.html", folder / "whole.mp4")
    segment = ["-i", folder / "whole.mp4", "-ss", str(START), "-t", str(END - START)]
    codecs = ["-c:v", "libx264", "-c:a", "copy", "-threads", "1", "-loglevel", "error"]
    subprocess.run(["ffmpeg", "-y", *segment, *codecs, folder / "clip.mp4"], check=True)
    (folder / "whole.mp4").unlink()


def seconds(get: Callable[[str, Path, str], None], url: str, folder: Path) -> float:
    get(url, folder, WARM_ID)
    start = time.perf_counter()
    get(url, folder, ID)
    return time.perf_counter() - start


def main() -> None:
    with workspace() as directory:
        root, scratch = directory / "root", directory / "scratch"
        scratch.mkdir()
        video = mirror.write_video(root, ID, b"")
        write_video(video, seconds=SECONDS)
        # Fast to have, so that it warms what is ours and not what the server sends.
        write_video(mirror.write_video(root, WARM_ID, b""), seconds=END + 1)
        size = video.stat().st_size
        with serve(root, log=directory / "log") as url:
            fresh(with_segment, url, scratch, ID)
        requests = [json.loads(line) for line in (directory / "log").read_text().splitlines()]
        moved = sum(request["sent"] for request in requests if request["path"].startswith("/videos/"))

        with contextlib.ExitStack() as servers:
            sides = {}
            for mbit in (*LINES_MBIT, None):
                slow = fault_server.Fault("slow", f"/videos/{ID}.mp4", bytes_per_second=(mbit or 0) * 1e6 / 8)
                url = servers.enter_context(serve(root, faults=[slow] if mbit else []))
                sides["ours", mbit] = partial(fresh, seconds, with_segment, url, scratch)
                sides["whole", mbit] = partial(fresh, seconds, with_whole_and_cut, url, scratch)
            if shutil.which("ffmpeg"):
                sides["crawler", None] = partial(fresh, seconds, with_whole_and_ffmpeg, url, scratch)
            took = alternate(sides, rounds=ROUNDS)

    results = [Result("bytes moved, share of the file", f"{moved:,}", f"{size:,}", moved / size, "at most", 0.05)]
    for name, mbit in took:
        if name != "ours":
            ours, other = took["ours", mbit], took[name, mbit]
            line = f"{mbit} Mbit/s" if mbit else "no limit"
            results.append(
                Result(
                    f"{line}: times as fast as {name}",
                    f"{median(ours):.2f} s",
                    f"{median(other):.2f} s",
                    ratio(other, ours),
                    "at least" if mbit == LINES_MBIT[0] else "no target",
                    10,
                )
            )
    report(f"a segment of {END - START} s out of {SECONDS // 60} minutes", results)


if __name__ == "__main__":
    main()
