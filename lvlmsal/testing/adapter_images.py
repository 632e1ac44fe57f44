"""The checks of adapters about images: where they are, what they change, what is whose."""

from __future__ import annotations

import inspect
from typing import Any, Final

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.errors import LvlmsalError
from lvlmsal.testing.pictures import QUESTIONS, random_images

TOLERANCE: Final = 1e-4


def check_spans(adapter: ModelAdapter) -> None:
    """Spans hold those positions, and only those, where image features enter the text decoder."""
    inputs = encoded(adapter)
    states = entering(adapter, inputs)
    changed = (states != entering(adapter, encoded(adapter, seed=1))).any(dim=-1)
    assert changed.any(), (
        "other pixels change nothing that enters the first layer of the text decoder: images of "
        "this family reach the text in another way, such as cross-attention"
    )
    spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    seen = torch.zeros_like(changed)
    for row, sample in enumerate(spans):
        for start, end in sample.visual:
            seen[row, sample.pad + start : sample.pad + end] = True
    # Some visual tokens are the same for all images (the end of a row); none is that of its id.
    plain = adapter.model.get_input_embeddings()(inputs["input_ids"])
    likeness = torch.nn.functional.cosine_similarity(states, plain.to(states), dim=-1)
    visual = changed | (seen & (likeness < 1 - TOLERANCE))
    if "mm_token_type_ids" in inspect.signature(type(adapter.model).forward).parameters:
        # Without them such models run all the same, with wrong positions.
        kinds = inputs.get("mm_token_type_ids", torch.zeros_like(inputs["input_ids"]))
        assert (kinds > 0)[visual].all(), "mm_token_type_ids do not mark the visual tokens"
    for row, (sample, pictures) in enumerate(zip(spans, random_images(), strict=True)):
        assert torch.equal(seen[row], visual[row]), (
            f"sample {row}: spans {sample} miss visual tokens"
        )
        counts = len(sample.images), len(pictures)
        assert counts[0] == counts[1], f"sample {row}: {counts[0]} intervals, {counts[1]} images"
        end = 0
        for name, start, stop in sample.segments():
            assert start == end, f"sample {row}: gap before {name} in {sample.segments()}"
            end = stop
        real = int(inputs["attention_mask"][row].sum())
        assert end == sample.length == real, f"sample {row}: {end} of {real} tokens covered"


def check_grids(adapter: ModelAdapter) -> None:
    """Grids and boxes have as many cells as images have visual tokens; panels are equal."""
    inputs = encoded(adapter)
    samples = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    grids, panels = adapter.image_grids(inputs, samples), adapter.panels(inputs, samples)
    assert len(panels) == len(grids), f"panels of {len(panels)} images, grids of {len(grids)}"
    for grid, count in zip(grids, panels, strict=True):
        assert count >= 1, f"an image has {count} panels"
        if grid is not None:
            assert grid[0] % count == 0, f"{grid[0]} rows of a grid are no {count} equal panels"
    for row, (sample, pictures) in enumerate(zip(samples, random_images(), strict=True)):
        adapter.patch_grids(inputs, row)  # compares them with the spans
        boxes = adapter.patch_boxes(inputs, row, [picture.size for picture in pictures])
        assert len(boxes) == len(pictures), f"sample {row}: boxes of {len(boxes)} images"
        for image, of_image in enumerate(boxes):
            if of_image is not None:
                _check_boxes(of_image, len(sample.positions(image)), f"sample {row}, image {image}")


def _check_boxes(boxes: Tensor, tokens: int, what: str) -> None:
    wanted = (tokens, 4)
    assert boxes.shape == wanted, f"{what}: boxes {tuple(boxes.shape)}, expected {wanted}"
    placed = boxes[~boxes.isnan().any(1)]
    assert len(placed), f"{what}: no visual token is anywhere on the picture"
    inside = placed.min() >= -TOLERANCE and placed.max() <= 1 + TOLERANCE
    assert inside, f"{what}: boxes reach beyond the picture, whose sides are 1"
    assert (placed[:, 2:] > placed[:, :2]).all(), f"{what}: a box ends where it begins"


def check_rows(adapter: ModelAdapter) -> None:
    """Samples that are taken out of a batch have the logits that they have in it."""
    inputs = encoded(adapter)
    spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    batch = run(adapter, inputs).logits[:, -1]
    for rows in ([1], [2, 0], [2, 2]):
        taken = run(adapter, adapter.select_rows(inputs, spans, rows)).logits[:, -1]
        gap = float((batch[rows] - taken).abs().max())
        assert gap < TOLERANCE, f"samples {rows} of the batch by themselves differ by {gap:.1e}"


def check_mismatch(adapter: ModelAdapter) -> None:
    """More images than placeholders, or fewer: an error that names both numbers."""
    mark = adapter.image_mark
    one, two = random_images()[0], random_images()[2]
    for pictures, prompt, numbers in (
        (two, f"{mark} Only one place.", ("2 images", "1 placeholder")),
        (one, f"{mark}{mark} Two places.", ("1 image", "2 placeholders")),
    ):
        try:
            adapter.encode([pictures], [prompt])
        except LvlmsalError as error:
            said = str(error)
        else:
            raise AssertionError(f"no error for {numbers[0]} and {numbers[1]}")
        lacking = [number for number in numbers if number not in said]
        assert not lacking, f"the error does not say {lacking}: {said}"


def check_pixels(adapter: ModelAdapter) -> None:
    """Other images change the logits of their samples, and of no other one."""
    logits = []
    for seed in (0, 1):
        inputs = adapter.encode(random_images(seed), QUESTIONS)
        with torch.no_grad():
            logits.append(adapter.model(**inputs).logits[:, -1])
    for row, pictures in enumerate(random_images()):
        gap = float((logits[0][row] - logits[1][row]).abs().max())
        if pictures:
            assert gap > 0, f"other pixels leave the logits of sample {row} as they were"
        else:
            assert gap < TOLERANCE, f"sample {row} has no image, and changes with other pixels"


def encoded(adapter: ModelAdapter, seed: int = 0) -> dict[str, Tensor]:
    """The questions of the kit about its images."""
    return adapter.encode(random_images(seed), QUESTIONS)


def entering(adapter: ModelAdapter, inputs: dict[str, Tensor]) -> Tensor:
    """What enters the first layer of the text decoder, shape (B, L, D)."""
    found: list[Tensor] = []

    def keep(_module: object, args: tuple[Tensor, ...], options: dict[str, Any]) -> None:
        found.append(args[0] if args else options["hidden_states"])

    handle = adapter.layers[0].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        run(adapter, inputs)
    finally:
        handle.remove()
    return found[0]


def run(adapter: ModelAdapter, inputs: dict[str, Tensor], **options: Any) -> Any:
    """One pass of the model."""
    with torch.no_grad():
        return adapter.model(**inputs, **options)
