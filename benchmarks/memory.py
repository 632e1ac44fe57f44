"""Peak memory of decoding methods, against greedy `generate`.

    python benchmarks/memory.py            # about 200 M parameters, 600-token prompt
    python benchmarks/memory.py --small    # does it run?

Measured twice: the resident memory of a fresh process for each method, at its peak, weights and
libraries included (what a machine has to have); and the tensors that torch allocates above the
weights, at their peak, in one process (what the methods differ in).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from support.clock import STOCK, Method, generate
from support.memory import MIB, peak_above
from support.models import SHAPES, SMALL, build, prompt
from support.prefix import shared_prefix
from support.results import Claim, Result, Sheet, Spread, arguments, finish

from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.interventions.locore import LocoRE

METHODS = {
    method.name: method
    for method in (
        Method(STOCK),
        Method("LocoRE", (LocoRE(beta=0.15),)),
        Method(
            "SGRS one by one, predicting row", (), SGRS(alpha=0.0, row="predicting", block_size=1)
        ),
        Method(
            "SGRS one by one, candidate row", (), SGRS(alpha=0.0, row="candidate", block_size=1)
        ),
        Method("block SGRS, m = 16", (), SGRS(alpha=0.0, block_size=16)),
        Method(
            "block SGRS with LocoRE, m = 16", (LocoRE(beta=0.15),), SGRS(alpha=0.0, block_size=16)
        ),
    )
}
PLANS = {"200M": (SHAPES["200M"], 600, 28), "small": (SMALL, 40, 4)}
"""Shape, length of the prompt, length of the answer: blocks of 4 + 8 + 16 tokens."""


def child(plan: str, name: str) -> None:
    """In a process of its own: one answer, and the peak of resident memory in MiB."""
    shape, prefix, tokens = PLANS[plan]
    generate(build(shape), prompt(shape, prefix), METHODS[name], tokens)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(peak * 1024 / MIB if sys.platform != "darwin" else peak / MIB))


def resident(plan: str, name: str) -> float:
    """Peak of resident memory of a fresh process."""
    # Without it glibc keeps freed blocks for itself, more or fewer of them from run to run.
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "0"}
    command = [sys.executable, str(Path(__file__)), "--child", plan, name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and report."""
    began = time.perf_counter()
    options = arguments(
        __doc__,
        [("--child", {"nargs": 2, "metavar": ("PLAN", "METHOD"), "help": "used by the script"})],
    )
    if options.child:
        child(*options.child)
        return
    plan = "small" if options.small else "200M"
    shape, prefix, tokens = PLANS[plan]
    model, inputs = build(shape), prompt(shape, prefix)
    generate(model, inputs, METHODS[STOCK], 2)  # the first call sets things up
    above = {
        name: peak_above(partial(generate, model, inputs, method, tokens))
        for name, method in METHODS.items()
    }
    with shared_prefix(model, inputs):
        behind = {
            name: peak_above(partial(generate, model, inputs, method, tokens))
            for name, method in METHODS.items()
        }
    whole = {name: resident(plan, name) for name in METHODS}
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / MIB
    result = Result(
        "memory",
        "Peak memory",
        f"{weights:.0f} MiB of weights, a prompt of {prefix} tokens, an answer of {tokens}. SGRS "
        "with alpha 0, so that blocks grow to their full length, and the deeper half of the layers "
        "as targets.",
    )
    rows = []
    for name in METHODS:
        cells = []
        for peaks in (whole, above, behind):
            ratio = peaks[name] / peaks[STOCK]
            cells += [f"{peaks[name]:.0f}", "1" if name == STOCK else f"{ratio:.3f}"]
        rows.append([name, *cells])
        if name != STOCK:
            measured = Spread.of([whole[name] / whole[STOCK]])
            result.claims.append(Claim(f"peak memory of {name}", 1.05, measured))
    columns = ["", "process, MiB", "ratio", "tensors, MiB", "ratio", "while decoding, MiB", "ratio"]
    note = (
        "Process: resident memory of a fresh process at its peak. Tensors: above the weights, by "
        "torch's profiler; the highest point of most lines is the prompt's own pass, so the last "
        "two columns leave it out: the cache, and what a step or a block takes on top of it."
    )
    result.sheets.append(Sheet("peak memory", columns, rows, note))
    finish(result, options, began)


if __name__ == "__main__":
    main()
