"""The options of prepare: defaults, what is refused, and what prepare.json records."""

from dataclasses import asdict

import pytest

from kinetics_tools.media import Encoding
from kinetics_tools.preparation.options import PrepareOptions


def test_defaults() -> None:
    assert PrepareOptions() == PrepareOptions("train", Encoding(), 512, 0)
    assert PrepareOptions("source").encoding is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"profile": "trian"}, r"unknown profile 'trian'; did you mean 'train'\? \(valid: train, source\)"),
        ({"profile": "source", "encoding": Encoding()}, "profile='source' keeps the bytes of clips"),
        ({"clips_per_shard": 0}, "clips_per_shard must be at least 1, got 0"),
        ({"clips_per_shard": -1}, "clips_per_shard must be at least 1, got -1"),
    ],
)
def test_bad_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrepareOptions(**values)  # type: ignore[arg-type]


def test_what_is_recorded() -> None:
    assert PrepareOptions("source").as_dict() == {"profile": "source"}
    assert PrepareOptions(encoding=Encoding(crf=30)).as_dict() == {"profile": "train", **asdict(Encoding(crf=30))}
