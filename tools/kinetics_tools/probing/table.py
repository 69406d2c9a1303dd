"""Table of probes: those of 650,000 clips take 45 MB."""

from typing import Any

import numpy as np
import numpy.typing as npt

from kinetics_tools.media import ClipInfo
from kinetics_tools.probing.clip_probe import ClipProbe, FileState, PackedProbe

_NO_FACTS = (0.0, 0.0, 0, 0, 0, False, "")
_ROW = np.dtype(
    [
        ("is_known", "?"),
        ("bytes", "i8"),  # -1 if unknown
        ("ends", "u8"),
        ("duration_seconds", "f8"),
        ("fps", "f8"),
        ("num_frames", "i4"),
        ("width", "i4"),
        ("height", "i4"),
        ("has_audio", "?"),
        ("codec", "u1"),  # number of its name; 0 without facts
        ("changed", "i8"),  # time in ns
        ("is_deep", "?"),
    ]
)


class ProbeTable:
    """Probes by number, in columns.

    Attributes:
        errors, digests: number -> reason that the clip is unreadable, and SHA-256, of clips that have one.
    """

    def __init__(self) -> None:
        self._rows = np.zeros(0, _ROW)
        self._count = 0
        self.errors: dict[int, str] = {}
        self.digests: dict[int, str] = {}
        self._codecs = [""]

    @property
    def rows(self) -> npt.NDArray[Any]:
        """Structured array of `is_known`, `bytes`, `ends` and the facts of each clip."""
        return self._rows[: self._count]

    def extend(self, count: int) -> int:
        """Add `count` rows, and return the number of the first."""
        first, self._count = self._count, self._count + count
        if self._count > len(self._rows):
            more = max(count, len(self._rows))
            self._rows = np.concatenate([self._rows, np.zeros(more, _ROW)])
        return first

    def put(self, number: int, probe: PackedProbe, state: FileState | None = None, *, deep: bool = False) -> None:
        """Set a probe, with the state of its file. Raises ValueError for other values."""
        try:
            size, ends, facts, error, sha256 = probe
            *values, codec = _NO_FACTS if facts is None else facts
            if not all(value is None or isinstance(value, str) for value in (codec, error, sha256)):
                raise ValueError("must be strings")
            if error is facts is None:
                raise ValueError("has neither facts nor an error")
            row = (True, -1 if size is None else size, int(ends or "0", 16), *values, self._codec(codec))
            # A tuple that is invalid would fill the first columns.
            self._rows[number] = np.array((*row, 0 if state is None else state[1], deep), _ROW)
        except (TypeError, OverflowError) as problem:
            raise ValueError(str(problem)) from None
        for texts, text in ((self.errors, error), (self.digests, sha256)):
            if text is None:
                texts.pop(number, None)
            else:
                texts[number] = text

    def state(self, number: int) -> tuple[FileState, bool]:
        """Return the state of a clip's file, and True if every frame was decoded."""
        row = self._rows[number]
        return (int(row["bytes"]), int(row["changed"])), bool(row["is_deep"])

    def packed(self, number: int) -> PackedProbe:
        """Return a probe as JSON."""
        return self[number].packed()

    def __getitem__(self, number: int) -> ClipProbe:
        values: Any = self._rows[number].item()
        is_known, size, ends, *facts, codec, _, _ = values
        facts.append(self._codecs[codec])
        assert is_known, f"clip {number} was not examined"
        info = ClipInfo(*facts) if codec else None
        error, sha256 = self.errors.get(number), self.digests.get(number)
        return ClipProbe(None if size < 0 else size, f"{ends:016x}" if ends else "", info, error, sha256)

    def readable(self) -> npt.NDArray[np.bool_]:
        """Return for each clip True if it is known and has no error."""
        readable: npt.NDArray[np.bool_] = self.rows["is_known"] & (self.rows["codec"] > 0)
        readable[list(self.errors)] = False
        return readable

    def _codec(self, name: str) -> int:
        if name not in self._codecs:
            self._codecs.append(name)
        return self._codecs.index(name)
