"""`lvlmsal detect` and `lvlmsal fit` on a shipped model."""

from __future__ import annotations

import csv
import importlib.resources
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lvlmsal import load
from lvlmsal.detection.scaling_files import read_scalings, shipped_scalings
from lvlmsal.pocket import POCKET
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.registry import DETECTORS
from tests.unit.statistics.by_hand import auroc

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]
PROMPT = "Please describe this image in detail."


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(
        tmp_path_factory.mktemp("detect") / "world", images=16, seed=5, shifted=False
    )


@pytest.fixture
def image(world: Path) -> Path:
    return sorted((world / "images").glob("*.png"))[0]


SHIPPED = Path(str(importlib.resources.files("lvlmsal.detection"))) / "scalings"
SCALED = sorted(path.stem for path in SHIPPED.glob("*.json"))


def test_scalings_are_those_of_shipped_models() -> None:
    assert {"pocket-llava", "pocket-qwen2vl"} <= set(SCALED) <= set(POCKET)


@pytest.mark.parametrize("name", SCALED)
def test_shipped_models_have_their_scalings(name: str) -> None:
    lvlm = load(name)
    found = shipped_scalings(lvlm.adapter)
    assert found is not None
    assert found.name == name
    for detector in DETECTORS:
        if not (DETECTORS.get(detector).supervised or DETECTORS.get(detector).asks_more):
            assert found.of(DETECTORS.build(detector)) is not None, detector
    judge = lvlm.build_judge("default")
    assert judge.detector.name == "habit-lens"
    assert not judge.note


def test_words_are_colored_written_and_printed(run: Run, image: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, out, err = run("detect", image, PROMPT, "--share", "0.1", "--html", page)
    assert code == 0, err
    assert "risk by habit-lens, the share of the model's own mentions" in out
    assert "judged words, from 0.9 on" in out
    assert "lvlmsal-judged" in page.read_text()
    code, out, err = run("detect", image, PROMPT, "--json", "--detector", "entropy")
    assert code == 0, err
    found = json.loads(out)
    assert found["detector"] == {"name": "entropy"}
    assert found["words"]
    for word in found["words"]:
        assert found["text"][word["start"] : word["end"]] == word["text"]
        assert 0 <= word["risk"] < 1


def test_a_given_answer_is_judged(run: Run, image: Path) -> None:
    code, out, err = run("detect", image, PROMPT, "--answer", "There is a star.", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["own"], [word["text"] for word in found["words"]]) == (False, ["star"])


def test_wrong_words_are_errors(run: Run, image: Path, tmp_path: Path) -> None:
    code, _, err = run(
        *("detect", image, PROMPT, "--threshold", "2", "--share", "0.1"),
        *("--detector", "entropie", "--html", tmp_path / "absent" / "page.html"),
    )
    assert code == 2
    for part in ("from 0 to 1", "give one of them", "Did you mean 'entropy'", "no folder"):
        assert part in err
    code, _, err = run("detect", tmp_path / "absent.png", PROMPT)
    assert code == 2
    assert "absent.png" in err


def test_detectors_are_compared(run: Run, tmp_path: Path) -> None:
    config = {
        "output": str(tmp_path / "run"),
        "world": {"root": str(tmp_path / "world"), "images": 8, "seed": 5, "shifted": True},
        "models": ["pocket-llava"],
        "methods": ["greedy"],
        "benchmarks": [{"name": "chair", "max_new_tokens": 96}],
        "bootstrap": {"samples": 100},
        "batch_size": 8,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    code, out, err = run("detect", "compare", path)
    assert code == 0, err
    for word in ("early-lens", "repetition", "log-probability", "+ 1 backward", "base rate"):
        assert word in out
    folder = tmp_path / "run" / "analysis" / "detectors"
    with (folder / "mentions.csv").open(newline="") as file:
        mentions = list(csv.DictReader(file))
    # the mentions are those that CHAIR counts
    cells = json.loads((tmp_path / "run" / "results.json").read_text())["cells"]
    figures = {name: figure["value"] for name, figure in cells[0]["figures"].items()}
    assert len(mentions) == figures["n_mentions"]
    assert sum(row["wrong"] == "1" for row in mentions) == figures["n_hallucinated"]
    (summary,) = json.loads((folder / "summary.json").read_text())
    first = [row for row in mentions if row["earlier"] == "0"]
    assert summary["mentions"] == len(first)
    # and the AUROC is that of the scores that are written
    kinds = [[float(row["entropy"]) for row in first if row["wrong"] == k] for k in ("1", "0")]
    (entropy,) = [one for one in summary["detectors"] if one["detector"] == "entropy"]
    assert entropy["auroc"]["value"] == pytest.approx(auroc(*kinds), abs=1e-6)
    # what was found is kept, and scored once more without a model; habits are those of the world
    assert len((folder / "passes.jsonl").read_text().splitlines()) == 8
    before = (folder / "summary.json").read_text()
    code, out, err = run("detect", "score", folder)
    assert code == 0, err
    assert "habits suggest" in " ".join(out.split())
    assert (folder / "summary.json").read_text() == before
    assert {row["expected"] for row in mentions} <= {"0", "1"}
    code, _, err = run("detect", "compare", path, "--detector", "entropie")
    assert code == 2
    assert "Did you mean 'entropy'" in err


def test_detectors_that_ask_are_compared_where_they_are_wanted(run: Run, tmp_path: Path) -> None:
    config = {
        "output": str(tmp_path / "run"),
        "world": {"root": str(tmp_path / "world"), "images": 3, "seed": 5, "shifted": True},
        "models": ["pocket-llava"],
        "methods": ["greedy"],
        "benchmarks": [
            {"name": "chair", "max_new_tokens": 48},
            {"name": "pope", "split": "random"},
        ],
        "bootstrap": {"samples": 100},
        "batch_size": 8,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    asking = ["self-question", "sampled-consistency", "semantic-entropy"]
    named = [word for name in ("entropy", *asking) for word in ("--detector", name)]
    code, out, err = run("detect", "compare", path, *named)
    assert code == 0, err
    assert "+ 1 short pass an object" in " ".join(out.split())
    folder = tmp_path / "run" / "analysis" / "detectors"
    with (folder / "mentions.csv").open(newline="") as file:
        mentions = list(csv.DictReader(file))
    assert {row["benchmark"] for row in mentions} == {"chair", "pope/random"}
    for row in mentions:
        # a yes is no object
        assert (row["self-question"] == "") == (row["benchmark"] == "pope/random")
        share = float(row["sampled-consistency"]) * 20
        assert share == pytest.approx(round(share), abs=1e-6)
        assert 0 <= float(row["semantic-entropy"]) <= 1
    by_answer: dict[tuple[str, str], set[str]] = {}
    for row in mentions:
        by_answer.setdefault((row["benchmark"], row["sample"]), set()).add(row["semantic-entropy"])
    assert {len(found) for found in by_answer.values()} == {1}
    before = (folder / "summary.json").read_text()
    code, _, err = run("detect", "score", folder)
    assert code == 0, err
    assert (folder / "summary.json").read_text() == before


def test_scalings_are_made_from_answers(run: Run, world: Path, tmp_path: Path) -> None:
    config = {
        "output": str(tmp_path / "run"),
        "data": {"root": str(world)},
        "models": ["pocket-llava"],
        "methods": ["greedy"],
        "benchmarks": [{"name": "chair", "max_new_tokens": 96}],
        "batch_size": 16,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    code, out, err = run("fit", path, "-o", tmp_path / "made")
    assert code == 0, err
    assert "pocket-llava.json" in out
    made = read_scalings(tmp_path / "made" / "pocket-llava.json")
    every = {name: DETECTORS.get(name) for name in DETECTORS}
    unlabeled = {name for name, one in every.items() if not (one.supervised or one.asks_more)}
    assert {entry.detector for entry in made.entries} == unlabeled
    assert made.words is not None
    assert "stars" in made.words["star"]
    assert made.entries[0].answers == 16
    code, _, err = run("fit", path, "--detector", "entropie")
    assert code == 2
    assert "Did you mean 'entropy'" in err
    code, _, err = run("fit", path, "--detector", "self-question")
    assert code != 0
    assert "self-question asks the model more" in " ".join(err.split())
    code, _, err = run("fit", path, "methods=[greedy, sample]", f"output={tmp_path / 'two'}")
    assert code == 2
    assert "one method without interventions" in err


def test_files_of_labels_are_compared_and_fitted(run: Run, world: Path, tmp_path: Path) -> None:
    response = "A red star. A blue moon."
    spans = [(0, 11, "ACCURATE"), (12, 24, "INACCURATE")]
    entries = [
        {"start": start, "end": end, "text": response[start:end], "label": label}
        for start, end, label in spans
    ]
    path = tmp_path / "val_raw.json"
    images = sorted(image.name for image in (world / "images").glob("*.png"))[:8]
    path.write_text(
        json.dumps(
            [
                {
                    "question": "<image> ?",
                    "response": response,
                    "image": image,
                    "annotations": entries,
                }
                for image in images
            ]
        )
    )
    given = ("--format", "m-haldetect", "--images", world / "images", "--model", "pocket-llava")
    names = ("--detector", "entropy", "--detector", "ensemble")
    code, out, err = run("detect", "compare", path, *given, *names)
    assert code == 0, err
    assert "given answers" in out
    assert (tmp_path / "val_raw.detectors" / "mentions.csv").is_file()
    code, out, err = run("fit", path, *given, "--detector", "ensemble", "-o", tmp_path / "fits")
    assert code == 0, err
    (entry,) = read_scalings(tmp_path / "fits" / "pocket-llava.json").entries
    assert (entry.detector, entry.mentions, entry.answers) == ("ensemble", 16, 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compare", "x.json", "--format", "haloc", "--model", "m"), "Did you mean 'halloc'"),
        (("compare", "labels.jsonl"), "which model reads the answers: --model NAME"),
        (("compare", "demo", "--model", "m"), "go with a file of labels"),
        (("compare", "x.jsonl", "--model", "m", "--ask"), "--ask goes with a config"),
        (("score", "absent"), "lvlmsal detect compare CONFIG"),
    ],
)
def test_misstated_comparisons(run: Run, words: tuple[str, ...], message: str) -> None:
    code, _, err = run("detect", *words)
    assert code != 0
    assert message in " ".join(err.split())
