"""A folder of files, on a disk or in an object store: what `fsspec` opens, with files that are whole or not there."""

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator
from typing import Any, BinaryIO

import fsspec
from filelock import FileLock
from fsspec.implementations.local import LocalFileSystem

__all__ = ["Folder"]

_LOCK_SECONDS = 60.0


class Folder:
    """The folder at `url`: a path, or a URL such as "s3://bucket/kinetics". Names in it have "/" between parts.

    Its own `url` is absolute, so that it is the same folder for a process that runs elsewhere.
    """

    def __init__(self, url: str | os.PathLike[str]):
        self.url = os.fspath(url).rstrip("/") or "/"
        if "://" in self.url:
            self.fs, root = fsspec.url_to_fs(self.url)
        else:  # "::" in a path is no chain of file systems
            self.fs, root = fsspec.filesystem("file"), os.path.abspath(os.path.expanduser(self.url))
            self.url = root
        self.root = root.rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def path(self, name: str) -> str:
        """Where the file is, as this file system takes it."""
        return f"{self.root}/{name}"

    def sizes(self, folder: str = "") -> dict[str, int]:
        """File name -> bytes of the files in a folder, none where there is no such folder."""
        path = self.path(folder).rstrip("/")
        try:
            entries = self.fs.ls(path, detail=True, refresh=True)
        except FileNotFoundError:
            return {}
        return {entry["name"].rpartition("/")[2]: entry["size"] for entry in entries if entry["type"] == "file"}

    def find(self, folder: str) -> list[str]:
        """Paths or URLs, as `fsspec.open` takes them, of the files in a folder and in the folders in it."""
        return [path if self.is_local else self.fs.unstrip_protocol(path) for path in self.fs.find(self.path(folder))]

    def open(self, name: str) -> BinaryIO:
        """A file for reading. Raises FileNotFoundError."""
        file: BinaryIO = self.fs.open(self.path(name), "rb")
        return file

    def read(self, name: str) -> bytes:
        """What a file holds. Raises FileNotFoundError."""
        data: bytes = self.fs.cat_file(self.path(name))
        return data

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """A file to write to, which gets its name at the end of the block, and goes where the block raises."""
        folder, _, file_name = name.rpartition("/")
        folder += "/" if folder else ""
        temporary = f"{folder}.{file_name}.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
        if self.is_local:
            os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        try:
            with self.fs.open(self.path(temporary), "wb") as file:
                yield file
                if self.is_local:  # or after a crash of the machine a file could have its name and not its bytes
                    file.flush()
                    os.fsync(file.fileno())
            self._rename(temporary, name)
        except BaseException:
            self.remove(temporary)
            raise

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keeps the other processes on a disk out of their blocks with this `name`, a file that stays there.

        It is no promise: in an object store there are no locks, nor on some disks, and a stopped process may hold one
        for long, which is waited for for a minute. The block must bear others at the same time.
        """
        if not self.is_local:
            yield
            return
        os.makedirs(self.root, exist_ok=True)
        lock = FileLock(self.path(name))
        # Without it a run goes on as in an object store: better an entry that is written twice than a run that fails.
        with contextlib.suppress(OSError, NotImplementedError):
            lock.acquire(timeout=_LOCK_SECONDS)
        try:
            yield
        finally:
            lock.release()

    def clean(self, name: str) -> None:
        """Removes what killed writers of a file left. One that still runs will raise FileNotFoundError."""
        folder, _, file_name = name.rpartition("/")
        for other in self.sizes(folder):
            if other.startswith(f".{file_name}.") and other.endswith(".tmp"):
                self.remove(f"{folder}/{other}" if folder else other)

    def write(self, name: str, data: bytes) -> None:
        with self.writing(name) as file:
            file.write(data)

    def _rename(self, source: str, target: str) -> None:
        if self.is_local:
            os.replace(self.path(source), self.path(target))
        else:
            self.fs.mv(self.path(source), self.path(target))
