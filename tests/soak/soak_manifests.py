"""200,000 mutated footers of shards, manifests and card headers each; `make soak` runs them, minutes long."""

import copy
import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kinetics_tools.preparation import parse_manifest, read_report
from kinetics_tools.preparation.card import card_patterns, check_header, make_card
from tests.support.prepared import write_prepared

INPUTS = 200_000
CARD_SHARE = 0.01  # of inputs of which a card is made, which takes 5 ms
VALUES = [None, 0, -1, 1e400, True, 10**30, "x", "a\nb", "</script>", [], [[]], {}, {"a": 1}]

Place = tuple[Any, ...]


def paths(value: Any, path: Place = ()) -> Iterator[Place]:
    """Yield the path of each value in a parsed JSON text."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths(item, (*path, key))


def mutated(rng: random.Random, value: Any, places: list[Place]) -> Any:
    """Return a copy in which one value is removed or replaced."""
    value, (*folders, last) = copy.deepcopy(value), rng.choice(places)
    place = value
    for key in folders:
        place = place[key]
    if rng.random() < 0.2:
        del place[last]
    else:
        place[last] = rng.choice(VALUES)
    return value


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    write_prepared(out, "700", "validation", absent=["700va000003"])
    return out


@pytest.fixture(scope="module")
def manifest(folder: Path) -> dict[str, Any]:
    return parse_manifest("700", (folder / "700" / "prepare.json").read_bytes())


def only_value_errors(function: Callable[[Any], Any], inputs: Iterator[Any]) -> None:
    count = refused = 0
    for one in inputs:
        count += 1
        try:
            function(one)
        except ValueError:
            refused += 1
    print(f"\n{count:,} inputs, {refused:,} refused")
    assert refused


def test_a_mutated_manifest_is_refused_or_makes_a_card(manifest: dict[str, Any]) -> None:
    rng, places = random.Random(0), [path for path in paths(manifest) if path[0] == "splits"]

    def use(value: Any) -> None:
        found = parse_manifest("700", json.dumps(value))
        if found["splits"] and rng.random() < CARD_SHARE:
            make_card({"700": found}, {})

    only_value_errors(use, (mutated(rng, manifest, places) for _ in range(INPUTS)))


def test_a_mutated_header_is_refused_or_kept(folder: Path, manifest: dict[str, Any]) -> None:
    _, header, text = (folder / "README.md").read_text().split("---\n", 2)
    values = yaml.safe_load(header)
    del values["dataset_info"]["features"]  # thousands of lines of labels
    rng, places = random.Random(0), list(paths(values))

    def use(value: Any) -> None:
        card = f"---\n{yaml.dump(value, Dumper=getattr(yaml, 'CSafeDumper', yaml.SafeDumper))}---\n{text}"
        check_header(card, "README.md")
        card_patterns(card)
        if rng.random() < CARD_SHARE:
            make_card({"700": manifest}, {}, previous=card)

    only_value_errors(use, (mutated(rng, values, places) for _ in range(INPUTS)))


def test_a_mutated_footer_has_a_report_or_none(folder: Path) -> None:
    rng, content = random.Random(0), next(folder.rglob("*.parquet")).read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    with_report = 0
    for _ in range(INPUTS):
        changed = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            changed[rng.randrange(start, len(content))] = rng.randrange(256)
        with_report += read_report(io.BytesIO(changed)) is not None
    print(f"\n{INPUTS:,} inputs, {with_report:,} with a report")
    assert 0 < with_report < INPUTS
