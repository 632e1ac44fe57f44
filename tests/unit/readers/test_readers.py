"""What the readers accept, and that every kind of bad file is named with its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.benchmarks.pope.files import read_pope_questions
from lvlmsal.errors import DataError
from lvlmsal.readers.coco import read_coco_objects
from lvlmsal.readers.rows import normal_id, read_json_rows, read_text

QUESTIONS = [
    {"question_id": 1, "image": "a.jpg", "text": "Is there a cat in the image?", "label": "yes"},
    {"question_id": 2, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "no"},
]


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("layout", ["lines", "array", "indented", "one line", "blank lines", "bom"])
def test_pope_questions_are_read_from_every_layout(tmp_path: Path, layout: str) -> None:
    text = {
        "lines": lines(*QUESTIONS),
        "array": json.dumps(QUESTIONS),
        "indented": json.dumps(QUESTIONS, indent=4) + "\n",
        "one line": lines(*QUESTIONS).rstrip("\n"),
        "blank lines": "\n" + lines(QUESTIONS[0]) + "\r\n\n" + lines(QUESTIONS[1]),
        "bom": "\ufeff" + lines(*QUESTIONS),
    }[layout]
    path = tmp_path / "coco_pope_random.json"
    path.write_text(text, encoding="utf-8", newline="")
    questions = read_pope_questions(path)
    assert [q.question_id for q in questions] == [1, 2]
    assert [q.label for q in questions] == ["yes", "no"]
    assert [q.text for q in questions] == [q["text"] for q in QUESTIONS]
    expected = {"lines": [1, 2], "one line": [1, 2], "bom": [1, 2], "array": [1, 1]}
    assert [q.line for q in questions] == expected.get(
        layout, [2, 8] if layout == "indented" else [2, 5]
    )


def change(**changes: object) -> dict[str, object]:
    row = {**QUESTIONS[1], **changes}
    return {key: value for key, value in row.items() if value is not None}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (change(label=None), r":2: the key 'label' is missing.*'question_id', 'image', 'text'"),
        (change(label="maybe"), r":2: 'label' must be 'yes' or 'no', got 'maybe'"),
        (change(label=True), r":2: 'label' must be a string, got True"),
        (change(question_id=None), r":2: the key 'question_id' is missing"),
        (change(question_id=1.5), r":2: 'question_id': an id must be a whole number"),
        (change(question_id=True), r":2: 'question_id': an id must be a whole number"),
        (change(question_id=" "), r":2: 'question_id': an id must not be an empty string"),
        (change(question_id="1"), r":2: question_id 1 was already used in line 1"),
        (change(image=None), r":2: the key 'image' is missing"),
        (change(text=["x"]), r":2: 'text' must be a string"),
        ([1, 2], r":2: expected a JSON object, got \[1, 2\]"),
    ],
)
def test_bad_pope_question_is_named_with_its_line(
    tmp_path: Path, second: object, message: str
) -> None:
    path = tmp_path / "q.json"
    path.write_text(lines(QUESTIONS[0], second))
    with pytest.raises(DataError, match=r"q\.json" + message):
        read_pope_questions(path)


def test_ids_may_start_again_in_another_category(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(lines({**QUESTIONS[0], "category": "a"}, {**QUESTIONS[0], "category": "b"}))
    assert [q.key for q in read_pope_questions(path)] == [("a", 1), ("b", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": 2', r"f\.jsonl:2: not valid JSON .*cut off"),
        ('[{"a": 1},\n {"a": 2', r"f\.jsonl:2: not valid JSON .*cut off"),
        ('[{"a": 1},\n {"a": 2}\n', r"f\.jsonl:3: not valid JSON .*end of the file"),
        ('[{"a": 1},\n', r"f\.jsonl:2: not valid JSON"),
        ('[{"a": 1},\n {"a": 2} {"a": 3}]', r"f\.jsonl:2: not valid JSON .*got '\{'"),
        ('[{"a": 1}]\n{"a": 2}', r"f\.jsonl:1: there is text after"),
        ('[{"a": 1},]', r"f\.jsonl:1: not valid JSON"),
        ("", r"f\.jsonl: the file is empty"),
        ("\n \n", r"f\.jsonl: the file is empty"),
        ("[]", r"f\.jsonl: the file is empty"),
        ("null\n", r"f\.jsonl:1: expected a JSON object, got null"),
        ('{"a": ' + "9" * 5000 + "}", r"f\.jsonl:1: not valid JSON"),
        ('{"a": ' + "[" * 100_000, r"f\.jsonl:1: not valid JSON \(nested too deeply"),
    ],
)
def test_bad_json_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_json_rows(path)


def test_unreadable_files_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path)
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="UTF-8"):
        read_text(tmp_path / "latin")


def test_line_separators_inside_strings_do_not_split_lines(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"a": "x\u2028y\x85z"}\n{"a": 2}', encoding="utf-8")
    assert [row.data["a"] for row in read_json_rows(path)] == ["x\u2028y\x85z", 2]


@given(st.integers(min_value=0, max_value=10**12))
def test_a_number_and_its_string_are_one_id(number: int) -> None:
    assert normal_id(number) == normal_id(str(number)) == normal_id(f" {number:014d}") == number


@given(st.text(min_size=1))
def test_normal_id_is_idempotent_or_refuses(text: str) -> None:
    try:
        once = normal_id(text)
    except ValueError:
        assert not text.strip() or len(text) > 4000
    else:
        assert normal_id(once) == once


CATEGORIES = [{"id": 1, "name": "person"}, {"id": 3, "name": "dog"}]


def instances(*pairs: tuple[int, int], images: list[int] | None = None) -> dict[str, object]:
    content: dict[str, object] = {
        "categories": CATEGORIES,
        "annotations": [{"image_id": i, "category_id": c, "area": 1.0} for i, c in pairs],
    }
    if images is not None:
        content["images"] = [{"id": i, "file_name": f"{i}.png"} for i in images]
    return content


def captions(*pairs: tuple[int, str]) -> dict[str, object]:
    return {"annotations": [{"image_id": i, "caption": c} for i, c in pairs]}


def write(folder: Path, **files: object) -> None:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_coco_folder_with_one_file_of_each_kind(tmp_path: Path) -> None:
    write(
        tmp_path,
        instances=instances((7, 1), (7, 1), (7, 3), images=[7, 8]),
        captions=captions((7, "A man."), (7, "A dog."), (8, "Nothing.")),
    )
    truth = read_coco_objects(tmp_path)
    assert truth.instances == {7: {"person", "dog"}, 8: set()}
    assert truth.captions == {7: ["A man.", "A dog."], 8: ["Nothing."]}
    assert truth.files == {7: "7.png", 8: "8.png"}
    assert truth.sources == ("instances.json", "captions.json")


def test_coco_parts_are_merged(tmp_path: Path) -> None:
    write(
        tmp_path,
        instances_train2014=instances((1, 1)),
        instances_val2014=instances((2, 3)),
        captions_train2014=captions((1, "x")),
        captions_val2014=captions((2, "y")),
    )
    truth = read_coco_objects(str(tmp_path))
    assert truth.instances == {1: {"person"}, 2: {"dog"}}
    assert truth.captions == {1: ["x"], 2: ["y"]}
    assert len(truth.sources) == 4


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"instances": instances()}, "neither captions.json nor captions_"),
        ({"captions": captions()}, "neither instances.json nor instances_"),
        (
            {"instances": instances(), "instances_val": instances(), "captions": captions()},
            "holds both instances.json and instances_val.json",
        ),
        ({"instances": instances((1, 9)), "captions": captions()}, "category_id 9"),
        ({"instances": {"categories": []}, "captions": captions()}, "under 'annotations'"),
        ({"instances": {"annotations": []}, "captions": captions()}, "under 'categories'"),
        ({"instances": [], "captions": captions()}, "expected a JSON object"),
        (
            {"instances": instances(), "captions": {"annotations": [{"caption": "x"}]}},
            "lacks 'image_id'",
        ),
        (
            {
                "instances": instances(),
                "captions": {"annotations": [{"image_id": "a", "caption": ""}]},
            },
            "expected a whole number, got 'a'",
        ),
        (
            {"instances": instances(), "captions": {"annotations": [{"image_id": 1}]}},
            "lacks 'caption'",
        ),
        (
            {
                "instances": instances(),
                "captions": {"annotations": [{"image_id": 1, "caption": None}]},
            },
            "a caption must be a string",
        ),
    ],
)
def test_bad_coco_folder_is_refused(tmp_path: Path, files: dict[str, object], message: str) -> None:
    write(tmp_path, **files)
    with pytest.raises(DataError, match=message):
        read_coco_objects(tmp_path)


def test_missing_folder_and_cut_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_coco_objects(tmp_path / "none")
    write(tmp_path, captions=captions())
    (tmp_path / "instances.json").write_text('{"categories": [],\n"annotations": [')
    with pytest.raises(DataError, match=r"instances\.json:2: not valid JSON"):
        read_coco_objects(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"{}"), "packed with gzip: unpack it first"),
        (lines(*QUESTIONS).encode("utf-16"), "is UTF-16: convert it first"),
        (b"PK\x03\x04...", "is a zip archive"),
        ("é".encode("latin-1"), "not a UTF-8 text file"),
    ],
    ids=["gzip", "utf-16", "zip", "latin-1"],
)
def test_files_in_other_forms_are_called_by_their_name(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.jsonl: .*{words}"):
        read_json_rows(tmp_path / "a.jsonl")


@given(st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_line_ends_and_a_byte_order_mark_are_no_text(end: str, mark: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.txt")
        path.write_bytes((("\ufeff" if mark else "") + f"a{end}b").encode())
        assert read_text(path) == "a\nb"


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
INSTANCES = {
    "images": [{"id": 1, "file_name": "a.jpg"}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [{"image_id": 1, "category_id": 1}],
}
CAPTIONS = {"annotations": [{"image_id": 1, "caption": "a cat"}]}


@given(
    st.sampled_from(
        [
            ("images", None),
            ("images", "id"),
            ("images", "file_name"),
            ("categories", None),
            ("categories", "id"),
            ("categories", "name"),
            ("annotations", None),
            ("annotations", "image_id"),
            ("annotations", "category_id"),
            ("annotations", "caption"),
        ]
    ),
    ODD,
)
def test_odd_values_in_annotations_are_read_or_told(
    place: tuple[str, str | None], value: object
) -> None:
    part, key = place
    with TemporaryDirectory() as folder:
        for name, whole in (("instances", INSTANCES), ("captions", CAPTIONS)):
            content: dict[str, Any] = json.loads(json.dumps(whole))
            if key is None:
                content[part] = value
            elif part in content:
                content[part][0][key] = value
            Path(folder, f"{name}.json").write_text(json.dumps(content))
        told, images = folder, []
        try:
            truth = read_coco_objects(folder)
            images = [*truth.instances, *truth.captions]
        except DataError as error:
            told = str(error)
        assert told.startswith(folder)
        assert all(isinstance(image, int) for image in images)


@given(st.sampled_from(["question_id", "image", "text", "label"]), ODD)
def test_odd_values_in_questions_are_read_or_told(key: str, value: object) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "q.json")
        path.write_text(lines(QUESTIONS[0], {**QUESTIONS[1], key: value}))
        told = f"{path}:2: "
        try:
            read_pope_questions(path)
        except DataError as error:
            told = str(error)
        assert told.startswith(f"{path}:2: ")
