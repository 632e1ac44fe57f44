"""Videos against the processors' own inputs; where each frame stands; what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from transformers.video_utils import VideoMetadata

from lvlmsal import DataError, UnsupportedError, Video
from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.adapters.images import open_image
from lvlmsal.adapters.runs import Run, cut_frames
from lvlmsal.adapters.videos import Clip, open_visual
from lvlmsal.errors import LvlmsalError
from lvlmsal.testing.adapter_videos import check_videos
from lvlmsal.testing.tiny import tiny_lvlm
from tests.videos import (
    ALONE,
    HAS_TORCHVISION,
    MERGED,
    OMNI,
    PAIRS,
    TOLD_TIMES,
    VIDEO_FAMILIES,
    frame_sides,
    frames_input,
    tiny_video_lvlm,
    video,
    video_places,
)

QUESTION = "What happens?"


def adapter(family: str) -> ModelAdapter:
    return adapter_for(*tiny_video_lvlm(family))


def given_to(processor: Any, clips: list[Clip], text: str, **options: Any) -> dict[str, Any]:
    """What a user of transformers gives the processor, and what it makes of it."""
    metadata = [
        VideoMetadata(
            total_num_frames=clip.total,
            fps=clip.fps,
            frames_indices=clip.positions,
            width=clip.size[0],
            height=clip.size[1],
            duration=None if clip.fps is None else clip.total / clip.fps,
        )
        for clip in clips
    ]
    made = processor(
        text=[text],
        videos=[[np.asarray(frame) for frame in clip.frames] for clip in clips],
        video_metadata=metadata,
        do_sample_frames=False,
        return_tensors="pt",
        add_special_tokens=False,
        **options,
    )
    return {name: value for name, value in made.items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
@pytest.mark.parametrize("count", [1, 4, 5])
def test_inputs_and_logits_are_those_of_the_processor(family: str, count: int) -> None:
    model, processor = tiny_video_lvlm(family)
    shown = video(count, sides=frame_sides(family))
    if family in PAIRS and count == 1:
        with pytest.raises(DataError, match="refuses it: t:1 must be larger"):
            adapter_for(model, processor).encode([[shown]], [QUESTION])
        return
    made = adapter_for(model, processor).encode([[shown]], [QUESTION])
    parts = [{"type": "video"}, {"type": "text", "text": QUESTION}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": parts}], add_generation_prompt=True
    )
    own = given_to(processor, [shown.read()], text)
    for name, value in own.items():
        if family == "smolvlm" and name == "pixel_attention_mask":  # which leaves out nothing
            assert value.all()
            continue
        assert torch.equal(made[name], value), name
    with torch.no_grad():
        assert torch.equal(model(**made).logits, model(**own).logits)


@pytest.mark.parametrize("family", [name for name in VIDEO_FAMILIES if name not in ALONE])
def test_two_videos_with_an_image_between_are_three_owners(family: str) -> None:
    model, processor = tiny_video_lvlm(family)
    sides = frame_sides(family)
    first, second = (video(4, seed=seed, sides=sides) for seed in (1, 2))
    image = Image.new("RGB", sides, "red")
    found = adapter_for(model, processor)
    inputs = found.encode([[first, image, second]], [QUESTION])
    spans = found.spans_by_frame(inputs)[0]
    ids = inputs["input_ids"][0]
    kinds = [found.videos_among(ids, spans)]
    assert kinds == [{0, 2}]
    frames = 2 if family in MERGED else 4
    assert [spans.frames(owner) for owner in range(3)] == [frames, 1, frames]
    every = [at for owner in range(3) for at in spans.positions(owner)]
    assert every == video_places(model, ids)
    assert len(spans.positions(0)) == len(spans.positions(2))
    # pixels of each in its own input
    rows, pixels = found.input_rows(inputs, [spans]), frames_input(family)
    assert rows[pixels] == [len(inputs[pixels])]


@pytest.mark.parametrize("family", ALONE)
def test_videos_without_images_are_told_from_images(family: str) -> None:
    model, processor = tiny_video_lvlm(family)
    sides = frame_sides(family)
    first, second = (video(4, seed=seed, sides=sides) for seed in (1, 2))
    image = Image.new("RGB", sides, "red")
    found = adapter_for(model, processor)
    for batch in ([[first, image]], [[first], [image]]):
        with pytest.raises(UnsupportedError, match="not both in one batch"):
            found.encode(batch, [QUESTION] * len(batch))
    if family == "smolvlm":  # whose processor has one input for pixels of both
        text = f"{processor.video_token} {processor.image_token}"
        clip = first.read()
        made = processor(
            text=[text],
            images=[[image]],
            videos=[clip.array],
            video_metadata=[VideoMetadata(**clip.metadata)],
            return_tensors="pt",
        )
        assert made["pixel_values"].shape[:2] == (1, 4), "the pixels of the image are lost"
        return
    # the model itself refuses them, or does not count them apart
    films, pictures = found.encode([[first]], [QUESTION]), found.encode([[image]], [QUESTION])
    names = ("input_ids", "attention_mask", "mm_token_type_ids")
    both = {name: torch.cat([films[name], pictures[name]], 1) for name in names}
    said = "tokens do not match|provided at the same time"
    with pytest.raises(ValueError, match=said), torch.no_grad():
        model(**{**films, **pictures, **both})
    if family == "molmo2":
        with pytest.raises(UnsupportedError, match="one video a sample"):
            found.encode([[second, first]], [QUESTION])
        return
    inputs = found.encode([[second, first]], [QUESTION])
    spans = found.spans_by_frame(inputs)[0]
    assert found.videos_among(inputs["input_ids"][0], spans) == {0, 1}
    assert [spans.frames(owner) for owner in range(2)] == [2, 2]
    mine = [at for owner in range(2) for at in spans.positions(owner)]
    assert mine == video_places(model, inputs["input_ids"][0])
    pictures = found.encode([[image, image]], [f"{processor.image_token}1{processor.image_token}2"])
    spans = found.spans(pictures["input_ids"])[0]
    assert len(spans.images) == 2
    assert not found.videos_among(pictures["input_ids"][0], spans)


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_the_kit_finds_frames_where_runs_say(family: str) -> None:
    check_videos(adapter(family))


@pytest.mark.parametrize(
    ("family", "wrong", "told"),
    [
        ("llava_onevision", {"video_ends": 0}, "are 16 visual tokens, and the video has 17"),
        ("qwen2_vl", {"panels": lambda *_: [1]}, "other pixels in frame 0"),
        ("qwen3_vl", {"within_video": lambda *_: False}, "more images or videos than"),
        ("qwen3_vl", {"within_video": lambda *_: True}, r"\[1, 1, 0, 3\]"),
        ("qwen2_5_vl", {"video_inputs": ()}, "second_per_grid_ts"),
    ],
)
def test_the_kit_names_what_is_wrong(family: str, wrong: dict[str, Any], told: str) -> None:
    found = adapter(family)
    broken = type("Broken", (type(found),), wrong)(found.model, found.processor)
    with pytest.raises((AssertionError, LvlmsalError), match=told):
        check_videos(broken)


def test_frames_of_internvl_are_known_by_their_words() -> None:
    found = adapter("internvl")
    film, image = video(3), Image.new("RGB", frame_sides("internvl"), "red")
    wide = Image.new("RGB", (80, 40), "red")  # three tiles
    mark, clip = found.image_mark, found.video_mark
    for visuals, question, videos in (
        # touching videos, the second of which begins again
        ([film, film], f"{clip}{clip}?", {0, 1}),
        # an image behind a video, in words that continue it but for one
        ([film, image], f"{clip}\nFrame5: {mark}?", {0}),
        ([film, image], f"{clip} and {mark}?", {0}),
        # an image of several tiles is no frame
        ([wide, film], f"Frame1: {mark}\n{clip}", {1}),
        ([image, image], f"Frame 1: {mark}\nFrame 2: {mark}?", set()),
        # what is written as a video is one to the model
        ([image, image], f"Frame1: {mark}\nFrame2: {mark}?", {0}),
    ):
        inputs = found.encode([visuals], [question])
        spans = found.spans(inputs["input_ids"], inputs["attention_mask"])[0]
        assert found.videos_among(inputs["input_ids"][0], spans) == videos
        assert sum(found.panels(inputs, [spans])) == len(inputs["pixel_values"])
    again = found.encode([film.frames()], [f"Frame1: {mark}\nFrame2: {mark}\nFrame3: {mark}?"])
    first = found.encode([[film]], [f"{clip}?"])
    assert torch.equal(again["input_ids"], first["input_ids"])


def test_touching_videos_without_marks_are_refused() -> None:
    for family in ("llava_next_video", "llava_onevision", "video_llava"):
        clip = adapter(family).video_mark
        with pytest.raises(UnsupportedError, match=f"put text between {clip} and {clip}"):
            adapter(family).encode([[video(), video()]], [f"{clip}{clip}?"])


def test_times_become_positions() -> None:
    """Qwen2.5-VL spaces frames by their times: twice as far apart at half the rate."""
    model, processor = tiny_video_lvlm("qwen2_5_vl")
    found = adapter_for(model, processor)
    per_second = model.config.vision_config.tokens_per_second
    for fps in (1.0, 2.0, 0.7):
        shown = video(6, fps=fps, sides=frame_sides("qwen2_5_vl"))
        inputs = found.encode([[shown]], [QUESTION])
        seconds = inputs["second_per_grid_ts"]
        assert seconds.dtype == torch.float32
        assert seconds.tolist() == pytest.approx([2 / fps])
        names = ("input_ids", "mm_token_type_ids", "video_grid_thw", "second_per_grid_ts")
        positions, _ = model.model.get_rope_index(**{name: inputs[name] for name in names})
        spans = found.spans_by_frame(inputs)[0]
        starts = [int(positions[0, 0, places[0]]) for places in spans.pictures]
        steps = [start - starts[0] for start in starts]
        assert steps == [int(step * per_second * 2 / fps) for step in range(3)]


def test_each_video_has_its_own_rate() -> None:
    """Qwen2.5-Omni's processor takes one rate for all videos; alone each is at its own."""
    model, processor = tiny_video_lvlm(OMNI)
    found = adapter_for(model, processor)
    sides = frame_sides(OMNI)
    films = [video(4, fps=1.0, sides=sides), video(6, seed=1, fps=0.5, sides=sides)]
    batch = found.encode([[film] for film in films], [QUESTION] * 2)
    assert batch["video_second_per_grid"].tolist() == [2.0, 4.0]
    text = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": QUESTION}]}],
        add_generation_prompt=True,
    )
    spans = found.spans(batch["input_ids"], batch["attention_mask"])
    for row, film in enumerate(films):
        own = given_to(processor, [film.read()], text, fps=film.fps)
        alone = found.encode([[film]], [QUESTION])
        assert set(alone) == set(own)
        with torch.no_grad():
            expected = model(**own).logits
            assert torch.equal(model(**alone).logits, expected)
            taken = model(**found.select_rows(batch, spans, [row])).logits[:, -1]
        assert torch.allclose(taken, expected[:, -1], atol=1e-4)


def still(frames: int = 4) -> Video:
    """Frames of which the second is the first again, and the last the third but for a corner."""
    first, third = video(2, sides=frame_sides("video_llama_3")).frames()
    last = third.copy()
    last.paste((9, 8, 7), (16, 8, 24, 16))  # the last block of six
    return Video([first, first, third, last][:frames], fps=2)


def test_visual_tokens_that_repeat_a_frame_are_left_out() -> None:
    """VideoLLaMA3: what is left of each frame is its run, and lies where it was."""
    model, processor = tiny_video_lvlm("video_llama_3")
    found = adapter_for(model, processor)
    inputs = found.encode([[still()]], [QUESTION])
    spans = found.spans_by_frame(inputs)[0]
    assert [len(places) for places in spans.pictures] == [6, 1, 6, 1]
    assert found.image_grids(inputs, [spans]) == [None]
    (boxes,) = found.patch_boxes(inputs, 0, [frame_sides("video_llama_3")])
    assert boxes is not None
    assert torch.equal(boxes[:6], boxes[7:13])
    assert boxes[6].tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert boxes[13].tolist() == pytest.approx([2 / 3, 1 / 2, 1, 1])
    text = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": QUESTION}]}],
        add_generation_prompt=True,
    )
    own = given_to(processor, [still().read()], text)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, model(**own).logits)
    # each of a batch gets its part of the mask
    films = [[still()], [], [still(2), still(3)]]
    batch = found.encode(films, [QUESTION] * 3)
    samples = found.spans(batch["input_ids"], batch["attention_mask"])
    assert found.input_rows(batch, samples)["video_compression_mask"] == [24, 0, 30]
    for row, films_of_row in enumerate(films):
        part = found.select_rows(batch, samples, [row])
        alone = found.encode([films_of_row], [QUESTION])
        for name in ("pixel_values_videos", "video_compression_mask"):
            assert (name in part) == bool(films_of_row)
            assert name not in part or torch.equal(part[name], alone[name])


def test_times_stay_exact_in_half_precision() -> None:
    found = adapter_for(*tiny_video_lvlm("qwen2_5_vl", dtype=torch.bfloat16))
    inputs = found.encode([[video(4, fps=0.3, sides=frame_sides("qwen2_5_vl"))]], [QUESTION])
    assert inputs["pixel_values_videos"].dtype == torch.bfloat16
    assert inputs["second_per_grid_ts"].tolist() == pytest.approx([2 / 0.3], rel=1e-6)


def test_times_of_frames_stand_in_the_prompt_of_qwen3() -> None:
    found = adapter("qwen3_vl")
    sides = frame_sides("qwen3_vl")
    inputs = found.encode([[video(5, fps=2.0, sides=sides)]], [QUESTION])
    text = "".join(found.token_texts(inputs["input_ids"][0]))
    # frames 0 and 1 are at 0 and 0.5 s, and the last one is merged with itself
    for time in ("<0.2 seconds>", "<1.2 seconds>", "<2.0 seconds>"):
        assert text.count(time) == 1
    # of 5 frames every other one: at 1, 3 s of a video of 2 frames a second
    some = Video(video(8, sides=sides).frames(), fps=2.0, num_frames=2)
    text = "".join(found.token_texts(found.encode([[some]], [QUESTION])["input_ids"][0]))
    assert "<2.0 seconds>" in text, "the mean of the times of frames 2 and 6"


@pytest.mark.parametrize("family", TOLD_TIMES)
def test_a_model_that_is_told_times_asks_for_them(family: str) -> None:
    shown = video(4, fps=None, sides=frame_sides(family))
    with pytest.raises(DataError, match=r"Video\(frames, fps=\.\.\.\)"):
        adapter(family).encode([[shown]], [QUESTION])
    adapter("qwen2_vl").encode([[shown]], [QUESTION])


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_a_batch_with_and_without_videos_is_split_by_samples(family: str) -> None:
    found, sides = adapter(family), frame_sides(family)
    shown, image = video(4, sides=sides), Image.new("RGB", sides, "blue")
    other = video(4, seed=5, sides=sides) if family in ALONE else image
    more = [other] if family == "molmo2" else [other, shown]
    samples: list[list[Any]] = [[shown], [], [other], more]
    batch = found.encode(samples, [QUESTION] * 4)
    spans = found.spans(batch["input_ids"], batch["attention_mask"])
    assert [len(sample.images) for sample in spans] == [*map(len, samples)]
    for row, visuals in enumerate(samples):
        alone = found.encode([visuals], [QUESTION])
        part = found.select_rows(batch, spans, [row])
        for name in set(alone) - {"input_ids", "attention_mask", "mm_token_type_ids"}:
            expected = alone[name]
            if part[name].shape == expected.shape:
                assert torch.equal(part[name], expected), (row, name)
            else:  # tiles of LLaVA-NeXT are padded to the widest of the batch
                assert name == "pixel_values"


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 4), st.integers(0, 2))
def test_cut_runs_tile_what_was_cut(gaps: list[int], each: int, ends: int) -> None:
    frames = len(gaps)
    lengths = [each] * frames
    lengths[-1] += ends
    runs, at = [], 0
    for gap, length in zip(gaps, lengths, strict=True):
        runs.append(Run(at + gap, at + gap + length, 0))
        at += gap + length
    found = cut_frames(runs, {0: frames}, ends)
    assert [i for run in found for i in range(run.start, run.end)] == [
        i for run in runs for i in range(run.start, run.end)
    ]
    sizes = [sum(r.end - r.start for r in found if r.frame == frame) for frame in range(frames)]
    assert sizes == [each] * frames
    assert cut_frames(runs, {}) == tuple(runs)


# what is refused


def test_a_model_that_takes_no_videos_says_so_in_one_sentence() -> None:
    found = adapter_for(*tiny_lvlm("llava"))
    with pytest.raises(UnsupportedError, match=r"LlavaAdapter takes no videos.*video\.frames\(\)"):
        found.encode([[video()]], [QUESTION])
    images = found.encode([video(3).frames()], [QUESTION])
    assert len(images["pixel_values"]) == 3


@pytest.mark.skipif(HAS_TORCHVISION, reason="torchvision is installed")
def test_a_processor_without_its_part_for_videos_says_what_to_install() -> None:
    found = adapter_for(*tiny_lvlm("qwen2_vl"))
    with pytest.raises(UnsupportedError, match="pip install torchvision"):
        found.encode([[video()]], [QUESTION])


def test_marks_and_videos_are_counted() -> None:
    found, shown = adapter("qwen2_vl"), video(sides=frame_sides("qwen2_vl"))
    pad = "<|video_pad|>"
    with pytest.raises(DataError, match=r"1 video but 2 placeholders '<\|video_pad\|>'"):
        found.encode([[shown]], [pad + pad + QUESTION])
    with pytest.raises(DataError, match="no videos are given"):
        found.encode([[]], [pad + QUESTION])
    # a question that holds the mark keeps it where it is
    inputs = found.encode([[shown]], ["Look: " + pad + " What?"])
    text = "".join(found.token_texts(inputs["input_ids"][0]))
    assert text.startswith("user\nLook: <|video_pad|>")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Video([]), "must have at least one"),
        (lambda: Video(Image.new("RGB", (4, 4))), r"give a list of frames, Video\(\[image\]\)"),  # type: ignore[arg-type]
        (lambda: Video(np.zeros((4, 4, 3), np.uint8)), r"expected \(frames, height, width, 3\)"),
        (lambda: Video([b""], num_frames=0), "num_frames of a video must be at least 1, got 0"),
        (lambda: Video([b""], fps=0), "must be above 0, got 0"),
        (lambda: Video([b""], fps=float("nan")), "must be above 0, got nan"),
        (lambda: Video("a.mp4", fps=1, num_frames=2), "give one of the two"),
        (lambda: Video("https://a.org/b.mp4"), "not fetched from the network"),
        (lambda: Video(Path(__file__).parent).read(), "this is a folder"),
        (lambda: Video([b"x"]).read(), "frame 0 of the video: this is not an image"),
        (
            lambda: Video([Image.new("RGB", (4, 4)), Image.new("RGB", (4, 5))]).read(),
            "frame 0 has 4 x 4 pixels and frame 1 4 x 5",
        ),
        (lambda: Video([Image.new("RGB", (40, 40))]).read(max_pixels=99), "the limit is 99"),
    ],
)
def test_what_is_no_video(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_an_array_is_its_frames() -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    for given_as in (values, torch.from_numpy(values), list(values)):
        clip = Video(given_as, fps=3).read()
        assert np.array_equal(clip.array, values)
        assert clip.metadata["duration"] == 1
    assert Video(values, num_frames=2).read().positions == [0, 2]
    assert open_visual(clip) is clip


def make_file(path: Path, frames: int, rate: int) -> Path:
    """A video whose frames are ever brighter, by ten levels each."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            image = Image.new("RGB", (32, 32), (number * 10,) * 3)
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return path


def test_a_file_is_decoded(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.mp4", 20, rate=10)
    for options, positions in (
        ({}, [1, 3, 6, 8, 11, 13, 16, 18]),
        ({"num_frames": 2}, [5, 15]),
        ({"fps": 2}, [2, 7, 12, 17]),
        ({"num_frames": 99}, list(range(20))),
    ):
        clip = Video(path, **options).read()  # type: ignore[arg-type]
        assert clip.positions == positions
        assert (clip.total, clip.fps) == (20, 10)
        levels = clip.array[:, 16, 16, 0]
        assert np.abs(levels - np.array(positions) * 10.0).max() < 5
    # what the processor is told is the rate of the file and where the frames are in it
    found = adapter("qwen3_vl")
    inputs = found.encode([[Video(path, num_frames=2)]], [QUESTION])
    text = "".join(found.token_texts(inputs["input_ids"][0]))
    assert "<1.0 seconds>" in text, "the mean of 0.5 and 1.5 s"


def test_a_video_given_as_an_image_says_how_to_give_it(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.mp4", 3, rate=10)
    with pytest.raises(DataError, match=r"this is a video, not an image.*lvlmsal\.Video\(path\)"):
        open_image(path)


def test_without_pyav_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"any")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'lvlmsal\[video\]'"):
        Video(tmp_path / "a.mp4").read()


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "x.mp4").write_bytes(b"this is not a video")
    (tmp_path / "y.mp4").write_text(json.dumps({}))
    whole = make_file(tmp_path / "z.mp4", 20, rate=10).read_bytes()
    (tmp_path / "z.mp4").write_bytes(whole[: len(whole) // 2])
    for name in ("x.mp4", "y.mp4", "z.mp4", "missing.mp4"):
        with pytest.raises(DataError, match=f"(?s){name}.*(cannot be decoded|no video)"):
            Video(tmp_path / name).read()
