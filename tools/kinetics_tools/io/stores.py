"""File systems of URLs."""

from typing import Any


def open_store(url: str) -> tuple[Any, str]:
    """Return the file system that `fsspec` opens for a URL, and the path in it.

    Raises:
        ModuleNotFoundError: the package of the protocol is not installed; the message says how to install it.
        ValueError: the protocol is unknown.
    """
    import fsspec  # workers that read local clips start without it

    try:
        fs, path = fsspec.url_to_fs(url)
    except ImportError as error:
        package = getattr(error.__cause__, "name", None)
        if not package or package not in str(error):  # the module may have another name than its package
            raise
        protocol = url.partition("://")[0]
        raise ModuleNotFoundError(f"{protocol}:// needs {package}: pip install {package}", name=package) from None
    return fs, path
