"""What every benchmark is: samples with files and targets, a metric, and a list of problems."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar, Self

from lvlmsal.benchmarks.sample import Sample, repeated_ids, shortened
from lvlmsal.benchmarks.subsets import Recipe, Subset, choose
from lvlmsal.errors import DataError, LvlmsalError
from lvlmsal.metrics.base import CountMetric
from lvlmsal.readers.digests import is_file
from lvlmsal.readers.hub import Layout


@dataclass(eq=False, kw_only=True)
class Benchmark(ABC):
    """Base class of all benchmarks; a subclass implements `read` and `metric`.

    Fields are the options that a config may set. Reading is lazy and cached: building a benchmark
    touches no file, `problems` reads everything but the pixels.

    Args:
        root: Folder that holds the benchmark's files.
        images: Folder of the images, absolute or relative to `root`; by default the first of
            `image_folders` that exists, or else `root` itself.
        prompt: What the model is asked; ``{question}`` stands for the benchmark's own question.
        max_new_tokens: Maximum number of tokens generated per answer.
        limit: Maximum number of groups (images); all samples of a group stay together.
        subset_seed: Draw the `limit` groups at random with this seed instead of taking the first.
        subset: Use these groups: a recipe such as ``coco-val2014-500-seed0``, which draws the same
            ones everywhere (`lvlmsal.benchmarks.subsets`), or an id list file (in `root`, or from
            the current folder) with a group id or image name per line.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    image_folders: ClassVar[tuple[str, ...]] = ("images", "val2014")
    expected: ClassVar[dict[str, dict[str, int]]] = {}
    """What the official release holds: label -> {"samples": n, "images": n, "groups": n}, each
    number only where it is known; ``lvlmsal data check`` compares with it."""
    examples: ClassVar[tuple[tuple[str, Any], ...]] = ()
    """Made-up questions about one image with their targets, shaped as `read` makes them: a dry run
    asks them where the files are not there."""

    stands_for: ClassVar[dict[str, dict[str, tuple[str, ...]]]] = {}
    """Option -> value that a config may give it -> the values for which that stands, each of them a
    benchmark of its own."""

    layout: ClassVar[Layout | None] = None
    """Writes rows of the hub's data set as this benchmark's files (``lvlmsal data export``)."""

    root: str
    images: str | None = None
    prompt: str = "{question}"
    max_new_tokens: int = 16
    limit: int | None = None
    subset_seed: int | None = None
    subset: str | None = None

    may_fail: int = field(default=0, init=False)
    """How many samples may lack an image before that is one of the `problems`."""

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: An option has a value that cannot work.
        """
        if not self.root.strip():
            raise ValueError("root must be a folder; got an empty string")
        default = next(f.default for f in dataclasses.fields(self) if f.name == "prompt")
        if "{question}" in str(default) and "{question}" not in self.prompt:
            raise ValueError(
                f"prompt must contain {{question}}, where the question goes; got {self.prompt!r}"
            )
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1 (or null for all), got {self.limit}")
        if self.subset_seed is not None and self.limit is None:
            raise ValueError("subset_seed draws a random subset of `limit` images: set limit too")
        if self.subset is not None and self.subset_seed is not None:
            raise ValueError("subset and subset_seed are two ways to choose: give one of them")
        recipe = Recipe.parse(self.subset or "")
        if recipe is not None and recipe.problem():
            raise ValueError(f"subset {self.subset!r}: {recipe.problem()}")
        self._read: tuple[list[Sample], list[str]] | None = None
        self._chosen_subset: Subset | None = None

    @abstractmethod
    def read(self, problems: list[str]) -> list[Sample]:
        """Read all samples, in the order of the files.

        Args:
            problems: Takes one text per problem that does not keep the rest from being read. A
                `DataError` ends the reading and is taken as one more problem.
        """

    @abstractmethod
    def metric(self) -> CountMetric:
        """The metric that scores this benchmark's answers against its targets."""

    @property
    def label(self) -> str:
        """Name that tells this benchmark from others of the same kind, such as ``pope/random``."""
        return self.name

    def data_files(self) -> list[Path]:
        """The files besides images that decide what is asked and what is right."""
        return []

    def samples(self) -> list[Sample]:
        """The validated samples.

        Raises:
            DataError: Anything is wrong with the files; the message lists all problems.
        """
        samples, problems = self._load()
        if problems:
            raise DataError("\n".join(problems))
        return samples

    def excerpt(self, samples: Sequence[Sample], *, max_new_tokens: int) -> Self:
        """A copy that asks these samples only, and for short answers."""
        part = copy.copy(self)
        part.max_new_tokens = max_new_tokens
        part._read = (list(samples), [])
        return part

    def problems(self) -> list[str]:
        """Everything that is wrong with the files, found without opening an image."""
        missing, texts = self.missing_images(), []
        samples = self._load()[0]
        if sum(not missing.keys().isdisjoint(s.images) for s in samples) > self.may_fail:
            texts = [f"{source}: there is no image {_short(p)}" for p, source in missing.items()]
        return [*shortened(self.reading_problems()), *shortened(texts)]

    def reading_problems(self) -> list[str]:
        """Everything that is wrong with the files besides images."""
        return list(self._load()[1])

    def image_files(self) -> dict[Path, str]:
        """Every image that is asked about, in that order, and where it is first asked about."""
        files: dict[Path, str] = {}
        for sample in self._load()[0]:
            for path in sample.images:
                files.setdefault(path, sample.source)
        return files

    def missing_images(self) -> dict[Path, str]:
        """The images that are not there, and where they are first asked about."""
        return {path: text for path, text in self.image_files().items() if not is_file(path)}

    def chosen(self) -> Subset | None:
        """The groups that `subset` or `limit` chose, or None where all are used.

        Raises:
            DataError: Anything is wrong with the files.
        """
        self.samples()
        return self._chosen_subset

    def digest(self) -> str:
        """Digest of what is asked: ids, prompts, image names and targets, in order."""
        rows = [
            [s.id, s.prompt, [path.name for path in s.images], s.target] for s in self.samples()
        ]
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()

    def relative_name(self, path: Path) -> str:
        """What records call a file: its path below `root`, or its name where it lies elsewhere."""
        root = Path(self.root)
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name

    def one_sample(
        self,
        problems: list[str],
        *,
        id: str,
        image: str,
        target: Any,
        source: str,
        question: str = "",
        prompt: str | None = None,
        group: str | None = None,
    ) -> list[Sample]:
        """The sample about one image; none, and a problem more, where the image's name is bad.

        Args:
            problems: Takes the problem.
            id: Of the sample.
            image: Name below the image folder.
            target: What the metric compares with.
            source: File and line.
            question: Goes into the option `prompt`.
            prompt: The whole prompt, in place of the two.
            group: What samples are resampled by; the image's name by default.
        """
        try:
            path = self.image_path(image, source)
        except DataError as error:
            problems.append(str(error))
            return []
        text = self.prompt.replace("{question}", question) if prompt is None else prompt
        return [Sample(id, (path,), text, target, image if group is None else group, source)]

    def image_root(self) -> Path:
        """The folder that image names are relative to."""
        root = Path(self.root)
        if self.images is not None:
            return root / self.images
        found = (root / name for name in self.image_folders if (root / name).is_dir())
        return next(found, root)

    def image_path(self, name: str, source: str) -> Path:
        """The path of an image, which must lie inside the image folder.

        Raises:
            DataError: `name` is absolute or climbs out of the folder.
        """
        parts = {*PurePosixPath(name).parts, *PureWindowsPath(name).parts}
        if (
            not name.strip()
            or ".." in parts
            or PurePosixPath(name).is_absolute()
            or PureWindowsPath(name).anchor
        ):
            raise DataError(
                f"{source}: the image {name!r} must be a path inside the image folder "
                f"{self.image_root()}, neither absolute nor with '..'"
            )
        return self.image_root() / name

    def _load(self) -> tuple[list[Sample], list[str]]:
        if self._read is None:
            problems: list[str] = []
            samples: list[Sample] = []
            if Path(self.root).is_dir():
                try:
                    samples = self.read(problems)
                except LvlmsalError as error:
                    problems.append(str(error))
            else:
                problems.append(f"{self.label}: there is no folder {self.root!r} (option 'root')")
            problems += repeated_ids(samples)
            if not samples and not problems:
                problems.append(f"{self.label}: the files in {self.root!r} hold no samples")
            if samples:
                self._chosen_subset = choose(
                    _images_of_groups(samples),
                    Path(self.root),
                    problems,
                    subset=self.subset,
                    limit=self.limit,
                    seed=self.subset_seed,
                )
                if self._chosen_subset is not None:
                    kept = set(self._chosen_subset.groups)
                    samples = [sample for sample in samples if sample.group in kept]
            self._read = samples, problems
        return self._read


def _short(path: Path) -> str:
    """A path for a message; base64 in place of a name would fill the screen."""
    text = str(path)
    return text if len(text) <= 300 else f"{text[:80]}... ({len(text):,} characters)"


def _images_of_groups(samples: Iterable[Sample]) -> dict[str, list[str]]:
    images: dict[str, list[str]] = {}
    for sample in samples:
        names = images.setdefault(sample.group, [])
        names += [path.name for path in sample.images if path.name not in names]
    return images


__all__ = ["Benchmark", "Sample"]
