"""Way 2: one recorded decode step a token, no attention matrix in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.attention.layers import resolve_layers
from lvlmsal.attention.session import AttentionSession, Bindable
from lvlmsal.attention.tape import Tape
from lvlmsal.errors import UnsupportedError
from lvlmsal.saliency.losses import row_losses
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.preparing import prepared
from lvlmsal.saliency.stepping import Stepper


def row_saliency(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    response: Tensor,
    options: SaliencyOptions,
    *,
    interventions: Sequence[Bindable] = (),
) -> tuple[Tensor, Tensor]:
    """Saliency rows of every token of an answer, and the attention rows beside them.

    Exact: row r of any layer influences the logits at r through position r alone, and
    dL/dA[r, j] = g . v[j] with g the gradient at the head's output. A step costs 1 + f of a plain
    one, f the share of the weights above the lowest target layer, and no memory that grows.

    Args:
        model: a model with an adapter.
        inputs: prompts, left-padded, as a processor returns them.
        response: ids of the answers, shape (B, T).
        options: which saliency.
        interventions: in the order in which they act.

    Returns:
        Saliency rows, normalised, and attention rows (mean over heads), both of shape (B, T, L, k)
        with k = prompt columns + T, on the CPU; columns after a token's row are zero.

    Raises:
        UnsupportedError: ``norm="matrix"``, which needs the full graph.
    """
    if options.norm == "matrix":
        raise UnsupportedError(
            "norm='matrix' divides by the norm of the whole matrix, which a single row does not "
            "know: use full_graph_rows, or norm='row'"
        )
    columns = inputs["input_ids"].shape[1] + response.shape[1]
    saliency: list[Tensor] = []
    attention: list[Tensor] = []

    def run(input_ids: Tensor, kwargs: dict[str, Any]) -> None:
        with AttentionSession(model, interventions) as session:
            layers = resolve_layers(options.layers, session.adapter.num_layers)
            stepper = Stepper(model, session, input_ids, kwargs, layers)
            tokens = response.to(input_ids.device)

            def keep(logits: Tensor, tape: Tape, judged: Tensor) -> None:
                rows = stepper.rows(tape, row_losses(logits, judged, options.row), options)
                mean = [tape.weights[layer].mean(1).cpu() for layer in layers]
                saliency.append(_widen(rows[:, :, 0].cpu(), columns))
                attention.append(_widen(torch.stack(mean, dim=1)[:, :, 0], columns))

            if options.row == "predicting":
                keep(*stepper.prefill_recorded(), tokens[:, 0])
                for index in range(1, tokens.shape[1]):
                    keep(*stepper.step_recorded(tokens[:, index - 1]), tokens[:, index])
            else:
                stepper.prefill()
                for index in range(tokens.shape[1]):
                    keep(*stepper.step_recorded(tokens[:, index]), tokens[:, index])

    prepared(model, inputs, run)
    return torch.stack(saliency, dim=1), torch.stack(attention, dim=1)


def _widen(rows: Tensor, columns: int) -> Tensor:
    return torch.nn.functional.pad(rows, (0, columns - rows.shape[-1]))
