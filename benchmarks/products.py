"""What one row costs on its way back through a weight matrix, against its way forward.

    python benchmarks/products.py            # an MLP matrix of LLaVA-1.5-7B
    python benchmarks/products.py --small    # does it run?

Recording a token one by one runs one row forward through the target layers and its gradient back
through the same weights. Both read each weight once, so a step should cost 1 + f plain ones. It
does where the kernels of both directions read memory equally fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from support.results import Result, Sheet, Spread, arguments, finish
from torch.nn.functional import linear


def seconds(run: Callable[[torch.Tensor], object], weights: list[torch.Tensor]) -> float:
    """Of one product with each of some matrices, too many of them for a cache."""
    began = time.perf_counter()
    for weight in weights:
        run(weight)
    return time.perf_counter() - began


def main() -> None:
    """Measure and report."""
    began, options = time.perf_counter(), arguments(__doc__)
    wide, narrow = (64, 32) if options.small else (11008, 4096)
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        weights = [torch.randn(wide, narrow).to(dtype) for _ in range(4)]
        for count in (1, 5):
            states = torch.randn(count, narrow).to(dtype)
            gradients = torch.randn(count, wide).to(dtype)
            ratios = []
            for _ in range(3 if options.small else 12):
                forward = seconds(lambda weight, x=states: linear(x, weight), weights)
                ratios.append(seconds(lambda w, g=gradients: g @ w, weights) / forward)
            name = f"{str(dtype).removeprefix('torch.')}, rows: {count}"
            rows.append([name, Spread.of(ratios[1:]).text(2)])
    sheet = Sheet(
        f"a gradient through a weight of {wide} x {narrow}", ["", "backward / forward"], rows
    )
    text = (
        "In half precision on a CPU the kernel of the way back is the slower one, so a recorded "
        "step costs more than 1 + f there, whatever the library does; in float32 it is not. "
        "Several rows share the reading of a weight: a block's verification is hardly touched."
    )
    finish(Result("products", "One row through one weight", text, sheets=[sheet]), options, began)


if __name__ == "__main__":
    main()
