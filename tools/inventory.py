"""What a tree holds of a split: extracted clips, or archives where there are none, as the loader takes them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import kinetics
from kinetics_tools.findings import Finding

__all__ = ["REPLACEMENT_ARCHIVE", "Clip", "Inventory"]

REPLACEMENT_ARCHIVE = "replacement_for_corrupted_k400.tgz"


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
    return Clip(path, path.rpartition("/")[2].rpartition(".")[0], folder, in_archive)


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
    clips: list[Clip] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    archives_left_out: int = 0
    replaced: int = 0
    deeper: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    left_out: int = 0

    def __post_init__(self) -> None:
        for directory in kinetics.split_directories(self.root, self.split):
            paths, archives = kinetics.list_directory(directory)
            self.deeper += map(self._relative, _clips_deeper(directory))
            self.archives += map(self._relative, archives)
            for path in map(self._relative, paths):
                self.clips.append(_clip(path, "" if path.count("/") == 1 else path.split("/")[1]))
        self._has_replacements = self.release == "400" and self.split == "train"
        if self.clips:
            self.archives_left_out, self.archives = len(self.archives), []
            if self._has_replacements:
                self._add_replacements()
        elif self._has_replacements:
            folders = [self.root, *kinetics.replacement_directories(self.root)]
            found = [f"{folder}/{REPLACEMENT_ARCHIVE}" for folder in folders]
            self.archives += map(self._relative, filter(os.path.isfile, found))
        self.archives.sort()
        self.deeper.sort()
        self.clips.sort(key=lambda clip: clip.path)

    def _relative(self, path: str) -> str:
        return path[len(self.root.rstrip("/")) + 1 :]

    def _add_replacements(self) -> None:
        directories = kinetics.replacement_directories(self.root)
        # One of the directories may lie in another.
        paths = {path for directory in directories for path in kinetics.list_directory(directory)[0]}
        self._replace([_clip(self._relative(path), "") for path in sorted(paths)])

    def _replace(self, replacements: list[Clip]) -> None:
        """Puts them in the place of the clips of the same videos, as the loader does."""
        originals = {clip.stem[:11]: clip for clip in self.clips}
        for clip in replacements:
            original = originals.get(clip.stem[:11])
            if original is not None:
                clip.stem, clip.folder = original.stem, original.folder
        ids = {clip.stem[:11] for clip in replacements}
        others = [clip for clip in self.clips if clip.stem[:11] not in ids]
        self.replaced += len(self.clips) - len(others)
        self.clips = others + replacements

    def add_members(self, members: dict[str, dict[str, Finding]]) -> None:
        """Adds what archives hold: archive -> member -> finding."""
        replacements: list[Clip] = []
        for archive in self.archives:
            for member, finding in members.get(archive, {}).items():
                folder = member.rpartition("/")[0].rpartition("/")[2]
                clip = _clip(f"{archive}/{member.removeprefix('./')}", folder, in_archive=True)
                clip.finding = finding
                replaces = self._has_replacements and archive.endswith(REPLACEMENT_ARCHIVE)
                (replacements if replaces else self.clips).append(clip)
        if replacements:
            self._replace(replacements)

    def keep(self, is_wanted: Callable[[str], bool]) -> None:
        """Drops the clips of whose stems this is not so."""
        kept = [clip for clip in self.clips if is_wanted(clip.stem)]
        self.left_out += len(self.clips) - len(kept)
        self.clips = kept
        self.deeper = [path for path in self.deeper if is_wanted(_clip(path, "").stem)]


def _clips_deeper(directory: str) -> Iterator[str]:
    """Paths of the clips in folders of the folders in a directory."""
    with os.scandir(directory) as entries:
        folders = [entry.path for entry in entries if entry.is_dir()]
    for folder in folders:
        with os.scandir(folder) as entries:
            for top in [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]:
                for parent, _, names in os.walk(top):
                    yield from (f"{parent}/{name}" for name in names if kinetics.is_clip(name))
