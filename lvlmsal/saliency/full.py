"""Way 1, the reference: the whole sequence with its attention matrices in the graph. Slow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.attention.editor import Bindable
from lvlmsal.attention.layers import resolve_layers
from lvlmsal.attention.recording import Recording
from lvlmsal.attention.recording_stream import NO_IDS
from lvlmsal.attention.session import AttentionSession
from lvlmsal.attention.stream import prepared
from lvlmsal.errors import UnsupportedError
from lvlmsal.saliency.losses import LossGradient, loss_gradient
from lvlmsal.saliency.options import FUSIONS, FusionName, SaliencyOptions
from lvlmsal.saliency.reduce import fuse, normalize
from lvlmsal.versions import without_cache


def full_graph_rows(
    model: nn.Module | ModelAdapter,
    inputs: Mapping[str, Any],
    response: Tensor,
    options: SaliencyOptions,
    *,
    interventions: Sequence[Bindable] = (),
) -> dict[FusionName, Tensor]:
    """Saliency rows of every token of an answer, from gradients of full attention matrices.

    Memory grows with the square of the sequence and each token takes a backward pass: this is for
    tests, for ``norm="matrix"`` and for ``loss="sum"``, for which one pass serves all tokens. Where
    the block way is defined it gives the same numbers (Eq. 1-5).

    Args:
        model: a model that an adapter is registered for, or its adapter.
        inputs: prompts, left-padded, as a processor returns them.
        response: ids of the answers, shape (B, T).
        options: which saliency; all fusions are returned.
        interventions: in the order in which they act; A is then the weight that they leave.

    Returns:
        For each fusion the normalized rows, shape (B, T, L, k) with k = prompt columns + T, on the
        CPU; columns that the row of a token cannot see are zero.

    Raises:
        UnsupportedError: the prompt came as ``inputs_embeds``, or the model is in training mode
            with dropout or gradient checkpointing.
    """
    if "inputs_embeds" in inputs or "input_ids" not in inputs:
        raise UnsupportedError(NO_IDS)
    start = inputs["input_ids"].shape[1]
    adapter = model if isinstance(model, ModelAdapter) else adapter_for(model)
    extended = adapter.append(inputs, response)
    spans = adapter.spans(extended["input_ids"], extended["attention_mask"], output_start=start)
    session = AttentionSession(adapter, interventions, spans=spans, edits_logits=False)
    layers = resolve_layers(options.layers, adapter.num_layers)
    # A padding row sees nothing, and its softmax is uniform over everything.
    real = extended["attention_mask"].bool()[:, :, None]

    def run(input_ids: Tensor, kwargs: dict[str, Any]) -> dict[FusionName, Tensor]:
        kwargs = {**without_cache(kwargs), "logits_to_keep": 0, "use_cache": False}
        generative: Any = adapter.model  # the method comes from a mixin of the concrete classes
        prepared_inputs = generative.prepare_inputs_for_generation(
            input_ids, is_first_iteration=True, **kwargs
        )
        found: dict[FusionName, list[Tensor]] = {fusion: [] for fusion in FUSIONS}
        with session.record(layers, full=True) as recording:
            logits = generative(**prepared_inputs, return_dict=True).logits
            logits = logits if logits.dtype == torch.float64 else logits.float()
            columns = torch.arange(start, input_ids.shape[1])
            places = columns - 1 if options.row == "predicting" else columns
            loss = loss_gradient(logits[:, places], input_ids[:, columns], options.row)
            for row, gradients in zip(
                places.tolist(), _each_row(recording, loss, options), strict=True
            ):
                for fusion, rows in found.items():
                    of_layers = []
                    for layer in layers:
                        matrix = fuse(
                            recording.weights[layer],
                            gradients[layer],
                            fusion=fusion,
                            heads=options.heads,
                        )
                        if options.norm == "matrix":
                            normed = normalize(matrix * real.to(matrix), dim=(-2, -1))[:, row]
                        else:
                            normed = normalize(matrix[:, row])
                        of_layers.append(normed.cpu())
                    rows.append(torch.stack(of_layers, dim=1))
        return {fusion: torch.stack(rows, dim=1) for fusion, rows in found.items()}

    with session:  # open while the images are encoded, for edits that want to see their pixels
        return prepared(adapter.model, extended, run)


def _each_row(
    recording: Recording, loss: LossGradient, options: SaliencyOptions
) -> Iterator[dict[int, Tensor]]:
    """For each token dL/dA of its own loss, or that of the sum, which serves all of them."""
    rows = loss.scale.shape[1]
    if options.loss == "sum":
        common = loss.scale.amax(-1)
        direction = loss.direction * (loss.scale / common[:, None])[..., None]
        yield from repeat(recording.gradients(loss.logits, direction, common), rows)
        return
    for row in range(rows):
        yield recording.gradients(
            loss.logits[:, row], loss.direction[:, row], loss.scale[:, row], retain_graph=True
        )
