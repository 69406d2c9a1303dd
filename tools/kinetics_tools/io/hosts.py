"""Public hosts, and the mirror that may replace them."""

import os

from kinetics_tools.io.urls import has_host, is_url, join_url
from kinetics_tools.releases import PUBLIC_HOSTS


def mirror_url(mirror: str | None) -> str | None:
    """Return the URL that replaces the public hosts: `mirror`, else the environment variable KINETICS_MIRROR.

    Returns None without either. Raises ValueError for anything but an http or https URL.
    """
    for name, url in (("mirror", mirror), ("KINETICS_MIRROR", os.environ.get("KINETICS_MIRROR"))):
        if url and not (isinstance(url, str) and is_url(url) and has_host(url)):
            raise ValueError(f"{name} must be a URL that starts with http:// or https://, got {url!r}")
        if url:
            return url
    return None


def mirrored(url: str, mirror: str | None) -> str:
    """Return `url` on the mirror, if there is one and the host of `url` is public; else `url`."""
    mirror = mirror_url(mirror)
    for host in PUBLIC_HOSTS:
        if mirror and url.startswith(host + "/"):
            return join_url(mirror, url[len(host) :])
    return url
