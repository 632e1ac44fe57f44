"""CIDEr-D, BLEU and ROUGE-L: against formulas written out here, and the package's own BLEU."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu

from lvlmsal.benchmarks.captions.metric import CaptionsMetric
from lvlmsal.benchmarks.captions.ngrams import bleu_counts, caption_tokens
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.registry import METRICS
from lvlmsal.testing.metric import check_metric

SAMPLES = [
    ("A dog runs on the beach.", ["a dog runs on a beach", "The dog, on the beach"]),
    ("Two cats sleep.", ["two cats sleep on a sofa", "Cats"]),
    ("", ["a red bus", "a bus in the street"]),
    ("the the the the the", ["the man isn't at home", "a man"]),
    ("Ein Hund läuft", ["a horse"]),
]


def grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def cider_d(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """The formula of the paper's section on CIDEr-D, with the count of n-grams clipped."""
    images = len(captions)

    def weigh(words: list[str], n: int) -> dict[tuple[str, ...], float]:
        found = grams(words, n)
        weights = {}
        for gram in set(found):
            seen = sum(
                any(gram in grams(reference.split(), n) for reference in others)
                for others in references
            )
            weights[gram] = found.count(gram) * (math.log(images) - math.log(max(1, seen)))
        return weights

    total = 0.0
    for caption, others in zip(captions, references, strict=True):
        for reference in others:
            said, wanted = caption.split(), reference.split()
            # the code takes the number of pairs for the length; without words there are none
            lengths = max(len(said) - 1, 0) - max(len(wanted) - 1, 0)
            for n in range(1, 5):
                mine, theirs = weigh(said, n), weigh(wanted, n)
                product = sum(min(mine[g], theirs.get(g, 0)) * theirs.get(g, 0) for g in mine)
                norms = math.dist([0] * len(mine), list(mine.values())) * math.dist(
                    [0] * len(theirs), list(theirs.values())
                )
                if norms:
                    total += product / norms * math.exp(-(lengths**2) / 72) / len(others) / 4
    return 10 * total / images


def longest_common(a: list[str], b: list[str]) -> int:
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return 1 + longest_common(a[:-1], b[:-1])
    return max(longest_common(a[:-1], b), longest_common(a, b[:-1]))


def rouge_l(caption: str, others: Sequence[str]) -> float:
    said, wanted = caption.split(), [other.split() for other in others]
    if not said:
        return 0.0
    common = [longest_common(said, other) for other in wanted]
    precision = max(c / len(said) for c in common)
    recall = max(c / len(other) for c, other in zip(common, wanted, strict=True))
    if not precision:
        return 0.0
    return 2.44 * precision * recall / (recall + 1.44 * precision)


def plain(text: str) -> str:
    kept = "".join(letter for letter in text.lower() if letter.isalnum() or letter in " '")
    return kept.replace("isn't", "is n't")


def reference(answers: Sequence[str], targets: Sequence[Sequence[str]]) -> dict[str, float]:
    said = [plain(answer) for answer in answers]
    others = [[plain(text) for text in target] for target in targets]
    rouges = [rouge_l(*pair) for pair in zip(said, others, strict=True)]
    return {
        "cider": cider_d(said, others) if len(said) > 1 else math.nan,
        "rouge_l": sum(rouges) / len(rouges),
        "length": sum(len(text.split()) for text in said) / len(said),
        "n": len(said),
    }


def test_conformance() -> None:
    check_metric(CaptionsMetric, SAMPLES, reference, processes=1)


WORDS = st.lists(st.sampled_from(["dog", "cat", "a", "runs"]), max_size=6).map(" ".join)
TARGETS = st.lists(WORDS.filter(bool), min_size=1, max_size=3)


@given(st.lists(st.tuples(WORDS, TARGETS), min_size=2, max_size=4))
def test_cider_is_the_formula(samples: list[tuple[str, list[str]]]) -> None:
    metric = CaptionsMetric()
    captions, references = [caption for caption, _ in samples], [others for _, others in samples]
    found = {name: v.item() for name, v in metric.score(captions, references).items()}
    expected = reference(captions, references)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(WORDS, TARGETS), min_size=1, max_size=4))
def test_bleu_is_that_of_the_package(samples: list[tuple[str, list[str]]]) -> None:
    metric = CaptionsMetric()
    found = metric.score([caption for caption, _ in samples], [others for _, others in samples])
    expected, _ = Bleu(4).compute_score(
        {place: others for place, (_, others) in enumerate(samples)},
        {place: [caption] for place, (caption, _) in enumerate(samples)},
        verbose=0,
    )
    for size, value in enumerate(expected, start=1):
        assert found[f"bleu_{size}"].item() == pytest.approx(value, rel=1e-9, abs=1e-30)


def test_bleu_counts_by_hand() -> None:
    # one 'the' of three is covered, no pair is; both references are two away, the shorter counts
    assert bleu_counts("the the the", ["the", "a b the c d"]) == [3, 1, 3, 1, 2, 0, 1, 0, 0, 0]
    assert bleu_counts("", ["a b"]) == [0, 2, 0, 0, 0, 0, 0, 0, 0, 0]


def test_one_image_is_undefined_and_perfect_captions_of_several_are_ten() -> None:
    metric = CaptionsMetric()
    found = metric.score(["a dog runs home"], [["a dog runs home"]])
    assert math.isnan(found["cider"])
    assert (found["bleu_4"].item(), found["rouge_l"]) == (pytest.approx(1), 1)
    captions = ["a dog runs home", "two cats sleep here"]
    found = metric.score(captions, [[caption] for caption in captions])
    assert found["cider"].item() == pytest.approx(10)
    # nothing tells images apart whose references are the same
    same = CaptionsMetric()
    assert same.score(["a dog runs home"] * 2, [["a dog runs home"]] * 2)["cider"] == 0


def test_references_without_words_are_no_reason_to_stop() -> None:
    metric = CaptionsMetric()
    assert metric.score(["a dog", "."], [["!"], ["?"]])["cider"] == 0


def test_plain_tokens() -> None:
    texts = [
        "A man's dog, isn't it?  Two red-haired dogs.",
        "Don\u2019t! 10,000 at 5:30; $5",
        "cats' toys/boxes",
        "",
        "Ünï 狗",
    ]
    assert caption_tokens(texts, "plain") == [
        "a man 's dog is n't it two red-haired dogs",
        "do n't 10,000 at 5:30 5",
        "cats toys boxes",
        "",
        "ünï 狗",
    ]
    assert caption_tokens([], "plain") == caption_tokens([], "ptb") == []


@pytest.mark.skipif(shutil.which("java") is None, reason="the program is written in Java")
def test_the_tokenizer_of_coco() -> None:
    texts = ["A man's dog, isn't it?", "a\u2028dog\r\nruns", "", "in the U.S. (now)", "\ud800 x"]
    found = caption_tokens(texts, "ptb")
    assert found[:4] == [
        "a man 's dog is n't it",
        "a dog runs",
        "",
        "in the u.s. -lrb- now -rrb-",
    ]
    assert found[0] == caption_tokens(texts[:1], "plain")[0]
    metric = CaptionsMetric(tokenizer="ptb")
    found = metric.score(["A dog in the U.S.", "A cat."], [["a dog in the u.s."], ["a cat"]])
    # neither says a 3-gram more than the other's reference has; the second has no longer ones
    assert found["cider"].item() == pytest.approx((10 + 5) / 2)
    assert "Penn Treebank" in metric.variant


def test_what_is_needed_and_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UnsupportedError, match="Java"):
        CaptionsMetric(tokenizer="ptb")
    assert "plain" not in CaptionsMetric().variant
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"pip install 'lvlmsal\[captions\]'"):
        CaptionsMetric()


def test_wrong_input_is_refused() -> None:
    metric = CaptionsMetric()
    for wrong in ("a dog", [], None):
        with pytest.raises(ValueError, match="list of at least one reference"):
            metric.score(["a dog"], [wrong])
    with pytest.raises(ConfigError, match="one of 'plain', 'ptb'"):
        METRICS.build("captions", tokenizer="java")
