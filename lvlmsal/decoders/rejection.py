"""The loop of SGRS: at each position candidates are tried until one is taken."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import LongTensor
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from lvlmsal.decoders.candidates import ordered_candidates
from lvlmsal.decoders.readings import Reading
from lvlmsal.decoders.records import TokenRecord
from lvlmsal.errors import UnsupportedError
from lvlmsal.saliency.stepping import Stepper

if TYPE_CHECKING:
    from lvlmsal.decoders.sgrs import SGRS


class RejectionLoop:
    """State of one decoding run."""

    def __init__(self, sgrs: SGRS, stepper: Stepper, names: list[str], seed: int) -> None:
        self.sgrs, self.stepper, self.names, self.seed = sgrs, stepper, names, seed
        self.history = [deque[float](maxlen=sgrs.window) for _ in names]
        self.records: list[list[TokenRecord]] = [[] for _ in names]
        self.running = [True] * len(names)

    def run(
        self,
        reading: Reading,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        config: GenerationConfig,
        streamer: Any | None,  # the base class is untyped
    ) -> LongTensor:
        """Decode until every sample has stopped; prompts and answers, shape (B, L + T)."""
        sgrs = self.sgrs
        ids = cast(LongTensor, self.stepper.input_ids)
        pad = config._pad_token_tensor
        filler = 0 if pad is None else int(pad)
        prompt_columns = ids.shape[1]
        if streamer is not None:
            streamer.put(ids.cpu())  # first the prompt, as generate does: skip_prompt counts on it
        while any(self.running):
            scores = logits_processor(ids, reading.logits.detach().clone())
            step = ids.shape[1] - prompt_columns
            candidates = ordered_candidates(
                scores,
                k=sgrs.k,
                temperature=sgrs.temperature,
                plausibility=sgrs.plausibility,
                seed=self.seed,
                sample_ids=self.names,
                positions=[spans.length + step for spans in self.stepper.spans],
            )
            for row, running in enumerate(self.running):
                if not running:
                    candidates[row] = [filler]
                elif not candidates[row]:
                    raise UnsupportedError(
                        f"no token is left for sample {self.names[row]!r}: the logits processors "
                        f"ban the whole vocabulary, or the logits are not finite"
                    )
            chosen = self._choose(reading, candidates)
            tokens = [record.id for record in chosen]
            for row, record in enumerate(chosen):
                if self.running[row]:
                    self.records[row].append(record)
            new = torch.tensor(tokens, device=ids.device)
            ids = cast(LongTensor, torch.cat([ids, new[:, None]], dim=1))
            if streamer is not None:
                streamer.put(ids[:, -1].cpu())
            stopped = stopping_criteria(ids, scores).tolist()
            self.running = [
                running and not stop for running, stop in zip(self.running, stopped, strict=True)
            ]
            reading.advance(tokens, last=not any(self.running))
        if streamer is not None:
            streamer.end()
        return ids

    def _choose(self, reading: Reading, candidates: list[list[int]]) -> list[TokenRecord]:
        """Walk each sample's candidates until one is taken; all samples side by side."""
        trials = [
            _Trial(tokens, self._threshold(row), self.sgrs.max_tries, running)
            for row, (tokens, running) in enumerate(zip(candidates, self.running, strict=True))
        ]
        while any(not trial.decided for trial in trials):
            values = reading.judge([trial.current for trial in trials])
            for trial, value in zip(trials, values, strict=True):
                trial.judged(value)
        for row, trial in enumerate(trials):
            saliency = trial.record.saliency
            if self.running[row] and saliency is not None:
                self.history[row].append(saliency)
        return [trial.record for trial in trials]

    def _threshold(self, row: int) -> float | None:
        past = self.history[row]
        return self.sgrs.alpha * sum(past) / len(past) if past else None


class _Trial:
    """The candidates of one sample at one position, one after the other."""

    def __init__(
        self, tokens: list[int], threshold: float | None, max_tries: int, running: bool
    ) -> None:
        self.tokens, self.threshold = tokens, threshold
        self.max_tries = min(max_tries, len(tokens))
        self.values: list[float] = []
        self.record = TokenRecord(id=tokens[0], threshold=threshold)
        self.decided = not running

    @property
    def current(self) -> int:
        """The candidate to judge next, or the one that was taken."""
        return self.record.id if self.decided else self.tokens[len(self.values)]

    def judged(self, value: float) -> None:
        """Take note of S of the current candidate."""
        if self.decided:
            return
        self.values.append(value)
        tried = len(self.values)
        undefined = value != value  # no context yet: the first candidate is accepted
        accepted = self.threshold is None or undefined or value >= self.threshold
        if tried <= self.max_tries and accepted:
            self._take(tried - 1, tries=tried, fallback=False)
        elif tried == len(self.tokens):
            best = max(range(tried), key=self.values.__getitem__)
            self._take(best, tries=tried, fallback=True)

    def _take(self, index: int, *, tries: int, fallback: bool) -> None:
        value = self.values[index]
        self.record = replace(
            self.record,
            id=self.tokens[index],
            saliency=None if value != value else value,
            tries=tries,
            rejected=[
                {"id": token, "saliency": saliency}
                for place, (token, saliency) in enumerate(
                    zip(self.tokens, self.values, strict=False)
                )
                if place != index
            ],
            fallback=fallback,
        )
        self.decided = True
