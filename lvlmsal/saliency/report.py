"""The saliency of a whole answer, token by token."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.layers import resolve_layers
from lvlmsal.attention.session import Bindable
from lvlmsal.saliency.full import full_graph_rows
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.reduce import context_mask, token_saliency
from lvlmsal.saliency.row import row_saliency
from lvlmsal.spans import TokenSpans

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SaliencyReport:
    """What each token of an answer rests on.

    Attributes:
        text: the answer.
        token_ids: its T token ids.
        tokens: their texts.
        saliency: S(c) of each; ``None`` where its context was empty.
        rows: normalised saliency, shape (T, L, n); n positions of prompt and answer.
        attention: attention of the same rows, mean over heads, same shape.
        layers: indices of the L target layers.
        position_texts: text of each of the n positions.
        spans: where system prompt, images, question and answer stand.
        grids: (rows, columns) of the patch grid of each image.
        options: which saliency.
        images: the images, for plots.
    """

    text: str
    token_ids: list[int]
    tokens: list[str]
    saliency: list[float | None]
    rows: Tensor = field(repr=False)
    attention: Tensor = field(repr=False)
    layers: list[int]
    position_texts: list[str] = field(repr=False)
    spans: TokenSpans
    grids: list[tuple[int, int]]
    options: SaliencyOptions
    images: list[Image.Image] = field(default_factory=list, repr=False)

    def image_map(self, token: int, image: int = 0, *, of: str = "saliency") -> Tensor:
        """Saliency of one token on the patch grid of one image, mean over layers.

        Args:
            token: index into the answer.
            image: index of the image.
            of: ``"saliency"`` or ``"attention"``.

        Returns:
            Shape (rows, columns) of the patch grid.
        """
        start, end = self.spans.images[image]
        values = {"saliency": self.rows, "attention": self.attention}[of]
        return values[token].mean(0)[start:end].reshape(self.grids[image])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the token-by-token saliency beside the attention; needs the ``plot`` extra."""
        from lvlmsal.saliency.plot import plot_report

        return plot_report(self, path)


def diagnose_response(
    adapter: ModelAdapter,
    inputs: Mapping[str, Any],
    response: Sequence[int],
    options: SaliencyOptions,
    *,
    interventions: Sequence[Bindable] = (),
    images: Sequence[Image.Image] = (),
) -> SaliencyReport:
    """Diagnose one answer.

    Args:
        adapter: of the model, with a processor.
        inputs: one encoded prompt (a batch of one).
        response: token ids of the answer.
        options: which saliency; ``norm="matrix"`` takes the slow full-graph way.
        interventions: in the order in which they act.
        images: kept for plots.
    """
    ids = torch.tensor([list(response)])
    saliency_rows, attention = row_saliency(
        adapter.model,
        inputs,
        ids,
        replace(options, norm="row"),  # the attention beside it needs no norm
        interventions=interventions,
    )
    if options.norm == "matrix":
        saliency_rows = full_graph_rows(
            adapter.model, inputs, ids, options, interventions=interventions
        ).cpu()
    spans = adapter.spans(inputs["input_ids"], inputs.get("attention_mask"))[0]
    columns = saliency_rows.shape[-1]
    start = inputs["input_ids"].shape[1]
    values = []
    for index in range(len(response)):
        members = context_mask([spans], columns, start + index, options.context)
        value = float(token_saliency(saliency_rows[:, index], members))
        values.append(None if math.isnan(value) else value)
    everything = [*inputs["input_ids"][0, spans.pad :].tolist(), *response]
    full_spans = TokenSpans(
        pad=0, images=spans.images, output_start=spans.length, length=len(everything)
    )
    return SaliencyReport(
        text=adapter.decode(list(response)),
        token_ids=list(response),
        tokens=adapter.token_texts(list(response)),
        saliency=values,
        rows=saliency_rows[0, :, :, spans.pad :],
        attention=attention[0, :, :, spans.pad :],
        layers=resolve_layers(options.layers, adapter.num_layers),
        position_texts=adapter.token_texts(everything),
        spans=full_spans,
        grids=adapter.patch_grids(inputs, 0),
        options=options,
        images=list(images),
    )
