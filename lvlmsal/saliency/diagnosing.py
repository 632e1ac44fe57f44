"""The diagnosis of one answer: passes through the model, gathered into a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.boxes import WHOLE
from lvlmsal.attention.editor import Bindable
from lvlmsal.attention.layers import resolve_layers
from lvlmsal.saliency.block import block_saliency
from lvlmsal.saliency.full import full_graph_rows
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.raster import raster_shape
from lvlmsal.saliency.report import SaliencyReport


def diagnose_response(
    adapter: ModelAdapter,
    inputs: Mapping[str, Any],
    response: Sequence[int],
    options: SaliencyOptions,
    *,
    prompt: str = "",
    interventions: Sequence[Bindable] = (),
    images: Sequence[Image.Image] = (),
) -> SaliencyReport:
    """Diagnose one answer.

    Args:
        adapter: of the model, with a processor.
        inputs: one encoded prompt (a batch of one).
        response: token ids of the answer.
        options: which saliency; ``norm="matrix"`` and ``loss="sum"`` take the slow full-graph way.
        prompt: the question, for the report.
        interventions: in the order in which they act.
        images: kept for plots, without margins that the processor cuts off.
    """
    ids = torch.tensor([list(response)])
    found = block_saliency(
        adapter,
        inputs,
        ids,
        # What stands next to the maps needs neither norm nor loss.
        replace(options, norm="row", loss="token"),
        interventions=interventions,
    )
    maps = found.maps
    if options.needs_full_graph:
        maps = full_graph_rows(adapter, inputs, ids, options, interventions=interventions)
    spans = adapter.spans(inputs["input_ids"], inputs.get("attention_mask"))[0]
    boxes, grids = _places(adapter, inputs, images)
    everything = [*inputs["input_ids"][0, spans.pad :].tolist(), *response]
    return SaliencyReport(
        prompt=prompt,
        text=adapter.decode(list(response)),
        token_ids=list(response),
        tokens=adapter.token_texts(list(response)),
        maps={fusion: rows[0, :, :, spans.pad :] for fusion, rows in maps.items()},
        attention=found.attention[0, :, :, spans.pad :],
        log_probabilities=found.log_probabilities[0].tolist(),
        entropies=found.entropies[0].tolist(),
        layers=resolve_layers(options.layers, adapter.num_layers),
        position_texts=adapter.token_texts(everything),
        spans=replace(spans, pad=0, output_start=spans.length, length=len(everything)),
        grids=grids,
        options=options,
        images=[adapter.seen_part(image) for image in images],
        boxes=boxes if any(box is not None for box in boxes) else [],
    )


def _places(
    adapter: ModelAdapter, inputs: Mapping[str, Any], images: Sequence[Image.Image]
) -> tuple[list[Tensor | None], list[tuple[int, int]]]:
    """Boxes of the visual tokens of each image, or None for a grid; and the shapes of its maps.

    Tokens of which neither is known lie over the image as a whole.
    """
    boxes: list[Tensor | None] = []
    shapes: list[tuple[int, int]] = []
    spans = adapter.spans(inputs["input_ids"], inputs.get("attention_mask"))[0]
    placed = adapter.patch_boxes(inputs, 0, [image.size for image in images])
    for index, (box, grid) in enumerate(zip(placed, adapter.patch_grids(inputs, 0), strict=True)):
        if box is None and grid is None:
            box = torch.tensor([WHOLE] * len(spans.positions(index)))
        boxes.append(box)
        shapes.append(raster_shape(box) if box is not None else cast("tuple[int, int]", grid))
    return boxes, shapes
