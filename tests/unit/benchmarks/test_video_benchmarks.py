"""HallusionBench and the benchmarks on videos read their layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lvlmsal.adapters.videos import Clip, open_visual
from lvlmsal.benchmarks.hallusionbench.benchmark import HallusionBench
from lvlmsal.benchmarks.hallusionbench.metric import HallusionBenchMetric as HallusionMetric
from lvlmsal.benchmarks.video_chatgpt.benchmark import VideoChatGpt
from lvlmsal.benchmarks.video_qa.benchmark import ActivityNetQa, MsrvttQa
from lvlmsal.evaluation.run.loading import shown
from lvlmsal.registry import BENCHMARKS
from tests.unit.readers.test_video import ANSWERS, BARE, HALLUSION, QUESTIONS, write


def write_frames(root: Path, video: str, count: int) -> None:
    folder = root / "frames" / video
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:04}.jpg").write_bytes(b"")


@pytest.fixture
def hallusion(tmp_path: Path) -> Path:
    edited = {**HALLUSION, "visual_input": "2", "figure_id": "2", "filename": "./VS/map/3_2.png"}
    write(tmp_path / "HallusionBench.json", [HALLUSION, BARE, edited])
    folder = tmp_path / "hallusion_bench/VS/map"
    folder.mkdir(parents=True)
    for name in ("3_1.png", "3_2.png"):
        (folder / name).write_bytes(b"")
    return tmp_path


def test_hallusionbench_reads_the_official_layout(hallusion: Path) -> None:
    benchmark = HallusionBench(root=str(hallusion))
    assert benchmark.problems() == []
    first, bare, edited = benchmark.samples()
    assert first.images == (hallusion / "hallusion_bench/VS/map/3_1.png",)
    assert bare.images == ()
    assert {sample.group for sample in (first, bare, edited)} == {"VS_map_3"}
    assert first.target["whole"] == {"figure": 1, "pair": 3, "level": 2}
    assert edited.target["whole"] == {"figure": 1, "pair": 3, "level": 1}
    assert json.loads(json.dumps(first.target)) == first.target
    assert benchmark.label == "hallusionbench"


def test_hallusionbench_splits(hallusion: Path) -> None:
    expected = {"image": ["VS_map_3_1_0", "VS_map_3_2_0"], "non_image": ["VS_map_3_0_0"]}
    for split, ids in expected.items():
        benchmark = HallusionBench(root=str(hallusion), split=split)  # type: ignore[arg-type]
        assert [sample.id for sample in benchmark.samples()] == ids
        assert benchmark.label == f"hallusionbench/{split}"
    image = HallusionBench(root=str(hallusion), split="image").samples()
    assert image[0].target["whole"]["pair"] == 2
    (problem,) = BENCHMARKS.problems("hallusionbench", {"root": "x", "split": "images"})
    assert "split" in problem


def test_hallusionbench_names_missing_images_and_builds_its_metric(hallusion: Path) -> None:
    (hallusion / "hallusion_bench/VS/map/3_2.png").unlink()
    (problem,) = HallusionBench(root=str(hallusion)).problems()
    assert "HallusionBench.json:3" in problem
    (hallusion / "judge.txt").write_text("{question}{reference}{answer}")
    benchmark = HallusionBench(root=str(hallusion), judge_prompt="judge.txt")
    metric = benchmark.metric()
    assert isinstance(metric, HallusionMetric)
    assert metric.prompt.name.startswith("judge.txt")
    assert benchmark.data_files()[1] == hallusion / "judge.txt"


@pytest.fixture
def activitynet(tmp_path: Path) -> Path:
    write(tmp_path / "test_q.json", QUESTIONS)
    write(tmp_path / "test_a.json", ANSWERS)
    write_frames(tmp_path, "v_abc", 9)
    return tmp_path


def test_activitynet_shows_frames_and_joins_by_id(activitynet: Path) -> None:
    benchmark = ActivityNetQa(
        root=str(activitynet), frames=3, prompt="{question}? Answer in one word."
    )
    assert benchmark.problems() == []
    first, second = benchmark.samples()
    assert first.prompt == "what is he doing? Answer in one word."
    assert first.target == {"question": "what is he doing", "answer": "running"}
    assert [path.name for path in first.images] == ["0001.jpg", "0004.jpg", "0007.jpg"]
    assert first.images == second.images
    assert first.group == second.group == "abc"


def test_too_few_frames_and_missing_videos_are_one_problem_each(activitynet: Path) -> None:
    (problem,) = ActivityNetQa(root=str(activitynet), frames=10).problems()
    assert "test_q.json:1" in problem
    assert "holds 9 frames, and 10 are needed" in problem
    write(activitynet / "test_q.json", [{**row, "video_name": "x"} for row in QUESTIONS])
    (problem,) = ActivityNetQa(root=str(activitynet)).problems()
    assert "v_x" in problem
    write(activitynet / "test_q.json", [{**QUESTIONS[0], "video_name": "../x"}, QUESTIONS[1]])
    assert "'..'" in ActivityNetQa(root=str(activitynet)).problems()[0]


def test_msrvtt_finds_the_folder_of_a_numbered_video(tmp_path: Path) -> None:
    rows = [{"video_id": 7010, "question": "what?", "answer": "a man", "id": 5}]
    write(tmp_path / "test_qa.json", rows)
    write_frames(tmp_path, "video7010", 8)
    (sample,) = MsrvttQa(root=str(tmp_path)).samples()
    assert (sample.id, len(sample.images), sample.group) == ("5", 8, "video7010")
    rows[0]["video_id"] = "video7010.mp4"
    write(tmp_path / "test_qa.json", rows)
    assert len(MsrvttQa(root=str(tmp_path)).samples()[0].images) == 8


def test_frames_are_shown_as_one_video(activitynet: Path) -> None:
    plain = ActivityNetQa(root=str(activitynet), frames=3)
    benchmark = ActivityNetQa(root=str(activitynet), frames=3, show="video", fps=1.5)
    for path in (activitynet / "frames/v_abc").iterdir():
        Image.new("L", (4, 4), int(path.stem) * 20).save(path)
    assert [(s.is_video, s.fps) for s in plain.samples()] == [(False, None)] * 2
    first = benchmark.samples()[0]
    assert (first.is_video, first.fps) == (True, 1.5)
    assert shown(plain.samples()[0]) == list(first.images)
    (video,) = shown(first)
    clip = open_visual(video)
    assert isinstance(clip, Clip)
    # those of the images, and where they are among all nine
    assert (clip.positions, clip.total, clip.fps) == ([1, 4, 7], 9, 1.5)
    assert [array[0, 0, 0] for array in clip.array] == pytest.approx([20, 80, 140], abs=3)


@pytest.mark.parametrize(
    "options",
    [
        {"frames": 0},
        {"prompt": "Say it."},
        {"rule": "oficial"},
        {"show": "videos"},
        {"fps": 2.0},
        {"fps": 0.0, "show": "video"},
    ],
)
def test_impossible_options(options: dict[str, Any]) -> None:
    (problem,) = BENCHMARKS.problems("activitynet-qa", {"root": "x", **options})
    assert next(iter(options)) in problem


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    single = [{"video_name": "v_a", "Q": "What?", "A": "This."}] * 2
    write(tmp_path / "generic_qa.json", single)
    write(tmp_path / "temporal_qa.json", single[:1])
    paired = [{"video_name": "v_a", "Q1": "What?", "Q2": "And?", "A": "This."}]
    write(tmp_path / "consistency_qa.json", paired)
    write_frames(tmp_path, "v_a", 8)
    return tmp_path


def test_video_chatgpt_reads_its_three_files(texts: Path) -> None:
    benchmark = VideoChatGpt(root=str(texts))
    assert benchmark.problems() == []
    samples = benchmark.samples()
    assert [sample.id for sample in samples] == [
        "generic/v_a_0",
        "generic/v_a_1",
        "temporal/v_a_0",
        "consistency/v_a_0/1",
        "consistency/v_a_0/2",
    ]
    assert [sample.prompt for sample in samples[-2:]] == ["What?", "And?"]
    metric = benchmark.metric()
    found = metric.score(["x"] * 5, [sample.target for sample in samples])
    # 2 answers with three scores each, one temporal, one pair; none judged yet
    assert (found["n"].item(), found["unjudged"].item()) == (8, 8)
    one = VideoChatGpt(root=str(texts), part="temporal")
    assert (one.label, len(one.samples())) == ("video-chatgpt/temporal", 1)


def test_video_chatgpt_refuses_a_file_of_another_part(texts: Path) -> None:
    (texts / "consistency_qa.json").replace(texts / "temporal_qa.json")
    (problem,) = VideoChatGpt(root=str(texts), part="temporal").problems()
    assert problem.endswith("must be in 'Q'")
