"""200,000 mutated inputs for each reader of text and archives; half an hour on two idle cores."""

from pathlib import Path

from tests.support.fuzz import fuzz_on_all_cores


def test_mutated_inputs(tmp_path: Path) -> None:
    assert fuzz_on_all_cores("tests.support.input_fuzz", 200_000, tmp_path) == []
