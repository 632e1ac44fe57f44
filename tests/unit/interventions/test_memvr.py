"""MemVR against hooks that do what its public code does, one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import intervene
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.interventions.memvr import MemVR, uncertainty
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.tiny import IMAGE, collate, tiny_inputs, tiny_lvlm, tiny_model, tiny_samples
from tests import second_streams as streams

F64 = torch.float64


@pytest.mark.parametrize(
    ("logits", "wanted"),
    [([0.0] * 10 + [-9.0], 1.0), ([3.0] * 2 + [-math.inf] * 9, math.log(2) / math.log(10))],
)
def test_how_unsure_a_row_is_by_hand(logits: list[float], wanted: float) -> None:
    assert float(uncertainty(torch.tensor(logits))) == pytest.approx(wanted)


@dataclass
class Retracing:
    """Hooks of the test on a model that answers one sample; each pass is one tensor."""

    model: PreTrainedModel
    memvr: MemVR
    judged: Sequence[int]
    columns: Tensor
    image: Tensor | None = None
    armed: int | None = None
    events: list[int | None] = field(default_factory=list)

    def hooks(self) -> list[Any]:
        layers = adapter_for(self.model).layers
        found = [layers[0].register_forward_pre_hook(self.begin, with_kwargs=True)]
        for index, layer in enumerate(layers):
            found.append(layer.register_forward_hook(partial(self.judge, index)))
            block = layer.get_submodule("mlp")
            found.append(block.register_forward_hook(partial(self.recall, index)))
        return [*found, self.model.register_forward_hook(self.end)]

    def begin(self, _: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        states = args[0] if args else kwargs["hidden_states"]
        if states.shape[1] > 1:
            self.image = states[0][self.columns]
        self.armed = None

    def judge(self, index: int, _: Any, __: Any, states: Tensor) -> None:
        if index not in self.judged or self.armed is not None:
            return
        adapter = adapter_for(self.model)
        row = adapter.lm_head(adapter.decoder.get_submodule("norm")(states))[0, -1]
        best = sorted(row.tolist(), reverse=True)[:10]
        total = sum(math.exp(value - best[0]) for value in best)
        shares = [math.exp(value - best[0]) / total for value in best]
        if -sum(p * math.log(p) for p in shares if p) / math.log(10) > self.memvr.tau:
            self.armed = index + 1

    def recall(self, index: int, block: Any, args: tuple[Tensor], output: Tensor) -> Tensor:
        image = self.image
        if self.armed != index or image is None or not len(image):
            return output
        first = second = image
        if self.memvr.activation == "silu":
            first = image * block.up_proj.weight.abs().mean() / image.abs().mean()
            second = image * block.down_proj.weight.abs().mean() / image.abs().mean()
        inner = args[0] @ first.T
        inner = inner * inner.sigmoid() if self.memvr.activation == "silu" else inner
        memory = inner @ second
        memory = memory * output.abs().mean() / memory.abs().mean()
        return (1 - self.memvr.alpha) * output + self.memvr.alpha * memory

    def end(self, *_: Any) -> None:
        self.events.append(self.armed)


def by_hand(
    model: PreTrainedModel, inputs: dict[str, Tensor], memvr: MemVR, judged: Sequence[int]
) -> tuple[Tensor, Tensor, list[int | None]]:
    """Tokens, what each was chosen from, and which layer was armed in each pass."""
    retracing = Retracing(model, memvr, judged, inputs["input_ids"][0] == IMAGE)
    hooks = retracing.hooks()
    try:
        tokens, logits = streams.decode(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return tokens[0], logits[0], retracing.events


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
@pytest.mark.parametrize(
    ("options", "judged"),
    [
        ({"tau": 0.9, "layers": [0, 1, 2]}, [0, 1, 2]),
        ({"tau": 0.0, "layers": None}, [1]),
        ({"tau": 0.9, "layers": [0, 1, 2], "activation": "silu"}, [0, 1, 2]),
    ],
)
def test_every_step_against_the_code(
    family: str, options: dict[str, Any], judged: list[int]
) -> None:
    options = {**options, "layers": options["layers"] or MemVR().layers}
    model, memvr = tiny_model(family, layers=4, dtype=F64), MemVR(alpha=0.6, **options)
    samples = tiny_samples(family, (1, 0, 2), dtype=F64)
    with intervene(model, memvr):
        tokens, logits = streams.decode(model, collate(samples))
        uncached = streams.decode(model, collate(samples), use_cache=False)[0]
    assert torch.equal(tokens, uncached)
    events = []
    for row, sample in enumerate(samples):
        wanted, chosen, armed = by_hand(model, sample.inputs, memvr, judged)
        assert torch.equal(tokens[row], wanted)
        assert streams.close(logits[row], chosen)
        events += armed
    plain = streams.decode(model, collate(samples))[1]
    assert torch.equal(logits[1], plain[1])  # without an image
    assert not streams.close(logits[0], plain[0])
    if memvr.tau:  # the comparison is of more than one layer
        assert len({*events} - {None}) > 1


def test_a_mixture_by_hand() -> None:
    """Blocks that give (1, -1), features that recall (2, 0): equal mean sizes, so no scaling."""
    model, inputs = tiny_model("llava", dtype=F64), tiny_inputs("llava", (1,), dtype=F64)
    adapter = adapter_for(model)
    width = adapter.text_config.hidden_size
    given = torch.tensor([1.0, -1.0], dtype=F64).repeat(width // 2)
    feature = torch.tensor([2.0, 0.0], dtype=F64).repeat(width // 2)
    found: list[Tensor] = []
    image = inputs["input_ids"][0] == IMAGE

    def show(_: Any, args: tuple[Tensor], kwargs: Any) -> Any:
        return (torch.where(image[None, :, None], feature, args[0]), *args[1:]), kwargs

    block: Any = adapter.layers[1].get_submodule("mlp")
    block.forward = given.expand_as
    handles = [
        adapter.layers[0].register_forward_pre_hook(show, with_kwargs=True),
        block.register_forward_pre_hook(lambda _, args: (torch.ones_like(args[0]),)),
    ]
    with torch.no_grad(), intervene(model, MemVR(alpha=0.25, tau=0.0)):
        handles.append(block.register_forward_hook(lambda *call: found.append(call[2])))
        model(**inputs)
    for handle in handles:
        handle.remove()
    wanted = torch.tensor([1.25, -0.75], dtype=F64).repeat(width // 2)
    torch.testing.assert_close(found[0], wanted.expand_as(found[0]))


def test_layers_of_the_paper_and_of_shallow_models() -> None:
    assert list(MemVR().acting_layers(32)) == [0, *range(6, 17)]
    found = [list(MemVR().acting_layers(depth)) for depth in (2, 4, 8)]
    assert found == [[0, 1], [0, 1, 2], [0, 2, 3, 4]]
    with pytest.raises(ConfigError, match=r"'memvr': layer 3 is the last one .* up to 2"):
        MemVR(layers="0.5:1.0").bind(4)


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_vl_moe"])
def test_families_that_add_features_later_are_refused(family: str) -> None:
    model: Any = tiny_lvlm(family)[0]
    ids = torch.arange(40, 50)[None]
    with (
        pytest.raises(UnsupportedError, match="Qwen3-VL adds more of them in later layers"),
        intervene(model, MemVR()),
    ):
        model.generate(input_ids=ids, max_new_tokens=1)


def test_blocks_without_such_weights_are_refused_with_silu_alone() -> None:
    model, inputs = tiny_model("llava"), tiny_inputs("llava", (1,))
    block: Any = adapter_for(model).layers[1].get_submodule("mlp")
    block.gate = block.up_proj
    block.act_fn, block.up_proj = torch.nn.Identity(), torch.nn.Identity()
    block.forward = lambda x: block.down_proj(block.gate(x))
    with torch.no_grad(), intervene(model, MemVR(tau=0.0)):
        model(**inputs)
    with (
        torch.no_grad(),
        pytest.raises(UnsupportedError, match="LlamaMLP has none that can be read"),
        intervene(model, MemVR(tau=0.0, activation="silu")),
    ):
        model(**inputs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": 1.5}, "alpha must be from 0 to 1, got 1.5"),
        ({"tau": -0.5}, "tau must be from 0 to 1, got -0.5"),
    ],
)
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    assert INTERVENTIONS.problems("memvr", options) == [f"intervention 'memvr': {said}"]
