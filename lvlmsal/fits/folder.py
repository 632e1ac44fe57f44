"""What a fit of a method has left for one model: a folder with JSON and safetensors."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.errors import DataError, LvlmsalError, UnsupportedError
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.readers.rows import read_json_object

FORMAT: Final = "lvlmsal.Fit"
VERSION: Final = 1
NOTE: Final = "fit.json"
TENSORS: Final = "fit.safetensors"


@dataclass(frozen=True)
class Fit:
    """What is known of a fit of one method in one model; its tensors lie next to it.

    Attributes:
        method: name of the method.
        options: of the fit, by which it is another one.
        name: what the model was called, for people.
        model: which one.
        made_with: versions, dtype and revision.
        data: what it was made from: ``source``, and the numbers of ``pairs`` and ``images``.
        images: digests of the pixels of all images that it has seen, see
            :func:`~lvlmsal.fits.digests.pixel_digest`.
        shapes: of the tensors by name.
    """

    method: str
    options: Mapping[str, Any]
    name: str
    model: ModelMark
    made_with: Mapping[str, Any]
    data: Mapping[str, Any]
    images: Sequence[str]
    shapes: Mapping[str, Sequence[int]]

    def save(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        """Write ``fit.json`` and ``fit.safetensors``.

        Args:
            folder: to write into.
            tensors: of the shapes that it names, on the CPU.

        Raises:
            LvlmsalError: The folder cannot be written.
        """
        note = {field.name: getattr(self, field.name) for field in fields(self)}
        note |= {"model": self.model.to_dict()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            save_file(
                {name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS
            )
            text = json.dumps({"format": FORMAT, "version": VERSION, **note}, indent=1)
            (folder / NOTE).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise LvlmsalError(f"{folder} cannot be written: {error.strerror}") from error

    def tensors(self, folder: Path) -> dict[str, Tensor]:
        """What the method is given, by name; float32 on the CPU.

        Args:
            folder: that it was read from.

        Raises:
            DataError: The file is missing or damaged, or holds other tensors than the note says.
        """
        path = folder / TENSORS
        try:
            with safe_open(path, framework="pt") as opened:
                found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise DataError(f"cannot be read: {error}", path=path) from error
        shapes = {name: list(tensor.shape) for name, tensor in found.items()}
        if shapes != self.shapes:
            raise DataError(f"holds {shapes}, and {NOTE} says {dict(self.shapes)}", path=path)
        return found


def read_fits(folder: Path, method: str) -> dict[Path, Fit]:
    """The fit of a folder, or those in its folders, one for each model; by their folders.

    Args:
        folder: that ``lvlmsal fit`` wrote.
        method: whose fits they must be.

    Raises:
        DataError: There is none, or one is damaged or of another method.
    """
    notes = [folder / NOTE] if (folder / NOTE).exists() else sorted(folder.glob(f"*/{NOTE}"))
    if not notes:
        raise DataError(
            f"holds no fit: type  lvlmsal fit {method} CONFIG -o {folder}  to make one", path=folder
        )
    return {note.parent: _read(note, method) for note in notes}


def shipped_fits(method: str) -> Path:
    """The folder of the fits of a method that come with this library, one for each model."""
    return Path(str(importlib.resources.files("lvlmsal.fits"))) / "shipped" / method


def fit_of(adapter: ModelAdapter, fits: Mapping[Path, Fit]) -> tuple[Path, Fit]:
    """The one of a model, and where it lies.

    Raises:
        UnsupportedError: All are of other models.
    """
    mark = ModelMark.kept_of(adapter)
    for place, fit in fits.items():
        if not fit.model.differences(mark):
            return place, fit
    place, fit = next(iter(fits.items()))
    here = type(adapter.model).__name__
    if len(fits) > 1:
        said = f"{place.parent} holds fits of {', '.join(other.name for other in fits.values())}, "
        said += f"and none is of the {here} here"
    else:
        said = f"{place} was fitted in {fit.name}, which is another model than the {here} here: "
        said += f"it has {', '.join(fit.model.differences(mark))}"
    raise UnsupportedError(
        f"{said}. Type  lvlmsal fit {fit.method} CONFIG -o FOLDER  to fit it in this one"
    )


def _read(path: Path, method: str) -> Fit:
    content = read_json_object(path, "the note of a fit")
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise DataError(
            f"expected the note of a fit with 'format': {FORMAT!r} and 'version': {VERSION}, got "
            f"{content.get('format')!r} and {content.get('version')!r}",
            path=path,
        )
    if content.get("method") != method:
        raise DataError(f"is a fit of {content.get('method')!r}, not of {method!r}", path=path)
    try:
        return Fit(
            method,
            dict(content["options"]),
            str(content["name"]),
            ModelMark.from_dict(content["model"]),
            dict(content["made_with"]),
            dict(content["data"]),
            [str(digest) for digest in content["images"]],
            {str(name): [int(n) for n in shape] for name, shape in content["shapes"].items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"is damaged: {error!r}", path=path) from error
