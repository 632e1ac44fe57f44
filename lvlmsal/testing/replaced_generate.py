"""What `check_decoder` and `check_intervention` ask where the model's `generate` is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch

import torch
from transformers import PreTrainedModel

from lvlmsal.attention import intervene
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.search import Greedy
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.testing.decoder_case import DecoderCase
from lvlmsal.testing.intervention_case import InterventionCase

REPLACED: Final = (
    "it calls `model.generate`, on which wrappers and folders with `custom_generate/` put a "
    "function of their own that comes back to the method: call `type(model).generate(model, ...)`"
)


class _Called(Exception):
    """Somebody called what stands in place of `generate`."""


@contextmanager
def replaced_generate(model: PreTrainedModel) -> Iterator[None]:
    """A block in which `generate` of this one model raises; that of its class is as it was."""

    def called(*args: object, **kwargs: object) -> None:
        raise _Called("the `generate` of the instance was called, expected that of its class")

    with patch.object(model, "generate", called):
        yield


def check_replaced_decoder(case: DecoderCase) -> None:
    """A decoder answers as before where others replaced the instance's `generate`."""
    wanted = case.answers(case.batch)
    with replaced_generate(case.model):
        found = case.answers(case.batch)
    assert torch.equal(found, wanted), (
        f"with another `generate` on the instance the answers are {found.tolist()}, expected "
        f"{wanted.tolist()}"
    )


def check_replaced_intervention(case: InterventionCase) -> None:
    """So does an intervention, under greedy search and under SGRS if it can."""
    decoders: list[Decoder] = [Greedy()]
    decoders += [SGRS(k=2)] if case.intervention.supports_sgrs else []
    for decoder in decoders:
        options = decoder.bind(case.adapter).generate_kwargs()
        with intervene(case.adapter, case.intervention):
            wanted = case.decode(case.batch, **options)
        with intervene(case.adapter, case.intervention), replaced_generate(case.model):
            found = case.decode(case.batch, **options)
        assert torch.equal(found, wanted), (
            f"under {decoder} and with another `generate` on the instance the answers are "
            f"{found.tolist()}, expected {wanted.tolist()}"
        )
