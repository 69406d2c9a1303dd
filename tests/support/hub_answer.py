"""Answers of the tests' Hub: content, or a refusal."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Answer:
    content: bytes | Path = b""  # of a file the whole, or what Range asks for
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> "Answer":
        return cls(json.dumps(value).encode(), status, headers or {})


class Refusal(Exception):
    """The Hub's way to say no. Clients tell the cases apart by `code`, and by the status only over https."""

    def __init__(self, status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        named = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self.answer = Answer.json({"error": message}, status, named)
