"""Columns that `prepare` adds on request, made from the stored bytes of a clip: a poster, and the sound."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kinetics_tools.media import VideoReader, jpeg, mono_flac, thumbnail
from kinetics_tools.text import stem_of

if TYPE_CHECKING:
    import datasets

_POSTER_BYTES, _POSTER_HEIGHT = 8_000, 180


@dataclass(frozen=True)
class ExtraColumns:
    """Choice of extra columns, which is part of the options of a preparation.

    Attributes:
        audio_column: sample rate in Hz of a column `audio` with the sound of each clip; None for no such column.
        poster: True for a first column `poster`: the middle frame as JPEG of at most 8 kB.
    """

    audio_column: int | None = None
    poster: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "ExtraColumns":
        """Return the choice in the options of a split in a plan or a manifest."""
        return cls(options.get("audio_column"), bool(options.get("poster", False)))

    def options(self) -> dict[str, Any]:
        """Return the choice for `of`, without columns that are not chosen."""
        audio = {} if self.audio_column is None else {"audio_column": self.audio_column}
        return {**audio, **({"poster": True} if self.poster else {})}

    def features(self, columns: Mapping[str, Any]) -> "datasets.Features":
        """Return `columns`, which begin with `video`, with the extra ones."""
        import datasets  # not at the top: worker processes do without it

        (name, video), *others = columns.items()
        first = {"poster": datasets.Image()} if self.poster else {}
        audio = {} if self.audio_column is None else {"audio": datasets.Audio(sampling_rate=self.audio_column)}
        return datasets.Features({**first, name: video, **audio, **dict(others)})

    def values(self, video: Any, file_name: str) -> dict[str, Any]:
        """Return the values of the extra columns for a clip. Raises ClipError if it is unreadable."""
        found: dict[str, Any] = {}
        if self.poster:
            with VideoReader(video) as reader:
                picture = jpeg(thumbnail(reader, _POSTER_HEIGHT), max_bytes=_POSTER_BYTES)
            found["poster"] = {"bytes": picture, "path": f"{stem_of(file_name)}.jpg"}
        if self.audio_column is not None:
            sound = mono_flac(video, self.audio_column)
            found["audio"] = None if sound is None else {"bytes": sound, "path": f"{stem_of(file_name)}.flac"}
        return found


def check_same_columns(splits: Mapping[str, Any]) -> ExtraColumns:
    """Return the extra columns of the splits of a release, given their entries in the manifest.

    Raises:
        ValueError: the splits differ, so that `datasets` cannot load them as one release.
    """
    chosen = {name: ExtraColumns.of(split.get("options", {})) for name, split in splits.items()}
    for field in ("audio_column", "poster"):
        values = {name: getattr(one, field) for name, one in chosen.items()}
        if len(set(values.values())) > 1:
            described = ", ".join(f"{name}: {value or 'no column'}" for name, value in values.items())
            raise ValueError(f"{field} differs between splits ({described}); prepare all splits of a release alike")
    return next(iter(chosen.values()), ExtraColumns())
