"""DOPRA's reconstruction: OPERA with another layer, and nothing else."""

from __future__ import annotations

import pytest
import torch

from lvlmsal.decoders.opera.decoder import OPERA
from lvlmsal.decoders.opera.dopra import DopraReconstruction
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.run.dry_models import _depth
from lvlmsal.model.loading import load
from lvlmsal.testing.tiny import collate, tiny_inputs, tiny_lvlm, tiny_model, tiny_samples
from tests.unit.decoders.opera.test_opera import EAGER, answers, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("layer", [-1, 0])
def test_it_is_opera_that_reads_this_layer(layer: int) -> None:
    model = tiny_model("llava", dtype=torch.float64)
    batch = collate(tiny_samples("llava", (1, 0), dtype=torch.float64))
    options = {**EAGER, "image_bonus_tokens": 0, "score_factor": 1e-2, "layer": layer}
    dopra, opera = (run(model, batch, cls(**options)) for cls in (DopraReconstruction, OPERA))
    assert answers(dopra, batch) == answers(opera, batch)
    assert dopra.rollbacks == opera.rollbacks


def test_on_a_model_of_one_layer_all_layers_are_the_last() -> None:
    model = tiny_model("llava", dtype=torch.float64, layers=1)
    batch = tiny_inputs("llava", (1,), dtype=torch.float64)
    first, last = (run(model, batch, OPERA(**EAGER, layer=layer)) for layer in (0, -1))
    assert answers(first, batch) == answers(last, batch)


def test_another_layer_is_another_search() -> None:
    model = tiny_model("llava", dtype=torch.float64)
    batch = tiny_inputs("llava", (1,), dtype=torch.float64)
    options = {**EAGER, "image_bonus_tokens": 0, "score_factor": 1.0}
    first, last = (run(model, batch, OPERA(**options, layer=layer)) for layer in (0, -1))
    assert answers(first, batch) != answers(last, batch)


def test_a_layer_that_a_model_lacks_is_refused() -> None:
    told = "decoder 'dopra-reconstruction': layers .11. are outside a model of 2 layers: give"
    lvlm = load(tiny_lvlm("llava"))
    with pytest.raises(ConfigError, match=told):
        lvlm.generate(None, "Is there a cat?", decoder="dopra-reconstruction", max_new_tokens=2)
    kwargs = DopraReconstruction(num_beams=2).generate_kwargs()
    with pytest.raises(ConfigError, match=told):
        tiny_model("llava").generate(**tiny_inputs("llava", (1,)), max_new_tokens=2, **kwargs)


def test_a_dry_run_takes_a_model_that_is_deep_enough() -> None:
    assert _depth([DopraReconstruction()]) == 16
    assert _depth([DopraReconstruction(layer=1)]) == 2
