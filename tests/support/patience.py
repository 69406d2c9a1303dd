"""Retries without the waits that users have."""

from dataclasses import replace
from typing import Any

import pytest

from kinetics_tools.io.http import HttpFile


def impatient(monkeypatch: pytest.MonkeyPatch, wait_seconds: float = 0.001, **changes: Any) -> None:
    """Makes `HttpFile` wait hardly at all; `changes` are further fields of its policies, such as `retries`."""
    for name in ("policy", "policy_without_answer"):
        policy = replace(getattr(HttpFile, name), first_wait_seconds=wait_seconds, **changes)
        monkeypatch.setattr(HttpFile, name, policy)
