"""CICD by hand, its divergence against scipy's, its pool, and against two plain models."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import LogitsContext
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.interventions.cicd import CICD, divergence
from lvlmsal.registry import INTERVENTIONS
from tests.tiers import FAMILIES
from tests.unit.interventions.siblings import check_answers_of_two_plain_models
from tests.unit.model.test_lvlm import picture

WITH = TokenSpans(pad=0, images=((1, 3),), output_start=5, length=5)
WITHOUT = TokenSpans(pad=2, images=(), output_start=3, length=3)
ON: dict[str, Any] = {"images": "somewhere"}


def edited(edit: CICD, first: list[list[float]], second: list[list[float]]) -> Any:
    spans = [WITH, WITHOUT][: len(first)]
    context = LogitsContext(None, spans, 0, torch.tensor(second)[:, None], {})  # type: ignore[arg-type]
    return edit.logits(torch.tensor(first)[:, None], context)[:, 0]


@pytest.mark.parametrize(("kind", "weight"), [("code", 1.928), ("js", 1.993)])
def test_the_weight_by_hand(kind: Any, weight: float) -> None:
    p, q = [math.log(0.9), math.log(0.1)], [math.log(0.5), math.log(0.5)]
    edit = CICD(**ON, beta=0, divergence=kind)
    found = edited(edit, [p, p], [q, q])
    wanted = [one + weight * (one - other) for one, other in zip(p, q, strict=True)]
    assert found[0].tolist() == pytest.approx(wanted, abs=2e-3)
    assert found[1].tolist() == pytest.approx(p), "a sample without an image"


def test_the_cap_the_gate_and_the_cut() -> None:
    p = [math.log(0.6), math.log(0.4)]
    near = [math.log(0.62), math.log(0.38)]  # d = 2e-4: 1 - log10 d is above 4
    edit = CICD(**ON, beta=0)
    wanted = [one + 3 * (one - other) for one, other in zip(p, near, strict=True)]
    assert edited(edit, [p], [near])[0].tolist() == pytest.approx(wanted, abs=1e-4)
    same = [math.log(0.601), math.log(0.399)]  # d = 5e-7
    assert edited(edit, [p], [same])[0].tolist() == pytest.approx(p)
    cut = edited(CICD(**ON, beta=0.7), [p], [near])[0].tolist()
    assert cut[0] == pytest.approx(wanted[0], abs=1e-4)
    assert cut[1] == -math.inf  # 0.4 is below 0.7 times 0.6
    banned = edited(edit, [[0.0, -math.inf]], [[0.0, 0.0]])[0]
    assert banned[1] == -math.inf
    assert banned[0].isfinite()


def test_of_distributions_without_overlap_the_codes_divergence_passes_ln_2() -> None:
    p, q = (torch.tensor(x).log() for x in ([0.999, 0.001], [0.001, 0.999]))
    assert divergence(p, q, turned=False).item() == pytest.approx(0.685, abs=1e-3)
    assert divergence(p, q, turned=True).item() == pytest.approx(2.761, abs=1e-3)


@given(st.integers(0, 10**6), st.floats(0.1, 6))
def test_the_divergence_is_that_of_its_definition(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    logits = [rng.normal(size=12) * scale for _ in range(2)]
    p, q = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in logits)
    m = (p + q) / 2
    first, second = (torch.tensor(x) for x in logits)
    right = sum((x * np.log(x / m)).sum() for x in (p, q)) / 2
    turned = sum((m * np.log(m / x)).sum() for x in (p, q)) / 2
    assert divergence(first, second, turned=False).item() == pytest.approx(right, abs=1e-9)
    assert divergence(first, second, turned=True).item() == pytest.approx(turned, rel=1e-9)
    assert 0 <= right <= math.log(2) + 1e-12


def pool(folder: Path, count: int = 6) -> str:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        picture(30 + number, 20, 100 + number).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return str(folder)


def test_which_image_is_a_matter_of_the_pixels(tmp_path: Path) -> None:
    edit = CICD(images=pool(tmp_path / "pool"), beta=0)
    images = [picture(40, 24, seed) for seed in range(90)]
    found = [edit.other(image) for image in images]
    assert all(other.size == (40, 24) for other in found)
    counts = Counter(other.tobytes() for other in found)
    assert len(counts) == 6
    assert max(counts.values()) < 35
    assert edit.other(images[3].copy()) == found[3]
    # an image of the pool is never its own other one
    for number in range(6):
        own = Image.open(tmp_path / "pool" / f"{number}.png").convert("RGB")
        assert edit.other(own) != own


def test_a_stand_in_for_dry_runs() -> None:
    edit = CICD(**CICD.strong)
    one, other = (edit.other(picture(40, 24, seed)) for seed in (1, 2))
    assert one.size == (40, 24)
    assert one != other
    assert edit.other(picture(40, 24, 1)) == one


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"images is missing: give a folder.*images: FOLDER"):
        INTERVENTIONS.build("cicd")
    with pytest.raises(ValueError, match="max_alpha must be at least 0"):
        CICD(**ON, max_alpha=-1)
    assert CICD(max_alpha=0, beta=0).is_identity
    assert not CICD(max_alpha=0).brings_second_stream
    with pytest.raises(DataError, match="there is no such folder"):
        CICD(images=str(tmp_path / "none")).other(picture())
    with pytest.raises(DataError, match="the folder holds 1 images"):
        CICD(images=pool(tmp_path / "one", 1)).other(picture())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_two_plain_models(family: str, tmp_path: Path) -> None:
    edit = CICD(images=pool(tmp_path / "pool"), beta=0)

    def combine(own: torch.Tensor, other: torch.Tensor, step: int) -> torch.Tensor:
        p, q = own.softmax(-1), other.softmax(-1)
        m = (p + q) / 2
        d = min(1.0, float((p * (p / m).log() + q * (q / m).log()).sum() / 2))
        return own + min(3.0, 1 - math.log10(d)) * (own - other) if d > 1e-4 else own

    check_answers_of_two_plain_models(family, edit, edit.other, combine)
