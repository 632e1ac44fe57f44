"""Spans against sequences whose layout is known because the test laid them out."""

from __future__ import annotations

import functools
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.adapters.spans import Interval, TokenSpans, find_spans
from lvlmsal.errors import LvlmsalError
from lvlmsal.testing.tiny import TINY, tiny_lvlm

IMAGE, VIDEO = 90, 91

Batch = tuple[torch.Tensor, torch.Tensor, list[tuple[list[int], tuple[Interval, ...]]], int]

texts = st.lists(st.integers(3, 40), max_size=6)
filled_texts = st.lists(st.integers(3, 40), min_size=1, max_size=6)
images = st.tuples(st.sampled_from([IMAGE, VIDEO]), st.integers(1, 7))


@st.composite
def laid_out(draw: st.DrawFn) -> tuple[list[int], tuple[Interval, ...]]:
    """One sample: ids of the prompt, and its image intervals."""
    ids, intervals = [1, *draw(texts)], []
    for number in range(draw(st.integers(0, 3))):
        if number:
            ids += draw(filled_texts)
        mark, length = draw(images)
        intervals.append((len(ids), len(ids) + length))
        ids += [mark] * length
    return ids + draw(texts), tuple(intervals)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    samples = draw(st.lists(laid_out(), min_size=1, max_size=4))
    width = max(len(ids) for ids, _ in samples) + draw(st.integers(0, 3))
    generated = draw(st.integers(0, 4))
    rows = [[0] * (width - len(ids)) + ids for ids, _ in samples]
    mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids, _ in samples]
    # What is generated may look like an image, and may be padded: neither is to be read.
    tail = st.lists(st.sampled_from([5, IMAGE]), min_size=generated, max_size=generated)
    flags = st.lists(st.integers(0, 1), min_size=generated, max_size=generated)
    return (
        torch.tensor([row + draw(tail) for row in rows]),
        torch.tensor([row + draw(flags) for row in mask]),
        samples,
        width,
    )


@given(batches())
def test_spans_are_those_that_were_laid_out(batch: Batch) -> None:
    ids, mask, samples, width = batch
    spans = find_spans(ids, mask, {IMAGE, VIDEO}, output_start=width)
    for found, (prompt, intervals) in zip(spans, samples, strict=True):
        assert found.pad == width - len(prompt)
        assert found.images == intervals
        assert found.output_start == len(prompt)
        assert found.length == ids.shape[1] - found.pad
        first, last = (intervals[0][0], intervals[-1][1]) if intervals else (0, 0)
        assert found.system == (0, first)
        assert found.prompt == (last, len(prompt))
        assert found.context_start("after_image") == last
        assert found.context_start("output") == len(prompt)


@given(batches())
def test_segments_tile_the_sequence(batch: Batch) -> None:
    ids, mask, samples, width = batch
    for found, (prompt, _) in zip(
        find_spans(ids, mask, {IMAGE, VIDEO}, output_start=width), samples, strict=True
    ):
        owners = [0] * found.length
        for name, start, end in found.segments():
            assert start < end
            for position in range(start, end):
                owners[position] += 1
                if position < len(prompt):
                    assert (prompt[position] in (IMAGE, VIDEO)) == (name == "image")
                else:
                    assert name == "output"
        assert owners == [1] * found.length


@given(batches())
def test_padding_moves_columns_and_not_positions(batch: Batch) -> None:
    ids, mask, samples, width = batch
    padded = find_spans(ids, mask, {IMAGE, VIDEO}, output_start=width)
    for found, (prompt, _) in zip(padded, samples, strict=True):
        alone = find_spans(torch.tensor([prompt]), None, {IMAGE, VIDEO})[0]
        assert (alone.pad, alone.images, alone.prompt) == (0, found.images, found.prompt)


def test_llava_prompt_of_the_paper() -> None:
    ids = torch.tensor([[*range(35), *[32000] * 576, *range(10, 30)]])
    found = find_spans(ids, None, [32000])[0]
    assert found.system == (0, 35)
    assert found.images == ((35, 611),)
    assert found.context_start("after_image") == 611
    assert found.context_start("output") == 631


@given(st.integers(1, 5), st.integers(1, 6))
def test_images_that_touch_are_cut_where_their_length_is_known(count: int, length: int) -> None:
    ids = torch.tensor([[1, 2, *[IMAGE] * (count * length), 3]])
    whole = find_spans(ids, None, [IMAGE])[0]
    cut = find_spans(ids, None, [IMAGE], split=length)[0]
    assert whole.images == ((2, 2 + count * length),)
    assert cut.images == tuple((2 + i * length, 2 + (i + 1) * length) for i in range(count))
    assert cut.between == ()
    assert cut.prompt == whole.prompt


def test_a_run_that_is_no_multiple_stays_whole() -> None:
    ids = torch.tensor([[1, *[IMAGE] * 7, 3]])
    assert find_spans(ids, None, [IMAGE], split=3)[0].images == ((1, 8),)


def test_an_image_and_a_video_that_touch_are_two() -> None:
    ids = torch.tensor([[1, IMAGE, IMAGE, VIDEO, 3]])
    assert find_spans(ids, None, [IMAGE, VIDEO])[0].images == ((1, 3), (3, 4))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1, 1, 1, 1], [1, 1, 1, 0]], "sample 1 .* pad at the left"),
        ([[0, 1, 0, 1], [1, 1, 1, 1]], "sample 0 .* pad at the left"),
        ([[1, 1, 1, 1], [0, 0, 0, 0]], "sample 1 .* nothing but padding"),
    ],
)
def test_padding_elsewhere_is_refused(mask: list[list[int]], message: str) -> None:
    ids = torch.tensor([[1, IMAGE, IMAGE, 4]] * 2)
    with pytest.raises(LvlmsalError, match=message):
        find_spans(ids, torch.tensor(mask), [IMAGE])


def test_mask_of_the_prompt_alone_will_do() -> None:
    ids, mask = torch.tensor([[0, 1, IMAGE, 4, 7, 7]]), torch.tensor([[0, 1, 1, 1]])
    found = find_spans(ids, mask, [IMAGE], output_start=4)[0]
    assert found == TokenSpans(pad=1, images=((1, 2),), output_start=3, length=5)
    with pytest.raises(ValueError, match=r"shape \(1, 4\), expected \(1, at least 6\)"):
        find_spans(ids, mask, [IMAGE])


@pytest.mark.parametrize("start", [0, 5])
def test_output_start_outside_the_ids_is_refused(start: int) -> None:
    with pytest.raises(ValueError, match=f"output_start is {start}, expected 1 to 4"):
        find_spans(torch.ones(1, 4, dtype=torch.long), None, [IMAGE], output_start=start)


@pytest.mark.parametrize(
    ("pad", "intervals", "start", "length"),
    [
        (-1, (), 1, 1),
        (0, ((3, 2),), 5, 5),
        (0, ((2, 2),), 5, 5),
        (0, ((1, 3), (2, 4)), 5, 5),
        (0, ((3, 4), (1, 2)), 5, 5),
        (0, ((1, 4),), 3, 5),
        (0, ((1, 4),), 6, 5),
    ],
)
def test_parts_that_cannot_tile_are_refused(
    pad: int, intervals: tuple[Interval, ...], start: int, length: int
) -> None:
    with pytest.raises(ValueError, match=r"overlap|expected pad"):
        TokenSpans(pad, intervals, start, length)


def test_unknown_context_is_refused() -> None:
    with pytest.raises(ValueError, match="'after_image' or 'output', got 'image'"):
        TokenSpans(0, (), 1, 1).context_start(cast("Any", "image"))


@functools.cache
def tiny_adapter(family: str) -> ModelAdapter:
    return adapter_for(*tiny_lvlm(family))


sizes = st.tuples(st.integers(8, 90), st.integers(8, 90))
questions = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=12)
sample = st.tuples(questions, st.lists(sizes, max_size=3))


@pytest.mark.parametrize("family", TINY)
@settings(max_examples=25)
@given(st.lists(sample, min_size=1, max_size=3))
def test_spans_of_real_processors(
    family: str, samples: list[tuple[str, list[tuple[int, int]]]]
) -> None:
    adapter = tiny_adapter(family)
    pictures = [[Image.new("RGB", size) for size in sizes] for _, sizes in samples]
    inputs = adapter.encode(pictures, [question for question, _ in samples])
    spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    assert [len(found.images) for found in spans] == [len(row) for row in pictures]
    assert [found.length for found in spans] == inputs["attention_mask"].sum(1).tolist()
    tokens = [end - start for found in spans for start, end in found.images]
    pixels = inputs.get("pixel_values", torch.empty(0))
    if family == "llava":
        assert tokens == [16] * len(pixels)
    elif family == "idefics3":
        assert tokens == [9 for row in pictures for _ in row]
        assert pixels.shape[:2] == (len(pictures), max(map(len, pictures))) or not tokens
    elif family == "internvl":
        assert sum(tokens) == 4 * len(pixels)
        assert {count % 4 for count in tokens} <= {0}
    elif tokens:
        assert tokens == [t * h * w // 4 for t, h, w in inputs["image_grid_thw"].tolist()]
        assert sum(tokens) == len(pixels) // 4
    for row, found in enumerate(spans):
        grids = [rows * columns for rows, columns in adapter.patch_grids(inputs, row)]
        assert grids == [end - start for start, end in found.images]
        end = 0
        for _, start, stop in found.segments():
            assert start == end
            end = stop
        assert end == found.length
