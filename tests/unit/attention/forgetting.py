"""A model that forgets its image: by interventions, and by hooks on a copy of it, to compare."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.attention import AttentionContext, second_stream
from lvlmsal.attention.joined import Joined
from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.base import HiddenStateIntervention
from lvlmsal.testing.tiny import IMAGE


class Embeddings(HiddenStateIntervention):
    """Looks on: the mean of what enters the first layer, over each prompt, (B, D)."""

    def __init__(self) -> None:
        self.found: list[Tensor] = []

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        if context.layer == 0:
            own = (context.query_positions >= 0)[:, :, None]
            self.found.append((states * own).sum(1) / own.sum(1))
        return states


class Forgets(HiddenStateIntervention):
    """Behind the first layer, visual tokens are zero, and rows that predict gain the mean."""

    def prepare(self, prompt: Prompt) -> Tensor:
        seen = Embeddings()
        prompt.run(seen, layers=1)
        return seen.found[0]

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        if context.layer:
            return states
        kept = states.masked_fill(context.image_rows()[:, :, None], 0.0)
        return kept + context.predicting_rows()[:, :, None] * context.state(self)[:, None]


def forgetting(model: PreTrainedModel, prompt: Mapping[str, Tensor]) -> PreTrainedModel:
    """A copy whose first layer does what :class:`Forgets` says, by a hook on full runs."""
    changed = copy.deepcopy(model)
    ids = prompt["input_ids"][0]
    length = len(ids)
    visual = ids == IMAGE

    def forget(_: object, args: Any, kwargs: Any, output: Any) -> Any:
        given = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        states = (output[0] if isinstance(output, tuple) else output).clone()
        states[:, :length][:, visual] = 0
        states[:, length - 1 :] += given[:, :length].mean(1)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    layer = changed.get_decoder().layers[0]
    layer.register_forward_hook(forget, with_kwargs=True)
    return changed


@contextmanager
def joined_passes() -> Iterator[list[int]]:
    """Both streams join as soon as they may: how many columns there were in each joined pass."""
    passes: list[int] = []
    original = Joined.passed

    def passed(self: Joined) -> None:
        passes.append(self.columns)
        original(self)

    with patch.object(second_stream, "PATIENCE", 1), patch.object(Joined, "passed", passed):
        yield passes
