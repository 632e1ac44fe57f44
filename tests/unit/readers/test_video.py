"""Readers of HallusionBench and of questions on videos, and frames of videos."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from lvlmsal.benchmarks.hallusionbench.files import read_hallusionbench
from lvlmsal.cli.data import data_app
from lvlmsal.errors import DataError
from lvlmsal.readers.frames import extract_frames, frame_files, uniform_positions, video_files
from lvlmsal.readers.video import read_benchmark_questions, read_video_questions

HALLUSION = {
    "category": "VS",
    "subcategory": "map",
    "visual_input": "1",
    "set_id": "3",
    "figure_id": "1",
    "sample_note": "a note",
    "question_id": "0",
    "question": "Is it north?",
    "gt_answer_details": "It is north.",
    "gt_answer": "1",
    "filename": "./VS/map/3_1.png",
}
BARE = {**HALLUSION, "visual_input": "0", "figure_id": "0", "filename": None}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("[" + ",\n".join(json.dumps(row) for row in rows) + "]")
    return path


def test_hallusionbench_reads_text_and_numbers_alike(tmp_path: Path) -> None:
    numbers = {**HALLUSION, "visual_input": 1, "set_id": 3, "figure_id": 2, "question_id": 0}
    first, bare, third = read_hallusionbench(
        write(tmp_path / "q.json", [HALLUSION, BARE, {**numbers, "gt_answer": 1}])
    )
    assert (first.id, first.group, first.image) == ("VS_map_3_1_0", "VS_map_3", "./VS/map/3_1.png")
    assert (bare.image, bare.visual_input, bare.answer) == (None, 0, 1)
    assert third.id == "VS_map_3_2_0"
    assert first.target["gt_answer"] == third.target["gt_answer"] == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (HALLUSION, "already asked in line 1"),
        ({**BARE, "filename": "x.png"}, "has 0 and null"),
        ({**HALLUSION, "filename": None}, "'visual_input' is 1"),
        ({**HALLUSION, "gt_answer": "2"}, "'gt_answer' must be one of 0, 1"),
        ({**HALLUSION, "category": "vd"}, "VD or VS"),
        ({**HALLUSION, "visual_input": True}, "'visual_input'"),
        ({k: v for k, v in HALLUSION.items() if k != "question"}, "'question' is missing"),
    ],
)
def test_hallusionbench_refuses(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_hallusionbench(write(tmp_path / "q.json", [HALLUSION, row]))
    assert "q.json:2" in str(caught.value)


QUESTIONS = [
    {"video_name": "abc", "question": "what is he doing", "question_id": "v_abc_1"},
    {"video_name": "abc", "question": "where is he", "question_id": "v_abc_2"},
]
ANSWERS = [
    {"answer": "in a field", "type": 6, "question_id": "v_abc_2"},
    {"answer": "running", "type": 0, "question_id": "v_abc_1"},
]


def test_answers_are_matched_by_id_not_by_position(tmp_path: Path) -> None:
    found = read_video_questions(
        write(tmp_path / "q.json", QUESTIONS), write(tmp_path / "a.json", ANSWERS)
    )
    assert [(q.id, q.answer) for q in found] == [("v_abc_1", "running"), ("v_abc_2", "in a field")]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (ANSWERS[:1], "'v_abc_1' has no answer"),
        ([*ANSWERS, {**ANSWERS[0], "question_id": "x"}], "belong to no question"),
        ([*ANSWERS, ANSWERS[0]], "already answered in line 1"),
    ],
)
def test_answers_that_do_not_fit(tmp_path: Path, answers: list[Any], words: str) -> None:
    questions = write(tmp_path / "q.json", QUESTIONS)
    with pytest.raises(DataError, match=words):
        read_video_questions(questions, write(tmp_path / "a.json", answers))


def test_one_file_with_other_keys(tmp_path: Path) -> None:
    rows = [{"video_id": 7010, "question": "what?", "answer": "a man", "id": 5}]
    (found,) = read_video_questions(write(tmp_path / "q.json", rows), number_prefix="video")
    assert (found.id, found.video, found.answer) == ("5", "video7010", "a man")
    rows = [{"video": "0042", "question": text, "answer": "x"} for text in ("a?", "b?")]
    found_all = read_video_questions(write(tmp_path / "r.json", rows), number_prefix="vid")
    assert [(q.id, q.video) for q in found_all] == [("0042_0", "0042"), ("0042_1", "0042")]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*QUESTIONS, QUESTIONS[0]], "already used in line 1"),
        ([QUESTIONS[0], {"video_name": "abc", "question": "?"}], "this one has not"),
        ([{"question": "?", "question_id": 1}], "'video_name' is missing"),
    ],
)
def test_bad_questions(tmp_path: Path, rows: list[Any], words: str) -> None:
    given_rows = [{**row, "answer": "x"} for row in rows]
    with pytest.raises(DataError, match=words):
        read_video_questions(write(tmp_path / "q.json", given_rows))


def test_two_files_without_ids_cannot_be_matched(tmp_path: Path) -> None:
    questions = write(tmp_path / "q.json", [{"video_name": "abc", "question": "?"}])
    with pytest.raises(DataError, match="cannot be matched"):
        read_video_questions(questions, write(tmp_path / "a.json", ANSWERS))


def test_questions_of_the_text_benchmark(tmp_path: Path) -> None:
    rows = [
        {"video_name": "v_a", "Q": "What?", "A": "This."},
        {"video_name": "v_a", "Q1": "What?", "Q2": "And?", "A": "This."},
    ]
    single, pair = read_benchmark_questions(write(tmp_path / "q.json", rows))
    assert (single.id, single.question, single.second) == ("v_a_0", "What?", "")
    assert (pair.id, pair.question, pair.second) == ("v_a_1", "What?", "And?")


@given(st.integers(1, 300), st.data())
def test_uniform_positions(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, total))
    found = uniform_positions(total, count)
    assert len(found) == count
    assert 0 <= found[0] <= found[-1] < total
    # each is the middle of its part, give or take the rounding
    for part, position in enumerate(found):
        assert part * total / count - 1 < position < (part + 1) * total / count
    gaps = [b - a for a, b in pairwise(found)]
    assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)


def test_frames_are_taken_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"frame_{number}.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    assert [path.name for path in frame_files(tmp_path, 3)] == [
        "frame_2.jpg",
        "frame_6.jpg",
        "frame_10.jpg",
    ]
    with pytest.raises(DataError, match=r"holds 12 frames, and 13 are needed.*frames=12"):
        frame_files(tmp_path, 13)
    with pytest.raises(DataError, match="lvlmsal data frames"):
        frame_files(tmp_path / "none", 1)


def make_video(path: Path, frames: int) -> None:
    """A video whose frames are ever brighter."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            image = Image.new("RGB", (32, 32), (number * 10,) * 3)
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())


def brightness(path: Path) -> int:
    with Image.open(path) as image:
        return int(image.convert("L").getpixel((16, 16)))  # type: ignore[arg-type]


def test_frames_are_extracted_uniformly(tmp_path: Path) -> None:
    video = tmp_path / "v_abc.mp4"
    make_video(video, 20)
    found = extract_frames(video, tmp_path / "frames/v_abc", 4)
    assert [path.name for path in found] == ["0001.png", "0002.png", "0003.png", "0004.png"]
    # the positions of 4 among 20 are 2, 7, 12, 17
    for path, expected in zip(found, (20, 70, 120, 170), strict=True):
        assert abs(brightness(path) - expected) < 5
    assert [p.name for p in (tmp_path / "frames").iterdir()] == ["v_abc"]
    with pytest.raises(DataError, match="is not empty"):
        extract_frames(video, tmp_path / "frames/v_abc", 4)
    assert len(extract_frames(video, tmp_path / "all", 99)) == 20


def test_what_is_no_video(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "x.mp4").write_bytes(b"this is not a video")
    for name in ("x.mp4", "missing.mp4"):
        with pytest.raises(DataError, match="cannot be decoded"):
            extract_frames(tmp_path / name, tmp_path / "frames", 2)
    assert not (tmp_path / "frames").exists()


def test_the_command_goes_on_where_it_stopped_and_names_what_failed(tmp_path: Path) -> None:
    videos, output = tmp_path / "videos", tmp_path / "frames"
    videos.mkdir()
    for name in ("a.mp4", "b.avi"):
        make_video(videos / name, 6)
    (videos / "c.mkv").write_bytes(b"broken")
    (videos / "readme.txt").write_text("")
    command = ["frames", str(videos), str(output), "--frames", "2"]
    first = CliRunner().invoke(data_app, command)
    assert first.exit_code == 1
    assert "2 videos extracted, 0 were there already, 1 failed" in first.output
    assert "c.mkv" in first.output
    (videos / "c.mkv").unlink()
    again = CliRunner().invoke(data_app, command)
    assert (again.exit_code, "0 videos extracted, 2 were there" in again.output) == (0, True)
    assert sorted(path.name for path in output.iterdir()) == ["a", "b"]
    (videos / "a.mkv").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.mkv and a\.mp4"):
        video_files(videos)
    with pytest.raises(DataError, match="holds no video"):
        video_files(output)
