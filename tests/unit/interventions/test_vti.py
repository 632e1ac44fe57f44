"""VTI's textual part against hand-worked rows and a plain restatement on a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import intervene
from lvlmsal.fits.folder import Fit
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.interventions.vti import VTI
from lvlmsal.testing.tiny import tiny_inputs, tiny_model

pytestmark = pytest.mark.slow

F64 = torch.float64
LAYER: Any = type("Context", (), {"layer": 0})


def turned(output: list[float], direction: list[float], alpha: float) -> list[float]:
    edit = VTI(random=0, alpha=alpha).bind(1)
    row = edit.of_layer({"directions": torch.tensor([direction])}, 0)
    object.__setattr__(edit, "_held", {0: row})
    given = torch.tensor([[output]])
    found: list[float] = edit.feed_forward(given, given, LAYER)[0, 0].tolist()
    return found


def test_rows_by_hand() -> None:
    # (.6, .8) + .1 (0, 1) = (.6, .9), as long as (3, 4): 5 (.6, .9) / sqrt(1.17)
    assert turned([3.0, 4.0], [0.0, 2.0], 1.0) == pytest.approx(
        [3 / math.sqrt(1.17), 4.5 / math.sqrt(1.17)]
    )
    assert turned([3.0, 4.0], [0.0, 2.0], 1.0) == pytest.approx([2.774, 4.160], abs=1e-3)
    assert turned([0.0, 0.0], [0.0, 2.0], 1.0) == [0.0, 0.0]
    assert turned([3.0, 4.0], [0.0, 0.0], 1.0) == pytest.approx([3.0, 4.0])


def test_on_a_model_against_loops_over_its_rows(tmp_path: Path) -> None:
    """A hook of the test's own on each block, on whole sequences without a cache."""
    model: Any = tiny_model("llava", dtype=F64)
    batch = tiny_inputs("llava", (1, 0), dtype=F64)
    adapter = adapter_for(model)
    generator = torch.Generator().manual_seed(2)
    directions = torch.randn(2, 32, generator=generator)
    shapes = {"directions": [2, 32]}
    fit = Fit("vti", {}, "tiny", ModelMark.of(adapter), {}, {}, (), shapes)
    fit.save(tmp_path, {"directions": directions})
    edit = VTI(fit=str(tmp_path), alpha=4.0)
    with torch.no_grad(), intervene(model, edit):
        found = model(**batch).logits
    hooks = []
    for layer, direction in zip(adapter.layers, directions.double(), strict=True):

        def turn(module: Any, args: Any, output: Tensor, v: Tensor = direction) -> Tensor:
            rows = output.clone()
            for sample in range(output.shape[0]):
                for row in range(output.shape[1]):
                    x = output[sample, row]
                    if float(x.norm()) == 0:  # of padding
                        continue
                    aim = x / x.norm() + 0.4 * v / v.norm()
                    rows[sample, row] = x.norm() * aim / aim.norm()
            return rows

        hooks.append(layer.mlp.register_forward_hook(turn))  # type: ignore[union-attr,operator]
    with torch.no_grad():
        wanted = model(**batch).logits
    for hook in hooks:
        hook.remove()
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(found[real], wanted[real], rtol=1e-5, atol=1e-6)


def test_options_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="alpha must be at least 0"):
        VTI(alpha=-1.0)
