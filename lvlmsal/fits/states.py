"""The residual stream of a model that reads a given answer: what directions are fitted in."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.heads import final_norm
from lvlmsal.errors import DataError
from lvlmsal.fits.pairs import Pair

Position = Literal["last", "mean"]
"""Which rows stand for an answer: its last token's, or the mean over prompt, image and answer."""


def pair_states(adapter: ModelAdapter, pair: Pair, position: Position) -> tuple[Tensor, Tensor]:
    """States under the right and under the wrong answer, each (L + 1, D) as in `row_states`.

    Raises:
        DataError: an answer is empty, or the image cannot be read.
    """
    inputs = adapter.encode([[pair.image]], [pair.prompt])
    found = []
    for answer in (pair.right, pair.wrong):
        ids = adapter.tokenizer(answer, add_special_tokens=False)["input_ids"]
        if not ids:
            raise DataError(f"pair {pair.id!r}: an answer has no token: {answer!r}")
        whole = adapter.append(inputs, torch.tensor([list(ids)]))
        found.append(row_states(adapter, whole, position))
    return found[0], found[1]


def row_states(adapter: ModelAdapter, inputs: dict[str, Any], position: Position) -> Tensor:
    """The residual stream in one pass, entry 0 what enters the first layer.

    As ``hidden_states`` of transformers have it: the last entry has passed the last norm.

    Args:
        adapter: of the model.
        inputs: prompt and answer of one sample, unpadded.
        position: which rows.

    Returns:
        Shape (L + 1, D), float32, on the CPU.
    """
    kept: list[Tensor] = []

    def keep(states: Tensor) -> None:
        rows = states[0, -1] if position == "last" else states[0].float().mean(0)
        kept.append(rows.float().cpu())

    def enters(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(args[0] if args else kwargs["hidden_states"])

    def leaves(module: Any, args: tuple[Any, ...], output: Any) -> None:
        keep(output[0] if isinstance(output, tuple) else output)

    layers, norm = adapter.layers, final_norm(adapter)
    hooks = [layers[0].register_forward_pre_hook(enters, with_kwargs=True)]
    hooks += [layer.register_forward_hook(leaves) for layer in layers[:-1]]
    hooks.append(norm.register_forward_hook(leaves))
    try:
        with torch.no_grad():
            adapter.model(**inputs, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(kept)
