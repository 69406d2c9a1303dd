"""Reader of submissions to the ActivityNet challenge, JSON of any size, one video after the other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from kinetics_tools.evaluation.fields import OUTSIDE, LabelIndices, to_scores
from kinetics_tools.evaluation.ranking import best_classes

_BLOCK = 1 << 20  # characters
_MAX_VALUE = 1 << 24  # characters; the 700 scores of a video have 40,000
_AFTER_VALUE = tuple(",:]} \t\r\n")
_FORM = 'it must be {"results": {video id: [{"label", "score"}, ...]}}'


def read_submission(path: Path, labels: LabelIndices) -> Iterator[tuple[str, list[int] | str]]:
    """Yield the id of each video, and its best classes or the reason that it has none."""
    with open(path, encoding="utf-8-sig") as file:
        text = _JsonText(file)
        try:
            yield from _predictions(path, text, labels)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not valid JSON ({error.msg} at character {text.start + error.pos:,})") from None
        except (UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{path}: not valid JSON ({error})") from None


def _predictions(path: Path, text: "_JsonText", labels: LabelIndices) -> Iterator[tuple[str, list[int] | str]]:
    found = False
    if text.next() == "{":
        for name in text.members():
            if name == "results" and text.next() == "{":
                found = True
                for video in text.members():
                    yield video, _best(text.value(), labels)
            else:
                text.value()
        if text.next():
            text.fail("Extra data")
    if not found:
        raise ValueError(f"{path}: not a submission: {_FORM}")


def _best(entries: Any, labels: LabelIndices) -> list[int] | str:
    try:
        entries = [entry for entry in entries if labels[entry["label"]] != OUTSIDE]
        indices = [labels[entry["label"]] for entry in entries]
        scores = [entry["score"] for entry in entries]
        if len(set(indices)) < len(indices):
            repeated = next(place for place, index in enumerate(indices) if index in indices[:place])
            return f"has two scores of {entries[repeated]['label']!r}"
        return best_classes(np.array(indices, np.int64), to_scores(scores))
    except ValueError as error:
        return str(error)
    except (TypeError, KeyError):
        return 'must be [{"label", "score"}, ...]'


class _JsonText:
    """JSON text of a file, decoded value by value. `start` is the number of characters that are dropped.

    Raises JSONDecodeError for invalid text, and for a value of over 16 million characters.
    """

    def __init__(self, file: TextIO):
        self.start = 0
        self._file = file
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def next(self) -> str:
        """Return the next character other than a space, without taking it; "" at the end."""
        while True:
            rest = self._text[self._at : self._at + 1]
            if rest and not rest.isspace():
                return rest
            if rest:
                self._at += 1
            elif not self._read():
                return ""

    def take(self, *expected: str) -> str:
        """Take the next character, which must be one of `expected`."""
        found = self.next()
        if found not in expected:
            self.fail(f"Expecting {' or '.join(map(repr, expected))}")
        self._at += 1
        return found

    def members(self) -> Iterator[str]:
        """Yield the name of each member of an object; the value of each must be taken before the next."""
        self.take("{")
        if self.next() == "}":
            self.take("}")
            return
        while True:
            if self.next() != '"':
                self.fail("Expecting a name in double quotes")
            name = self.value()
            self.take(":")
            yield name
            if self.take(",", "}") == "}":
                return

    def value(self) -> Any:
        """Take the next value."""
        self.next()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if len(self._text) - self._at > _MAX_VALUE or not self._read():
                    raise
                continue
            except ValueError:  # Python converts 4,300 digits at most
                self.fail("A number with too many digits")
            # A number may continue in the next block.
            if self._text[end : end + 1] in _AFTER_VALUE or not self._read():
                self._at = end
                return found

    def fail(self, reason: str) -> None:
        """Raise JSONDecodeError at the next character."""
        raise json.JSONDecodeError(reason, self._text, self._at)

    def _read(self) -> bool:
        """Read more text, at least as much as there is left."""
        more = self._file.read(max(_BLOCK, len(self._text) - self._at))
        if more:
            self.start += self._at
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)
