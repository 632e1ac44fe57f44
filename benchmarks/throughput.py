"""Questions a second: one by one, in batches, with shared images, and by lmms-eval's own loop.

    python benchmarks/throughput.py            # the scene world's POPE; 200 M parameters
    python benchmarks/throughput.py --small    # does it run?

The questions are POPE's of the scene world, 18 an image over the three splits; the images are read
from disk. Answers have two tokens, "yes" or "no" and the end. Everything runs in one process, in
turn, with what `lvlmsal.evaluate` runs inside.
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from support.clock import within
from support.lmms import lmms_loop, version
from support.models import SHAPES, SMALL, Shape, build
from support.results import Claim, Result, Sheet, Spread, arguments, finish
from transformers import CLIPImageProcessor

from lvlmsal.adapters import open_image
from lvlmsal.decoders.search import Greedy
from lvlmsal.evaluation.config.plan import Cell
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.evaluation.run.answering import AnswerModule
from lvlmsal.evaluation.run.loading import OpenedBatches, Task, make_batches
from lvlmsal.interventions.base import Intervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.m3id import M3ID
from lvlmsal.interventions.pai import PAI
from lvlmsal.interventions.vcd import VCD
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.registry import BENCHMARKS

TOKENS, SPLITS, BATCH = 2, ("random", "popular", "adversarial"), 8
PLAIN, LMMS = "one by one", "lmms-eval's loop"
SHARED = "shared images"

Answered = dict[str, str]
"""Answers by the key of the question."""


@dataclass(frozen=True)
class Plan:
    """How much is measured of one model.

    Attributes:
        images: that are asked about; 18 questions each.
        plain: questions that ways without sharing answer: their rate does not depend on how many.
        rounds: turns.
    """

    images: int
    plain: int
    rounds: int


PLANS = {"pocket-llava": Plan(20, 360, 5), "200M": Plan(1, 6, 3)}
SMALL_PLANS = {"small": Plan(1, 6, 1)}


EDITS = {
    "LocoRE": LocoRE(rows="predicting"),
    "PAI": PAI(),
    "M3ID": M3ID(),
    "VCD": VCD(),
}
"""Methods that change no row of the prompt but those that predict, by how they are printed."""


def cells(world: Path, images: int, *edits: Intervention) -> list[Cell]:
    """The three splits of the world's POPE."""
    model = ModelConfig("measured", "measured")
    return [
        Cell(
            model,
            "greedy",
            Greedy(),
            edits,
            f"pope/{split}",
            BENCHMARKS.build(
                "pope", root=str(world), split=split, max_new_tokens=TOKENS, limit=images
            ),
            0,
        )
        for split in SPLITS
    ]


def llava_of(shape: Shape) -> Lvlm:
    """A random LLaVA that reads the pocket model's words and images of its own size."""
    processor: Any = load("pocket-llava").processor
    side = 14 * shape.patches
    processor.image_processor = CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    processor.patch_size, processor.num_additional_image_tokens = 14, 1
    processor.vision_feature_select_strategy = "default"
    model = build(shape)
    model.config.image_token_id = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
    return load((model, processor))


def library(lvlm: Lvlm, size: int, share: bool) -> Callable[[Sequence[Cell]], Answered]:
    """What `evaluate` runs: batches of the cells, opened and answered."""

    def run(asked: Sequence[Cell]) -> Answered:
        batches = list(make_batches(asked, set(), size=size, share=share))
        module, opened = AnswerModule(lvlm, batches, size), OpenedBatches(batches)
        records = [record for n in range(len(batches)) for record in module.predict_step(opened[n])]
        return {record["key"]: record["answer"] for record in records}

    return run


def tasks_of(asked: Sequence[Cell]) -> list[Task]:
    """All questions."""
    return [Task(cell, sample) for cell in asked for sample in cell.benchmark.samples()]


def measure(
    lvlm: Lvlm, asked: list[Cell], plan: Plan, seconds: float, *, every_way: bool = True
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Questions a second of each way, turn by turn, and how many answers differ from the first."""
    few = tasks_of(asked)
    few = random.Random(0).sample(few, min(plan.plain, len(few)))
    prompts = {t.key: lvlm.adapter.render(t.sample.prompt, 1) for t in few}

    def one_by_one(count: int | None = None) -> Answered:
        found = {}
        for task in few[:count]:
            pictures = [open_image(path) for path in task.sample.images]
            answer = lvlm.generate(
                pictures,
                task.sample.prompt,
                interventions=task.cell.interventions,
                max_new_tokens=TOKENS,
            )
            found[task.key] = answer.text
        return found

    ways: dict[str, Callable[[], Answered]] = {PLAIN: one_by_one}
    if every_way and version():
        loop = lmms_loop(lvlm, TOKENS)
        ways[LMMS] = lambda: dict(
            zip(
                [task.key for task in few],
                loop([(task.sample.images[0], prompts[task.key]) for task in few]),
                strict=True,
            )
        )
    if every_way:
        ways[f"batches of {BATCH}"] = lambda: library(lvlm, BATCH, share=False)(
            asked if plan.plain >= len(tasks_of(asked)) else asked[:1]
        )
    for size in (BATCH, 18) if every_way else (18,):
        ways[f"{SHARED}, {size} at once"] = lambda size=size: library(lvlm, size, share=True)(asked)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    differ = dict.fromkeys(ways, 0)
    first: Answered = {}
    one_by_one(1)  # the first call sets things up
    for done in within(seconds, plan.rounds):
        others = [name for name in ways if name != PLAIN]
        for name in [PLAIN, *random.Random(done).sample(others, len(others))]:
            started = time.perf_counter()
            found = ways[name]()
            rates[name].append(len(found) / (time.perf_counter() - started))
            first = first or found
            differ[name] = sum(
                text.strip() != first[key].strip() for key, text in found.items() if key in first
            )
    return rates, differ


def shared_under_edits(name: str, lvlm: Lvlm, world: Path, plan: Plan, result: Result) -> Sheet:
    """One turn of each method in :data:`EDITS`, against its own plain loop."""
    rows, way = [], f"{SHARED}, 18 at once"
    for title, edit in EDITS.items():
        asked = cells(world, plan.images, edit)
        rates, differ = measure(lvlm, asked, replace(plan, rounds=1), 0.0, every_way=False)
        ratio = Spread.of([rates[way][0] / rates[PLAIN][0]])
        rows.append(
            [
                title,
                f"{rates[PLAIN][0]:.2f}",
                f"{rates[way][0]:.2f}",
                ratio.text(2),
                str(differ[way]),
            ]
        )
        if name == "200M":
            claim = f"shared images, 18 questions, {title}, to one by one (200M)"
            result.claims.append(Claim(claim, 5.0, ratio, True, 2))
    head = ["", "one by one, questions/s", "shared", "ratio", "answers that differ"]
    return Sheet(f"{name}: shared images under methods", head, rows, "One turn each.")


def main() -> None:
    """Measure and report."""
    began, options = time.perf_counter(), arguments(__doc__)
    logging.getLogger("lmms_eval").setLevel(logging.ERROR)
    installed = version()
    beside = (
        f"lmms-eval {installed}: its `LlavaHf.generate_until`, around the same loaded model."
        if installed
        else "lmms-eval is not installed here, so its loop is left out."
    )
    result = Result(
        "throughput",
        "Questions a second",
        "POPE of the scene world, 18 questions an image over its three splits, two tokens an "
        f"answer. {beside} Ratios are to the turn of the plain loop next to it. Ways without "
        "sharing answer a part of the questions where the model is slow; their rate does not "
        "depend on how many.",
    )
    plans = SMALL_PLANS if options.small else PLANS
    with tempfile.TemporaryDirectory() as folder:
        most = max(plan.images for plan in plans.values())
        world = write_world(Path(folder) / "world", images=most, seed=0, shifted=False)
        for name, plan in plans.items():
            shape = SMALL if options.small else SHAPES.get(name)
            lvlm = llava_of(shape) if shape else load(name)
            asked = cells(Path(world), plan.images)
            rates, differ = measure(lvlm, asked, plan, options.seconds / len(plans))
            ratios = {
                way: [rate / plain for rate, plain in zip(found, rates[PLAIN], strict=True)]
                for way, found in rates.items()
            }
            prompt = lvlm.adapter.encode(
                [[open_image(asked[0].benchmark.samples()[0].images[0])]],
                [asked[0].benchmark.samples()[0].prompt],
            )
            result.sheets.append(
                Sheet(
                    f"{name}: {prompt['input_ids'].shape[1]}-token prompts",
                    ["", "questions/s", "ratio to one by one", "answers that differ"],
                    [
                        [
                            way,
                            f"{Spread.of(rates[way]).median:.2f}",
                            Spread.of(ratios[way]).text(2),
                            str(differ[way]),
                        ]
                        for way in rates
                    ],
                    f"{len(rates[PLAIN])} turns.",
                )
            )
            if name in ("200M", "small"):
                result.sheets.append(shared_under_edits(name, lvlm, Path(world), plan, result))
            if name == "200M":
                best = Spread.of(ratios[f"{SHARED}, 18 at once"])
                result.claims.append(
                    Claim("shared images, 18 questions, to one by one (200M)", 5.0, best, True, 2)
                )
                if installed:
                    shared, theirs = rates[f"{SHARED}, 18 at once"], rates[LMMS]
                    beaten = [a / b for a, b in zip(shared, theirs, strict=True)]
                    result.claims.append(
                        Claim(
                            "shared images, 18 questions, to lmms-eval's loop (200M)",
                            5.0,
                            Spread.of(beaten),
                            True,
                            2,
                        )
                    )
    finish(result, options, began)


if __name__ == "__main__":
    main()
