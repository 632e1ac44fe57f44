"""The loop of SGRS: at each position candidates are tried until one is taken."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import LongTensor, Tensor

from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.decoders.one_sequence import GenerateCall
from lvlmsal.decoders.records import TokenRecord
from lvlmsal.decoders.sgrs.acceptance import Acceptance
from lvlmsal.decoders.sgrs.candidate_saliency import BlockSaliency, CandidateSaliency
from lvlmsal.decoders.sgrs.candidates import ordered_candidates
from lvlmsal.decoders.sgrs.judged_candidates import JudgedCandidates
from lvlmsal.errors import UnsupportedError

if TYPE_CHECKING:
    from lvlmsal.decoders.sgrs.decoder import SGRS

FIRST_BLOCK = 4
"""Tokens that are drafted before it is known how often this answer's tokens are rejected."""

IN_A_ROW = 3
"""Tokens that are accepted one by one before blocks are drafted again."""

logger = logging.getLogger(__name__)

_STATEFUL = (
    "UnbatchedClassifierFreeGuidanceLogitsProcessor",
    "SynthIDTextWatermarkLogitsProcessor",
)


def state_keepers(*lists: Sequence[object]) -> str:
    """Names of logits processors and stopping criteria that may remember earlier calls.

    >>> from transformers import MinLengthLogitsProcessor
    >>> state_keepers([MinLengthLogitsProcessor(3, 2)], [print])
    'builtin_function_or_method'
    """
    known = "transformers."
    kinds = [type(entry) for entries in lists for entry in entries]
    names = {
        kind.__name__
        for kind in kinds
        if not kind.__module__.startswith(known) or kind.__name__ in _STATEFUL
    }
    return ", ".join(sorted(names))


@dataclass
class _Position:
    """One position: its candidates, and which samples run before and, as drafted, after it."""

    candidates: list[dict[int, float]]
    scores: Tensor
    running: list[bool]

    @property
    def first(self) -> list[int]:
        return [next(iter(tokens)) for tokens in self.candidates]


class SgrsLoop:
    """State of one decoding run.

    With ``block_size`` m tokens are drafted by plain steps, each the first candidate of its
    position, and verified by one recorded pass. Up to the first rejection they are what the
    one-by-one loop would have chosen; from there that loop decides one position, and drafting goes
    on behind it. The cache goes back to the first rejection of any sample in the batch: the others
    draft the same tokens again, for noise and candidates depend on the position alone. So
    processors and criteria see some positions twice; those that may keep state between calls
    (guidance, watermarks, classes from outside of transformers) are used token by token. Blocks
    become shorter where tokens are rejected and longer where they are not, so that little is
    drafted in vain; how long they are changes the cost and nothing else.

    Args:
        sgrs: the decoder.
        saliency: where S is read, at the end of the prompt.
        call: of ``generate``.
    """

    def __init__(self, sgrs: SGRS, saliency: CandidateSaliency, call: GenerateCall) -> None:
        self.sgrs, self.saliency, self.call = sgrs, saliency, call
        self.stream: RecordingStream = saliency.stream
        self.ids = cast(LongTensor, self.stream.input_ids)
        self.prompt_columns = self.ids.shape[1]
        self.history = [deque[float](maxlen=sgrs.window) for _ in call.names]
        self.records: list[list[TokenRecord]] = [[] for _ in call.names]
        self.running = [True] * len(call.names)
        self.longest = sgrs.block_size if isinstance(saliency, BlockSaliency) else 1
        if self.longest > 1 and (
            kept := state_keepers(call.logits_processor, call.stopping_criteria)
        ):
            logger.info("SGRS goes token by token: %s may keep state between calls", kept)
            self.longest = 1
        self.block_size, self.in_a_row = min(FIRST_BLOCK, self.longest), 0

    def run(self) -> LongTensor:
        """Decode until every sample has stopped; prompts and answers, shape (B, L + T)."""
        while any(self.running):
            if self.block_size > 1 and isinstance(self.saliency, BlockSaliency):
                self._decode_block(self.saliency)
            else:
                position = self._position(self.ids, self.running)
                self._decide(position, self._acceptances(position))
        return self.ids

    def _decode_block(self, saliency: BlockSaliency) -> None:
        """Draft a block, verify it, and decide the first rejected position one by one."""
        positions, after = self._draft()
        drafted = torch.tensor([position.first for position in positions], device=self.ids.device)
        values = saliency.verify(drafted.T)
        for count, position in enumerate(positions):
            acceptances = self._acceptances(position)
            for acceptance, of_sample in zip(acceptances, values, strict=True):
                acceptance.judged(of_sample[count])
            if not all(acceptance.took_first for acceptance in acceptances):
                saliency.accept(count)
                self._decide(position, acceptances)
                return
            self._commit(acceptances, *after[count])
        self._adapt(accepted=True)
        if any(self.running):
            saliency.accept(len(positions))

    def _adapt(self, *, accepted: bool) -> None:
        """Twice the block where everything was accepted; where not, half of it, or none.

        A block that is cut short has drafted in vain, so small ones are given up at once, and come
        back after :data:`IN_A_ROW` tokens of which nothing was rejected.
        """
        self.in_a_row = self.in_a_row + 1 if accepted else 0
        if not accepted:
            wanted = self.block_size // 2 if self.block_size > FIRST_BLOCK else 1
        elif self.block_size > 1:
            wanted = self.block_size * 2
        else:
            wanted = 2 if self.in_a_row >= IN_A_ROW else 1
        self.block_size = min(wanted, self.longest)

    def _draft(self) -> tuple[list[_Position], list[tuple[LongTensor, list[bool]]]]:
        """Up to ``block_size`` positions by plain steps; sequences and who runs after each."""
        ids, running = self.ids, self.running
        positions, after = [], []
        while True:
            position = self._position(ids, running)
            ids, running = self._appended(ids, position, position.first)
            positions.append(position)
            after.append((ids, running))
            if len(positions) == self.block_size or not any(running):
                return positions, after
            self.saliency.draft(position.first)

    def _decide(self, position: _Position, acceptances: list[Acceptance]) -> None:
        """Walk each sample's candidates until one is taken, all samples side by side; move on."""
        while any(not acceptance.decided for acceptance in acceptances):
            values = self.saliency.judge(
                [acceptance.current for acceptance in acceptances],
                [acceptance.may_come for acceptance in acceptances],
            )
            for acceptance, value in zip(acceptances, values, strict=True):
                acceptance.judged(value)
        self._adapt(accepted=all(acceptance.record.tries == 1 for acceptance in acceptances))
        tokens = [acceptance.record.id for acceptance in acceptances]
        self._commit(acceptances, *self._appended(self.ids, position, tokens))
        if any(self.running):
            self.saliency.advance(tokens, judged_next=self.block_size == 1)

    def _position(self, ids: LongTensor, running: list[bool]) -> _Position:
        """The candidates of the next position, in their order."""
        scores = self.call.logits_processor(ids, self.saliency.logits.detach().clone())
        step = ids.shape[1] - self.prompt_columns
        candidates = ordered_candidates(
            scores,
            k=self.sgrs.k,
            temperature=self.sgrs.temperature,
            plausibility=self.sgrs.plausibility,
            seed=self.call.seed,
            sample_ids=self.call.names,
            positions=[spans.length + step for spans in self.stream.spans],
            order=self.sgrs.order,
        )
        for row, runs in enumerate(running):
            if not runs:
                candidates[row] = {self.call.filler: 1.0}
            elif not candidates[row]:
                raise UnsupportedError(
                    f"no token is left for sample {self.call.names[row]!r}: the logits processors "
                    f"ban the whole vocabulary, or the logits are not finite"
                )
        return _Position(candidates, scores, running)

    def _appended(
        self, ids: LongTensor, position: _Position, tokens: list[int]
    ) -> tuple[LongTensor, list[bool]]:
        """The sequences with one more token each, and which samples run on."""
        new = torch.tensor(tokens, device=ids.device)
        longer = cast(LongTensor, torch.cat([ids, new[:, None]], dim=1))
        stopped = self.call.stopping_criteria(longer, position.scores).tolist()
        runs = [was and not stop for was, stop in zip(position.running, stopped, strict=True)]
        return longer, runs

    def _acceptances(self, position: _Position) -> list[Acceptance]:
        return [
            Acceptance(tokens, self._threshold(row), self.sgrs.max_tries, running)
            for row, (tokens, running) in enumerate(
                zip(position.candidates, position.running, strict=True)
            )
        ]

    def _threshold(self, row: int) -> float | None:
        if isinstance(self.saliency, JudgedCandidates):
            return 1 - self.saliency.guide.threshold
        past = self.history[row]
        return self.sgrs.alpha * sum(past) / len(past) if past else None

    def _commit(self, acceptances: list[Acceptance], ids: LongTensor, running: list[bool]) -> None:
        """Make one decided position final."""
        for row, acceptance in enumerate(acceptances):
            if self.running[row]:
                record = acceptance.record
                self.records[row].append(record)
                remembered = self.sgrs.history == "all" or not record.fallback
                if record.saliency is not None and remembered:
                    self.history[row].append(record.saliency)
        self.ids, self.running = ids, running
        for streamer in self.call.streamers:
            streamer.put(ids[:, -1].cpu())
