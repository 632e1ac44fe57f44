"""What one pass records, against a plain forward pass with everything written out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters import adapter_for
from lvlmsal.attention.arguments import LastColumn
from lvlmsal.detection.columns import READINGS, Columns, Need, union
from lvlmsal.detection.lens import Lens
from lvlmsal.detection.probes import DHCP
from lvlmsal.detection.recording import record
from lvlmsal.detection.regression import Regression
from lvlmsal.detection.rows import logit_readings
from lvlmsal.errors import UnknownName, UnsupportedError
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.saliency.block import block_saliency
from lvlmsal.saliency.diagnosing import diagnose_response
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.reduce import context_mask
from lvlmsal.testing.tiny import VOCABULARY, collate, tiny_lvlm, tiny_model, tiny_samples
from tests.tiers import FAMILIES

F64 = torch.float64
LAYERS = 3
EVERYTHING = [Need(name) for name in READINGS]
WORDS = [10, 20, 30, 40]


def answers(batch: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(4, VOCABULARY - 8, (batch, length), generator=generator)


def recorded(family: str, images: tuple[int, ...], length: int = 4, **how: Any) -> SimpleNamespace:
    adapter = adapter_for(tiny_model(family, layers=LAYERS, dtype=F64))
    samples = tiny_samples(family, images, dtype=F64)
    ids = answers(len(images), length)
    found = record(adapter, collate(samples), ids, EVERYTHING, lens=Lens(adapter, WORDS), **how)
    return SimpleNamespace(adapter=adapter, samples=samples, ids=ids, columns=found)


def lensed(adapter: Any, states: Tensor, token: int) -> Tensor:
    """log p of a token among the judged ones, by the definition."""
    logits = adapter.lm_head(adapter.decoder.norm(states))
    among = sorted({*WORDS, token})
    return logits[..., token] - logits[..., among].logsumexp(-1)


@pytest.mark.parametrize("family", FAMILIES)
def test_columns_are_those_of_a_plain_pass(family: str) -> None:
    given = recorded(family, (1,))
    adapter, sample, ids, columns = given.adapter, given.samples[0], given.ids, given.columns.of(0)
    adapter.set_attention("eager")
    adapter.model.requires_grad_(False)
    inputs = adapter.append(sample.inputs, ids)
    with torch.no_grad():
        plain = adapter.model(**inputs, output_attentions=True, output_hidden_states=True)
    start = sample.inputs["input_ids"].shape[1]
    first, end = sample.images[0]
    states = plain.hidden_states
    for at, token in enumerate(ids[0].tolist()):
        row = start + at - 1
        logs = plain.logits[0, row].log_softmax(-1)
        largest = logs.exp().sort(descending=True).values
        wanted: dict[str, Any] = {
            "log_probability": logs[token],
            "odds": logs[token] - torch.log1p(-logs[token].exp()),
            "entropy": -(logs * logs.exp()).sum(),
            "margin": largest[0] - largest[1],
            "largest": largest[0].log(),
            "position": at,
            "occurrence": ids[0, :at].tolist().count(token),
        }
        weights = torch.stack([layer[0] for layer in plain.attentions])  # (L, H, q, k)
        mine = weights[:, :, row]
        wanted["attention_image"] = mine[..., first:end].sum(-1)
        runs = torch.arange(end - first) * 16 // (end - first)
        wanted["attention_cells"] = torch.stack(
            [mine[..., first:end][..., runs == cell].sum(-1) for cell in range(16)], dim=-1
        )
        wanted["attention_prompt"] = mine[..., end:start].sum(-1)
        wanted["attention_output"] = mine[..., start:].sum(-1)
        wanted["attention_previous"] = weights[:, :, row + 1, row]
        seen = mine[..., first:end].mean(-1)
        wanted["lookback"] = seen / (seen + mine[..., start - 1 : row + 1].mean(-1))
        inner = [states[layer + 1][0] for layer in range(LAYERS - 1)]
        asked = slice(end, start)
        for place, layer in enumerate(inner):
            assert columns["row_lens"][at, place] == pytest.approx(
                float(lensed(adapter, layer[row], token)), rel=1e-5
            )
            every = adapter.lm_head(adapter.decoder.norm(layer[first:end])).log_softmax(-1)
            assert columns["patch_lens"][at, place] == pytest.approx(
                float(every[:, token].max()), rel=1e-5
            )
            grounds = every[:, token].topk(min(32, end - first)).indices
            alike = torch.cosine_similarity(layer[row][None], layer[first:end][grounds])
            assert columns["grounded_similarity"][at, place] == pytest.approx(
                float(alike.mean()), rel=1e-5
            )
            whole = torch.cosine_similarity(layer[row], layer[start - 1], dim=0)
            assert columns["prompt_similarity"][at, place] == pytest.approx(float(whole), rel=1e-5)
            flat = adapter.lm_head(adapter.decoder.norm(layer[asked])) / 10
            chances = flat.softmax(-1)[:, token]
            assert columns["question_lens"][at, place] == pytest.approx(
                float(chances.max().log()), rel=1e-5
            )
            best = chances.topk(min(4, len(chances))).indices
            far = (layer[row] - layer[asked][best].mean(0)).norm() / layer[row].norm()
            assert columns["question_fit"][at, place] == pytest.approx(
                float((2 - far) * chances[best].mean()), rel=1e-4
            )
            torch.testing.assert_close(
                columns["state"][at, place], layer[row + 1], rtol=1e-4, atol=1e-5
            )
            cosines = torch.cosine_similarity(layer[row + 1][None], layer[first:end])
            assert columns["image_similarity"][at, place] == pytest.approx(
                float(cosines.max()), rel=1e-5
            )
        # behind the last layer, transformers gives what the norm has made of it
        last = plain.logits[0, row]
        among = sorted({*WORDS, token})
        assert columns["row_lens"][at, -1] == pytest.approx(
            float(last[token] - last[among].logsumexp(-1)), rel=1e-5
        )
        for name, value in wanted.items():
            torch.testing.assert_close(
                columns[name][at].double(), torch.as_tensor(value).double(), rtol=1e-5, atol=1e-8
            )


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_blank_images_are_those_of_a_pass_without_pixels(family: str) -> None:
    given = recorded(family, (1,))
    inputs = given.adapter.append(given.samples[0].inputs, given.ids)
    inputs["pixel_values"] = torch.zeros_like(inputs["pixel_values"])
    with torch.no_grad():
        logs = given.adapter.model(**inputs).logits[0].log_softmax(-1)
    start = given.samples[0].inputs["input_ids"].shape[1]
    for at, token in enumerate(given.ids[0].tolist()):
        wanted = float(logs[start + at - 1, token])
        assert given.columns["blank_log_probability"][0, at] == pytest.approx(wanted, rel=1e-5)
        assert given.columns["log_probability"][0, at] != pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_a_padded_batch_and_blocks_change_nothing(family: str) -> None:
    whole = recorded(family, (1, 2), block_size=100)
    others = [recorded(family, (1, 2), block_size=size) for size in (1, 2)]
    for name, values in whole.columns.values.items():
        for other in others:
            torch.testing.assert_close(other.columns.values[name], values, rtol=1e-5, atol=1e-7)
    for row, sample in enumerate(whole.samples):
        alone = record(
            whole.adapter,
            sample.inputs,
            whole.ids[row : row + 1],
            EVERYTHING,
            lens=Lens(whole.adapter, WORDS),
        )
        for name, values in whole.columns.values.items():
            torch.testing.assert_close(alone.values[name][0], values[row], rtol=1e-5, atol=1e-7)


def test_saliency_is_that_of_the_diagnosis() -> None:
    given = recorded("llava", (1, 1))
    inputs, options = collate(given.samples), SaliencyOptions(layers=None)
    wanted = block_saliency(given.adapter, inputs, given.ids, options)
    spans = given.adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    start, length = inputs["input_ids"].shape[1], given.ids.shape[1]
    rows = wanted.maps["product"]
    stops = [start + at for at in range(length)]
    members = context_mask(spans, rows.shape[-1], stops, options.context)[:, :, None]
    means = (rows * members).sum(-1) / members.sum(-1)
    torch.testing.assert_close(given.columns["saliency"], means, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(given.columns["log_probability"], wanted.log_probabilities)
    torch.testing.assert_close(given.columns["entropy"], wanted.entropies)


def test_columns_are_those_of_a_report() -> None:
    model, processor = tiny_lvlm("llava")
    adapter = adapter_for(model, processor)
    from PIL import Image

    inputs = adapter.encode([[Image.new("RGB", (20, 20), "red")]], ["What is this?"])
    ids = answers(1, 3)
    report = diagnose_response(adapter, inputs, ids[0].tolist(), SaliencyOptions(layers=None))
    columns = record(
        adapter, inputs, ids, [Need(n) for n in ("entropy", "attention_image", "attention_output")]
    ).of(0)
    shares = report.groups(of="attention", reduce="sum")
    assert columns["entropy"].tolist() == pytest.approx(report.entropies)
    image, output = (columns[f"attention_{name}"].mean((1, 2)) for name in ("image", "output"))
    torch.testing.assert_close(image, shares["image"])
    torch.testing.assert_close(output[1:], shares["output"][1:])
    assert output[0] == 0  # the report calls the mean over no position nan


def test_an_intervention_is_seen() -> None:
    plain = recorded("llava", (1,)).columns
    edited = recorded("llava", (1,), interventions=[LocoRE(beta=0.9)]).columns
    last = slice(2, None)  # it acts once there is an answer to look back at
    assert not torch.allclose(edited["odds"][:, last], plain["odds"][:, last])
    assert not torch.allclose(edited["row_lens"][:, last], plain["row_lens"][:, last])


def test_without_saliency_nothing_is_differentiated(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a backward pass was taken")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    adapter = adapter_for(tiny_model("llava"))
    inputs = collate(tiny_samples("llava", (1,)))
    cheap = [need for need in EVERYTHING if READINGS[need.reading].part != "saliency"]
    found = record(adapter, inputs, answers(1, 3), cheap, lens=Lens(adapter, WORDS))
    assert set(found.values) == {need.reading for need in cheap}
    with pytest.raises(AssertionError, match="backward"):
        record(adapter, inputs, answers(1, 3), [Need("saliency")])


def test_prefix_models_have_no_saliency_of_their_first_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seen(self: LastColumn, mask: Tensor | None, *, causal: bool) -> None:
        self.found = True

    monkeypatch.setattr(LastColumn, "note", seen)
    adapter = adapter_for(tiny_model("llava"))
    inputs = collate(tiny_samples("llava", (1,)))
    with pytest.raises(UnsupportedError, match="prefix-LM"):
        record(adapter, inputs, answers(1, 3), [Need("saliency")])


def test_a_prompt_without_an_image_has_nothing_to_look_at() -> None:
    columns = recorded("llava", (0,)).columns
    assert columns["attention_image"].eq(0).all()
    nothing = ("patch_lens", "image_similarity", "lookback", "attention_cells", "saliency_image")
    for name in nothing:
        assert columns[name].isnan().all(), name


def test_a_sample_without_an_image_blinds_no_other() -> None:
    both, alone = recorded("llava", (0, 1)).columns, recorded("llava", (1,)).columns
    cells = both["attention_cells"]
    assert cells[0].isnan().all()
    torch.testing.assert_close(cells[1].sum(-1), both["attention_image"][1])
    assert alone["attention_cells"].isfinite().all()


def test_runs_of_several_images_are_in_the_order_of_the_sequence() -> None:
    """Two images of equally many tokens: the first eight runs are those of the first one."""
    given = recorded("llava", (2,))
    (first, second), ids = given.samples[0].images, given.ids
    assert first[1] - first[0] == second[1] - second[0]
    cells = given.columns["attention_cells"][0]
    given.adapter.set_attention("eager")
    with torch.no_grad():
        inputs = given.adapter.append(given.samples[0].inputs, ids)
        plain = given.adapter.model(**inputs, output_attentions=True)
    row = given.samples[0].inputs["input_ids"].shape[1] - 1  # it predicts the first token
    weights = torch.stack([layer[0, :, row] for layer in plain.attentions])
    for (start, end), runs in ((first, cells[0, ..., :8]), (second, cells[0, ..., 8:])):
        torch.testing.assert_close(runs.sum(-1), weights[..., start:end].sum(-1))


def test_a_fit_of_dhcp_judges_nothing_without_an_image() -> None:
    columns = recorded("llava", (0,)).columns
    features = DHCP().features(columns)
    count = features.shape[-1]
    fit = Regression(
        detector="dhcp",
        options={},
        features=tuple(map(str, range(count))),
        mean=(0.0,) * count,
        deviation=(1.0,) * count,
        mentions=60,
        answers=60,
        weights=(0.1,) * count,
        offset=3.0,
        slope=1.0,
        shift=0.0,
        false_alarms={},
        precisions={},
        wrong=20,
    )
    assert fit.risk(fit.score(features)).isnan().all()


def test_a_lens_is_asked_for() -> None:
    adapter = adapter_for(tiny_model("llava"))
    with pytest.raises(ValueError, match="without a lens"):
        record(adapter, collate(tiny_samples("llava")), answers(1, 2), [Need("row_lens")])


def test_odds_and_margin_keep_their_digits() -> None:
    found = logit_readings(torch.tensor([80.0, 0.0, 0.0]), torch.tensor(0))
    assert float(found["log_probability"]) == 0  # float32 knows no better
    assert float(found["odds"]) == pytest.approx(80 - float(torch.tensor(2.0).log()))
    assert float(found["margin"]) == 1


def test_needs_are_put_together() -> None:
    needs = [Need("row_lens", "0.0:0.5"), Need("row_lens", [3]), Need("odds")]
    assert union(needs, 4) == {"row_lens": [0, 1, 3], "odds": []}
    with pytest.raises(UnknownName, match="Did you mean 'row_lens'"):
        Need("row_lense")
    with pytest.raises(ValueError, match="not understood"):
        Need("row_lens", "deep")


def test_columns_hand_out_layers() -> None:
    values = torch.arange(2 * 3 * 4.0).reshape(2, 3, 4)  # two tokens, layers 0, 2 and 3, four heads
    columns = Columns({"lookback": values}, {"lookback": [0, 2, 3]}, 4)
    assert torch.equal(columns[Need("lookback", "0.5:1.0")], values[:, 1:])
    lens = Columns({"row_lens": values[..., :3]}, {"row_lens": [0, 2, 3]}, 4)
    assert torch.equal(lens[Need("row_lens", [0, 3])], values[..., [0, 2]])
