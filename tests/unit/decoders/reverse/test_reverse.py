"""REVERSE against its public loop by hand, and the parts of that loop against worked cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache, LogitsProcessorList

from lvlmsal import load
from lvlmsal.adapters import adapter_for
from lvlmsal.attention.stream import prepared
from lvlmsal.decoders.reverse import Reverse
from lvlmsal.decoders.reverse.hinted import hinted
from lvlmsal.decoders.reverse.phrases import Marks, Piece
from lvlmsal.decoders.reverse.tries import Tries
from lvlmsal.errors import UnsupportedError
from lvlmsal.testing.pictures import random_images
from lvlmsal.testing.tiny import tiny_lvlm, tiny_model
from lvlmsal.versions import CACHE
from tests.unit.decoders.reverse.by_hand import (
    PERIOD,
    SPAN,
    SURE,
    UNSURE,
    ByHand,
    Found,
    Marking,
    marked_lvlm,
)

LIMIT = 14
MARKS = Marks(SPAN, SURE, UNSURE)
OPTIONS: list[dict[str, Any]] = [
    {"threshold": 0.002},
    {"threshold": 0.0002, "temperature": 0.0, "local_tries": 2},
    {"threshold": 0.001, "total_tries": 7, "local_tries": 3},
    {"threshold": 0.0007, "total_tries": 8, "local_tries": 2, "top_k": 9},
]


@pytest.fixture(scope="module")
def lvlm() -> tuple[Any, Any]:
    return marked_lvlm()


def inputs_of(lvlm: tuple[Any, Any], question: str, number: int = 0) -> dict[str, torch.Tensor]:
    adapter = adapter_for(*lvlm)
    found = adapter.encode([random_images()[number][:1]], [question])
    return {k: v.double() if v.is_floating_point() else v for k, v in found.items()}


def said_by(lvlm: tuple[Any, Any], inputs: Any, decoder: Reverse, **given: Any) -> Any:
    model, processor = lvlm
    bound = decoder.bind(adapter_for(model, processor))
    return model.generate(
        **inputs,
        max_new_tokens=LIMIT,
        logits_processor=LogitsProcessorList([Marking(inputs["input_ids"].shape[1])]),
        return_dict_in_generate=True,
        pad_token_id=3,
        **bound.generate_kwargs(**given),
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_answers_are_those_of_the_public_loop(
    options: dict[str, Any], lvlm: tuple[Any, Any]
) -> None:
    inputs = inputs_of(lvlm, "What is it?")
    length = inputs["input_ids"].shape[1]
    decoder = Reverse(**{"total_tries": 12, "local_tries": 4, **options})
    tries = taken_back = 0
    for seed in (1, 2, 3):
        hand = ByHand(*lvlm, inputs, decoder, seed, LIMIT, Marking(length))
        wanted = hand.run(Found([]))
        output = said_by(lvlm, inputs, decoder, seed=seed)
        found = [record.id for record in output.records[0]]
        assert found == wanted.answer
        assert output.sequences[0, length : length + len(found)].tolist() == found
        assert set(output.sequences[0, length + len(found) :].tolist()) <= {3}
        tries += wanted.tries
        taken_back += sum(len(record.taken_back) for record in output.records[0])
        if found:
            assert output.records[0][-1].fallback is wanted.gave_up
    assert tries > 6  # the cases are not those in which nothing happens
    assert taken_back > 3


def test_a_batch_says_what_its_samples_say_alone(lvlm: tuple[Any, Any]) -> None:
    adapter = adapter_for(*lvlm)
    questions = ["What is it?", "Is there a rather long question?", "No?"]
    images = [random_images()[0][:1], random_images()[1][:1], []]
    decoder = Reverse(total_tries=6, local_tries=2)

    def encoded(rows: list[int]) -> dict[str, torch.Tensor]:
        found = adapter.encode([images[row] for row in rows], [questions[row] for row in rows])
        return {k: v.double() if v.is_floating_point() else v for k, v in found.items()}

    names = ["a", "b", "c"]
    together = said_by(lvlm, encoded([0, 1, 2]), decoder, seed=1, sample_ids=names).records
    for row, name in enumerate(names):
        alone = said_by(lvlm, encoded([row]), decoder, seed=1, sample_ids=[name]).records[0]
        assert [record.id for record in together[row]] == [record.id for record in alone]


def test_the_control_takes_nothing_back_and_has_no_marks(lvlm: tuple[Any, Any]) -> None:
    model, _ = lvlm
    inputs = inputs_of(lvlm, "What is it?")
    length = inputs["input_ids"].shape[1]
    marking = LogitsProcessorList([Marking(length)])
    options = {"max_new_tokens": LIMIT, "logits_processor": marking, "do_sample": False}
    plain = model.generate(**inputs, **options)[0, length:].tolist()
    assert {SPAN, SURE, UNSURE} & set(plain)
    output = said_by(lvlm, inputs, Reverse(temperature=0.0).twin())
    wanted = [token for token in plain if token not in (SPAN, SURE, UNSURE)]
    assert [record.id for record in output.records[0]] == wanted
    assert output.forwards == len(plain)


def pieces(text: str) -> list[Piece]:
    """``<`` opens, ``)`` closes surely, ``!`` closes surely and is doubted, ``?`` is unsure."""
    known = {
        "<": Piece(SPAN, 1.0),
        ")": Piece(SURE, 1.0, 0.001),
        "!": Piece(SURE, 1.0, 0.2),
        "?": Piece(UNSURE, 1.0, 0.9),
        ".": Piece(PERIOD, 1.0),
    }
    letters = {"a": 68, "b": 69, "c": 70, "d": 71}
    return [known.get(each) or Piece(letters[each], 1.0) for each in text]


def test_tries_by_hand(lvlm: tuple[Any, Any]) -> None:
    sample = Tries(Reverse(local_tries=3), MARKS, adapter_for(*lvlm))
    assert sample.hint == ""
    sample.hear(pieces("<a)b<c!<d?"))  # of the two doubted ones the first counts
    assert sample.said == pieces("<a)")
    assert sample.phrases == ["c"]
    assert sample.temperature == pytest.approx(1.05)
    assert sample.hint.startswith("For this question, please")
    assert sample.hint.endswith(
        "rather than answering it directly.(Hint: potential incorrect phrases -> c)"
    )
    assert sample.ends(SURE)
    sample.hear(pieces("b<c!"))  # the same again: named once
    assert (sample.phrases, sample.temperature) == (["c"], pytest.approx(1.1))
    sample.hear(pieces(".<b)"))
    assert sample.said == pieces("<a).<b)")
    assert not sample.ends(SURE)
    assert sample.temperature == 1.0
    for said in ("<d?", "<d?", "<d?"):
        sample.hear(pieces(said))
    assert sample.said == pieces("<a).")  # after three at one place, the sentence goes
    assert sample.phrases == ["c", "d", "b"]
    assert sample.ends(SURE)
    assert sample.temperature == pytest.approx(1.15)
    sample.hear(pieces("<a)"))
    sample.hear(pieces("<b."))  # no pair
    assert sample.phrases[-1] == "format error"
    assert sample.said == pieces("<a).<a)")
    sample.hear(pieces("bb"))  # corrects without a phrase: all but the last token
    assert sample.said == pieces("<a).<a)b")
    sample.hear(pieces("."))
    assert sample.done
    assert not sample.gave_up


def test_a_hint_names_the_last_five(lvlm: tuple[Any, Any]) -> None:
    sample = Tries(Reverse(premises=False), MARKS, adapter_for(*lvlm))
    sample.phrases = ["a", "b", "c", "d", "e", "f"]
    assert sample.hint == " (Hint: potential incorrect phrases -> b, c, d, e, f)"


def test_all_tries_used_leave_whole_sentences(lvlm: tuple[Any, Any]) -> None:
    for open_ended, left in ((True, "<a)."), (False, "<a).<b)")):
        decoder = Reverse(total_tries=2, open_ended=open_ended)
        sample = Tries(decoder, MARKS, adapter_for(*lvlm))
        sample.hear(pieces("<a).<b)<c?"))
        sample.hear(pieces("<c?"))
        assert sample.done
        assert sample.gave_up
        assert sample.said == pieces(left)


def test_an_empty_answer_is_asked_for_once_more(lvlm: tuple[Any, Any]) -> None:
    adapter = adapter_for(*lvlm)
    sample = Tries(Reverse(total_tries=1), MARKS, adapter)
    sample.hear(pieces("<a?"))
    assert (sample.done, sample.asks_premises) == (False, True)
    assert sample.hint.endswith("rather than answering it directly.")
    sample.hear(pieces("<a?"))
    assert sample.done
    answer = adapter.decode([piece.token for piece in sample.said])
    assert answer == "Unable to answer directly due to false premises or missing information."


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "cca_llava", "gemma3"])
def test_a_hint_in_a_prepared_prompt_is_one_in_the_question(family: str) -> None:
    """Positions and kinds of tokens are those that the family gives the longer prompt itself."""
    model, processor = tiny_lvlm(family)
    adapter = adapter_for(model, processor)
    images = [random_images()[0][:1], random_images()[1][:1]]
    inputs = adapter.encode(images, ["What?", "What is the long one?"])
    hints = [[70, 71, 72], []]
    spread = [
        row[mask.bool()].tolist()
        for row, mask in zip(*map(inputs.get, ("input_ids", "attention_mask")), strict=True)
    ]  # type: ignore[arg-type]
    longer = [[*ids[:-5], *hint, *ids[-5:]] for ids, hint in zip(spread, hints, strict=True)]
    width = max(map(len, longer))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in longer])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in longer])
    asked = adapter.fitting(
        {
            **{k: v for k, v in inputs.items() if "token_type_ids" not in k},
            "input_ids": ids,
            "attention_mask": mask,
        }
    )
    wanted = prepared(model, asked, lambda ids, kwargs: kwargs)

    def written(ids: Any, kwargs: Any) -> Any:
        visual = adapter.image_token_ids
        return hinted(ids, kwargs, hints, opening=5, visual=visual, filler=0)

    found_ids, found = prepared(model, inputs, written)
    assert torch.equal(found_ids, ids)
    real = mask.bool()
    for name in ("attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids"):
        mine, theirs = found.get(name), wanted.get(name)
        assert (mine is None) is (theirs is None), name
        if mine is not None:
            assert torch.equal(mine[..., real], theirs[..., real]), name


def test_what_has_no_marks_is_refused_in_one_sentence() -> None:
    model, processor = tiny_lvlm("llava")
    with pytest.raises(UnsupportedError, match=r"goes by the tokens <SPAN>, </CN>, </UN>") as said:
        Reverse().bind(adapter_for(model, processor))
    assert str(said.value).count(". ") == 0


def test_loading_one_says_what_it_is_for(
    lvlm: tuple[Any, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, processor = tiny_model("llava"), lvlm[1]
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    load(tmp_path)
    assert "checkpoint of REVERSE: decoder 'reverse' has its loop" in caplog.text


def test_what_cannot_be_hinted_is_refused(lvlm: tuple[Any, Any]) -> None:
    inputs = inputs_of(lvlm, "What is it?")
    cache = DynamicCache()
    with torch.no_grad():
        lvlm[0](**inputs, **{CACHE: cache})
    with pytest.raises(UnsupportedError, match="without a cache"):
        said_by(lvlm, {**inputs, CACHE: cache}, Reverse())
    ids = torch.tensor([[5, 6]])
    with pytest.raises(UnsupportedError, match="`opening`"):
        hinted(ids, {}, [[7]], opening=5, visual=[], filler=0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"threshold": 2.0}, "threshold must be"),
        ({"temperature": -1.0}, "temperature must be"),
        ({"total_tries": 0}, "total_tries must be"),
        ({"marks": ["a", "b"]}, "three tokens"),
        ({"marks": ["a", "a", "b", "c"]}, "three tokens"),
    ],
)
def test_options(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Reverse(**options)


class Told:
    """A streamer that counts."""

    def __init__(self) -> None:
        self.columns: list[list[int]] = []

    def put(self, value: torch.Tensor) -> None:
        self.columns.append(value.tolist())

    def end(self) -> None:
        self.columns.append([])


def test_nothing_stands_behind_the_longest_answer(lvlm: tuple[Any, Any]) -> None:
    inputs = inputs_of(lvlm, "What is it?")
    length = inputs["input_ids"].shape[1]
    told: Any = Told()
    output = said_by(lvlm, inputs, Reverse(total_tries=3), seed=1, streamer=told)
    answer = [record.id for record in output.records[0]]
    assert output.sequences[0, length:].tolist() == answer
    assert [column for each in told.columns[1:-1] for column in each] == answer


def test_an_answer_has_its_text_without_marks(lvlm: tuple[Any, Any]) -> None:
    """Every second token is a mark, by the model itself."""
    model: Any = tiny_model("llava")
    passes: list[int] = []

    def marking(head: Any, given: Any, made: torch.Tensor) -> torch.Tensor:
        passes.append(len(passes))
        bias = torch.zeros(made.shape[-1])
        bias[[SPAN, SURE, UNSURE]] = -100.0
        if passes[-1] % 2:
            bias[(SPAN, SURE, SPAN, UNSURE)[passes[-1] // 2 % 4]] = 100.0
        return made + bias

    model.lm_head.register_forward_hook(marking)
    asked = load((model, lvlm[1]))

    def said(decoder: dict[str, Any]) -> Any:
        passes.clear()
        return asked.generate(random_images()[0][0], "What?", decoder=decoder, max_new_tokens=9)

    marked = said({"name": "greedy"}).token_ids
    assert marked[1::2] == [SPAN, SURE, SPAN, UNSURE]
    answer = said({"name": "reverse", "temperature": 0.0, "threshold": None})
    assert answer.token_ids == marked[::2]
    assert answer.text == asked.adapter.decode(marked[::2])
