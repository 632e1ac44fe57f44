"""Lists of a benchmark's files with their SHA-256, to compare two machines.

A manifest has the lines of ``sha256sum`` (digest, two blanks, path below the root), so that tool
can check it too; lines that start with ``#`` say what it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.data.check import DataCheck
from lvlmsal.errors import DataError
from lvlmsal.readers.rows import read_text

_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>.+)")


@dataclass(frozen=True)
class Difference:
    """How the files here differ from those of a manifest.

    Attributes:
        missing: Names that the manifest has and this machine has not.
        added: Names that are here and not in the manifest.
        changed: Names whose content differs.
    """

    missing: list[str]
    added: list[str]
    changed: list[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.added or self.changed)


def file_names(benchmark: Benchmark, check: DataCheck) -> dict[str, str]:
    """Name -> SHA-256 of everything that a benchmark reads.

    Args:
        benchmark: The benchmark.
        check: What was found out about it, with its images.

    Returns:
        Paths below the root; ``<images>/NAME`` and ``<files>/NAME`` for what lies elsewhere.

    Raises:
        DataError: Two files would have one name, or a name holds a line break.
    """
    names: dict[str, str] = {}
    folder = benchmark.image_root()
    entries = [
        (_below(path, Path(benchmark.root), folder), digest)
        for path, digest in check.image_digests.items()
    ]
    entries += [
        (name if (Path(benchmark.root) / name).exists() else f"<files>/{name}", digest)
        for name, digest in check.files.items()
    ]
    for name, digest in entries:
        if "\n" in name or "\r" in name:
            raise DataError(f"a manifest cannot hold the name {name!r}: it has a line break")
        if names.setdefault(name, digest) != digest:
            raise DataError(f"two different files would be called {name!r} in the manifest")
    return dict(sorted(names.items()))


def _below(path: Path, root: Path, images: Path) -> str:
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    shown = path.relative_to(images) if path.is_relative_to(images) else Path(path.name)
    return f"<images>/{shown.as_posix()}"


def manifest_text(check: DataCheck, names: Mapping[str, str]) -> str:
    """The content of a manifest file."""
    head = f"# {check.label}: {check.counts['samples']} samples, {check.counts['images']} images\n"
    head += f"# samples {check.samples_digest}\n# images {check.images_digest}\n"
    return head + "".join(f"{digest}  {name}\n" for name, digest in names.items())


def read_manifest(path: Path) -> dict[str, str]:
    """Name -> SHA-256 of a manifest file.

    Raises:
        DataError: The file cannot be read, a line is not one of a manifest, or a name comes twice.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.rstrip("\r"))
        if found is None:
            raise DataError(
                f"expected '<sha256>  <path>' as sha256sum writes it, got {line[:80]!r}",
                path=path,
                line=number,
            )
        if found["name"] in names:
            raise DataError(f"{found['name']!r} comes twice", path=path, line=number)
        names[found["name"]] = found["digest"]
    if not names:
        raise DataError("the manifest names no files", path=path)
    return names


def compare(here: Mapping[str, str], manifest: Mapping[str, str]) -> Difference:
    """How the files here differ from those of a manifest.

    Example:
        >>> compare({"a": "1", "b": "2"}, {"b": "3", "c": "4"})
        Difference(missing=['c'], added=['a'], changed=['b'])
    """
    return Difference(
        missing=sorted(manifest.keys() - here.keys()),
        added=sorted(here.keys() - manifest.keys()),
        changed=sorted(n for n in here.keys() & manifest.keys() if here[n] != manifest[n]),
    )
