"""Single videos into clips: through yt-dlp's generic extractor and a local server, and through its YouTube extractor
with the answers that YouTube gives; nothing leaves this machine.
"""

import hashlib
import http.server
import importlib
import sys
import threading
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import yt_dlp
from yt_dlp.extractor.generic import GenericIE
from yt_dlp.extractor.youtube import YoutubeIE

from kinetics_tools.downloading import FetchedClip, YouTubeOptions, fetch_clip
from kinetics_tools.downloading.youtube import fetch, session
from kinetics_tools.downloading.youtube.errors import RETRIED_KINDS, SegmentError, classify
from kinetics_tools.downloading.youtube.fetch import fetch_clips
from kinetics_tools.downloading.youtube.ranged_file import RangedFile
from kinetics_tools.downloading.youtube.session import FORMATS, Segment, Session
from kinetics_tools.errors import DiskError
from kinetics_tools.io import RetryPolicy
from tests.support import mirror
from tests.support.fault_server import Fault, FaultServer

ID = "-bcdefghij0"  # looks like an option
SECONDS, FPS = 600, 5
POLICIES = fetch._POLICIES


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """Ten minutes of noise with sound: 35 MB, the index in front, a key frame every 4 s. It repeats every 96 s."""
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    options = {"preset": "ultrafast", "crf": "26", "g": "20", "threads": "1"}
    rng = np.random.default_rng(0)
    tone = (0.3 * np.sin(np.arange(96 * 8000) / 5)).astype(np.float32)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        pictures = file.add_stream("libx264", FPS, options=options)
        pictures.height, pictures.width, pictures.pix_fmt = 96, 128, "yuv420p"
        sound = file.add_stream("aac", 8000, layout="mono", options={"aac_coder": "fast"})
        of_pictures, of_sound = [], []
        for index in range(96 * FPS):
            frame = av.VideoFrame(128, 96, "yuv420p")
            for plane in frame.planes:
                plane.update(rng.integers(0, 256, plane.buffer_size, np.uint8))
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            of_pictures += pictures.encode(frame)
        samples = av.AudioFrame.from_ndarray(tone[np.newaxis], "fltp", "mono")
        samples.sample_rate, samples.pts = 8000, 0
        of_sound += [*sound.encode(samples), *sound.encode()][:750]
        of_pictures += pictures.encode()
        for second in range(SECONDS):
            for number in range(second * FPS, (second + 1) * FPS):
                mux_again(file, pictures, of_pictures, number, Fraction(1, FPS))
            for number in range(second * 8000 // 1024, (second + 1) * 8000 // 1024):
                mux_again(file, sound, of_sound, number, Fraction(1024, 8000))
    return path


def mux_again(file, stream, packets, number, duration):
    """Packet `number` of an endless repetition of `packets`, all of which are of one duration in seconds."""
    source = packets[number % len(packets)]
    packet = av.Packet(bytes(source))
    packet.stream, packet.time_base, packet.is_keyframe = stream, duration, source.is_keyframe
    packet.pts = packet.dts = number
    packet.duration = 1
    file.mux(packet)


@pytest.fixture
def server(tmp_path, video):
    mirror.write_video(tmp_path / "root", ID, b"")
    (tmp_path / "root" / "videos" / f"{ID}.mp4").unlink()
    (tmp_path / "root" / "videos" / f"{ID}.mp4").hardlink_to(video)
    with FaultServer(tmp_path / "root") as running:
        yield running


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(RangedFile, "policy", RetryPolicy(4, first_wait_seconds=0.001))
    monkeypatch.setattr(fetch, "_POLICIES", policies(0.001))
    monkeypatch.setattr(session, "_TIMEOUT_SECONDS", 2.0)


def policies(wait_seconds, **retries):
    retries = retries or {kind: policy.retries for kind, policy in POLICIES.items()}
    return {kind.replace("_", "-"): RetryPolicy(count, wait_seconds, 600.0) for kind, count in retries.items()}


def options_for(server, **others):
    return YouTubeOptions(url_template=f"{server.url}/watch/{{youtube_id}}.html", **others)


def frame_hashes(path, start=0, end=SECONDS):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        container.seek(int(max(start - 5, 0) / stream.time_base), stream=stream)
        frames = [(frame.time, frame.to_ndarray()) for frame in container.decode(stream) if frame.time < end]
    return [hashlib.sha256(image.tobytes()).hexdigest() for time, image in frames if time >= start]


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---- One clip -----------------------------------------------------------------------------------------------


def test_a_segment_becomes_a_clip_and_little_else_is_fetched(server, video, tmp_path, monkeypatch):
    options = importlib.import_module("kinetics_tools.media.cut")._H264  # the package has a function of this name
    monkeypatch.setitem(options, "qp", "0")
    monkeypatch.delitem(options, "crf")
    path = tmp_path / "out" / "train" / "zumba" / f"{ID}_000311_000321.mp4"
    clip = fetch_clip(ID, 311, 321, path, options=options_for(server))
    assert files_in(tmp_path / "out") == [f"train/zumba/{ID}_000311_000321.mp4"]
    content = path.read_bytes()
    assert clip == FetchedClip(len(content), hashlib.sha256(content).hexdigest(), 10.0, clip.fetched_bytes)
    assert frame_hashes(path) == frame_hashes(video, 311, 321)
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    sent = server.bytes_sent("/videos/*")
    assert sent == clip.fetched_bytes
    assert sent < 0.05 * video.stat().st_size, sent / video.stat().st_size


def test_the_same_segment_gives_the_same_bytes(server, tmp_path):
    one = fetch_clip(ID, 5, 8, tmp_path / "one.mp4", options=options_for(server))
    two = fetch_clip(ID, 5, 8, tmp_path / "two.mp4", options=options_for(server))
    assert one.sha256 == two.sha256


def test_a_video_that_ends_within_the_segment_gives_what_there_is(server, tmp_path):
    clip = fetch_clip(ID, SECONDS - 4, SECONDS + 6, tmp_path / "clip.mp4", options=options_for(server))
    assert clip.duration == pytest.approx(4, abs=0.1)


def formats_of(server):
    """Small copy of YouTube's offer: separate pictures and sound, a second size, HDR, and a playlist of fragments."""
    pictures = {"ext": "mp4", "acodec": "none", "vcodec": "avc1"}
    sound = {"ext": "m4a", "acodec": "mp4a.40.2", "vcodec": "none", "url": f"{server.url}/sound.m4a"}
    address = server.url_of(f"videos/{ID}.mp4")
    return [
        {**sound, "format_id": "sound", "abr": 128},
        {**pictures, "format_id": "small", "height": 360, "url": f"{address}?small"},
        {**pictures, "format_id": "medium", "height": 720, "url": f"{address}?medium"},
        {**pictures, "format_id": "hdr", "height": 720, "dynamic_range": "HDR10", "url": f"{address}?hdr"},
        {**pictures, "format_id": "large", "height": 1080, "url": f"{address}?large"},
        {"format_id": "hls", "ext": "mp4", "height": 700, "protocol": "m3u8_native", "url": f"{server.url}/x.m3u8"},
    ]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Another pitch than that of the sound beside the pictures."""
    path = tmp_path_factory.mktemp("sound") / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("aac", 8000, layout="mono", options={"aac_coder": "fast"})
        tone = (0.3 * np.sin(np.arange(120 * 8000) / 2)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[np.newaxis], "fltp", "mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.fixture
def two_files(server, sound, monkeypatch):
    """The page, as yt-dlp sees it, of a video of which YouTube has pictures and sound apart."""
    (server.root / "sound.m4a").hardlink_to(sound)
    info = {"id": ID, "title": "t", "formats": formats_of(server)}
    monkeypatch.setattr(GenericIE, "_real_extract", lambda self, url: dict(info))
    return info


def pitch(path):
    with av.open(str(path)) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return np.argmax(np.abs(np.fft.rfft(samples))) / len(samples) * 2 * np.pi


def test_pictures_and_sound_of_two_files_make_one_clip(server, two_files, tmp_path):
    clip = fetch_clip(ID, 100, 104, tmp_path / "clip.mp4", options=options_for(server))
    assert pitch(tmp_path / "clip.mp4") == pytest.approx(1 / 2, abs=0.01)
    assert clip.fetched_bytes == server.bytes_sent("/videos/*") + server.bytes_sent("/sound.m4a")
    assert server.bytes_sent("/sound.m4a") < 1_000_000


@pytest.mark.parametrize(
    ("formats", "chosen"),
    [
        (FORMATS, ["medium", "sound"]),
        ("ba+bv[height<500]", ["small", "sound"]),
        ("large", ["large"]),
    ],
)
def test_formats_are_chosen_by_yt_dlp(formats, chosen, server, two_files):
    one = Session(options_for(server, formats=formats))
    found = one.formats(Segment(ID, 0, 10, Path("clip.mp4")))
    assert [one["format_id"] for one in found] == chosen


def test_a_format_that_is_no_file_is_refused_by_name(server, two_files, tmp_path):
    with pytest.raises(SegmentError, match=r"format is m3u8_native, not a file; choose formats with \[protocol"):
        fetch_clip(ID, 0, 10, tmp_path / "clip.mp4", options=options_for(server, formats="hls"))


def test_media_are_not_asked_for_before_they_are_available(server, two_files, tmp_path):
    two_files["formats"] = [{**one, "available_at": time.time() + 1} for one in two_files["formats"]]
    started = time.time()
    fetch_clip(ID, 5, 6, tmp_path / "clip.mp4", options=options_for(server))
    assert time.time() - started >= 1


# ---- Options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url_template": "https://www.youtube.com/watch"}, "must be a URL with {youtube_id} in it"),
        ({"url_template": "{youtube_id}"}, "must be a URL with {youtube_id} in it"),
        ({"sleep_seconds": -1}, "sleep_seconds must be at least 0, got -1"),
        ({"cookies": "absent.txt"}, "cookies='absent.txt' is not a file"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        YouTubeOptions(**options)


def test_options_that_yt_dlp_refuses_are_so_before_anything_begins(tmp_path):
    (tmp_path / "cookies.txt").write_text("no cookies\n")
    for options in (YouTubeOptions(formats="bv[["), YouTubeOptions(cookies=tmp_path / "cookies.txt")):
        with pytest.raises(ValueError, match="yt-dlp rejects the options: "):
            fetch_clips(iter(()), pytest.fail, options=options)


def test_without_yt_dlp_the_error_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs yt-dlp .*: pip install yt-dlp"):
        fetch_clip(ID, 0, 10, tmp_path / "clip.mp4")


class Recorder(http.server.BaseHTTPRequestHandler):
    """Refuses everything, and keeps what was asked."""

    seen: list = []  # noqa: RUF012

    def do_GET(self):
        self.seen.append((self.path, dict(self.headers)))
        self.send_error(403)

    def log_message(self, *_):
        pass


@pytest.fixture
def recorder():
    Recorder.seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_cookies_are_sent_and_their_file_is_left_as_it_is(recorder, tmp_path):
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tname\tvalue\n")
    before = cookies.read_bytes(), cookies.stat().st_mtime_ns
    options = YouTubeOptions(url_template=f"{recorder}/{{youtube_id}}", cookies=cookies)
    with pytest.raises(SegmentError):
        fetch_clip(ID, 0, 10, tmp_path / "clip.mp4", options=options)
    path, headers = Recorder.seen[0]
    assert (path, headers["Cookie"]) == (f"/{ID}", "name=value")
    assert (cookies.read_bytes(), cookies.stat().st_mtime_ns) == before


def test_requests_go_through_the_proxy(recorder, tmp_path):
    options = YouTubeOptions(url_template="http://127.0.0.1:9/{youtube_id}", proxy=recorder)
    with pytest.raises(SegmentError) as caught:
        fetch_clip(ID, 0, 10, tmp_path / "clip.mp4", options=options)
    assert caught.value.kind == "network"
    assert Recorder.seen[0][0] == f"http://127.0.0.1:9/{ID}"


def test_pages_are_asked_for_with_pauses(server, tmp_path):
    one = Session(options_for(server, sleep_seconds=0.5))
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(SegmentError, match="404"):
            one.fetch(Segment("bcdefghijk0", 0, 10, tmp_path / "clip.mp4"))
    assert time.monotonic() - started >= 1


# ---- What cannot be had -------------------------------------------------------------------------------------

# (status, reason, subreason) of a player's answer, as issues of yt-dlp quote YouTube.
ANSWERS = {
    "removed": [
        ("ERROR", "Video unavailable", None),
        ("ERROR", "Video unavailable", "This video has been removed by the uploader"),
        ("ERROR", "Video unavailable", "This video is no longer available because the YouTube account associated with "
         "this video has been terminated."),
        ("ERROR", "Video unavailable", "This video is no longer available because the uploader has closed their "
         "YouTube account."),
        ("ERROR", "Video unavailable", "This video is no longer available due to a copyright claim by Some Company"),
        ("UNPLAYABLE", "This video has been removed for violating YouTube's policy on hate speech.", None),
        ("UNPLAYABLE", "Video unavailable", "This video contains content from SME, who has blocked it on copyright "
         "grounds"),
        ("UNPLAYABLE", "This video is not available", None),
    ],
    "private": [
        ("LOGIN_REQUIRED", "Private video", "Sign in if you've been granted access to this video"),
        ("LOGIN_REQUIRED", "This video is private", None),
        ("UNPLAYABLE", "Join this channel to get access to members-only content like this video, and other exclusive "
         "perks.", None),
        ("UNPLAYABLE", "This video requires payment to watch", None),
        ("UNPLAYABLE", "This video is only available to Music Premium members", None),
    ],
    "age-limited": [
        ("LOGIN_REQUIRED", "Sign in to confirm your age", "This video may be inappropriate for some users."),
        ("UNPLAYABLE", "This video is age-restricted and only available on YouTube", None),
    ],
    "region-locked": [
        ("UNPLAYABLE", "Video unavailable", "The uploader has not made this video available in your country"),
        ("UNPLAYABLE", "Video unavailable", "This video contains content from SME, who has blocked it in your country "
         "on copyright grounds"),
        ("ERROR", "This video is not available in your country", None),
    ],
    "rate-limited": [
        ("LOGIN_REQUIRED", "Sign in to confirm you\u2019re not a bot", "This helps protect our community. Learn more"),
        ("LOGIN_REQUIRED", "Sign in to confirm you're not a bot", None),
        ("UNPLAYABLE", "Video unavailable", "This content isn't available, try again later."),
    ],
    "network": [("UNPLAYABLE", "The page needs to be reloaded.", None)],
    "other": [("LIVE_STREAM_OFFLINE", "This live event will begin in a few moments.", None)],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "answer"), [(kind, answer) for kind, all_of in ANSWERS.items() for answer in all_of])
def test_answers_of_youtube_are_told_apart(kind, answer, monkeypatch, tmp_path):
    status, reason, subreason = answer
    screen = {"playerErrorMessageRenderer": {"subreason": {"simpleText": subreason}}} if subreason else {}
    player = {"playabilityStatus": {"status": status, "reason": reason, "errorScreen": screen}}
    monkeypatch.setattr(YoutubeIE, "_initial_extract", lambda self, *_: (None, {}, {}, False, [player], None))
    with pytest.raises(SegmentError) as caught:
        fetch_clip(ID, 0, 10, tmp_path / "clip.mp4")
    assert caught.value.kind == kind, str(caught.value)
    assert str(caught.value).startswith((subreason or reason).split("'")[0][:15]) or str(caught.value).startswith(
        reason
    )
    assert files_in(tmp_path) == []


def test_words_of_yt_dlp_itself_are_told_apart():
    extractor = YoutubeIE(yt_dlp.YoutubeDL({"quiet": True}))
    for kind, complain in (
        ("private", extractor.raise_login_required),
        ("region-locked", extractor.raise_geo_restricted),
    ):
        with pytest.raises(yt_dlp.utils.ExtractorError) as caught:
            complain()
        assert classify(str(caught.value)) == kind
    for kind, words in (
        ("rate-limited", "Unable to download API page: HTTP Error 429: Too Many Requests"),
        ("rate-limited", "All player responses are invalid. Your IP is likely being blocked by Youtube"),
        ("rate-limited", "Video unavailable. YouTube is requiring a captcha challenge before playback"),
        ("network", "Unable to download webpage: HTTP Error 503: Service Unavailable"),
        ("network", "Unable to download API page: HTTP Error 403: Forbidden (caused by <HTTPError 403: Forbidden>)"),
        ("network", "Unable to download webpage: [Errno -3] Temporary failure in name resolution"),
        ("network", "Unable to download webpage: The read operation timed out"),
        ("network", "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        ("network", "Failed to extract any player response"),
        ("network", "1024 bytes read, 2048 more expected"),
        ("removed", "Unable to download webpage: HTTP Error 404: Not Found"),
        ("removed", "Unable to download webpage: HTTP Error 410: Gone"),
        ("other", "This video is DRM protected"),
        ("other", "Requested format is not available. Use --list-formats for a list of available formats"),
        ("other", "Premieres in 5 hours"),
        ("other", "Unsupported URL: https://example.com"),
        ("other", ""),
    ):
        assert classify(words) == kind, words


def test_what_another_run_tries_again():
    assert RETRIED_KINDS == ("rate-limited", "network", "no such segment")


MEDIA = "/videos/*"
MIDDLE = 1_800_000  # a byte of [25, 35) s; the file has 35 MB


@pytest.mark.parametrize(
    ("kind", "faults", "words"),
    [
        ("removed", [Fault("status", "/watch/*", code=404)], "HTTP Error 404: Not Found"),
        ("rate-limited", [Fault("status", "/watch/*", code=429)], "HTTP Error 429: Too Many Requests"),
        ("network", [Fault("status", "/watch/*", code=503)], "HTTP Error 503"),
        ("network", [Fault("status", MEDIA, code=403)], "HTTP Error 403"),
        ("network", [Fault("status", MEDIA, code=404)], "HTTP Error 404"),
        ("rate-limited", [Fault("status", MEDIA, code=429)], "HTTP Error 429"),
        ("network", [Fault("status", MEDIA, code=503)], "HTTP Error 503"),
        ("network", [Fault("cut", MEDIA, at=MIDDLE)], r"\(bytes 1,\d+,\d+ to"),
        ("network", [Fault("ignore_range", MEDIA)], "the server ignores Range"),
        ("network", [Fault("chunked", MEDIA), Fault("cut", MEDIA, at=MIDDLE)], r"\(bytes 1,\d+,\d+ to"),
        ("other", [Fault("wrong_length", MEDIA, by=MIDDLE - 35_000_000)], "has a corrupt frame at"),
    ],
)
def test_a_server_that_does_not_recover(kind, faults, words, server, tmp_path):
    server.add(*faults)
    with pytest.raises(SegmentError, match=words) as caught:
        fetch_clip(ID, 25, 35, tmp_path / "out" / "clip.mp4", options=options_for(server))
    assert caught.value.kind == kind
    assert files_in(tmp_path / "out") == []
    assert server.bytes_sent(MEDIA) < 10_000_000


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", MEDIA, code=503, times=3),
        Fault("cut", MEDIA, at=1000, relative=True, times=3),
        Fault("cut", MEDIA, at=1000, relative=True, times=3, reset=True),
        Fault("stall", MEDIA, at=1000, relative=True, times=1),
        Fault("chunked", MEDIA),
    ],
)
def test_a_server_that_recovers(fault, server, video, tmp_path):
    options = options_for(server)
    plain = fetch_clip(ID, 31, 34, tmp_path / "plain.mp4", options=options)
    server.add(fault)
    assert fetch_clip(ID, 31, 34, tmp_path / "clip.mp4", options=options).sha256 == plain.sha256
    assert [fault.kind] in [request.faults for request in server.requests]


def test_a_stall_without_end_times_out(server, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "_TIMEOUT_SECONDS", 0.3)
    server.add(Fault("stall", MEDIA, at=MIDDLE))
    with pytest.raises(SegmentError, match=r"timed out|received .* bytes|bytes read") as caught:
        fetch_clip(ID, 25, 35, tmp_path / "clip.mp4", options=options_for(server))
    assert caught.value.kind == "network"


@pytest.mark.parametrize("known", [True, False])
def test_a_segment_beyond_the_end_of_the_video(known, server, two_files, tmp_path):
    """With the length on the page nothing is fetched for it."""
    if known:
        two_files["duration"] = SECONDS
    with pytest.raises(
        SegmentError, match=r"the video has 600 s|no frame in \[700, 710\) s; its pictures end"
    ) as caught:
        fetch_clip(ID, 700, 710, tmp_path / "clip.mp4", options=options_for(server))
    assert caught.value.kind == "no such segment"
    assert (server.bytes_sent(MEDIA) == 0) == known
    assert not list(tmp_path.glob("*.mp4"))


def test_a_page_that_breaks_yt_dlp_is_an_error_of_that_video(server, tmp_path, monkeypatch):
    monkeypatch.setattr(GenericIE, "_real_extract", lambda self, url: {}["title"])
    with pytest.raises(SegmentError) as caught:
        fetch_clip(ID, 0, 10, tmp_path / "clip.mp4", options=options_for(server))
    assert caught.value.kind == "other"


def test_a_disk_that_cannot_be_written_is_no_error_of_the_video(server, tmp_path):
    (tmp_path / "train").write_bytes(b"a file where a folder should be")
    with pytest.raises(DiskError, match="rerun the command to resume"):
        fetch_clip(ID, 5, 7, tmp_path / "train" / "clip.mp4", options=options_for(server))


def test_a_clip_that_cannot_get_its_name_leaves_nothing(server, tmp_path):
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(DiskError, match=r"clip\.mp4"):
        fetch_clip(ID, 5, 7, tmp_path / "clip.mp4", options=options_for(server))
    assert not list(tmp_path.glob(".*"))


# ---- Many clips ---------------------------------------------------------------------------------------------


@pytest.fixture
def fake_session(monkeypatch):
    """`fetch` without a network: returns or raises what `answers` has for an id, in turn; the last stays."""

    class Fake:
        answers: dict = {}  # noqa: RUF012
        asked: list = []  # noqa: RUF012

        def __init__(self, *_, **__):
            pass

        def fetch(self, segment):
            Fake.asked.append(segment.youtube_id)
            answers = Fake.answers.get(segment.youtube_id, [])
            answer = answers.pop(0) if len(answers) > 1 else answers[0] if answers else None
            if callable(answer):
                answer = answer()
            if isinstance(answer, BaseException):
                raise answer
            return FetchedClip(1, "0" * 64, 10.0, 1)

    Fake.answers, Fake.asked = {}, []
    monkeypatch.setattr(fetch, "Session", Fake)
    return Fake


def segments(*ids):
    return [Segment(one, 0, 10, Path(f"{one}.mp4")) for one in ids]


def kinds_by_path(outcomes):
    return {one.segment.path: one.error.kind if one.error else "complete" for one in outcomes}


def kinds(outcomes):
    return {one.segment.youtube_id: one.error.kind if one.error else "complete" for one in outcomes}


def test_many_segments_through_several_workers(server, tmp_path):
    wanted = [Segment(ID, start, start + 2, tmp_path / f"{start}.mp4") for start in range(10, 70, 10)]
    wanted.append(Segment("bcdefghijk0", 0, 10, tmp_path / "absent.mp4"))
    wanted.append(Segment(ID, 700, 710, tmp_path / "beyond.mp4"))
    outcomes, ticks = [], []
    fetch_clips(iter(wanted), outcomes.append, options=options_for(server), workers=3, tick=lambda: ticks.append(1))
    assert Counter(one.error.kind if one.error else "complete" for one in outcomes) == {
        "complete": 6,
        "removed": 1,
        "no such segment": 1,
    }
    assert sorted(one.segment.path for one in outcomes) == sorted(one.path for one in wanted)
    assert all(one.segment.path.stat().st_size == one.clip.bytes for one in outcomes if one.clip)
    assert ticks


def test_a_server_with_every_fault_now_and_then(server, tmp_path, monkeypatch):
    """All clips get there, with the bytes that they have without faults."""
    # Which request gets a fault depends on the order of threads: enough tries for the worst of them.
    monkeypatch.setattr(fetch, "_POLICIES", policies(0.001, network=19, rate_limited=19))
    wanted = [Segment(ID, start, start + 2, tmp_path / "plain" / f"{start}.mp4") for start in range(0, 120, 20)]
    plain, outcomes = [], []
    fetch_clips(wanted, plain.append, options=options_for(server), workers=2)
    often = {"probability": 0.1, "seed": 1}
    kinds_of_media = ("cut", "stall", "ignore_range", "chunked", "status")
    faults = [Fault(kind, MEDIA, at=1000, relative=True, seconds=0.1, **often) for kind in kinds_of_media]
    faults += [Fault("status", "/watch/*", **often), Fault("status", "*", code=429, **{**often, "seed": 2})]
    server.add(*faults)
    again = [Segment(ID, one.time_start, one.time_end, tmp_path / "again" / one.path.name) for one in wanted]
    fetch_clips(again, outcomes.append, options=options_for(server), workers=2)
    assert kinds_by_path(outcomes) == {one.path: "complete" for one in again}
    assert {one.segment.path.name: one.clip.sha256 for one in outcomes} == {
        one.segment.path.name: one.clip.sha256 for one in plain
    }
    assert {kind for request in server.requests for kind in request.faults} > {"cut", "stall", "status"}


def test_the_network_is_tried_three_times_and_other_errors_once(fake_session):
    errors = {kind: SegmentError(kind, "no") for kind in ("network", "removed", "no such segment", "other")}
    fake_session.answers = {kind: [error] for kind, error in errors.items()}
    fake_session.answers["recovers"] = [errors["network"], errors["network"], None]
    outcomes = []
    fetch_clips(segments(*fake_session.answers), outcomes.append, workers=1)
    assert kinds(outcomes) == {**{kind: kind for kind in errors}, "recovers": "complete"}
    assert Counter(fake_session.asked) == {"network": 3, "removed": 1, "no such segment": 1, "other": 1, "recovers": 3}


def test_when_asked_too_often_all_workers_wait(fake_session, monkeypatch):
    monkeypatch.setattr(fetch, "_POLICIES", policies(0.4))
    asked = []
    limited = [SegmentError("rate-limited", "too often")]

    def first():
        asked.append(time.monotonic())
        return limited.pop() if limited else None

    fake_session.answers = {str(number): [first] for number in range(6)}
    outcomes = []
    fetch_clips(segments(*fake_session.answers), outcomes.append, workers=1)
    assert set(kinds(outcomes).values()) == {"complete"}
    assert asked[1] - asked[0] >= 0.2
    assert asked[-1] - asked[1] < 0.2


def test_who_stays_refused_is_asked_once_for_each_until_it_passes(fake_session):
    limited = SegmentError("rate-limited", "too often")
    fake_session.answers = {"a": [limited], "b": [limited], "c": [None], "d": [limited]}
    outcomes = []
    fetch_clips(segments(*"abcd"), outcomes.append, workers=1)
    assert kinds(outcomes) == {"a": "rate-limited", "b": "rate-limited", "c": "complete", "d": "rate-limited"}
    assert Counter(fake_session.asked) == {"a": 5, "b": 1, "c": 1, "d": 5}


def test_an_interrupt_finishes_and_records_what_is_in_flight(fake_session):
    begun, may_end = threading.Event(), threading.Event()

    def slow():
        begun.set()
        may_end.wait(10)

    def tick():
        if begun.is_set() and not may_end.is_set():
            may_end.set()
            raise KeyboardInterrupt

    fake_session.answers = {"a": [slow]}
    outcomes = []
    with pytest.raises(KeyboardInterrupt):
        fetch_clips(segments(*"abcdef"), outcomes.append, workers=1, tick=tick)
    assert kinds(outcomes) == {"a": "complete"}
    assert fake_session.asked == ["a"]


def test_stop_leaves_a_segment_that_waits_for_another_run(fake_session, monkeypatch):
    monkeypatch.setattr(fetch, "_POLICIES", policies(60.0))
    stop = threading.Event()
    fake_session.answers = {kind: [SegmentError(kind, "no")] for kind in ("network", "rate-limited")}
    threading.Timer(0.3, stop.set).start()
    outcomes = []
    fetch_clips(segments("network", "rate-limited", "next"), outcomes.append, workers=2, stop=stop)
    assert outcomes == []
    assert sorted(fake_session.asked) == ["network", "rate-limited"]


@pytest.mark.parametrize("where", ["disk", "record", "segments"])
def test_what_no_other_clip_would_survive_ends_the_run(where, fake_session):
    broken = DiskError("no room")
    wanted = iter(segments(*"abcdef"))

    def endless():
        yield next(wanted)
        raise broken

    def record(outcome):
        if where == "record":
            raise broken

    if where == "disk":
        fake_session.answers = {"a": [broken]}
    with pytest.raises(DiskError, match="no room"):
        fetch_clips(endless() if where == "segments" else wanted, record, workers=1)
    assert fake_session.asked == ["a"]


def test_at_least_one_worker_is_needed(fake_session):
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        fetch_clips([], pytest.fail, workers=0)


def test_warnings_of_yt_dlp_come_once(monkeypatch):
    warnings = []
    monkeypatch.setattr(session._logger, "warning", warnings.append)
    for one in (ID, "bcdefghijk0"):
        session._YtDlpLog().warning(f"[youtube] {one}: some formats may be missing, {id(warnings)}")
    assert warnings == [f"yt-dlp: [youtube] some formats may be missing, {id(warnings)}"]
