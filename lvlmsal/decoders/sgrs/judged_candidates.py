"""SGRS's frame with a detector in saliency's place: its candidates are judged by their risk."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.decoders.guide import Guide
from lvlmsal.decoders.predicting_rows import RowWatcher
from lvlmsal.decoders.sgrs.candidate_saliency import CandidateSaliency
from lvlmsal.detection.vocabulary import Writing
from lvlmsal.saliency.options import SaliencyOptions


class JudgedCandidates(CandidateSaliency):
    """1 - risk in the place of S; undefined for what begins no judged word, which is accepted.

    Args:
        stream: at the start of the prompt.
        options: not read: nothing is recorded.
        guide: judges the candidates.
        watcher: of the stream's passes.
    """

    def __init__(
        self, stream: RecordingStream, options: SaliencyOptions, guide: Guide, watcher: RowWatcher
    ) -> None:
        super().__init__(stream, options)
        self.guide, self.watcher = guide, watcher
        self._writing = [Writing() for _ in stream.spans]
        self._start = stream.input_ids.shape[1]

    def judge(self, tokens: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[float]:
        """Read the row that predicts them, which is there already."""
        rows, words = self.watcher.rows, self.guide.words
        position = self.stream.input_ids.shape[1] - self._start
        found = []
        for row, token in enumerate(tokens):
            if not words.step(self._writing[row], token).begins:
                found.append(float("nan"))
                continue
            asked = torch.tensor([[token]], device=rows.logits.device)
            found.append(1 - self.guide.risks(rows.at(row), asked, [position])[0][0])
        return found

    def advance(self, tokens: Sequence[int], *, judged_next: bool) -> None:
        """The next plain step."""
        steps = zip(self._writing, tokens, strict=True)
        self._writing = [self.guide.words.step(*step).writing for step in steps]
        self.draft(tokens)
