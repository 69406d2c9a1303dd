"""A segment of 10 s out of a video of 10 minutes, at a local server: how much moves, and how long it takes.

Ours is `fetch_clip`, the other is what tools for Kinetics do: yt-dlp downloads the whole video, and then it is cut.
For the line the server sends 50 Mbit/s on each connection; without it, all that takes time is a core, and the time of
the other depends on how it cuts: with our own `cut`, or as the ActivityNet crawler does, with `ffmpeg -i VIDEO -ss
START`, which decodes from the beginning, and x264's medium preset (measured where there is an `ffmpeg`).

The video is made: 640x360 pixels, 25 fps, 0.9 Mbit/s and a key frame every 5 s, as YouTube has it, index in front,
sound. Each run has a process of its own, with all imports done and another video fetched before the clock starts.

    pip install -e '.[bench,youtube]'
    python benchmarks/segment.py
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import numpy as np

from _common import Result, alternate, fresh, mirror, ratio, report, serve, workspace

ROUNDS = 5
SECONDS, FPS, KEY_FRAME_SECONDS = 600, 25, 5
HEIGHT, WIDTH = 360, 640
START, END = 307, 317
LINE_BYTES_PER_SECOND = 50e6 / 8
ID, WARM_ID = "abcdefghij0", "abcdefghij1"


def write_video(path: Path, *, seconds: int) -> Path:
    """Texture that moves under a little noise, and a tone."""
    rng = np.random.default_rng(0)
    texture = rng.integers(60, 200, (HEIGHT // 8 + 8, WIDTH // 8 + 8), np.uint8).repeat(8, 0).repeat(8, 1)
    noise = rng.integers(0, 7, (32, HEIGHT, WIDTH), np.uint8)
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
    from kinetics_tools.youtube import YouTubeOptions, fetch_clip

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

        slow = mirror.Fault("slow", f"/videos/{ID}.mp4", bytes_per_second=LINE_BYTES_PER_SECOND)
        with serve(root, faults=[slow]) as line, serve(root) as bare:
            sides = {
                "ours, line": lambda: fresh(seconds, with_segment, line, scratch),
                "whole, line": lambda: fresh(seconds, with_whole_and_cut, line, scratch),
                "ours": lambda: fresh(seconds, with_segment, bare, scratch),
                "whole": lambda: fresh(seconds, with_whole_and_cut, bare, scratch),
            }
            if shutil.which("ffmpeg"):
                sides["ffmpeg"] = lambda: fresh(seconds, with_whole_and_ffmpeg, bare, scratch)
            took = alternate(sides, rounds=ROUNDS)

    def compared(claim: str, ours: str, other: str, target: float | None) -> Result:
        bound = "no target" if target is None else "at least"
        values = (f"{median(took[ours]):.2f} s", f"{median(took[other]):.2f} s")
        return Result(claim, *values, ratio(took[other], took[ours]), bound, target or 0.0)

    results = [
        Result("bytes moved, share of the file", f"{moved:,}", f"{size:,}", moved / size, "at most", 0.05),
        compared("50 Mbit/s: times as fast as whole video + our cut", "ours, line", "whole, line", 10),
        compared("no line: times as fast as whole video + our cut", "ours", "whole", None),
    ]
    if "ffmpeg" in took:
        results.append(compared("no line: times as fast as the crawler (whole + ffmpeg)", "ours", "ffmpeg", 10))
    report(f"a segment of {END - START} s out of {SECONDS // 60} minutes", results)


if __name__ == "__main__":
    main()
