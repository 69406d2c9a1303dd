"""Prepared clips into a repository on the Hub, or into a folder somewhere, so that anyone loads them.

    >>> from kinetics_tools.push import push
    >>> push("kinetics", "user/kinetics", private=True)
    >>> load_dataset("user/kinetics", "700", split="validation", streaming=True)

Readers see all of it or nothing. New files have names that the card in force does not match, since their fingerprint
is in the name; the last commit brings the card that names them, and removes the files that no card names any more.
What the place holds is the only state that there is: the same call goes on from there.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from rich.console import Console

from kinetics_tools.errors import PushError
from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation.plan import ShardPlan
from kinetics_tools.publication.annotation_table import write_availability
from kinetics_tools.publication.bucket import BUCKETS, Bucket
from kinetics_tools.publication.folder import FolderRemote
from kinetics_tools.publication.hub import Repository
from kinetics_tools.publication.parts import Change, Publication, check_unmixed, find_parts
from kinetics_tools.publication.remote import Destination, State, retry_remote
from kinetics_tools.publication.streaming import Stream
from kinetics_tools.text import format_size

__all__ = ["GATES", "PushError", "PushReport", "push"]

GATES = ("auto", "manual", "no")
_TIMES_SENT = 3  # of a file that another pusher's commit removed again


@dataclass(frozen=True)
class PushReport:
    """What a push did.

    Attributes:
        url: where to see it: the last commit, the pull request, or the place where nothing was to be done.
        splits: "700 validation" -> files, all of them.
        files_sent, bytes_sent: of the shards that the place lacked.
        files_deleted: shards there that no card names any more.
        commits: how many there were, the one that readers see among them.
        files_removed: local shards that went, with `delete_local`.
        verified: rows that were read back and compared.
        private, gated: settings that were asked for.
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
    is_dry: bool = field(default=False)

    def lines(self) -> list[str]:
        """For people."""
        took = timedelta(seconds=round(self.wall_seconds))
        files = sum(self.splits.values())
        sent = f"{self.files_sent:,} of {files:,} files, {format_size(self.bytes_sent)}"
        if self.is_dry:
            gone = f"; would delete {self.files_deleted:,} files that it would not name any more"
            return [f"would send {sent} to {self.url}{gone if self.files_deleted else ''}", *self._settings()]
        lines = [f"sent {sent} in {took}" if self.commits else f"nothing to send: all of {files:,} files are there"]
        if self.files_deleted:
            lines.append(f"deleted {self.files_deleted:,} files there, of an earlier preparation")
        if self.verified is not None:
            lines.append(f"read {self.verified:,} clips back, and they are the same")
        if self.files_removed:
            lines.append(f"removed {self.files_removed:,} files here")
        return [*lines, f"see {self.url}"]

    def _settings(self) -> list[str]:
        seen = {None: [], True: ["would make it private"], False: ["would make it public, for everyone to see"]}
        gates = {
            None: [],
            "auto": ["would gate it: readers have to ask"],
            "manual": ["would gate it: readers wait for your consent"],
            "no": ["would open its gate"],
        }
        return [*seen[self.private], *gates[self.gated]]


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
    stream: Stream | None = None,
    annotations_only: bool = False,
    annotations: str | None = None,
    console: Console | None = None,
) -> PushReport:
    """Publish what `prepare` wrote to `out`, a folder on a disk: all splits, or those of `releases` and `splits`.

    Args:
        target: a repository, "user/kinetics", a bucket or a folder in one, "hf://buckets/user/kinetics", or the URL of
            a folder that `fsspec` opens.
        private, gated: settings of the repository, None to leave them; gated is "auto", "manual" or "no". It is
            closed before anything is sent, and opened after all is there. A bucket may be private.
        revision: a branch, made from main where there is none.
        create_pr: all in one commit, that opens a pull request.
        token: that may write there; the stored one, or HF_TOKEN, if None.
        workers: files that are sent at once, where that is not left to Xet.
        delete_local: remove the local shards once the repository has them and its card names them.
        allow_partial: publish splits of which shards are still to be made; the card says so.
        force: also into a repository that holds something else.
        verify: read samples back, as a reader would, and compare.
        dry_run: send nothing, and say what would be sent.
        annotations_only: publish keys, labels, segments and which clips were there, without any video.
        annotations: with that, where the labels of clips that were dropped are; the published ones if None.
        stream: make the shards on the way, in `out`, and remove each there when the place has it.

    Raises ValueError for arguments that make no sense, and PushError, which is an OSError.
    """
    if gated is not None and gated not in GATES:
        raise ValueError(f"unknown gated {gated!r} (valid: {', '.join(GATES)})")
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more")
    if create_pr and (delete_local or revision):
        raise ValueError("create_pr opens a pull request, to main; leave out revision and delete_local")
    if annotations_only and (delete_local or stream is not None):
        raise ValueError("annotations_only sends no clips: leave out delete_local and stream")
    if stream is not None and dry_run:
        raise ValueError("a dry run of what is still to be prepared: `kinetics prepare --dry-run` says how much it is")
    store = Folder(out)
    if not store.is_local:
        raise ValueError(f"{store.url} is not on this machine; copy it to a local folder and push that")
    plans: list[ShardPlan] = []
    if stream is not None:
        if releases is not None or splits is not None or create_pr:
            raise ValueError(
                "a stream names the release and splits itself, and takes many commits; leave out create_pr"
            )
        plans, parts = stream.plans()
    else:
        parts = find_parts(store, releases, splits)
    check_unmixed(store, parts)
    if annotations_only:
        with tempfile.TemporaryDirectory(prefix="kinetics-annotations-") as folder:
            write_availability(store, parts, Folder(folder), annotations=annotations)
            return push(
                folder,
                target,
                private=private,
                gated=gated,
                revision=revision,
                create_pr=create_pr,
                commit_message=commit_message or f"Add annotations of {', '.join(part.title for part in parts)}",
                token=token,
                workers=workers,
                force=force,
                verify=verify,
                dry_run=dry_run,
                console=console,
            )
    console = console or Console(soft_wrap=True, highlight=False, markup=False)
    destination = _destination(target, token, revision, create_pr, workers)
    destination.check_settings(private=private, gated=gated)
    started = time.monotonic()
    retry_remote(destination.check_rights, console.print)
    publication = Publication(store, parts, destination, allow_partial=allow_partial, force=force, in_one=create_pr)
    state = retry_remote(destination.look, console.print)
    publication.check(state, last=stream is None)
    titles = {part.title: part.count for part in parts}
    report = PushReport(destination.url, titles, private=private, gated=gated)
    # Which finds damaged files.
    retry_remote(lambda: [publication.reports(state, part) for part in parts], console.print)
    if stream is not None:
        stream.check_disk(plans, publication, state)
    if dry_run:
        return replace(retry_remote(lambda: _dry(publication, state, report)), url=destination.url)
    if not state.exists or private is not None or gated is not None:
        retry_remote(lambda: destination.prepare(private=private, gated=gated), console.print)
        state = retry_remote(destination.look, console.print)
    run = _Run(publication, destination, report, commit_message, console)
    try:
        if stream is not None:
            stream.run(plans, publication, state, send=lambda: run.send(last=False), console=console)
        run.send(state if stream is None else None)
    finally:
        publication.digests.save()
    report = run.report
    if private is not None or gated is not None:
        retry_remote(lambda: destination.finish(private=private, gated=gated), console.print)
    if verify:
        from kinetics_tools.publication.readback import read_back

        report = replace(report, verified=read_back(publication, destination))
    if delete_local or stream is not None:
        report = replace(report, files_removed=report.files_removed + run.remove())
    return replace(report, wall_seconds=time.monotonic() - started)


def _destination(target: str, token: str | None, revision: str | None, create_pr: bool, workers: int) -> Destination:
    repo_id = target.removeprefix("hf://datasets/")
    if "://" not in repo_id:
        return Repository(repo_id, token=token, revision=revision, create_pr=create_pr, workers=workers)
    if revision or create_pr:
        raise ValueError(f"revision and create_pr are of repositories on the Hub; {target} is a folder")
    if target.startswith(BUCKETS):
        return Bucket(target, token=token)
    return FolderRemote(target, workers=workers)


def _dry(publication: Publication, state: State, report: PushReport) -> PushReport:
    names = publication.lacking(state)
    return replace(
        report,
        files_sent=len(names),
        bytes_sent=sum(publication.digests.size(name) for name in names),
        files_deleted=sum(part.replaces(name) for part in publication.parts for name in state.files),
        is_dry=True,
    )


class _Run:
    """Commits one after the other, each on what is there then."""

    def __init__(
        self,
        publication: Publication,
        destination: Destination,
        report: PushReport,
        message: str | None,
        console: Console,
    ):
        self.report = report
        self._publication = publication
        self._destination = destination
        self._message = message or f"Add {', '.join(part.title for part in publication.parts)}"
        self._console = console
        self._sent: Counter[str] = Counter()

    def send(self, state: State | None = None, *, last: bool = True) -> None:
        """All that is here; with `last` False without the card, and the local files that are there then are removed.

        `state` is what was just seen there.
        """
        seen = [state] if state else []

        def step() -> Change | None:
            now = seen.pop() if seen else self._destination.look()
            self._publication.check(now, last=last)
            change = self._publication.change(now, last=last)
            return change and self._commit(now, change)

        while (done := retry_remote(step, self._console.print)) is not None:
            if done.switches and self._publication.in_one:
                break
        if not last:
            self.report = replace(self.report, files_removed=self.report.files_removed + self.remove())

    def _commit(self, state: State, change: Change) -> Change:
        digests = self._publication.digests
        files = {name: digests.size(name) for name, content in change.add.items() if content is None}
        if lost := [name for name in files if self._sent[name] == _TIMES_SENT]:
            raise PushError(
                f"{self._destination.url} does not keep {lost[0]}: is it in its .gitignore, or does somebody delete it?"
            )
        size = sum(files.values())
        self._console.print(f"sending {len(files):,} files, {format_size(size)}" if files else "writing the card")
        message = self._message
        if not change.switches:
            message += f": {len(files):,} files, which the card does not name yet"
        url = self._destination.commit(state, message, change.add, change.delete, digests)
        self._sent.update(files.keys())
        self.report = replace(
            self.report,
            url=url,
            files_sent=self.report.files_sent + len(files),
            bytes_sent=self.report.bytes_sent + size,
            files_deleted=self.report.files_deleted + len(change.delete),
            commits=self.report.commits + 1,
        )
        return change

    def remove(self) -> int:
        """Removes the local shards that are there, and returns how many these were."""
        # Listed first: what a stream finishes from here on is not looked for there, and must stay.
        local = [name for part in self._publication.parts for name in self._publication.local(part)]
        state = retry_remote(self._destination.look, self._console.print)
        lacking = set(self._publication.lacking(state))
        names = [name for name in local if name not in lacking]
        for name in names:
            self._publication.digests.path(name).unlink()
        self._publication.digests.save()
        return len(names)
