"""Which decoders and interventions go together."""

from __future__ import annotations

from collections.abc import Sequence

from lvlmsal.decoders.base import Decoder
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import Intervention


def check_combination(decoder: Decoder, interventions: Sequence[Intervention]) -> None:
    """Refuse a decoder and interventions that cannot be right together.

    Raises:
        UnsupportedError: naming the pair.
    """
    streams = [edit.name for edit in interventions if edit.brings_second_stream]
    if len(streams) > 1:
        raise UnsupportedError(
            f"interventions {', '.join(map(repr, streams))} bring a second stream each, and no "
            "paper says how to combine three logits: use one of them"
        )
    for intervention in interventions:
        if decoder.is_beam and not intervention.supports_beam:
            raise UnsupportedError(
                f"intervention {intervention.name!r} keeps state that beam search reorders: "
                f"use it without decoder {decoder.name!r}"
            )
        if decoder.uses_saliency and not intervention.supports_sgrs:
            raise UnsupportedError(
                f"intervention {intervention.name!r} changes attention in a way whose saliency "
                f"is not defined: use it without decoder {decoder.name!r}"
            )
