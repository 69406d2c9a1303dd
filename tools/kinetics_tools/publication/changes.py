"""Differences between the prepared splits of a folder and a remote, and the next step to publish them."""

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from kinetics_tools.errors import PushError
from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation import (
    LOCK_NAME,
    MANIFEST_NAME,
    ShardReport,
    SplitReport,
    check_versions,
    manifest_bytes,
    manifest_entry,
    parse_manifest,
    parse_name,
    put_split,
    read_footer,
    read_report,
)
from kinetics_tools.preparation.card import (
    CARD_NAME,
    CLASS_CHART,
    CONTACT_SHEET,
    card_patterns,
    check_header,
    has_text,
    is_named,
    is_ours,
    make_card,
    make_placeholder,
)
from kinetics_tools.publication.digests import DIGESTS_NAME, Digests, FileState
from kinetics_tools.publication.parts import Part
from kinetics_tools.publication.pictures import MAX_BYTES, Pictures, make_pictures
from kinetics_tools.publication.remote import Change, Listing, Remote
from kinetics_tools.releases import RELEASES

_SHARDS_WITH_CARD = 50  # largest number of shards that one commit uploads together with their card
_WORKERS = 16
_PICTURES = (CLASS_CHART, CONTACT_SHEET)
_BESIDE = (LOCK_NAME, DIGESTS_NAME, ".gitattributes", ".gitignore", "LICENSE", "dataset_infos.json")
_HARMLESS = (CARD_NAME, *_PICTURES, *_BESIDE)


class Publication:
    """Publication of `parts` from a local folder to a remote.

    With `in_one`, all changes are one commit. With `pictures`, the card gets pictures; `notes` names those that it does
    not have. A shard is up to date if the SHA-256 at the remote is the same. Buckets and folders list none; there size
    and Parquet footer count, which names each clip and the offset of its bytes. Remote footers are read once per run.
    """

    def __init__(
        self,
        store: Folder,
        parts: Sequence[Part],
        remote: Remote,
        *,
        allow_partial: bool = False,
        force: bool = False,
        in_one: bool = False,
        is_mixture_allowed: bool = False,
        pictures: bool = True,
    ):
        self.parts = parts
        self.store = store
        self.in_one = in_one
        self.notes: list[str] = []
        self._remote = remote
        self._allow_partial = allow_partial
        self._force = force
        self._is_mixture_allowed = is_mixture_allowed
        self._has_pictures = pictures
        self._digests = Digests(store)
        self._uploaded: dict[str, FileState] = {}  # name -> state of the file at that moment
        self._footers: dict[tuple[str, int], bytes] = {}  # of the remote, by name and size

    def local(self, part: Part) -> dict[str, int]:
        """Return the local shards of a part: name -> bytes."""
        files = {f"{part.release}/{name}": size for name, size in self.store.sizes(part.release).items()}
        return {name: size for name, size in sorted(files.items()) if part.shard(name) is not None}

    def all_local(self) -> dict[str, int]:
        """Return the local shards of all parts: name -> bytes."""
        return {name: size for part in self.parts for name, size in self.local(part).items()}

    # ---- What the remote has --------------------------------------------------------------------------------

    def check(self, listing: Listing, *, last: bool = True) -> None:
        """Raise PushError if the remote holds other content, or if shards are missing in both places.

        Raises:
            ValueError: its card or a prepare.json is corrupt.
        """
        foreign = self._foreign(listing)
        if foreign and not self._force:
            raise PushError(
                f"{self._remote.url} has other content ({foreign[0]}); name another repository, or pass --force to "
                "add the clips and replace its card"
            )
        check_header(self._read(listing, CARD_NAME), f"{self._remote.url}: {CARD_NAME}")
        for part in self.parts:
            published = self._manifest(listing, part.release)["splits"].get(part.split)
            if published and "content" not in published and not part.has_video and not self._force:
                raise PushError(
                    f"{self._remote.url} has the clips of {part.title}; pass --force to replace them by their "
                    "annotations, or name another repository"
                )
        for part in self.parts if last else ():
            shards = {part.shard(name) for name in (*self.local(part), *listing.files)} - {None}
            if not shards:
                raise PushError(f"{part.title} has no shards; run `kinetics prepare` first")
            if len(shards) < part.count and not self._allow_partial:
                raise PushError(
                    f"{part.title} is incomplete: {part.count - len(shards):,} of {part.count:,} shards are missing; "
                    "run `kinetics prepare` to write them, or pass --allow-partial"
                )

    def missing(self, listing: Listing) -> list[str]:
        """Return the local shards that are missing or different at the remote."""
        local = self.all_local()
        for name in self._uploaded.keys() & listing.digests.keys():
            self._digests.learn(name, listing.digests[name], self._uploaded.pop(name))
        with ThreadPoolExecutor(_WORKERS) as pool:
            found = pool.map(lambda item: self._has_file(listing, *item), local.items())
            return [name for name, has_file in zip(local, found, strict=True) if not has_file]

    def replaced(self, listing: Listing) -> list[str]:
        """Return the remote shards of earlier preparations of the parts."""
        return [name for name in sorted(listing.files) if any(part.replaces(name) for part in self.parts)]

    @contextlib.contextmanager
    def uploading(self, shards: Sequence[str]) -> Iterator[None]:
        """Record after the block that the remote has these local shards, so that it is not read."""
        states = {name: self._digests.state(name) for name in shards}
        footers = {(name, size): self._local_footer(name, size) for name, (size, *_) in states.items()}
        yield
        self._uploaded |= states
        self._footers |= footers

    def reports(self, listing: Listing, part: Part) -> dict[int, ShardReport]:
        """Return the report of each shard of a part, from the footer of the local file or else the remote one.

        Raises:
            PushError: a shard is corrupt.
            ValueError: the shards are made with several versions of libraries.
        """
        local = self.local(part)
        names = {**{name: size for name, size in listing.files.items() if part.shard(name) is not None}, **local}

        def report(item: tuple[str, int]) -> ShardReport:
            name, size = item
            is_local = name in local
            footer = self._local_footer(name, size) if is_local else self._remote_footer(listing, name)
            found = read_report(io.BytesIO(footer))
            if found is None or found.fingerprint != part.fingerprint:
                where = self.store.path(name) if is_local else f"{self._remote.url}: {name}"
                raise PushError(f"{where} is corrupt; remove it, and rerun `kinetics prepare` to write it again")
            return found

        with ThreadPoolExecutor(_WORKERS) as pool:
            found = list(pool.map(report, names.items()))
        self.check_versions(part, (one.made_with for one in found))
        return {part.shard(name) or 0: one for name, one in zip(names, found, strict=True)}

    def check_versions(self, part: Part, made: Iterable[Mapping[str, str]]) -> None:
        """Raise ValueError if shards of a part are made with several versions of libraries, unless that is allowed."""
        if not self._is_mixture_allowed:
            check_versions(made, f"{self._remote.url}: {part.title}")

    def _has_file(self, listing: Listing, name: str, size: int) -> bool:
        if listing.files.get(name) != size:
            return False
        if name in listing.digests:
            return self._digests.sha256(name) == listing.digests[name]
        return self._remote_footer(listing, name) == self._local_footer(name, size)

    def _local_footer(self, name: str, size: int) -> bytes:
        with self.store.open(name) as file:
            return read_footer(file, size)

    def _remote_footer(self, listing: Listing, name: str) -> bytes:
        key = name, listing.files[name]
        if key not in self._footers:
            self._footers[key] = self._remote.footer(name, listing)
        return self._footers[key]

    # ---- The next step --------------------------------------------------------------------------------------

    def next_change(self, listing: Listing, *, last: bool = True) -> Change | None:
        """Return the next step; None if there is nothing left to do.

        First come shards that no card names yet, after a placeholder card if there is no card. The last step has the
        card and the changed shards that the present card names. With `last` False, more shards will be prepared, and
        only steps of the first kind are returned.
        """
        missing = self.missing(listing)
        card = self._read(listing, CARD_NAME)
        patterns = card_patterns(card)
        is_new = patterns is None and not has_text(card) and not self._foreign(listing)
        # Without patterns in a card, `datasets` loads every file that looks like data.
        are_all_seen = self.in_one or (patterns is None and not is_new)
        hidden = [] if are_all_seen else [name for name in missing if not is_named(name, patterns or ())]
        if hidden and (not last or len(hidden) > _SHARDS_WITH_CARD):
            if is_new:
                return Change(texts={CARD_NAME: make_placeholder(card).encode()})
            return Change(shards=tuple(hidden))
        return self._last_change(listing, missing, card) if last else None

    def _last_change(self, listing: Listing, missing: Sequence[str], card: str) -> Change | None:
        replaced = self.replaced(listing)
        description, stale = self._description(listing, missing, replaced, card)
        texts = {
            name: content
            for name, content in description.items()
            if name not in listing.files or self._content(listing, name) != content
        }
        delete = (*replaced, *stale)
        if not (missing or delete or texts):
            return None
        return Change(tuple(missing), texts, delete, is_visible=True)

    def _description(
        self, listing: Listing, missing: Sequence[str], delete: Sequence[str], card: str
    ) -> tuple[dict[str, bytes], list[str]]:
        """Return the new prepare.json of each release, the new card and its pictures; and pictures to delete."""
        manifests = {release: self._manifest(listing, release) for release in RELEASES}
        for part in self.parts:
            report = SplitReport.of(part, self.reports(listing, part))
            put_split(manifests[part.release], part.split, manifest_entry(report, part.about))
        sizes = {name: size for name, size in listing.files.items() if name not in delete}
        sizes |= {name: size for name, size in self.all_local().items() if name in missing}
        changed = dict.fromkeys(part.release for part in self.parts)
        texts = {f"{release}/{MANIFEST_NAME}": manifest_bytes(manifests[release]) for release in changed}
        pictures = self._pictures(listing, manifests, sizes)
        text = make_card(manifests, sizes, repo_id=self._remote.repo_id, previous=card, pictures=pictures.texts)
        return {**texts, **pictures.files, CARD_NAME: text.encode()}, pictures.stale

    def _pictures(self, listing: Listing, manifests: Mapping[str, Any], sizes: Mapping[str, int]) -> Pictures:
        local = self.all_local()

        def read(name: str, function: Callable[[BinaryIO], None]) -> None:
            if name not in local:
                self._remote.use(name, listing, function)
                return
            with self.store.open(name) as file:
                function(file)

        published = {
            name: self._content(listing, name) if listing.files[name] <= MAX_BYTES else b""
            for name in _PICTURES
            if name in listing.files
        }
        pictures = make_pictures(manifests, sizes, published, read, is_wanted=self._has_pictures)
        self.notes = pictures.notes
        return pictures

    def _manifest(self, listing: Listing, release: str) -> dict[str, Any]:
        name = f"{release}/{MANIFEST_NAME}"
        return parse_manifest(release, self._read(listing, name), where=f"{self._remote.url}: {name}")

    def _read(self, listing: Listing, name: str) -> str:
        return self._content(listing, name).decode(errors="replace")

    def _content(self, listing: Listing, name: str) -> bytes:
        """Return the content of a small file of the remote; nothing if it does not exist."""
        if name in listing.files and name not in listing.contents:
            listing.contents[name] = self._remote.read(name, listing)
        return listing.contents.get(name, b"")

    def _foreign(self, listing: Listing) -> list[str]:
        """Return the files of a remote without a card of ours; empty if it has one."""
        card = self._read(listing, CARD_NAME)
        if is_ours(card):
            return []
        names = [name for name in sorted(listing.files) if name not in _HARMLESS and not _is_ours(name)]
        return [CARD_NAME, *names] if has_text(card) or card_patterns(card) else names


def _is_ours(name: str) -> bool:
    release, _, rest = name.partition("/")
    return release in RELEASES and (rest == MANIFEST_NAME or parse_name(rest) == parse_name(name) is not None)
