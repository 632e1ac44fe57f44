"""``lvlmsal detect log``: answers that other tools have logged are judged here."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import lvlmsal
from lvlmsal.cli import main
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.registry import BENCHMARKS

pytestmark = pytest.mark.slow

SAID = "There is a red star and a blue moon."


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("w") / "world", images=1, seed=2, shifted=False)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_answers_are_judged_with_the_images_that_a_log_names(world: Path, tmp_path: Path) -> None:
    image = next((world / "images").iterdir())
    prompt = "Please describe this image in detail."
    log = tmp_path / "a_samples_x.jsonl"
    entry = {"doc_id": 3, "filtered_resps": SAID, "input": prompt, "input_media": [image.name]}
    silent = {**entry, "doc_id": 4, "filtered_resps": ""}
    log.write_text(json.dumps(entry) + "\n" + json.dumps(silent) + "\n")
    out = tmp_path / "risks.jsonl"
    command = ["detect", "log", str(log), "--images", str(image.parent), "--saliency"]
    assert main([*command, "-o", str(out)]) == 0
    lvlm = lvlmsal.load("pocket-llava")
    found = lvlm.detect(image, prompt, SAID).to_dict()
    saliency = lvlm.diagnose(image, prompt, SAID).saliency
    assert rows(out) == [
        {"place": 3, **json.loads(json.dumps(found)), "saliency": pytest.approx(saliency)},
        {"place": 4},
    ]
    assert found["words"]
    assert main([*command, "-o", str(out)]) == 2  # is there already


def test_images_may_be_in_the_log_or_come_from_a_benchmark(world: Path, tmp_path: Path) -> None:
    sample = BENCHMARKS.build("chair", root=str(world)).samples()[0]
    (image,) = sample.images
    stored = "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()
    entry = {"doc_id": 0, "filtered_resps": SAID, "input": sample.prompt}
    written = []
    for name, more, arguments in (
        ("inside", {"input_media": [stored]}, []),
        ("joined", {}, ["--benchmark", "chair", "--root", str(world)]),
    ):
        log, out = tmp_path / f"{name}.jsonl", tmp_path / f"{name}.out.jsonl"
        log.write_text(json.dumps({**entry, **more}) + "\n")
        assert main(["detect", "log", str(log), "-o", str(out), *arguments]) == 0
        written.append(rows(out)[0])
    assert written[0].pop("place") == 0
    assert written[1].pop("sample_id") == sample.id
    assert written[0] == written[1]


def test_of_yes_no_questions_yes_and_no_are_judged(world: Path, tmp_path: Path) -> None:
    sample = BENCHMARKS.build("pope", root=str(world), split="random").samples()[0]
    log, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    said = "Yes. There is a star."
    log.write_text(json.dumps({"doc_id": 0, "filtered_resps": said, "input": sample.prompt}) + "\n")
    asked = ["--benchmark", "pope", "--root", str(world), "split=random"]
    assert main(["detect", "log", str(log), "-o", str(out), *asked]) == 0
    ((word, *others),) = [one["words"] for one in rows(out)]
    assert (word["name"], others) == ("yes", [])
    assert 0 <= word["risk"] <= 1


def test_a_log_without_images_needs_a_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "a.jsonl"
    log.write_text(json.dumps({"doc_id": 0, "filtered_resps": SAID, "input": "Why?"}) + "\n")
    assert main(["detect", "log", str(log), "-o", str(tmp_path / "b.jsonl")]) == 2
    assert "give the benchmark that was asked" in capsys.readouterr().err
    wrong = ["--benchmark", "pope", "--detector", "no-such-one", "-o", str(log)]
    assert main(["detect", "log", str(log), *wrong]) == 2
    told = capsys.readouterr().err
    for words in ("go together", "unknown detector 'no-such-one'", "is there already"):
        assert words in told
