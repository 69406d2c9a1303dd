"""Video decoder of `datasets`. Importing it takes seconds, so it is looked for only if frames are asked for."""

import functools
from importlib import import_module
from importlib.util import find_spec

import datasets
from datasets.utils.logging import get_logger

_logger = get_logger("datasets.kinetics")

# "torchcodec", or "torchvision" with `datasets` 3.
_PACKAGE = datasets.Video.dtype.partition(".")[0]


@functools.cache
def decoder_problem() -> str | None:
    """Return why `datasets` cannot decode video here and what to install; None if it can."""
    if find_spec(_PACKAGE) is None:
        return f"{_PACKAGE} is not installed: pip install torch {_PACKAGE}"
    module, _, name = datasets.Video.dtype.rpartition(".")
    try:
        getattr(import_module(module), name)
    except RuntimeError:  # torchcodec lists causes and the errors of each version of FFmpeg, in 60 lines
        return (
            f"{_PACKAGE} is installed but does not load: install FFmpeg's shared libraries, and the release of "
            f"{_PACKAGE} that belongs to your torch. `kinetics doctor` shows the versions"
        )
    except (ImportError, AttributeError, OSError) as error:
        return f"{_PACKAGE} is installed but does not load: {' '.join(str(error).split())}"
    return None


def will_decode(decode: bool | None) -> bool:
    """Return `decode`; for None, True if the decoder loads. If not, a warning says so once."""
    if decode is None and (problem := decoder_problem()):
        _warn(problem)
        return False
    return decode is not False


@functools.cache
def _warn(problem: str) -> None:
    _logger.warning(
        f'`video` holds {{"bytes", "path"}} instead of frames, because {problem}. '
        "Pass decode=False to get bytes without this warning."
    )
