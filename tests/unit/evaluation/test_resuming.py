"""What is left to do is put together as if the run had not been stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.benchmarks.base import Sample
from lvlmsal.errors import DataError
from lvlmsal.evaluation.config.plan import Cell, Plan
from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.run.loading import make_batches
from lvlmsal.evaluation.run.resuming import (
    Known,
    check_failures,
    check_records,
    open_batches,
    read_known,
)
from tests.unit.evaluation.given import cell_of


def cell(label: str, images: list[str]) -> Cell:
    samples = [
        Sample(str(n), (Path(image),), "?" * (n % 3), "yes", image)
        for n, image in enumerate(images)
    ]
    return cell_of(label, samples)


def record(cell: Cell, sample: str, status: str = "ok") -> dict[str, Any]:
    return {
        "key": cell.key(sample),
        "model": cell.model.name,
        "method": cell.method,
        "benchmark": cell.label,
        "sample_id": sample,
        "group": "",
        "images": [],
        "prompt": "",
        "target": None,
        "answer": "yes" if status == "ok" else None,
        "new_tokens": 1,
        "seconds": 0.5,
        "status": status,
        "error": "" if status == "ok" else f"{sample}.png: broken",
    }


def write(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


IMAGES = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1, max_size=12)


@given(IMAGES, st.integers(1, 4), st.booleans(), st.integers(0, 99), st.integers(0, 99))
def test_a_cut_run_is_answered_in_the_batches_of_a_whole_one(
    images: list[str], size: int, share: bool, after: int, within: int
) -> None:
    """Killed after some batches and in the middle of the next one."""
    cells = [cell("x", images)]
    whole = list(make_batches(cells, frozenset(), size=size, share=share))
    after %= len(whole) + 1
    cut = [] if after == len(whole) else [t.key for t in whole[after].tasks]
    written = [t.key for batch in whole[:after] for t in batch.tasks] + cut[
        : within % (len(cut) + 1)
    ]
    known = Known(frozenset(written), frozenset(written[-1:]))
    left = open_batches(cells, known, size=size, share=share)
    finished = after + (bool(cut) and set(cut) <= set(written))
    assert left == whole[finished:]


@given(IMAGES, st.sets(st.integers(0, 11)), st.sets(st.integers(0, 11)), st.integers(1, 4))
def test_everything_missing_is_asked_once_whatever_is_there(
    images: list[str], there: set[int], again: set[int], size: int
) -> None:
    cells = [cell("x", images)]
    keys = [cells[0].key(str(n)) for n in range(len(images))]
    done = {key for n, key in enumerate(keys) if n in there}
    known = Known(frozenset(done), frozenset(key for n, key in enumerate(keys) if n in again))
    asked = [t.key for b in open_batches(cells, known, size=size, share=True) for t in b.tasks]
    assert len(asked) == len(set(asked))
    assert set(keys) - done <= set(asked)
    assert not known.again or done >= set(asked) & done
    if not known.again:
        assert set(asked) == set(keys) - done


def test_an_added_benchmark_does_not_ask_what_was_answered() -> None:
    old, new = cell("old", ["a", "a", "b", "b"]), cell("new", ["a", "b", "b"])
    done = [old.key(str(n)) for n in range(4)]
    known = Known(frozenset(done), frozenset(done[-1:]))
    asked = [t.key for b in open_batches([old, new], known, size=2, share=True) for t in b.tasks]
    # new questions have joined the batch of the last record, which is asked as a whole
    assert set(asked) == {new.key(str(n)) for n in range(3)} | {old.key("2"), old.key("3")}


def test_what_is_known_comes_from_all_files(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    one = cell("x", ["a"] * 6)
    write(path, [record(one, "0"), record(one, "1", "failed"), record(one, "2")])
    write(tmp_path / "records.rank1.jsonl", [record(one, "3"), record(one, "4")])
    known = read_known(path)
    assert known.done == {one.key(n) for n in "0234"}
    assert known.again == {one.key(n) for n in "124"}
    assert read_known(tmp_path / "none.jsonl") == Known(frozenset(), frozenset())


def test_answers_of_unknown_cells_are_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    mine, other = cell("x", ["a"]), cell("y", ["a"])
    plan = Plan(RunConfig(), {}, (mine,))
    write(path, [record(mine, "0")])
    check_records(path, plan)
    write(path, [record(mine, "0"), record(other, "0"), record(other, "1")])
    with pytest.raises(DataError) as caught:
        check_records(path, plan)
    assert str(caught.value).startswith(f"{path}:2: this is the first of 2 answers that were given")
    assert "2 of tiny with greedy on y" in str(caught.value)
    assert "choose another folder with output=..." in str(caught.value)


@pytest.mark.parametrize("name", ["records.jsonl", "records.rank1.jsonl"])
def test_a_stray_record_in_a_known_cell_is_refused_with_its_place(
    name: str, tmp_path: Path
) -> None:
    mine = cell("x", ["a", "a"])
    plan = Plan(RunConfig(), {}, (mine,))
    write(tmp_path / name, [record(mine, "0"), record(mine, "7")])
    with pytest.raises(DataError) as caught:
        check_records(tmp_path / "records.jsonl", plan)
    problem = "is not a record of this run: x has no "
    assert str(caught.value).startswith(f"{tmp_path / name}:2: {problem}")
    assert "sample '7'" in str(caught.value)


@pytest.mark.parametrize("field", ["model", "method", "benchmark", "sample_id"])
def test_a_record_that_contradicts_its_key_is_refused(field: str, tmp_path: Path) -> None:
    path, mine = tmp_path / "records.jsonl", cell("x", ["a", "a"])
    write(path, [{**record(mine, "0"), field: "1"}])
    with pytest.raises(DataError, match=rf"jsonl:1: .*its {field} is '1', and its key belongs to"):
        check_records(path, Plan(RunConfig(), {}, (mine,)))


def test_failures_of_all_processes_are_counted_together(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    one, two = cell("x", ["a"] * 4), cell("y", ["a"])
    plan = Plan(RunConfig(), {}, (one, two))
    write(path, [record(one, "0", "failed"), record(two, "0", "failed")])
    check_failures(path, plan, 1)
    write(tmp_path / "records.rank1.jsonl", [record(one, "1", "failed")])
    with pytest.raises(DataError) as caught:
        check_failures(path, plan, 1)
    assert "tiny · greedy · x: 2 samples failed, 1 are allowed by max_failures" in str(caught.value)
    assert "png: broken" in str(caught.value)
