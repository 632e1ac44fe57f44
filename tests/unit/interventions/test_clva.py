"""The reconstruction of CLVA against loops over positions, and against rows worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, AttentionSession, intervene
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import ConfigError
from lvlmsal.interventions.clva import ClvaReconstruction, normalized, redistributed
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.tiny import VOCABULARY, collate, tiny_inputs, tiny_model, tiny_samples
from tests import reference
from tests.tiers import FAMILIES
from tests.unit.interventions.by_hand import attention_by_hand, decode
from tests.unit.interventions.clva_by_hand import ByHand

F64 = torch.float64
STRONG: dict[str, Any] = {"alpha": 4.0, "beta": 1.0}


def check_decoding(
    family: str, options: dict[str, Any], parts: Any, sensitive: int, layers: int, **kwargs: Any
) -> None:
    model = tiny_model(family, layers=layers, dtype=F64)
    samples = tiny_samples(family, (2, 0, 1), dtype=F64)
    with intervene(model, ClvaReconstruction(**options)):
        tokens, logits = decode(model, collate(samples), **kwargs)
    strengths = {name: options[name] for name in ("alpha", "beta")}
    for index, sample in enumerate(samples):
        width = sample.inputs["input_ids"].shape[1]
        by_hand = ByHand(sample, width, parts, **strengths, sensitive=sensitive)
        with torch.no_grad(), attention_by_hand(model, by_hand.rule):
            longer = reference.longer(sample.inputs, tokens[index].tolist())
            wanted = model(**longer).logits[0, width - 1 : -1]
        torch.testing.assert_close(logits[index], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_the_loop_over_positions(family: str, use_cache: bool) -> None:
    parts = ([0], [1], [2, 3])
    check_decoding(family, STRONG, parts, sensitive=2, layers=4, use_cache=use_cache)


@pytest.mark.parametrize(
    ("options", "parts", "sensitive"),
    [
        ({"alpha": 3.0, "beta": 0.0}, ([0], [2], [4, 5, 6, 7]), 2),
        ({"alpha": 0.0, "beta": 2.0, "deep": (0.75, 1.0)}, ([0], [2], [6, 7]), 2),
        ({**STRONG, "sensitive": 0.25, "early": (0.0, 0.5)}, ([0, 1, 2, 3], [2], [4, 5, 6, 7]), 1),
        ({**STRONG, "sensitive": 0.99, "middle": (0.1, 0.5)}, ([0], [1, 2, 3], [4, 5, 6, 7]), 3),
    ],
)
def test_each_option_is_that_of_the_loops(
    options: dict[str, Any], parts: tuple[list[int], list[int], list[int]], sensitive: int
) -> None:
    given = {"deep": (0.5, 1.0), "middle": (0.25, 0.375), **options}
    check_decoding("qwen2_vl", given, parts, sensitive=sensitive, layers=8)


def test_one_row_by_hand() -> None:
    # Padding, text, three visual tokens, the text that predicts; two heads, one layer of each part.
    spans = [TokenSpans(pad=1, images=((1, 4),), output_start=5, length=5)]
    memo: dict[Any, Any] = {}

    def context(layer: int) -> AttentionContext:
        return AttentionContext(
            spans,
            torch.tensor([5]),
            torch.arange(6),
            layer,
            num_layers=3,
            first_query_column=5,
            carried=memo,
        )

    def row(*heads: list[float]) -> Tensor:
        return torch.tensor([[[0.0, *head]] for head in heads])[None]

    clva = ClvaReconstruction(
        alpha=1.0, beta=0.5, early=(0.0, 0.3), middle=(0.4, 0.6), deep=(0.7, 1)
    )
    assert clva.parts(3) == (range(1), range(1, 2), range(2, 3))
    # head 1 looks at the image less, and shows the noise 1, 0, 0
    shown = row([0.2, 0.2, 0.2, 0.2, 0.2], [0.5, 0.3, 0, 0, 0.2])
    assert torch.equal(clva.weights(shown, context(0)), shown)
    # head 1 looks at it more, and shows the anchor 0, 1/4, 3/4
    shown = row([0.5, 0.4, 0, 0, 0.1], [0.1, 0, 0.2, 0.6, 0.1])
    assert torch.equal(clva.weights(shown, context(1)), shown)
    found = clva.weights(row([0.1, 0.2, 0.4, 0.2, 0.1], [0.5, 0.2, 0.2, 0, 0.1]), context(2))
    # head 0, sensitive: (1/4, 1/2, 1/4) + (0, 1/4, 3/4) - (1/2, 0, 0), cut at 0: 0, 3/4, 1 of 7/4
    # head 1: (1/2, 1/2, 0) - (1/2, 0, 0): 0, 1, 0
    wanted = row([0.1, 0, 0.8 * 3 / 7, 0.8 * 4 / 7, 0.1], [0.5, 0, 0.4, 0, 0.1])
    torch.testing.assert_close(found, wanted)


@given(st.integers(0, 10**6), st.floats(0, 10), st.floats(0, 10))
def test_it_is_a_distribution_over_what_head_and_anchor_see(
    seed: int, alpha: float, beta: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    shape = (3, 2, 4, 1, 7)
    raw = torch.rand(shape, generator=draw, dtype=F64) * (torch.rand(shape, generator=draw) > 0.3)
    share, anchor, noise = (normalized(part, torch.full_like(part, 1 / 7)) for part in raw)
    sensitive = torch.rand(2, 4, 1, 1, generator=draw) > 0.5
    found = redistributed(share, anchor, noise, sensitive, alpha, beta)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found.sum(-1)))
    assert not found[(share == 0) & ((anchor == 0) | ~sensitive)].any()


def test_an_edit_that_would_leave_nothing_leaves_all() -> None:
    share = torch.tensor([0.25, 0.75])
    anchor, noise = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    assert torch.equal(redistributed(share, anchor, noise, torch.tensor(False), 9.0, 1.0), share)


def used_weights(clva: ClvaReconstruction, *more: LocoRE) -> tuple[dict[int, Tensor], list[Any]]:
    """Weights of each layer in a teacher-forced pass of three rows that predict, and its spans."""
    model = tiny_model("llava", layers=4)
    samples = tiny_samples("llava", (1, 0, 2))
    batch = collate(samples)
    ids = batch["input_ids"]
    spans = adapter_for(model).spans(ids, batch["attention_mask"], output_start=ids.shape[1] - 2)
    session = AttentionSession(model, [clva, *more], spans=spans)
    with session, session.record([0, 1, 2, 3], full=True) as recording:
        model(**batch)
    return recording.weights, spans


def test_only_the_image_columns_of_predicting_rows_of_the_first_deep_layer_change() -> None:
    plain, spans = used_weights(ClvaReconstruction(alpha=0.0, beta=0.0))
    edited, _ = used_weights(ClvaReconstruction(**STRONG))
    for layer in (0, 1):
        assert torch.equal(plain[layer], edited[layer])
    changed = plain[2] != edited[2]
    for sample, places in enumerate(spans):
        rows = changed[sample, :, places.pad :, places.pad :]
        for start, end in places.images:
            assert rows[:, places.output_start - 1 :, start:end].any()
            rows[:, places.output_start - 1 :, start:end] = False
        assert not rows.any()
    torch.testing.assert_close(plain[2].sum(-1), edited[2].sum(-1))
    for sample, places in enumerate(spans):
        columns = [places.pad + p for start, end in places.images for p in range(start, end)]
        before, after = (w[2][sample, :, places.pad :, columns].sum(-1) for w in (plain, edited))
        torch.testing.assert_close(before, after)


def test_another_edit_of_the_rows_before_does_not_move_the_templates() -> None:
    # LocoRE acts from the end of the image on, so layers are handed more rows than CLVA edits.
    model, batch = tiny_model("llava", layers=4), collate(tiny_samples("llava", (1, 0)))
    clva, locore = ClvaReconstruction(**STRONG), LocoRE(beta=1e-12)
    with intervene(model, clva):
        alone = decode(model, batch)[1]
    with intervene(model, clva, locore):
        beside = decode(model, batch)[1]
    torch.testing.assert_close(alone, beside, rtol=1e-4, atol=1e-4)


def test_each_pass_carries_templates_of_its_own() -> None:
    model, batch = tiny_model("llava", layers=4), collate(tiny_samples("llava", (1,)))
    seen: list[tuple[int, int]] = []

    class Watched(ClvaReconstruction):
        def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
            seen.append((context.layer, len(context.carried)))
            return super().weights(weights, context)

    with torch.no_grad(), intervene(model, Watched(**STRONG)):
        model(**batch)
        model(**batch)
    assert seen == [(0, 0), (1, 1), (2, 2), (3, 2)] * 2


@pytest.mark.parametrize("lowest", [1, 2, 3])
def test_it_does_not_matter_which_layers_are_recorded(lowest: int) -> None:
    # Layers below the lowest recorded one are handed the predicting rows alone, others all rows.
    model, batch = tiny_model("llava", layers=4, dtype=F64), tiny_inputs("llava", (1, 2), dtype=F64)
    found = []
    for layers in ([0, 1, 2, 3], [lowest, 3]):
        session = AttentionSession(model, [ClvaReconstruction(**STRONG)])
        with session, session.record(sorted(set(layers)), full=True) as recording:
            model(**batch)
        found.append(recording.weights[3])
    torch.testing.assert_close(*found)


@pytest.mark.slow
@pytest.mark.parametrize("row", ["predicting", "candidate"])
def test_blocks_of_sgrs_find_the_tokens_of_single_steps(row: Any) -> None:
    model, batch = tiny_model("llava", layers=4, dtype=F64), tiny_inputs("llava", (1, 2), dtype=F64)
    found = []
    for size in (1, 4):
        decoder = SGRS(row=row, block_size=size, alpha=1.2)  # records the deeper half
        with intervene(model, ClvaReconstruction(**STRONG)):
            kwargs = decoder.generate_kwargs(sample_ids=["a", "b"])
            found.append(model.generate(**batch, max_new_tokens=8, **kwargs))
    assert torch.equal(*found)


def test_gradients_take_the_templates_as_constants() -> None:
    model, batch = tiny_model("llava", layers=4), collate(tiny_samples("llava", (1, 2)))
    direction = torch.randn(2, VOCABULARY, generator=torch.Generator().manual_seed(0))
    constants: dict[str, Tensor] = {}

    class Noted(ClvaReconstruction):
        def _template(self, name: str, like: Tensor, context: AttentionContext) -> Tensor:
            found = super()._template(name, like, context)
            constants[name] = found.detach()
            return found

    class Constant(ClvaReconstruction):
        def _template(self, name: str, like: Tensor, context: AttentionContext) -> Tensor:
            return constants[name]

    found = []
    for kind in (Noted, Constant):
        session = AttentionSession(model, [kind(**STRONG)])
        with session, session.record([0, 1, 2, 3], full=True) as recording:
            logits = model(**batch).logits[:, -1]
            found.append(recording.gradients(logits, direction, torch.ones(2)))
    for layer in range(4):
        assert found[0][layer].isfinite().all()
        assert torch.equal(found[0][layer], found[1][layer])


def test_off_is_bit_for_bit_the_plain_model() -> None:
    model, batch = tiny_model("qwen2_vl", layers=4), collate(tiny_samples("qwen2_vl", (1, 2)))
    plain = decode(model, batch)
    with intervene(model, ClvaReconstruction(alpha=0.0, beta=0.0)):
        edited = decode(model, batch)
    assert torch.equal(plain[0], edited[0])
    assert torch.equal(plain[1], edited[1])


@pytest.mark.parametrize(
    ("depth", "wanted"),
    [
        (2, ([0], [0], [1])),
        (3, ([0], [1], [2])),
        (4, ([0], [1], [2, 3])),
        (28, (range(4), range(7, 15), range(18, 28))),
        (40, (range(5), range(10, 22), range(25, 40))),
    ],
)
def test_parts_of_the_depth(depth: int, wanted: tuple[Any, ...]) -> None:
    found = ClvaReconstruction().parts(depth)
    assert [list(part) for part in found] == [list(part) for part in wanted]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha must be at least 0 .*, got -1.0"),
        ({"beta": float("nan")}, "beta must be at least 0 .*, got nan"),
        ({"sensitive": 1.0}, "sensitive must be above 0 and below 1, got 1.0"),
        ({"early": [0.5, 0.2]}, r"early must be two fractions of the depth .*, got \(0.5, 0.2\)"),
        ({"deep": [0.5, 1.0]}, "deep begins at 0.5, before early or middle ends"),
        ({"deep": [0.5]}, "option 'deep'"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        INTERVENTIONS.build("clva-reconstruction", **options)


def test_a_model_of_one_layer_is_refused() -> None:
    model = tiny_model("llava", layers=1)
    with pytest.raises(ConfigError, match="'clva-reconstruction': it needs more layers than 1"):
        intervene(model, ClvaReconstruction())
