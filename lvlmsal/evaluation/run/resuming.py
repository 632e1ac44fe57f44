"""What earlier runs have left to do, put together so that it is answered as they would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvlmsal.errors import DataError
from lvlmsal.evaluation.config.plan import Cell, Plan
from lvlmsal.evaluation.results.belonging import Wanted, check_belonging
from lvlmsal.evaluation.results.records import all_lines, all_records, part_files, read_records
from lvlmsal.evaluation.run.loading import Batch, make_batches


@dataclass(frozen=True)
class Known:
    """What the records of a run say.

    Attributes:
        done: Keys of the samples that are answered.
        again: Keys whose whole batch is answered again if any of it is missing: samples that
            failed, and the last record of each file, in whose batch a run was cut.
    """

    done: frozenset[str]
    again: frozenset[str]


def read_known(path: Path) -> Known:
    """What is answered, and where earlier runs were stopped.

    Args:
        path: The records file of the run; those of other processes lie next to it.
    """
    records = all_records(path)
    done = frozenset(key for key, record in records.items() if record["status"] == "ok")
    last = [found[-1]["key"] for file in (path, *part_files(path)) if (found := read_records(file))]
    return Known(done, frozenset([*(records.keys() - done), *last]))


def open_batches(cells: Sequence[Cell], known: Known, *, size: int, share: bool) -> list[Batch]:
    """The batches that are still to be answered.

    Samples are put together as if nothing were answered yet, so that a run that was stopped adds up
    the same numbers in the same order as one that was not. A batch that was stopped half-way is
    answered once more as a whole. Where a batch has answers for another reason (a benchmark was
    added that asks about the same images), only the rest is answered, in batches of its own.

    Args:
        cells: One model with one method on several benchmarks.
        known: What is answered.
        size: Samples in a batch.
        share: Whether model and method allow shared prefixes.
    """
    whole: list[Batch] = []
    rest: set[str] = set()
    everything = set()
    for batch in make_batches(cells, frozenset(), size=size, share=share):
        keys = {task.key for task in batch.tasks}
        everything |= keys
        missing = keys - known.done
        if missing and (missing == keys or keys & known.again):
            whole.append(batch)
        else:
            rest |= missing
    return [*whole, *make_batches(cells, everything - rest, size=size, share=share)]


def check_records(path: Path, plan: Plan, *, samples: bool = True) -> None:
    """Stop if a run holds answers that the plan does not ask for.

    Args:
        path: The records file of the run.
        plan: The plan.
        samples: Whether to look at the samples too. That is for later where the samples themselves
            may have changed, which is another error.

    Raises:
        DataError: It does; the message says whose answers, and where the first stands.
    """
    wanted = {}
    for cell in plan.cells:
        ids = {sample.id for sample in cell.benchmark.samples()}
        name = (cell.model.name, cell.method, cell.label, cell.seed)
        wanted[cell.digest] = Wanted(*name, len(ids), ids if samples else None)
    check_belonging(all_lines(path), wanted, "this config")


def check_failures(path: Path, plan: Plan, allowed: int) -> None:
    """Stop if more samples of a cell failed, in all processes together, than are allowed.

    Raises:
        DataError: They did; the message gives the reason of the first.
    """
    failed: dict[str, list[str]] = {}
    for key, record in all_records(path).items():
        if record["status"] != "ok":
            failed.setdefault(key.split("/", 1)[0], []).append(f"{key}: {record['error']}")
    for cell in plan.cells:
        found = failed.get(cell.digest, [])
        if len(found) > allowed:
            raise DataError(
                f"{cell.title}: {len(found)} samples failed, {allowed} are allowed by "
                f"max_failures. The first of them: {found[0]}"
            )
