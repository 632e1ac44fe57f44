"""Reports of a tiny random model, and rows of mentions that are made up."""

from __future__ import annotations

import random

import pytest
from PIL import Image

from lvlmsal.analysis.mentions import MentionRow
from lvlmsal.analysis.scores import SCORES
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.testing.tiny import tiny_lvlm


@pytest.fixture(scope="session")
def tiny() -> Lvlm:
    return load(tiny_lvlm("llava"))


@pytest.fixture(scope="session")
def report(tiny: Lvlm) -> SaliencyReport:
    """Six tokens, all layers."""
    picture = Image.effect_noise((40, 30), 80).convert("RGB")
    answer = [20, 31, 45, 17, 60, 33]
    return tiny.diagnose(picture, "What?", answer, options=SaliencyOptions(layers=None))


def make_rows(count: int, *, strength: float = 1.0, seed: int = 0) -> list[MentionRow]:
    """Mentions whose saliency and log-probability are larger where they are correct."""
    chooser = random.Random(seed)
    rows = []
    for number in range(count):
        wrong = chooser.random() < 0.3
        scores: dict[str, float | None] = {name: chooser.gauss(0, 1) for name in SCORES}
        scores["saliency"] = chooser.gauss(0 if wrong else strength, 1)
        scores["log_probability"] = chooser.gauss(0 if wrong else strength, 1)
        rows.append(
            MentionRow(
                *("model", "method", "chair", str(number // 3), f"image {number // 3}"),
                *(number % 3, 100 + number % 3, "dog", 1, "dog", wrong, scores),
            )
        )
    return rows
