"""One bar for an upload, in place of the bars of the Hub's client."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from datasets.utils import tqdm
from huggingface_hub import _commit_api, utils
from huggingface_hub.utils import _xet
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from rich import progress
from rich.console import Console

OnBytes = Callable[[int], Any]

_RATE_SECONDS = 30.0  # rates are means over this time


@contextlib.contextmanager
def upload_bar(console: Console | None, size: int) -> Iterator[OnBytes]:
    """Show a bar with bytes, rate and ETA; yield a function to call with each number of bytes.

    With a console it is shown on a terminal only, else as the bars of `datasets` are, also in a notebook.
    """
    if not size or (console is not None and not console.is_terminal):
        yield lambda count: None
        return
    if console is None:
        with tqdm(total=size, unit="B", unit_scale=True, desc="Uploading", leave=False) as plain:
            yield plain.update
        return
    columns = (
        progress.BarColumn(20),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TextColumn("ETA"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True, speed_estimate_period=_RATE_SECONDS) as bar:
        yield functools.partial(bar.advance, bar.add_task("", total=size))


@contextlib.contextmanager
def client_bytes(on_bytes: OnBytes) -> Iterator[None]:
    """Turn off the bars of the Hub's client in the block, and call `on_bytes` with the bytes that it uploads.

    The client has no public way to report them. Where an internal name of it is missing, they are not reported.
    """
    with no_client_bars(), contextlib.ExitStack() as stack:
        for module in (utils, _commit_api):  # up to 1.x it is imported by name
            counted = functools.partial(_counted_file, on_bytes)
            stack.enter_context(_replaced(module, "tqdm_stream_file", counted))
        stack.enter_context(_counted_xet(on_bytes))
        yield


@contextlib.contextmanager
def no_client_bars() -> Iterator[None]:
    """Turn off the bars of the Hub's client in the block."""
    is_on = not are_progress_bars_disabled()
    if is_on:
        disable_progress_bars()
    try:
        yield
    finally:
        if is_on:
            enable_progress_bars()


@contextlib.contextmanager
def _counted_file(on_bytes: OnBytes, path: str) -> Iterator[BinaryIO]:
    """Open a file that an upload by LFS reads."""
    with Path(path).open("rb") as file:
        read = file.read

        def counted(size: int = -1) -> bytes:
            data = read(size)
            on_bytes(len(data))
            return data

        file.read = counted  # type: ignore[method-assign, assignment]
        yield file


@contextlib.contextmanager
def _counted_xet(on_bytes: OnBytes) -> Iterator[None]:
    holder = getattr(_xet, "_GLOBAL_XET_HOLDER", None)
    if holder is None:
        yield
        return
    get = holder.get
    with _replaced(holder, "get", lambda: _XetSession(get(), on_bytes)):
        yield


class _XetSession:
    """Session of the Xet client that reports the bytes of its uploads."""

    def __init__(self, session: Any, on_bytes: OnBytes):
        self._session = session
        self._on_bytes = on_bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def new_upload_commit(self, **arguments: Any) -> Any:
        done = 0

        def report(group: Any, _: Any) -> None:
            nonlocal done
            before, done = done, max(done, group.total_bytes_completed)
            self._on_bytes(done - before)

        return self._session.new_upload_commit(**{**arguments, "progress_callback": report})


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name, None)
    if before is None:
        yield
        return
    is_own = name in vars(owner)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before) if is_own else delattr(owner, name)
