"""LocoRE over many rows at once: the prefill, and blocks of rows behind a prompt.

    python benchmarks/prefill.py            # 50 M parameters, prompts of 600 to 4,000 tokens
    python benchmarks/prefill.py --small    # does it run?

The image is small (144 tokens) and the rest of the prompt is text behind it, so that LocoRE changes
nearly every row: the most work that it can make.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from support.clock import within
from support.memory import MIB, peak_above
from support.models import SMALL, Shape, answer, build, prompt
from support.prefix import shared_prefix
from support.results import Chart, Result, Sheet, Spread, arguments, finish
from transformers import DynamicCache, PreTrainedModel

import lvlmsal
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.versions import CACHE


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        shape: of the model.
        prefixes: lengths of the prompt.
        blocks: rows of a block behind the prompt.
        rounds: turns of each prefill; blocks have five times as many.
    """

    shape: Shape
    prefixes: Sequence[int]
    blocks: Sequence[int]
    rounds: int


PLAN = Plan(Shape(448, 8, patches=12), (600, 2000, 4000), (16, 64), 4)
SMALL_PLAN = Plan(SMALL, (40, 80), (4,), 1)


def paired(
    model: PreTrainedModel, run: Callable[[], float], rounds: int, seconds: float
) -> tuple[list[float], list[float]]:
    """Seconds of `run` plainly, and ratios of it under LocoRE to the plain turn next to it."""
    shuffled, plain, ratios = random.Random(0), [], []
    for _ in within(seconds, rounds):
        times = {}
        for edited in shuffled.sample([False, True], 2):
            with lvlmsal.intervene(model, LocoRE(beta=0.15)) if edited else nullcontext():
                times[edited] = run()
        plain.append(times[False])
        ratios.append(times[True] / times[False])
    return plain, ratios


class Bench:
    """Passes over a prompt, and over a block behind it."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.model = plan, build(plan.shape)

    def prefill(self, length: int) -> Callable[[], float]:
        """A pass over the prompt, timed."""
        inputs = prompt(self.plan.shape, length)

        def run() -> float:
            began = time.perf_counter()
            with torch.no_grad():
                cache = DynamicCache()
                self.model(**inputs, **{CACHE: cache}, use_cache=True, logits_to_keep=1)
            return time.perf_counter() - began

        return run

    def block(self, length: int, rows: int) -> Callable[[], float]:
        """A pass over a block of tokens behind the prompt, timed; within ``shared_prefix``."""
        inputs = prompt(self.plan.shape, length)
        ids = answer(self.plan.shape, rows)
        mask = torch.ones(1, length + rows, dtype=torch.long)

        def run() -> float:
            with torch.no_grad():
                cache = DynamicCache()
                self.model(**inputs, **{CACHE: cache}, use_cache=True)
                began = time.perf_counter()
                self.model(input_ids=ids, attention_mask=mask, **{CACHE: cache})
                return time.perf_counter() - began

        return run

    def peaks(self, length: int) -> list[str]:
        """MiB above the weights of a prefill, plainly and under LocoRE, and of one full matrix."""
        run = self.prefill(length)
        plain = peak_above(run)
        with lvlmsal.intervene(self.model, LocoRE(beta=0.15)):
            edited = peak_above(run)
        heads = self.model.config.text_config.num_attention_heads
        return [f"{plain:.0f}", f"{edited:.0f}", f"{4 * heads * length**2 / MIB:.0f}"]


def main() -> None:
    """Measure and report."""
    began, options = time.perf_counter(), arguments(__doc__)
    plan = SMALL_PLAN if options.small else PLAN
    bench = Bench(plan)
    result = Result(
        "prefill",
        "LocoRE over many rows",
        f"A model of {plan.shape.layers} layers, {plan.shape.width} wide. All but "
        f"{plan.shape.patches**2 + 5} tokens of a prompt are text behind the image, whose rows "
        "LocoRE changes; in a question about an image they are few.",
    )
    bench.prefill(plan.prefixes[0])()  # the first call sets things up
    weight = sum(plan.prefixes)
    rows, ratios = [], {}
    for length in plan.prefixes:
        seconds = options.seconds * 0.6 * length / weight
        plain, found = paired(bench.model, bench.prefill(length), plan.rounds, seconds)
        ratios[length] = Spread.of(found)
        milliseconds = f"{1000 * Spread.of(plain).median:.0f}"
        rows.append([str(length), milliseconds, ratios[length].text(), *bench.peaks(length)])
    columns = ["", "sdpa, ms", "LocoRE / sdpa", "sdpa, MiB", "LocoRE, MiB", "one matrix, MiB"]
    note = (
        "MiB: peak of tensors above the weights. One matrix: what the attention weights of a "
        "single layer would take if they were all written down."
    )
    result.sheets.append(Sheet("prefill by length of the prompt", columns, rows, note))
    rows = []
    for length in plan.prefixes:
        with shared_prefix(bench.model, prompt(plan.shape, length)):
            for block in plan.blocks:
                run, seconds = bench.block(length, block), options.seconds * 0.05
                plain, found = paired(bench.model, run, 5 * plan.rounds, seconds)
                milliseconds = f"{1000 * Spread.of(plain).median:.1f}"
                name = f"{block} rows behind {length} tokens"
                rows.append([name, milliseconds, Spread.of(found).text()])
    result.sheets.append(Sheet("blocks of rows", ["", "sdpa, ms", "LocoRE / sdpa"], rows))
    line = [[float(n) for n in plan.prefixes], [ratios[n].median for n in plan.prefixes]]
    title = "LocoRE's prefill"
    result.charts.append(
        Chart("prefill", title, "tokens of the prompt", "time / sdpa", {"LocoRE": line})
    )
    finish(result, options, began)


if __name__ == "__main__":
    main()
