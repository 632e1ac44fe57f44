"""The part of `check_decoder` and `check_intervention` about images that questions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from PIL import Image

from lvlmsal.decoders.base import Decoder
from lvlmsal.interventions.base import Intervention
from lvlmsal.model.loading import load
from lvlmsal.model.shared_prefix import can_share
from lvlmsal.testing.tiny import tiny_lvlm

SHARES_WRONGLY: Final = "`shares_prefix` is set, but a row of the prompt depends on what follows it"

QUESTIONS: Final = ("Is there a cat?", "Is there a big dog?", "Is there a cow in it?", "Is it so?")


def check_sharing(
    decoder: Decoder, interventions: Sequence[Intervention], families: Sequence[str]
) -> None:
    """Who says `shares_prefix` answers questions about one image as if each were the only one.

    Args:
        decoder: One that shares.
        interventions: With options strong enough to change a random model.
        families: Keys of :data:`~lvlmsal.testing.tiny.TINY` or `FURTHER`.

    Raises:
        AssertionError: An answer changes.
    """
    if not can_share(decoder, interventions):
        return
    for family in families:
        # in float64, so that rounding decides nothing
        lvlm = load(tiny_lvlm(family, dtype=torch.float64))
        image = Image.linear_gradient("L").resize((48, 32)).convert("RGB")
        names = [str(number) for number in range(len(QUESTIONS))]
        found = lvlm.ask(
            image,
            QUESTIONS,
            batch_size=3,
            decoder=decoder,
            interventions=interventions,
            max_new_tokens=6,
            sample_ids=names,
        )
        for question, name, answer in zip(QUESTIONS, names, found, strict=True):
            alone = lvlm.generate(
                image,
                question,
                decoder=decoder,
                interventions=interventions,
                max_new_tokens=6,
                sample_ids=[name],
            )
            assert answer.token_ids == alone.token_ids, (
                f"`shares_prefix` is set, but with other questions on the same image the "
                f"answer is {answer.token_ids}, alone it is {alone.token_ids}"
            )
