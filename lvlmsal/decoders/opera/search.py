"""The beam search of OPERA: every sample in its own time, all of them on one cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import torch
from torch import FloatTensor, LongTensor, Tensor
from torch.nn.functional import log_softmax
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from lvlmsal.attention.stream import Stream
from lvlmsal.decoders.opera.beams import BeamRules, Beams
from lvlmsal.decoders.opera.look_ahead import LookAhead, Tried
from lvlmsal.decoders.opera.over_trust import Seen, column_sums, extended, over_trust, penalized
from lvlmsal.decoders.opera.retrospection import Retrospection, mode

if TYPE_CHECKING:
    from lvlmsal.decoders.opera.decoder import OPERA

REJECTED = -1e6
"""Added to the score of a token that was taken back; not -inf: where nothing else is left, it is
taken once more. A sum of these and of penalties stays above the score of no hypothesis."""


@dataclass(eq=False)
class Sample:
    """One sample's search.

    Attributes:
        log: its beams after 0, 1, 2, ... tokens; what is behind a roll-back is cut off.
        retrospection: when it goes back.
        rejected: by position, the (beam, token) pairs that were chosen there and taken back.
        rollbacks: how often it went back.
        places: c of each beam at a position, once it was looked at.
    """

    log: list[Beams]
    retrospection: Retrospection
    rejected: dict[int, set[tuple[int, int]]] = field(default_factory=dict)
    places: dict[int, Tensor] = field(default_factory=dict)
    rollbacks: int = 0

    @property
    def time(self) -> int:
        """Tokens so far."""
        return len(self.log) - 1

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return self.log[-1].done

    def roll_back(self, position: int) -> None:
        """Keep that many tokens, and remember which ones were chosen next."""
        chosen = self.log[position + 1]
        pairs = zip(chosen.parents.tolist(), chosen.tokens[:, -1].tolist(), strict=True)
        self.rejected = {at: found for at, found in self.rejected.items() if at <= position}
        self.rejected.setdefault(position, set()).update(pairs)
        self.places = {at: found for at, found in self.places.items() if at <= position}
        del self.log[position + 1 :]
        self.rollbacks += 1


@dataclass(frozen=True)
class Candidates:
    """Tokens that the beams of all samples may go on with, on the CPU.

    Attributes:
        tokens: best first, (R, N).
        scores: log-probabilities that the search goes on with, (R, N), float64.
        places: c of each beam, (R,).
    """

    tokens: Tensor
    scores: Tensor
    places: Tensor


class OperaSearch:
    """State of one decoding run.

    A sample that goes back must not disturb the others, and all of them share the columns of one
    cache. So each keeps a log of its beams. The batch stands at the earliest time at which a sample
    is to decide; those that are further have decided already, and what they chose there is read off
    their logs and fed along. Going back, the generated part of the cache is dropped and run again
    in one pass, for beams that died since have left it. So a sample decides what it decides alone
    (up to ties within rounding), and a batch takes as many steps as its samples' roll-backs cost
    together.

    Args:
        opera: the decoder.
        stream: at the beginning of the prompts, a row for each beam.
        seen: what the watcher of the layer sees.
        look: at candidates, in that layer.
        processors: from ``generate``.
        criteria: likewise.
        config: likewise.
    """

    def __init__(
        self,
        opera: OPERA,
        stream: Stream,
        seen: Seen,
        look: LookAhead,
        processors: LogitsProcessorList,
        criteria: StoppingCriteriaList,
        config: GenerationConfig,
    ) -> None:
        self.opera, self.stream, self.seen, self.look = opera, stream, seen, look
        self.tried: Tried | None = None
        self.processors, self.criteria = processors, criteria
        self.prompts = stream.input_ids
        self.width = self.prompts.shape[1]
        self.returned = config.num_return_sequences or 1
        ends, pad = config._eos_token_tensor, config._pad_token_tensor
        # Ended samples are fed with it, and answers are filled with it.
        self.filler = 0 if pad is None else int(pad)
        beams = opera.num_beams
        self.rules = BeamRules(
            beams=beams,
            keep=max(2, 1 + (0 if ends is None else len(ends))) * beams,
            length_penalty=config.length_penalty,
            early_stopping=config.early_stopping,
            longest=config.max_length - self.width,
        )
        self.samples = [
            Sample([Beams.start(beams)], opera.retrospection())
            for _ in range(len(self.prompts) // beams)
        ]

    def run(self) -> None:
        """Decode until every sample is done."""
        self.first = self.logits = self.stream.prefill()
        self.prompt = self.stream.mark()
        self.now = 0
        self.sums = torch.zeros(len(self.prompts), 0, dtype=torch.float64)
        while running := [sample for sample in self.samples if not sample.done]:
            time = min(sample.time for sample in running)
            if time == self.now + 1:
                self._step()
            elif time != self.now:
                self._return_to(time)
            self._decide([sample for sample in running if sample.time == time])

    def sequences(self) -> tuple[LongTensor, Tensor]:
        """Prompts and answers (B * returned, L + T), and the scores of these, on the CPU."""
        best = [found for s in self.samples for found in s.log[-1].best(self.returned)]
        longest = max(len(tokens) for _, tokens in best)
        answers = self.prompts.new_full((len(best), longest), self.filler)
        for row, (_, tokens) in enumerate(best):
            answers[row, : len(tokens)] = tokens.to(answers)
        prompts = self.prompts[:: self.rules.beams].repeat_interleave(self.returned, dim=0)
        ids = cast(LongTensor, torch.cat([prompts, answers], dim=1))
        return ids, torch.tensor([score for score, _ in best])

    def _step(self) -> None:
        """Let the batch go one token further, as all samples have decided."""
        beams = self.rules.beams
        parents, tokens = [], []
        for number, sample in enumerate(self.samples):
            if sample.time > self.now:
                chosen = sample.log[self.now + 1]
                parents.append(chosen.parents + number * beams)
                tokens.append(chosen.tokens[:, -1])
            else:
                parents.append(torch.arange(beams) + number * beams)
                tokens.append(torch.full((beams,), self.filler))
        rows, chosen_tokens = torch.cat(parents), torch.cat(tokens)
        if not torch.equal(rows, torch.arange(len(rows))):
            self.stream.select(rows)
        tried, self.tried = self.tried, None
        done = torch.tensor([sample.done for sample in self.samples]).repeat_interleave(beams)
        places = None if tried is None else tried.places(rows, chosen_tokens, done)
        if tried is not None and places is not None:
            self.logits, row = tried.take(self.stream, rows, places), tried.rows[rows, places]
        else:
            self.logits, row = self.stream.step(chosen_tokens), None
        if self.opera.looks:
            row = self.seen.local(self.width)[:, 0] if row is None else row
            self.sums = extended(self.sums[rows], row, self.opera.scale)
        self.now += 1

    def _return_to(self, time: int) -> None:
        """Run the generated tokens up to some time again."""
        self.stream.rewind(self.prompt)
        self.now, self.tried = time, None
        if time == 0:
            self.logits = self.first
            self.sums = self.sums[:, :0]
            return
        rows = []
        for sample in self.samples:
            tokens = sample.log[min(time, sample.time)].tokens
            missing = time - tokens.shape[1]
            rows.append(torch.nn.functional.pad(tokens, (0, missing), value=self.filler))
        self.logits = self.stream.commit(torch.cat(rows), keep=1)[:, -1]
        if self.opera.looks:
            self.sums = column_sums(self.seen.local(self.width), self.opera.scale)

    def _decide(self, deciding: list[Sample]) -> None:
        """Let samples choose their next tokens, or go back."""
        plain = cast(FloatTensor, log_softmax(self.logits, dim=-1))
        scores = self.processors(cast(LongTensor, self.stream.input_ids), plain)
        again = [sample for sample in deciding if self.now in sample.rejected]
        free = again if self.opera.after_rollback == "vocabulary" else []
        candidates = self._candidates(scores) if len(free) < len(deciding) else None
        for sample in deciding:
            rows = self._rows(sample)
            places = sample.places.get(self.now)
            if candidates is not None and places is None:
                places = sample.places[self.now] = candidates.places[rows]
            assert places is not None  # a position that is gone back to was looked at
            if sample not in again:
                histories = torch.cat([sample.log[-1].places, places[:, None]], dim=1)
                position = sample.retrospection.target(histories)
                if position is not None:
                    sample.roll_back(position)
                    continue
            rejected = sample.rejected.get(self.now, set())
            if candidates is None or sample in free:
                count = min(self.rules.keep + len(rejected), scores.shape[1])
                found = scores[rows].topk(count, dim=-1)
                tokens, values = found.indices.cpu(), found.values.double().cpu()
            else:
                tokens, values = candidates.tokens[rows], candidates.scores[rows]
            for beam, token in rejected:
                values[beam] += REJECTED * (tokens[beam] == token)
            ends = self._ends(rows)
            sample.log.append(sample.log[-1].advanced(tokens, values, places, ends, self.rules))

    def _rows(self, sample: Sample) -> slice:
        first = self.samples.index(sample) * self.rules.beams
        return slice(first, first + self.rules.beams)

    def _ends(self, rows: slice) -> Callable[[Tensor], Tensor]:
        """Which hypotheses of a sample stop, asked of the criteria."""
        prompt = self.prompts[rows.start : rows.start + 1]

        def ends(tokens: Tensor) -> Tensor:
            ids = torch.cat([prompt.expand(len(tokens), -1), tokens.to(prompt)], dim=1)
            # without scores, as transformers' beam search calls them
            stopped: Tensor = self.criteria(cast(LongTensor, ids), cast(FloatTensor, None))
            return stopped.cpu()

        return ends

    def _candidates(self, scores: Tensor) -> Candidates:
        """The best tokens of each beam, with their penalties taken off."""
        count = min(self.opera.num_candidates, scores.shape[1])
        tokens = scores.topk(count, dim=-1).indices.cpu()
        if self.opera.looks:
            penalties, where = self._look_ahead(tokens)
            places = torch.tensor([mode(row) for row in where.tolist()])
        else:
            penalties = torch.zeros(tokens.shape, dtype=torch.float64)
            places = torch.zeros(len(tokens), dtype=torch.long)
        weighted = self.opera.alpha * penalties
        values = penalized(scores, tokens, weighted, self.opera.normalize)
        return Candidates(tokens, values, places)

    def _look_ahead(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Penalties of candidates (R, N), and the columns where phi stands, (R, N)."""
        opera = self.opera
        tried = self.tried = self.look.at(tokens)
        sums = extended(self.sums[:, None], tried.rows, opera.scale)
        phi, places = over_trust(sums, factor=opera.score_factor, window=opera.window)
        early = self.now + 1 <= opera.image_bonus_tokens
        return -tried.on_image if early else phi, places
