"""Logs of other tools, as they write them."""

from __future__ import annotations

import base64
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from lvlmsal.benchmarks.answers.logged import join
from lvlmsal.errors import DataError, LvlmsalError, UnsupportedError
from lvlmsal.readers.logs import LoggedAnswer, read_log

# As lmms-eval 0.7.3 writes them, some metrics left out.
LMMS: list[dict[str, Any]] = [
    {
        "doc_id": 1,
        "target": "no",
        "filtered_resps": ["No."],
        "token_counts": [{"output_tokens": 3}],
        "doc_hash": "74234e",
        "input_media": ["/data/images/2.png"],
        "accuracy": {"id": "2", "answer": "No.", "target": '"no"'},
        "input": "Is there a tree in the image?",
    },
    {"doc_id": 0, "target": "yes", "filtered_resps": "Yes.", "input": "Is there a star?"},
]

PICTURE = "data:image/png;base64," + base64.b64encode(b"picture").decode()


def lines(path: Path, entries: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def seen(found: list[LoggedAnswer]) -> list[tuple[Any, ...]]:
    return [(each.place, each.answer, each.prompt, each.images) for each in found]


def test_lmms_eval(tmp_path: Path) -> None:
    assert seen(read_log(lines(tmp_path / "a_samples_x.jsonl", LMMS))) == [
        (1, "No.", "Is there a tree in the image?", ("/data/images/2.png",)),
        (0, "Yes.", "Is there a star?", ()),
    ]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"doc_id": 0, "filtered_resps": ["a", "b"]}, "must hold one answer"),
        ({"doc_id": 0, "filtered_resps": [["0.5", "True"], ["0.1", "False"]]}, "one answer"),
        ({"doc_id": "x", "filtered_resps": "a"}, "'doc_id' must be a whole number"),
        ({"filtered_resps": "a"}, "the key 'doc_id' is missing"),
        ({"doc_id": 0}, "which lmms-eval writes with --log_samples"),
    ],
)
def test_lines_that_are_no_samples_of_lmms_eval(
    entry: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:2: ") as caught:
        read_log(lines(tmp_path / "a.jsonl", [LMMS[0], entry]))
    assert told in str(caught.value)


TABLE: list[list[Any]] = [
    ["index", "question", "answer", "image_path", "prediction"],
    [7, "Is there a\ndog?", "Yes", "COCO/1.jpg", "Yes, one\tor two."],
    [9, "Is there a cat?", "No", "['a.jpg', 'b.jpg']", "No"],
    [10, "Is it so?", "No", None, None],
]
PREDICTIONS = [
    (0, "Yes, one\tor two.", "Is there a\ndog?", ("COCO/1.jpg",)),
    (1, "No", "Is there a cat?", ("a.jpg", "b.jpg")),
    (2, "", "Is it so?", ()),
]


def test_vlmevalkit_as_a_table_of_tabs(tmp_path: Path) -> None:
    import csv

    path = tmp_path / "model_POPE.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(TABLE)
    found = read_log(path)
    assert seen(found) == PREDICTIONS
    assert [each.row.data["index"] for each in found] == ["7", "9", "10"]


def test_vlmevalkit_as_json(tmp_path: Path) -> None:
    path = tmp_path / "model_POPE.json"
    path.write_text(json.dumps([dict(zip(TABLE[0], row, strict=True)) for row in TABLE[1:]]))
    assert seen(read_log(path, "vlmevalkit")) == PREDICTIONS
    with pytest.raises(DataError, match="is a log of which tool"):
        read_log(path)


def test_vlmevalkit_as_a_workbook(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in TABLE:
        book.active.append(row)
    book.save(tmp_path / "model_POPE.xlsx")
    found = read_log(tmp_path / "model_POPE.xlsx")
    assert seen(found) == PREDICTIONS
    assert [each.row.line for each in found] == [2, 3, 4]
    (tmp_path / "b.xlsx").write_text("no workbook")
    with pytest.raises(DataError, match="is not a workbook"):
        read_log(tmp_path / "b.xlsx")


def test_a_workbook_without_openpyxl_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "a.xlsx").write_text("")
    with pytest.raises(UnsupportedError, match="pip install openpyxl"):
        read_log(tmp_path / "a.xlsx")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"index": 1, "prediction": "Failed to obtain answer via API."}, "no answer: run it again"),
        ({"index": 1, "question": "Is it?"}, "there is no column 'prediction'"),
    ],
)
def test_tables_without_predictions(row: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row]))
    with pytest.raises(DataError, match=told):
        read_log(path, "vlmevalkit")


def inspect_log(**changed: Any) -> dict[str, Any]:
    """A log with two samples, in another order than that of the data set."""
    asked = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Is there a dog?"},
                {"type": "image", "image": "attachment://abc1", "detail": "auto"},
            ],
        },
    ]
    second = {
        "id": "b",
        "epoch": 1,
        "input": asked,
        "target": "yes",
        "attachments": {"abc1": PICTURE},
        "output": {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]},
    }
    parts = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "No."}]
    first = {
        "id": 4,
        "epoch": 1,
        "input": "Is it so?",
        "output": {"choices": [{"message": {"content": parts}}]},
    }
    return {
        "version": 2,
        "eval": {"dataset": {"sample_ids": [4, "b"]}},
        "samples": [{**second, **changed}, first],
    }


def written(content: dict[str, Any], path: Path) -> Path:
    """The archive of a log."""
    samples = content.pop("samples")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", "{}")
        for each in samples:
            archive.writestr(f"samples/{each['id']}_epoch_1.json", json.dumps(each))
        archive.writestr("header.json", json.dumps(content))
    return path


ASKED = [(0, "No.", "Is it so?", ()), (1, "Yes.", "Is there a dog?", (PICTURE,))]


def test_inspect_ai(tmp_path: Path) -> None:
    assert seen(read_log(written(inspect_log(), tmp_path / "a.eval"))) == ASKED
    (tmp_path / "a.json").write_text(json.dumps(inspect_log()))
    assert seen(read_log(tmp_path / "a.json", "inspect_ai")) == ASKED


def test_places_of_a_shuffled_data_set_are_not_known(tmp_path: Path) -> None:
    log = inspect_log()
    log["eval"]["dataset"]["shuffled"] = True
    found = read_log(written(log, tmp_path / "a.eval"))
    assert [each.place for each in found] == [None, None]
    with pytest.raises(DataError, match="the data set was shuffled"):
        join(found, [])


def test_an_archive_that_python_cannot_unpack_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer logs are packed with Zstandard, number 93 of zip archives."""
    path = written(inspect_log(), tmp_path / "a.eval")
    monkeypatch.setitem(sys.modules, "zipfile_zstd", None)
    content = path.read_bytes().replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x08\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x5d\x00"
    )
    path.write_bytes(content)
    with pytest.raises(UnsupportedError, match="pip install zipfile-zstd"):
        read_log(path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"error": {"message": "no route"}}, "'b' has failed: no route"),
        ({"output": {"choices": []}}, "'b' was not answered"),
        ({"id": "c"}, "'c' is not one of the data set's"),
        ({"id": 4}, "4 was asked in several epochs"),
    ],
)
def test_samples_of_inspect_ai_without_an_answer(
    changed: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(inspect_log(**changed)))
    with pytest.raises(DataError, match=told):
        read_log(path, "inspect_ai")


def test_files_that_are_no_logs_of_inspect_ai(tmp_path: Path) -> None:
    (tmp_path / "a.eval").write_bytes(b"PK no zip")
    with zipfile.ZipFile(tmp_path / "b.eval", "w") as archive:
        archive.writestr("_journal/start.json", "{}")
    (tmp_path / "c.json").write_text("{}")
    cases = [
        ("a.eval", None, "that can be read: File is not a zip file"),
        ("b.eval", None, "no header.json"),
    ]
    for name, tool, told in [*cases, ("c.json", "inspect_ai", "no eval.dataset.sample_ids")]:
        with pytest.raises(LvlmsalError, match=told):
            read_log(tmp_path / name, tool)
