"""The diagnosis of one answer: passes through the model, gathered into a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.boxes import WHOLE
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.videos import Clip, Opened
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
    images: Sequence[Opened] = (),
) -> SaliencyReport:
    """Diagnose one answer.

    Args:
        adapter: of the model, with a processor.
        inputs: one encoded prompt (a batch of one).
        response: token ids of the answer.
        options: which saliency; ``norm="matrix"`` and ``loss="sum"`` take the slow full-graph way.
        prompt: the question, for the report.
        interventions: in the order in which they act.
        images: kept for plots, without margins that the processor cuts off; of videos the frames.
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
    spans = adapter.spans_by_frame(inputs)[0]
    boxes, grids = _places(adapter, inputs, spans, images)
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
        images=_pictures(adapter, spans, images),
        boxes=boxes if any(box is not None for box in boxes) else [],
    )


def _places(
    adapter: ModelAdapter, inputs: Mapping[str, Any], spans: TokenSpans, images: Sequence[Opened]
) -> tuple[list[Tensor | None], list[tuple[int, int]]]:
    """Boxes of the visual tokens of each picture, or None for a grid; and the shapes of its maps.

    Tokens of which neither is known lie over the picture as a whole. Frames of a video share the
    grid or the boxes of the video, one after the other.
    """
    boxes: list[Tensor | None] = []
    shapes: list[tuple[int, int]] = []
    placed = adapter.patch_boxes(inputs, 0, [image.size for image in images])
    pictures = map(len, spans.pictures)
    for index, (box, grid) in enumerate(zip(placed, adapter.patch_grids(inputs, 0), strict=True)):
        frames = spans.frames(index)
        counts = list(islice(pictures, frames))
        if box is None and grid is None:
            box = torch.tensor([WHOLE] * sum(counts))
        for own in [None] * frames if box is None else torch.split(box[: sum(counts)], counts):
            boxes.append(own)
            rows, columns = grid or (0, 0)
            shapes.append((rows // frames, columns) if own is None else raster_shape(own))
    return boxes, shapes


def _pictures(
    adapter: ModelAdapter, spans: TokenSpans, images: Sequence[Opened]
) -> list[Image.Image]:
    """What the model sees of each image and frame.

    Of frames that become visual tokens together it is the first one.
    """
    found: list[Image.Image] = []
    for index, image in enumerate(images):
        if isinstance(image, Clip):
            together = -(-len(image.frames) // spans.frames(index))
            found += [adapter.seen_frame(frame) for frame in image.frames[::together]]
        else:
            found.append(adapter.seen_part(image))
    return found
