"""What SGRS returns besides sequences."""

from __future__ import annotations

from dataclasses import dataclass

from transformers.generation.utils import GenerateDecoderOnlyOutput

from lvlmsal.decoders.records import TokenRecord


@dataclass
class SGRSOutput(GenerateDecoderOnlyOutput):
    """What ``generate(..., return_dict_in_generate=True)`` returns under SGRS.

    Attributes:
        records: for each sample, one :class:`TokenRecord` a generated token.
        forwards: forward passes of the whole batch, the prefill included.
        cache: the decoder's own cache (``past_key_values`` before transformers 5.24); one that was
            passed in is left as it was. It may hold a token more or less of the answer than
            ``generate``'s would.
    """

    records: list[list[TokenRecord]] | None = None
    forwards: int | None = None
