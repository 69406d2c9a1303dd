"""Public archives, by the mirror's own lists."""

import re
from collections.abc import Sequence

from kinetics_tools.annotations.labels import find_label, label_index, normalize_label
from kinetics_tools.errors import RemoteError
from kinetics_tools.io.hosts import mirrored
from kinetics_tools.io.http import WEB_PAGE, is_web_page, open_binary
from kinetics_tools.io.urls import path_part, quoted, without_credentials
from kinetics_tools.releases import LABELS, PUBLIC_HOSTS, REPLACEMENTS_URL, archive_list_url
from kinetics_tools.sources.replacements import has_replacements
from kinetics_tools.text import format_size, is_archive_name

_MAX_LIST_BYTES = 1 << 24  # the longest public list has 100 kB


def archive_urls(
    release: str, split: str, *, classes: Sequence[str] | None = None, mirror: str | None = None
) -> list[str]:
    """Return the URLs of the public archives that hold the clips of a split.

    The archive of replacements comes first for the training set of 400: its clips win over the others.

    Args:
        release: "400", "600", "700" or "700-2020".
        split: "train", "validation" or "test".
        classes: only the archives of these classes, where there is one archive for each class (600 except for test,
            700-2020 train); elsewhere all.
        mirror: URL that replaces the public hosts, by default the environment variable KINETICS_MIRROR.

    Raises:
        RemoteError: the mirror's list is longer than 16.8 MB, names no archive, or names something else than archives
            on the public hosts or on the mirror itself.
    """
    list_url = mirrored(archive_list_url(release, split), mirror)
    with open_binary(list_url) as file:
        content = file.read(_MAX_LIST_BYTES + 1)
    if is_web_page(content):
        raise RemoteError(f"{without_credentials(list_url)}: {WEB_PAGE}")
    if len(content) > _MAX_LIST_BYTES:
        raise RemoteError(
            f"{without_credentials(list_url)}: the list is longer than {format_size(_MAX_LIST_BYTES)}; "
            "pass another mirror="
        )
    lines = filter(None, map(str.strip, content.decode("utf-8", "backslashreplace").splitlines()))
    urls = [_archive_url(line, list_url, mirror) for line in lines]
    if not urls:
        raise RemoteError(f"{without_credentials(list_url)}: the list names no archive; pass another mirror=")
    if classes:
        urls = _archives_of_classes(urls, release, classes)
    if has_replacements(release, split):
        urls.insert(0, mirrored(REPLACEMENTS_URL, mirror))
    return urls


def _archive_url(line: str, list_url: str, mirror: str | None) -> str:
    """Return the URL that a line of a list names. A list may lead to no other host, nor to a local file."""
    url, host = mirrored(line, mirror), _host_of(list_url)
    if _host_of(url) not in (host, *PUBLIC_HOSTS) or not is_archive_name(path_part(url)):
        raise RemoteError(
            f"{without_credentials(list_url)}: the list names {line[:200]!r}, which is not an archive on {host}; "
            "pass another mirror="
        )
    return quoted(url)


def _host_of(url: str) -> str | None:
    """Return the scheme, host and port of a URL; None without them."""
    found = re.match(r"(https?://)(?:[^/?#]*@)?([^/?#]+)/", url)
    return found and found[1] + found[2]


def _archives_of_classes(urls: list[str], release: str, classes: Sequence[str]) -> list[str]:
    """Return the archives of `classes` if the list has one archive per class; otherwise all."""
    stems = [url.rsplit("/", 1)[-1].split(".tar")[0] for url in urls]
    indices = [find_label(name, release) for name in classes]
    by_name = {normalize_label(stem): url for stem, url in zip(stems, urls, strict=True)}
    if by_name.keys() == label_index(release).keys():
        return [by_name[normalize_label(LABELS[release][index])] for index in sorted(indices)]
    # Numbered in label order: true of the archives of 700-2020, whose labels are not those of 700 in every clip.
    numbers = [int(number) for stem in stems for number in re.findall(r"_(\d+)$", stem)]
    if release == "700-2020" and numbers == list(range(1, len(LABELS[release]) + 1)):
        return [urls[index] for index in sorted(indices)]
    return urls
