"""AMBER's files, the benchmark over them, and response files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.amber.benchmark import Amber
from lvlmsal.benchmarks.amber.files import read_amber_annotations
from lvlmsal.errors import DataError, LvlmsalError
from lvlmsal.registry import BENCHMARKS, SCORERS

ANNOTATIONS: list[dict[str, Any]] = [
    {"id": 1, "type": "generative", "truth": ["dog", "tree"], "hallu": ["cat"]},
    {"id": 2, "type": "generative", "truth": ["cat"], "hallu": ["dog", "tree"]},
    {"id": 3, "type": "discriminative-attribute-state", "truth": "yes"},
    {"id": 4, "type": "discriminative-attribute-number", "truth": "no"},
    {"id": 5, "type": "discriminative-attribute-action", "truth": "no"},
    {"id": 6, "type": "discriminative-hallucination", "truth": "no"},
    {"id": 7, "type": "discriminative-relation", "truth": "yes"},
    {"id": 8, "type": "relation", "truth": "no"},
]
RELATION: dict[str, list[str]] = {"dog": ["puppy"], "cat": [], "tree": ["forest"], "light": []}
RESPONSES = {
    1: "A puppy under trees. Cats in the light.",  # the safe word counts as a mention
    2: "Two cats.",
    3: "Yes",
    4: "No",
    5: "no",
    6: "Yes",
    7: "No",
    8: "No",
}


def query(number: int) -> dict[str, Any]:
    text = "Describe this image." if number < 3 else f"Is it {number}?"
    return {"id": number, "image": f"AMBER_{number % 2 + 1}.jpg", "query": text}


PARTS = {
    "all": range(1, 9),
    "generative": (1, 2),
    "discriminative": range(3, 9),
    "discriminative-existence": (6,),
    "discriminative-attribute": (3, 4, 5),
    "discriminative-relation": (7, 8),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "query").mkdir()
    (tmp_path / "image").mkdir()
    for name, ids in PARTS.items():
        text = json.dumps([query(number) for number in ids], indent=1)
        (tmp_path / f"query/query_{name}.json").write_text(text)
    for number in (1, 2):
        (tmp_path / f"image/AMBER_{number}.jpg").write_bytes(b"")
    (tmp_path / "annotations.json").write_text(json.dumps(ANNOTATIONS, indent=1))
    (tmp_path / "relation.json").write_text(json.dumps(RELATION))
    (tmp_path / "safe_words.txt").write_text("light\norange\n")
    return tmp_path


@pytest.mark.parametrize("part", [name for name in PARTS if name != "all"])
def test_parts_are_read(root: Path, part: Any) -> None:
    amber = Amber(root=str(root), part=part, variant="words", prompt="{question} Please.")
    assert amber.problems() == []
    assert [int(s.id) for s in amber.samples()] == list(PARTS[part])
    assert amber.label == f"amber/{part}"
    assert amber.label in amber.expected
    sample = amber.samples()[0]
    assert sample.prompt == query(int(sample.id))["query"] + " Please."
    assert sample.images == (root / "image" / query(int(sample.id))["image"],)
    assert sample.group == query(int(sample.id))["image"]
    metric = amber.metric()
    answers = [RESPONSES[int(s.id)] for s in amber.samples()]
    figures = metric.score(answers, [s.target for s in amber.samples()])
    assert figures["n_responses" if part == "generative" else "n"] == len(PARTS[part])
    assert all(path.is_file() for path in amber.data_files())


def test_the_repository_with_its_data_folder(root: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    for path in list(root.iterdir()):
        if path != outer:
            path.rename(outer / path.name)
    outer.rename(tmp_path / "data")
    assert Amber(root=str(tmp_path), part="discriminative").problems() == []


def test_what_is_missing_for_the_official_nouns_is_said_before_answering(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvlmsal.benchmarks.amber.nouns.missing_official", lambda: ["spacy"])
    (problem,) = Amber(root=str(root)).problems()
    assert "needs spacy" in problem
    assert "variant: words" in problem
    assert Amber(root=str(root), part="discriminative").problems() == []


def test_problems_of_files(root: Path) -> None:
    def problems(part: Any = "discriminative") -> list[str]:
        return Amber(root=str(root), part=part, variant="words").problems()

    path = root / "query/query_discriminative.json"
    path.write_text("\n".join(json.dumps(query(n)) for n in (3, 99, 1)))
    assert [p.partition(": ")[2] for p in problems()] == [
        "there is no annotation with the id 99",
        "the annotation with the id 1 is of 'generative', which does not belong to the part "
        "'discriminative'",
    ]
    path.write_text("\n".join(json.dumps(query(n)) for n in (3, 3)))
    assert problems() == [f"{path}:2: the id 3 was already used in line 1"]
    path.write_text(json.dumps({**query(3), "image": "../x.jpg"}))
    (problem,) = problems()
    assert "'..'" in problem
    path.unlink()
    assert problems() == [f"{path}: there is no such file"]
    (root / "relation.json").write_text('{"dog": [], "cat": []}')
    assert [p.partition(": ")[2] for p in problems("generative")] == [
        "not in relation.json: tree",
        "not in relation.json: tree",
    ]
    (problem,) = BENCHMARKS.problems("amber", {"root": str(root), "part": "existence"})
    assert "discriminative-existence" in problem
    (problem,) = BENCHMARKS.problems("amber", {"root": str(root), "prompt": "Describe."})
    assert "{question}" in problem


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"id": 9, "type": "existence", "truth": "no"}, r":2: unknown type 'existence'"),
        ({"id": 9, "type": "relation", "truth": "No"}, r":2: 'truth' must be 'yes' or 'no'"),
        ({"id": 9, "type": "generative", "truth": "dog"}, r":2: 'truth' must be a list of strings"),
        ({"id": 9, "type": "generative", "truth": []}, r":2: 'hallu' must be a list of strings"),
        ({"id": "a", "type": "relation", "truth": "no"}, r":2: 'id' must be a whole number"),
        ({"id": 1, "type": "relation", "truth": "no"}, r":2: the id 1 was already used in line 1"),
    ],
)
def test_broken_annotations(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    path = tmp_path / "annotations.json"
    path.write_text("\n".join(json.dumps(e) for e in (ANNOTATIONS[0], entry)))
    with pytest.raises(DataError, match=message):
        read_amber_annotations(path)


# ---- responses


def score(root: Path, responses: dict[int, str], **options: Any) -> dict[str, Any]:
    path = root / "responses.json"
    path.write_text(json.dumps([{"id": n, "response": r} for n, r in responses.items()], indent=1))
    options = {"annotations": root / "annotations.json", "variant": "words", **options}
    return SCORERS.build("amber", responses=path, **options).score()


def test_both_parts_counted_by_hand(root: Path) -> None:
    found = score(root, RESPONSES)
    # mentions: puppy, tree, cat, light; cat: the cat of the first image is not there
    assert (found["n_mentions"], found["n_hallucinated"], found["n_responses"]) == (5, 1, 2)
    assert (found["chair"], found["cover"], found["hal"]) == (1 / 5, 3 / 3, 1 / 2)
    assert found["cog"] == 1 / 3
    assert found["official/chair"] == 20.0
    assert found["official/hal"] == 50.0
    # right: 3, 4, 8; "no" is neither; no said to 4, 7, 8 and right for 4, 5, 6, 8
    assert found["accuracy"] == 3 / 6
    assert (found["precision"], found["recall"]) == (2 / 3, 2 / 4)
    assert found["f1"] == pytest.approx(4 / 7)
    assert (found["unparsed"], found["n"]) == (1, 6)
    assert found["amber_score"] == pytest.approx((1 - 1 / 5 + 4 / 7) / 2)
    printed = found["official/f1"]
    assert printed == 57.1
    assert found["official/amber_score"] == pytest.approx((100 - 20.0 + 57.1) / 2)
    assert found["categories"]["attribute"]["accuracy"] == 2 / 3
    assert found["categories"]["existence"]["official/f1"] == 0
    assert found["categories"]["existence"]["precision"] is None
    assert found["warnings"] == []
    assert found["variant"] == "words"
    assert {"chair", "accuracy"} <= found["intervals"].keys()
    json.dumps(found, allow_nan=False)


def test_answers_under_another_rule(root: Path) -> None:
    found = score(root, RESPONSES, parser="strict")
    assert (found["accuracy"], found["unparsed"]) == (4 / 6, 0)
    found = score(root, RESPONSES, parsers="strict,official")
    assert found["accuracy"] == found["parsers"]["official"]["accuracy"] == 3 / 6
    assert found["parsers"]["strict"]["accuracy"] == 4 / 6
    with pytest.raises(LvlmsalError, match="unknown parser of AMBER 'strickt'"):
        score(root, RESPONSES, parsers="strickt")


def test_one_part_needs_nothing_of_the_other(root: Path) -> None:
    (root / "relation.json").unlink()
    answers = {n: r for n, r in RESPONSES.items() if n in (6, 7, 8)}
    found = score(root, answers, variant="official")
    assert found["n"] == 3
    assert "chair" not in found
    assert "amber_score" not in found
    assert list(found["categories"]) == ["existence", "relation"]
    assert found["warnings"] == [
        "there are no responses to the generative queries",
        "there are no responses to the attribute queries",
    ]
    found = score(root, {6: "No"}, queries=root / "query/query_discriminative-existence.json")
    assert found["f1"] == 1


@pytest.mark.parametrize("part", [(1, 2), (3, 4, 5, 6, 7, 8), (1, 2, 6)])
def test_annotations_of_some_kinds_only(root: Path, part: tuple[int, ...]) -> None:
    path = root / "annotations.json"
    path.write_text(json.dumps([a for a in json.loads(path.read_text()) if a["id"] in part]))
    found = score(root, {n: r for n, r in RESPONSES.items() if n in part})
    assert "amber_score" not in found
    assert any("there are no responses to the" in warning for warning in found["warnings"])


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"a": ' + "9" * 5000 + "}", "[]"])
def test_a_relation_file_that_is_broken(root: Path, text: str) -> None:
    (root / "relation.json").write_text(text)
    with pytest.raises(DataError, match=r"relation\.json"):
        score(root, {1: "x", 2: "y"})


def test_answers_without_queries_have_no_intervals(root: Path) -> None:
    (root / "query/query_all.json").unlink()
    found = score(root, RESPONSES)
    assert "accuracy" not in found["intervals"]
    assert "chair" in found["intervals"]
    (warning,) = found["warnings"]
    assert "--queries" in warning
    assert "amber_score" in found


def test_responses_that_do_not_fit(root: Path) -> None:
    with pytest.raises(DataError, match=r"2 of 3 attribute queries .* id 4, 5\. .*--partial"):
        score(root, {3: "Yes"})
    found = score(root, {3: "Yes", 4: "No"}, partial=True)
    assert found["accuracy"] == 1
    assert "1 of 3 attribute queries have no response: id 5" in found["warnings"]
    with pytest.raises(DataError, match=r"responses\.json:2: there is no annotation with the id 0"):
        score(root, {0: "No"})
    path = root / "responses.json"
    for text, message in [
        ('{"id": 6, "response": "No"}\n{"id": "6", "response": "No"}', ":2: a second response"),
        ('{"id": 6, "response": null}', "'response' must be a string"),
        ('{"id": 6}', "the key 'response' is missing"),
        ("[]", "the file is empty"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            SCORERS.build("amber", responses=path, annotations=root / "annotations.json").score()
    with pytest.raises(LvlmsalError, match="unknown parser of AMBER"):
        score(root, RESPONSES, parser="exact")


def test_descriptions_with_words_that_the_relation_lacks(root: Path) -> None:
    (root / "relation.json").write_text('{"dog": [], "cat": []}')
    with pytest.raises(DataError, match=r"annotations\.json:2: not in .*relation\.json: tree"):
        score(root, {1: "x", 2: "y"})


def test_the_official_nouns_are_never_replaced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvlmsal.benchmarks.amber.nouns.missing_official", lambda: ["spacy"])
    with pytest.raises(LvlmsalError, match="pip install nltk spacy"):
        score(root, RESPONSES, variant="official")
