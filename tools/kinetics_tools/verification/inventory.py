"""What a tree holds of a split: extracted clips, or archives where there are none, as the loader takes them."""

from dataclasses import dataclass, field

from kinetics_tools.annotations import ClipIndex
from kinetics_tools.sources import (
    REPLACEMENTS_NAME,
    clips_below,
    has_replacements,
    replaced_clip,
    replacement_archives,
    replacement_clips,
    scan_split,
)
from kinetics_tools.text import stem_of
from kinetics_tools.verification.probe_cache import Finding

__all__ = ["Clip", "Inventory"]


@dataclass(slots=True, eq=False)
class Clip:
    """A clip's file, or a member of an archive.

    Attributes:
        path: in the tree, "train/abseiling/x.mp4"; of a member "train/part_0.tar.gz/x.mp4".
        stem: its name without suffix.
        folder: the directory that may name its class; "" where it lies in none.
        in_archive: whether `folder` may just as well be another part of the path.
    """

    path: str
    stem: str
    folder: str
    in_archive: bool
    finding: Finding | None = None

    @property
    def known(self) -> Finding:
        assert self.finding is not None, f"nobody looked into {self.path}"
        return self.finding


def _clip(path: str, folder: str, *, in_archive: bool = False) -> Clip:
    return Clip(path, stem_of(path), folder, in_archive)


@dataclass
class Inventory:
    """The files of a split of `release` under the directory `root`.

    Attributes:
        clips: extracted clips; with `add_members`, those in archives.
        archives: paths in the tree of those to read; none where there are extracted clips.
        archives_left_out: how many archives lie beside extracted clips.
        replaced: number of files of 400 that the published replacements stand in for. They are not in `clips`.
        deeper: paths in the tree of clips in folders of folders of the split, where no layout has any.
        broken: archive -> why it could not be read to its end.
        left_out: number of clips that `keep` has dropped.
    """

    root: str
    release: str
    split: str
    index: ClipIndex
    clips: list[Clip] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    archives_left_out: int = 0
    replaced: int = 0
    deeper: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    left_out: int = 0

    def __post_init__(self) -> None:
        files = scan_split(self.root, self.split)
        self.deeper = sorted(map(self._relative, clips_below(files.folders)))
        for path in sorted(map(self._relative, files.clips + files.dead_links)):
            self.clips.append(_clip(path, "" if path.count("/") == 1 else path.split("/")[1]))
        archives = files.archives
        self._has_replacements = has_replacements(self.release, self.split)
        if self.clips:
            self.archives_left_out, archives = len(archives), []
            if self._has_replacements:
                self._replace([_clip(self._relative(path), "") for path in replacement_clips(self.root)])
        elif self._has_replacements:
            archives = archives + replacement_archives(self.root)
        self.archives = sorted(map(self._relative, archives))

    def _relative(self, path: str) -> str:
        return path[len(self.root.rstrip("/")) + 1 :]

    def _replace(self, replacements: list[Clip]) -> None:
        """Puts them in the place of the clips of the same videos, as the loader does."""
        names = {clip.path: replaced_clip(self.index, clip.stem) for clip in replacements}
        by_name = {name: clip for clip in self.clips if (name := self.index.find(clip.stem)) is not None}
        for clip in replacements:
            name = names[clip.path]
            if name is not None:
                clip.stem = name
                clip.folder = by_name[name].folder if name in by_name else clip.folder
        replaced = {name for name in names.values() if name is not None}
        others = [clip for clip in self.clips if self.index.find(clip.stem) not in replaced]
        self.replaced += len(self.clips) - len(others)
        self.clips = sorted(others + replacements, key=lambda clip: clip.path)

    def add_members(self, members: dict[str, dict[str, Finding]]) -> None:
        """Adds what archives hold: archive -> member -> finding."""
        replacements: list[Clip] = []
        for archive in self.archives:
            for member, finding in members.get(archive, {}).items():
                folder = member.rpartition("/")[0].rpartition("/")[2]
                clip = _clip(f"{archive}/{member.removeprefix('./')}", folder, in_archive=True)
                clip.finding = finding
                replaces = self._has_replacements and archive.endswith(REPLACEMENTS_NAME)
                (replacements if replaces else self.clips).append(clip)
        if replacements:
            self._replace(replacements)

    def drop_excluded(self) -> None:
        """Drop the files of annotated clips that are not asked for."""
        kept = [clip for clip in self.clips if not self.index.is_excluded(clip.stem)]
        self.left_out += len(self.clips) - len(kept)
        self.clips = kept
        self.deeper = [path for path in self.deeper if not self.index.is_excluded(stem_of(path))]
