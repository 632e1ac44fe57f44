"""The same measurements on a GPU, on random models of the shapes that the paper speaks of.

    python benchmarks/gpu.py --device cuda            # bfloat16, as many models as memory holds
    python benchmarks/gpu.py --device cpu --tiny      # does it run?

Weights are random, so nothing is downloaded; time and memory depend on shapes alone. Every turn
ends when its last token was copied to the CPU, so it waits for the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from support.baselines import as_loaded, paper_row
from support.checkpoints import CHECKPOINTS, Checkpoint, build, parameters, prompt
from support.clock import STOCK, Method, decode, in_turn
from support.memory import peak_above
from support.models import share_above
from support.prefix import shared_prefix
from support.results import Claim, Result, Sheet, Spread, arguments, finish
from transformers import PreTrainedModel

import lvlmsal
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
SINGLE, BLOCK = "SGRS one by one", "block SGRS"


def methods(beta: float) -> list[Method]:
    """What is compared with stock generate."""
    locore = LocoRE(beta=beta)
    found = [Method("LocoRE", (locore,))]
    for row in ("predicting", "candidate"):
        found.append(Method(f"{SINGLE}, {row} row", (), SGRS(alpha=0.0, row=row, block_size=1)))
    for block in (4, 8, 16, 32):
        found.append(Method(f"{BLOCK}, m = {block}", (), SGRS(alpha=0.0, block_size=block)))
    for alpha in (0.6, 0.9):
        both = SGRS(alpha=alpha, block_size=1)
        found.append(Method(f"{SINGLE} with LocoRE, alpha {alpha}", (locore,), both))
    return found


def generate(model: PreTrainedModel, inputs: dict[str, Any], method: Method, tokens: int) -> None:
    """One answer, prompt and all."""
    options = {} if method.decoder is None else {"custom_generate": method.decoder}
    with lvlmsal.intervene(model, *method.interventions) if method.interventions else nullcontext():
        model.generate(**inputs, **options, max_new_tokens=tokens, do_sample=False)


class Bench:
    """One model on one device."""

    def __init__(self, name: str, checkpoint: Checkpoint, options: Any) -> None:
        self.name, self.methods = name, methods(checkpoint.beta)
        self.device, self.tokens = torch.device(options.device), 12 if options.tiny else 60
        self.tiny = options.tiny
        self.rounds, self.seconds = 1 if options.tiny else 6, options.seconds / len(CHECKPOINTS)
        dtype = torch.bfloat16
        self.model = build(checkpoint, tiny=options.tiny, device=self.device, dtype=dtype)
        self.inputs = prompt(self.model)
        self.cuda = self.device.type == "cuda"
        self.weights = sum(p.numel() * p.element_size() for p in self.model.parameters()) / 2**20

    def steps(self) -> tuple[Sheet, list[Claim]]:
        """Cost and memory of the methods."""
        with shared_prefix(self.model, self.inputs) as prefills:
            run = partial(decode, self.model, self.inputs, prefills)
            for method in (Method(STOCK), *self.methods):
                run(method, 4 if self.tiny else 32)  # the first calls choose kernels
            found = in_turn(
                self.methods,
                lambda method: run(method, self.tokens),
                rounds=self.rounds,
                seconds=self.seconds * 0.6,
            )
        peaks = {
            method.name: peak_above(
                partial(generate, self.model, self.inputs, method, self.tokens), cuda=self.cuda
            )
            for method in (Method(STOCK), *self.methods)
        }
        rows = []
        for name, series in found.items():
            milliseconds = Spread.of([1000 * timing.per_token for timing in series.timings]).median
            ratio = "1" if name == STOCK else Spread.of(series.ratios).text()
            rejecting = f"{series.timings[0].rejecting:.0%}" if "SGRS" in name else ""
            whole = (self.weights + peaks[name]) / (self.weights + peaks[STOCK])
            memory = [f"{peaks[name]:.0f}", "1" if name == STOCK else f"{whole:.3f}"]
            rows.append([name, f"{milliseconds:.1f}", ratio, rejecting, *memory])
        share = share_above(self.model, DEFAULT_LAYERS)
        bars = {
            "LocoRE": 1.02,
            f"{SINGLE}, predicting row": 1.05 + share,
            f"{SINGLE}, candidate row": 1.05 + share,
            f"{BLOCK}, m = 16": 1.2,
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
            f"{self.weights / 1024:.1f} GiB of weights in bfloat16, f = {share:.3f}. The last "
            "column is peak memory, weights included, relative to greedy."
        )
        return Sheet(title, [*columns, "peak / greedy"], rows, note), claims

    def diagnosis(self) -> Sheet:
        """An answer by our way, and a token the paper's way."""
        ids = torch.randint(3, 250, (1, self.tokens), device=self.device)
        layers = resolve_layers(DEFAULT_LAYERS, adapter_for(self.model).num_layers)
        ours = partial(block_saliency, self.model, self.inputs, ids, SaliencyOptions())
        theirs = partial(paper_row, self.model, self.inputs, ids, self.tokens - 1, layers)
        rows = []
        for name, run, tokens in (
            ("block way, one pass an answer", ours, self.tokens),
            ("the paper's way, one token", theirs, 1),
        ):
            with nullcontext() if run is ours else as_loaded(self.model):
                try:
                    seconds, peak = self.timed(run), peak_above(run, cuda=self.cuda)
                except torch.cuda.OutOfMemoryError:
                    rows.append([name, "out of memory", ""])
                    continue
            rows.append([name, f"{1000 * seconds / tokens:.1f}", f"{peak:.0f}"])
        title = f"{self.name}: diagnosing an answer of {self.tokens} tokens"
        return Sheet(title, ["", "ms/token", "MiB above weights"], rows)

    def timed(self, run: Callable[[], object]) -> float:
        """Median seconds of three runs, after one that sets things up."""
        times = []
        for _ in range(4):
            began = time.perf_counter()
            run()
            if self.cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        return Spread.of(times[1:]).median


def room(checkpoint: Checkpoint, options: Any) -> tuple[float, float]:
    """GiB that the model needs with a fifth to spare, and GiB that the device has free."""
    needed = 2 * 1.2 * parameters(checkpoint, tiny=options.tiny) / 2**30
    if torch.device(options.device).type != "cuda":
        return needed, float("inf")
    return needed, torch.cuda.mem_get_info()[0] / 2**30


def main() -> None:
    """Measure and report."""
    began = time.perf_counter()
    options = arguments(
        __doc__,
        [
            ("--device", {"default": "cuda", "help": "cuda, or cpu together with --tiny"}),
            ("--tiny", {"action": "store_true", "help": "tiny models of the same form"}),
            ("--models", {"nargs": "*", "choices": list(CHECKPOINTS), "help": "only these"}),
        ],
    )
    options.small = options.tiny = options.small or options.tiny
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device is here: --device cpu --tiny only shows that it runs")
    result = Result("gpu", "On a GPU", PAPER)
    for name in options.models or CHECKPOINTS:
        needed, free = room(CHECKPOINTS[name], options)
        if needed > free:
            result.text += f" {name} was left out: it needs {needed:.0f} GiB, {free:.0f} are free."
            continue
        bench = Bench(name, CHECKPOINTS[name], options)
        sheet, claims = bench.steps()
        result.sheets += [sheet, bench.diagnosis()]
        result.claims += claims
        del bench
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    finish(result, options, began)


if __name__ == "__main__":
    main()
