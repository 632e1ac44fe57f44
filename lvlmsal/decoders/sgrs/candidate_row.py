"""The saliency of candidates, read at their own rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lvlmsal.attention.recording import Recording
from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.decoders.sgrs.candidate_saliency import BlockSaliency
from lvlmsal.saliency.losses import loss_gradient
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.row import row_saliency


@dataclass
class _Candidates:
    """All candidates of a position, which were judged side by side.

    Attributes:
        tokens: of each sample.
        values: S of them, likewise.
        logits: what is chosen from after each, (B, m, V).
        recording: of their pass.
    """

    tokens: list[list[int]]
    values: list[list[float]]
    logits: Tensor
    recording: Recording

    def places(self, tokens: Sequence[int]) -> list[int]:
        """Where a token of each sample stands among them."""
        return [own.index(token) for own, token in zip(self.tokens, tokens, strict=True)]


class CandidateRow(BlockSaliency):
    """``row="candidate"``: each candidate is a recorded step, the accepted one's the next step.

    Most first candidates are accepted, and are judged alone. Once one is rejected, all candidates
    of the position are judged in one pass, side by side; so they are from the beginning where the
    position before saw a rejection, since rejections come in runs.
    """

    def __init__(self, stream: RecordingStream, options: SaliencyOptions) -> None:
        super().__init__(stream, options)
        self._start = stream.mark()
        self._tried: tuple[list[int], Tensor] | None = None
        self._candidates: _Candidates | None = None
        self._together = stream.takes_candidates
        self._rejecting = False
        self._after: Tensor | None = None

    def judge(self, tokens: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[float]:
        """Run the candidates as a step, which stays in the cache until the next call."""
        rejected = any(token != own[0] for token, own in zip(tokens, candidates, strict=True))
        several = max(map(len, candidates)) > 1
        if self._together and several and (rejected or self._rejecting):
            if self._candidates is None:
                self._candidates = self._side_by_side(candidates)
            self._rejecting = rejected
            found = self._candidates
            places = zip(found.values, found.places(tokens), strict=True)
            return [values[place] for values, place in places]
        self.stream.rewind(self._start)
        logits, recording = self.stream.record(self._column(tokens))
        self._tried = list(tokens), recording.chosen_from(logits)[:, 0]
        loss = loss_gradient(logits, self._column(tokens), "candidate")
        found_alone = row_saliency(recording, loss, self.stream.spans, self.options)
        return [float(value) for value in found_alone[:, 0]]

    def _side_by_side(self, candidates: Sequence[Sequence[int]]) -> _Candidates:
        """Judge all candidates of the position in one pass."""
        self.stream.rewind(self._start)
        most = max(map(len, candidates))
        rows = [[*own, *[own[-1]] * (most - len(own))] for own in candidates]
        tokens = torch.tensor(rows, device=self.stream.input_ids.device)
        logits, recording = self.stream.record_candidates(tokens)
        loss = loss_gradient(logits, tokens, "candidate")
        found = row_saliency(recording, loss, self.stream.spans, self.options)
        return _Candidates(rows, found.tolist(), recording.chosen_from(logits), recording)

    def advance(self, tokens: Sequence[int], *, judged_next: bool) -> None:
        """Keep the step that was run last, or run the chosen tokens plainly where they differ."""
        if self._candidates is not None:
            found = self._candidates
            places = found.places(tokens)
            self.stream.take(found.recording, places, self._column(tokens)[:, 0])
            self.logits = found.logits[range(len(places)), places]
        elif self._tried is not None and self._tried[0] == list(tokens):
            self.logits = self._tried[1]
        else:
            self.stream.rewind(self._start)
            self.draft(tokens)
        self._start, self._tried, self._candidates = self.stream.mark(), None, None

    def verify(self, tokens: Tensor) -> list[list[float]]:
        """The drafted tokens' own rows."""
        self.stream.rewind(self._start)
        logits, recording = self.stream.record(tokens)
        loss = loss_gradient(logits, tokens, "candidate")
        self._after = recording.chosen_from(logits)
        found = row_saliency(recording, loss, self.stream.spans, self.options)
        return [[float(value) for value in of_sample] for of_sample in found]

    def accept(self, count: int) -> None:
        """Keep the accepted tokens' rows."""
        assert self._after is not None
        if count:
            self.logits = self._after[:, count - 1].clone()
        self._after = None
        self._start = self.stream.later(self._start, count)
        self.stream.rewind(self._start)
