"""VISTA against a model whose blocks are turned by hooks of the test, one row at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.interventions.vista import VISTA, steered
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.tiny import collate, tiny_inputs, tiny_model, tiny_samples
from tests import reference
from tests import second_streams as streams

F64 = torch.float64


@pytest.mark.parametrize(
    ("vector", "wanted"), [((0.0, 2.0), (2.774, 4.160)), ((0.0, -2.0), (3.477, 3.593))]
)
def test_a_vector_by_hand(vector: tuple[float, float], wanted: tuple[float, float]) -> None:
    found = steered(torch.tensor([3.0, 4.0]), torch.tensor(vector), 0.1)
    assert found.tolist() == pytest.approx(wanted, abs=1e-3)
    assert float(found.norm()) == pytest.approx(5.0)


def test_nothing_turns_by_zeros_and_zeros_do_not_turn_to_nan() -> None:
    x, zero = torch.tensor([3.0, 4.0], requires_grad=True), torch.zeros(2, requires_grad=True)
    torch.testing.assert_close(steered(x, torch.zeros(2), 1.0), x)
    found = steered(zero, torch.tensor([0.0, 1.0]), 1.0)
    assert torch.equal(found, torch.zeros(2))
    assert bool(torch.autograd.grad(found.sum(), zero)[0].isfinite().all())


def last_outputs(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """What leaves each layer at the last token, (D,)."""
    found: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda *call: found.append(call[2][0, -1]))
        for layer in adapter_for(model).layers
    ]
    with torch.no_grad():
        model(**inputs)
    for hook in hooks:
        hook.remove()
    return found


def turned(x: Tensor, v: Tensor, strength: float) -> Tensor:
    """One vector (D,), by the formula."""
    cosine = float(x @ -v / (x.norm() * v.norm()))
    direction: Tensor = x / x.norm() + strength * (1 + max(0.0, cosine)) * v / v.norm()
    scale = float(x.norm()) / float(direction.norm())
    return direction * scale


def by_hand(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    answer: Sequence[int],
    vista: VISTA,
    late: Sequence[int],
    *,
    seen: bool,
    first: float = 0.0,
) -> Tensor:
    """What each token of an answer to an unpadded prompt is chosen from, (T, V)."""
    adapter = adapter_for(model)
    blind = streams.without_images(inputs)
    vectors = [
        one - other
        for one, other in zip(last_outputs(model, inputs), last_outputs(model, blind), strict=True)
    ]
    vectors[0][0] += first

    def turn(layer: int, _: Any, __: Any, output: Tensor) -> Tensor:
        rows = [turned(row, vectors[layer], vista.steer) for row in output[0]]
        return torch.stack(rows)[None]

    hooks = [
        block.get_submodule("mlp").register_forward_hook(partial(turn, layer))
        for layer, block in enumerate(adapter.layers)
        if seen and vista.steer
    ]
    try:
        rows = []
        for step in range(len(answer)):
            with torch.no_grad():
                longer = reference.longer(dict(inputs), list(answer[:step]))
                out = model(**longer, output_hidden_states=True)
                heads = [adapter.lm_head(out.hidden_states[j][0, -1]) for j in late]
            rows.append((1 - vista.mix) * out.logits[0, -1] + vista.mix * sum(heads) / len(late))
        return torch.stack(rows)
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
@pytest.mark.parametrize(
    ("options", "late", "first"),
    [
        ({"steer": 0.7, "mix": 0.4, "late": [1, 2]}, [1, 2], 0.0),
        ({"steer": 0.7, "mix": 0.0}, [2], 0.0),
        ({"steer": 0.0, "mix": 0.4}, [2], 0.0),
        ({"steer": 0.7, "mix": 0.0, "direction": "code"}, [2], 1.0),
    ],
)
def test_every_step_against_hooks(
    family: str, options: dict[str, Any], late: list[int], first: float
) -> None:
    model = tiny_model(family, layers=3, dtype=F64)
    samples, vista = tiny_samples(family, (1, 0), dtype=F64), VISTA(**options)
    with intervene(model, vista):
        tokens, logits = streams.decode(model, collate(samples))
    plain = streams.decode(model, collate(samples))[1]
    for row, sample in enumerate(samples):
        wanted = by_hand(
            model,
            sample.inputs,
            tokens[row].tolist(),
            vista,
            late,
            seen=bool(sample.images),
            first=first,
        )
        assert streams.close(logits[row], wanted)
    if vista.mix == 0:  # the sample without an image is the plain model's
        assert torch.equal(logits[1], plain[1])
    assert not streams.close(logits[0], plain[0])


def test_a_batch_without_images_runs_no_pass_more() -> None:
    model, inputs, passes = tiny_model("llava"), tiny_inputs("llava", (0, 0)), list[object]()
    hook = model.register_forward_hook(lambda *_: passes.append(None))
    with intervene(model, VISTA(steer=1.0, mix=0.0)):
        edited = streams.decode(model, inputs)[1]
    assert len(passes) == 4
    hook.remove()
    assert torch.equal(edited, streams.decode(model, inputs)[1])


def test_drafted_tokens_behind_the_prompt_do_not_move_its_vector() -> None:
    model: Any = tiny_model("llava", dtype=F64)
    inputs = tiny_inputs("llava", (1,), dtype=F64)
    options: dict[str, Any] = {"do_sample": False, "max_new_tokens": 6, "suppress_tokens": [2]}
    with intervene(model, VISTA(steer=0.5, mix=0.0)):
        wanted = model.generate(**inputs, **options)
        found = model.generate(**inputs, **options, prompt_lookup_num_tokens=3)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("mix", [0.3, 1.0])
def test_a_token_that_was_banned_before_stays_banned(mix: float) -> None:
    class Bans(LogitsIntervention):
        def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
            return logits.index_fill(-1, torch.arange(5, 250), -torch.inf)

    model, inputs = tiny_model("llava", dtype=F64), tiny_inputs("llava", (1,), dtype=F64)
    with intervene(model, Bans(), VISTA(steer=0.0, mix=mix, late=[1])):
        logits = streams.decode(model, inputs)[1]
    assert bool(logits[..., 5:250].isneginf().all())
    assert bool(logits[..., :5].isfinite().all())


def test_the_late_layers_of_the_paper_and_of_shallow_models() -> None:
    assert list(VISTA().exits(32)) == list(range(26, 32))
    assert [list(VISTA().exits(depth)) for depth in (4, 8)] == [[3], [6, 7]]
    assert VISTA(mix=0.0).exits(2) == ()
    assert not VISTA(steer=0.0).bind(4).applies_to(0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steer": -0.1}, "steer must be at least 0 (no steering), got -0.1"),
        ({"mix": 1.5}, "mix must be from 0 (no late layers) to 1, got 1.5"),
    ],
)
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    assert INTERVENTIONS.problems("vista", options) == [f"intervention 'vista': {said}"]
