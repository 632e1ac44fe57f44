"""Tokens with their risks, handed out while an answer is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.generation.streamers import BaseStreamer

from lvlmsal.decoders.guide import Guide
from lvlmsal.decoders.predicting_rows import RowWatcher
from lvlmsal.detection.judge import DEFAULT
from lvlmsal.detection.result import usual_threshold
from lvlmsal.detection.vocabulary import Writing
from lvlmsal.errors import UnsupportedError


@dataclass(frozen=True)
class RiskyToken:
    """A token of an answer that is being written.

    Attributes:
        id: its id.
        text: what it adds to the text; empty while a character is not whole.
        risk: from 0 to 1, of a token that begins a judged word; ``None`` for any other.
        flagged: whether the risk reaches the threshold.
    """

    id: int
    text: str
    risk: float | None = None
    flagged: bool = False


class TokenRiskStreamer(BaseStreamer):
    """A streamer for ``lvlm.generate(..., streamer=...)`` that is told tokens with their risks.

    It reads the pass that predicts a token, as guided decoding does, and needs no pass of its own.
    So it takes detectors that stream (``lvlmsal list detectors``), and decoders that choose each
    token right behind the pass that predicts it. A word is judged at its first token, before the
    rest of it is known.

    Args:
        lvlm: the model.
        told: called with each token; what it raises ends the answer.
        detector: a name or a mapping, as in ``lvlm.detect``.
        words: likewise; by default those of the scaling.
        threshold: from which risk on words are flagged; by default that of ``lvlm.detect``.

    Attributes:
        tokens: all that were told so far.

    Raises:
        ConfigError: an unknown name or option.
        UnsupportedError: the detector reads more than the row that predicts a token.

    >>> from lvlmsal.testing.tiny import tiny_lvlm
    >>> import lvlmsal
    >>> from PIL import Image
    >>> lvlm = lvlmsal.load(tiny_lvlm("llava"))
    >>> risks = TokenRiskStreamer(lvlm, detector="entropy", words=["dog", "cat"])
    >>> answer = lvlm.generate(Image.new("RGB", (20, 20)), "?", streamer=risks, max_new_tokens=3)
    >>> [token.id for token in risks.tokens] == answer.token_ids
    True
    """

    def __init__(
        self,
        lvlm: Any,
        told: Callable[[RiskyToken], None] | None = None,
        *,
        detector: str | Mapping[str, Any] = DEFAULT,
        words: str | Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> None:
        self.tokens: list[RiskyToken] = []
        # What guided decoding asks of a detector is asked here, too; the threshold is set below.
        self._guide = Guide.of(lvlm.adapter, detector, words, 1.0, None)
        usual = usual_threshold(self._guide.judge)
        self._threshold = usual if threshold is None else threshold
        self._told = told
        self.watcher = RowWatcher(self._guide.layers)
        self._writing, self._text = Writing(), ""
        self._heard_prompt = False
        self._read = 0

    def check(self, model: nn.Module) -> None:
        """Refuse to listen to another model, or to a second answer.

        Raises:
            UnsupportedError: it is asked to.
        """
        if model is not self._guide.adapter.model:
            raise UnsupportedError("this streamer was made for another model: make one for this")
        if self._heard_prompt:
            raise UnsupportedError("this streamer has heard an answer: make a new one for the next")

    def put(self, value: Tensor) -> None:
        """Hear of the prompt first, then of each token.

        Raises:
            UnsupportedError: a token does not come right behind the pass that predicts it.
        """
        if not self._heard_prompt:
            self._heard_prompt = True
            return
        ids = value.flatten().tolist()
        passes = self.watcher.passes - self._read
        self._read = self.watcher.passes
        if len(ids) != 1 or passes != 1:
            raise UnsupportedError(
                f"{len(ids)} tokens came after {passes} passes, and risks are read off the pass "
                "that predicts a token: take lvlm.generate with a decoder that chooses one token a "
                "pass (greedy, sampling, dola), or judge the answer with lvlm.detect"
            )
        self._hear(ids[0])

    def _hear(self, token: int) -> None:
        found = self._guide.words.step(self._writing, token)
        self._writing = found.writing
        risk = None
        if found.begins:
            rows = self.watcher.rows
            asked = torch.tensor([[token]], device=rows.logits.device)
            judged = self._guide.risks(rows, asked, [len(self.tokens)])[0][0]
            risk = None if math.isnan(judged) else judged
        whole = self._guide.adapter.decode([*(one.id for one in self.tokens), token])
        text = ""
        # The rest of a character that is cut in two comes with a later token.
        if not whole.endswith("\N{REPLACEMENT CHARACTER}"):
            text, self._text = whole[len(self._text) :], whole
        flagged = risk is not None and risk >= self._threshold
        self.tokens.append(RiskyToken(token, text, risk, flagged))
        if self._told is not None:
            self._told(self.tokens[-1])

    def end(self) -> None:
        """Hear that the answer is whole."""
