"""Scores of tokens, against sums over the report's tensors that are written out."""

from __future__ import annotations

import pytest

from lvlmsal.analysis.scores import SCORES, token_scores
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.saliency.options import FUSIONS, SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport


def test_every_score_by_loops(report: SaliencyReport) -> None:
    found = token_scores(report)
    assert set(found) == {*SCORES, *(f"saliency_{fusion}" for fusion in FUSIONS)}
    count, layers = len(report.tokens), range(len(report.layers))
    start = report.spans.output_start
    image = [p for first, last in report.spans.images for p in range(first, last)]
    for token in range(count):
        share = {"image": 0.0, "previous": 0.0}
        for layer in layers:
            row = report.attention[token, layer]
            share["image"] += sum(row[p].item() for p in image) / len(layers)
            share["previous"] += sum(row[start + p].item() for p in range(token)) / len(layers)
        assert found["attention_image"][token] == pytest.approx(share["image"])
        if token == 0:
            assert found["attention_previous"][0] is None
            assert found["saliency_last"][0] is None
        else:
            assert found["attention_previous"][token] == pytest.approx(share["previous"])
            last = [report.rows[token, layer, start + token - 1].item() for layer in layers]
            assert found["saliency_last"][token] == pytest.approx(sum(last) / len(last))
        assert found["position"][token] == token
    assert found["saliency"] == report.saliency == found["saliency_product"]
    assert found["log_probability"] == report.log_probabilities
    assert found["entropy"] == report.entropies
    assert found["saliency_add"] != found["saliency_max"]


def test_an_empty_context_has_no_score(tiny: Lvlm, report: SaliencyReport) -> None:
    alone = tiny.diagnose(
        report.images, report.prompt, [20], options=SaliencyOptions(context="output")
    )
    found = token_scores(alone)
    missing = {name for name, values in found.items() if values == [None]}
    assert missing == {"saliency", "saliency_last", "attention_previous"} | {
        f"saliency_{fusion}" for fusion in FUSIONS
    }
