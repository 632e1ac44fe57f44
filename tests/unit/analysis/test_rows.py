"""Rows of mentions, examples and the scores of layers and fusions, from reports to tables."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lvlmsal.analysis.examples import Examples
from lvlmsal.analysis.fusion import FusionScores
from lvlmsal.analysis.labels import Mention
from lvlmsal.analysis.layers import LayerScores
from lvlmsal.analysis.mentions import by_cell, mention_rows, write_mentions
from lvlmsal.analysis.output import write_csv
from lvlmsal.analysis.scores import token_scores
from lvlmsal.benchmarks.base import Sample
from lvlmsal.benchmarks.chair.benchmark import Chair
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.run.replay import Replayed
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.saliency.options import FUSIONS
from lvlmsal.saliency.report import SaliencyReport
from tests.unit.statistics.by_hand import auroc

TOKENS = ["A", " dog", ",", " a", " hot", " dog"]


@pytest.fixture
def answer(tiny: Lvlm, report: SaliencyReport) -> Replayed:
    """An answer of the tiny model that is made to say something: a dog that is not there."""
    said = replace(report, tokens=TOKENS, text="".join(TOKENS))
    sample = Sample("7", (), "What?", ["hot dog"], group="image 7")
    record: dict[str, Any] = {"benchmark": "chair"}
    return Replayed(record, sample, tiny, "m", "greedy", Chair(root="anywhere"), report=said)


def test_a_row_holds_the_first_token_of_a_mention(answer: Replayed) -> None:
    rows = mention_rows(answer, Vocabulary.coco())
    assert [(r.object, r.index, r.tokens, r.token, r.hallucinated) for r in rows] == [
        ("dog", 1, 1, " dog", True),
        ("hot dog", 4, 2, " hot", False),
    ]
    values = token_scores(answer.report)
    for row in rows:
        assert row.cell == ("m", "greedy", "chair")
        assert (row.sample, row.image) == ("7", "image 7")
        assert row.sequence_position == answer.report.spans.output_start + row.index
        assert row.scores == {name: column[row.index] for name, column in values.items()}


def test_csv_round_trip(answer: Replayed, tmp_path: Path) -> None:
    rows = mention_rows(answer, Vocabulary.coco())
    rows.append(replace(rows[0], model="other", object='d"o,g', scores={"saliency": None}))
    write_mentions(tmp_path / "mentions.csv", rows)
    with (tmp_path / "mentions.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["hallucinated"] for line in lines] == ["1", "0", "1"]
    header = (tmp_path / "mentions.csv").read_text().splitlines()[0].split(",")
    assert len(set(header)) == len(header)
    for line, row in zip(lines, rows, strict=True):
        assert line["object"] == row.object
        assert line["token"] == row.token
        for name, value in row.scores.items():
            if value is None:
                assert line[name] == ""
            else:
                assert float(line[name]) == pytest.approx(value, rel=1e-8)
    assert lines[2]["entropy"] == ""
    assert [len(part) for part in by_cell(rows).values()] == [2, 1]
    write_csv(tmp_path / "t.csv", ["a", "b"], [[float("nan"), True], [None, 1e-12]])
    assert (tmp_path / "t.csv").read_text() == "a,b\n,1\n,1e-12\n"


MENTIONS = [Mention("x", "x", 2, 3, True), Mention("y", "y", 4, 6, False)]


def test_layers_one_by_one(report: SaliencyReport) -> None:
    found = LayerScores(list(report.layers))
    found.add(report, MENTIONS, "a")
    found.add(report, [Mention("x", "x", 5, 6, True)], "b")
    assert (found.correct, found.images) == ([False, True, False], ["a", "a", "b"])
    aurocs = found.aurocs(draws=100)
    for place, layer in enumerate(report.layers):
        alone = report.token_saliency(layers=[layer])
        values = [alone[token] or 0.0 for token in (2, 4, 5)]
        assert found.values["saliency"][place] == pytest.approx(values)
        expected = auroc([values[1]], [values[0], values[2]])
        assert aurocs["saliency"][layer].value == expected
        start, at = report.spans.context_start("after_image"), report.spans.output_start + 4
        mean = report.attention[4, place, start:at].mean()
        assert found.values["attention"][place][1] == pytest.approx(mean.item())


def test_fusions_and_what_the_mlp_is_given(report: SaliencyReport) -> None:
    found = FusionScores()
    found.add(report, MENTIONS, "a")
    for fusion in FUSIONS:
        values = report.token_saliency(fusion)
        assert found.values[fusion] == [values[2], values[4]]
    assert found.log_probabilities == [report.log_probabilities[2], report.log_probabilities[4]]
    layers = report.layers
    expected = [
        report.token_saliency(fusion, layers=[layer])[4]
        for fusion in ("attention", "gradient")
        for layer in layers
    ]
    assert found.features[1].tolist() == pytest.approx(expected)
    assert abs(found.likeness("product")) == pytest.approx(1.0)
    found.fit()
    assert "mlp" not in found.values
    assert "images have wrong mentions" in found.note


def test_likeness_is_the_correlation_of_ranks() -> None:
    found = FusionScores(values={"ties": [1.0, 2.0, 2.0, 30.0], "same": [5.0] * 4})
    found.log_probabilities = [-4.0, -2.0, -3.0, -1.0]
    # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: the sum of products is 4.5, of squares 4.5 and 5
    assert found.likeness("ties") == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert math.isnan(found.likeness("same"))


@pytest.mark.slow
def test_the_fitted_fusion_joins_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    found = FusionScores(
        correct=[i % 2 == 0 for i in range(80)],
        images=[str(i // 2) for i in range(80)],
        features=list(torch.randn(80, 4, generator=generator)),
    )
    found.fit()
    assert len(found.values["mlp"]) == 80
    assert found.note == ""


def test_examples_are_the_first_answers_with_both_kinds(answer: Replayed) -> None:
    coco = Vocabulary.coco()
    plain = replace(answer, sample=replace(answer.sample, id="1", target=["dog", "hot dog"]))
    later = replace(answer, sample=replace(answer.sample, id="9"))
    examples = Examples()
    for offered in (plain, answer, later, replace(later, method="sgrs")):
        examples.offer(offered, coco)
    assert {cell: e.answer.sample.id for cell, e in examples.found.items()} == {
        ("m", "greedy", "chair"): "7",
        ("m", "sgrs", "chair"): "9",
    }
    found = examples.found["m", "greedy", "chair"]
    assert found.tokens == [4, 1]  # the correct one first
    assert found.labels == [None, True, None, None, False, False]
    chosen = Examples("1", [3])
    for offered in (answer, plain):
        chosen.offer(offered, coco)
    assert chosen.found["m", "greedy", "chair"].tokens == [3]
    with pytest.raises(ConfigError, match=r"choose from 1 to 5 for sample 7; .* 4 ' hot'"):
        Examples(tokens=[6]).offer(answer, coco)
