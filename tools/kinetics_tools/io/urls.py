"""URLs: their parts, and what of them may be shown."""

import os
import re
import urllib.parse

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@|\?[^\s/?:'\")=]+=[^\s:'\")]*")


def is_url(path: str) -> bool:
    """Return True if `path` is an http or https address."""
    return path.startswith(("http://", "https://"))


def has_host(url: str) -> bool:
    """Return True if a URL names a host."""
    try:
        return bool(urllib.parse.urlsplit(url).hostname)
    except ValueError:  # such as http://[
        return False


def path_part(path: str | os.PathLike[str]) -> str:
    """Return a path unchanged, and the path of a URL, whose suffix tells the kind of a file: without the query."""
    path = os.fspath(path)
    return urllib.parse.urlsplit(path).path if is_url(path) else path


def join_url(base: str, path: str) -> str:
    """Return the URL of `path` below the URL `base`, with the user and the query of `base`."""
    parts = urllib.parse.urlsplit(base)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{path.lstrip('/')}").geturl()


def quoted(url: str) -> str:
    """Return `url` with its path percent-encoded exactly once.

    Archives of 600 are named after classes, and the mirror's lists write those names either way.
    """
    parts = urllib.parse.urlsplit(url)
    return parts._replace(path=urllib.parse.quote(urllib.parse.unquote(parts.path))).geturl()


def without_credentials(url: str) -> str:
    """Return `url` without the parts that may hold credentials: user, password, query and fragment.

    A path is returned unchanged.
    """
    if not is_url(url):
        return url
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:  # such as http://[
        return url.partition("//")[0] + "//..."
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def hide_credentials(text: str) -> str:
    """Return a message of another library without users, passwords and queries of the URLs in it."""
    return _CREDENTIALS.sub("", text)
