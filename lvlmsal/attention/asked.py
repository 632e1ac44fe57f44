"""What a batch was asked, as whoever calls `generate` knows it: images before any processing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.messages import Prompt as Question
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.videos import Opened
from lvlmsal.attention.pixels import of_rows
from lvlmsal.errors import UnsupportedError


class Texts(NamedTuple):
    """Prompts, padded at the left.

    Attributes:
        input_ids: (rows, columns).
        attention_mask: likewise.
    """

    input_ids: Tensor
    attention_mask: Tensor


@dataclass(frozen=True)
class Asked:
    """A batch before it was processed. A sample may have several rows of a pass: its beams.

    Attributes:
        inputs: of ``generate``, as the processor made them.
        pictures: of each sample, in RGB; videos as their frames.
        questions: of each sample, messages without their images among them.
    """

    inputs: Mapping[str, Tensor]
    pictures: Sequence[Sequence[Opened]]
    questions: Sequence[Question]

    def rows(
        self,
        adapter: ModelAdapter,
        held: Mapping[str, Tensor],
        ids: Tensor,
        spans: Sequence[TokenSpans],
    ) -> dict[str, Tensor]:
        """Inputs that are not text, for the rows of a pass.

        Args:
            adapter: of the model.
            held: inputs of the batch, a sample a row.
            ids: of the pass.
            spans: one for each row of it.

        Returns:
            Nothing where the pass is one of another batch.
        """
        beams, rest = divmod(len(ids), len(self.questions))
        return {} if rest else of_rows(adapter, held, ids, spans, beams)

    def processed(
        self,
        adapter: ModelAdapter,
        ids: Tensor,
        spans: Sequence[TokenSpans],
        pictures: Sequence[Sequence[Opened]],
    ) -> dict[str, Tensor]:
        """What the processor makes of other pictures of the same sizes, for the rows of a pass.

        Args:
            adapter: of the model.
            ids: of the pass, (rows, columns).
            spans: one for each row.
            pictures: of each sample.

        Raises:
            UnsupportedError: the prompt's text becomes another one with these pictures, or the pass
                is one of another batch.
        """
        made = adapter.encode(pictures, self.questions)
        own = ids[:: max(1, len(ids) // len(self.questions))]
        width = min(own.shape[1], made["input_ids"].shape[1])
        found: dict[str, Tensor] = {}
        if torch.equal(own[:, :width], made["input_ids"][:, :width]):
            found = self.rows(adapter, made, ids, spans)
        if not found:
            raise UnsupportedError(
                "the images of this prompt cannot be changed: with other images of the same sizes "
                "the processor writes another prompt than the one that is run"
            )
        return found

    def reworded(self, adapter: ModelAdapter, ids: Tensor, questions: Sequence[Question]) -> Texts:
        """Token ids and mask of other questions about the same pictures, for the rows of a pass.

        Args:
            adapter: of the model.
            ids: of the pass, (rows, columns).
            questions: of each sample.
        """
        made = adapter.encode(self.pictures, questions)
        beams = max(1, len(ids) // len(self.questions))
        found = (made[name].repeat_interleave(beams, 0) for name in ("input_ids", "attention_mask"))
        return Texts(*found)
