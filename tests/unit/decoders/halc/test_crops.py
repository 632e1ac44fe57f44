"""Crops and contrasts, worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from PIL import Image

from lvlmsal.adapters import adapter_for
from lvlmsal.decoders.halc.contrast import contrasts, divergence
from lvlmsal.decoders.halc.crops import CENTER, crop_boxes, cropped, place_of
from lvlmsal.errors import DataError
from lvlmsal.evidence.base import Box
from lvlmsal.testing.tiny import tiny_lvlm


def edges(boxes: list[Box]) -> list[list[float]]:
    return [[round(edge, 6) for edge in box[:4]] for box in boxes]


def test_crops_of_a_box_in_the_middle() -> None:
    found = edges(crop_boxes(Box(0.4, 0.4, 0.6, 0.6), 0.6, 4))
    assert found == [
        [0.46, 0.46, 0.54, 0.54],
        [0.4, 0.4, 0.6, 0.6],
        [0.34, 0.34, 0.66, 0.66],
        [0.244, 0.244, 0.756, 0.756],
    ]


def test_crops_end_where_the_image_ends_and_shrink_by_no_more_than_four_fifths() -> None:
    found = edges(crop_boxes(Box(0.0, 0.4, 0.2, 0.6), 0.6, 4))
    assert found[0] == [0.06, 0.46, 0.14, 0.54]
    # 0.06 to the right of 0.2; then 0.3 of the width that is left of it, 0.26
    assert found[2] == [0.0, 0.34, 0.26, 0.66]
    assert found[3] == [0.0, 0.244, 0.338, 0.756]
    assert edges(crop_boxes(CENTER, 1.0, 3)) == [
        [0.44, 0.44, 0.56, 0.56],
        [0.2, 0.2, 0.8, 0.8],
        [0.0, 0.0, 1.0, 1.0],
    ]


def test_the_smallest_box_counts_and_too_many_none() -> None:
    small, large = Box(0, 0, 0.5, 0.5), Box(0, 0, 1, 1)
    assert place_of([(0, large), (2, small), (1, small)], 3) == (2, small)
    assert place_of([(0, large)] * 4, 3) is None
    assert place_of([], 3) == (0, Box(0.2, 0.2, 0.8, 0.8))


def test_a_crop_has_one_pixel_at_least() -> None:
    image = Image.new("RGB", (40, 30))
    image.putpixel((39, 29), (255, 0, 0))
    assert cropped(image, Box(0.25, 0.5, 0.75, 1)).size == (20, 15)
    corner = cropped(image, Box(0.999, 0.999, 1, 1))
    assert (corner.size, corner.getpixel((0, 0))) == ((1, 1), (255, 0, 0))
    assert cropped(image, Box(0.1, 0.1, 0.1001, 0.5)).size == (1, 12)


def test_a_thin_crop_is_widened_to_a_hundredth_of_its_length() -> None:
    image = Image.new("RGB", (30, 2000))
    for row in range(30):
        image.paste((row, 0, 0), (row, 0, row + 1, 2000))
    for left, columns in ((0.0, range(20)), (0.5, range(6, 26)), (0.99, range(10, 30))):
        found = cropped(image, Box(left, 0.0, left + 0.01, 1.0))
        assert found.size == (20, 2000)
        reds = [found.getpixel((x, 7))[0] for x in range(20)]  # type: ignore[index]
        assert reds == list(columns)
    assert cropped(image, Box(0.5, 0.1, 0.51, 0.15)).size == (1, 100)
    # no wider than the image, whose own sides a processor has taken
    line = Image.new("RGB", (400, 3))
    assert cropped(line, Box(0.0, 0.4, 1.0, 0.5)).size == (400, 3)


def test_a_processor_that_refuses_thin_images_takes_crops() -> None:
    adapter = adapter_for(*tiny_lvlm("qwen2_vl"))
    crop = cropped(Image.new("RGB", (300, 200)), Box(0.0, 0.5, 1.0, 0.501))
    assert len(adapter.encode([[crop]], ["What?"])["input_ids"]) == 1
    with pytest.raises(DataError, match="300 x 1"):
        adapter.encode([[Image.new("RGB", (300, 1))]], ["What?"])


@pytest.mark.parametrize(
    ("p", "q", "js", "code"),
    [([0.9, 0.1], [0.5, 0.5], 0.1017, 0.1180), ([0.999, 0.001], [0.001, 0.999], 0.685, 2.761)],
)
def test_both_divergences(p: list[float], q: list[float], js: float, code: float) -> None:
    first, second = torch.tensor(p).log(), torch.tensor(q).log() + 3.0
    assert divergence(first, second, "js") == pytest.approx(js, abs=5e-4)
    assert divergence(first, second, "code") == pytest.approx(code, abs=5e-4)
    assert divergence(second, first, "code") == pytest.approx(code, abs=5e-4)


def test_a_token_that_nobody_can_say_changes_no_divergence() -> None:
    first, second = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.5, 0.5]).log()
    never = torch.tensor([-math.inf])
    for how, wanted in (("js", 0.1017), ("code", 0.1180)):
        found = divergence(torch.cat([first, never]), torch.cat([second, never]), how)  # type: ignore[arg-type]
        assert found == pytest.approx(wanted, abs=5e-5)


def test_contrasts_of_the_pair_that_differs_most_in_both_directions() -> None:
    logits = torch.tensor([[2.0, 1.0, -1.0], [2.0, 1.1, -1.0], [0.0, 4.0, 1.0]])
    found = contrasts(logits, 1, 0.5, 0.0, "code")
    # the first and the last differ most; from the last, which is wider, the first is taken off
    torch.testing.assert_close(found, torch.tensor([[-1.0, 3.5, 1.5], [2.0, -1.0, -1.5]]))
    cut = contrasts(logits, 1, 0.5, 0.1, "code")  # ln 0.1 = -2.3
    assert cut.isneginf().tolist() == [[True, False, True], [False, False, True]]
    banned = logits.clone()
    banned[:, 2] = -math.inf
    assert contrasts(banned, 3, 0.5, 0.0, "js")[:, 2].isneginf().all()
    assert contrasts(logits, 3, 0.5, 0.0, "js").shape == (6, 3)
