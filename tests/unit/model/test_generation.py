"""What a generation refuses before its first pass."""

from __future__ import annotations

import pytest
from PIL import Image

from lvlmsal.errors import UnsupportedError
from lvlmsal.model.loading import load
from lvlmsal.testing.tiny import tiny_lvlm

PICTURES = [Image.new("RGB", (24, 24), color) for color in ("red", "blue")]


def test_beams_about_images_that_transformers_would_mix_up_are_refused() -> None:
    lvlm = load(tiny_lvlm("glm4v"))
    beams = {"decoder": {"name": "beam", "num_beams": 2}, "max_new_tokens": 2}
    with pytest.raises(UnsupportedError, match=r"mixes up the images .* GLM-4.1V that has 2"):
        lvlm.generate(PICTURES, "Which is red?", **beams)
    assert lvlm.generate(PICTURES[0], "Is it red?", **beams).token_ids
    # what questions share is read once, by a pass without beams
    together = lvlm.ask(PICTURES, ["Which is red?", "Which is blue?"], **beams)
    assert all(answer.token_ids for answer in together)
