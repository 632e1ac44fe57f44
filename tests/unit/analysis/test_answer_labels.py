"""Labels of a model's own answers: objects, AMBER's nouns, and the words yes and no."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from lvlmsal.analysis.answer_labels import AmberLabels, YesNoLabels, labels_of
from lvlmsal.analysis.labels import object_mentions
from lvlmsal.benchmarks.amber.metric import AmberGenerativeMetric
from lvlmsal.benchmarks.vizwiz.benchmark import Vizwiz
from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.text.vocabulary import Vocabulary


def answer(*tokens: str) -> SimpleNamespace:
    return SimpleNamespace(tokens=list(tokens), text="".join(tokens))


def test_nouns_of_amber(tmp_path: Path) -> None:
    relation = {"man": ["person"], "dog": [], "cat": [], "sky": []}
    (tmp_path / "relation.json").write_text(json.dumps(relation))
    (tmp_path / "safe.txt").write_text("sky\n")
    metric = AmberGenerativeMetric(
        str(tmp_path / "relation.json"), str(tmp_path / "safe.txt"), "words"
    )
    said = answer("A", " person", " and", " dogs", ",", " a", " cat", " and", " sky", " or", " car")
    found = AmberLabels(metric).mentions(said, {"truth": ["man", "cat"], "hallu": ["dog"]})
    # a person stands for the man, the sky is safe, and AMBER has no cars
    assert [(m.name, m.start, m.hallucinated) for m in found] == [
        ("person", 1, False),
        ("dog", 3, True),
        ("cat", 6, False),
        ("sky", 8, False),
    ]
    wrong = metric.rows([said.text], [{"truth": ["man", "cat"], "hallu": ["dog"]}])
    assert wrong[0, metric.count_names.index("hallucinated_mentions")] == 1


MME = {"task": "count", "image": "1.png", "question": 1, "label": "yes"}


@pytest.mark.parametrize("target", ["yes", MME, {"dimension": "state", "label": "yes"}])
def test_the_word_that_answers(target: object) -> None:
    labels = YesNoLabels()
    (right,) = labels.mentions(answer("Yes", ",", " there", " is", " no", " doubt"), target)
    assert (right.name, right.start, right.stop, right.hallucinated) == ("yes", 0, 1, False)
    (wrong,) = labels.mentions(answer(" no", "."), target)
    assert (wrong.name, wrong.hallucinated) == ("no", True)
    assert labels.mentions(answer("I", " know", "."), target) == []


def test_the_truth_of_statements_holds_more_than_objects() -> None:
    said = answer("A", " dog", " and", " a", " cat")
    target = {"objects": ["dog"], "colors": {"dog": "red"}}
    found = object_mentions(said, target, Vocabulary.coco())
    assert [(m.name, m.hallucinated) for m in found] == [("dog", False), ("cat", True)]


def test_what_says_nothing_of_words(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no objects to look for"):
        labels_of(Vizwiz(root=str(tmp_path)))
