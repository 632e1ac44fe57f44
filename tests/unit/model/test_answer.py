"""An answer goes through pickles and copies without its model."""

from __future__ import annotations

import copy
import pickle

import pytest
from PIL import Image

import lvlmsal
from lvlmsal.errors import UnsupportedError
from lvlmsal.testing.tiny import tiny_lvlm


def test_a_pickled_answer_holds_all_but_its_model() -> None:
    lvlm = lvlmsal.load(tiny_lvlm("llava"))
    image = Image.new("RGB", (28, 28))
    answer = lvlm.generate(image, "Is it so?", decoder="sgrs", max_new_tokens=4)
    data = pickle.dumps(answer)
    assert len(data) < 20_000  # the weights alone are more
    assert b"Llava" not in data
    found = pickle.loads(data)
    assert (found.text, found.token_ids) == (answer.text, answer.token_ids)
    assert (found.tokens, found.spans) == (answer.tokens, answer.spans)
    with pytest.raises(UnsupportedError, match=r"lvlm\.diagnose"):
        found.diagnose()
    again = lvlm.diagnose(image, found.prompt, found.token_ids)
    assert again.token_ids == answer.token_ids


def test_a_copy_shares_the_model() -> None:
    lvlm = lvlmsal.load(tiny_lvlm("llava"))
    answer = lvlm.generate(Image.new("RGB", (28, 28)), "Is it so?", max_new_tokens=2)
    for copied in (copy.copy(answer), copy.deepcopy(answer)):
        assert copied.diagnose is answer.diagnose
        assert copied.diagnose().token_ids == answer.token_ids
