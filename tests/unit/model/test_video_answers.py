"""Questions about videos: answers, what they share, what they rest on, and methods on top."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import lvlmsal
from lvlmsal import Lvlm, Video
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.explorer.page import build_page
from lvlmsal.explorer.shown_answer import ShownAnswer
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.sid import SID
from lvlmsal.interventions.vcd import VCD
from lvlmsal.model.shared_prefix import SharedPrefix
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.testing.tiny import TinySample
from lvlmsal.tiny.parts import WORDS
from tests import reference, second_streams
from tests.videos import (
    ALONE,
    MERGED,
    VIDEO_FAMILIES,
    frame_sides,
    frames_input,
    tiny_video_lvlm,
    video,
    video_places,
)

pytestmark = pytest.mark.slow

QUESTIONS = ["What happens?", "Is it a dog, or a cat?", "Why?"]


def loaded(family: str, **options: Any) -> Lvlm:
    return lvlmsal.load(tiny_video_lvlm(family, **options))


def shown(family: str, count: int = 4, seed: int = 0) -> Video:
    return video(count, seed=seed, sides=frame_sides(family))


def pictures_next_to_videos(family: str) -> list[Image.Image]:
    """An image of noise, in families that take one where there are videos."""
    return [] if family in ALONE else [Image.effect_noise(frame_sides(family), 80)]


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_answers_are_those_of_generate(family: str) -> None:
    lvlm, film = loaded(family), shown(family)
    inputs = lvlm.adapter.encode([[film]], QUESTIONS[:1])
    plain = lvlm.model.generate(**inputs, max_new_tokens=8, do_sample=False)
    expected = plain[0, inputs["input_ids"].shape[1] :].tolist()
    answer = lvlm.generate(film, QUESTIONS[0], max_new_tokens=8)
    assert answer.token_ids == expected[: len(answer.token_ids)]
    streamed = lvlm.stream(film, QUESTIONS[0], max_new_tokens=8)
    assert "".join(streamed) == answer.text
    held = [{"type": "video", "video": film}, {"type": "text", "text": QUESTIONS[0]}]
    message = [{"role": "user", "content": held}]
    assert lvlm.generate(None, message, max_new_tokens=8).token_ids == answer.token_ids


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_a_batch_answers_as_each_alone(family: str) -> None:
    lvlm, film = loaded(family, dtype=torch.float64), shown(family)
    image = pictures_next_to_videos(family)
    more = [shown(family, seed=3)] if family == "molmo2" else [film, shown(family, seed=3)]
    asked: list[Any] = [film, image, None, more]
    questions = [*QUESTIONS, "And now?"]
    together = lvlm.generate(asked, questions, max_new_tokens=6)
    for entry, question, answer in zip(asked, questions, together, strict=True):
        assert lvlm.generate(entry, question, max_new_tokens=6).token_ids == answer.token_ids


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_beams_read_the_videos_of_their_prompts(family: str) -> None:
    """Logits of the first step are those of a plain pass, or beams are refused."""
    lvlm = loaded(family, dtype=torch.float64)
    films = [shown(family, seed=seed) for seed in range(3)]
    batch = [films[:1], films[1:2]] if family == "molmo2" else [films[:2], films[2:]]
    inputs = lvlm.adapter.encode(batch, QUESTIONS[:2])
    spans = lvlm.adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    if family in ("glm4v", "glm46v", "perception_lm"):
        with pytest.raises(UnsupportedError, match="under beam search transformers mixes up"):
            lvlm.generate(batch, QUESTIONS[:2], decoder="beam")
        if family != "perception_lm":
            return
        batch = [films[:1], films[1:2]]
        inputs = lvlm.adapter.encode(batch, QUESTIONS[:2])
        spans = lvlm.adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    assert lvlm.adapter.lost_in_beams(inputs, spans) == ""
    with torch.no_grad():
        plain = lvlm.model(**inputs).logits[:, -1].repeat_interleave(2, dim=0)
    first: list[torch.Tensor] = []
    model: Any = lvlm.model
    watched = model.register_forward_hook(lambda *call: first.append(call[2].logits[:, -1]))
    model.generate(**inputs, num_beams=2, do_sample=False, max_new_tokens=1)
    watched.remove()
    assert torch.allclose(first[0], plain, atol=1e-4)


def test_beams_do_not_read_videos_that_repeat_a_frame() -> None:
    lvlm = loaded("video_llama_3")
    first, third = shown("video_llama_3", 2).frames()
    film = Video([first, first, third], fps=2)
    with pytest.raises(UnsupportedError, match="of which visual tokens were left out"):
        lvlm.generate(film, QUESTIONS[0], decoder="beam")
    inputs = lvlm.adapter.encode([[film]], QUESTIONS[:1])
    with pytest.raises(ValueError, match="non-empty list"):  # by transformers alone
        lvlm.model.generate(**inputs, num_beams=2, max_new_tokens=1)


@pytest.mark.parametrize("family", ["qwen3_vl", "video_llama_3", "llava_onevision", "internvl"])
def test_second_streams_in_a_scope_around_generate(family: str) -> None:
    """Videos are encoded by what encodes images in some; pixels are noted once."""
    lvlm, film, vcd = loaded(family, dtype=torch.float64), shown(family), VCD(noise_step=999)
    expected = lvlm.generate(film, QUESTIONS[0], interventions=vcd, max_new_tokens=5).token_ids
    inputs = lvlm.adapter.encode([[film]], QUESTIONS[:1])
    model: Any = lvlm.model
    with lvlmsal.intervene(model, vcd):
        got = model.generate(**inputs, max_new_tokens=5, do_sample=False)[0]
    assert got[inputs["input_ids"].shape[1] :].tolist()[: len(expected)] == expected


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_questions_share_a_video(family: str) -> None:
    lvlm = loaded(family, dtype=torch.float64)
    film = Video(shown(family).frames(), fps=8)
    assert SharedPrefix.of(lvlm.adapter, [film.read()], QUESTIONS) is not None
    edits: Any
    for edits in ([], [LocoRE(beta=2.0)], [VCD(beta=0.0)], [SID(**SID.strong)]):
        answers = lvlm.ask(film, QUESTIONS, max_new_tokens=6, interventions=edits)
        for question, answer in zip(QUESTIONS, answers, strict=True):
            alone = lvlm.generate(film, question, max_new_tokens=6, interventions=edits)
            assert answer.token_ids == alone.token_ids


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_a_report_has_a_map_for_each_frame(family: str, tmp_path: Path) -> None:
    lvlm, film = loaded(family), shown(family, 5)
    frames = film.frames()
    image = pictures_next_to_videos(family)
    report = lvlm.diagnose([film, *image], QUESTIONS[0], [10, 20, 30])
    pictures = frames[::2] if family in MERGED else frames
    assert report.images[: len(pictures)] == pictures
    assert len(report.images) == len(report.grids) == len(pictures) + len(image)
    spans, rows = report.spans, report.rows.mean(1)
    assert {run.owner for run in spans.runs} == {*range(1 + len(image))}
    # maps hold the visual tokens of the video in the order of the sequence, each once
    ids = lvlm.adapter.encode([[film]], QUESTIONS[:1])["input_ids"][0]
    places = video_places(lvlm.model, ids)
    maps = torch.cat([report.image_map(1, at).flatten() for at in range(len(pictures))])
    if family == "video_llava":  # a class token stands before the patches of each frame
        places = [at for number, at in enumerate(places) if number % 17]
    ends = lvlm.adapter.video_ends
    assert torch.equal(maps, rows[1][places][: len(places) - ends])
    report.save(tmp_path / "report.safetensors")
    again = SaliencyReport.load(tmp_path / "report.safetensors")
    assert again.spans == spans
    assert torch.equal(again.image_map(1, 1), report.image_map(1, 1))
    page, _, _ = build_page([ShownAnswer(report)])
    assert page.count("data:image/") >= len(report.images)
    assert report._repr_html_()


def test_maps_of_frames_without_some_visual_tokens() -> None:
    lvlm = loaded("video_llama_3")
    first, third = shown("video_llama_3", 2).frames()
    report = lvlm.diagnose(Video([first, first, third], fps=2), QUESTIONS[0], [10, 20, 30])
    assert [len(places) for places in report.spans.pictures] == [6, 1, 6]
    assert report.images == [first, first, third]
    rows = report.rows.mean(1)[1]
    for number, places in enumerate(report.spans.pictures):
        drawn = report.image_map(1, number)
        assert drawn.shape == (2, 3)
        seen = drawn.flatten() if len(places) > 1 else drawn[:1, :1].flatten()
        assert torch.allclose(seen, rows[places])


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_saliency_of_sgrs_is_that_of_the_diagnosis(family: str) -> None:
    lvlm, film = loaded(family, dtype=torch.float64), shown(family)
    answer = lvlm.generate(film, QUESTIONS[0], decoder="sgrs", max_new_tokens=6, seed=3)
    judged = answer.diagnose().saliency
    own = [record.saliency for record in answer.tokens]
    assert any(value is not None for value in own)
    for mine, other in zip(own, judged, strict=True):
        if mine is not None:
            assert mine == pytest.approx(other, rel=1e-6)


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_locore_against_whole_matrices(family: str) -> None:
    """Positions of the video from its token id alone, edits from a pass over all of it."""
    lvlm, film = loaded(family, dtype=torch.float64), shown(family)
    inputs = lvlm.adapter.encode([[film]], QUESTIONS[:1])
    places = video_places(lvlm.model, inputs["input_ids"][0])
    sample = TinySample(inputs, ((places[0], places[-1] + 1),), ((1, 1),))
    beta = 12.0 if family == "smolvlm" else 3.0  # of which many tokens share the attention
    locore = LocoRE(beta=beta, window=2)
    options: dict[str, Any] = {
        "beta": beta,
        "window": 2,
        "mode": "weights",
        "layers": None,
        "heads": None,
    }
    rule = reference.rule_for([sample], "after_image", **options)
    edited = lvlm.generate(film, QUESTIONS[0], interventions=locore, max_new_tokens=6)
    ids = words(edited.token_ids)
    with torch.no_grad(), reference.brute_force(lvlm.model, rule):
        expected = lvlm.model(**reference.longer(inputs, ids[:-1])).logits[0, -len(ids) :]
    assert expected.argmax(-1).tolist() == ids
    assert ids
    plain = lvlm.generate(film, QUESTIONS[0], max_new_tokens=6)
    assert plain.token_ids != edited.token_ids


def words(ids: list[int]) -> list[int]:
    """An answer up to where a random model writes a placeholder, which no plain pass takes."""
    return list(takewhile(lambda token: token < WORDS, ids))


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_vcd_noises_the_frames(family: str) -> None:
    lvlm, film = loaded(family, dtype=torch.float64), shown(family)
    vcd = VCD(noise_step=999)
    inputs = lvlm.adapter.encode([[film]], QUESTIONS[:1])
    spans = lvlm.adapter.spans(inputs["input_ids"])
    prompt = Prompt(lvlm.adapter, spans, inputs, lambda *_, **__: None)
    noised = vcd.second_inputs(prompt)
    assert noised is not None
    assert set(noised) == set(inputs)
    for name, value in inputs.items():
        assert torch.equal(noised[name], value) == (name != frames_input(family)), name

    def combine(clean: torch.Tensor, other: torch.Tensor, step: int) -> torch.Tensor:
        contrast = (1 + vcd.alpha) * clean - vcd.alpha * other
        probabilities = clean.softmax(-1)
        kept = probabilities >= vcd.beta * probabilities.max()
        return torch.where(kept, contrast, -torch.inf)

    checked = 0
    for question in QUESTIONS:
        answer = lvlm.generate(film, question, interventions=vcd, max_new_tokens=5)
        if ids := words(answer.token_ids):
            asked = lvlm.adapter.encode([[film]], [question])
            other = {**asked, frames_input(family): noised[frames_input(family)]}
            logits = second_streams.combined(lvlm.model, asked, other, combine, ids)
            assert logits.argmax(-1).tolist() == ids
            checked += len(ids)
    assert checked


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
@pytest.mark.parametrize("method", ["vcd", "icd", "m3id", "pai"])
def test_methods_with_a_second_stream_batch_as_alone(family: str, method: str) -> None:
    lvlm, film = loaded(family, dtype=torch.float64), shown(family)
    if (family, method) == ("smolvlm", "icd"):  # whose template for videos is another one
        with pytest.raises(UnsupportedError, match="this prompt begins with the token ids"):
            lvlm.generate(film, QUESTIONS[0], interventions=method, max_new_tokens=5)
        return
    asked: list[Any] = [film, [shown(family, seed=3)]]
    together = lvlm.generate(asked, QUESTIONS[:2], interventions=method, max_new_tokens=5)
    for entry, question, answer in zip(asked, QUESTIONS, together, strict=False):
        alone = lvlm.generate(entry, question, interventions=method, max_new_tokens=5)
        assert alone.token_ids == answer.token_ids


@pytest.mark.parametrize(
    "family", ["qwen3_vl", "qwen2_vl", "glm4v", "glm46v", "video_llama_3", "internvl", "smolvlm"]
)
def test_without_its_video_a_prompt_has_no_marks_of_it(family: str) -> None:
    from lvlmsal.interventions.contrast import without_images

    lvlm, film = loaded(family), shown(family)
    inputs = lvlm.adapter.encode([[film]], QUESTIONS[:1])
    spans = lvlm.adapter.spans(inputs["input_ids"])
    prompt = Prompt(lvlm.adapter, spans, inputs, lambda *_, **__: None)
    left = "".join(lvlm.adapter.token_texts(without_images(prompt)["input_ids"][0]))
    line = "\n" if family in ("video_llama_3", "internvl") else ""  # that the template writes
    expected = f"user\n{line}What happens?\nassistant\n"
    if family == "smolvlm":  # whose processor has a template of its own for videos
        expected = "<|im_start|>User: \n\nWhat happens?<end_of_utterance>\nAssistant:"
    assert left == expected


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_long_videos_reach_behind_the_text(family: str) -> None:
    """Times are positions: the answer follows the last frame, wherever the question ends."""
    lvlm = loaded(family, dtype=torch.float64)
    film = Video(shown(family, 24).frames(), fps=0.25)
    assert SharedPrefix.of(lvlm.adapter, [film.read()], ["?", "Why?"]) is None
    short = ["?", "So?"]
    for question, answer in zip(short, lvlm.ask(film, short, max_new_tokens=4), strict=True):
        assert answer.token_ids == lvlm.generate(film, question, max_new_tokens=4).token_ids
    # the passes of generate, and one pass over prompt and answer
    inputs = lvlm.adapter.encode([[film]], ["?"])
    whole = lvlm.adapter.append(inputs, torch.tensor([[10, 20]]))
    with torch.no_grad():
        logits = lvlm.model(**whole).logits[0, -1]
        steps = lvlm.model.generate(
            **inputs,
            max_new_tokens=3,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            prefix_allowed_tokens_fn=forced(inputs["input_ids"].shape[1], [10, 20]),
        )
    assert torch.allclose(steps.logits[-1][0], logits.to(steps.logits[-1]), atol=1e-4)


def forced(start: int, ids: list[int]) -> Any:
    """Lets generate write these tokens."""

    def allowed(_: int, sequence: torch.Tensor) -> list[int]:
        at = len(sequence) - start
        return [ids[at]] if at < len(ids) else [5]

    return allowed


def test_frames_of_a_batch_are_as_many_in_families_that_stack_them() -> None:
    lvlm = loaded("llava_next_video")
    films = [shown("llava_next_video", count) for count in (2, 3)]
    with pytest.raises(DataError, match="2 and 3 frames"):
        lvlm.generate(films, QUESTIONS[:2], max_new_tokens=2)
    lvlm = loaded("qwen2_vl")
    films = [shown("qwen2_vl", count) for count in (2, 5)]
    assert len(lvlm.generate(films, QUESTIONS[:2], max_new_tokens=2)) == 2
