"""The same measurements on random models of real checkpoints' shapes, in bfloat16, on any device.

    python benchmarks/shapes.py --device cuda         # as many models as memory holds
    python benchmarks/shapes.py --device cpu --models LLaVA-1.5-7B --seconds 1500
    python benchmarks/shapes.py --device cpu --tiny   # does it run?

Weights are random, so nothing is downloaded; time and memory depend on shapes alone. Every turn
ends when its last token was copied to the CPU, so it waits for the device. What takes seconds a
token on a CPU is left out there: methods that differ in an option only, and the paper's way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from support.baselines import as_loaded, paper_row
from support.checkpoints import CHECKPOINTS, Checkpoint, build, parameters, prompt
from support.clock import STOCK, Method, decode, generate, in_turn
from support.memory import peak_above
from support.models import share_above
from support.prefix import shared_prefix
from support.results import Claim, Result, Sheet, Spread, arguments, finish

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import resolve_layers
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.saliency.block import block_saliency
from lvlmsal.saliency.options import DEFAULT_LAYERS, SaliencyOptions

PAPER = (
    "The paper reports, for LLaVA-1.5-7B on an A100: 30.8 ms a token at alpha 0.6 and 41.2 at "
    "alpha 0.9; SGRS with LocoRE 30-40 % above greedy, LocoRE under 2 %; and that its way cannot "
    "run at 72B. How often random weights reject is in the tables, and is not how often trained "
    "ones do."
)
LOCORE, OWN, SINGLE, BLOCK = (
    "LocoRE",
    "LocoRE on the growing cache",
    "SGRS one by one",
    "block SGRS",
)
OURS, PLAIN, THEIRS = (
    "block way, one pass an answer",
    "one plain pass",
    "the paper's way, one token",
)


def methods(beta: float, *, cuda: bool) -> list[Method]:
    """What is compared with stock generate."""
    locore = LocoRE(beta=beta)
    found = [Method(LOCORE, (locore,)), Method(OWN, (locore,), growing=True)]
    for row in ("predicting", "candidate"):
        found.append(Method(f"{SINGLE}, {row} row", (), SGRS(alpha=0.0, row=row, block_size=1)))
    for block in (4, 8, 16, 32) if cuda else (16,):
        found.append(Method(f"{BLOCK}, m = {block}", (), SGRS(alpha=0.0, block_size=block)))
    for alpha in (0.6, 0.9):
        both = SGRS(alpha=alpha, block_size=1)
        found.append(Method(f"{SINGLE} with LocoRE, alpha {alpha}", (locore,), both))
    return found


class Bench:
    """One model on one device."""

    def __init__(self, name: str, checkpoint: Checkpoint, options: Any) -> None:
        self.name = name
        self.device, self.tiny = torch.device(options.device), options.tiny
        self.cuda = self.device.type == "cuda"
        self.methods = methods(checkpoint.beta, cuda=self.cuda)
        # Blocks begin at 4 tokens and double: 4 + 8 + 16 (+ 32) ends with a whole block of a size.
        self.tokens = 12 if self.tiny else 60 if self.cuda else 28
        self.rounds, self.seconds = 1 if self.tiny else 6, options.seconds / len(options.models)
        dtype = torch.bfloat16
        self.model = build(checkpoint, tiny=self.tiny, device=self.device, dtype=dtype)
        self.inputs = prompt(self.model)
        self.weights = sum(p.numel() * p.element_size() for p in self.model.parameters()) / 2**20

    def steps(self) -> tuple[Sheet, list[Claim]]:
        """Cost and memory of the methods."""
        with shared_prefix(self.model, self.inputs) as prefills:
            run = partial(decode, self.model, self.inputs, prefills)
            for method in (Method(STOCK), *self.methods):
                run(method, 32 if self.cuda and not self.tiny else 4)  # first calls choose kernels
            found = in_turn(
                self.methods,
                lambda method: run(method, self.tokens),
                rounds=self.rounds,
                seconds=self.seconds * 0.6,
            )
        whole = {
            method.name: self.weights + self.peak(method)
            for method in (Method(STOCK), *self.methods)
        }
        rows = []
        for name, series in found.items():
            milliseconds = Spread.of([1000 * timing.per_token for timing in series.timings]).median
            ratio = "1" if name == STOCK else Spread.of(series.ratios).text()
            rejecting = f"{series.timings[0].rejecting:.0%}" if "SGRS" in name else ""
            memory = f"{whole[name] - self.weights:.0f}"
            peak = "1" if name == STOCK else f"{whole[name] / whole[STOCK]:.3f}"
            rows.append([name, f"{milliseconds:.1f}", ratio, rejecting, memory, peak])
        share = share_above(self.model, DEFAULT_LAYERS)
        bars = {
            LOCORE: 1.02 if self.cuda else 1.0,
            OWN: 1.0,
            f"{SINGLE}, predicting row": 1.1 + share,
            f"{SINGLE}, candidate row": 1.1 + share,
            f"{BLOCK}, m = 16": 1.15,
        }
        claims = [
            Claim(f"{name} ({self.name}, bfloat16)", bar, Spread.of(found[name].ratios))
            for name, bar in bars.items()
        ]
        title = (
            f"{self.name}: {self.inputs['input_ids'].shape[1]}-token prompt, answers of "
            f"{self.tokens}"
        )
        columns = ["", "ms/token", "ratio", "tokens with a rejection", "MiB above weights"]
        note = (
            f"{self.weights / 1024:.1f} GiB of weights in bfloat16, f = {share:.3f}; "
            f"{len(found[LOCORE].ratios)} turn(s). The last column is peak memory, weights "
            "included, relative to greedy."
        )
        return Sheet(title, [*columns, "peak / greedy"], rows, note), claims

    def peak(self, method: Method) -> float:
        """MiB above the weights of a short answer, prompt and all."""
        run = partial(generate, self.model, self.inputs, method, 60 if self.cuda else 8)
        return peak_above(run, cuda=self.cuda)

    def diagnosis(self) -> tuple[Sheet, list[Claim]]:
        """An answer by our way, next to a plain pass over it and to a token the paper's way."""
        tokens = 12 if self.tiny else 60 if self.cuda else 32
        ids = torch.randint(3, 250, (1, tokens), device=self.device)
        adapter = adapter_for(self.model)
        layers = resolve_layers(DEFAULT_LAYERS, adapter.num_layers)

        def plain() -> None:
            with torch.no_grad():
                self.model(**adapter.append(self.inputs, ids), logits_to_keep=tokens)

        runs: dict[str, tuple[Callable[[], object], int]] = {
            PLAIN: (plain, tokens),
            OURS: (
                partial(block_saliency, self.model, self.inputs, ids, SaliencyOptions()),
                tokens,
            ),
        }
        if self.cuda or self.tiny:
            last = tokens - 1
            runs[THEIRS] = (partial(paper_row, self.model, self.inputs, ids, last, layers), 1)
        rows: list[list[str]] = []
        spent: dict[str, list[float]] = {}
        for name, (run, judged) in runs.items():
            with as_loaded(self.model) if name == THEIRS else nullcontext():
                try:
                    seconds, peak = self.timed(run), peak_above(run, cuda=self.cuda)
                except torch.cuda.OutOfMemoryError:
                    rows.append([name, "out of memory", "", ""])
                    continue
            spent[name], median = seconds, Spread.of(seconds).median
            rows.append([name, f"{median:.2f}", f"{1000 * median / judged:.1f}", f"{peak:.0f}"])
        title = f"{self.name}: diagnosing an answer of {tokens} tokens, prompt included"
        ratio = Spread.of(spent[OURS]).over(Spread.of(spent[PLAIN]).median)
        claim = Claim(f"diagnosis / {PLAIN} ({self.name}, bfloat16)", 1.25, ratio)
        return Sheet(title, ["", "seconds", "ms/token", "MiB above weights"], rows), [claim]

    def timed(self, run: Callable[[], object]) -> list[float]:
        """Seconds of three runs, after one that sets things up."""
        times = []
        for _ in range(4):
            began = time.perf_counter()
            run()
            if self.cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        return times[1:]


def room(checkpoint: Checkpoint, options: Any) -> tuple[float, float]:
    """GiB that the model needs with a fifth to spare, and GiB that the device has."""
    needed = 2 * 1.2 * parameters(checkpoint, tiny=options.tiny) / 2**30
    if torch.device(options.device).type != "cuda":
        return needed, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return needed, torch.cuda.mem_get_info()[0] / 2**30


def main() -> None:
    """Measure and report."""
    began = time.perf_counter()
    options = arguments(
        __doc__,
        [
            ("--device", {"default": "cuda", "help": "cuda or cpu"}),
            ("--tiny", {"action": "store_true", "help": "tiny models of the same form"}),
            (
                "--models",
                {"nargs": "*", "choices": list(CHECKPOINTS), "default": list(CHECKPOINTS)},
            ),
        ],
    )
    options.small = options.tiny = options.small or options.tiny
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device is here: type --device cpu, which takes seconds a token")
    result = Result("shapes", "Shapes of real checkpoints", PAPER)
    for name in options.models:
        needed, free = room(CHECKPOINTS[name], options)
        if needed > free:
            result.text += f" {name} was left out: it needs {needed:.0f} GiB, {free:.0f} are there."
            continue
        bench = Bench(name, CHECKPOINTS[name], options)
        for sheet, claims in (bench.steps(), bench.diagnosis()):
            result.sheets.append(sheet)
            result.claims += claims
        del bench
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    finish(result, options, began)


if __name__ == "__main__":
    main()
