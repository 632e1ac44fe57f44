"""Reference captions of COCO: the benchmark, the scorer, and files that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.captions.benchmark import Captions
from lvlmsal.errors import DataError
from lvlmsal.registry import SCORERS

REFERENCES = {
    3: ["A dog runs home.", "the dog"],
    1: ["Two cats sleep here."],
    2: ["A red bus in the rain."],
}
PERFECT = [{"image_id": image, "caption": texts[0]} for image, texts in REFERENCES.items()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2014").mkdir()
    write(tmp_path, [{"id": image, "file_name": f"{image:03}.jpg"} for image in REFERENCES])
    for image in REFERENCES:
        (tmp_path / "val2014" / f"{image:03}.jpg").write_bytes(b"")
    return tmp_path


def write(root: Path, images: list[dict[str, Any]]) -> None:
    annotations = [
        {"id": number, "image_id": image, "caption": text}
        for number, (image, text) in enumerate(
            (image, text) for image, texts in REFERENCES.items() for text in texts
        )
    ]
    content = {"images": images, "annotations": annotations}
    (root / "annotations/captions_val2014.json").write_text(json.dumps(content))


def test_the_benchmark_reads_the_official_layout(root: Path) -> None:
    captions = Captions(root=str(root))
    assert captions.problems() == []
    assert [(s.id, s.target) for s in captions.samples()] == [
        (str(image), REFERENCES[image]) for image in (1, 2, 3)
    ]
    assert captions.samples()[0].images == (root / "val2014/001.jpg",)
    metric = captions.metric()
    targets = [s.target for s in captions.samples()]
    assert 0 < metric.score(["two cats sleep here"] * 3, targets)["cider"] < 10


def test_a_subset_by_names_of_files(root: Path) -> None:
    (root / "karpathy.txt").write_text("003.jpg\n002.jpg\n")
    assert {s.id for s in Captions(root=str(root), subset="karpathy.txt").samples()} == {"2", "3"}


def test_images_without_a_file_name_and_outside_names_are_named(root: Path) -> None:
    write(root, [{"id": 1, "file_name": "001.jpg"}, {"id": 2, "file_name": "../2.jpg"}])
    problems = Captions(root=str(root)).problems()
    assert len(problems) == 2
    assert "'..'" in problems[0]
    assert "does not name a file of 3" in problems[1]


def score(root: Path, rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    path = root / "captions.json"
    path.write_text(json.dumps(rows))
    annotations = root / "annotations/captions_val2014.json"
    return SCORERS.build("captions", annotations=annotations, captions=path, **options).score()


def test_scores_of_a_file(root: Path) -> None:
    result = score(root, PERFECT)
    # of the first image's two references one is hit in full, the other in part
    assert 5 < result["cider"] < 10
    assert (result["bleu_4"], result["rouge_l"], result["n"]) == (pytest.approx(1), 1, 3)
    assert result["length"] == pytest.approx((4 + 4 + 6) / 3)
    assert result["warnings"] == []
    assert result["metric"] == Captions(root=str(root)).metric().name == "captions"
    assert result["variant"].startswith("CIDEr-D of pycocoevalcap 1.2, words in lower case")
    assert result["intervals"]["cider"]["low"] <= result["cider"]
    json.dumps(result, allow_nan=False)
    assert score(root, PERFECT[::-1]) == result
    renamed = [{"image": f"{row['image_id']:03}", "text": row["caption"]} for row in PERFECT]
    assert score(root, renamed, image_id_key="image", caption_key="text") == result


def test_one_image_has_no_cider_and_part_of_them_is_said(root: Path) -> None:
    result = score(root, PERFECT[1:2])
    assert result["cider"] is None
    assert result["bleu_4"] == pytest.approx(1)
    assert [text.split()[0] for text in result["warnings"]] == ["CIDEr", "2"]
    assert score(root, PERFECT[1:])["cider"] == pytest.approx(10)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*PERFECT, PERFECT[0]], "image_id 3 occurs a second time"),
        ([{"image_id": 9, "caption": "x"}], "unknown image_id: 9"),
        ([{"image_id": 1}], "'caption' is missing"),
        ([{"image_id": 1, "caption": None}], "'caption' must be a string"),
    ],
)
def test_captions_that_do_not_fit_are_refused(
    root: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score(root, rows)
