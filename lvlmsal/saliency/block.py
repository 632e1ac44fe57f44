"""Ways 2 and 3: the rows of an answer from recorded steps, or from one recorded pass a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.editor import Bindable
from lvlmsal.attention.layers import resolve_layers
from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.attention.session import AttentionSession
from lvlmsal.attention.stream import prepared
from lvlmsal.errors import UnsupportedError
from lvlmsal.progress import Progress
from lvlmsal.saliency.full import full_graph_rows
from lvlmsal.saliency.losses import loss_gradient
from lvlmsal.saliency.options import FUSIONS, FusionName, SaliencyOptions
from lvlmsal.saliency.reduce import check_finite, fuse, normalize

BLOCK_MEMORY = 2**30
"""Bytes that the graph of one block may take, about; longer answers are walked block by block."""


@dataclass
class ResponseRows:
    """What the tokens of a batch of answers rest on; all tensors on the CPU.

    Attributes:
        maps: normalized saliency rows under every fusion, each of shape (B, T, L, k) with
            k = prompt columns + T; columns that a token's row cannot see are zero.
        attention: attention of the same rows, mean over heads, same shape.
        log_probabilities: of each token under the model's raw distribution, shape (B, T).
        entropies: of that distribution, in nats, shape (B, T).
    """

    maps: dict[FusionName, Tensor] = field(repr=False)
    attention: Tensor = field(repr=False)
    log_probabilities: Tensor
    entropies: Tensor


def block_saliency(
    model: nn.Module | ModelAdapter,
    inputs: Mapping[str, Any],
    response: Tensor,
    options: SaliencyOptions,
    *,
    interventions: Sequence[Bindable] = (),
    block_size: int | None = None,
) -> ResponseRows:
    """Saliency of every token of an answer from one forward and one backward a block.

    Exact. Row r of any layer influences the logits at r through position r alone, so within a block
    the keys and values of other positions carry no gradient, and a position's own key and value
    carry theirs on the diagonal: the summed loss then gives each row its own gradient. No attention
    matrix is in the graph, for dL/dA[r, j] = g[r] . v[j] with g the gradient at the head's output.

    Where the rows of a prompt see one another (a prefix-LM mask), the one that predicts the first
    token reaches the logits through the others as well: it is taken from the full graph then.

    Args:
        model: a model that an adapter is registered for, or its adapter.
        inputs: prompts, left-padded, as a processor returns them.
        response: ids of the answers, shape (B, T).
        options: which saliency; all fusions are returned.
        interventions: in the order in which they act.
        block_size: rows of a block; 1 is the row way, one recorded decode step a token. By default
            as many as :data:`BLOCK_MEMORY` holds.

    Raises:
        ValueError: ``block_size`` is no positive number.
        UnsupportedError: ``norm="matrix"`` or ``loss="sum"``, which need the full graph; or the
            predicting row of a prompt that ends in an image, or of one whose rows see one another
            and which is longer than a window of the decoder.
        LvlmsalError: the saliency overflowed in the model's dtype.

    >>> from lvlmsal.testing import tiny_inputs, tiny_model
    >>> found = block_saliency(
    ...     tiny_model("llava"), tiny_inputs("llava"), torch.tensor([[5, 6, 7]]), SaliencyOptions()
    ... )
    >>> found.maps["product"].shape == found.attention.shape, found.entropies.shape
    (True, torch.Size([1, 3]))
    """
    if block_size is not None and block_size < 1:
        raise ValueError(f"block_size must be at least 1, or None to fit memory, got {block_size}")
    if options.norm == "matrix":
        raise UnsupportedError(
            "norm='matrix' divides by the norm of the whole matrix, which a single row does not "
            "know: use full_graph_rows, or norm='row'"
        )
    if options.loss == "sum":
        raise UnsupportedError(
            "loss='sum' follows the losses of later tokens through every position, which a block "
            "of rows cuts off: use full_graph_rows, or loss='token'"
        )

    session = AttentionSession(model, interventions, edits_logits=False)
    adapter = session.adapter

    def run(input_ids: Tensor, kwargs: dict[str, Any]) -> tuple[ResponseRows, bool]:
        layers = resolve_layers(options.layers, adapter.num_layers)
        stream = RecordingStream(adapter.model, session, input_ids, kwargs, layers)
        most = block_size or rows_per_block(adapter, response.shape, layers, input_ids)
        walked = _walked(stream, response.to(input_ids), options, most)
        return walked, stream.prefix_sees_last

    # Open while the images are encoded, for edits that want to see their pixels.
    with session:
        found, prefix_sees_last = prepared(adapter.model, inputs, run)
    if prefix_sees_last and options.row == "predicting":
        length, window = inputs["input_ids"].shape[1], _window(adapter)
        if length > window:
            raise UnsupportedError(
                f"the rows of this prompt of {length} tokens see one another (a prefix-LM mask), "
                f"and layers have a window of {window}, by which the row that predicts the first "
                "token sees less when it is run again: read row='candidate'"
            )
        first = full_graph_rows(
            adapter, inputs, response[:, :1], options, interventions=interventions
        )
        for fusion, rows in first.items():
            found.maps[fusion][:, :1, :, : rows.shape[-1]] = rows
    return found


def _window(adapter: ModelAdapter) -> float:
    """Columns that a row sees in layers with a window."""
    return getattr(adapter.text_config, "sliding_window", None) or torch.inf


def _walked(
    stream: RecordingStream, tokens: Tensor, options: SaliencyOptions, most: int
) -> ResponseRows:
    """All blocks of an answer, each of at most ``most`` rows."""
    last = stream.input_ids[:, -1:]
    logits = stream.prefill()[:, None]
    found = _empty(stream, tokens.shape[1], like=logits)
    if options.row == "predicting":
        # Its rows are those of the tokens before: the prompt's last one is run again.
        stream.rewind(stream.before_last)
        inputs = torch.cat([last, tokens[:, :-1]], dim=1)
    else:
        inputs = tokens
    with Progress("saliency of tokens", tokens.shape[1]) as progress:
        for start in range(0, tokens.shape[1], most):
            judged = tokens[:, start : start + most]
            rows, recording = stream.record(inputs[:, start : start + most])
            if options.row == "predicting":
                predicting = rows.detach()
            else:
                predicting = torch.cat([logits, rows[:, :-1].detach()], dim=1)
                logits = rows[:, -1:].detach()
            loss = loss_gradient(rows, judged, options.row)
            gradients = recording.gradients(loss.logits, loss.direction, loss.scale)
            _keep_rows(found, start, recording.weights, gradients, options)
            _keep_confidence(found, start, predicting, judged)
            del rows, recording, loss, gradients  # or two blocks' graphs would stand side by side
            progress.advance(judged.shape[1])
    return found


def _empty(stream: RecordingStream, length: int, like: Tensor) -> ResponseRows:
    batch, prompt = stream.input_ids.shape
    kept = torch.zeros(batch, length, len(stream.layers), prompt + length, dtype=like.dtype)
    of_tokens = torch.zeros(batch, length, dtype=like.dtype)
    maps = {fusion: torch.zeros_like(kept) for fusion in FUSIONS}
    return ResponseRows(maps, kept, of_tokens, of_tokens.clone())


def _keep_rows(
    found: ResponseRows,
    start: int,
    weights: dict[int, Tensor],
    gradients: dict[int, Tensor],
    options: SaliencyOptions,
) -> None:
    for place, layer in enumerate(sorted(gradients)):
        rows, keys = weights[layer].shape[-2:]
        where = (slice(None), slice(start, start + rows), place, slice(keys))
        found.attention[where] = weights[layer].mean(1).to(found.attention)
        for fusion, kept in found.maps.items():
            fused = fuse(weights[layer], gradients[layer], fusion=fusion, heads=options.heads)
            kept[where] = normalize(fused).to(kept)
            check_finite(kept[where])


def _keep_confidence(found: ResponseRows, start: int, logits: Tensor, tokens: Tensor) -> None:
    where = (slice(None), slice(start, start + tokens.shape[1]))
    logs = torch.log_softmax(logits, dim=-1)
    chosen = logs.gather(-1, tokens[..., None].to(logs.device)).squeeze(-1)
    found.log_probabilities[where] = chosen.to(found.log_probabilities)
    found.entropies[where] = torch.special.entr(logs.exp()).sum(-1).to(found.entropies)


def rows_per_block(
    adapter: ModelAdapter, response: Sequence[int], layers: Sequence[int], prompt: Tensor
) -> int:
    """How many rows the graph of a block may have: an estimate from the decoder's shape."""
    config, size = adapter.text_config, prompt.shape[1] + response[1]
    # Scores, weights and what the backward pass keeps of them, in float32; then the hidden states
    # of attention and MLP; then logits, log-softmax and their gradients.
    attention = 6 * 4 * config.num_attention_heads * size
    inner: int | Sequence[int] = config.intermediate_size  # Gemma 3n has one for each layer
    widest = inner if isinstance(inner, int) else max(inner)
    hidden = 4 * (12 * config.hidden_size + 4 * widest)
    row = (adapter.num_layers - layers[0]) * (attention + hidden) + 16 * config.vocab_size
    return max(1, BLOCK_MEMORY // int(response[0] * row))
