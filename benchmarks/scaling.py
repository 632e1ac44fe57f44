"""How cost grows with the prompt, the answer, the target layers and the batch.

    python benchmarks/scaling.py            # 50 M parameters
    python benchmarks/scaling.py --small    # does it run?

Decode steps as in steps.py: in one process, in turn, each turn next to one of stock `generate`, the
prefill done once and left out, nothing rejected (alpha 0).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from support.clock import STOCK, Method, Series, decode, in_turn
from support.models import SMALL, Shape, answer, build, prompt, share_above
from support.prefix import shared_prefix
from support.results import Chart, Result, Sheet, Spread, arguments, finish
from transformers import PreTrainedModel

from lvlmsal.attention import resolve_layers
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.saliency.block import block_saliency
from lvlmsal.saliency.options import SaliencyOptions

LOCORE, SINGLE, BLOCK = "LocoRE", "SGRS one by one", "block SGRS, m = 16"


@dataclass(frozen=True)
class Plan:
    """What is varied, and how much of it is measured.

    Attributes:
        shape: of the model.
        prefix: length of the prompt where something else is varied.
        prefixes: lengths of the prompt.
        answers: lengths of the answer. Blocks begin at 4 tokens and double up to 16, so that
            4 + 8 + 16 + 16 ... tokens end with a whole one.
        layers: choices of target layers.
        batches: sizes of the batch.
        tokens: of an answer where something else is varied.
        diagnosed: tokens of an answer that is diagnosed.
        rounds: turns of each method.
    """

    shape: Shape
    prefix: int
    prefixes: Sequence[int]
    answers: Sequence[int]
    layers: Sequence[str]
    batches: Sequence[int]
    tokens: int
    diagnosed: int
    rounds: int


PLAN = Plan(
    Shape(448, 8, patches=12),
    600,
    (200, 600, 1000, 2000, 4000),
    (28, 60, 252),
    ("7:8", "6:8", "4:8", "0:8"),
    (1, 4, 16),
    tokens=28,
    diagnosed=64,
    rounds=5,
)
SMALL_PLAN = Plan(
    SMALL,
    40,
    (30, 60),
    (12, 28),
    ("3:4", "0:4"),
    (1, 2),
    tokens=12,
    diagnosed=8,
    rounds=1,
)


def methods(layers: str = "0.5:1.0") -> list[Method]:
    """What is compared with stock generate."""
    return [
        Method(LOCORE, (LocoRE(beta=0.15),)),
        Method(SINGLE, (), SGRS(alpha=0.0, layers=layers, block_size=1)),
        Method(BLOCK, (), SGRS(alpha=0.0, layers=layers, block_size=16)),
    ]


@dataclass
class Bench:
    """The model, and the time that one setting may take."""

    plan: Plan
    model: PreTrainedModel
    seconds: float

    def steps(
        self, prefix: int, tokens: int, batch: int = 1, chosen: Sequence[Method] | None = None
    ) -> dict[str, Series]:
        """Series of the methods with one prompt."""
        inputs = prompt(self.plan.shape, prefix, batch)
        with shared_prefix(self.model, inputs) as prefills:
            run = partial(decode, self.model, inputs, prefills)
            return in_turn(
                chosen or methods(),
                lambda method: run(method, tokens),
                rounds=self.plan.rounds,
                seconds=self.seconds,
            )


def cells(found: dict[str, Series]) -> list[str]:
    """Stock's cost in ms a step, then each method's ratio."""
    stock = Spread.of([1000 * timing.per_token for timing in found[STOCK].timings])
    ratios = [Spread.of(found[name].ratios).text(2) for name in (LOCORE, SINGLE, BLOCK)]
    return [f"{stock.median:.1f}", *ratios]


HEAD = [f"{STOCK}, ms a step", LOCORE, SINGLE, BLOCK]


def by_layers(bench: Bench) -> Sheet:
    """Target layers: SGRS and the diagnosis of an answer."""
    plan, model = bench.plan, bench.model
    inputs, ids = prompt(plan.shape, plan.prefix), answer(plan.shape, plan.diagnosed)
    rows = []
    for layers in plan.layers:
        found = bench.steps(plan.prefix, plan.tokens, chosen=methods(layers)[1:])
        options, times = SaliencyOptions(layers=layers), []
        with shared_prefix(model, inputs) as prefills:
            for _ in range(plan.rounds):
                block_saliency(model, inputs, ids, options)
                times.append(1000 * (time.perf_counter() - prefills.ended[-1]) / plan.diagnosed)
        chosen = resolve_layers(layers, plan.shape.layers)
        ratios = [Spread.of(found[name].ratios).text(2) for name in (SINGLE, BLOCK)]
        share = share_above(model, layers)
        name = f"{len(chosen)} of {plan.shape.layers}"
        rows.append([name, f"{1 + share:.2f}", *ratios, Spread.of(times).text(2)])
    return Sheet(
        "by target layers (the deepest ones)",
        ["", "1 + f", *HEAD[2:], f"ms a token, diagnosis of {plan.diagnosed}"],
        rows,
        "SGRS as ratios to stock generate's cost; the diagnosis without the prompt's pass.",
    )


def fixed(rounds: int, seconds: float) -> Sheet:
    """What the methods add to a step of a model that has next to no arithmetic to do."""
    shape, tokens = Shape(64, 8, patches=4, vocabulary=256), 28
    model, inputs = build(shape), prompt(shape, 40)
    with shared_prefix(model, inputs) as prefills:
        run = partial(decode, model, inputs, prefills, tokens=tokens)
        found = in_turn(methods(), run, rounds=rounds, seconds=seconds)
    times = {
        name: Spread.of([1000 * timing.per_token for timing in series.timings])
        for name, series in found.items()
    }
    rows = [
        [name, spread.text(2), f"{spread.median - times[STOCK].median:.2f}"]
        for name, spread in times.items()
    ]
    return Sheet(
        f"fixed cost ({shape.layers} layers, {shape.width} wide)",
        ["", "ms/token", "above generate"],
        rows,
        "Calls, not arithmetic: about what each method adds to a step of any model of that depth.",
    )


def main() -> None:
    """Measure and report."""
    began, options = time.perf_counter(), arguments(__doc__)
    plan = SMALL_PLAN if options.small else PLAN
    model = build(plan.shape)
    settings = 1 + sum(map(len, (plan.prefixes, plan.answers, plan.layers, plan.batches)))
    bench = Bench(plan, model, options.seconds * 0.7 / settings)
    result = Result(
        "scaling",
        "How cost grows",
        f"A model of {plan.shape.layers} layers, {plan.shape.width} wide; a prompt of "
        f"{plan.prefix} tokens and an answer of {plan.tokens} where nothing else is said. "
        "Nothing is rejected.",
    )
    bench.steps(plan.prefixes[0], 4, chosen=methods()[:2])  # the first calls set things up
    by_prefix = {n: bench.steps(n, plan.tokens) for n in plan.prefixes}
    by_answer = {n: bench.steps(plan.prefix, n) for n in plan.answers}
    by_batch = {n: bench.steps(plan.prefix, plan.tokens, n) for n in plan.batches}
    for what, found in (("prompt", by_prefix), ("answer", by_answer), ("batch", by_batch)):
        title = f"by size of the {what}" if what == "batch" else f"by length of the {what}"
        rows = [[str(n), *cells(series)] for n, series in found.items()]
        note = "The methods as ratios to stock generate's cost."
        result.sheets.append(Sheet(title, ["", *HEAD], rows, note))
    result.sheets += [by_layers(bench), fixed(4 * plan.rounds, bench.seconds)]
    lines = {
        name: [
            [float(n) for n in by_prefix],
            [
                1000 * torch.tensor([t.per_token for t in series[name].timings]).median().item()
                for series in by_prefix.values()
            ],
        ]
        for name in (STOCK, LOCORE, SINGLE, BLOCK)
    }
    title, axes = "cost by length of the prompt", ("tokens of the prompt", "ms a token")
    result.charts.append(Chart("scaling", title, *axes, lines))
    finish(result, options, began)


if __name__ == "__main__":
    main()
