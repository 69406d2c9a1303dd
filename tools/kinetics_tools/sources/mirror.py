"""Public archives, by the mirror's own lists."""

import re
from collections.abc import Sequence

from kinetics_tools.annotations.labels import find_label, label_index, normalize_label
from kinetics_tools.io.hosts import mirrored
from kinetics_tools.io.http import HttpFile
from kinetics_tools.io.urls import quoted
from kinetics_tools.releases import LABELS, REPLACEMENTS_URL, archive_list_url
from kinetics_tools.sources.replacements import has_replacements


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
    """
    with HttpFile(mirrored(archive_list_url(release, split), mirror)) as file:
        lines = file.read().decode("utf-8").splitlines()
    urls = [quoted(mirrored(line.strip(), mirror)) for line in lines if line.strip()]
    if classes:
        urls = _archives_of_classes(urls, release, classes)
    if has_replacements(release, split):
        urls.insert(0, mirrored(REPLACEMENTS_URL, mirror))
    return urls


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
