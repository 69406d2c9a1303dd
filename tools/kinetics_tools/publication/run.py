"""Publish prepared clips to a repository or bucket on the Hub, or to a folder.

    >>> from kinetics_tools import push
    >>> push("prepared", "user/kinetics", private=True)
    >>> load_dataset("user/kinetics", "700", split="validation", streaming=True)

Readers see the old version or the new one, never a mixture. Names of shards have a fingerprint, so the present card
does not match new ones; the last commit replaces the card and deletes the old shards. The remote is the only state: the
same call resumes.
"""

import contextlib
import functools
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from datasets.utils.logging import get_logger
from rich.console import Console

from kinetics_tools.errors import PushError
from kinetics_tools.io.folder import Folder, check_apart
from kinetics_tools.preparation import parse_name
from kinetics_tools.publication.annotation_table import write_annotation_table
from kinetics_tools.publication.bucket import BUCKETS, Bucket
from kinetics_tools.publication.changes import Publication
from kinetics_tools.publication.folder import FolderRemote
from kinetics_tools.publication.hub import Repository
from kinetics_tools.publication.parts import check_parts, find_parts
from kinetics_tools.publication.readback import read_back
from kinetics_tools.publication.remote import Access, Change, Listing, Remote, retry_remote
from kinetics_tools.publication.streaming import Stream
from kinetics_tools.publication.upload_bar import upload_bar
from kinetics_tools.text import TextReport, check_choice, check_count, format_count, format_size

logger = get_logger("datasets.kinetics")

GATES = ("auto", "manual", "no")
_SETTINGS = {
    True: "private",
    False: "public",
    "auto": "gated: readers must request access",
    "manual": "gated: readers must be approved",
    "no": "not gated",
}
_ATTEMPTS = 3  # to upload a shard that is missing again afterwards


@dataclass(repr=False)
class PushReport(TextReport):
    """Result of a push, or of its dry run.

    Attributes:
        url: the last commit, the pull request, or the remote if nothing had to be done.
        splits: "700 validation" -> number of its shards.
        files_sent, bytes_sent: shards that were uploaded.
        files_deleted: remote shards of earlier preparations that were deleted.
        commits: steps in which the remote changed.
        files_removed: local shards that were removed, with `delete_local`.
        verified: rows that were read back and compared.
        private, gated: settings that were asked for.
        is_dry: True for a dry run.
        is_new: True if the repository or bucket was created.
        changes: names and new values of the settings of the remote that changed.
        path, revision: arguments of `load_dataset` that load it; `path` is None if it reads no card there.
        files: URL pattern of the shards of the first split, if `path` is None.
        notes: pictures that the card cannot have, with the reason.
    """

    url: str
    splits: dict[str, int]
    files_sent: int = 0
    bytes_sent: int = 0
    files_deleted: int = 0
    commits: int = 0
    files_removed: int = 0
    verified: int | None = None
    wall_seconds: float = 0.0
    private: bool | None = None
    gated: str | None = None
    is_dry: bool = False
    is_new: bool = False
    changes: list[tuple[str, Any]] = field(default_factory=list)
    path: str | None = None
    revision: str | None = None
    files: str | None = None
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        total = format_count(sum(self.splits.values()), "shard")
        uploaded = f"{self.files_sent:,} of {total}, {format_size(self.bytes_sent)}"
        deleted = f"{format_count(self.files_deleted, 'shard')} of earlier preparations"
        if self.is_dry:
            ending = f"; would delete {deleted}" if self.files_deleted else ""
            again = "next: rerun the same command without --dry-run"
            asked = [_SETTINGS[value] for value in (self.private, self.gated) if value is not None]
            settings = [f"would make it {text}" for text in asked]
            return [f"would upload {uploaded} to {self.url}{ending}", *settings, again]
        took = timedelta(seconds=round(self.wall_seconds))
        lines = [f"uploaded {uploaded} in {took}" if self.commits else f"nothing to upload: {total} published already"]
        if self.files_deleted:
            lines.append(f"deleted {deleted}")
        if self.verified is not None:
            lines.append(f"verified {format_count(self.verified, 'clip')}: identical to the local shards")
        if self.files_removed:
            lines.append(f"removed {format_count(self.files_removed, 'local shard')}")
        if self.is_new and self.private is not False:
            lines.append("created it as private; the option --public opens it to all readers")
        lines += [f"made it {_SETTINGS[value]}" for _, value in self.changes]
        lines += self.notes
        lines.append(f"see {self.url}")
        if self.path is not None and self.splits:
            release, split = next(iter(self.splits)).split()
            branch = f', revision="{self.revision}"' if self.revision else ""
            lines.append(f'next: load_dataset("{self.path}", "{release}", split="{split}"{branch}, streaming=True)')
        elif self.files is not None:
            split = next(iter(self.splits)).split()[1]
            files = f'{{"{split}": "{self.files}"}}'
            lines.append(f'next: load_dataset("parquet", data_files={files}, split="{split}", streaming=True)')
        return lines


def push(
    out: str | os.PathLike[str],
    target: str,
    *,
    releases: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    private: bool | None = None,
    gated: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | None = None,
    workers: int = 5,
    delete_local: bool = False,
    allow_partial: bool = False,
    force: bool = False,
    verify: bool = False,
    dry_run: bool = False,
    allow_mixed_versions: bool = False,
    stream: Stream | None = None,
    annotations_only: bool = False,
    annotations: str | None = None,
    pictures: bool = True,
    console: Console | None = None,
) -> PushReport:
    """Publish the shards that `prepare` wrote to the local folder `out`, atomically for readers.

    Args:
        out: prepared folder.
        target: repository "user/kinetics", bucket or a folder in one "hf://buckets/user/kinetics", or the URL of a
            folder that `fsspec` opens.
        releases: releases to publish; None for all in `out`.
        splits: splits to publish; None for all in `out`.
        private: visibility of the repository or bucket; None to keep it. Restrictions apply before the upload,
            and end after it.
        gated: "auto", "manual" or "no"; None to keep the setting.
        revision: branch to push to, created from main if missing.
        create_pr: open a pull request, in one commit.
        commit_message: title of the commits.
        token: Hub token with write access; None for HF_TOKEN or the stored one.
        workers: number of files to upload in parallel to a folder, or in a commit without Xet.
        delete_local: remove the local shards once the remote has them and its card names them.
        allow_partial: publish splits with missing shards; the card says so.
        force: push even if the repository has other content.
        verify: read samples back and compare them.
        dry_run: report what would be uploaded, and change nothing.
        allow_mixed_versions: publish shards made with several versions of libraries; the card names them.
        stream: prepare shards in `out` during the push, and remove each once the remote has it.
        annotations_only: publish keys, labels, segments and availability of clips, without video.
        annotations: annotations with the labels of dropped clips, for `annotations_only`; None for the published ones.
        pictures: publish a chart of clips per class and a contact sheet, which the card shows; False deletes those of
            an earlier push.
        console: prints progress; None to log it.

    Raises:
        ValueError: an argument is not valid.
        PushError: the remote refuses, or stays unreachable.
        ImportError: huggingface_hub is too old.
        KeyboardInterrupt: interrupted; the message says how to resume.
    """
    if gated is not None:
        check_choice(gated, GATES, "gated")
    check_count(workers=workers)
    if create_pr and (delete_local or revision):
        raise ValueError("create_pr opens a pull request to main; omit revision and delete_local")
    if annotations_only and (delete_local or stream is not None):
        raise ValueError("annotations_only uploads no clips; omit delete_local and stream")
    if stream is not None and dry_run:
        raise ValueError("a stream has no dry run; `kinetics prepare --dry-run` estimates what it would prepare")
    if stream is not None and (releases is not None or splits is not None or create_pr):
        raise ValueError("a stream selects its own release and splits, in many commits; omit create_pr")
    store = Folder(out)
    if not store.is_local:
        raise ValueError(f"{store.url} is not on this machine; copy it to a local folder and push that")
    if stream is not None:
        check_apart(stream.data_dir, store.url, f"{store.url}/{stream.selection.release}")
    parts = find_parts(store, releases, splits) if stream is None else stream.parts()
    check_parts(store, parts)
    with contextlib.ExitStack() as stack:
        if annotations_only:
            commit_message = commit_message or f"Add annotations of {', '.join(part.title for part in parts)}"
            table = Folder(stack.enter_context(tempfile.TemporaryDirectory(prefix="kinetics-annotations-")))
            write_annotation_table(store, parts, table, annotations=annotations)
            store, parts = table, find_parts(table, None, None)
        remote = _remote_at(store.url, target, token=token, revision=revision, create_pr=create_pr, workers=workers)
        remote.check_access(Access(private, gated))
        publication = Publication(
            store,
            parts,
            remote,
            allow_partial=allow_partial,
            force=force,
            in_one=create_pr,
            is_mixture_allowed=allow_mixed_versions,
            pictures=pictures,
        )
        report = PushReport(remote.url, {part.title: part.count for part in parts}, private=private, gated=gated)
        report.revision = revision
        run = _Run(publication, remote, report, commit_message, console)
        try:
            return run.dry() if dry_run else run.publish(stream, verify=verify, delete_local=delete_local)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; uploaded shards are kept. Rerun the same command to resume") from None


def _remote_at(
    out: str, target: str, *, token: str | None, revision: str | None, create_pr: bool, workers: int
) -> Remote:
    repo_id = target.removeprefix("hf://datasets/")
    if "://" not in repo_id:
        return Repository(repo_id, token=token, revision=revision, create_pr=create_pr, workers=workers)
    if revision or create_pr:
        raise ValueError(f"revision and create_pr need a repository on the Hub, got {target}; omit them")
    if target.startswith(BUCKETS):
        return Bucket(target, token=token)
    check_apart(out, target)
    return FolderRemote(target, workers=workers)


class _Run:
    """Steps of a push, each based on the current state of the remote."""

    def __init__(
        self,
        publication: Publication,
        remote: Remote,
        report: PushReport,
        message: str | None,
        console: Console | None,
    ):
        self._publication = publication
        self._remote = remote
        self._report = report
        self._message = message or f"Add {', '.join(part.title for part in publication.parts)}"
        self._console = console
        self._say = logger.info if console is None else console.print
        self._retry = functools.partial(retry_remote, say=self._say)
        self._uploads: Counter[str] = Counter()

    def dry(self) -> PushReport:
        """Return the report of a dry run."""
        listing = self._checked_listing(last=True)
        local = self._publication.all_local()
        missing = self._retry(lambda: self._publication.missing(listing))
        self._report.files_sent = len(missing)
        self._report.bytes_sent = sum(local[name] for name in missing)
        self._report.files_deleted = len(self._publication.replaced(listing))
        self._report.is_dry = True
        return self._report

    def publish(self, stream: Stream | None, *, verify: bool, delete_local: bool) -> PushReport:
        """Upload missing shards, and apply the other options."""
        started = time.monotonic()
        access = Access(self._report.private, self._report.gated)
        listing = self._checked_listing(last=stream is None)
        if stream is not None:
            stream.check(self._publication, listing)
        if not listing.exists or access != Access():
            self._report.is_new = not listing.exists and listing.head is None
            self._retry(lambda: self._remote.create(access))
            listing = self._retry(self._remote.list_files)
        if stream is not None:
            stream.run(self._publication, listing, upload=self._upload_and_remove, say=self._say)
        self._upload(None if stream else listing)
        if access != Access():
            self._retry(lambda: self._remote.open_to_readers(access))
        if verify:
            self._report.verified = read_back(self._publication, self._remote)
        if delete_local or stream is not None:
            self._remove_local()
        if not self._publication.in_one and (arguments := self._remote.load_arguments(listing)):
            self._report.path = arguments["path"]
        elif isinstance(self._remote, FolderRemote):
            self._report.files = f"{self._remote.url}/{self._publication.parts[0].pattern}"
        self._report.changes = [*self._remote.changes]
        self._report.notes = self._publication.notes
        self._report.wall_seconds = time.monotonic() - started
        return self._report

    def _checked_listing(self, *, last: bool) -> Listing:
        """Return the files of the remote before any change. Corrupt shards end the run here."""
        self._retry(self._remote.check_rights, is_first=True)
        self._report.url = self._remote.url
        listing = self._retry(self._remote.list_files)
        self._retry(lambda: self._publication.check(listing, last=last))
        self._retry(lambda: [self._publication.reports(listing, part) for part in self._publication.parts])
        return listing

    def _upload(self, listing: Listing | None = None, *, last: bool = True) -> None:
        """Take steps until nothing is left to do; `listing` holds the files of the remote, if known."""
        known = [listing] if listing else []

        def step() -> Change | None:
            listing = known.pop() if known else self._remote.list_files()
            self._publication.check(listing, last=last)
            change = self._publication.next_change(listing, last=last)
            if change is not None:
                self._commit(change, listing)
            return change

        while (change := self._retry(step)) is not None:
            if change.is_visible and self._publication.in_one:
                break

    def _commit(self, change: Change, listing: Listing) -> None:
        if lost := [name for name in change.shards if self._uploads[name] == _ATTEMPTS]:
            raise PushError(
                f"{lost[0]} is missing after {_ATTEMPTS} uploads to {self._remote.url}; check that no .gitignore there "
                "excludes it, and that nobody deletes it"
            )
        local = self._publication.all_local()
        size = sum(local[name] for name in change.shards)
        shards = format_count(len(change.shards), "shard")
        self._say(f"uploading {shards}, {format_size(size)}" if change.shards else "writing the card")
        message = self._message if change.is_visible else f"{self._message}: {shards}, not in the card yet"
        with self._publication.uploading(change.shards), upload_bar(self._console, size) as on_bytes:
            self._report.url = self._remote.commit(change, listing, message, self._publication.store, on_bytes)
        self._uploads.update(change.shards)
        self._report.files_sent += len(change.shards)
        self._report.bytes_sent += size
        self._report.files_deleted += sum(parse_name(name) is not None for name in change.delete)
        self._report.commits += 1

    def _upload_and_remove(self) -> None:
        self._upload(last=False)
        self._remove_local()

    def _remove_local(self) -> None:
        """Remove the local shards that the remote has."""
        # Listed first: a shard that a stream finishes from here on is not compared, and must stay.
        local = self._publication.all_local()
        listing = self._retry(self._remote.list_files)
        for name in local.keys() - self._retry(lambda: self._publication.missing(listing)):
            self._publication.store.remove(name)
            self._report.files_removed += 1
