"""Options that decide the bytes of prepared clips and the order of the shards."""

from dataclasses import asdict, dataclass
from typing import Any

from kinetics_tools.media import Encoding
from kinetics_tools.preparation.extra_columns import ExtraColumns
from kinetics_tools.text import check_choice, check_count

PROFILES = ("train", "source")
_LOWEST_RATE, _HIGHEST_RATE = 4_000, 192_000
CLIPS_PER_SHARD = 512  # about 400 MB


@dataclass(frozen=True)
class PrepareOptions:
    """Settings of a preparation. The fields are checked when the object is created.

    Attributes:
        profile: "train" to encode clips so that sampling decodes few frames, "source" to keep the bytes of the files.
        encoding: settings of the "train" profile; None for the defaults.
        clips_per_shard: maximum number of annotated clips in a shard, see `shard_count`.
        seed: seed for the order of clips, see `ShardPlan`.
        audio_column: see `ExtraColumns`.
        poster: see `ExtraColumns`.

    Raises:
        ValueError: a field is not valid.
    """

    profile: str = "train"
    encoding: Encoding | None = None
    clips_per_shard: int = CLIPS_PER_SHARD
    seed: int = 0
    audio_column: int | None = None
    poster: bool = False

    def __post_init__(self) -> None:
        check_choice(self.profile, PROFILES, "profile")
        check_count(clips_per_shard=self.clips_per_shard)
        if self.audio_column is not None:
            check_count(audio_column=self.audio_column, minimum=_LOWEST_RATE)
            if self.audio_column > _HIGHEST_RATE:
                raise ValueError(f"audio_column must be at most {_HIGHEST_RATE}, got {self.audio_column}")
        if self.profile == "source" and self.encoding is not None:
            raise ValueError("profile='source' keeps the bytes of clips and takes no encoding; omit one of them")
        if self.profile == "train" and self.encoding is None:
            object.__setattr__(self, "encoding", Encoding())

    def as_dict(self) -> dict[str, Any]:
        """Return the options that decide the bytes of a single clip, in JSON types."""
        extra = ExtraColumns(self.audio_column, self.poster).options()
        return {"profile": self.profile, **(asdict(self.encoding) if self.encoding else {}), **extra}
