"""Evidence from a model of transformers: loaded when first asked, its answers kept in files."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lvlmsal.adapters.sources import Source
from lvlmsal.errors import DataError, LvlmsalError
from lvlmsal.evidence.base import Evidence
from lvlmsal.pictures import digest_of
from lvlmsal.readers.digests import file_digest

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

RECENT = 256
"""Answers that are kept in memory."""

Arrays = dict[str, NDArray[Any]]
"""Arrays of numbers or texts, as files without pickle hold them."""


@dataclass(frozen=True)
class ModelEvidence(Evidence):
    """Base of evidence that asks a model, whose class of transformers it names.

    Args:
        model: a folder, or an id of the model hub.
        revision: on the hub; the newest by default, which may change under a run.
        device: where it runs, such as ``cuda``.
        cache: folder in which answers are kept, so that they can be had again without the model. By
            default they are not.
    """

    model: str
    revision: str | None = None
    device: str = "cpu"
    cache: str | None = None

    model_class: ClassVar[str] = ""

    @cached_property
    def version(self) -> str:
        """Of a folder the sha256 of its weights (or of their index), in short; else the hub's."""
        files = [Path(self.model).expanduser() / name for name in _WEIGHTS]
        local = next((file for file in files if file.is_file()), None)
        return file_digest(local)[:16] if local else self.revision or "main"

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The model, in evaluation mode, and its processor.

        Raises:
            LvlmsalError: they cannot be loaded; it says how to get them.
        """
        import transformers

        folder = Path(self.model).expanduser()
        if not folder.is_dir() and self.model.count("/") != 1:
            raise DataError("there is no such folder, and this is no id of the hub", path=folder)
        place = str(folder) if folder.is_dir() else self.model
        source = Source(place, self.revision, None, local=folder.is_dir()).looked_up()
        kind: Any = getattr(transformers, self.model_class)
        auto: Any = transformers.AutoProcessor
        options = {"revision": source.revision}
        with source.loading():
            try:
                model = kind.from_pretrained(source.location, **options).to(self.device).eval()
                processor = auto.from_pretrained(source.location, **options)
            # a missing package of the model's backbone is an ImportError
            except (OSError, ValueError, ImportError, RuntimeError) as error:
                raise self._error(source, error) from error
        return model, processor

    def _error(self, source: Source, error: Exception) -> LvlmsalError:
        what = f"evidence {self.name!r} cannot load it as {self.model_class}"
        return source.error(what, error)

    def kept(self, image: Image.Image, question: Any, make: Callable[[], Arrays]) -> Arrays:
        """What was answered before, or is now.

        Args:
            image: that is asked about.
            question: what is asked besides, as JSON can hold it; options that matter among it.
            make: asks the model.
        """
        asked = json.dumps([self.name, self.version, self.model, question])
        key = hashlib.sha256(f"{digest_of(image)} {asked}".encode()).hexdigest()
        if key not in self._recent:
            if len(self._recent) == RECENT:
                self._recent.clear()
            file = self.cache and Path(self.cache).expanduser() / key[:2] / f"{key}.npz"
            self._recent[key] = _in_file(file, make) if file else make()
        return self._recent[key]

    @cached_property
    def _recent(self) -> dict[str, Arrays]:
        """Answers to the last questions: a method may ask twice about a prompt."""
        return {}


def _in_file(file: Path, make: Callable[[], Arrays]) -> Arrays:
    """What a file holds, or will hold from now on."""
    if file.is_file():
        with np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    made = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    # another process may write the same answer: whole files only
    handle, scratch = tempfile.mkstemp(dir=file.parent, suffix=".part")
    with os.fdopen(handle, "wb") as stream:
        np.savez(stream, allow_pickle=False, **made)
    os.replace(scratch, file)
    return made
