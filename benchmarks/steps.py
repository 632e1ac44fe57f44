"""What LocoRE and SGRS cost per generated token, against stock `generate` with sdpa.

    python benchmarks/steps.py            # three sizes, 600-token prompt, float32
    python benchmarks/steps.py --small    # does it run?

Everything runs in one process on the same random weights, in turn, each turn next to one of stock
`generate`; the median ratio and the middle half of the ratios are printed. The prefill is done once
and left out. SGRS draws its candidates at temperature 1 and reads its default row unless a line
says otherwise; the deeper half of the layers are targets.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from support.clock import STOCK, Method, Series, Timing, decode, in_turn
from support.models import SHAPES, SMALL, Shape, build, decoder_parameters, prompt, share_above
from support.prefix import shared_prefix
from support.results import Chart, Claim, Result, Sheet, Spread, arguments, finish

from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.saliency.options import DEFAULT_LAYERS

BLOCKS = (1, 4, 8, 16, 32)
ALPHAS = (0.0, 0.6, 0.9)
LOCORE, CONTROL = "LocoRE", "SGRS without rejection (control)"
GROWING, OWN = "generate on the growing cache", "LocoRE on the growing cache"
BARS = {LOCORE: 1.01, OWN: 1.0}
REJECTING = {0.6: 2.3, 0.9: 2.6}
"""By alpha, where half of the tokens and where seven of ten see a rejection: on the 50M shape."""
ALL_FIVE = "SGRS predicting row, five judged a token"
ONE_BY_ONE = {f"SGRS one by one, {row} row": row for row in ("predicting", "candidate")}


@dataclass(frozen=True)
class Plan:
    """How much is measured of one model.

    Attributes:
        shape: of the model.
        prefix: length of the prompt.
        single: tokens and rounds of what goes token by token.
        block: tokens and rounds of block SGRS while nothing is rejected. Blocks begin at 4 tokens
            and double up to their size: 4 + 8 + 16 (+ 32) ends with a whole block of every size.
        rejecting: tokens of block SGRS where it rejects, one round, and the block sizes.
        weight: share of the time that this model may take.
    """

    shape: Shape
    prefix: int
    single: tuple[int, int]
    block: tuple[int, int]
    rejecting: tuple[int, tuple[int, ...]]
    weight: float


PLANS = {
    "50M": Plan(SHAPES["50M"], 600, (24, 20), (60, 3), (48, BLOCKS), 0.25),
    "200M": Plan(SHAPES["200M"], 600, (16, 14), (60, 2), (32, BLOCKS), 0.4),
    "700M": Plan(SHAPES["700M"], 600, (8, 8), (60, 1), (16, (1, 16)), 0.35),
}
SMALL_PLANS = {"small": Plan(SMALL, 40, (4, 1), (28, 1), (8, (1, 4)), 1.0)}


def singles() -> list[Method]:
    """What goes token by token.

    With alpha 0 one candidate a token is judged, and accepted; far above 1 all are, but at first.
    """
    locore = LocoRE(beta=0.15)
    plain = [
        Method(LOCORE, (locore,)),
        Method(OWN, (locore,), growing=True),
        Method(GROWING, growing=True),
        Method(CONTROL, (), SGRS(rejection=False)),
    ]
    sgrs = [
        Method(name, (), SGRS(alpha=0.0, row=row, block_size=1)) for name, row in ONE_BY_ONE.items()
    ]
    all_rejected = SGRS(alpha=1e6, row="predicting", block_size=1)
    return [*plain, *sgrs, Method(ALL_FIVE, (), all_rejected)]


def block_name(alpha: float, block: int) -> str:
    """Name of a setting of block SGRS."""
    return f"alpha {alpha:g}, m = {block}"


def sgrs(alpha: float, block: int) -> Method:
    """A setting of SGRS, in its default reading."""
    return Method(block_name(alpha, block), (), SGRS(alpha=alpha, block_size=block))


def measure(plan: Plan, seconds: float) -> tuple[dict[str, Any], dict[str, Series]]:
    """Facts about a model, and the series of all methods on it."""
    model, inputs = build(plan.shape), prompt(plan.shape, plan.prefix)
    facts = {
        "parameters": decoder_parameters(model),
        "share": share_above(model, DEFAULT_LAYERS),
    }
    blocks = [sgrs(0.0, block) for block in BLOCKS]
    rejecting = [sgrs(alpha, m) for alpha in ALPHAS[1:] for m in plan.rejecting[1]]
    with shared_prefix(model, inputs) as prefills:
        for method in singles():
            decode(model, inputs, prefills, method, 4)  # the first calls set things up

        def turns(methods: list[Method], tokens: int, rounds: int, share: float) -> None:
            def run(method: Method) -> Timing:
                length = plan.single[0] if method.name == STOCK else tokens
                return decode(model, inputs, prefills, method, length)

            for name, series in in_turn(
                methods, run, rounds=rounds, seconds=seconds * share
            ).items():
                found.setdefault(name, series)

        found: dict[str, Series] = {}
        turns(singles(), *plan.single, share=0.35)
        turns(blocks, *plan.block, share=0.3)
        turns(rejecting, plan.rejecting[0], 1, share=0.35)
    return facts, found


def same_answers(found: dict[str, Series], alpha: float) -> str:
    """How many block sizes gave the one-by-one loop's own answer."""
    names = [block_name(alpha, block) for block in BLOCKS if block_name(alpha, block) in found]
    answers = [found[name].timings[0].tokens for name in names]
    same = sum(answer == answers[0] for answer in answers[1:])
    return f"{same} of {len(answers) - 1} at alpha {alpha:g}"


def sheets(name: str, plan: Plan, facts: dict[str, Any], found: dict[str, Series]) -> list[Sheet]:
    """The tables of one model."""
    share = facts["share"]
    size = f"{facts['parameters'] / 1e6:.0f} M parameters, {plan.prefix}-token prompt"

    def row(method: str) -> list[str]:
        series = found[method]
        per_token = Spread.of([1000 * timing.per_token for timing in series.timings])
        return [f"{per_token.median:.1f}", Spread.of(series.ratios).text()]

    single = Sheet(
        f"{name}: token by token ({size})",
        ["", "ms/token", "ratio to generate", "bar"],
        [
            [STOCK, row(STOCK)[0], "1", ""],
            [LOCORE, *row(LOCORE), f"{BARS[LOCORE]:.3f}"],
            [GROWING, *row(GROWING), ""],
            [OWN, *row(OWN), f"{BARS[OWN]:.3f}"],
            *([method, *row(method), f"{1.05 + share:.3f}"] for method in ONE_BY_ONE),
            [ALL_FIVE, *row(ALL_FIVE), "2.700"],
            [CONTROL, *row(CONTROL), ""],
        ],
        f"f = {share:.3f}, the share of a step's weights above the lowest target layer; bar of "
        f"SGRS: 1 + f + 0.05. {len(found[LOCORE].ratios)} turns of {plan.single[0]} tokens.",
    )
    rows = []
    for alpha in ALPHAS:
        for block in BLOCKS:
            if block_name(alpha, block) not in found:
                continue
            timing = found[block_name(alpha, block)].timings[0]
            cells = [f"{timing.rejecting:.0%}", f"{timing.forwards:.2f}"]
            bar = "1.300" if alpha == 0 and block == 16 else ""
            rows.append([block_name(alpha, block), *cells, *row(block_name(alpha, block)), bar])
    same = ", ".join(same_answers(found, alpha) for alpha in ALPHAS)
    blocks = Sheet(
        f"{name}: block SGRS ({size})",
        ["", "tokens with a rejection", "passes/token", "ms/token", "ratio to generate", "bar"],
        rows,
        f"{len(found[block_name(0.0, 1)].ratios)} turn(s) of {plan.block[0]} tokens at alpha 0, "
        f"one of {plan.rejecting[0]} elsewhere; a block's verification is one pass. Answers of the "
        f"block sizes above 1 that equal the one-by-one loop's: {same}.",
    )
    return [single, blocks]


def main() -> None:
    """Measure and report."""
    began, options = time.perf_counter(), arguments(__doc__)
    plans = SMALL_PLANS if options.small else PLANS
    result = Result(
        "steps",
        "Cost of a generated token",
        "m is the longest block: blocks begin at 4 tokens and double while nothing is rejected. "
        "Where something is, long ones halve, and short ones are given up until three tokens in a "
        "row were accepted. At alpha 0 nothing is rejected. Random weights say nothing "
        "about how often SGRS rejects otherwise, so the rate that these models happened to reach "
        "stands next to each cost; `trained.py` has the rates of a trained model.",
    )
    lines: dict[str, list[list[float]]] = {}
    for name, plan in plans.items():
        facts, found = measure(plan, options.seconds * plan.weight)
        result.sheets += sheets(name, plan, facts, found)
        ratios = {method: Spread.of(series.ratios) for method, series in found.items()}
        share = facts["share"]
        result.claims += [
            *(Claim(f"{m}, a token ({name})", bar, ratios[m]) for m, bar in BARS.items()),
            *(Claim(f"{m}: 1 + f + 0.05 ({name})", 1.05 + share, ratios[m]) for m in ONE_BY_ONE),
            Claim(f"block SGRS, m = 16, alpha 0 ({name})", 1.3, ratios[block_name(0.0, 16)]),
        ]
        if name == "50M":
            result.claims.append(Claim(f"{ALL_FIVE} (50M)", 2.7, ratios[ALL_FIVE]))
            for alpha, bar in REJECTING.items():
                best = min(
                    (ratios[block_name(alpha, block)] for block in BLOCKS),
                    key=lambda ratio: ratio.median,
                )
                result.claims.append(
                    Claim(
                        f"SGRS that rejects, alpha {alpha:g}, best block size ({name})", bar, best
                    )
                )
        lines[name] = [list(BLOCKS), [ratios[block_name(0.0, m)].median for m in BLOCKS]]
    title, axes = "block SGRS while nothing is rejected", ("block size m", "cost / generate")
    result.charts.append(Chart("blocks", title, *axes, lines))
    finish(result, options, began)


if __name__ == "__main__":
    main()
