"""Saliency rows and S(c) against the definitions, written out in tests/reference.py."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters.spans import find_spans
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.saliency import SaliencyOptions, block, block_saliency, full_graph_rows
from lvlmsal.saliency.reduce import context_mask, normalize, token_saliency
from lvlmsal.testing.tiny import IMAGE, TINY, VOCABULARY, collate, tiny_model, tiny_samples
from tests import reference
from tests.tiers import FAMILIES

ROWS = ("predicting", "candidate")
F64 = torch.float64


def answers(batch: int, length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, VOCABULARY - 8, (batch, length), generator=generator)


def check_against_reference(
    family: str,
    images: tuple[int, ...],
    options: SaliencyOptions,
    layers: list[int],
    *,
    depth: int = 3,
    kv_heads: int = 2,
    locore: LocoRE | None = None,
    seed: int = 0,
) -> None:
    """A left-padded batch through the library; each sample alone through the reference."""
    model = tiny_model(family, layers=depth, kv_heads=kv_heads, dtype=F64)
    samples = tiny_samples(family, images, seed=seed, dtype=F64)
    batch, response = collate(samples), answers(len(samples), 3, seed)
    edits = () if locore is None else (locore,)
    found = [full_graph_rows(model, batch, response, options, interventions=edits)[options.fusion]]
    if not options.needs_full_graph:
        for block_size in (1, 2, 3):  # the row way; two blocks of unequal size; one block
            rows = block_saliency(
                model, batch, response, options, interventions=edits, block_size=block_size
            )
            found.append(rows.maps[options.fusion])
    width = batch["input_ids"].shape[1]
    spans = find_spans(batch["input_ids"], batch["attention_mask"], [IMAGE])
    for index, sample in enumerate(samples):
        rule = None
        if locore is not None:
            rule = reference.rule_for(
                [sample],
                locore.context,
                beta=locore.beta,
                window=locore.window,
                mode=locore.mode,
                layers=None if locore.layers is None else list(locore.layers),
                heads=locore.heads,
                rows=locore.rows,
            )
        wanted = reference.judge(
            model,
            sample,
            response[index].tolist(),
            layers=layers,
            row=options.row,
            norm=options.norm,
            heads=options.heads,
            fusion=options.fusion,
            context=options.context,
            summed=options.loss == "sum",
            rule=rule,
        )
        pad = width - sample.inputs["input_ids"].shape[1]
        for way in found:
            for token, (rows, value) in enumerate(zip(wanted.rows, wanted.saliency, strict=True)):
                ours, theirs = way[index, token], torch.stack(rows)
                assert torch.all(ours[:, :pad] == 0)
                error = (ours[:, pad:] - theirs).norm() / theirs.norm()
                assert error < 1e-9, (family, index, token, float(error))
                members = context_mask(spans, ours.shape[-1], [width + token], options.context)
                mean = token_saliency(ours, members[index, 0])
                if value is None:
                    assert torch.isnan(mean)
                else:
                    assert float(mean) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_the_definition(family: str, row: str, kv_heads: int) -> None:
    options = SaliencyOptions(row=row, layers=[0, 2])
    check_against_reference(family, (1, 2, 0), options, [0, 2], kv_heads=kv_heads)


@pytest.mark.parametrize("mode", ["weights", "renormalized", "scores"])
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_those_of_the_modified_weights_under_locore(
    family: str, row: str, mode: str
) -> None:
    locore = LocoRE(beta=0.7, window=4, mode=mode)
    options = SaliencyOptions(row=row, layers=[1, 2])
    check_against_reference(family, (2, 1), options, [1, 2], locore=locore)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    family=st.sampled_from(sorted(TINY)),
    images=st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
    row=st.sampled_from(ROWS),
    heads=st.sampled_from(["abs_then_sum", "sum_then_abs"]),
    fusion=st.sampled_from(["product", "add", "max", "attention", "gradient"]),
    context=st.sampled_from(["after_image", "output"]),
    norm=st.sampled_from(["row", "matrix"]),
    loss=st.sampled_from(["token", "sum"]),
    layers=st.sets(st.integers(0, 2), min_size=1).map(sorted),
    kv_heads=st.sampled_from([1, 2, 4]),
    locore=st.none()
    | st.builds(
        LocoRE,
        beta=st.floats(-0.9, 2.0),
        window=st.integers(1, 30),
        mode=st.sampled_from(["weights", "renormalized", "scores"]),
        context=st.sampled_from(["after_image", "output"]),
        layers=st.none() | st.sets(st.integers(0, 2), min_size=1).map(sorted),
        heads=st.none() | st.sets(st.integers(0, 3)).map(sorted),
        rows=st.sampled_from(["all", "predicting"]),
    ),
    seed=st.integers(0, 50),
)
def test_every_option_is_its_definition(
    family: str,
    images: tuple[int, ...],
    row: str,
    heads: str,
    fusion: str,
    context: str,
    norm: str,
    loss: str,
    layers: list[int],
    kv_heads: int,
    locore: LocoRE | None,
    seed: int,
) -> None:
    options = SaliencyOptions(
        row=row, heads=heads, fusion=fusion, context=context, norm=norm, layers=layers, loss=loss
    )
    check_against_reference(
        family, images, options, layers, kv_heads=kv_heads, locore=locore, seed=seed
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_public_codes_definition_is_identically_zero(family: str) -> None:
    """Candidate appended, loss from the logits at P - 1, attention row P: causality cuts the graph.

    The public code of the paper reads this product, so that every S(c) is 0, tau is 0 and nothing
    is ever rejected.
    """
    model = tiny_model(family, layers=3, dtype=F64)
    sample = tiny_samples(family, (1,), dtype=F64)[0]
    candidate = 17
    position = sample.inputs["input_ids"].shape[1]
    with reference.brute_force(model) as brute:
        logits = model(**reference.longer(sample.inputs, [candidate])).logits[0]
    loss = -torch.log_softmax(logits[position - 1], dim=-1)[candidate]
    gradients = torch.autograd.grad(loss, [brute.weights[layer] for layer in range(3)])
    for gradient in gradients:
        assert torch.count_nonzero(gradient[0, :, position]) == 0
        assert torch.count_nonzero(gradient[0, :, position - 1]) > 0


def test_recording_leaves_the_logits_and_the_model_as_they_were() -> None:
    model = tiny_model("llava", dtype=F64)
    batch = collate(tiny_samples("llava", (1, 0), dtype=F64))
    before = model(**batch).logits
    block_saliency(model, batch, answers(2, 2), SaliencyOptions())
    full_graph_rows(model, batch, answers(2, 2), SaliencyOptions())
    assert torch.equal(model(**batch).logits, before)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("row", ROWS)
def test_images_that_see_ahead_leave_the_rows_of_an_answer(row: str) -> None:
    """CCA-LLaVA's visual tokens see later ones of their image, and have positions of their own."""
    options = SaliencyOptions(row=row, layers=[0, 2])
    locore = LocoRE(beta=0.7, window=4)
    check_against_reference("cca_llava", (1, 2, 0), options, [0, 2], locore=locore)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_summed_loss_is_the_definition(family: str, row: str) -> None:
    """Eq. 2 read literally: the losses of later tokens reach a row through every position."""
    options = SaliencyOptions(row=row, loss="sum", layers=[0, 1])
    check_against_reference(family, (1, 2, 0), options, [0, 1])


def test_the_last_token_knows_no_later_loss() -> None:
    """Its row is that of its own loss; the others are not."""
    model = tiny_model("llava", layers=3, dtype=F64)
    batch, response = collate(tiny_samples("llava", (1, 0), dtype=F64)), answers(2, 4)
    both = [SaliencyOptions(layers=[0, 1], loss=loss) for loss in ("token", "sum")]
    own, summed = (full_graph_rows(model, batch, response, each)["product"] for each in both)
    assert torch.allclose(summed[:, -1], own[:, -1], rtol=1e-9, atol=1e-12)
    distance = (summed - own).norm(dim=-1)[:, :-1] / own.norm(dim=-1)[:, :-1]
    assert float(distance.min()) > 1e-4


@pytest.mark.parametrize("options", [{"norm": "matrix"}, {"loss": "sum"}])
def test_what_needs_the_whole_graph_is_refused_where_only_rows_are_known(
    options: dict[str, str],
) -> None:
    model = tiny_model("llava")
    batch = collate(tiny_samples("llava"))
    with pytest.raises(UnsupportedError, match="full_graph_rows"):
        block_saliency(model, batch, answers(1, 1), SaliencyOptions(**options))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_is_near(dtype: torch.dtype) -> None:
    """A pass in half precision follows the same path; only its rounding differs."""
    options = SaliencyOptions(layers=[1])
    samples = tiny_samples("qwen2_vl", (1, 2))
    response = answers(2, 2)

    def rows(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
        return block_saliency(model, batch, response, options).maps["product"].double()

    exact = rows(tiny_model("qwen2_vl", dtype=F64), collate(samples))
    batch = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in collate(samples).items()
    }
    rough = rows(tiny_model("qwen2_vl", dtype=dtype), batch)
    tolerance = 1e-4 if dtype is torch.float32 else 0.3
    assert (rough - exact).norm() / exact.norm() < tolerance


@pytest.mark.parametrize("block_size", [1, 2, None])
@pytest.mark.parametrize("row", ROWS)
def test_confidence_is_that_of_a_plain_pass(row: str, block_size: int | None) -> None:
    model = tiny_model("qwen2_vl", layers=3, dtype=F64)
    samples, response = tiny_samples("qwen2_vl", (1, 2), dtype=F64), answers(2, 5)
    found = block_saliency(
        model, collate(samples), response, SaliencyOptions(row=row), block_size=block_size
    )
    for index, sample in enumerate(samples):
        answer = response[index].tolist()
        start = sample.inputs["input_ids"].shape[1]
        with torch.no_grad():
            logits = model(**reference.longer(sample.inputs, answer)).logits[0, start - 1 : -1]
        for token, row_logits in enumerate(logits):
            p = row_logits.exp() / row_logits.exp().sum()
            assert float(found.log_probabilities[index, token]) == pytest.approx(
                float(p[answer[token]].log()), rel=1e-9
            )
            assert float(found.entropies[index, token]) == pytest.approx(
                float(-(p * p.log()).sum()), rel=1e-9
            )


@pytest.mark.parametrize("memory", [1, 60_000, 10**12])
def test_long_answers_are_walked_in_blocks_that_memory_holds(memory: int) -> None:
    model = tiny_model("llava", layers=3, dtype=F64)
    batch, response = collate(tiny_samples("llava", (1, 0), dtype=F64)), answers(2, 9)
    passes: list[int] = []
    hook = model.model.language_model.layers[-1].register_forward_hook(
        lambda *call: passes.append(call[2].shape[1])
    )
    try:
        with patch.object(block, "BLOCK_MEMORY", memory):
            found = block_saliency(model, batch, response, SaliencyOptions())
    finally:
        hook.remove()
    wanted = {1: [1] * 9, 10**12: [9]}
    blocks = passes[1:]  # the first pass is the prompt's
    assert sum(blocks) == 9
    assert blocks == wanted.get(memory, blocks)
    if memory == 60_000:
        assert 1 < len(blocks) < 9
    whole = block_saliency(model, batch, response, SaliencyOptions(), block_size=9)
    assert torch.allclose(found.maps["product"], whole.maps["product"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("block_size", [0, -1])
def test_a_block_holds_a_row(block_size: int) -> None:
    model = tiny_model("llava")
    with pytest.raises(ValueError, match=f"block_size must be at least 1.*, got {block_size}"):
        block_saliency(
            model,
            collate(tiny_samples("llava")),
            answers(1, 1),
            SaliencyOptions(),
            block_size=block_size,
        )


def test_trainable_weights_do_not_lengthen_the_graph() -> None:
    """The graph starts at the lowest target layer, and the model stays trainable."""
    sizes = []
    for trainable in (False, True):
        model = tiny_model("llava", layers=4, dtype=F64).requires_grad_(trainable)
        saved: list[int] = []

        def keep(tensor: Tensor, saved: list[int] = saved) -> Tensor:
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            block_saliency(
                model, collate(tiny_samples("llava")), answers(1, 3), SaliencyOptions(layers=[3])
            )
        assert all(weight.requires_grad is trainable for weight in model.parameters())
        sizes.append(sum(saved))
    assert sizes[0] == sizes[1] > 0


def test_small_rows_are_normalized_like_large_ones() -> None:
    row = torch.tensor([3.0, 4.0])
    for exponent in (0, -15, -25, -35):
        assert torch.allclose(normalize(row * 10.0**exponent), torch.tensor([0.6, 0.8]), rtol=1e-4)
    assert torch.equal(normalize(torch.zeros(3)), torch.zeros(3))
