"""Whether the files of a benchmark are all there, whole, and as many as in the official release."""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.progress import track
from lvlmsal.readers.digests import file_digest, images_digest


@dataclass(frozen=True)
class DataCheck:
    """What was found out about the files of a benchmark.

    Attributes:
        benchmark: Registered name.
        label: Which part of it, such as ``pope/random``.
        root: Its folder.
        counts: Samples, images and groups that were found.
        expected: What the official release holds, as far as it is known; empty where the options
            leave something out, or where the folder is a scene world.
        problems: What is wrong with the files besides images, and with the counts.
        missing: Images that are asked about and not there, each with where it is asked about.
        unreadable: Images that cannot be decoded, each with why.
        samples_digest: `Benchmark.digest`, as runs record it; None if the files cannot be read.
        images_digest: Digest of the images as runs record it; None if they were not all read.
        files: SHA-256 of the files besides images, by name.
        subset: What the options chose, with the digest of the choice, or None.
        images_opened: Whether the images were decoded.
    """

    benchmark: str
    label: str
    root: str
    counts: dict[str, int]
    expected: dict[str, int]
    problems: list[str]
    missing: dict[str, str]
    unreadable: dict[str, str]
    samples_digest: str | None
    images_digest: str | None
    files: dict[str, str]
    subset: dict[str, Any] | None
    images_opened: bool
    image_digests: dict[Path, str] = field(repr=False, default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.problems or self.missing or self.unreadable)

    def to_dict(self) -> dict[str, Any]:
        """The check as JSON can hold it, without the digest of each image."""
        content = {key: value for key, value in asdict(self).items() if key != "image_digests"}
        return {"good": self.good, **content}


def check_data(benchmark: Benchmark, *, images: bool = True, counts: bool = True) -> DataCheck:
    """Read everything that a run of a benchmark would read.

    Args:
        benchmark: The benchmark with its options.
        images: Decode every image and take its digest; otherwise only see that it is there.
        counts: Compare with the counts of the official release.

    Returns:
        What was found; nothing raises, so that all problems are told at once.
    """
    problems = benchmark.reading_problems()
    asked = benchmark.image_files()
    missing = benchmark.missing_images()
    samples = [] if problems else benchmark.samples()
    subset = None if problems else benchmark.chosen()
    found = {
        "samples": len(samples),
        "images": len(asked),
        "groups": len({sample.group for sample in samples}),
    }
    is_official = counts and subset is None and not (Path(benchmark.root) / "world.json").is_file()
    expected = benchmark.expected.get(benchmark.label, {}) if is_official else {}
    if not problems:
        problems += [
            f"{benchmark.label} has {found[kind]} {kind}, the official release has {number}"
            for kind, number in expected.items()
            if found[kind] != number
        ]
    unreadable, digests = _decoded([p for p in asked if p not in missing]) if images else ({}, {})
    is_whole = images and len(digests) == len(asked) and bool(samples)
    return DataCheck(
        benchmark=str(benchmark.name),
        label=benchmark.label,
        root=benchmark.root,
        counts=found,
        expected=expected,
        problems=problems,
        missing={str(path): source for path, source in missing.items()},
        unreadable=unreadable,
        samples_digest=benchmark.digest() if samples else None,
        images_digest=images_digest((p.name, d) for p, d in digests.items()) if is_whole else None,
        files={
            benchmark.relative_name(path): file_digest(path)
            for path in (benchmark.data_files() if samples else [])
        },
        subset=None
        if subset is None
        else {
            "chosen": subset.option,
            "groups": len(subset.groups),
            "of": subset.population,
            "digest": subset.digest,
        },
        images_opened=images,
        image_digests=digests,
    )


def _decoded(paths: list[Path]) -> tuple[dict[str, str], dict[Path, str]]:
    """Why images cannot be decoded, and the digests of those that can."""
    unreadable: dict[str, str] = {}
    digests: dict[Path, str] = {}
    for path in track(paths, "images"):
        try:
            content = path.read_bytes()
            with Image.open(io.BytesIO(content)) as image:
                image.load()
            digests[path] = hashlib.sha256(content).hexdigest()
        except MemoryError:
            raise
        # Pillow's readers raise anything for damaged files, each format in its own way
        except Exception as error:
            unreadable[str(path)] = str(error) or type(error).__name__
    return unreadable, digests
