"""Which prepared splits of a folder are to be published, and what the place that they go to then holds."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import datasets

from kinetics_tools.annotations.selection import Selection
from kinetics_tools.errors import PushError
from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation.card import (
    CARD_NAME,
    annotation_features,
    card_patterns,
    check_header,
    has_text,
    is_named,
    is_ours,
    make_card,
    make_placeholder,
)
from kinetics_tools.preparation.manifest import (
    LOCK_NAME,
    MANIFEST_NAME,
    made_with,
    manifest_bytes,
    parse_manifest,
    put_split,
    read_manifest,
)
from kinetics_tools.preparation.parquet import ShardReport, prepared_features, read_report
from kinetics_tools.preparation.plan import ShardPlan, parse_name
from kinetics_tools.preparation.report import SplitReport
from kinetics_tools.publication.digests import Digests
from kinetics_tools.publication.remote import Destination, State
from kinetics_tools.releases import RELEASES

__all__ = ["Change", "Part", "Publication", "check_unmixed", "find_parts"]

_FILES_A_COMMIT = 50
_HARMLESS = (CARD_NAME, LOCK_NAME, ".gitattributes", ".gitignore", "LICENSE", "dataset_infos.json")


@dataclass(frozen=True)
class Part:
    """A split that is to be published: its shards, and how they were made."""

    release: str
    split: str
    count: int
    fingerprint: str
    pattern: str
    about: Mapping[str, Any] = field(repr=False)  # "basis", "options", "made_with"; without video, "content"

    @classmethod
    def of(cls, release: str, split: str, entry: Mapping[str, Any]) -> "Part":
        """Out of what prepare.json says of the split."""
        about = {name: entry[name] for name in ("content", "basis", "options", "made_with") if name in entry}
        return cls(release, split, entry["shards"], entry["fingerprint"], entry["files"], about)

    @classmethod
    def of_plan(cls, plan: ShardPlan) -> "Part":
        """Before it is made."""
        about = {"basis": plan.basis, "options": plan.options, "made_with": made_with()}
        return cls(plan.release, plan.split, plan.count, plan.fingerprint, plan.pattern, about)

    @property
    def basis(self) -> Mapping[str, Any]:
        return self.about.get("basis", {})

    @property
    def title(self) -> str:
        return f"{self.release} {self.split}"

    @property
    def features(self) -> datasets.Features:
        return annotation_features(self.release) if "content" in self.about else prepared_features(self.release)

    def shard(self, name: str) -> int | None:
        """The number of the shard that a file is; None of any other file."""
        found = parse_name(name) if name.startswith(f"{self.release}/") else None
        return found[1] if found and (found[0], found[2:]) == (self.split, (self.count, self.fingerprint)) else None

    def replaces(self, name: str) -> bool:
        """Whether a file is a shard of another preparation of this split."""
        found = parse_name(name) if name.startswith(f"{self.release}/") else None
        return found is not None and found[0] == self.split and self.shard(name) is None


def find_parts(store: Folder, releases: Sequence[str] | None, splits: Sequence[str] | None) -> list[Part]:
    """The prepared splits in a folder; those of `releases` and `splits` where these are given.

    Raises ValueError for names that are none, and for splits that are not there.
    """
    for release in releases or RELEASES:
        Selection(release, splits=list(splits) if splits else None)
    found = {
        (release, split): entry
        for release in RELEASES
        for split, entry in read_manifest(store, release)["splits"].items()
    }
    there = [f"{release} {split}" for release, split in found]
    parts = [
        Part.of(release, split, entry)
        for (release, split), entry in found.items()
        if (releases is None or release in releases) and (splits is None or split in splits)
    ]
    for release in releases or ():
        if not any(part.release == release for part in parts):
            raise ValueError(f"{store.url} has no {release} {'/'.join(splits or ('split',))}; it has {_list(there)}")
    for split in splits or ():
        if not any(part.split == split for part in parts):
            raise ValueError(f"{store.url} has no {split} split; it has {_list(there)}")
    if not parts:
        raise ValueError(f"{store.url} holds no prepared clips; `kinetics prepare` makes them")
    return parts


def check_unmixed(store: Folder, parts: Iterable[Part]) -> None:
    """Raises ValueError where a folder has shards of another preparation of a split, too."""
    for part in parts:
        others = sorted(name for name in store.sizes(part.release) if part.replaces(f"{part.release}/{name}"))
        if others:
            raise ValueError(
                f"{store.path(part.release)} mixes two preparations of {part.split}: {part.fingerprint} is to be "
                f"published, and there is {others[0]}; remove the files of one of them"
            )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


@dataclass(frozen=True)
class Change:
    """One commit, whose files are whole and wanted.

    Attributes:
        add: path -> content, None for that of the local file.
        switches: whether readers see it: it has the card.
    """

    add: dict[str, bytes | None]
    delete: tuple[str, ...]
    switches: bool


class Publication:
    """`parts` of a local folder on their way to `destination`."""

    def __init__(
        self,
        store: Folder,
        parts: Sequence[Part],
        destination: Destination,
        *,
        allow_partial: bool = False,
        force: bool = False,
        in_one: bool = False,
    ):
        self.parts = parts
        self.digests = Digests(store.root)
        self.store = store
        self._destination = destination
        self._allow_partial = allow_partial
        self._force = force
        self.in_one = in_one
        self._reports: dict[Any, ShardReport] = {}
        self._texts: dict[str, str] = {}

    def local(self, part: Part) -> dict[str, int]:
        """Files of a part that are here -> bytes."""
        files = {f"{part.release}/{name}": size for name, size in self.store.sizes(part.release).items()}
        return {name: size for name, size in sorted(files.items()) if part.shard(name) is not None}

    def check(self, state: State, *, last: bool = True) -> None:
        """Raises PushError where the place holds something else, or, in the end, lacks what is not here.

        And ValueError where its card or a prepare.json of it is damaged.
        """
        foreign = self._foreign(state)
        if foreign and not self._force:
            raise PushError(
                f"{self._destination.url} holds something else ({foreign[0]}); name another repository, or pass "
                "--force to put the clips beside it and replace its card"
            )
        check_header(self._read(state, CARD_NAME), f"{self._destination.url}: {CARD_NAME}")
        for part in self.parts:
            held = self._summary(state, part.release)["splits"]
            has_video = part.split in held and "content" not in held[part.split]
            if has_video and "content" in part.about and not self._force:
                raise PushError(
                    f"{self._destination.url} holds the clips of {part.title}; pass --force to put their annotations "
                    "in their place, or name another repository"
                )
        for part in self.parts if last else ():
            there = {part.shard(name) for name in (*self.local(part), *state.files)} - {None}
            if len(there) < part.count and not self._allow_partial:
                raise PushError(
                    f"{part.title} is incomplete: {part.count - len(there):,} of its {part.count:,} files are neither "
                    f"here nor there; `kinetics prepare` makes them, or pass --allow-partial"
                )
            if not there:
                raise PushError(f"{part.title} has no file yet; `kinetics prepare` makes them")

    def lacking(self, state: State) -> list[str]:
        """Local files that the place does not hold as they are here."""
        names = [name for part in self.parts for name in self.local(part)]
        with ThreadPoolExecutor(4) as pool:
            holds = pool.map(lambda name: self._destination.holds(state, name, self.digests), names)
            return [name for name, held in zip(names, holds, strict=True) if not held]

    def change(self, state: State, *, last: bool = True) -> Change | None:
        """The next commit; None where nothing is to be done.

        Files that no card names come first, some at a time. The last commit has the rest and the card: it is the one
        that readers see. A file that the card in force names and that is to change must wait for it, too. With `last`
        False more files will be made, and the commit is one of the first kind.
        """
        lacking = self.lacking(state)
        card = self._read(state, CARD_NAME)
        patterns = card_patterns(card)
        add: dict[str, bytes | None] = {}
        if patterns is None and not has_text(card) and not self._foreign(state):
            patterns = []
            add[CARD_NAME] = make_placeholder(card).encode()
        # Where no card says which files count, `datasets` takes all that look like data.
        are_all_seen = patterns is None or self.in_one
        hidden = [] if are_all_seen else [name for name in lacking if not is_named(name, patterns or ())]
        if len(hidden) > _FILES_A_COMMIT or (hidden and not last):
            return Change(add | dict.fromkeys(hidden[:_FILES_A_COMMIT]), (), switches=False)
        if not last:
            return None
        delete = [name for name in sorted(state.files) if any(part.replaces(name) for part in self.parts)]
        described = {
            name: content
            for name, content in self._description(state, lacking, delete, card).items()
            if name not in state.files or self._read(state, name).encode() != content
        }
        if not (lacking or delete or described):
            return None
        return Change({**dict.fromkeys(lacking), **described}, tuple(delete), switches=True)

    def reports(self, state: State, part: Part) -> dict[int, ShardReport]:
        """Of all shards of a part, by their footers: of those that are here, and the others there."""
        local = self.local(part)
        names = [*local, *(name for name in state.files if part.shard(name) is not None and name not in local)]

        def report(name: str) -> ShardReport:
            remote = state.files.get(name)
            key = name, self.digests.size(name) if name in local else remote
            if key not in self._reports:
                open_ = self.store.open if name in local else lambda name: self._destination.open(name, state)
                with open_(name) as file:
                    found = read_report(file)
                if found is None or found.fingerprint != part.fingerprint:
                    where = self.store.path(name) if name in local else f"{self._destination.url}: {name}"
                    raise PushError(f"{where} is damaged; remove it, and `kinetics prepare` makes it again")
                self._reports[key] = found
            return self._reports[key]

        with ThreadPoolExecutor(16) as pool:
            found = pool.map(report, names)
            return {part.shard(name) or 0: one for name, one in zip(names, found, strict=True)}

    def _description(self, state: State, lacking: Sequence[str], delete: Sequence[str], card: str) -> dict[str, bytes]:
        """prepare.json of each release, and the card of all, as they are to be."""
        summaries = {release: self._summary(state, release) for release in RELEASES}
        for part in self.parts:
            report = SplitReport.of(part, self.reports(state, part))
            put_split(summaries[part.release], part.split, {**asdict(report), **part.about})
        sizes = {name: file.size for name, file in state.files.items() if name not in delete}
        sizes |= {name: self.digests.size(name) for name in lacking}
        found = {
            f"{release}/{MANIFEST_NAME}": manifest_bytes(summaries[release])
            for release in dict.fromkeys(part.release for part in self.parts)
        }
        text = make_card(summaries, sizes, repo_id=self._destination.repo_id, previous=card)
        return {**found, CARD_NAME: text.encode()}

    def _summary(self, state: State, release: str) -> dict[str, Any]:
        name = f"{release}/{MANIFEST_NAME}"
        return parse_manifest(release, self._read(state, name), where=f"{self._destination.url}: {name}")

    def _read(self, state: State, name: str) -> str:
        if name not in state.files:
            return ""
        oid = state.files[name].git_oid
        if oid is None:
            return self._destination.read(name, state).decode(errors="replace")
        if oid not in self._texts:
            self._texts[oid] = self._destination.read(name, state).decode(errors="replace")
        return self._texts[oid]

    def _foreign(self, state: State) -> list[str]:
        """Files of a place that is not ours; none in one that is, whatever else its owner put there."""
        card = self._read(state, CARD_NAME)
        if is_ours(card):
            return []
        names = [name for name in sorted(state.files) if name not in _HARMLESS and not _is_ours(name)]
        return [CARD_NAME, *names] if has_text(card) or card_patterns(card) else names


def _is_ours(name: str) -> bool:
    release, _, rest = name.partition("/")
    return release in RELEASES and (rest == MANIFEST_NAME or parse_name(rest) == parse_name(name) is not None)
