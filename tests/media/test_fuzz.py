"""Mutated clips end in frames, sound and facts, or in a ClipError; `make soak` reads many more of them."""

from contextlib import suppress

import pytest

from kinetics_tools.media import decode, probe, read_audio
from tests.support.fuzz import fuzz
from tests.support.media_fuzz import TARGETS, clips


def test_clips_are_whole_before_they_are_mutated():
    for clip in clips():
        assert probe(clip).num_frames == 12
        assert decode(clip, [0, 11]).shape == (2, 32, 32, 3)
        assert read_audio(clip).samples.shape[1] == pytest.approx(22_050, abs=3000)


def test_no_other_error_no_hang_and_no_flood_of_memory(tmp_path):
    assert fuzz("tests.support.media_fuzz", 0, 200, tmp_path) == []


def test_inputs_that_once_raised_other_errors_or_took_gigabytes(shared):
    faults = shared / "faults"
    paths = [*faults.glob("27-fuzz/decode*"), *faults.glob("27-fuzz/probe*"), *faults.glob("34-*/*.mp4")]
    paths += faults.glob("22-*/*.mp4")
    assert len(paths) == 8
    for path in paths:
        for read, allowed in TARGETS.values():
            with suppress(allowed):
                read(path.read_bytes())
