"""CHAIR's figures, against figures worked out on paper and against a plain re-implementation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.benchmarks.chair.counts import chair_score, ground_truth_objects
from lvlmsal.benchmarks.chair.metric import ChairMetric
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.registry import METRICS, options_of

pytestmark = pytest.mark.slow

COCO = Vocabulary.coco()

CAPTIONS = [
    "A man walks two dogs. The dogs pull.",  # person, dog, dog
    "A cat on a couch, a cat on a chair.",  # cat, couch, cat, chair
    "Nothing to be seen.",
    "A dog.",
]
TRUTHS = [{"person", "dog", "car"}, {"cat", "couch"}, {"bus"}, set()]


def test_figures_worked_out_on_paper() -> None:
    found = {name: value.item() for name, value in chair_score(CAPTIONS, TRUTHS, COCO).items()}
    assert found == pytest.approx(
        {
            "chair_s": 2 / 4,  # second (chair) and fourth (dog, nothing is there)
            "chair_i": 2 / 8,
            "recall": 4 / 6,  # person, dog of three; cat, couch of two; of one bus none
            "precision": 4 / 6,  # person, dog; cat, couch, chair; dog
            "f1": 2 / 3,
            "length": (10 + 12 + 5 + 3) / 4,
            "n_captions": 4,
            "n_mentions": 8,
            "n_hallucinated": 2,
            "covered": 4,
            "gt_objects": 6,
            "captions_without_objects": 1,
        }
    )


def test_a_hallucination_counts_as_often_as_it_is_mentioned() -> None:
    once, thrice = ["A dog, a cat."], ["A dog, a cat. The cat sleeps. It is a fat cat."]
    assert chair_score(once, [{"dog"}], COCO)["chair_i"].item() == 1 / 2
    assert chair_score(thrice, [{"dog"}], COCO)["chair_i"].item() == 3 / 4
    assert chair_score(thrice, [{"dog", "cat"}], COCO)["recall"].item() == 1


FORMS = {
    **dict.fromkeys(["dog", "dogs", "puppy", "puppies"], "dog"),
    **dict.fromkeys(["cat", "cats"], "cat"),
    **dict.fromkeys(["car", "cars", "taxi", "taxis"], "car"),
    **dict.fromkeys(["man", "men", "women"], "person"),
    **dict.fromkeys(["hot dog", "hot dogs"], "hot dog"),
}
FILLERS = ["the", "a", "red", "hot", "runs", "catalog", "doggerel"]


def brute_force(captions: Sequence[str], truths: Sequence[set[str]]) -> dict[str, float]:
    """CHAIR by counting, over captions of blank-separated words of FORMS and FILLERS."""
    wrong_captions = mentions = wrong = covered = there = tokens = empty = different = 0
    for caption, truth in zip(captions, truths, strict=True):
        words = caption.split()
        named = []
        while words:
            word = words.pop(0)
            if word == "hot" and words and words[0] in ("dog", "dogs"):
                word = f"hot {words.pop(0)}"
            tokens += 1
            if word in FORMS:
                named.append(FORMS[word])
        bad = [name for name in named if name not in truth]
        wrong_captions += bool(bad)
        mentions += len(named)
        wrong += len(bad)
        covered += len(set(named) & truth)
        there += len(truth)
        different += len(set(named))
        empty += not named
    n = len(captions)
    return {
        "chair_s": wrong_captions / n if n else math.nan,
        "chair_i": wrong / mentions if mentions else math.nan,
        "recall": covered / there if there else math.nan,
        "precision": covered / different if different else math.nan,
        "f1": covered / ((different + there) / 2) if different + there else math.nan,
        "length": tokens / n if n else math.nan,
        "n_captions": n,
        "n_mentions": mentions,
        "n_hallucinated": wrong,
        "covered": covered,
        "gt_objects": there,
        "captions_without_objects": empty,
    }


WORDS = [word for word in FORMS if " " not in word] + FILLERS
SAMPLES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join),
        st.sets(st.sampled_from(sorted(set(FORMS.values())))),
    ),
    max_size=6,
)


@given(SAMPLES)
def test_own_list_agrees_with_counting(samples: list[tuple[str, set[str]]]) -> None:
    captions, truths = [c for c, _ in samples], [t for _, t in samples]
    found = {name: value.item() for name, value in chair_score(captions, truths, COCO).items()}
    assert found == pytest.approx(brute_force(captions, truths), nan_ok=True)


@pytest.fixture(scope="module")
def synonyms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "synonyms.txt"
    path.write_text("dog, puppy\ncat\ncar, taxi\nperson, man, woman\nhot dog\n")
    return path


@pytest.fixture(scope="module")
def original(synonyms: Path) -> Vocabulary:
    return Vocabulary.read(synonyms)


@given(samples=SAMPLES)
def test_original_rule_agrees_with_counting(
    samples: list[tuple[str, set[str]]], original: Vocabulary
) -> None:
    captions, truths = [c for c, _ in samples], [t for _, t in samples]
    found = {name: value.item() for name, value in chair_score(captions, truths, original).items()}
    assert found == pytest.approx(brute_force(captions, truths), nan_ok=True)


def test_the_class_reads_the_file_as_the_original_and_says_so(synonyms: Path) -> None:
    metric = ChairMetric(vocabulary=str(synonyms))
    assert metric.score(["Two hot dogs and puppies."], [{"dog"}])["chair_i"] == 1 / 2
    assert metric.variant.startswith("synonyms.txt (sha256 ")
    assert "as the original script does, with inflect " in metric.variant


def test_ground_truth_is_what_is_annotated_and_what_people_mention() -> None:
    truth = ground_truth_objects({"dog"}, ["Two men.", "A dog on a sofa"], COCO)
    assert truth == {"dog", "person", "couch"}
    assert ground_truth_objects([], [], COCO) == frozenset()


def test_annotated_names_are_those_of_the_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("television, tv, tv set\nSofa, couch\n")
    for words in (Vocabulary.read(path), Vocabulary.read(path, "none")):
        truth = ground_truth_objects(["tv", "couch", "drone"], [], words)
        assert truth == {"television", "Sofa", "drone"}
        figures = chair_score(["A tv and a couch."], [truth], words)
        assert (figures["chair_i"], figures["recall"]) == (0, 2 / 3)


def test_degenerate_input_gives_nan_not_an_error_or_a_made_up_zero() -> None:
    silent = chair_score(["Nothing.", ""], [{"dog"}, set()], COCO)
    assert math.isnan(silent["chair_i"])
    assert silent["chair_s"] == 0
    assert silent["recall"] == 0
    nothing_there = chair_score(["A dog."], [set()], COCO)
    assert math.isnan(nothing_there["recall"])
    assert nothing_there["chair_i"] == 1


def test_wrong_input_is_refused() -> None:
    metric = ChairMetric()
    with pytest.raises(TypeError, match="got one text: 'dog'"):
        metric.score(["A dog."], ["dog"])
    with pytest.raises(ValueError, match="1 answers for 2"):
        metric.score(["A dog."], [{"dog"}, {"dog"}])


def test_options(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_text("star, stars\n")
    metric = METRICS.build("chair", vocabulary=str(path), singularizer="none")
    assert isinstance(metric, ChairMetric)
    assert metric.words.objects("two stars") == [("star", "stars")]
    assert options_of(metric) == {"vocabulary": str(path), "singularizer": "none"}
    assert METRICS.problems("chair", {"vocabulary": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match="Did you mean 'vocabulary'"):
        METRICS.build("chair", vocabular="coco")
    with pytest.raises(ConfigError, match="one of 'auto', 'original', 'wordnet', 'none'"):
        METRICS.build("chair", singularizer="stem")
    for rule in ("original", "wordnet"):
        with pytest.raises(ConfigError, match="takes no singularizer"):
            METRICS.build("chair", singularizer=rule)
    with pytest.raises(DataError, match="no such file"):
        ChairMetric(vocabulary=str(tmp_path / "none.txt"))
