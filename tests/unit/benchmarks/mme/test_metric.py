"""MME counted by hand, and its rules on answers that try them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.benchmarks.mme.counts import MME_PARSERS, mme_counts, mme_parser
from lvlmsal.benchmarks.mme.metric import MmeMetric
from lvlmsal.errors import LvlmsalError
from lvlmsal.metrics.torch_metric import TorchMetric
from tests.unit.benchmarks.yesno_cases import MME_SAMPLES, TASKS, mme_target

Y, N, O = "yes", "no", None  # noqa: E741
# answer: official, lmms-eval, vlmevalkit, strict
VERDICTS: list[tuple[str, tuple[str | None, ...]]] = [
    ("yes", (Y, Y, Y, Y)),
    ("No.", (N, N, N, N)),
    ("YES", (Y, Y, Y, Y)),
    ("not sure", (N, N, O, O)),
    ("None", (N, N, O, O)),
    ("now", (N, N, O, O)),
    ("know it", (N, N, O, O)),
    ("Not at all", (N, N, O, O)),
    ("I don't know", (O, O, O, O)),
    ("unknown", (O, O, O, O)),
    ("The answer is yes", (O, O, Y, O)),
    ("Answer: no", (O, O, N, O)),
    ("1. yes", (O, O, Y, O)),
    ("- yes", (O, O, Y, Y)),
    ("Y", (O, Y, O, O)),
    ("n", (O, N, O, O)),
    ("y.", (O, Y, O, O)),
    ("True", (O, O, O, O)),
    ("", (O, O, O, O)),
    ("yesterday", (Y, Y, O, O)),
    ("yes no", (Y, Y, O, Y)),
    ("no yes", (N, N, O, N)),
    ("noyes", (N, N, O, O)),
    ("  yes", (O, Y, Y, Y)),
    (" no", (N, N, N, N)),
    ("\nYes", (Y, Y, Y, Y)),
    ("**No**", (N, N, O, N)),
    ('"No"', (N, N, N, N)),
    ("(no)", (N, N, N, N)),
    ("... no", (O, N, N, N)),
    ("No, there isn't.\nYes?", (N, N, O, N)),
]


@pytest.mark.parametrize(("answer", "verdicts"), VERDICTS)
def test_rules_on_answers_that_try_them(answer: str, verdicts: tuple[str | None, ...]) -> None:
    found = {name: rule(answer) for name, rule in MME_PARSERS.items()}
    names = ("official", "lmms-eval", "vlmevalkit", "strict")
    assert found == dict(zip(names, verdicts, strict=True))


@given(st.text())
def test_no_text_breaks_a_rule(answer: str) -> None:
    assert {rule(answer) for rule in MME_PARSERS.values()} <= {Y, N, O}


def test_scores_counted_by_hand() -> None:
    samples = {
        # both right, one right, other instead of an answer and one right: acc 4/6, acc+ 1/3
        "existence": [("yes", "no"), ("yes", "yes"), ("maybe", "no")],
        "OCR": [("yes", "no")],
        "code_reasoning": [("no", "yes")],
    }
    metric = TorchMetric(MmeMetric())
    for task, images in samples.items():
        for image, answers in enumerate(images):
            targets = [
                mme_target(task, str(image), 1, "yes"),
                mme_target(task, str(image), 2, "no"),
            ]
            metric.update(answers, targets)
    figures = {name: value.item() for name, value in metric.compute().items()}
    assert figures["score/existence"] == pytest.approx(100 * 4 / 6 + 100 / 3)
    assert figures["score/OCR"] == 200
    assert figures["score/code_reasoning"] == 0
    assert figures["task_mean"] == pytest.approx((100 + 200 + 0) / 3)
    assert math.isnan(figures["perception"])
    assert math.isnan(figures["cognition"])
    assert math.isnan(figures["score/count"])
    assert (figures["unparsed"], figures["n"], figures["accuracy"]) == (1, 10, 0.6)


def test_totals_of_all_tasks() -> None:
    answers, targets = [], []
    for task in TASKS:
        targets += [mme_target(task, "1", 1, "yes"), mme_target(task, "1", 2, "yes")]
        answers += ["yes", "yes" if task == "OCR" else "no"]
    figures = MmeMetric().score(answers, targets)
    assert figures["perception"].item() == 9 * 50 + 200
    assert figures["cognition"].item() == 4 * 50


def test_an_image_of_the_same_name_in_another_task_is_another_image() -> None:
    targets = [mme_target("scene", "1", 1, "yes"), mme_target("color", "1", 2, "yes")]
    metric = MmeMetric()
    assert metric.score(["yes", "yes"], targets)["score/scene"].item() == 100


def test_failed_questions_are_wrong_and_their_images_not_right() -> None:
    metric = MmeMetric()
    targets = [mme_target("scene", str(i // 2), i % 2 + 1, "no") for i in range(6)]
    answered = metric.rows(["no"] * 3, targets[:3])
    rows = torch.cat([answered, metric.failed_rows(targets[3:])])
    figures = metric.figures(rows.sum(0))
    assert figures["score/scene"].item() == pytest.approx(100 * 3 / 6 + 100 * 1 / 3)
    assert (figures["n"].item(), figures["unparsed"].item()) == (6, 0)


@pytest.mark.parametrize("parser", sorted(MME_PARSERS))
def test_no_image_can_count_twice_and_resamples_of_images_add_up(parser: str) -> None:
    answers, targets = zip(*MME_SAMPLES, strict=True)
    rows = mme_counts(answers, targets, parser)
    assert rows.shape == (len(answers), 45)
    images = {(t["task"], t["image"]) for t in targets}
    for task, image in images:
        places = [i for i, t in enumerate(targets) if (t["task"], t["image"]) == (task, image)]
        alone = mme_counts([answers[i] for i in places], [targets[i] for i in places], parser)
        assert torch.equal(rows[places].sum(0), alone.sum(0))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("yes", "'task', 'image'"),
        ({"task": "count"}, "'task', 'image'"),
        (mme_target("Count", "1", 1, "yes"), "no task 'Count'"),
        (mme_target("count", "1", 3, "yes"), "must be 1 or 2"),
        (mme_target("count", "1", 1, "Yes"), "yes or no"),
    ],
)
def test_targets_that_are_none(target: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mme_counts(["yes"], [target])


def test_unknown_rule() -> None:
    with pytest.raises(LvlmsalError, match="lmms-eval, official, strict, vlmevalkit"):
        mme_parser("offical")
    with pytest.raises(LvlmsalError, match="Did you mean 'official'"):
        MmeMetric(parser="offical")
    with pytest.raises(ValueError, match="1 answers for 0 targets"):
        mme_counts(["yes"], [])
