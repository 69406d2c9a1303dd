"""200,000 mutated clips for each of `probe`, `decode` and `read_audio`; ten minutes on two idle cores."""

from pathlib import Path

from tests.support.fuzz import fuzz_on_all_cores


def test_mutated_clips(tmp_path: Path) -> None:
    assert fuzz_on_all_cores("tests.support.media_fuzz", 200_000, tmp_path) == []
