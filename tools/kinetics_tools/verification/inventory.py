"""Inventory of a split: extracted clips, or archives if there are none, as in loading."""

import sys
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


@dataclass(slots=True, eq=False)
class Clip:
    """File of a clip, or member of an archive.

    Attributes:
        path: relative to the clip directory, "train/abseiling/x.mp4"; of a member "train/part_0.tar.gz/x.mp4".
        folder: the directory that may name its class; "" without one.
        is_annotated: True if it is an annotated clip of its split.
        alias: name of that clip if the file has another name; else None.
        in_archive: True for a member; `folder` may then be any part of the path.
        number: its number in the table of probes; -1 before its examination.
    """

    path: str
    folder: str
    is_annotated: bool = False
    alias: str | None = None
    in_archive: bool = False
    number: int = -1

    @property
    def stem(self) -> str:
        """File name without suffix."""
        return stem_of(self.path)

    @property
    def owner(self) -> str | None:
        """Name of the annotated clip that it is; None if it is none of its split."""
        # Not stored: 650,000 names take 50 MB.
        return self.alias or (self.stem if self.is_annotated else None)

    @owner.setter
    def owner(self, name: str | None) -> None:
        self.is_annotated, self.alias = name is not None, None if name == self.stem else name


@dataclass
class Inventory:
    """Files of a split of `release` in the directory `root`.

    Attributes:
        clips: extracted clips; after `add_members`, those in archives.
        archives: relative paths of the archives to read; empty if there are extracted clips.
        archives_left_out: number of archives beside extracted clips.
        replaced: number of files of 400 that the published replacements replace. They are not in `clips`.
        deeper: relative paths of clips that are deeper in the split than in any layout.
        broken: archive -> reason that it could not be read to its end.
        left_out: number of clips that `drop_excluded` dropped.
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
        paths = sorted(map(self._relative, files.clips + files.dead_links + files.no_files))
        archives = files.archives
        del files  # with the absolute paths, 100 MB of 650,000 clips
        for path in paths:
            self.clips.append(self._clip(path, "" if path.count("/") == 1 else path.split("/")[1]))
        self._has_replacements = has_replacements(self.release, self.split)
        if self.clips:
            self.archives_left_out, archives = len(archives), []
            if self._has_replacements:
                self._replace([self._clip(self._relative(path), "") for path in replacement_clips(self.root)])
        elif self._has_replacements:
            archives = archives + replacement_archives(self.root)
        self.archives = sorted(map(self._relative, archives))

    def _relative(self, path: str) -> str:
        return path[len(self.root.rstrip("/")) + 1 :]

    def _clip(self, path: str, folder: str, *, in_archive: bool = False) -> Clip:
        clip = Clip(path, sys.intern(folder), in_archive=in_archive)
        clip.owner = self.index.find(clip.stem)
        return clip

    def _replace(self, replacements: list[Clip]) -> None:
        """Replace clips by the replacements of the same videos, as the loader does."""
        by_name = {clip.owner: clip for clip in self.clips if clip.owner is not None}
        replaced = set()
        for clip in replacements:
            clip.owner = replaced_clip(self.index, clip.stem)
            if clip.owner is not None:
                replaced.add(clip.owner)
                clip.folder = by_name[clip.owner].folder if clip.owner in by_name else clip.folder
        others = [clip for clip in self.clips if clip.owner not in replaced]
        self.replaced += len(self.clips) - len(others)
        self.clips = sorted(others + replacements, key=lambda clip: clip.path)

    def add_members(self, members: dict[str, dict[str, int]]) -> None:
        """Add the clips in archives: archive -> member -> number of its probe."""
        replacements: list[Clip] = []
        for archive in self.archives:
            for member, number in members.get(archive, {}).items():
                folder = member.rpartition("/")[0].rpartition("/")[2]
                clip = self._clip(f"{archive}/{member.removeprefix('./')}", folder, in_archive=True)
                clip.number = number
                replaces = self._has_replacements and archive.endswith(REPLACEMENTS_NAME)
                (replacements if replaces else self.clips).append(clip)
        if replacements:
            self._replace(replacements)

    def drop_excluded(self) -> None:
        """Drop the files of annotated clips that are not asked for."""
        if self.index.takes_all:
            return
        kept = [clip for clip in self.clips if not self.index.is_excluded(clip.owner or "")]
        self.left_out += len(self.clips) - len(kept)
        self.clips = kept
        self.deeper = [path for path in self.deeper if not self.index.is_excluded(stem_of(path))]
