"""What a report answers about its rows, by hand, and that a file gives it back."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import DataError
from lvlmsal.model.loading import load
from lvlmsal.saliency import SaliencyOptions, SaliencyReport
from lvlmsal.saliency.options import FUSIONS
from lvlmsal.testing.tiny import tiny_lvlm

SPANS = TokenSpans(pad=0, images=((1, 5), (6, 8)), output_start=10, length=12)
"""System 0; images 1-4 and 6-7; text between them 5; question 8-9; answer 10-11."""


def values(factor: float) -> Tensor:
    """Two tokens, two layers, twelve positions: 100 * token + 10 * layer + position, scaled."""
    token, layer, position = torch.meshgrid(
        torch.arange(2.0), torch.arange(2.0), torch.arange(12.0), indexing="ij"
    )
    return (100 * token + 10 * layer + position) * factor


def report(**changes: object) -> SaliencyReport:
    made = SaliencyReport(
        prompt="What is it?",
        text="a cat",
        token_ids=[7, 8],
        tokens=["a", " cat"],
        maps={fusion: values(index + 1.0) for index, fusion in enumerate(FUSIONS)},
        attention=values(-1.0),
        log_probabilities=[-0.5, -1.25],
        entropies=[0.75, 2.0],
        layers=[4, 6],
        position_texts=[str(index) for index in range(12)],
        spans=SPANS,
        grids=[(2, 2), (1, 2)],
        options=SaliencyOptions(layers=range(4, 7, 2)),
        images=[Image.new("RGB", (4, 3), "red"), Image.new("RGB", (2, 2), "blue")],
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_each_token_looks_back_at_its_own_context() -> None:
    # J of the first token: 8 and 9; of the second: 8, 9 and 10. Layers add 0 and 10.
    assert report().saliency == pytest.approx([8.5 + 5, 109.0 + 5])
    assert report().token_saliency("add") == pytest.approx([2 * 13.5, 2 * 114.0])
    assert report().token_saliency(layers=[6]) == pytest.approx([18.5, 119.0])
    # Generated tokens alone: none before the first one, so S is undefined there.
    assert report().token_saliency(context="output") == [None, pytest.approx(110.0 + 5)]
    per_layer = report().per_layer("product")
    assert per_layer.tolist() == [pytest.approx([8.5, 18.5]), pytest.approx([109.0, 119.0])]
    assert report().per_layer(of="attention")[0].tolist() == pytest.approx([-8.5, -18.5])


def test_groups_take_what_stands_before_the_token() -> None:
    means = report().groups()
    assert list(means) == ["system", "image", "prompt", "output"]
    assert means["system"].tolist() == pytest.approx([5.0, 105.0])
    assert means["image"].tolist() == pytest.approx([23 / 6 + 5, 23 / 6 + 105])
    assert means["prompt"].tolist() == pytest.approx([22 / 3 + 5, 22 / 3 + 105])  # 5, 8 and 9
    assert math.isnan(means["output"][0])
    assert float(means["output"][1]) == pytest.approx(115.0)
    sums = report().groups(of="attention", reduce="sum")
    assert sums["prompt"].tolist() == pytest.approx([-(22 + 15), -(22 + 315)])


def test_maps_over_patches_and_tokens() -> None:
    assert report().image_map(1).tolist() == [[106.0, 107.0], [108.0, 109.0]]
    assert report().image_map(0, 1, layer=6).tolist() == [[16.0, 17.0]]
    assert report().image_map(0, 1, of="attention", layer=4).tolist() == [[-6.0, -7.0]]
    assert report().image_map(0, fusion="max", layer=4).tolist() == [[3.0, 6.0], [9.0, 12.0]]
    assert report().token_map(layer=4).tolist() == [[10.0, 11.0], [110.0, 111.0]]
    assert report().token_map().tolist() == [[15.0, 16.0], [115.0, 116.0]]


def test_what_a_report_does_not_hold_is_said() -> None:
    with pytest.raises(ValueError, match=r"layers \[5\] are not in this report: it holds \[4, 6\]"):
        report().token_saliency(layers=[5])
    with pytest.raises(ValueError, match="no layer"):
        report().token_saliency(layers=[])
    with pytest.raises(ValueError, match="choose 'saliency' or 'attention'"):
        report().token_map(of="gradient")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reduce='median'"):
        report().groups(reduce="median")  # type: ignore[arg-type]


def test_a_file_gives_the_report_back(tmp_path: Path) -> None:
    path = tmp_path / "a report.safetensors"
    report().save(path)
    found = SaliencyReport.load(path)
    for name in ("prompt", "text", "token_ids", "tokens", "layers", "spans", "grids", "options"):
        assert getattr(found, name) == getattr(report(), name), name
    assert found.log_probabilities == [-0.5, -1.25]
    assert found.saliency == report().saliency
    assert all(torch.equal(found.maps[fusion], report().maps[fusion]) for fusion in FUSIONS)
    assert torch.equal(found.attention, report().attention)
    assert [image.tobytes() for image in found.images] == [
        image.tobytes() for image in report().images
    ]


def test_a_report_of_a_real_answer_survives_the_file(tmp_path: Path) -> None:
    lvlm = load(tiny_lvlm("qwen2_vl"))
    found = lvlm.diagnose(Image.new("RGB", (50, 30)), "what?", "\x00 <b> é 猫", max_new_tokens=4)
    found.save(tmp_path / "x.safetensors")
    again = SaliencyReport.load(tmp_path / "x.safetensors")
    assert (again.text, again.tokens, again.spans) == (found.text, found.tokens, found.spans)
    assert again.saliency == found.saliency
    assert again.plot() is not None


def test_files_that_are_no_report_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        SaliencyReport.load(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"{}")
    with pytest.raises(DataError, match="no readable saliency report"):
        SaliencyReport.load(broken)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="but no saliency report"):
        SaliencyReport.load(tmp_path / "other.safetensors")
    save_file(
        {"x": torch.zeros(1)},
        tmp_path / "later.safetensors",
        metadata={"format": "lvlmsal.SaliencyReport", "version": "99"},
    )
    with pytest.raises(DataError, match="version 99"):
        SaliencyReport.load(tmp_path / "later.safetensors")
    for content in ("{}", "[]", "nonsense"):
        save_file(
            {"x": torch.zeros(1)},
            tmp_path / "empty.safetensors",
            metadata={"format": "lvlmsal.SaliencyReport", "version": "1", "report": content},
        )
        with pytest.raises(DataError, match="no readable saliency report"):
            SaliencyReport.load(tmp_path / "empty.safetensors")
