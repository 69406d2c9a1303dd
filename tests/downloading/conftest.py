"""A yt-dlp that starts at once: each session would sort 1,700 extractors, and read all certificates."""

from collections.abc import Iterator

import pytest
import yt_dlp
from yt_dlp.extractor import gen_extractor_classes
from yt_dlp.networking import _helper


@pytest.fixture(scope="session", autouse=True)
def quick_yt_dlp() -> Iterator[None]:
    extractors = [one for one in gen_extractor_classes() if one._ENABLED]

    def add_extractors(downloader: yt_dlp.YoutubeDL) -> None:
        for one in extractors:
            downloader.add_info_extractor(one)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yt_dlp.YoutubeDL, "add_default_info_extractors", add_extractors)
        patch.setattr(_helper, "ssl_load_certs", lambda *_: None)  # all servers are on loopback, without TLS
        yield
