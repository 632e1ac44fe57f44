"""Asking a loaded model: one question, a batch, and the report of an answer."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

from lvlmsal.cli import app
from lvlmsal.decoders.combination import check_combination
from lvlmsal.decoders.search import Beam, Greedy
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import ConfigError, DataError, UnknownName, UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.model import MAX_NEW_TOKENS
from lvlmsal.model.answer import Answer
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.registry import CATALOG
from lvlmsal.saliency import SaliencyOptions
from lvlmsal.saliency.options import SaliencyKeywords
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.testing.tiny import tiny_lvlm
from tests.tiers import FAMILIES
from tests.unit.decoders.sgrs.test_sgrs import Listener

QUESTION = "What is to be seen?"


def picture(width: int = 60, height: int = 44, seed: int = 0) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def loaded(family: str) -> Lvlm:
    return load(tiny_lvlm(family, dtype=torch.float64))


@pytest.mark.parametrize("decoder", ["greedy", "sample", "beam", "sgrs"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_answers_as_its_questions_do(family: str, decoder: str) -> None:
    lvlm = loaded(family)
    pictures: list[Any] = [picture(), None, [picture(30, 70, 1), picture(50, 50, 2)]]
    questions = [QUESTION, "None at all.", "Are they the same? é"]
    names = ["one", "two", "three"]
    options: dict[str, Any] = {"decoder": decoder, "max_new_tokens": 4, "seed": 3}
    together = lvlm.generate(pictures, questions, sample_ids=names, **options)
    assert isinstance(together, list)
    for answer, entry, question, name in zip(together, pictures, questions, names, strict=True):
        alone = lvlm.generate(entry, question, sample_ids=[name], **options)
        assert isinstance(alone, Answer)
        assert alone.token_ids == answer.token_ids
        assert answer.prompt == question
        assert [record.id for record in answer.tokens] == answer.token_ids
        assert answer.text == lvlm.adapter.decode(answer.token_ids)
        assert alone.spans.length == answer.spans.length
        start, end = answer.spans.output
        assert end - start == len(answer.token_ids) > 0
        assert len(answer.spans.images) == (
            0 if entry is None else 1 if isinstance(entry, Image.Image) else 2
        )


def test_an_answer_ends_with_the_end_of_sequence() -> None:
    lvlm = loaded("llava")
    free = lvlm.generate([picture(), None], [QUESTION, QUESTION], max_new_tokens=5)
    lvlm.model.generation_config.eos_token_id = [free[0].token_ids[1], 2]
    ended = lvlm.generate([picture(), None], [QUESTION, QUESTION], max_new_tokens=5)
    assert ended[0].token_ids == free[0].token_ids[:2]
    assert ended[1].token_ids[:2] == free[1].token_ids[:2]


def test_images_come_as_files_too(tmp_path: Path) -> None:
    lvlm = loaded("qwen2_vl")
    path = tmp_path / "scene.png"
    picture().save(path)
    wanted = lvlm.generate(picture(), QUESTION, max_new_tokens=3).token_ids
    assert lvlm.generate(path, QUESTION, max_new_tokens=3).token_ids == wanted
    assert lvlm.generate([str(path)], QUESTION, max_new_tokens=3).token_ids == wanted
    with pytest.raises(DataError, match=r"missing\.png"):
        lvlm.generate(tmp_path / "missing.png", QUESTION)


def test_interventions_act_and_leave_again() -> None:
    lvlm = loaded("llava")
    plain = lvlm.generate(picture(), QUESTION, max_new_tokens=6).token_ids
    strong: list[Any] = [{"name": "locore", "beta": 3.0}]
    edited = lvlm.generate(picture(), QUESTION, max_new_tokens=6, interventions=strong).token_ids
    assert edited != plain
    same = lvlm.generate(picture(), QUESTION, max_new_tokens=6, interventions=[LocoRE(beta=3.0)])
    assert same.token_ids == edited
    # one stands for a list of one, here and where several questions are asked
    for one in (strong[0], LocoRE(beta=3.0)):
        found = lvlm.generate(picture(), QUESTION, max_new_tokens=6, interventions=one)
        assert found.token_ids == edited
        (asked,) = lvlm.ask(picture(), [QUESTION], max_new_tokens=6, interventions=one)
        assert asked.token_ids == edited
    usual = lvlm.generate(picture(), QUESTION, max_new_tokens=6, interventions="locore")
    assert (
        usual.text
        == lvlm.generate(picture(), QUESTION, max_new_tokens=6, interventions=["locore"]).text
    )
    assert lvlm.generate(picture(), QUESTION, max_new_tokens=6).token_ids == plain


@pytest.mark.parametrize("decoder", ["greedy", "sgrs"])
def test_a_streamer_hears_prompt_and_answer(decoder: str) -> None:
    listener = Listener()
    answer = loaded("llava").generate(
        picture(), QUESTION, decoder=decoder, max_new_tokens=4, streamer=listener
    )
    assert [ids[0] for ids in listener.told[1:]] == answer.token_ids
    assert listener.ended == 1


@pytest.mark.parametrize("questions", [[QUESTION], [QUESTION, QUESTION]])
def test_several_questions_take_no_streamer(questions: list[str]) -> None:
    listener = Listener()
    with pytest.raises(TypeError, match=r"ask takes no streamer.*generate, or stream, for each"):
        loaded("llava").ask(picture(), questions, max_new_tokens=2, streamer=listener)
    assert not listener.told


def test_records_of_sgrs_carry_texts() -> None:
    answer = loaded("llava").generate(
        picture(), QUESTION, decoder=SGRS(alpha=1.5), max_new_tokens=5
    )
    rejected = [other for record in answer.tokens for other in record.rejected]
    assert rejected
    assert all(set(other) == {"id", "saliency", "probability", "text"} for other in rejected)
    assert all(record.saliency is not None for record in answer.tokens)


def test_options_of_the_user_stand_above_the_cards() -> None:
    lvlm = loaded("llava")
    lvlm.card = CATALOG.get("qwen2-vl-7b")
    beta = lvlm.card.defaults["locore"]["beta"]
    assert beta == 0.2
    built = lvlm.build_intervention("locore")
    assert isinstance(built, LocoRE)
    assert built.beta == beta
    built = lvlm.build_intervention({"name": "locore", "beta": 0.7})
    assert isinstance(built, LocoRE)
    assert built.beta == 0.7


def test_a_model_without_a_card_says_which_options_are_not_set() -> None:
    lvlm = loaded("llava")
    told = r"sgrs has its general options.*plausibility=0\.0, where pocket-llava has 0\.1\. Choose"
    with pytest.warns(UserWarning, match=told) as warned:
        lvlm.generate(picture(), QUESTION, decoder="sgrs", max_new_tokens=1)
    assert [warning.filename for warning in warned] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lvlm.build_decoder({"name": "sgrs", "plausibility": 0.2})
        lvlm.build_intervention("locore")  # cards of LLaVA have the general beta
        lvlm.card = CATALOG.get("pocket-llava")
        assert lvlm.build_decoder("sgrs") == SGRS(alpha=0.6, plausibility=0.1)


def test_decoders_and_interventions_that_are_mixed_up_are_answered_with_what_to_write() -> None:
    lvlm = loaded("llava")
    with pytest.raises(ConfigError, match="write  interventions='vcd'"):
        lvlm.generate(picture(), QUESTION, decoder="vcd")
    with pytest.raises(ConfigError, match="write  decoder='sgrs'"):
        lvlm.generate(picture(), QUESTION, interventions={"name": "sgrs"})


@pytest.mark.parametrize("spec", ["gredy", {"name": "sgrs", "alhpa": 1}, {"alpha": 1}])
def test_a_wrong_name_or_option_is_a_clear_error(spec: Any) -> None:
    with pytest.raises(ConfigError):
        loaded("llava").generate(picture(), QUESTION, decoder=spec)


def test_as_many_images_as_prompts() -> None:
    with pytest.raises(ValueError, match="1 image entries were given for 2 prompts"):
        loaded("llava").generate([picture()], [QUESTION, QUESTION])


def test_what_does_not_go_together_is_refused() -> None:
    @dataclass(frozen=True)
    class Alone(AttentionIntervention):
        supports_beam: ClassVar[bool] = False
        supports_sgrs: ClassVar[bool] = False

    check_combination(Greedy(), [Alone()])
    for decoder in (Beam(), SGRS()):
        with pytest.raises(UnsupportedError, match=decoder.name):
            check_combination(decoder, [Alone()])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_report_is_of_the_answer_that_it_came_from(family: str) -> None:
    lvlm = loaded(family)
    pictures = [picture(), picture(30, 70, 1)]
    answer = lvlm.generate(pictures, QUESTION, decoder=SGRS(alpha=0.0), max_new_tokens=3)
    report = answer.diagnose()
    assert report.token_ids == answer.token_ids
    assert report.saliency == pytest.approx([record.saliency for record in answer.tokens])
    assert report.options.row == "candidate"
    shown: list[SaliencyReport] = []
    with patch.object(SaliencyReport, "plot", lambda self, path: shown.append(self)):
        answer.plot()
        answer.plot(options=SaliencyOptions(context="output"))
    # what is shown is read from the same row for every decoder, unless something else is asked for
    assert [drawn.options for drawn in shown] == [
        SaliencyOptions(),
        SaliencyOptions(context="output"),
    ]
    assert report.spans.output == answer.spans.output
    assert report.rows.shape == (3, 1, report.spans.length)
    assert report.attention.sum(-1) == pytest.approx(torch.ones(3, 1), rel=1e-6)
    assert len(report.position_texts) == report.spans.length
    for index, (start, end) in enumerate(report.spans.images):
        for kind in ("saliency", "attention"):
            heat = report.image_map(1, index, of=kind)
            assert heat.shape == report.grids[index]
            values = (report.rows if kind == "saliency" else report.attention)[1].mean(0)[start:end]
            boxes = report.boxes[index] if report.boxes else None
            if boxes is None:
                assert heat.numel() == end - start
            else:  # the corner is the first token of the first tile, and that of the whole image
                corner = boxes[:, :2].sum(1) == 0
                assert int(corner.sum()) == 2
                assert torch.isclose(heat[0, 0], values[corner].mean())
    rows, columns = report.grids[1]
    cell = report.spans.images[1][0] + columns  # the first cell of the second row of patches
    if rows > 1 and not report.boxes:
        assert report.image_map(0, 1)[1, 0] == report.rows[0].mean(0)[cell]


def test_a_response_may_be_given_as_text_or_ids() -> None:
    lvlm = loaded("llava")
    text = lvlm.diagnose(picture(), QUESTION, "a cat")
    assert text.text == "a cat"
    assert lvlm.diagnose(picture(), QUESTION, text.token_ids).saliency == text.saliency
    own = lvlm.diagnose(picture(), QUESTION, max_new_tokens=2)
    assert own.token_ids == lvlm.generate(picture(), QUESTION, max_new_tokens=2).token_ids
    with pytest.raises(ValueError, match="no token"):
        lvlm.diagnose(picture(), QUESTION, "")


def test_options_of_a_report() -> None:
    lvlm = loaded("qwen2_vl")
    options = SaliencyOptions(context="output", layers=[0, 1], norm="matrix")
    report = lvlm.diagnose(picture(), QUESTION, [9, 8, 7], options=options)
    assert report.layers == [0, 1]
    assert report.saliency[0] is None
    assert report.saliency[1] is not None
    row = lvlm.diagnose(picture(), QUESTION, [9, 8, 7], options=SaliencyOptions(layers=[0, 1]))
    assert torch.all(report.rows[:, 0].norm(dim=-1) < row.rows[:, 0].norm(dim=-1))
    # In the last layer no other row reaches the loss: its matrix is its row.
    assert torch.allclose(report.rows[:, 1], row.rows[:, 1])
    summed = lvlm.diagnose(
        picture(), QUESTION, [9, 8, 7], options=SaliencyOptions(layers=[0, 1], loss="sum")
    )
    assert torch.allclose(summed.rows[-1], row.rows[-1], atol=1e-6)  # nothing comes after it
    assert not torch.allclose(summed.rows[:-1], row.rows[:-1], atol=1e-3)
    assert summed.log_probabilities == row.log_probabilities
    locore: list[Any] = [LocoRE(beta=1.0)]
    edited = lvlm.diagnose(picture(), QUESTION, [9, 8, 7], interventions=locore)
    assert edited.saliency != row.saliency


@pytest.mark.slow
@pytest.mark.parametrize("images", [0, 1, 2])
def test_a_plot_is_written(tmp_path: Path, images: int) -> None:
    pytest.importorskip("matplotlib")
    pictures = [picture(seed=index) for index in range(images)]
    report = loaded("llava").diagnose(pictures, "A $ sign?\nAnd a line.", "of $5 and $6")
    path = tmp_path / "saliency.png"
    figure = report.plot(path)
    assert Image.open(path).size[0] > 100
    heat = figure.axes[0].images[0].get_array()
    assert heat is not None
    start = report.spans.context_start("after_image")
    assert heat.shape == (len(report.tokens), 1 + report.spans.length - start - 1)
    row = report.rows[1].mean(0)
    share = sum(float(row[first:end].sum()) for first, end in report.spans.images) / float(
        row.sum()
    )
    assert heat[1, 0] == pytest.approx(share)
    assert heat[1, 1] == pytest.approx(float(row[start] / row[start:].max()))
    # the first token sees nothing of the answer, the second one the first
    answer = 1 + report.spans.output_start - start
    assert np.isnan(np.ma.filled(heat[0, answer:], np.nan)).all()
    assert list(np.isnan(np.ma.filled(heat[1, answer:], np.nan)))[:2] == [False, True]
    bar = figure.axes[3]
    assert "share of the row's largest word" in bar.get_ylabel()
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert not any("▲" in name for name in names)
    labels = [True, *[None] * (len(report.tokens) - 1)]
    marked = report.plot(labels=labels).axes[0]
    texts = [tick.get_text() for tick in marked.get_yticklabels()]
    assert texts == [f"▲ {names[0]}", *names[1:]]
    columns = [tick.get_text() for tick in marked.get_xticklabels()]
    assert [place for place, text in enumerate(columns) if "▲" in text] == [answer]
    with pytest.raises(ValueError, match="labels, one a token, got 1"):
        report.plot(labels=[True])


def asking(text: str, **image: object) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [{"type": "image", **image}, {"type": "text", "text": text}]}
    ]


def test_messages_in_place_of_a_question() -> None:
    lvlm = loaded("llava")
    first = lvlm.generate(picture(), QUESTION, max_new_tokens=4)
    alone = lvlm.generate(None, asking(QUESTION, image=picture()), max_new_tokens=4)
    assert alone.token_ids == first.token_ids
    assert (alone.prompt, alone.messages) == (QUESTION, asking(QUESTION))
    turns = [
        *asking(QUESTION),
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": "And what else?"},
    ]
    second = lvlm.generate(picture(), turns, max_new_tokens=4)
    assert (second.prompt, second.messages) != (QUESTION, None)
    assert second.prompt == "And what else?"
    assert second.diagnose().saliency == lvlm.diagnose(picture(), turns, second.token_ids).saliency
    batch = lvlm.generate([picture(), picture()], [turns, QUESTION], max_new_tokens=4)
    asked = lvlm.ask(picture(), [turns, QUESTION], max_new_tokens=4)
    for found in (batch, asked):
        assert [answer.token_ids for answer in found] == [second.token_ids, first.token_ids]
    both = lvlm.generate(None, [asking(QUESTION, image=picture())] * 2, max_new_tokens=4)
    assert [answer.token_ids for answer in both] == [first.token_ids] * 2
    for ask in (lvlm.generate, lvlm.diagnose):
        with pytest.raises(DataError, match="the messages hold images as well"):
            ask(picture(), asking(QUESTION, image=picture()))
    with pytest.raises(DataError, match="the messages hold images as well"):
        lvlm.ask(picture(), [asking(QUESTION, image=picture())])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"do_sample": True}, "do_sample: write decoder={'name': 'sample'}$"),
        (
            {"temperature": 0.7, "do_sample": True},
            "do_sample, temperature: write decoder={'name': 'sample', 'temperature': 0.7}",
        ),
        ({"do_sample": False}, "do_sample: leave it out; decoder='greedy'"),
        ({"num_beams": 4}, "num_beams: write decoder={'name': 'beam', 'num_beams': 4}"),
        ({"max_length": 9}, "max_length: write max_new_tokens="),
        (
            {"repetition_penalty": 1.2},
            r"repetition_penalty: set it for the model, lvlm\.model\.generation_config\.rep",
        ),
        ({"stopping_criteria": []}, "stopping_criteria: call transformers' own generate"),
        ({"max_new_token": 9}, "unknown option of generate 'max_new_token'. Did you mean 'max_new"),
    ],
)
def test_options_of_transformers_are_answered_with_what_to_type(
    given: dict[str, Any], told: str
) -> None:
    lvlm = loaded("llava")
    with pytest.raises(ConfigError, match=told):
        lvlm.generate(picture(), QUESTION, **given)
    with pytest.raises(ConfigError, match=told):
        lvlm.ask(picture(), [QUESTION, QUESTION], **given)


def test_what_to_type_is_accepted() -> None:
    lvlm = loaded("llava")
    for decoder in ({"name": "sample", "temperature": 0.7}, {"name": "beam", "num_beams": 4}):
        assert lvlm.generate(picture(), QUESTION, decoder=decoder, max_new_tokens=1).token_ids


def test_saliency_options_as_keyword_arguments() -> None:
    lvlm = loaded("llava")
    answer = lvlm.generate(picture(), QUESTION, max_new_tokens=3)
    options = SaliencyOptions(row="candidate", layers=[1])
    wanted = lvlm.diagnose(picture(), QUESTION, answer.token_ids, options=options)
    one = lvlm.diagnose(picture(), QUESTION, answer.token_ids, row="candidate", layers=[1])
    other = answer.diagnose(options=SaliencyOptions(row="candidate"), layers=[1])
    for found in (one, other):
        assert found.options == options
        assert found.saliency == wanted.saliency
    with pytest.raises(UnknownName, match=r"unknown saliency option 'rwo'\. Did you mean 'row'"):
        answer.diagnose(rwo="candidate")
    assert set(SaliencyKeywords.__annotations__) == {f.name for f in fields(SaliencyOptions)}


def test_python_and_shell_have_the_same_length_limit() -> None:
    limits = {
        inspect.signature(function).parameters["max_new_tokens"].default
        for function in (Lvlm.generate, Lvlm.diagnose, app.generate, app.saliency)
    }
    assert limits == {MAX_NEW_TOKENS}


@pytest.mark.parametrize("size", [0, -1])
def test_no_question_is_lost_to_a_batch_of_none(size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {size}"):
        loaded("llava").ask(picture(), [QUESTION, QUESTION], batch_size=size)
