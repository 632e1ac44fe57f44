"""A saliency report as one safetensors file: tensors, JSON metadata and the images as PNG."""

from __future__ import annotations

import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lvlmsal.adapters.runs import Run
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import DataError
from lvlmsal.saliency.options import FUSIONS, SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport

FORMAT = "lvlmsal.SaliencyReport"
VERSION = 1
_PLAIN = (
    "prompt",
    "text",
    "token_ids",
    "tokens",
    "log_probabilities",
    "entropies",
    "layers",
    "position_texts",
)


def save_report(report: SaliencyReport, path: str | os.PathLike[str]) -> None:
    """Write a report; nothing in the file is code, and any safetensors reader can open it.

    Args:
        report: what to write.
        path: ending in ``.safetensors``.
    """
    tensors = {f"maps.{name}": values.contiguous() for name, values in report.maps.items()}
    tensors["attention"] = report.attention.contiguous()
    for index, image in enumerate(report.images):
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, format="PNG")
        content = bytearray(buffer.getvalue())
        tensors[f"images.{index}"] = torch.frombuffer(content, dtype=torch.uint8)
    for index, boxes in enumerate(report.boxes):
        if boxes is not None:
            tensors[f"boxes.{index}"] = boxes.contiguous()
    content_of = {name: getattr(report, name) for name in _PLAIN}
    content_of |= {
        "spans": asdict(report.spans),
        "grids": report.grids,
        "options": asdict(report.options),
        "images": len(report.images),
        "boxes": len(report.boxes),
    }
    metadata = {"format": FORMAT, "version": str(VERSION), "report": json.dumps(content_of)}
    save_file(tensors, path, metadata=metadata)


def load_report(path: str | os.PathLike[str]) -> SaliencyReport:
    """Read a report that :func:`save_report` wrote.

    Raises:
        DataError: the file is missing, damaged or no report.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError("no such file; SaliencyReport.save writes one", path=file)
    try:
        with safe_open(file, framework="pt") as stored:
            metadata = stored.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise DataError("is a safetensors file, but no saliency report", path=file)
            if metadata.get("version") != str(VERSION):
                raise DataError(
                    f"is a report of version {metadata.get('version')}; this release reads "
                    f"version {VERSION}: diagnose the answer again",
                    path=file,
                )
            content: dict[str, Any] = json.loads(metadata["report"])
            maps = {name: stored.get_tensor(f"maps.{name}") for name in FUSIONS}
            attention = stored.get_tensor("attention")
            pictures = [stored.get_tensor(f"images.{i}") for i in range(content["images"])]
            places = [
                stored.get_tensor(name) if name in stored.keys() else None  # noqa: SIM118  # no dict
                for name in (f"boxes.{index}" for index in range(content.get("boxes", 0)))
            ]
        spans = content["spans"]
        spans["images"] = tuple(map(tuple, spans["images"]))
        spans["runs"] = tuple(Run(**run) for run in spans.get("runs", ()))
        return SaliencyReport(
            **{name: content[name] for name in _PLAIN},
            maps=maps,
            attention=attention,
            spans=TokenSpans(**spans),
            grids=[(rows, columns) for rows, columns in content["grids"]],
            options=SaliencyOptions(**content["options"]),
            images=[_opened(picture) for picture in pictures],
            boxes=places,
        )
    # What a file holds that safetensors can read and that is none of ours shows in any of these.
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise DataError(f"is no readable saliency report: {error}", path=file) from error


def _opened(picture: torch.Tensor) -> Image.Image:
    image = Image.open(io.BytesIO(picture.numpy().tobytes()))
    image.load()
    return image
