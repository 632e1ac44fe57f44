"""Scalings of one model as a JSON file, and those that are shipped."""

from __future__ import annotations

import importlib.resources
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from lvlmsal.adapters import ModelAdapter
from lvlmsal.detection.base import Detector
from lvlmsal.detection.fits import Fit
from lvlmsal.detection.regression import Regression
from lvlmsal.detection.scaling import Scaling
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.metrics.text.vocabulary import Vocabulary

FORMAT: Final = "lvlmsal.Scalings"
VERSION: Final = 1

RULE: Final = "habit-lens"
"""The detector that needs no label."""

PLAIN: Final = "log-probability"
"""The detector that needs no scaling either."""


@dataclass(frozen=True)
class Scalings:
    """What detectors make of one model's own mentions.

    Attributes:
        model: which one.
        name: what it was called, for people.
        source: what its answers were to, for people.
        words: judged words by the name of the object; None stands for the objects of COCO.
        entries: one for each detector.
    """

    model: ModelMark
    name: str
    source: str
    words: Mapping[str, Sequence[str]] | None
    entries: tuple[Fit, ...]

    def vocabulary(self) -> Vocabulary:
        """The judged words: a lens compares the tokens with which they begin."""
        if self.words is None:
            return Vocabulary.coco()
        forms = {form: name for name, words in self.words.items() for form in words}
        return Vocabulary(tuple(self.words), forms, "none", f"judged words of {self.name}")

    def best(self) -> tuple[str, dict[str, Any]]:
        """The detector that is taken where none is named, and its options.

        One that was fitted on labels, or else the rule that needs none; log-probability where the
        file, which may be of an earlier version, has neither.
        """
        fitted = [entry for entry in self.entries if isinstance(entry, Regression)]
        ruled = [entry for entry in self.entries if entry.detector == RULE]
        first = next(iter([*fitted, *ruled]), None)
        return (PLAIN, {}) if first is None else (first.detector, first.options)

    def of(self, detector: Detector) -> Fit | None:
        """That of a detector under its options; None where there is none."""
        return next((entry for entry in self.entries if entry.fits(detector)), None)

    def refuse_another(self, adapter: ModelAdapter, path: object) -> None:
        """Raise ``UnsupportedError`` where they are those of another model."""
        if problems := self.model.differences(ModelMark.of(adapter)):
            raise UnsupportedError(
                f"{path} was made from {self.name}, which is another model than "
                f"{type(adapter.model).__name__} here: it has {', '.join(problems)}. Make one for "
                "this model: type  lvlmsal fit"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them as JSON.

        Raises:
            DataError: the file cannot be written.
        """
        head = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "source": self.source,
            "model": self.model.to_dict(),
            "words": None if self.words is None else {k: list(v) for k, v in self.words.items()},
        }
        # a line for each key and for each detector, which has hundreds of numbers
        lines = [f"{json.dumps(key)}: {_json(value)}" for key, value in head.items()]
        entries = ",\n".join(_json(entry.to_dict()) for entry in self.entries)
        text = "{\n" + ",\n".join([*lines, f'"detectors": [\n{entries}\n]']) + "\n}\n"
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot be written: {error.strerror}", path=Path(path)) from error


def read_scalings(path: str | os.PathLike[str]) -> Scalings:
    """Read what :meth:`Scalings.save` has written.

    Raises:
        DataError: the file is missing, or is no such file.
    """
    path = Path(path)
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from error
    except ValueError as error:
        raise DataError(f"is not JSON: {error}", path=path) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError("is no file of scalings, as  lvlmsal fit  writes them", path=path)
    if content.get("version") != VERSION:
        raise DataError(
            f"has version {content.get('version')!r}, expected {VERSION}: type  lvlmsal fit  to "
            "make it again",
            path=path,
        )
    try:
        words = content["words"]
        return Scalings(
            ModelMark.from_dict(content["model"]),
            str(content["name"]),
            str(content["source"]),
            None if words is None else {str(k): [str(w) for w in v] for k, v in words.items()},
            tuple(_entry(entry) for entry in content["detectors"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"is damaged: {error}", path=path) from error


def scalings_at(path: str | os.PathLike[str], adapter: ModelAdapter) -> Scalings:
    """Those of a model: a file, or the model's own in a folder that ``lvlmsal fit`` wrote.

    Raises:
        DataError: the file cannot be read, or the folder holds none.
        UnsupportedError: what is there was made from other models.
    """
    place = Path(path)
    if not place.exists():
        raise DataError("is not there: type  lvlmsal fit  to make scalings", path=place)
    files = sorted(place.glob("*.json")) if place.is_dir() else [place]
    if not files:
        raise DataError("holds no file of scalings, as  lvlmsal fit  writes them", path=place)
    found = [read_scalings(file) for file in files]
    mark = ModelMark.of(adapter)
    own = next((held for held in found if not held.model.differences(mark)), found[0])
    own.refuse_another(adapter, files[0] if len(files) == 1 else place)
    return own


def _entry(values: Any) -> Fit:
    kinds: dict[str, type[Fit]] = {kind.kind: kind for kind in (Scaling, Regression)}
    if not isinstance(values, dict) or values.get("kind") not in kinds:
        raise ValueError(f"an entry is not whole: its kind is none of {', '.join(kinds)}")
    return kinds[values["kind"]].from_dict(values)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


@cache
def _shipped() -> tuple[Scalings, ...]:
    folder = Path(str(importlib.resources.files("lvlmsal.detection"))) / "scalings"
    return tuple(read_scalings(path) for path in sorted(folder.glob("*.json")))


def shipped_scalings(adapter: ModelAdapter) -> Scalings | None:
    """The scalings that come with this library for a model, however it was loaded."""
    name = type(adapter.model).__name__
    known = [found for found in _shipped() if found.model.architecture == name]
    mark = ModelMark.of(adapter) if known else None
    return next((f for f in known if mark is not None and not f.model.differences(mark)), None)
