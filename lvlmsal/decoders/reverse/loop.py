"""The loop of REVERSE: a batch says its answers, and what is doubted of them is said again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import LongTensor, Tensor

from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.attention.session import AttentionSession
from lvlmsal.decoders.one_sequence import GenerateCall
from lvlmsal.decoders.randomness import vocabulary_gumbel
from lvlmsal.decoders.reverse.hinted import hinted
from lvlmsal.decoders.reverse.phrases import Marks, Piece, without_marks
from lvlmsal.decoders.reverse.records import ReverseRecord
from lvlmsal.decoders.reverse.tries import Tries
from lvlmsal.errors import UnsupportedError
from lvlmsal.versions import without_cache

if TYPE_CHECKING:
    from lvlmsal.decoders.reverse.decoder import Reverse


class ReverseLoop:
    """State of one decoding run.

    Each try runs the prompts of the whole batch, with the hint that each has by then. Samples that
    are done ride along. What stands of an answer is run token by token next to those of others
    that are drawn already, as generated tokens and not as part of the prompt.

    Args:
        reverse: the decoder.
        marks: of phrases.
        session: an open one of the model.
        call: of ``generate``.
    """

    def __init__(
        self, reverse: Reverse, marks: Marks, session: AttentionSession, call: GenerateCall
    ) -> None:
        self.reverse, self.marks, self.session, self.call = reverse, marks, session, call
        self.samples = [Tries(reverse, marks, session.adapter) for _ in call.names]
        self._drawn = [0] * len(call.names)
        kwargs = call.model_kwargs
        self.stream = RecordingStream(session.model, session, call.input_ids, kwargs, [])
        if self.stream.cache.get_seq_length():
            raise UnsupportedError(
                "REVERSE writes hints into the question, which a cache holds as it was: call "
                "generate without a cache"
            )

    def run(self) -> LongTensor:
        """Decode until every sample is done; prompts and answers, shape (B, L + T)."""
        self._try()
        while not all(sample.done for sample in self.samples):
            self._begin_again()
            self._try()
        answers = [[record.id for record in records] for records in self.records]
        width = max(map(len, answers))
        filled = [answer + [self.call.filler] * (width - len(answer)) for answer in answers]
        prompt = self.call.input_ids
        made = torch.tensor(filled, dtype=torch.long, device=prompt.device).view(len(filled), width)
        for column in made.T.cpu():
            for streamer in self.call.streamers:
                streamer.put(column)
        return cast(LongTensor, torch.cat([prompt, made], dim=1))

    @property
    def records(self) -> list[list[ReverseRecord]]:
        """For each sample one record a token of its answer."""
        return [self._records_of(sample) for sample in self.samples]

    def _records_of(self, sample: Tries) -> list[ReverseRecord]:
        found: list[ReverseRecord] = []
        kept = without_marks(sample.said, self.marks)
        for at in kept:
            piece = sample.said[at]
            found.append(ReverseRecord(piece.token, probability=piece.probability))
            if at + 1 < len(sample.said):
                found[-1].doubt = sample.said[at + 1].doubt
        for before, what in sample.rejected:
            place = sum(at < before for at in kept)
            if found:
                found[min(place, len(found) - 1)].taken_back.append(what)
        if found:
            found[-1].fallback = sample.gave_up
        return found

    def _begin_again(self) -> None:
        """Prompts with the hints that their samples have by now, on an empty cache."""
        adapter = self.session.adapter
        hints = [
            adapter.tokenizer(sample.hint, add_special_tokens=False)["input_ids"]
            if sample.hint and not sample.done
            else []
            for sample in self.samples
        ]
        ids, kwargs = hinted(
            self.call.input_ids,
            without_cache(self.call.model_kwargs),
            hints,
            opening=self.reverse.opening,
            visual=adapter.image_token_ids,
            filler=self.call.filler,
        )
        passes = self.stream.forwards
        self.stream = RecordingStream(self.session.model, self.session, ids, kwargs, [])
        self.stream.forwards = passes

    def _try(self) -> None:
        """One try of every sample that is not done."""
        logits = self.stream.prefill()
        trying = [row for row, sample in enumerate(self.samples) if not sample.done]
        running = {row for row in trying if not self._is_full(row)}
        new: list[list[Piece]] = [[] for _ in self.samples]
        at = min((len(self.samples[row].said) for row in running), default=0)
        if at:
            logits = self.stream.commit(self._again(running, slice(0, at)), keep=1)[:, -1]
        while running:
            tokens = [self.call.filler] * len(self.samples)
            for row in sorted(running):
                said = self.samples[row].said
                if at < len(said):
                    tokens[row] = said[at].token
                    continue
                piece = self._draw(row, logits[row : row + 1], said + new[row])
                new[row].append(piece)
                tokens[row] = piece.token
                if self._stops(row, said + new[row]) or self.samples[row].ends(piece.token):
                    running.remove(row)
            at += 1
            if running:
                logits = self.stream.step(torch.tensor(tokens, device=logits.device))
        for row in trying:
            sample = self.samples[row]
            sample.hear(new[row])
            if sample.unanswered:
                ends = (at for at in range(1, len(sample.said)) if self._is_full(row, at))
                sample.said = sample.said[: next(ends, None)]

    def _again(self, running: set[int], columns: slice) -> Tensor:
        """What samples have said, of so many tokens each; others are filled."""
        width = columns.stop
        rows = [
            [piece.token for piece in sample.said[columns]]
            if row in running
            else [self.call.filler] * width
            for row, sample in enumerate(self.samples)
        ]
        return torch.tensor(rows, device=self.call.input_ids.device)

    def _sequence(self, row: int, pieces: Sequence[Piece]) -> LongTensor:
        """The prompt as it was asked and what is said, as processors and criteria see it."""
        tokens = [piece.token for piece in pieces]
        prompt = self.call.input_ids[row : row + 1]
        said = prompt.new_tensor(tokens).view(1, -1)
        return cast(LongTensor, torch.cat([prompt, said], dim=1))

    def _stops(self, row: int, pieces: Sequence[Piece]) -> bool:
        criteria: Any = self.call.stopping_criteria
        return bool(criteria(self._sequence(row, pieces), None).all())

    def _is_full(self, row: int, count: int | None = None) -> bool:
        """Whether what stands, or the beginning of it, leaves no room for a token."""
        said = self.samples[row].said[:count]
        return bool(said) and self._stops(row, said)

    def _draw(self, row: int, logits: Tensor, pieces: Sequence[Piece]) -> Piece:
        """The next token of a sample behind others, from logits (1, V)."""
        sample, options = self.samples[row], self.reverse
        processors: Any = self.call.logits_processor
        scores = processors(self._sequence(row, pieces), logits.detach().clone())[0]
        keys = scores
        if sample.temperature:
            scores = scores / sample.temperature
            if 0 < options.top_k < len(scores):
                least = scores.topk(options.top_k).values[-1]
                scores = scores.masked_fill(scores < least, -torch.inf)
            noise = vocabulary_gumbel(
                len(scores),
                seed=self.call.seed,
                sample_id=self.call.names[row],
                position=self._drawn[row],
            )
            keys = scores + noise.to(scores)
        self._drawn[row] += 1
        token = int(keys.argmax())
        if not bool(keys[token].isfinite()):
            raise UnsupportedError(
                f"no token is left for sample {self.call.names[row]!r}: the logits processors ban "
                "the whole vocabulary, or the logits are not finite"
            )
        doubt = None
        if self.marks.closes(token):
            doubt = float(torch.softmax(logits[0], dim=-1)[self.marks.unconfident])
        return Piece(token, float(torch.softmax(scores, dim=-1)[token]), doubt)
