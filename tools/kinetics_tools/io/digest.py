"""SHA-256 of files of any size."""

import hashlib
from typing import BinaryIO

_BLOCK_BYTES = 1 << 20


def file_sha256(file: BinaryIO) -> str:
    """Return the SHA-256 of the rest of a file, in hexadecimal."""
    total = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        total.update(block)
    return total.hexdigest()
