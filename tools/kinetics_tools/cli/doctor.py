"""`kinetics doctor`."""

import importlib
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from kinetics_tools.cli.options import examples
from kinetics_tools.run import PlainConsole, available_cores

EPILOG = examples("kinetics doctor")
# Optional package -> module that shows whether it loads, and who needs it.
_OPTIONAL = {
    "torch": ("torch", "collate gives tensors with it"),
    "torchcodec": ("torchcodec.decoders", "load_dataset decodes video with it"),
    "yt-dlp": ("yt_dlp", "kinetics download --source youtube needs it"),
    "ray": ("ray", "kinetics prepare --engine ray needs it"),
}


def doctor() -> None:
    """Print what a report of a problem needs: versions, decoders, token, mirror and free disk. Nothing is sent."""
    for name, text in _findings():
        PlainConsole().print(f"{name + ':':20}{text}")


def _findings() -> Iterator[tuple[str, str]]:
    from importlib.metadata import version

    import av
    import huggingface_hub
    from datasets import config

    from kinetics_tools.io import mirror_url, without_credentials
    from kinetics_tools.text import format_size

    yield "Python", f"{platform.python_version()}, {platform.platform()}, {available_cores()} cores"
    for name in ("kinetics-dataset", "datasets", "huggingface_hub", "pyarrow"):
        yield name, version(name)
    yield "av", f"{av.__version__}, with libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"
    yield from ((name, _optional(name, *about)) for name, about in _OPTIONAL.items())
    yield "Hub token", "found" if huggingface_hub.get_token() else "none; kinetics push needs `hf auth login`"
    yield "mirror", without_credentials(mirror_url(None) or "none: the public hosts")
    cache = Path(config.HF_DATASETS_CACHE).absolute()
    there = next(one for one in (cache, *cache.parents) if one.exists())
    yield "datasets cache", f"{cache}, {format_size(shutil.disk_usage(there).free)} free"


def _optional(name: str, module: str, use: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version(name)
        importlib.import_module(module)
    except PackageNotFoundError:
        return f"not installed; {use}"
    except Exception as error:  # a package that does not load is a finding
        return f"{found} does not load: {' '.join(str(error).split())[:200] or type(error).__name__}"
    return found
