"""What a run has asked, sample by sample, with the digest of every image: to find other data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lvlmsal.errors import DataError, LvlmsalError
from lvlmsal.evaluation.results.atomic import write_text
from lvlmsal.evaluation.results.names import per_benchmark
from lvlmsal.progress import track
from lvlmsal.readers.digests import image_digest, images_digest
from lvlmsal.readers.shapes import misfit

if TYPE_CHECKING:
    from lvlmsal.benchmarks.base import Benchmark

MANIFESTS = "samples"
"""Folder of the manifests in a run folder."""

_SHAPE = {"id": str, "digest": str, "images": [{"name": str, "digest": str}]}


@dataclass(frozen=True)
class Asked:
    """One sample.

    Attributes:
        digest: Of its prompt, its target and its group.
        images: `Benchmark.relative_name` and digest of each image, in the sample's order. A name
            says where an image lies, which may change; what it shows may not.
    """

    digest: str
    images: tuple[tuple[str, str], ...]

    @property
    def content(self) -> tuple[str, ...]:
        """What does not depend on where images lie."""
        return (self.digest, *(digest for _, digest in self.images))


@dataclass(frozen=True)
class Manifest:
    """What a benchmark asks.

    Attributes:
        samples: By id, in their order.
        images_digest: Digest of all images, see `lvlmsal.readers.digests.images_digest`.
    """

    samples: dict[str, Asked]
    images_digest: str


def make_manifest(benchmark: Benchmark) -> Manifest:
    """Digests of what a benchmark asks; every image is read once."""
    files = track(benchmark.image_files(), "digests of images")
    digests = {path: image_digest(path) for path in files}
    samples = {}
    for sample in benchmark.samples():
        row = json.dumps([sample.prompt, sample.target, sample.group], sort_keys=True)
        samples[sample.id] = Asked(
            hashlib.sha256(row.encode()).hexdigest(),
            tuple((benchmark.relative_name(path), digests[path]) for path in sample.images),
        )
    total = images_digest((path.name, digest) for path, digest in digests.items())
    return Manifest(samples, total)


def read_manifest(folder: Path, label: str) -> dict[str, Asked] | None:
    """What a run has asked of a benchmark; None where it has no manifest of it.

    Args:
        folder: The run folder.
        label: Label of the benchmark.

    Raises:
        DataError: A line is damaged.
    """
    path = _path(folder, label)
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from error
    samples = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            problem = "it cannot be read"
        else:
            problem = misfit(row, _SHAPE)
        if problem:
            raise DataError(
                f"is damaged: {problem}. Put the file back as it was, or choose another folder "
                "with output=...",
                path=path,
                line=number,
            )
        # what was added later counts: an image that could not be read at first
        images = tuple((image["name"], image["digest"]) for image in row["images"])
        samples[row["id"]] = Asked(row["digest"], images)
    return samples


def write_manifest(folder: Path, label: str, samples: Mapping[str, Asked]) -> None:
    """Write what a run asks, or add to it: what is there stays.

    Args:
        folder: The run folder.
        label: Label of the benchmark.
        samples: What is not there yet, or not like this.

    Raises:
        LvlmsalError: The file cannot be written.
    """
    path = _path(folder, label)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
    except OSError as error:
        raise LvlmsalError(f"{path} cannot be written: {error.strerror}") from error
    write_text(path, before + "".join(_lines(samples)))


def _lines(samples: Mapping[str, Asked]) -> Iterable[str]:
    for key, asked in samples.items():
        images = [{"name": name, "digest": digest} for name, digest in asked.images]
        row = {"id": key, "digest": asked.digest, "images": images}
        # as ASCII: ids may hold what no encoding can write
        yield json.dumps(row) + "\n"


def _path(folder: Path, label: str) -> Path:
    return folder / MANIFESTS / per_benchmark(label, ".jsonl")
