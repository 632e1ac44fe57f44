"""Methods that act in layers, under decoders that search and go back, and next to LocoRE."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.attention import intervene
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.guided.decoder import Guided
from lvlmsal.decoders.opera.decoder import OPERA
from lvlmsal.decoders.search import Beam
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.interventions.base import Intervention
from lvlmsal.interventions.deco import DeCo
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.memvr import MemVR
from lvlmsal.interventions.vcd import VCD
from lvlmsal.interventions.vista import VISTA
from lvlmsal.testing.tiny import collate, tiny_samples
from tests import second_streams as streams
from tests.tiers import in_full
from tests.unit.decoders.guided.test_guided import decoded, loaded

pytestmark = pytest.mark.slow

F64 = torch.float64
METHODS = {
    "deco": DeCo(alpha=2.0, layers=[1, 2]),
    "memvr": MemVR(alpha=0.6, tau=0.85, layers=[0, 1, 2]),
    "vista": VISTA(steer=0.5, mix=0.4, late=[2]),
}
DECODERS: dict[str, Decoder] = {
    "beam": Beam(num_beams=3),
    "opera": OPERA(num_beams=3, num_candidates=3, threshold=1, earliest_summary=0, max_rollbacks=1),
    "sgrs": SGRS(alpha=1.2, layers=None, block_size=3),
}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", METHODS)
def test_next_to_locore_a_batch_is_its_samples(name: str, decoder: str) -> None:
    model: Any = loaded("llava").model
    samples = tiny_samples("llava", (1, 0), dtype=F64)
    edits: list[Intervention] = [LocoRE(beta=0.8, window=4), METHODS[name]]
    options = {"max_new_tokens": 6, "suppress_tokens": streams.BANNED, "pad_token_id": 3}

    def decode(inputs: dict[str, Tensor], names: list[str], *acting: Intervention) -> Tensor:
        with intervene(model, *acting):
            own = DECODERS[decoder].generate_kwargs(sample_ids=names)
            ids: Tensor = model.generate(**inputs, **options, **own)
        return ids[:, inputs["input_ids"].shape[1] :]

    together = decode(collate(samples), ["a", "b"], *edits)
    alone = [
        decode(sample.inputs, [own], *edits) for sample, own in zip(samples, "ab", strict=True)
    ]
    assert torch.equal(together, torch.cat(alone))
    assert not torch.equal(together, decode(collate(samples), ["a", "b"], *edits[:1]))


@pytest.mark.parametrize("name", in_full(METHODS, but="memvr"))
def test_a_guided_batch_is_its_samples(name: str) -> None:
    adapter = loaded("llava")
    samples, case = tiny_samples("llava", (1, 0), dtype=F64), Guided(threshold=0.5, k=5, back_up=3)
    with intervene(adapter, METHODS[name]):
        together = decoded(adapter, collate(samples), case)
        alone = [decoded(adapter, sample.inputs, case) for sample in samples]
    steps = [
        output.sequences[0, sample.inputs["input_ids"].shape[1] :]
        for output, sample in zip(alone, samples, strict=True)
    ]
    width = collate(samples)["input_ids"].shape[1]
    assert torch.equal(together.sequences[:, width:], torch.stack(steps))
    assert sum(len(record.taken_back) for of_row in together.records for record in of_row) > 0


@pytest.mark.parametrize("name", METHODS)
def test_a_second_stream_next_to_it_is_edited_as_a_prompt_of_its_own(name: str) -> None:
    model = loaded("llava").model
    samples = tiny_samples("llava", (1, 0), dtype=F64)
    edits = VCD(alpha=1.0, beta=0.0, noise_step=999), METHODS[name]
    with intervene(model, *edits):
        cached, logits = streams.decode(model, collate(samples))
        uncached = streams.decode(model, collate(samples), use_cache=False)[0]
    assert torch.equal(cached, uncached)
    with intervene(model, METHODS[name]):
        assert not streams.close(streams.decode(model, collate(samples))[1][0], logits[0])
