"""The loop of HALC: greedy search that goes one token back where a judged word has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import LongTensor, Tensor

from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.decoders.halc.candidates import Candidates
from lvlmsal.decoders.halc.records import HalcRecord
from lvlmsal.decoders.halc.rows import Option, Row, no_token
from lvlmsal.decoders.one_sequence import GenerateCall


class HalcLoop:
    """State of one decoding run.

    The rows of a batch share their columns: where the last token of one of them is replaced, that
    column is run again for all.

    Args:
        candidates: for the tokens that are decided again; None where none is.
        stream: at the start of the prompt.
        call: of ``generate``.
        beams: rows a sample.
    """

    def __init__(
        self,
        candidates: Candidates | None,
        stream: RecordingStream,
        call: GenerateCall,
        beams: int,
    ) -> None:
        self.candidates, self.stream, self.call, self.beams = candidates, stream, call, beams
        self.ids = cast(LongTensor, stream.input_ids)
        self.released = self.ids.shape[1]
        self.rows = [Row(row // beams) for row in range(len(self.ids))]
        self.kept = list(range(0, len(self.rows), beams))
        self.logits = stream.prefill()

    @property
    def records(self) -> list[list[HalcRecord]]:
        """For each sample one record a token."""
        return [list(self.rows[row].records) for row in self.kept]

    def run(self) -> LongTensor:
        """Decode until every row has stopped; prompts and answers, shape (B, L + T)."""
        while any(row.running for row in self.rows):
            scores = self.call.logits_processor(self.ids, self.logits.detach().clone())
            tokens = [self._first(row, own) for row, own in zip(self.rows, scores, strict=True)]
            if not self._decide_again(tokens, scores):
                self._commit(tokens, scores)
        self._release(self.ids.shape[1])
        if self.candidates is not None:
            self.stream.forwards += self.candidates.views.forwards
            self.kept = [self._best_of(self._of(sample)) for sample in range(len(self.kept))]
        return cast(LongTensor, self.ids[self.kept])

    def _first(self, row: Row, scores: Tensor) -> int:
        """The token that greedy search takes next."""
        if not row.running:
            return self.call.filler
        token = int(scores.argmax())
        if not bool(scores[token].isfinite()):
            raise no_token(self.call.names[row.sample])
        return token

    def _of(self, sample: int) -> list[int]:
        """The rows of a sample."""
        return list(range(sample * self.beams, (sample + 1) * self.beams))

    def _commit(self, tokens: Sequence[int], scores: Tensor) -> None:
        """Take one token of each row and move on."""
        chosen = torch.tensor(tokens, device=self.ids.device)
        self._release(self.ids.shape[1])  # what another token follows is decided
        self.ids = cast(LongTensor, torch.cat([self.ids, chosen[:, None]], dim=1))
        stopped = self._stopped(scores)
        for number, row in enumerate(self.rows):
            if row.running:
                added = self._with(row, HalcRecord(tokens[number]))
                self.rows[number] = replace(added, running=not stopped[number])
        if any(row.running for row in self.rows):
            self.logits = self.stream.step(chosen)

    def _with(self, row: Row, record: HalcRecord) -> Row:
        """A row with one token more."""
        records = (*row.records, record)
        if self.candidates is None or not self.candidates.views.pictures[row.sample]:
            return replace(row, records=records)
        before = row.found.writing
        found = self.candidates.words.step(before, record.id)
        return replace(row, records=records, before=before, found=found, settled=False)

    def _decide_again(self, tokens: Sequence[int], scores: Tensor) -> bool:
        """Decide the last token of rows once more in which it ends a judged word.

        Args:
            tokens: that come next.
            scores: that they were taken from.

        Returns:
            Whether anything has changed: the logits are then those behind the new tokens.
        """
        candidates = self.candidates
        if candidates is None:
            return False
        tried: dict[int, list[Option]] = {}
        # beams of a sample begin alike, and what is alike is looked at once
        known: dict[tuple[int, tuple[int, ...]], list[Option]] = {}
        for number, (row, token) in enumerate(zip(self.rows, tokens, strict=True)):
            over = row.found.name and candidates.words.ends(row.found.writing, token)
            if row.running and not row.settled and over:
                said = row.sample, tuple(row.answer)
                if said not in known:
                    known[said] = candidates.of(number, row, self.ids[:, :-1])
                tried[number] = [replace(option, parent=number) for option in known[said]]
                self.rows[number] = replace(row, settled=True)  # a word that is skipped stays
        before, last = list(self.rows), self.ids[:, -1].tolist()
        parents, taken = list(range(len(before))), list(last)
        for sample in sorted({before[number].sample for number in tried if tried[number]}):
            mine = self._of(sample)
            options = [each for n in mine for each in tried.get(n) or [self._as_it_is(n)]]
            ranked, values = candidates.ranked(sample, options)
            # as in the public code, the best one several times where there are too few
            best = [*ranked, *[ranked[0]] * len(mine)][: len(mine)]
            for number, option in zip(mine, best, strict=True):
                parents[number], taken[number] = option.parent, option.token
                row = before[option.parent]
                if option.box is not None:
                    record = candidates.record(option, row.records[-1], options, values)
                    found = candidates.words.step(row.before, option.token)
                    row = replace(row, records=(*row.records[:-1], record), found=found)
                self.rows[number] = row
        if parents == list(range(len(before))) and taken == last:
            return False
        self._go_on_from(parents, taken)
        stopped = self._stopped(scores)
        for number, (parent, token) in enumerate(zip(parents, taken, strict=True)):
            if token != last[parent]:
                self.rows[number] = replace(self.rows[number], running=not stopped[number])
        return True

    def _as_it_is(self, number: int) -> Option:
        """A row with nothing changed."""
        assert self.candidates is not None
        text = self.candidates.text(self.rows[number].answer)
        return Option(number, int(self.ids[number, -1]), text)

    def _go_on_from(self, parents: Sequence[int], tokens: Sequence[int]) -> None:
        """Put other tokens into the last column, each behind the text of a row of its sample."""
        chosen = torch.tensor(tokens, device=self.ids.device)
        before = self.ids[list(parents), :-1]
        self.ids = cast(LongTensor, torch.cat([before, chosen[:, None]], dim=1))
        self.stream.drop(1)
        if list(parents) != list(range(len(parents))):
            self.stream.select(torch.tensor(parents))
        self.logits = self.stream.step(chosen)

    def _stopped(self, scores: Tensor) -> list[bool]:
        found: list[bool] = self.call.stopping_criteria(self.ids, cast(Any, scores)).tolist()
        return found

    def _best_of(self, rows: Sequence[int]) -> int:
        """Of a sample's rows the one whose text fits best."""
        assert self.candidates is not None
        sample = self.rows[rows[0]].sample
        if len(rows) == 1 or not self.candidates.views.pictures[sample]:
            return rows[0]
        options = [self._as_it_is(number) for number in rows]
        return self.candidates.ranked(sample, options)[0][0].parent

    def _release(self, final: int) -> None:
        """Tell the streamers what will not change any more, column by column."""
        for column in range(self.released, final):
            for streamer in self.call.streamers:
                streamer.put(self.ids[:, column].cpu())
        self.released = max(self.released, final)
