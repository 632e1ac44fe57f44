"""SGRS on a trained model: how often it rejects, and which block size that leaves worth while.

    python benchmarks/trained.py            # pocket-llava on images of the scene world
    python benchmarks/trained.py --small    # does it run?

The model is tiny, so that a step is mostly Python: passes a token carry over to other models, times
do not.
"""

from __future__ import annotations

import time
from collections import defaultdict
from functools import partial

from PIL import Image
from support.clock import STOCK, Method, Timing, decode, in_turn, within
from support.prefix import shared_prefix
from support.results import Result, Sheet, arguments, finish

import lvlmsal
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.pocket.scenes.draw import draw
from lvlmsal.pocket.scenes.world import scene_number

QUESTION = "Please describe this image in detail."
ALPHAS, PLAUSIBILITIES, BLOCKS = (0.6, 0.9), (0.0, 0.1), (1, 4, 8, 16)


def methods() -> list[Method]:
    """Settings of SGRS, in its default reading."""
    return [
        Method(
            f"alpha {alpha:g}, plausibility {plausibility:g}, m = {block}",
            (),
            SGRS(alpha=alpha, plausibility=plausibility, block_size=block),
        )
        for alpha in ALPHAS
        for plausibility in PLAUSIBILITIES
        for block in BLOCKS
    ]


def total(timings: list[Timing], figure: str) -> float:
    """Mean of a figure over all tokens of some answers."""
    tokens = sum(len(timing.tokens) for timing in timings)
    return sum(getattr(timing, figure) * len(timing.tokens) for timing in timings) / tokens


def main() -> None:
    """Measure and report."""
    began, options = time.perf_counter(), arguments(__doc__)
    chosen = methods()[:2] if options.small else methods()
    images, longest = (1, 6) if options.small else (8, 64)
    lvlm = lvlmsal.load("pocket-llava")
    timings: dict[str, list[Timing]] = defaultdict(list)
    for index in within(options.seconds, images):
        image = Image.fromarray(draw(scene_number(index, seed=0, shifted=True)))
        inputs = lvlm.adapter.encode([[image]], [QUESTION])
        with shared_prefix(lvlm.model, inputs) as prefills:
            run = partial(decode, lvlm.model, inputs, prefills, tokens=longest)
            for name, series in in_turn(chosen, run, rounds=1, seconds=options.seconds).items():
                timings[name] += series.timings
    plain = total(timings[STOCK], "per_token")
    rows = []
    for method in chosen:
        found = timings[method.name]
        ratio = total(found, "per_token") / plain
        passes = total(found, "forwards")
        rows.append(
            [method.name, f"{total(found, 'rejecting'):.0%}", f"{passes:.2f}", f"{ratio:.2f}"]
        )
    sheet = Sheet(
        "pocket-llava, captions",
        ["", "tokens with a rejection", "passes/token", "time / generate"],
        rows,
        f"{len(timings[chosen[0].name])} images of the shifted scene world, one answer each.",
    )
    text = (
        "How often a trained model's candidates are rejected decides what longer blocks are worth: "
        "tokens drafted behind a rejected one are thrown away, and blocks become shorter there. "
        "The model is tiny, so passes a token (a block's verification is one) carry over to other "
        "models, and times do not."
    )
    finish(Result("trained", "SGRS on a trained model", text, sheets=[sheet]), options, began)


if __name__ == "__main__":
    main()
