"""The saliency of SGRS's candidates: of their own rows, or of the row that predicts them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lvlmsal.attention.recording import Recording
from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.saliency.losses import loss_gradient
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.row import row_saliency


class CandidateSaliency(ABC):
    """Judges the candidates of one position and moves on to the next.

    Attributes:
        logits: raw logits that predict the next token, shape (B, V).
    """

    logits: Tensor

    def __init__(self, stream: RecordingStream, options: SaliencyOptions) -> None:
        self.stream, self.options = stream, options
        self.logits = stream.prefill()

    @abstractmethod
    def judge(self, tokens: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[float]:
        """S of one candidate of the next position for each sample; ``nan`` where undefined.

        Args:
            tokens: the candidates to judge.
            candidates: all of each sample in the order in which they are tried, where more may
                have to be judged.
        """

    @abstractmethod
    def advance(self, tokens: Sequence[int], *, judged_next: bool) -> None:
        """Commit the chosen tokens; ``judged_next`` where :meth:`judge` will follow."""

    def draft(self, tokens: Sequence[int]) -> None:
        """Move on by a plain step, judged or not."""
        self.logits = self.stream.step(self._column(tokens)[:, 0])

    def _column(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor(tokens, device=self.stream.input_ids.device)[:, None]


class BlockSaliency(CandidateSaliency):
    """One that also judges a block of drafted tokens at once."""

    @abstractmethod
    def verify(self, tokens: Tensor) -> list[list[float]]:
        """S of m drafted tokens (B, m), the last of which was not moved on to; a list a sample."""

    @abstractmethod
    def accept(self, count: int) -> None:
        """Keep that many of the tokens that were verified, and forget the others."""


@dataclass
class _Rows:
    """Recorded rows that predict, and which of them predicts the next position."""

    logits: Tensor
    recording: Recording
    tokens: Tensor
    place: int


class PredictingRow(BlockSaliency):
    """``row="predicting"``: one recorded row serves every candidate of its position."""

    def __init__(self, stream: RecordingStream, options: SaliencyOptions) -> None:
        super().__init__(stream, options)
        # Where the row that predicts begins; it is run again when it has to be recorded.
        self._start = stream.lone_last
        self._rows: _Rows | None = None

    def judge(self, tokens: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[float]:
        """One vector-Jacobian product through the recorded row, or through its whole block."""
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
        self._start, self._rows = self.stream.mark(), None
        if judged_next:
            self._record(self._column(tokens))
        else:
            self.draft(tokens)

    def draft(self, tokens: Sequence[int]) -> None:
        """Move on by a plain step; the last block's graph is let go."""
        self._rows = None
        super().draft(tokens)

    def verify(self, tokens: Tensor) -> list[list[float]]:
        """The rows that predict the drafted tokens, and the last token's for what follows it."""
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

    def _saliency(self, rows: _Rows) -> Tensor:
        loss = loss_gradient(rows.logits, rows.tokens, "predicting")
        return row_saliency(
            rows.recording, loss, self.stream.spans, self.options, retain_graph=True
        )


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


class NoSaliency(CandidateSaliency):
    """The control, which rejects nothing: plain steps, nothing is judged."""

    def judge(self, tokens: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[float]:
        """Undefined for every candidate, so that the first one is always taken."""
        return [float("nan")] * len(tokens)

    def advance(self, tokens: Sequence[int], *, judged_next: bool) -> None:
        """The next plain step."""
        self.draft(tokens)
