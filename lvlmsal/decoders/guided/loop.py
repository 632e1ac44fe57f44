"""The loop of guided decoding: words are judged before they are said, sentences taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import LongTensor, Tensor

from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.decoders.guide import Guide
from lvlmsal.decoders.guided.choice import Candidate, Choice, choose
from lvlmsal.decoders.guided.records import GuidedRecord
from lvlmsal.decoders.guided.sample import Piece, Said, Sample, Start
from lvlmsal.decoders.guided.sampled import sampled_answers
from lvlmsal.decoders.one_sequence import GenerateCall
from lvlmsal.decoders.predicting_rows import Rows, RowWatcher
from lvlmsal.decoders.randomness import vocabulary_gumbel
from lvlmsal.detection.sampled_consistency import SampledAnswers, SampledConsistency
from lvlmsal.detection.vocabulary import Found
from lvlmsal.errors import UnsupportedError

if TYPE_CHECKING:
    from lvlmsal.decoders.guided.decoder import Guided


@dataclass(frozen=True)
class _Decided:
    """The next token of a sample.

    Attributes:
        token: its id.
        said: what was said with it; ``None`` for a sample that chooses nothing here.
        lost: the sentence has to be taken back: what the record says of that.
    """

    token: int
    said: Said | None = None
    lost: dict[str, Any] | None = None


class GuidedLoop:
    """State of one decoding run.

    Samples of a batch share their columns. When one of them takes a sentence back, all go back to
    where that began: the others run the tokens again that they have chosen, and choose no others
    until they are where they were.

    Args:
        guided: the decoder.
        guide: what judges candidates.
        stream: at the start of the prompt.
        watcher: of the stream's passes.
        call: of ``generate``.
    """

    def __init__(
        self,
        guided: Guided,
        guide: Guide,
        stream: RecordingStream,
        watcher: RowWatcher,
        call: GenerateCall,
    ) -> None:
        self.guided, self.guide, self.stream, self.watcher = guided, guide, stream, watcher
        self.call = call
        self.ids = cast(LongTensor, stream.input_ids)
        self.prompt_columns = self.released = self.ids.shape[1]
        self.samples = [Sample(name) for name in call.names]
        self.logits = stream.prefill()
        self.rows = watcher.rows
        self.judges = guide.threshold < 1
        self.others: list[SampledAnswers] | None = None
        detector = guide.judge.detector
        if self.judges and isinstance(detector, SampledConsistency):
            judged = guide.words.vocabulary
            self.others = sampled_answers(
                detector, guide.adapter, judged, stream, self.logits, call
            )

    @property
    def records(self) -> list[list[GuidedRecord]]:
        """For each sample one record a token."""
        return [list(sample.said.records) for sample in self.samples]

    def run(self) -> LongTensor:
        """Decode until every sample has stopped; prompts and answers, shape (B, L + T)."""
        while any(sample.running or sample.replay for sample in self.samples):
            scores = self.call.logits_processor(self.ids, self.logits.detach().clone())
            keys = self._keys(scores)
            decided = [self._decide(row, scores, keys) for row in range(len(self.samples))]
            if any(one.lost is not None for one in decided):
                self._go_back(decided)
            else:
                self._commit(decided, scores)
        return self.ids

    def _keys(self, scores: Tensor) -> Tensor:
        """By what candidates are ordered: the scores, with the sample's own noise if it draws."""
        temperature = self.guided.temperature
        index = self.ids.shape[1] - self.prompt_columns
        keys = scores.clone()
        if temperature:
            noise = [
                vocabulary_gumbel(
                    scores.shape[1], seed=self.call.seed, sample_id=sample.name, position=index
                )
                for sample in self.samples
            ]
            # as the decoder `sample` has it, so that the same tokens are drawn
            keys = keys / temperature if temperature != 1 else keys
            keys = keys + torch.stack(noise).to(keys)
        for row, sample in enumerate(self.samples):
            begins = sample.start is not None and sample.start.column == self.ids.shape[1]
            if begins and sample.banned and sample.decides:
                banned = keys[row].clone()
                banned[list(sample.banned)] = -torch.inf
                if bool(banned.isfinite().any()):  # a beginning that is left alone has to stand
                    keys[row] = banned
        return keys

    def _decide(self, row: int, scores: Tensor, keys: Tensor) -> _Decided:
        """The next token of a sample, or that its sentence is to be taken back."""
        sample = self.samples[row]
        if sample.replay:
            return _Decided(sample.replay[0])
        if not sample.running:
            return _Decided(self.call.filler)
        column = self.ids.shape[1]
        if sample.start is None and self.judges:
            rows, logits = self.rows.at(row), self.logits[row].clone()
            sample.start = Start(column, logits, rows, sample.said)
        token = int(keys[row].argmax())
        if not bool(keys[row, token].isfinite()):
            raise UnsupportedError(
                f"no token is left for sample {sample.name!r}: the logits processors ban the whole "
                f"vocabulary, or the logits are not finite"
            )
        found = self.guide.words.step(sample.said.writing, token)
        if not self.judges or not found.writing.tokens:
            return self._taken(sample, GuidedRecord(token), found, ())
        if found.begins:
            return self._choose(row, token, scores, keys)
        piece = Piece(self.rows.at(row), token, column - self.prompt_columns)
        pieces = sample.said.pieces_with(piece, found)
        if not found.name or sample.said.excused:
            excused = sample.said.excused and len(pieces) > 1
            return self._taken(sample, GuidedRecord(token), found, pieces, excused=excused)
        return self._judge_whole(row, found, pieces)

    def _choose(self, row: int, token: int, scores: Tensor, keys: Tensor) -> _Decided:
        """Where the first candidate begins a judged word."""
        sample = self.samples[row]
        k = min(self.guided.k, keys.shape[1])
        order = [t for t in keys[row].topk(k).indices.tolist() if t != token]
        tokens = [token, *(t for t in order if bool(keys[row, t].isfinite()))][:k]
        position = self.ids.shape[1] - self.prompt_columns
        rows = self.rows.at(row)
        objects = [self.guide.words.objects_begun_by(t) for t in tokens]
        if self.others is None:
            asked = torch.tensor([tokens], device=rows.logits.device)
            risks = self.guide.risks(rows, asked, [position])[0]
        else:
            risks = [self.others[row].risk(begun) for begun in objects]
        chances = (scores[row].double() / (self.guided.temperature or 1)).softmax(-1)
        found = {t: self.guide.words.step(sample.said.writing, t) for t in tokens}
        candidates = [
            Candidate(t, float(chances[t]), risk if found[t].begins else None, begun)
            for t, risk, begun in zip(tokens, risks, objects, strict=True)
        ]
        choice = choose(candidates, self.guide.is_risky, sample.said.named)
        leaves = choice.fallback or (self.guided.backs_up_first and choice.rejected)
        if leaves and sample.tries < self.guided.back_up:
            return self._lost(sample, token, candidates[0].risk)
        taken = choice.taken
        record = self._record(taken.token, taken.risk, choice)
        record.probability = taken.probability
        pieces = (Piece(rows, taken.token, position),)
        return self._taken(sample, record, found[taken.token], pieces, excused=choice.fallback)

    def _judge_whole(self, row: int, found: Found, pieces: tuple[Piece, ...]) -> _Decided:
        """Where a judged word of several tokens is complete."""
        sample = self.samples[row]
        others = None if self.others is None else self.others[row]
        risk = self._riskiest(pieces) if others is None else others.risk([found.name])
        risky = self.guide.is_risky(risk)
        token = pieces[-1].token
        if risky and sample.tries < self.guided.back_up:
            return self._lost(sample, token, risk)
        record = self._record(token, risk)
        record.fallback = risky
        return self._taken(sample, record, found, pieces, excused=risky)

    def _riskiest(self, pieces: tuple[Piece, ...]) -> float:
        """Risk of a word by that of its riskiest token; one that cannot be judged stands last."""
        rows = Rows.joined([piece.rows for piece in pieces])
        tokens = torch.tensor([[piece.token] for piece in pieces], device=rows.logits.device)
        risks = self.guide.risks(rows, tokens, [piece.position for piece in pieces])
        return max((one[0] for one in risks), key=lambda value: -1.0 if value != value else value)

    def _record(self, token: int, risk: float | None, choice: Choice | None = None) -> GuidedRecord:
        """Of a token that was judged; nan is nothing that JSON could hold."""
        rejected = [] if choice is None else choice.rejections()
        return GuidedRecord(
            token,
            threshold=self.guide.threshold,
            tries=1 + len(rejected),
            rejected=rejected,
            fallback=choice is not None and choice.fallback,
            risk=None if risk != risk else risk,
        )

    def _taken(
        self,
        sample: Sample,
        record: GuidedRecord,
        found: Found,
        pieces: tuple[Piece, ...],
        *,
        excused: bool = False,
    ) -> _Decided:
        start = sample.start
        if start is not None and start.column == self.ids.shape[1]:
            record.taken_back = list(sample.taken_back)
        said = sample.said.plus(record, found, pieces, excused=excused)
        return _Decided(record.id, said)

    def _lost(self, sample: Sample, token: int, risk: float | None) -> _Decided:
        assert sample.start is not None
        begun = [record.id for record in sample.said.records[len(sample.start.said.records) :]]
        adapter = self.guide.adapter
        word = adapter.decode([*(piece.token for piece in sample.said.pieces), token])
        text = adapter.decode([*begun, token])
        return _Decided(token, lost={"text": text, "word": word.strip(), "risk": risk})

    def _commit(self, decided: Sequence[_Decided], scores: Tensor) -> None:
        """Take one token of each sample and move on."""
        tokens = torch.tensor([one.token for one in decided], device=self.ids.device)
        self.ids = cast(LongTensor, torch.cat([self.ids, tokens[:, None]], dim=1))
        stopped = self.call.stopping_criteria(self.ids, cast(Any, scores)).tolist()
        for sample, one, stops in zip(self.samples, decided, stopped, strict=True):
            if one.said is not None:
                sample.said, sample.running = one.said, not stops
                if self.guide.ends_sentence(one.token):
                    sample.end_sentence()
            elif sample.replay:
                sample.replay.pop(0)
        self._release()
        if any(sample.running or sample.replay for sample in self.samples):
            self.logits = self.stream.step(tokens)
            self.rows = self.watcher.rows

    def _go_back(self, decided: Sequence[_Decided]) -> None:
        """Take back the sentences that are lost; the other samples will run theirs again."""
        length = self.ids.shape[1]
        starts = {
            row: self.samples[row].start for row, one in enumerate(decided) if one.lost is not None
        }
        target = min(start.column for start in starts.values() if start is not None)
        self.logits = self.logits.clone()
        for row, (sample, one) in enumerate(zip(self.samples, decided, strict=True)):
            own = self.ids[row].tolist()
            start = starts.get(row)
            if start is None or one.lost is None:
                chosen = self.prompt_columns + len(sample.said.records)
                sample.replay = [*own[target : min(length, chosen)], *sample.replay]
                continue
            first = one.token if start.column == length else own[start.column]
            sample.go_back(first, one.lost, own[target : start.column])
            if start.column == target:
                self.logits[row] = start.logits
                self.rows = self.rows.with_row(row, start.rows)
        if length > target:
            self.ids = cast(LongTensor, self.ids[:, :target])
            self.stream.drop(length - target)

    def _release(self) -> None:
        """Tell the streamers what no sample can take back any more, column by column."""
        open_ = [sample.start for sample in self.samples if self._may_go_back(sample)]
        columns = [start.column for start in open_ if start is not None]
        final = min([self.ids.shape[1], *columns])
        for column in range(self.released, final):
            for streamer in self.call.streamers:
                streamer.put(self.ids[:, column].cpu())
        self.released = max(self.released, final)

    def _may_go_back(self, sample: Sample) -> bool:
        return sample.running and self.judges and sample.tries < self.guided.back_up
