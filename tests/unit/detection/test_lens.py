"""The lens against softmaxes worked out from transformers' own hidden states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.heads import inner_logits
from lvlmsal.detection.lens import Lens
from lvlmsal.errors import UnsupportedError
from lvlmsal.model.loading import load
from lvlmsal.pocket.scenes.scene import SHAPES
from lvlmsal.pocket.scenes.world import WORLD
from lvlmsal.testing.tiny import tiny_inputs, tiny_model
from tests.tiers import FAMILIES

F64 = torch.float64


def states_and_adapter(family: str = "llava") -> tuple[tuple[Tensor, ...], Any]:
    model = tiny_model(family, layers=4, dtype=F64)
    with torch.no_grad():
        output = model(**tiny_inputs(family, dtype=F64), output_hidden_states=True)
    return output.hidden_states, adapter_for(model)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_token_is_compared_with_the_judged_ones(family: str) -> None:
    hidden, adapter = states_and_adapter(family)
    states = hidden[2][:, -2:]  # what leaves the second layer, of two rows
    logits = adapter.model.get_output_embeddings()(adapter.decoder.norm(states))
    judged, asked = [40, 9, 77], torch.tensor([[[77, 40, 5], [9, 5, 5]]])
    found = Lens(adapter, judged).log_probabilities(states, asked)
    for row in range(2):
        for place, token in enumerate(asked[0, row].tolist()):
            # one from outside of the judged tokens is compared with them and itself
            members = judged if token in judged else [*judged, token]
            wanted = logits[0, row, members].softmax(-1)[members.index(token)].log()
            assert torch.isclose(found[0, row, place], wanted)


@torch.no_grad()
def test_other_candidates_change_nothing() -> None:
    hidden, adapter = states_and_adapter()
    lens = Lens(adapter, [9, 40])
    alone = lens.log_probabilities(hidden[1][0], torch.full((hidden[1].shape[1], 1), 5))
    tokens = torch.tensor([[5, 9, 100, 7]]).expand(hidden[1].shape[1], 4)
    # A product with more columns may round otherwise, on some processors.
    together = lens.log_probabilities(hidden[1][0], tokens)[:, :1]
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_only_rows_of_the_projection_are_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, adapter = states_and_adapter()
    head = adapter.lm_head
    wanted = Lens(adapter, [9, 40]).log_probabilities(hidden[1], torch.tensor([[[40]]]))

    def whole(*_: object) -> None:
        raise AssertionError("the whole vocabulary was projected")

    monkeypatch.setattr(head, "forward", whole)
    again = Lens(adapter, [9, 40]).log_probabilities(hidden[1], torch.tensor([[[40]]]))
    assert torch.equal(again, wanted)


@torch.no_grad()
def test_a_projection_of_another_kind_is_asked_whole() -> None:
    """Quantized projections, and those with a LoRA adapter, have no rows that could be taken."""

    class Doubled(nn.Linear):
        def forward(self, states: Tensor) -> Tensor:
            return 2 * super().forward(states)

    hidden, adapter = states_and_adapter()
    plain = inner_logits(adapter, hidden[1], norm=True)[..., [3, 8]]
    other = Doubled(32, len(adapter.lm_head.weight), bias=False, dtype=F64)
    other.weight = adapter.lm_head.weight
    adapter.model.set_output_embeddings(other)
    found = inner_logits(adapter, hidden[1], norm=True, tokens=torch.tensor([3, 8]))
    assert torch.allclose(found, 2 * plain)


def test_what_cannot_be_read_is_refused() -> None:
    adapter: Any = adapter_for(tiny_model("llava"))
    with pytest.raises(ValueError, match="got none"):
        Lens(adapter, [])
    adapter.decoder.norm = None
    with pytest.raises(UnsupportedError, match="no last norm"):
        Lens(adapter, [4]).log_probabilities(torch.zeros(1, 32), torch.tensor([[4]]))


def ranks(values: Tensor) -> Tensor:
    return values.argsort().argsort().double()


@pytest.mark.slow
@torch.no_grad()
def test_judged_rows_rank_mentions_as_the_whole_softmax_does() -> None:
    """Raw logits do not: an inner layer's logits have no common zero."""
    scenes = [WORLD.scene_number(index, seed=31, shifted=True) for index in range(16)]
    lvlm = load("pocket-llava")
    adapter = lvlm.adapter
    names = {adapter.tokenizer(shape)["input_ids"][0]: shape for shape in SHAPES}
    lens, whole, rows, raw = Lens(adapter, list(names)), [], [], []
    for scene in scenes:
        answer = lvlm.generate(WORLD.draw(scene)[0], "Describe this image.")
        inputs = adapter.encode([[WORLD.draw(scene)[0]]], ["Describe this image."])
        start = inputs["input_ids"].shape[1]
        longer = adapter.append(inputs, torch.tensor([answer.token_ids]))
        hidden = adapter.model(**longer, output_hidden_states=True).hidden_states[1][0]
        for place, token in enumerate(answer.token_ids):
            if token in names:
                state = hidden[start + place - 1]
                logits = inner_logits(adapter, state, norm=True)
                whole.append(logits.log_softmax(-1)[token])
                raw.append(logits[token])
                rows.append(lens.log_probabilities(state, torch.tensor([token]))[0])
    kept, lost = (
        torch.corrcoef(torch.stack([ranks(torch.stack(whole)), ranks(torch.stack(found))]))[0, 1]
        for found in (rows, raw)
    )
    assert len(whole) > 40
    assert kept > 0.97
    assert lost < kept
