"""ICD: contrast with an instruction that disturbs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.openings import question_opening, system_opening, words_behind_image
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.contrast import Contrast, left_padded
from lvlmsal.registry import INTERVENTIONS

DISTURBANCE = (
    "You are a confused objects detector to provide a fuzzy overview or impression of the image."
)
"""The code's fourth disturbance."""


@INTERVENTIONS.register("icd")
@dataclass(frozen=True)
class ICD(Contrast):
    """Instruction contrastive decoding: subtracts what the model says under a disturbing role.

    With l the logits of the prompt and l' those of the same images and question behind a disturbing
    system message (its own stream and cache, fed with the same tokens), both (B, V)::

        l_cd = (1 + alpha) l - alpha l',   only where p(y) >= beta max p

    All rows that predict generated tokens are edited; whichever decoder chooses goes on from l_cd.
    The paper samples at temperature 1.

    Where the sources differ, and what they leave open:

    - the public code (p1k0pan/ICD) has the form above, ``form="code"``. Others who implement the
      paper write ``l - alpha l'``, which at alpha = 1 keeps nothing of the base model but the cut:
      ``form="pmi"``. Which one the paper prints was not checked.
    - for LLaVA the code replaces the system message of the second prompt by the disturbance
      (``placement="system"``). Others put it into the user's turn between image and question
      (``"user"``). For InstructBLIP the code puts it into the Q-Former's text and nowhere else,
      which no model here has.
    - the code tries five disturbances and keeps results of each; which one the paper's tables use
      is not said. Default: this library's pick. Even encouraging ones ("You are an object detector
      to recognize every different objects.") are said to raise hallucination.
    - alpha is 1; the code falls back to 0.5 where it is not passed.
    - without its switch for the contrast the code still sends the disturbance, as the only prompt:
      its "baseline" is none. Here ``alpha=0`` is the plain model (under the cut).
    - the code can add up VCD and ICD, ``2 (1 + alpha) l - alpha l' - alpha l''``. That is not
      offered: it takes two second streams, and it halves the temperature on the way.

    The second prompt is made of the first one's token ids and of what the chat template writes with
    and without a system message; it has a length and padding of its own. So this needs the
    processor: ``lvlmsal.load`` brings it, and a scope is opened with ``intervene(lvlm.adapter,
    ICD())``; a model that was loaded from a folder by itself takes that folder's. Prompts must come
    out of the chat template, without a system message of their own.

    **The pocket models do not know the words of the disturbances**: to them the default one reads
    "You are a <unk> objects <unk> to <unk> a <unk> <unk> or <unk> of the image." What ICD does
    there is what that does, and no finding about the method.

    Args:
        alpha: strength of the contrast.
        beta: plausibility cut; 0 cuts nothing.
        disturbance: the words, in any language that the model knows.
        form: ``"code"`` or ``"pmi"``, see above.
        placement: ``"system"`` or ``"user"``: behind the last image, or in front of the question
            where there is none.

    >>> ICD().alpha
    1.0
    """

    disturbance: str = DISTURBANCE
    form: Literal["code", "pmi"] = "code"
    placement: Literal["system", "user"] = "system"

    summary: ClassVar[str] = "contrasts the logits with those under a disturbing instruction"
    paper: ClassVar[str] = "Instruction Contrastive Decoding (Findings of ACL 2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2403.18715"
    shares_prefix: ClassVar[bool] = True
    shares_second: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.disturbance.strip():
            raise ValueError("disturbance is empty: give the words that shall disturb")

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The same images and questions with the disturbance; none without a contrast."""
        if not self.alpha:
            return None
        try:
            rows = self._disturbed(prompt)
        except UnsupportedError as error:
            if self.placement == "user":
                raise
            raise UnsupportedError(
                f"{error}; ICD's disturbance can stand in the question instead: placement='user'"
            ) from error
        return prompt.with_text(**left_padded(rows, prompt.inputs["input_ids"]))

    def combined(self, logits: Tensor, second: Tensor) -> Tensor:
        """l_cd in its form, shape (B, r, V)."""
        kept = 1 + self.alpha if self.form == "code" else 1
        return kept * logits - self.alpha * second

    def _disturbed(self, prompt: Prompt) -> list[Tensor]:
        """Token ids of each prompt with the disturbance in its place, shape (n,)."""
        kinds = {bool(spans.images) for spans in prompt.spans}
        put = {kind: self._putting(prompt.adapter, images=kind) for kind in kinds}
        rows = []
        for row, spans in zip(prompt.inputs["input_ids"].tolist(), prompt.spans, strict=True):
            tokens = row[spans.pad : spans.output_column]
            rows.append(torch.tensor(put[bool(spans.images)](tokens, spans)))
        return rows

    def _putting(
        self, adapter: ModelAdapter, *, images: bool
    ) -> Callable[[list[int], TokenSpans], list[int]]:
        """What puts the disturbance into the token ids of a prompt, with or without images."""
        if self.placement == "system" or not images:
            opening = (
                system_opening(adapter, self.disturbance, images=images)
                if self.placement == "system"
                else question_opening(adapter, self.disturbance)
            )
            return lambda tokens, _: opening(tokens)
        words = words_behind_image(adapter, self.disturbance)

        def insert(tokens: list[int], spans: TokenSpans) -> list[int]:
            _, stand = adapter.marked(tokens, spans.images[-1])
            return [*tokens[:stand], *words, *tokens[stand:]]

        return insert
