"""Links for directories whose paths are not UTF-8, such as those of a locale without it."""

import hashlib
import os
from contextlib import suppress

from datasets import config

from kinetics_tools.text import is_utf8, printable


def utf8_path(path: str) -> str:
    """Return an absolute `path`, or that of a link to it if it is not UTF-8, which Arrow and URLs need.

    The link is in the cache of `datasets`, because the rows of cached datasets contain its path.

    Raises:
        ValueError: the path of the cache is not UTF-8 either.
    """
    if is_utf8(path):
        return path
    folder = os.path.join(config.HF_DATASETS_CACHE, "kinetics_links")
    if not is_utf8(folder):
        shown = f"{printable(path)} and {printable(folder)}"
        raise ValueError(f"{shown} are not UTF-8, as Arrow requires; set HF_DATASETS_CACHE to a path that is")
    os.makedirs(folder, exist_ok=True)
    link = os.path.join(folder, hashlib.sha256(os.fsencode(path)).hexdigest()[:32])
    with suppress(FileExistsError):
        os.symlink(path, link)
    return link
