"""The saliency of candidates, read at the row that predicts them."""

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
class _Rows:
    """Recorded rows that predict, and which of them predicts the next position."""

    logits: Tensor
    recording: Recording
    tokens: Tensor
    place: int


@dataclass
class _Copies:
    """Copies of the row that predicts, side by side, so that each can have a loss of its own.

    Attributes:
        tokens: the row's, (B,).
        logits: raw ones of the copies, (B, m, V), with their graph.
        recording: of their pass.
        values: S of all candidates of each sample, by token; none before they are judged.
    """

    tokens: Tensor
    logits: Tensor
    recording: Recording
    values: list[dict[int, float]]


MANY, IN_A_ROW = 4, 2
"""Candidates of a position, and such positions, from which on copies cost less than they save."""


class PredictingRow(BlockSaliency):
    """``row="predicting"``: one recorded row serves every candidate of its position.

    Each candidate that is judged is one more backward pass through it. Where the positions before
    took many, the row is run in copies, and one backward pass judges all candidates at once.
    """

    def __init__(self, stream: RecordingStream, options: SaliencyOptions) -> None:
        super().__init__(stream, options)
        # Where the row that predicts begins; it is run again when it has to be recorded.
        self._start = stream.lone_last
        self._rows: _Rows | None = None
        self._copies: _Copies | None = None
        self._together = stream.takes_candidates
        self._judged, self._in_a_row, self._most = 0, 0, 1

    def judge(self, tokens: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[float]:
        """One vector-Jacobian product through the recorded row, its whole block or its copies."""
        self._judged += 1
        self._most = max(self._most, *map(len, candidates))
        if self._copies is not None:
            copies = self._judged_copies(self._copies, candidates)
            return [values[token] for values, token in zip(copies.values, tokens, strict=True)]
        if self._rows is None:
            row = self.stream.input_ids[:, -1:]
            self.stream.rewind(self._start)
            self._record(row)
        assert self._rows is not None
        rows = self._rows
        rows.tokens[:, rows.place] = self._column(tokens)[:, 0]
        return self._saliency(rows)[:, rows.place].tolist()

    def advance(self, tokens: Sequence[int], *, judged_next: bool) -> None:
        """The next step, recorded where it will be judged."""
        self._settle()
        self._start, self._rows = self.stream.mark(), None
        self._in_a_row = self._in_a_row + 1 if self._judged >= MANY else 0
        self._judged = 0
        if not judged_next:
            self.draft(tokens)
        elif self._together and self._in_a_row >= IN_A_ROW:
            self._copy(self._column(tokens)[:, 0])
        else:
            self._record(self._column(tokens))

    def draft(self, tokens: Sequence[int]) -> None:
        """Move on by a plain step; the last block's graph is let go."""
        self._settle()
        self._rows = None
        super().draft(tokens)

    def verify(self, tokens: Tensor) -> list[list[float]]:
        """The rows that predict the drafted tokens, and the last token's for what follows it."""
        self._settle()
        self._rows = None
        length = self._start.length
        inputs = torch.cat([self.stream.input_ids[:, length : length + 1], tokens], dim=1)
        self.stream.rewind(self._start)
        logits, recording = self.stream.record(inputs)
        # The last row has nothing to judge yet: whatever it is given touches no other row.
        self._rows = _Rows(logits, recording, torch.nn.functional.pad(tokens, (0, 1)), 0)
        return self._saliency(self._rows)[:, :-1].tolist()

    def accept(self, count: int) -> None:
        """Keep the rows up to the one that predicts what follows the accepted tokens."""
        assert self._rows is not None
        self._rows.place = count
        self.logits = self._rows.recording.chosen_from(self._rows.logits)[:, count]
        self.stream.rewind(self.stream.later(self._start, count + 1))
        self._start = self.stream.later(self._start, count)

    def _record(self, tokens: Tensor) -> None:
        logits, recording = self.stream.record(tokens)
        self._rows = _Rows(logits, recording, tokens.clone(), 0)
        self.logits = recording.chosen_from(logits)[:, 0]

    def _copy(self, tokens: Tensor) -> _Copies:
        """Run the row of these tokens (B,), as often as there were candidates at most."""
        logits, recording = self.stream.record_candidates(tokens[:, None].expand(-1, self._most))
        self._copies = _Copies(tokens, logits, recording, [])
        self.logits = recording.chosen_from(logits)[:, 0]
        return self._copies

    def _judged_copies(self, copies: _Copies, candidates: Sequence[Sequence[int]]) -> _Copies:
        """The copies, by which all candidates of the position were judged."""
        if copies.logits.shape[1] < self._most:
            copies = self._copy(copies.tokens)
        if not copies.values:
            count = copies.logits.shape[1]
            tokens = [[*own, *[own[-1]] * (count - len(own))] for own in candidates]
            judged = torch.tensor(tokens, device=copies.logits.device)
            loss = loss_gradient(copies.logits, judged, "predicting")
            found = row_saliency(copies.recording, loss, self.stream.spans, self.options)
            pairs = zip(tokens, found.tolist(), strict=True)
            copies.values = [dict(zip(*pair, strict=True)) for pair in pairs]
        return copies

    def _settle(self) -> None:
        """Leave one of the copies as the step that it stands for."""
        if (copies := self._copies) is not None:
            self.stream.take(copies.recording, [0] * len(copies.tokens), copies.tokens)
            self._copies = None

    def _saliency(self, rows: _Rows) -> Tensor:
        loss = loss_gradient(rows.logits, rows.tokens, "predicting")
        return row_saliency(
            rows.recording, loss, self.stream.spans, self.options, retain_graph=True
        )
