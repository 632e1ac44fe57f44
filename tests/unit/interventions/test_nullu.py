"""Nullu against a hand-worked row and against a down projection that is edited itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import intervene
from lvlmsal.errors import ConfigError, DataError, UnsupportedError
from lvlmsal.fits.folder import Fit
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.interventions.nullu import Nullu
from lvlmsal.interventions.vti import VTI
from lvlmsal.model.loading import load
from lvlmsal.testing.tiny import tiny_inputs, tiny_model

pytestmark = pytest.mark.slow

F64 = torch.float64


def saved(folder: Path, model: Any, bases: Tensor, **options: Any) -> Nullu:
    """A method with a fit of these subspaces (L, D, k)."""
    adapter = adapter_for(model)
    fit = Fit(
        "nullu",
        {"position": "mean"},
        "tiny",
        ModelMark.of(adapter),
        {},
        {},
        (),
        {"subspaces": list(bases.shape)},
    )
    fit.save(folder, {"subspaces": bases})
    return Nullu(fit=str(folder), layers=None, **options)


def drawn_bases(layers: int = 2, width: int = 32, rank: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.linalg.qr(torch.randn(layers, width, rank, generator=generator)).Q


def test_a_row_by_hand() -> None:
    edit = Nullu(random=0, rank=1).bind(1)
    object.__setattr__(edit, "_held", {0: torch.tensor([[1.0], [0.0]])})
    context: Any = type("Context", (), {"layer": 0})
    found = edit.feed_forward(torch.zeros(1, 1, 2), torch.tensor([[[3.0, 4.0]]]), context)
    assert found.tolist() == [[[0.0, 4.0]]]


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_it_is_what_an_edited_down_projection_does(tmp_path: Path, family: str) -> None:
    model: Any = tiny_model(family, dtype=F64)
    batch = tiny_inputs(family, (1, 0), dtype=F64)
    bases = drawn_bases()
    asked = {"max_new_tokens": 4, "do_sample": False, "output_scores": True}
    asked |= {"return_dict_in_generate": True}
    with intervene(model, saved(tmp_path, model, bases, rank=2)):
        found = model.generate(**batch, **asked)
    projections = [layer.mlp.down_proj for layer in adapter_for(model).layers]
    before = [projection.weight.detach().clone() for projection in projections]
    try:
        for projection, basis in zip(projections, bases[:, :, :2].double(), strict=True):
            projection.weight.data = projection.weight - basis @ (basis.T @ projection.weight)
        wanted = model.generate(**batch, **asked)
    finally:
        for projection, weight in zip(projections, before, strict=True):
            projection.weight.data = weight
    assert torch.equal(found.sequences, wanted.sequences)
    torch.testing.assert_close(found.scores, wanted.scores)
    plain = model.generate(**batch, **asked)
    assert not torch.allclose(plain.scores[0], wanted.scores[0], atol=1e-4)


def test_a_fit_of_another_model_or_with_other_options_is_refused(tmp_path: Path) -> None:
    edit = saved(tmp_path, tiny_model("llava"), drawn_bases())
    for other, told in (
        (tiny_model("llava", layers=3), "layers 2, not 3"),
        (tiny_model("qwen2_vl"), "architecture Llava"),
        (tiny_model("llava", seed=3), "other weights of the same shape"),
    ):
        with pytest.raises(UnsupportedError, match=rf"fitted in tiny, .*{told}"):
            intervene(other, edit)
    own = tiny_model("llava")
    with pytest.raises(UnsupportedError, match="rank=4 is more than the 3 directions of the fit"):
        intervene(own, edit)
    with pytest.raises(UnsupportedError, match="position='mean', and position='last' is asked"):
        intervene(own, Nullu(fit=str(tmp_path), rank=2, position="last"))


def test_without_a_fit_it_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'nullu' needs a fit: type  lvlmsal fit nullu CONFIG"):
        Nullu().bind(4)
    with pytest.raises(DataError, match=r"holds no fit: type  lvlmsal fit nullu"):
        intervene(tiny_model("llava"), Nullu(fit=str(tmp_path)))
    assert Nullu(rank=0, fit=str(tmp_path / "nowhere")).bind(4).is_identity


@pytest.mark.parametrize("method", [Nullu, VTI])
@pytest.mark.parametrize("model", ["pocket-llava", "pocket-qwen2vl", "pocket-idefics3"])
def test_fits_of_the_shipped_models_come_along(method: Any, model: str) -> None:
    adapter = load(model).adapter
    edit = method(fit="shipped").bind(adapter.num_layers)
    edit.meet(adapter)
    assert len(edit.held(adapter.num_layers - 1)) == adapter.text_config.hidden_size
    with pytest.raises(UnsupportedError, match=f"lvlmsal fit {method.name} CONFIG -o FOLDER"):
        intervene(tiny_model("llava"), method(fit="shipped"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 17}, "rank must be from 0 .the plain model. to 16, got 17"),
        ({"fit": "x", "random": 1}, "random=1 stands in place of a fit"),
        ({"position": "first"}, "last, mean"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Nullu(**options)
