"""The tiny random models of a dry run, and methods made to fit them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import AutoConfig, PreTrainedModel

from lvlmsal.attention.layers import resolve_layers
from lvlmsal.evaluation.config.checkpoints import architecture_of, config_of
from lvlmsal.evaluation.config.plan import Cell
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.interventions.base import Intervention, LogitsIntervention
from lvlmsal.interventions.fitted import RANDOM
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.registry import ADAPTERS
from lvlmsal.tiny.models import tiny_lvlm

DEPTHS = (2, 4, 8, 16, 32, 64, 128)
"""Layers that a tiny model may have: the first number that the methods' layers fit into."""

HEADS = 4
"""Attention heads of the tiny models."""

OUTSIDE: dict[str, tuple[str, Mapping[str, Any]]] = {
    "evidence": ("evidence", {"evidence": "stand-in"}),
    "scorer": ("scorer", {"scorer": "stand-in"}),
    "images": ("other images", {"images": "stand-in"}),
    "fit": ("fit", RANDOM),
}
"""Options that name what a dry run need not have: what that is, and options in their place."""


def adapter_name(model: ModelConfig, ready: PreTrainedModel | None) -> str | None:
    """Name of a checkpoint's adapter; None for hub ids, which are not looked up.

    Args:
        model: As in the config.
        ready: The model itself, where it is handed over.
    """
    found = architecture_of(model) if ready is None else type(ready).__name__
    kinds = [name for name in ADAPTERS.names() if name.startswith(f"{found}/")]
    content = config_of(model) if kinds and ready is None else {}
    if not kinds or (ready is None and not content):
        return found
    make: Any = AutoConfig.for_model  # without types
    config = make(**content) if ready is None else ready.config
    return next((name for name in kinds if ADAPTERS.get(name).takes(config)), found)


def tiny_stand_in(family: str, cells: Sequence[Cell]) -> Lvlm:
    """A tiny random model, deep enough for the layers that methods name.

    Args:
        family: A key of `lvlmsal.tiny.models.TINY` or `FURTHER`.
        cells: What it is to answer.
    """
    components = [part for cell in cells for part in (cell.decoder, *cell.interventions)]
    return _tiny(family, _depth(components))


@functools.cache
def _tiny(family: str, layers: int) -> Lvlm:
    return load(tiny_lvlm(family, layers=layers))


def _depth(components: Sequence[Any]) -> int:
    """The fewest layers that fit all choices of layers; the real depth is not known here."""
    for depth in DEPTHS:
        try:
            for part in components:
                for name in ("layers", "layers_read"):
                    resolve_layers(getattr(part, name, None), depth)
                if isinstance(part, Intervention):
                    part.acting_layers(depth)
                if isinstance(part, LogitsIntervention):
                    part.exits(depth)
        except ValueError:
            continue
        return depth
    return DEPTHS[-1]


def fitting(cell: Cell, notes: list[str]) -> Cell:
    """A cell whose methods name no head that a tiny model lacks, and ask nobody outside.

    Args:
        cell: The cell.
        notes: Takes a line where the cell is changed.
    """
    edits = []
    for edit in cell.interventions:
        edited: Any = edit
        heads = getattr(edit, "heads", None)
        if isinstance(heads, list | tuple) and any(head >= HEADS for head in heads):
            note = f"{cell.method}: edits all heads here, tiny models have {HEADS} only"
            notes += [] if note in notes else [note]
            edited = dataclasses.replace(edited, heads=None)
        edits.append(_inside(edited, cell.method, notes))
    decoder = _inside(cell.decoder, cell.method, notes)
    return dataclasses.replace(cell, decoder=decoder, interventions=tuple(edits))


def _inside(part: Any, method: str, notes: list[str]) -> Any:
    """A decoder or an intervention with stand-ins for what it asks outside."""
    for name, (what, instead) in OUTSIDE.items():
        if getattr(part, name, None) is not None:
            note = f"{method}: a stand-in takes the place of its {what} here"
            notes += [] if note in notes else [note]
            part = dataclasses.replace(part, **instead)
    return part


def eased(cell: Cell) -> Cell:
    """A cell whose parts have the options that the test kit gives them on random models.

    Args:
        cell: One that refuses its tiny model, for lack of what trained models have.
    """
    edits: list[Any] = list(cell.interventions)
    edits = [dataclasses.replace(edit, **edit.strong) if edit.strong else edit for edit in edits]
    decoder: Any = cell.decoder
    decoder = dataclasses.replace(decoder, **decoder.strong) if decoder.strong else decoder
    return dataclasses.replace(cell, decoder=decoder, interventions=tuple(edits))
