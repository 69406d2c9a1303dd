"""Readers of clips that fail, for worker processes: so this module imports little."""

import os
import signal
import time
from typing import Any

from kinetics_tools.preparation.clip import prepare_clip


def crashing(clip: tuple[str, str], *, encoding: Any, crash: str, hang: str, **_: Any) -> Any:
    """Prepare a clip, except one that ends its process and one that takes a minute."""
    if clip[0] == crash:
        os.kill(os.getpid(), signal.SIGSEGV)
    if clip[0] == hang:
        time.sleep(60)
    return prepare_clip(clip, encoding=encoding)
