"""Images of several runs of tokens, and adapters that share a class of transformers."""

from __future__ import annotations

import pytest
import torch

from lvlmsal.adapters import LlavaAdapter, PixtralAdapter, adapter_for
from lvlmsal.adapters.runs import Run
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import DataError
from lvlmsal.interventions.contrast import without_images
from lvlmsal.testing.tiny import tiny_lvlm, tiny_model
from lvlmsal.tiny.parts import WORDS
from tests.second_streams import prompt_of

IMAGE, ROW_END, IMAGE_END = WORDS, WORDS + 1, WORDS + 2
TWO = [IMAGE, IMAGE]


def test_the_config_chooses_between_adapters_of_one_class() -> None:
    assert type(adapter_for(tiny_model("pixtral"))) is PixtralAdapter
    assert type(adapter_for(tiny_model("llava"))) is LlavaAdapter


def test_rows_belong_to_their_image() -> None:
    """Two images that touch: one of two rows, one of a single row."""
    model = tiny_model("pixtral")
    ids = torch.tensor([[1, 9, *TWO, ROW_END, *TWO, IMAGE_END, *TWO, IMAGE_END, 7, 8]])
    (spans,) = adapter_for(model).spans(ids)
    assert spans.images == ((2, 7), (8, 10))
    assert spans.runs == (Run(2, 4, 0), Run(5, 7, 0), Run(8, 10, 1))
    assert spans.positions(0) == [2, 3, 5, 6]
    assert spans.between == ((4, 5), (7, 8))
    assert (spans.system, spans.prompt) == ((0, 2), (10, 13))
    named = [(name, end - start) for name, start, end in spans.segments()]
    assert [name for name, _ in named] == ["system", *["image", "between"] * 2, "image", "prompt"]
    assert sum(length for _, length in named) == 13
    prompt = prompt_of(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert without_images(prompt)["input_ids"].tolist() == [[1, 9, 7, 8]]


@pytest.mark.parametrize(
    "runs",
    [
        (Run(2, 4, 0), Run(3, 7, 0)),
        (Run(2, 4, 0), Run(5, 6, 0)),
        (Run(2, 4, 1), Run(5, 7, 0)),
        (Run(2, 2, 0), Run(5, 7, 0)),
    ],
)
def test_runs_that_are_no_image_are_refused(runs: tuple[Run, ...]) -> None:
    with pytest.raises(ValueError, match="are not those of images"):
        TokenSpans(0, ((2, 7),), 9, 9, runs)


def test_a_family_without_a_template_takes_one_question() -> None:
    adapter = adapter_for(*tiny_lvlm("paligemma"))
    assert adapter.render("What?", 1) == "<image><s>What?\n"
    turns = [
        {"role": "user", "content": "What?"},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Why?"},
    ]
    with pytest.raises(DataError, match="one question without a system message"):
        adapter.render(turns, 1)
    with pytest.raises(DataError, match="in front of the question"):
        adapter.render("What is <image> here?", 1)
