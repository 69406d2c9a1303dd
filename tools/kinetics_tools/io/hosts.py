"""Public hosts, and the mirror that may replace them."""

import os
import urllib.parse

from kinetics_tools.io.http import is_url
from kinetics_tools.releases import PUBLIC_HOSTS


def mirror_url(mirror: str | None) -> str | None:
    """Return the URL that replaces the public hosts: `mirror`, else the environment variable KINETICS_MIRROR.

    Returns None without either. Raises ValueError for anything but an http or https URL.
    """
    for name, url in (("mirror", mirror), ("KINETICS_MIRROR", os.environ.get("KINETICS_MIRROR"))):
        if url and not (isinstance(url, str) and is_url(url)):
            raise ValueError(f"{name} must be a URL that starts with http:// or https://, got {url!r}")
        if url:
            return url
    return None


def mirrored(url: str, mirror: str | None) -> str:
    """Return `url` on the mirror, if there is one and the host of `url` is public; else `url`."""
    mirror = mirror_url(mirror)
    for host in PUBLIC_HOSTS:
        if mirror and url.startswith(host + "/"):
            return mirror.rstrip("/") + url[len(host) :]
    return url


def quoted(url: str) -> str:
    """Return `url` with its path percent-encoded exactly once.

    Archives of 600 are named after classes, and the mirror's lists write those names either way.
    """
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(path=urllib.parse.quote(urllib.parse.unquote(parts.path))))


def without_credentials(url: str) -> str:
    """Return `url` without the parts that may hold credentials: user, password, query and fragment."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
