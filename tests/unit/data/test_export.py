"""Rows of the hub become the official files, and the benchmarks read them."""

from __future__ import annotations

import io
import json
import logging
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from huggingface_hub import constants
from PIL import Image

from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.cli import main
from lvlmsal.data.export import export
from lvlmsal.errors import DataError
from lvlmsal.registry import BENCHMARKS

Row = dict[str, Any]


def picture(shade: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (shade, 0, 0)).save(buffer, format=kind)
    return buffer.getvalue()


def stored(shade: int, name: str | None = None, kind: str = "PNG") -> dict[str, Any]:
    return {"bytes": picture(shade, kind), "path": name}


def write(name: str, rows: Iterable[Mapping[str, Any]], root: Path, split: str = "test") -> Any:
    layout = BENCHMARKS.get(name).layout
    assert layout is not None
    return export(rows, layout, root, split=split, source={"dataset": "x/y"})


def read(name: str, root: Path, **options: Any) -> Benchmark:
    benchmark = BENCHMARKS.build(name, root=str(root), **options)
    assert benchmark.problems() == []
    return benchmark


def pope_rows() -> list[Row]:
    """Two categories with the same ids, which are texts, on two images."""
    return [
        {
            "id": str(3 * place + n),
            "question_id": str(n + 1),
            "question": f"Is there a {thing} in the image?",
            "answer": answer,
            "image_source": f"COCO_val2014_{image:012d}",
            "image": stored(image, kind="JPEG"),
            "category": category,
        }
        for place, category in enumerate(("adversarial", "random"))
        for n, (image, thing, answer) in enumerate(
            [(7, "dog", "yes"), (7, "cat", "no"), (9, "bus", "no")]
        )
    ]


def test_pope_goes_by_category_and_keeps_its_ids(tmp_path: Path) -> None:
    folder = write("pope", pope_rows(), tmp_path / "p")
    assert (folder.samples, len(folder.images)) == (6, 2)
    for split in ("adversarial", "random"):
        lines = (tmp_path / f"p/pope/coco_pope_{split}.json").read_text().splitlines()
        assert json.loads(lines[1]) == {
            "question_id": 2,
            "image": "COCO_val2014_000000000007.jpg",
            "text": "Is there a cat in the image?",
            "label": "no",
        }
        samples = read("pope", tmp_path / "p", split=split).samples()
        assert [(s.id, s.target) for s in samples] == [("1", "yes"), ("2", "no"), ("3", "no")]
    # the file of the image is the stored one, byte for byte
    assert (tmp_path / "p/val2014/COCO_val2014_000000000009.jpg").read_bytes() == picture(9, "JPEG")
    assert json.loads((tmp_path / "p/hub.json").read_text()) == {"dataset": "x/y"}


def test_pope_without_a_category_takes_the_split(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "category"} for row in pope_rows()[:3]]
    for row in rows:
        row["image_source"] = row["image_source"].replace("COCO_val2014_", "gqa/")
    write("pope", rows, tmp_path / "p", split="popular")
    assert len(read("pope", tmp_path / "p", split="popular").samples()) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question_id": "1"}, "comes twice"),
        ({"answer": "maybe"}, "yes or no"),
        ({"image": stored(1)}, "another image is called"),
        ({"image": None}, "has no image"),
        ({"image": "a.png"}, "not an image"),
        ({"image_source": "../../x"}, "below the folder"),
        ({"image_source": "C:\\x"}, "below the folder"),
        ({"question": None}, "must be a text"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_left(tmp_path: Path, change: Row, words: str) -> None:
    rows = pope_rows()
    rows[1] |= change
    with pytest.raises(DataError, match=words) as caught:
        write("pope", rows, tmp_path / "p")
    assert "row 1 of the data set" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "answer"} for row in pope_rows()]
    with pytest.raises(DataError, match="no column answer; it has id, question_id"):
        write("pope", rows, tmp_path / "p")


def test_a_folder_in_use_and_an_empty_split_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write("pope", pope_rows(), tmp_path)
    with pytest.raises(DataError, match="no rows"):
        write("pope", [], tmp_path / "p")


def mme_rows() -> list[Row]:
    return [
        {
            "question_id": f"{task}/{image}",
            "image": stored(shade),
            "question": f"Is it {text}? Please answer yes or no.",
            "answer": answer,
            "category": task,
        }
        for task in ("code_reasoning", "OCR")
        for shade, image in ((1, "0020.png"), (2, "0021.png"))
        for text, answer in (("so", "Yes"), ("not so", "No"))
    ]


def test_mme_has_two_lines_an_image(tmp_path: Path) -> None:
    write("mme", mme_rows(), tmp_path / "m")
    folder = tmp_path / "m/MME_Benchmark_release_version/OCR"
    assert (folder / "0021.txt").read_text() == (
        "Is it so? Please answer yes or no.\tYes\nIs it not so? Please answer yes or no.\tNo\n"
    )
    samples = read("mme", tmp_path / "m").samples()
    assert len(samples) == 8
    assert {sample.group for sample in samples} == {
        f"{task}/00{n}.png" for task in ("code_reasoning", "OCR") for n in (20, 21)
    }
    with pytest.raises(DataError, match="two questions"):
        write("mme", mme_rows()[:-1], tmp_path / "n")


def test_vizwiz_answers_become_objects(tmp_path: Path) -> None:
    rows = [
        {
            "question_id": f"VizWiz_val_0000000{n}.jpg",
            "image": stored(n, kind="JPEG"),
            "question": "What is this?",
            "answers": ["coke can"] * 9 + ["unanswerable"],
            "category": kind,
        }
        for n, kind in enumerate(("other", "unanswerable"))
    ]
    write("vizwiz", rows, tmp_path / "v", split="val")
    one, two = read("vizwiz", tmp_path / "v").samples()
    assert one.id == "VizWiz_val_00000000.jpg"
    assert one.target["answers"] == ["coke can"] * 9 + ["unanswerable"]
    assert (one.target["answerable"], two.target["answerable"]) == (True, False)
    test = [{**row, "answers": None, "category": None} for row in rows]
    write("vizwiz", test, tmp_path / "t", split="test")
    assert len(read("vizwiz", tmp_path / "t", split="test").samples()) == 2


def test_scienceqa_problems_are_called_after_their_rows(tmp_path: Path) -> None:
    rows = [
        {
            "image": image,
            "question": "Which?",
            "choices": ["a", "b", "c"],
            "answer": n,
            "hint": "Look." if n else "",
            "grade": "grade5",
            "subject": "natural science",
            "topic": "biology",
        }
        for n, image in enumerate((stored(1), None))
    ]
    write("scienceqa", rows, tmp_path / "s")
    one, two = read("scienceqa", tmp_path / "s").samples()
    assert (one.id, two.id) == ("row-0", "row-1")
    assert (len(one.images), len(two.images)) == (1, 0)
    assert "Context: Look." in two.prompt
    assert two.target["answer"] == 1


def test_mm_vet_capabilities_are_parted(tmp_path: Path) -> None:
    rows = [
        {
            "question_id": "v1_0",
            "image": stored(1),
            "question": "What is x?",
            "answer": "-1<AND>-5",
            "capability": "ocr,math",
        }
    ]
    write("mm-vet", rows, tmp_path / "m")
    entry = json.loads((tmp_path / "m/mm-vet.json").read_text())["v1_0"]
    assert entry["capability"] == ["ocr", "math"]
    assert entry["imagename"] == "v1_0.png"
    assert len(read("mm-vet", tmp_path / "m").samples()) == 1


def test_hallusionbench_joins_both_splits(tmp_path: Path) -> None:
    base = {
        "category": "VS",
        "subcategory": "chart",
        "set_id": "0",
        "question_id": "0",
        "sample_note": "x",
        "question": "Is it?",
        "gt_answer_details": "It is.",
    }
    rows = [
        {**base, "visual_input": "1", "figure_id": "1", "gt_answer": "1", "image": stored(1),
         "filename": "./VS/chart/0_1.png"},
        {**base, "visual_input": "0", "figure_id": "0", "gt_answer": "0", "image": None,
         "filename": None},
    ]  # fmt: skip
    write("hallusionbench", rows, tmp_path / "h", split="image+non_image")
    with_image, without = read("hallusionbench", tmp_path / "h").samples()
    assert [path.name for path in with_image.images] == ["0_1.png"]
    assert without.images == ()


def test_llava_bench_has_a_context_for_each_image(tmp_path: Path) -> None:
    rows = [
        {
            "question_id": n,
            "question": f"What {n}?",
            "image": stored(n // 2, f"00{n // 2}.jpg", "JPEG"),
            "caption": f"Caption {n // 2}.",
            "gpt_answer": f"Answer {n}.",
            "category": "conv",
        }
        for n in range(3)
    ]
    folder = write("llava-bench", rows, tmp_path / "l", split="train")
    assert len(folder.images) == 2
    samples = read("llava-bench", tmp_path / "l").samples()
    assert [sample.target["reference"] for sample in samples] == [f"Answer {n}." for n in range(3)]
    assert [sample.target["context"] for sample in samples] == [
        "Caption 0.", "Caption 0.", "Caption 1."
    ]  # fmt: skip


def test_pictures_that_are_decoded_already_are_written_without_loss(tmp_path: Path) -> None:
    rows = pope_rows()[:1]
    rows[0]["image"] = Image.effect_noise((8, 8), 90)
    write("pope", rows, tmp_path / "p")
    with Image.open(tmp_path / "p/val2014/COCO_val2014_000000000007.jpg") as image:
        assert image.tobytes() == rows[0]["image"].tobytes()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The rows of POPE as `datasets` keeps them, two splits in one folder."""
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    parts = {}
    for category in ("random", "adversarial"):
        rows = [row for row in pope_rows() if row["category"] == category]
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        features = {key: datasets.Value("string") for key in columns}
        made = datasets.Dataset.from_dict(
            columns, features=datasets.Features({**features, "image": datasets.Image()})
        )
        parts[category] = made
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.slow
def test_the_command_exports_a_saved_data_set(
    saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "made/pope"
    words = ["data", "export", "pope", "--dataset", str(saved), "--root", str(root)]
    assert main([*words, "--split", "random+adversarial"]) == 0
    assert "6 samples and 2 images" in capfd.readouterr().out
    assert (root / "val2014/COCO_val2014_000000000007.jpg").read_bytes() == picture(7, "JPEG")
    assert main(["data", "check", "pope", "--root", str(root), "--no-counts"]) == 0
    capfd.readouterr()
    assert main([*words, "--split", "random+populr"]) == 2
    assert "unknown split 'populr'" in capfd.readouterr().err
    assert main(["data", "export", "chair", *words[3:], "--split", "random"]) == 2
    assert "llava-bench" in capfd.readouterr().err


COMMIT = "c" * 40


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of `datasets` with one commit of ``owner/pope``, on a machine without a network."""
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")

    def unknown(*_: Any, **__: Any) -> NoReturn:
        raise socket.gaierror(-2, "Name or service not known")

    def impatient(_seconds: float) -> NoReturn:
        pytest.fail("the hub is asked again after a pause")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(time, "sleep", impatient)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    rows = datasets.Dataset.from_list(pope_rows())
    rows.cast_column("image", datasets.Image()).save_to_disk(tmp_path / "saved")
    place = tmp_path / "cache" / "owner___pope" / "default" / "0.0.0" / COMMIT
    place.mkdir(parents=True)
    (data,) = (tmp_path / "saved").glob("*.arrow")
    data.rename(place / "pope-test.arrow")
    info = json.loads((tmp_path / "saved/dataset_info.json").read_text())
    split = {"name": "test", "num_bytes": 1, "num_examples": 6, "dataset_name": "pope"}
    info |= {"dataset_name": "pope", "config_name": "default", "splits": {"test": split}}
    (place / "dataset_info.json").write_text(json.dumps(info))
    return tmp_path


def exported(root: Path, dataset: str, *more: str) -> int:
    words = ["data", "export", "pope", "--dataset", dataset, "--split", "test"]
    return main([*words, "--root", str(root), *more])


@pytest.mark.slow
def test_without_a_network_the_cache_is_used_where_it_is_whole(
    hub_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(hub_cache / "a", "owner/pope") == 0
    assert exported(hub_cache / "b", "owner/pope", "--revision", COMMIT) == 0
    assert len(read("pope", hub_cache / "b").samples()) == 3
    capsys.readouterr()
    # from its cache `datasets` would take the newest commit, whichever was asked for
    assert exported(hub_cache / "c", "owner/pope", "--revision", "d" * 40) == 2
    assert f"the newest commit in it is {COMMIT}, not {'d' * 40}" in capsys.readouterr().err
    assert not (hub_cache / "c").exists()


@pytest.mark.slow
def test_without_a_network_there_is_one_try_and_one_message(
    hub_cache: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert exported(hub_cache / "a", "owner/other") == 2
    told = capsys.readouterr().err
    assert "there is no connection to https" in told
    assert "Name or service not known, and " in told
    assert f"{hub_cache / 'cache'} does not hold it\n" in told
    assert not [record for record in caplog.records if "huggingface_hub" in record.name]
