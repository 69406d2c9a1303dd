"""Mutated annotations, archives, predictions and ledgers; `make soak` reads many more of them."""

from tests.support.fuzz import fuzz
from tests.support.input_fuzz import TARGETS, _originals


def test_inputs_are_valid_before_they_are_mutated():
    for target, originals in _originals().items():
        for original in originals:
            TARGETS[target][0](original)


def test_only_documented_errors_no_hang_and_no_flood_of_memory(tmp_path):
    assert fuzz("tests.support.input_fuzz", 0, 100, tmp_path) == []
