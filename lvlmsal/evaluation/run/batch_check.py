"""Whether the batch size changes answers: a config answered at several sizes, token by token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lvlmsal.evaluation.config.plan import Cell, Plan, make_plan
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.config.trainer import make_trainer, quiet_lightning
from lvlmsal.evaluation.results.records import Record
from lvlmsal.evaluation.run.answering import AnswerModule
from lvlmsal.evaluation.run.evaluate import load_model
from lvlmsal.evaluation.run.loading import OpenedBatches, Task, make_batches, shown
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.model.shared_prefix import can_share
from lvlmsal.progress import Progress
from lvlmsal.tables.table import Head, Row, Table


@dataclass(frozen=True)
class Flip:
    """The first token at which a batch's answer leaves that of its sample alone.

    Attributes:
        sample: Label of the benchmark and id of the sample.
        position: Number of the token in the answer, from 0.
        alone: The token that the sample alone gave; empty where its answer had ended.
        batched: The token that it gave in a batch; likewise.
        margin: By how much the most likely token led the second one, in logits, alone; None where
            interventions or earlier random choices make that hard to say.
    """

    sample: str
    position: int
    alone: str
    batched: str
    margin: float | None


@dataclass(frozen=True)
class BatchCheck:
    """One model with one method at one batch size, next to each sample alone.

    Attributes:
        model: Name of the model.
        method: Name of the method.
        dtype: Of the model's weights.
        size: Batch size.
        samples: How many samples were answered.
        failed: How many of them could not be answered, alone or in a batch.
        answers: How many answers differ in at least one token.
        tokens: At how many positions tokens differ, those that only one answer has included.
        first: The first difference, in the order of the samples.
    """

    model: str
    method: str
    dtype: str
    size: int
    samples: int
    failed: int
    answers: int
    tokens: int
    first: Flip | None

    @property
    def is_wrong(self) -> bool:
        """Whether answers differ although the arithmetic is float32 or better."""
        return self.answers > 0 and self.dtype in ("float32", "float64")


def check_batches(
    cfg: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    sizes: Sequence[int],
    limit: int | None = None,
    models: Mapping[str, Any] | None = None,
) -> Iterator[BatchCheck]:
    """Answer the samples of a config one by one, and then in batches as `evaluate` makes them.

    Images are shared by the questions about them in the batches if the config says so, and never
    where samples are alone. Nothing is written but a scene world that the config asks for.

    Args:
        cfg: A config, as `lvlmsal.evaluate` takes it.
        overrides: Texts ``key=value``.
        sizes: The batch sizes.
        limit: Take at most this many groups (images) of each benchmark.
        models: Models that are already loaded, by name.

    Returns:
        An entry for each model, method (and seed) and size, as soon as it is there.

    Raises:
        ConfigError: The config is wrong.
        ValueError: A size is less than 1, or there is none.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"batch sizes must be at least 1, got {list(sizes)}")
    cut = [] if limit is None else [f"benchmarks.*.limit={limit}"]
    given = dict(models or {})
    with quiet_lightning():
        plan = make_plan(cfg, [*overrides, *cut], given=list(given))
        device = make_trainer(plan.config.trainer).strategy.root_device
    samples = sum(len(cell.benchmark.samples()) for cell in plan.cells)
    with Progress("answers", samples * (1 + len(sizes))) as progress:
        yield from _checked(plan, given, sizes, device, progress)


def _checked(
    plan: Plan,
    given: Mapping[str, Any],
    sizes: Sequence[int],
    device: torch.device,
    progress: Progress,
) -> Iterator[BatchCheck]:
    for model in plan.config.models:
        lvlm = load_model(model, given.get(model.name))
        cells = plan.of_model(model)
        for way in dict.fromkeys((cell.method, cell.seed) for cell in cells):
            mine = [cell for cell in cells if (cell.method, cell.seed) == way]
            share = plan.config.share_images and can_share(mine[0].decoder, mine[0].interventions)
            alone = _answers(lvlm, mine, 1, device, progress, share=False)
            for size in sizes:
                batched = _answers(lvlm, mine, size, device, progress, share=share)
                yield _compared(lvlm, mine, size, alone, batched)


def _answers(
    lvlm: Lvlm,
    cells: Sequence[Cell],
    size: int,
    device: torch.device,
    progress: Progress,
    *,
    share: bool,
) -> dict[str, Record]:
    batches = list(make_batches(cells, frozenset(), size=size, share=share))
    module = AnswerModule(lvlm, batches, size)
    module.to(device)
    opened = OpenedBatches(batches, lvlm.adapter.max_image_pixels)
    records: dict[str, Record] = {}
    for number, batch in enumerate(batches):
        records.update((record["key"], record) for record in module.predict_step(opened[number]))
        progress.advance(len(batch.tasks))
    return records


def _compared(
    lvlm: Lvlm,
    cells: Sequence[Cell],
    size: int,
    alone: Mapping[str, Record],
    batched: Mapping[str, Record],
) -> BatchCheck:
    tasks = [Task(cell, sample) for cell in cells for sample in cell.benchmark.samples()]
    answered = [t for t in tasks if alone[t.key]["status"] == batched[t.key]["status"] == "ok"]
    first, answers, tokens = None, 0, 0
    for task in answered:
        a, b = alone[task.key]["token_ids"], batched[task.key]["token_ids"]
        if a != b:
            first = first or _flip(lvlm, task, a, b)
            answers += 1
            tokens += sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
    return BatchCheck(
        model=cells[0].model.name,
        method=cells[0].method,
        dtype=str(lvlm.model.dtype).removeprefix("torch."),
        size=size,
        samples=len(tasks),
        failed=len(tasks) - len(answered),
        answers=answers,
        tokens=tokens,
        first=first,
    )


def _flip(lvlm: Lvlm, task: Task, alone: Sequence[int], batched: Sequence[int]) -> Flip:
    pairs = enumerate(zip(alone, batched, strict=False))
    position = next((i for i, (a, b) in pairs if a != b), min(len(alone), len(batched)))
    own, other = (
        lvlm.adapter.token_texts(ids[position : position + 1])[0] if position < len(ids) else ""
        for ids in (alone, batched)
    )
    margin = _margin(lvlm, task, alone[:position])
    return Flip(f"{task.cell.label}/{task.sample.id}", position, own, other, margin)


def _margin(lvlm: Lvlm, task: Task, before: Sequence[int]) -> float | None:
    """The lead of the most likely token over the second one, in logits."""
    if task.cell.interventions or task.cell.decoder.is_random:
        return None
    adapter = lvlm.adapter
    inputs = adapter.encode([shown(task.sample)], [task.sample.prompt])
    if before:
        ids = torch.tensor([list(before)], device=inputs["input_ids"].device)
        inputs = adapter.append(inputs, ids)
    with torch.no_grad():
        logits = adapter.model(**inputs).logits[0, -1].float()
    best, second = logits.topk(2).values.tolist()
    return float(best - second)


def checks_table(checks: Iterable[BatchCheck]) -> Table:
    """What was found.

    Args:
        checks: Of `check_batches`.
    """
    heads = [
        *(Head(title, words=True) for title in ("model", "method", "dtype")),
        *map(Head, ("batch size", "answers", "changed", "tokens")),
        Head("first difference", words=True),
    ]
    rows = [
        Row.of(
            [
                *(check.model, check.method, check.dtype, str(check.size)),
                f"{check.samples} ({check.failed} failed)" if check.failed else str(check.samples),
                *(str(check.answers), str(check.tokens)),
                flip_text(check.first) if check.first else "-",
            ]
        )
        for check in checks
    ]
    return Table("", heads, rows)


def flip_text(flip: Flip) -> str:
    """A difference in words.

    Example:
        >>> flip_text(Flip("chair/7", 3, " red", " blue", 1e-5))
        "chair/7, token 3: ' red' alone, ' blue' in the batch; margin 1e-05"
    """
    margin = "" if flip.margin is None else f"; margin {flip.margin:.2g}"
    return (
        f"{flip.sample}, token {flip.position}: {flip.alone!r} alone, "
        f"{flip.batched!r} in the batch{margin}"
    )
