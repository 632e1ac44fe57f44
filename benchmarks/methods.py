"""What each registered method costs per generated token, against stock `generate` with sdpa.

    python benchmarks/methods.py            # 50 M parameters, a 600-token prompt, float32
    python benchmarks/methods.py --small    # does it run?

Every registered intervention under greedy search, and every registered decoder, with the options
that they have by default. Everything runs in one process on the same random weights, in turn, each
turn next to one of stock `generate`. The prompt is run by each method as it runs prompts, and left
out of the cost of a token.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.clock import STOCK, Clock, Method, Series, Timing, in_turn
from support.models import SHAPES, SMALL, Shape, decoder_parameters, question, with_processor
from support.results import Result, Sheet, Spread, arguments, finish
from torch import Tensor
from transformers import PreTrainedModel

import lvlmsal
from lvlmsal.errors import LvlmsalError
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.registry import DECODERS, INTERVENTIONS, Registry
from lvlmsal.testing.drawn import drawn_images

INTERVENED, DECODED = "interventions under greedy search", "decoders"
COLUMNS = ["", "passes/token", "ms/token", "ratio to generate", "passes of the prompt", "prompt"]


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        shape: of the model.
        tokens: behind the first one.
        rounds: at most.
    """

    shape: Shape
    tokens: int
    rounds: int


PLAN, SMALL_PLAN = Plan(SHAPES["50M"], 20, 7), Plan(SMALL, 3, 1)


class Passes:
    """Counts the forward passes that a model begins."""

    count = 0

    def __call__(self, *_: object) -> None:
        """One pass."""
        self.count += 1


@contextmanager
def counted(model: PreTrainedModel) -> Iterator[Passes]:
    """Count the passes of a block, those of second streams and of looks ahead included."""
    passes = Passes()
    handle = model.register_forward_pre_hook(passes)
    try:
        yield passes
    finally:
        handle.remove()


def answer(
    lvlm: Lvlm, inputs: dict[str, Any], method: Method, length: int, clock: Clock | None = None
) -> list[int]:
    """The tokens of one answer of that many."""
    options: dict[str, Any] = {"do_sample": False, "streamer": clock}
    if method.decoder is not None:
        options = method.decoder.bind(lvlm.adapter).generate_kwargs()
    edits, generative = method.interventions, lvlm.model
    # raw images are drawn from the pixels, of which alone this prompt is made
    with drawn_images(), lvlmsal.intervene(lvlm.adapter, *edits) if edits else nullcontext():
        output = generative.generate(**inputs, **options, max_new_tokens=length)
    ids = output if isinstance(output, Tensor) else output.sequences
    return ids[0, inputs["input_ids"].shape[1] :].tolist()


def timed(lvlm: Lvlm, inputs: dict[str, Any], method: Method, tokens: int) -> Timing:
    """One turn: of ``generate`` as it is, and of a method under it, token by token.

    Searches with loops of their own give their tokens at the end or in blocks. They answer twice,
    with one token and with more: what the second answer takes longer, its further tokens cost.
    """
    clock, began = Clock(), time.perf_counter()
    found = answer(lvlm, inputs, method, tokens + 1, clock)
    ended = time.perf_counter()
    if len(found) != tokens + 1:
        raise SystemExit(f"{method.name} ended its answer by itself: {len(found)} tokens")
    if method.decoder is None:
        _, first, *_, last = clock.times
        return Timing((last - first) / tokens, found, first=first - began)
    answer(lvlm, inputs, method, 1)
    first = time.perf_counter() - ended
    return Timing((ended - began - first) / tokens, found, first=first)


def passes_of(lvlm: Lvlm, inputs: dict[str, Any], method: Method, tokens: int) -> tuple[int, float]:
    """Passes until the first token, and passes for each further one."""
    counts = []
    for length in (1, tokens + 1):
        with counted(lvlm.model) as passes:
            answer(lvlm, inputs, method, length)
        counts.append(passes.count)
    return counts[0], (counts[1] - counts[0]) / tokens


@dataclass
class Notes:
    """What is not as it is by default.

    Attributes:
        left_out: What was not measured, and why.
        strong: What refuses the model by default, and the options that it ran with.
    """

    left_out: dict[str, str] = field(default_factory=dict)
    strong: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Sentences; none where there is nothing to say."""
        text = "".join(
            f" `{name}` refuses this model by default and ran with {options}."
            for name, options in sorted(self.strong.items())
        )
        if self.left_out:
            reasons = (f"`{name}` ({reason})" for name, reason in sorted(self.left_out.items()))
            text += f" Left out: {'; '.join(reasons)}."
        return text


def methods_of(registry: Registry[Any], name: str, notes: Notes) -> list[Method]:
    """A registered name with its defaults, then with the options that the test kit knows of."""
    found = []
    for options in ({}, getattr(registry.get(name), "strong", {})):
        try:
            part = registry.build(name, **options)
        except LvlmsalError as error:
            notes.left_out[name] = str(error)
            continue
        is_decoder = registry is DECODERS
        found.append(Method(name, (), part) if is_decoder else Method(name, (part,)))
    return found


def tried(
    lvlm: Lvlm, inputs: dict[str, Any], registry: Registry[Any], tokens: int, notes: Notes
) -> tuple[list[Method], dict[str, tuple[int, float]]]:
    """What runs on this model, and its passes; the first calls set things up, too."""
    methods, passes = [], {}
    for name in registry:
        for place, method in enumerate(methods_of(registry, name, notes)):
            try:
                passes[name] = passes_of(lvlm, inputs, method, tokens)
            except LvlmsalError as error:
                notes.left_out[name] = str(error)
                continue
            methods.append(method)
            notes.left_out.pop(name, None)
            if place:
                strong = registry.get(name).strong.items()
                notes.strong[name] = ", ".join(f"{key}={value!r}" for key, value in strong)
            break
    return methods, passes


def rows(passes: dict[str, tuple[int, float]], found: dict[str, Series]) -> list[list[str]]:
    """The lines of a table."""
    lines = []
    for name, (once, each) in passes.items():
        series = found[name]
        per_token = Spread.of([1000 * timing.per_token for timing in series.timings])
        ratios = [Spread.of(of).text(2) for of in (series.ratios, series.firsts or [1.0])]
        token, first = ("1", "1") if name == STOCK else ratios
        lines.append([name, f"{each:.2f}", f"{per_token.median:.1f}", token, str(once), first])
    return lines


def buildable(name: str) -> dict[str, Any]:
    """A method with its defaults, or with those options of the test kit that it must be given."""
    missing = INTERVENTIONS.problems(name, {})
    return {"name": name, **(INTERVENTIONS.get(name).strong if missing else {})}


def second_streams(images: int) -> Sheet:
    """Passes a token of the methods with a second stream on the shipped models, which are trained.

    Args:
        images: of the scene world, one description and one answer of each.
    """
    names = [name for name in INTERVENTIONS if INTERVENTIONS.get(name).has_second_stream]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        world = write_world(Path(folder, "world"), images=images, seed=5, shifted=True)
        scenes = sorted((world / "images").glob("*.png"))
        for model in ("pocket-llava", "pocket-qwen2vl"):
            lvlm = lvlmsal.load(model)
            for name in names:
                cells = []
                for prompt in ("Please describe this image in detail.", "Is there a star?"):
                    try:
                        answers = [
                            lvlm.generate(scene, prompt, interventions=[buildable(name)])
                            for scene in scenes
                        ]
                    except LvlmsalError:  # it is not for this family
                        cells.append("refused")
                        continue
                    tokens = sum(len(answer.token_ids) for answer in answers)
                    cells.append(f"{sum(answer.forwards for answer in answers) / tokens:.2f}")
                lines.append([f"{model}, {name}", *cells])
    note = (
        f"{images} images, one question at a time; in a batch a row that wants it runs it for all."
    )
    columns = ["", "passes/token, descriptions", "passes/token, yes-no answers"]
    return Sheet("second streams on trained models", columns, lines, note)


def main() -> None:
    """Measure and report."""
    began, options = time.perf_counter(), arguments(__doc__)
    plan = SMALL_PLAN if options.small else PLAN
    lvlm = with_processor(plan.shape)
    inputs = question(lvlm, plan.shape)
    notes, sheets = Notes(), []
    stock = passes_of(lvlm, inputs, Method(STOCK), plan.tokens)
    kinds = {INTERVENED: INTERVENTIONS, DECODED: DECODERS}
    for place, (title, registry) in enumerate(kinds.items()):
        methods, passes = tried(lvlm, inputs, registry, plan.tokens, notes)
        left = options.seconds - (time.perf_counter() - began)
        found = in_turn(
            methods,
            lambda method: timed(lvlm, inputs, method, plan.tokens),
            rounds=plan.rounds,
            seconds=left / (len(kinds) - place),
        )
        turns = max(len(series.ratios) for series in found.values())
        note = f"{turns} turn(s) of {plan.tokens} tokens."
        sheets.append(Sheet(title, COLUMNS, rows({STOCK: stock, **passes}, found), note))
    sheets.append(second_streams(1 if options.small else 12))
    size = decoder_parameters(lvlm.model) / 1e6
    text = (
        f"All methods with their default options on {size:.0f} M parameters with random weights, "
        f"{inputs['input_ids'].shape[1]} tokens of prompt of which {plan.shape.patches**2} are "
        "the image's, one prompt at a time. 'prompt' is the time to the first token, as a ratio "
        "too. A pass of beam search runs all beams of a sample, so that it is dearer than one of "
        "greedy search. Rejections and rollbacks cost what random weights happen to call for. "
        "Second streams wait where their logits cannot matter, which a model that is unsure of "
        "every token never lets them: 2 passes a token is the most, trained models take fewer. "
        "`none` and `greedy` are stock `generate` once more: they show how sure the ratios are."
        f"{notes.text()}"
    )
    finish(Result("methods", "Cost of each method", text, sheets=sheets), options, began)


if __name__ == "__main__":
    main()
