"""Timing of decoding methods that take turns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.generation.streamers import BaseStreamer

import lvlmsal
from lvlmsal.adapters import adapter_for
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.model.generation import growing_cache
from lvlmsal.versions import CACHE
from support.prefix import Prefills

STOCK = "generate"
"""Greedy `generate` of transformers with sdpa."""


@dataclass(frozen=True)
class Method:
    """A way to decode.

    Attributes:
        name: as it is printed.
        interventions: edits under which it decodes.
        decoder: greedy ``generate`` where there is none.
        growing: whether it decodes on the cache that this library's own ``generate`` brings.
    """

    name: str
    interventions: Sequence[Any] = ()
    decoder: Decoder | None = None
    growing: bool = False


@dataclass
class Timing:
    """One run of a method.

    Attributes:
        per_token: seconds of a token, without the prefill.
        rejecting: share of tokens before which a candidate was rejected.
        forwards: forward passes a token, the prefill left out.
        tokens: the answers, one after the other.
        first: seconds until the first token is chosen, where that is measured.
    """

    per_token: float
    tokens: list[int]
    rejecting: float = 0.0
    forwards: float = 1.0
    first: float | None = None


class Clock(BaseStreamer):
    """Notes when tokens came.

    Attributes:
        times: of the prompt, which comes before it is run, then of each token.
    """

    def __init__(self) -> None:
        self.times: list[float] = []

    @property
    def last(self) -> float:
        """When the last token came."""
        return self.times[-1]

    def put(self, value: torch.Tensor) -> None:
        """A token, or the prompt at the beginning."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing to do."""


def generate(model: PreTrainedModel, inputs: dict[str, Any], method: Method, tokens: int) -> None:
    """One answer, prompt and all."""
    options = {} if method.decoder is None else {"custom_generate": method.decoder}
    with lvlmsal.intervene(model, *method.interventions) if method.interventions else nullcontext():
        model.generate(**inputs, **options, max_new_tokens=tokens, do_sample=False)


def decode(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    prefills: Prefills,
    method: Method,
    tokens: int,
) -> Timing:
    """Decode from a shared prefix and time it.

    The prefill yields the first token of ``generate`` for nothing, so that its n tokens are n - 1
    steps. SGRS judges the first token too: a recorded step each, also in blocks, where the
    tokens of a block come together and single steps could not be distinguished.

    Args:
        model: the model.
        inputs: those that ``prefills`` was opened for.
        prefills: from :func:`~support.prefix.shared_prefix`, which must be open.
        method: how to decode; its decoder, if it has one, is SGRS.
        tokens: at most; a model that ends its answers may stop before.
    """
    clock = Clock()
    options: dict[str, Any] = {"streamer": clock}
    if method.decoder is not None:
        # transformers drops its own `streamer` for custom loops; SGRS has one of its own
        options = {"custom_generate": method.decoder, "token_streamer": clock}
    if method.growing:
        options[CACHE] = growing_cache(adapter_for(model))
    with lvlmsal.intervene(model, *method.interventions) if method.interventions else nullcontext():
        output = model.generate(
            **inputs,
            **options,
            max_new_tokens=tokens,
            do_sample=False,
            return_dict_in_generate=True,
        )
    seconds = clock.last - prefills.ended[-1]
    new = output.sequences[:, inputs["input_ids"].shape[1] :]
    answers, length = new.flatten().tolist(), new.shape[1]
    if not isinstance(method.decoder, SGRS) or not method.decoder.rejection:
        return Timing(seconds / (length - 1), answers)
    records = [record for sample in output.records for record in sample]
    return Timing(
        seconds / length,
        answers,
        sum(bool(record.rejected) for record in records) / len(records),
        (output.forwards - 1) / length,
    )


@dataclass
class Series:
    """What the turns of one method came to.

    Attributes:
        timings: one for each turn.
        ratios: cost of a token as a ratio to the turn of stock ``generate`` next to it.
        firsts: time to the first token, likewise.
    """

    timings: list[Timing] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)


def within(seconds: float, rounds: int) -> Iterator[int]:
    """The numbers of rounds, as long as the next one is expected to end in time.

    Args:
        seconds: from the first round on; that one is always done.
        rounds: at most.
    """
    began = time.perf_counter()
    for done in range(rounds):
        if done and (time.perf_counter() - began) * (done + 1) / done > seconds:
            return
        yield done


def in_turn(
    methods: Sequence[Method],
    run: Callable[[Method], Timing],
    *,
    rounds: int,
    seconds: float,
) -> dict[str, Series]:
    """Let methods take turns, each beside stock ``generate``, in another order each round.

    The speed of a machine drifts from second to second, more than what is to be measured: a ratio
    of neighbors cancels most of it.

    Args:
        methods: without stock ``generate``, which is put between each two of them.
        run: decodes with a method.
        rounds: at most.
        seconds: see :func:`within`.

    Returns:
        By name, :data:`STOCK` included.
    """
    stock, shuffled = Method(STOCK), random.Random(0)
    found = {method.name: Series() for method in (stock, *methods)}
    for _ in within(seconds, rounds):
        order = shuffled.sample(methods, len(methods))
        for pair in (order[index : index + 2] for index in range(0, len(order), 2)):
            timings = {method.name: run(method) for method in (pair[0], stock, *pair[1:])}
            found[STOCK].timings.append(timings[STOCK])
            for method in pair:
                timing = timings[method.name]
                found[method.name].timings.append(timing)
                found[method.name].ratios.append(timing.per_token / timings[STOCK].per_token)
                if timing.first is not None and timings[STOCK].first is not None:
                    found[method.name].firsts.append(timing.first / timings[STOCK].first)
    found[STOCK].ratios = [1.0]
    return found
