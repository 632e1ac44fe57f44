"""Digests of files, for records of what a run was made with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path


def file_digest(path: Path) -> str:
    """SHA-256 of a file; read off the name where the file is a blob of the hub's cache."""
    blob = path.resolve().name
    if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob):
        return blob
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file(path: Path) -> bool:
    """Whether there is a regular file; False for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


NO_IMAGE = ("missing", "unreadable")
"""What stands in place of the digest of an image that nobody can have seen."""


def image_digest(path: Path) -> str:
    """`file_digest` of an image, or one of `NO_IMAGE`; its sample then fails with the reason."""
    if not is_file(path):
        return "missing"
    try:
        return file_digest(path)
    except OSError:
        return "unreadable"


def images_digest(digests: Iterable[tuple[str, str]]) -> str:
    """Digest of images: their names and `file_digest`, in the order of the samples."""
    total = hashlib.sha256()
    for name, digest in digests:
        # names that are not UTF-8 text have a digest, too
        total.update(f"{name} {digest}\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()
