"""Directory on a disk or in an object store, with atomic files."""

import contextlib
import errno
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import fsspec
from filelock import FileLock
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from kinetics_tools.io.atomic import disk_errors
from kinetics_tools.io.stores import open_store

_LOCK_SECONDS = 60.0
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class Folder:
    """Directory at a path, or at a URL that `fsspec` opens, such as "s3://bucket/kinetics".

    Names of files in it are relative, with "/" between their parts.

    Attributes:
        url: absolute path or URL, valid in other processes, too.
        root: path of the directory on its file system.
        is_local: True if it is on a disk of this machine.
    """

    def __init__(self, url: str | os.PathLike[str]):
        self.url = os.fspath(url).rstrip("/") or "/"
        if "://" in self.url:
            fs, root = open_store(self.url)
        else:  # "::" in a path is not a chain of file systems
            fs, root = fsspec.filesystem("file"), os.path.abspath(os.path.expanduser(self.url))
            self.url = root
        self.root: str = root.rstrip("/")
        self.is_local = isinstance(fs, LocalFileSystem)
        self._base = fs
        self._fs = DirFileSystem(self.root or "/", fs)

    def path(self, name: str) -> str:
        """Return the path of a file on its file system."""
        return f"{self.root}/{name}"

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the files in a directory, by name, with their lengths in bytes; none if it does not exist."""
        try:
            entries = self._fs.ls(folder.rstrip("/"), detail=True, refresh=True)
        except FileNotFoundError:
            return {}
        return {entry["name"].rpartition("/")[2]: entry["size"] for entry in entries if self._is_file(entry)}

    def _is_file(self, entry: dict[str, Any]) -> bool:
        # fsspec gives a symbolic link on a disk the size of its target, and a type of its own.
        return bool(entry["type"] == "file" or (entry.get("islink") and os.path.isfile(self.path(entry["name"]))))

    def find(self, folder: str) -> list[str]:
        """Return the paths or URLs, as `fsspec.open` takes them, of all files below a directory."""
        paths = map(self.path, self._fs.find(folder))
        return list(paths) if self.is_local else [self._base.unstrip_protocol(path) for path in paths]

    def open(self, name: str, *, read_ahead: bool = True) -> BinaryIO:
        """Open a file for reading, without `read_ahead` for reads far apart. Raises FileNotFoundError."""
        self._check_regular(name)
        options = {} if read_ahead or self.is_local else {"cache_type": "none"}
        file: BinaryIO = self._fs.open(name, "rb", **options)
        return file

    def exists(self, name: str) -> bool:
        """Return True if a file exists now, whatever a client of a store remembers."""
        self._fs.invalidate_cache()
        return bool(self._fs.exists(name))

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError."""
        self._check_regular(name)
        data: bytes = self._fs.cat_file(name)
        return data

    def _check_regular(self, name: str) -> None:
        """Raise OSError for a pipe or a device, which might never end."""
        path = self.path(name)
        if self.is_local and os.path.exists(path) and not os.path.isfile(path):
            raise OSError(errno.EINVAL, "not a regular file", path)

    def write(self, name: str, data: bytes) -> None:
        """Write a file at once."""
        with self.writing(name) as file:
            file.write(data)

    def check_writable(self) -> None:
        """Raise DiskError if this is a directory on a disk, and no file can be written there."""
        if self.is_local:
            with disk_errors(self.root):
                os.makedirs(self.root, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.root):
                    pass

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(name)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """Open a file that gets its name when the block ends, and is removed if the block raises.

        Raises:
            DiskError: the disk is full or read-only, or its quota or the largest size of a file is reached.
        """
        folder, _, file_name = name.rpartition("/")
        folder += "/" if folder else ""
        temporary = f"{folder}.{file_name}.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
        try:
            if self.is_local:
                os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            with self._fs.open(temporary, "wb") as file:
                yield file
                if self.is_local:  # or after a crash of the machine a file could have its name and not its bytes
                    file.flush()
                    os.fsync(file.fileno())
            if self.is_local:
                os.replace(self.path(temporary), self.path(name))
            else:
                self._fs.mv(temporary, name)
        except BaseException as error:
            with contextlib.suppress(OSError):  # of a disk that has become read-only
                self.remove(temporary)
            if self.is_local and isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                with disk_errors(self.path(name)):
                    raise
            raise

    def clean(self, name: str) -> None:
        """Remove leftovers of killed writers of a file. A writer that still runs raises FileNotFoundError."""
        folder, _, file_name = name.rpartition("/")
        for other in self.sizes(folder):
            if other.startswith(f".{file_name}.") and other.endswith(".tmp"):
                self.remove(f"{folder}/{other}" if folder else other)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep other processes out of their blocks with this `name`, that of a lock file.

        The block must tolerate concurrent ones: object stores and some disks have no locks, and the wait for a lock
        ends after a minute.
        """
        if not self.is_local:
            yield
            return
        os.makedirs(self.root, exist_ok=True)
        lock = FileLock(self.path(name))
        # An entry that is written twice is better than a run that fails.
        with contextlib.suppress(OSError, NotImplementedError):
            lock.acquire(timeout=_LOCK_SECONDS)
        try:
            yield
        finally:
            lock.release()


def check_apart(source: str | os.PathLike[str], *outputs: str) -> None:
    """Raise ValueError if a local output directory is the directory `source`, or lies in it."""
    for output in outputs:
        folder = Folder(output)
        if folder.is_local and "://" not in os.fspath(source):
            inside, path = os.path.realpath(Folder(source).root), os.path.realpath(folder.root)
            if os.path.commonpath([inside, path]) == inside:
                raise ValueError(
                    f"{output} is in {os.fspath(source)}, which is read, and would be mixed with it; choose a "
                    "directory outside of it"
                )
