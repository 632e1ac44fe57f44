"""Fits of methods that a run uses, and images that are asked about although a fit has seen them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.plan import Plan
from lvlmsal.fits.digests import pixel_digest
from lvlmsal.fits.folder import TENSORS
from lvlmsal.interventions.fitted import FittedIntervention
from lvlmsal.progress import track
from lvlmsal.readers.digests import file_digest, is_file


def fits_used(plan: Plan) -> dict[str, Any]:
    """What stands behind the methods of a run that were fitted beforehand.

    Args:
        plan: The run. Its images are only opened where it has such a method.

    Returns:
        By method: name and folder of each fit, SHA-256 of its tensors by the model's folder, and
        ``overlap``: how many images of each benchmark the fit has seen, where some.

    Raises:
        ConfigError: There are such images, and the method does not allow it.
        DataError: A fit cannot be read.
    """
    edits: dict[str, list[FittedIntervention]] = {}
    for cell in plan.cells:
        fitted = [edit for edit in cell.interventions if isinstance(edit, FittedIntervention)]
        if fitted := [edit for edit in fitted if edit.fits()]:
            edits.setdefault(cell.method, fitted)
    if not edits:
        return {}
    seen = {label: _digests(b.image_files()) for label, b in plan.benchmarks.items()}
    found: dict[str, Any] = {}
    problems = []
    for method, fitted in edits.items():
        for edit in fitted:
            fits = edit.fits()
            known = {digest for fit in fits.values() for digest in fit.images}
            overlap = {
                label: len(shared)
                for label, digests in seen.items()
                if (shared := known & digests.keys())
            }
            if overlap and not edit.allow_overlap:
                label = next(iter(overlap))
                first = next(path for digest, path in seen[label].items() if digest in known)
                problems.append(
                    f"methods: {method}: {edit.fit} was fitted on {overlap[label]} of the images "
                    f"of {label} ({first} is one): ask about other images, or write "
                    "allow_overlap: true at the intervention, and the tables say so"
                )
            found.setdefault(method, []).append(
                {
                    "name": edit.name,
                    "folder": str(edit.fit),
                    "weights": {place.name: file_digest(place / TENSORS) for place in fits},
                    "overlap": overlap,
                }
            )
    if problems:
        raise ConfigError(problems)
    return found


def _digests(files: Iterable[Path]) -> dict[str, Path]:
    """Digests of the pixels of images; those that are missing fail later, with the reason."""
    there = [path for path in files if is_file(path)]
    return {pixel_digest(path): path for path in track(there, "images that fits have seen")}
