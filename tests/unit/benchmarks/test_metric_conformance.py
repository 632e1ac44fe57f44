"""Every registered metric passes `check_metric`, and `check_metric` fails what it should fail."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_max

from lvlmsal.benchmarks.chair.metric import ChairMetric
from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.metrics.torch_metric import TorchMetric
from lvlmsal.registry import METRICS
from lvlmsal.testing import metric_rows as kit
from lvlmsal.testing.metric import check_metric

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]


def pope_reference(answers: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    said = [answer.strip("*. ").split(",")[0].split(" ")[0].lower() for answer in answers]
    n = len(said)
    tp = sum(s == "yes" and label == "yes" for s, label in zip(said, labels, strict=True))
    right = sum(s == label for s, label in zip(said, labels, strict=True))
    yes, gold = said.count("yes"), list(labels).count("yes")
    return {
        "accuracy": right / n,
        "precision": tp / yes if yes else math.nan,
        "recall": tp / gold if gold else math.nan,
        "f1": 2 * tp / (yes + gold) if yes + gold else math.nan,
        "yes_ratio": yes / n,
        "unparsed": sum(s not in ("yes", "no") for s in said),
        "n": n,
    }


def chair_reference(captions: Sequence[str], truths: Sequence[Any]) -> dict[str, float]:
    names = {
        "dog": "dog",
        "dogs": "dog",
        "puppy": "dog",
        "cat": "cat",
        "bus": "bus",
        "bike": "bicycle",
    }
    named = [[names[w] for w in caption.split() if w in names] for caption in captions]
    wrong = [[n for n in some if n not in truth] for some, truth in zip(named, truths, strict=True)]
    covered = sum(len(set(some) & set(t)) for some, t in zip(named, truths, strict=True))
    mentions, there = sum(map(len, named)), sum(len(set(truth)) for truth in truths)
    return {
        "chair_s": sum(map(bool, wrong)) / len(captions),
        "chair_i": sum(map(len, wrong)) / mentions if mentions else math.nan,
        "recall": covered / there if there else math.nan,
        "length": sum(len(caption.split()) for caption in captions) / len(captions),
    }


POPE_SAMPLES = [
    ("**No**", "no"),
    ("Hm", "yes"),
    ("Yes.", "yes"),
    ("no, none", "yes"),
    ("yes, one", "no"),
    ("", "no"),
    ("Yes", "yes"),
]
CHAIR_SAMPLES = [
    ("nothing here", ["bus"]),
    ("a dog and a cat", ["dog"]),
    ("two dogs and a puppy", ["cat", "dog"]),
    ("", []),
    ("a bus a bus a bike", ("bicycle",)),
]
CASES: dict[str, tuple[Callable[[], CountMetric], list[tuple[str, Any]], Callable[..., Any]]] = {
    "pope": (PopeMetric, POPE_SAMPLES, pope_reference),
    "chair": (ChairMetric, CHAIR_SAMPLES, chair_reference),
}
# A new metric adds a file of its own.
for path in sorted(TESTS.rglob("*_cases.py")):
    name = ".".join(path.relative_to(TESTS.parents[1]).with_suffix("").parts)
    CASES |= importlib.import_module(name).CASES


def test_every_registered_metric_is_checked() -> None:
    built_in = [name for name in METRICS if METRICS.origin(name).startswith("lvlmsal.")]
    assert sorted(CASES) == built_in


@pytest.mark.parametrize("name", sorted(CASES))
def test_conformance(name: str) -> None:
    check_metric(*CASES[name])


@pytest.mark.parametrize("parser", ["pope-official", "opera", "vcd", "lmms-eval", "vlmevalkit"])
def test_conformance_under_every_rule(parser: str) -> None:
    def reference(answers: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
        return {"n": len(answers)}

    check_metric(lambda: PopeMetric(parser=parser), POPE_SAMPLES, reference, processes=1)


# One fault each. The kit must name it.


@dataclass(eq=False)
class Loud(CountMetric):
    """Share of answers in capitals; the sound one."""

    summary: ClassVar[str] = "share of answers in capitals"
    count_names: ClassVar[tuple[str, ...]] = ("n", "loud")
    figure_info: ClassVar[dict[str, bool | None]] = {"loudness": None}
    rates: ClassVar[dict[str, tuple[str, str]]] = {"loudness": ("loud", "n")}

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        rows = [[1.0, answer.isupper()] for answer in answers]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        return {"loudness": counts[..., 1] / counts[..., 0]}


class ByBatch(Loud):
    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        rows = super().rows(answers, targets)
        return rows / max(len(rows), 1)


class MadeUpZero(Loud):
    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        return {"loudness": (counts[..., 1] + 1e-12) / (counts[..., 0] + 1e-12)}


class NotVectorised(Loud):
    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        return {"loudness": counts.reshape(-1, 2)[:, 1].sum() / counts.reshape(-1, 2)[:, 0].sum()}


class WrongRate(Loud):
    rates: ClassVar[dict[str, tuple[str, str]]] = {"loudness": ("n", "n")}


class WrongColumn(Loud):
    columns: ClassVar[tuple[Column, ...]] = (Column("volume", "volume"),)


class Halves(Loud):
    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        return super().rows(answers, targets) / 2


class Undeclared(Loud):
    figure_info: ClassVar[dict[str, bool | None]] = {"volume": None}


class Fussy(Loud):
    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        if " " in answers:
            raise UnicodeError("an odd text")
        return super().rows(answers, targets)


class Single(Loud):
    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        return super().rows(answers, targets).float()


@dataclass(eq=False)
class Remembers(Loud):
    """Counts an answer once only, so that other batches and processes count it again."""

    seen: set[str] = field(default_factory=set, init=False)

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        fresh = ["" if answer in self.seen else answer for answer in answers]
        self.seen.update(answers)
        return super().rows(fresh, targets)


def loudness(answers: Sequence[str], targets: Sequence[Any]) -> Mapping[str, float]:
    return {"loudness": sum(answer.isupper() for answer in answers) / len(answers)}


LOUD_SAMPLES = [("YES", None), ("no", None), ("NO", None), ("A", None), ("b", None)]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (ByBatch, "depends on the other samples"),
        (MadeUpZero, "of no samples loudness is 1"),
        (NotVectorised, r"has shape"),
        (WrongRate, "`rates` says loudness = n / n"),
        (WrongColumn, r"`columns` shows \['volume'\]"),
        (Halves, "these are not whole numbers"),
        (Undeclared, r"lists \['volume'\]"),
        (Single, "torch.float32"),
        (Remembers, "depends on the other samples"),
    ],
)
def test_the_kit_finds_faults(metric: type[CountMetric], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_metric(metric, LOUD_SAMPLES, loudness, processes=1)


def told(metric: type[CountMetric], reference: Any = loudness) -> str:
    with pytest.raises(AssertionError) as caught:
        check_metric(metric, LOUD_SAMPLES, reference, processes=1)
    return str(caught.value)


def test_the_kit_passes_the_sound_metric_and_names_the_text_that_raises() -> None:
    check_metric(Loud, LOUD_SAMPLES, loudness, processes=1)
    said = told(Fussy)
    assert said.startswith("Fussy, odd texts: the answer ' ' raises UnicodeError: an odd text; ")
    assert "usual reason: a model may say anything" in said


class TwoFaults(MadeUpZero):
    summary: ClassVar[str] = ""


def test_the_kit_goes_on_after_a_failure() -> None:
    said = told(TwoFaults)
    assert said.startswith("2 checks failed:\nTwoFaults, declarations: `summary` is empty")
    assert "\nTwoFaults, empty: of no samples loudness is 1.0; expected nan for a ratio" in said
    assert said.count("usual reason: ") == 2


class Flat(Loud):
    """Forgets the axis of the counts."""

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        return super().rows(answers, targets)[:, 1]


class Nothing(Loud):
    """Forgets to return."""

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Any:
        super().rows(answers, targets)


class Empty(Loud):
    """Forgets that there may be no answer."""

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        return torch.tensor([[1, a.isupper()] for a in answers], dtype=torch.float64)


class Opens(Loud):
    def figures(self, counts: Tensor) -> Any:
        return {"loudness": float(counts[..., 1].sum() / counts[..., 0].sum())}


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (
            Flat,
            "Flat, rows: Flat.rows returned a tensor of shape (5,) for 5 answers, expected a "
            "tensor of shape (5, 2): a row for each answer, with a number for each of the counts "
            "['n', 'loud']",
        ),
        (Nothing, "Nothing.rows returned NoneType for 5 answers, expected a tensor of shape"),
        (Empty, "Empty, merging: Empty.rows returned a tensor of shape (0,) for 0 answers"),
        (Opens, "the figure loudness has shape float, expected (2, 5)"),
    ],
)
def test_the_kit_says_what_was_returned_and_what_was_expected(
    metric: type[CountMetric], words: str
) -> None:
    assert words in told(metric)


def test_the_kit_compares_with_the_reference() -> None:
    with pytest.raises(AssertionError, match=r"the reference says \{'loudness': 0.5\}"):
        check_metric(Loud, LOUD_SAMPLES, lambda a, t: {"loudness": 0.5}, processes=1)
    with pytest.raises(AssertionError, match="nothing is compared"):
        check_metric(Loud, LOUD_SAMPLES, lambda a, t: {}, processes=1)
    with pytest.raises(AssertionError, match=r"returns \['loud'\], which are no figures"):
        check_metric(Loud, LOUD_SAMPLES, lambda a, t: {"loud": 0.5}, processes=1)
    with pytest.raises(ValueError, match="at least four"):
        check_metric(Loud, LOUD_SAMPLES[:3], loudness)


def test_the_kit_finds_what_is_lost_between_processes() -> None:
    metric = TorchMetric(PopeMetric())
    metric._reductions["counts"] = dim_zero_max  # the largest count instead of the sum
    with pytest.raises(AssertionError, match=r"2 processes report \{'accuracy'.*'n': 4.0\}"):
        kit.hold_processes(metric, POPE_SAMPLES, 2)
