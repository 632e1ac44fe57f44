"""The saliency of a whole answer: this library's ways, the paper's way and the package vl-saliency.

    python benchmarks/diagnosis.py            # 50 M and 200 M parameters, 600-token prompt
    python benchmarks/diagnosis.py --small    # does it run?

Same model, same prompt, same answer, one process, in turn. The prompt's own pass is part of every
time. Ways that cost a pass of the whole sequence a token are timed on some tokens, evenly spread
over the answer, and their mean stands for all.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from support.baselines import as_loaded, paper_row, vl_saliency_row, vl_saliency_trace
from support.clock import within
from support.memory import peak_above
from support.models import SHAPES, SMALL, Shape, answer, build, prompt
from support.prefix import shared_prefix
from support.results import Chart, Claim, Result, Sheet, Spread, arguments, finish
from torch import Tensor

from lvlmsal.attention import resolve_layers
from lvlmsal.saliency.block import ResponseRows, block_saliency
from lvlmsal.saliency.options import SaliencyOptions

BLOCK, ROW = "block (one pass an answer)", "row (one step a token)"
PAPER = "the paper's way"
VL_WHOLE, VL_TOKEN = "vl-saliency, one capture", "vl-saliency, a capture a token"
VL_INSTALLED = importlib.util.find_spec("vl_saliency") is not None


@dataclass(frozen=True)
class Plan:
    """How much is measured of one model.

    Attributes:
        shape: of the model.
        prefix: length of the prompt.
        lengths: of the answers.
        sampled: tokens that the slow ways are timed on.
        rounds: turns of each way.
    """

    shape: Shape
    prefix: int
    lengths: tuple[int, ...]
    sampled: int
    rounds: int


PLANS = {
    "50M": Plan(SHAPES["50M"], 600, (16, 64, 128, 256), 3, 3),
    "200M": Plan(SHAPES["200M"], 600, (64,), 2, 2),
}
SMALL_PLANS = {"small": Plan(SMALL, 40, (4, 8), 2, 1)}
OPTIONS = SaliencyOptions()
"""What is asked for: the deeper half of the layers, the predicting row, the product."""


def spread_over(length: int, count: int) -> list[int]:
    """Evenly spread token indices, the first token left out (vl-saliency has no row for it)."""
    return [round(1 + (length - 2) * part / max(1, count - 1)) for part in range(count)]


class Bench:
    """One model, one prompt, and the ways to judge an answer to it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.model, self.inputs = build(plan.shape), prompt(plan.shape, plan.prefix)
        self.layers = resolve_layers(OPTIONS.layers, plan.shape.layers)

    def ours(self, length: int, block_size: int | None) -> ResponseRows:
        """All rows of an answer; ``block_size`` 1 is the row way."""
        ids = answer(self.plan.shape, length)
        return block_saliency(self.model, self.inputs, ids, OPTIONS, block_size=block_size)

    def sampled(self, length: int, way: Callable[..., Tensor], *more: Any) -> list[Tensor]:
        """Rows of the sampled tokens."""
        ids, tokens = answer(self.plan.shape, length), spread_over(length, self.plan.sampled)
        with as_loaded(self.model):
            return [way(self.model, self.inputs, ids, token, *more) for token in tokens]

    def whole(self, length: int) -> Any:
        """One capture of vl-saliency."""
        with as_loaded(self.model):
            return vl_saliency_trace(self.model, self.inputs, answer(self.plan.shape, length))

    def prefill(self) -> None:
        """The prompt alone."""
        with torch.no_grad():
            self.model(**self.inputs, use_cache=True, logits_to_keep=1)

    def ways(self, length: int) -> dict[str, tuple[Callable[[], Any], float]]:
        """Name -> what to run, and how many such runs are an answer."""
        share = length / self.plan.sampled
        found: dict[str, tuple[Callable[[], Any], float]] = {
            "prefill": (self.prefill, 1.0),
            BLOCK: (lambda: self.ours(length, None), 1.0),
            ROW: (lambda: self.ours(length, 1), 1.0),
            PAPER: (lambda: self.sampled(length, paper_row, self.layers), share),
        }
        if VL_INSTALLED:
            found[VL_WHOLE] = (lambda: self.whole(length), 1.0)
            found[VL_TOKEN] = (lambda: self.sampled(length, vl_saliency_row), share)
        return found


def timed(bench: Bench, length: int, seconds: float) -> dict[str, list[float]]:
    """Seconds an answer of every way, in turn."""
    ways, shuffled = bench.ways(length), random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in within(seconds, bench.plan.rounds):
        for name in shuffled.sample(sorted(ways), len(ways)):
            run, share = ways[name]
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) * share)
    return times


def error(found: Tensor, reference: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((found - reference).abs().max() / reference.abs().max())


def agreement(bench: Bench, length: int) -> list[list[str]]:
    """How far the ways that compute the same thing are apart, in float64."""
    bench.model.double()
    bench.inputs["pixel_values"] = bench.inputs["pixel_values"].double()
    block, row = bench.ours(length, None), bench.ours(length, 1)
    tokens, start = spread_over(length, bench.plan.sampled), bench.plan.prefix
    ours = [block.maps["product"][0, token, :, : start + token] for token in tokens]
    paper = bench.sampled(length, paper_row, bench.layers)
    worst = max(map(error, ours, paper))
    rows = [
        [BLOCK, ROW, "every row", f"{error(block.maps['product'], row.maps['product']):.0e}"],
        [BLOCK, PAPER, f"{len(tokens)} rows", f"{worst:.0e}"],
    ]
    if VL_INSTALLED:
        image = bench.inputs["input_ids"][0] == bench.plan.shape.image_token
        columns = image.nonzero()[:, 0]
        theirs = bench.sampled(length, vl_saliency_row)
        worst = max(
            error(unit(mine[:, columns]), unit(other[bench.layers]))
            for mine, other in zip(ours, theirs, strict=True)
        )
        rows.append([BLOCK, VL_TOKEN, f"{len(tokens)} rows, image columns", f"{worst:.0e}"])
    return rows


def unit(rows: Tensor) -> Tensor:
    """Rows divided by their 2-norms."""
    return rows / rows.norm(dim=-1, keepdim=True)


def memory(bench: Bench, length: int) -> list[list[str]]:
    """Peak of tensors above the weights; slow ways judge one token, the last."""
    one, ids = [length - 1], answer(bench.plan.shape, length)
    runs: dict[str, Callable[[], Any]] = {
        BLOCK: lambda: bench.ours(length, None),
        ROW: lambda: bench.ours(length, 1),
        PAPER: lambda: paper_row(bench.model, bench.inputs, ids, one[0], bench.layers),
    }
    if VL_INSTALLED:
        runs[VL_WHOLE] = lambda: vl_saliency_trace(bench.model, bench.inputs, ids)
    rows = []
    for name, run in runs.items():
        if name in (BLOCK, ROW):
            rows.append([name, f"{peak_above(run):.0f}"])
        else:
            with as_loaded(bench.model):
                rows.append([name, f"{peak_above(run):.0f}"])
    return rows


def ratios(times: dict[str, list[float]], way: str) -> Spread:
    """Time of a way as a ratio to the block way's of the same round."""
    return Spread.of([a / b for a, b in zip(times[way], times[BLOCK], strict=True)])


def speed_sheet(name: str, plan: Plan, times: dict[int, dict[str, list[float]]]) -> Sheet:
    """Tokens a second and ratios."""
    rows = []
    for length, found in times.items():
        for way, seconds in found.items():
            if way == "prefill":
                continue
            spread = Spread.of(seconds)
            ratio = "1" if way == BLOCK else ratios(found, way).text(1)
            per_token = 1000 * spread.median / length
            cells = [f"{length / spread.median:.2f}", f"{per_token:.1f}", ratio]
            rows.append([f"{length} tokens: {way}", *cells])
    alone = Spread.of([value for found in times.values() for value in found["prefill"]])
    return Sheet(
        f"{name}: diagnosing an answer ({plan.prefix}-token prompt)",
        ["", "tokens/s", "ms/token", "time / block way"],
        rows,
        f"The prompt's own pass, part of every time, takes {alone.median:.2f} s. The paper's way "
        f"and captures a token were timed on {plan.sampled} tokens of each answer.",
    )


def claims(name: str, plan: Plan, times: dict[int, dict[str, list[float]]]) -> list[Claim]:
    """The bars of this script."""
    length = 64 if 64 in plan.lengths else plan.lengths[-1]
    found = []
    for way in (PAPER, VL_TOKEN, VL_WHOLE):
        if way in times[length]:
            what = f"{way} / block way at {length} tokens ({name})"
            found.append(Claim(what, 20, ratios(times[length], way), least=True, digits=1))
    return found


def behind_prompt(bench: Bench, rounds: int) -> dict[str, dict[int, Spread]]:
    """Seconds a token of our ways, the prompt's pass left out: way -> length -> spread."""
    plan, shuffled = bench.plan, random.Random(0)
    sizes = {BLOCK: None, ROW: 1}
    times: dict[tuple[str, int], list[float]] = {(w, n): [] for w in sizes for n in plan.lengths}
    with shared_prefix(bench.model, bench.inputs) as prefills:
        for _ in range(rounds):
            for way, length in shuffled.sample(sorted(times), len(times)):
                bench.ours(length, sizes[way])
                seconds = time.perf_counter() - prefills.ended[-1]
                times[way, length].append(seconds / length)
    return {way: {n: Spread.of(times[way, n]) for n in plan.lengths} for way in sizes}


def growth_sheet(
    name: str,
    plan: Plan,
    times: dict[int, dict[str, list[float]]],
    bare: dict[str, dict[int, Spread]],
) -> Sheet:
    """Cost of a token by length of the answer, the prompt's pass left out where it is ours."""
    rows = []
    for way in times[plan.lengths[0]]:
        if way in bare:
            values = [1000 * bare[way][length].median for length in plan.lengths]
        elif way != "prefill":
            values = [1000 * Spread.of(times[n][way]).median / n for n in plan.lengths]
        else:
            continue
        cells = [f"{value:.1f}" for value in values]
        rows.append([way, *cells, f"{values[-1] / values[0]:.2f}"])
    first, last = plan.lengths[0], plan.lengths[-1]
    return Sheet(
        f"{name}: ms a token by length of the answer",
        ["", *(f"{length} tokens" for length in plan.lengths), f"{last} over {first}"],
        rows,
        "Our ways without the prompt's pass, which is paid once; the others run the prompt again "
        "for every token. vl-saliency's single capture spreads one pass over all tokens, and its "
        "gradient is that of the mean loss of all of them, so it is not a token's own.",
    )


def text() -> str:
    """What is compared."""
    if VL_INSTALLED:
        version = importlib.metadata.version("vl-saliency")
        there = (
            f"vl-saliency {version} runs with these versions once the model's attention is eager "
            "and its weights want gradients. It gives maps of tokens onto the image, for batches "
            "of one; one capture differentiates the mean loss of the whole sequence. A token's own "
            "gradient takes a capture of the sequence up to that token, and there its numbers are "
            "ours (table of agreement)."
        )
    else:
        there = "vl-saliency was not installed: `pip install lvlmsal[bench]` adds it."
    return (
        "The paper's way is written again from its description as a baseline: the candidate is "
        "appended, the whole sequence runs without a cache, and gradients of full attention "
        "matrices are taken, token by token. " + there
    )


def main() -> None:
    """Measure and report."""
    began, options = time.perf_counter(), arguments(__doc__)
    plans = SMALL_PLANS if options.small else PLANS
    result = Result("diagnosis", "Diagnosing an answer", text())
    for name, plan in plans.items():
        bench = Bench(plan)
        bench.ours(2, None)  # the first calls set things up
        share = options.seconds * 0.8 / sum(len(plan.lengths) for plan in plans.values())
        times = {length: timed(bench, length, share) for length in plan.lengths}
        result.sheets.append(speed_sheet(name, plan, times))
        result.claims += claims(name, plan, times)
        if len(plan.lengths) > 1:
            first, length, last = plan.lengths[0], plan.lengths[1], plan.lengths[-1]
            bare = behind_prompt(bench, plan.rounds)
            result.sheets.append(growth_sheet(name, plan, times, bare))
            for way, found in bare.items():
                what = f"{way}: a token of {last} over a token of {first} ({name})"
                result.claims.append(Claim(what, 1.1, found[last].over(found[first].median)))
            title = f"{name}: peak memory above the weights, {length} tokens"
            note = "Of tensors, by torch's profiler; the paper's way judges one token, the last."
            result.sheets.append(Sheet(title, ["", "MiB"], memory(bench, length), note))
            title = f"{name}: agreement in float64, {first} tokens"
            columns = ["", "compared with", "on", "largest relative difference"]
            note = (
                "The last two take their softmax in float32, as transformers' eager attention does."
            )
            result.sheets.append(Sheet(title, columns, agreement(bench, first), note))
            lines = {
                way: [
                    list(plan.lengths),
                    [1000 * Spread.of(times[n][way]).median / n for n in plan.lengths],
                ]
                for way in times[length]
                if way != "prefill"
            }
            title = f"diagnosing an answer, {name} parameters"
            result.charts.append(
                Chart("diagnosis", title, "tokens of the answer", "ms a token", lines, log=True)
            )
    finish(result, options, began)


if __name__ == "__main__":
    main()
