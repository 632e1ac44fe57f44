"""Figures from records, compared with counting by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest
from rich.console import Console

from lvlmsal.benchmarks.chair.metric import ChairMetric
from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.errors import DataError
from lvlmsal.evaluation.report.run_tables import markdown_tables, terminal_tables
from lvlmsal.evaluation.results.scoring import score_records


def record(
    sample: int,
    answer: str | None,
    target: Any,
    *,
    method: str = "greedy",
    group: str = "",
    **more: Any,
) -> dict[str, Any]:
    return {
        "key": f"{method}/{sample}",
        "model": "m",
        "method": method,
        "benchmark": "pope",
        "sample_id": str(sample),
        "group": group or str(sample),
        "answer": answer,
        "target": target,
        "status": "ok" if answer is not None else "failed",
        "new_tokens": 2,
        "seconds": 0.5,
        **more,
    }


def cell(results: dict[str, Any], method: str) -> dict[str, Any]:
    (found,) = [c for c in results["cells"] if c["method"] == method]
    return found


def scored(records: list[dict[str, Any]], metric: Any = None, **options: Any) -> dict[str, Any]:
    options = {"baseline": "greedy", "samples": 200, **options}
    return score_records(records, {"pope": metric or PopeMetric()}, **options)


def test_figures_and_speed() -> None:
    answers = [("Yes", "yes"), ("No", "yes"), ("No.", "no"), ("Hm", "no")]
    found = cell(scored([record(i, a, t) for i, (a, t) in enumerate(answers)]), "greedy")
    assert found["n"] == 4
    assert found["tokens_per_second"] == 4.0
    values = {name: entry["value"] for name, entry in found["figures"].items()}
    assert values["accuracy"] == 0.5
    assert values["recall"] == 0.5
    assert values["unparsed"] == 1
    assert found["figures"]["accuracy"]["interval"] == "wilson"
    assert found["figures"]["f1"]["interval"] == "bootstrap"
    assert found["figures"]["accuracy"]["low"] < 0.5 < found["figures"]["accuracy"]["high"]
    assert found["changed"] is None
    assert found["figures"]["accuracy"]["difference"] is None


def test_answers_on_one_image_are_not_independent() -> None:
    """Six times the same answer to each image tells no more than one answer to each image."""
    right = [True, False, True, True, False, True, False, True, True, True] * 4

    def accuracy(copies: int) -> dict[str, Any]:
        records = [
            record(10 * i + k, "yes" if good else "no", "yes", group=str(i))
            for i, good in enumerate(right)
            for k in range(copies)
        ]
        entry = cell(scored(records, samples=2000), "greedy")["figures"]["accuracy"]
        return entry

    once, often = accuracy(1), accuracy(6)
    assert often["interval"] == "bootstrap"
    width = often["high"] - often["low"]
    assert width == pytest.approx(once["high"] - once["low"], rel=0.15)


def test_a_figure_of_zero_or_one_still_has_an_interval() -> None:
    records = [record(2 * i + k, "yes", "yes", group=str(i)) for i in range(10) for k in range(2)]
    entry = cell(scored(records), "greedy")["figures"]["accuracy"]
    assert entry["value"] == entry["high"] == 1.0
    assert entry["interval"] == "wilson over groups"
    assert entry["low"] == pytest.approx(0.7225, abs=1e-3)


def test_a_failed_sample_is_in_every_figure() -> None:
    base = [record(i, "no", "yes") for i in range(4)]
    other = [record(i, "yes" if i < 2 else "no", "yes", method="x") for i in range(3)]
    other.append(record(3, None, "yes", method="x"))
    results = scored([*base, *other])
    found = cell(results, "x")
    assert (found["n"], found["failed"], found["changed"]) == (4, 1, 2)
    values = {name: entry["value"] for name, entry in found["figures"].items()}
    # yes, yes, no and a failure, where yes is right every time
    expected = {"accuracy": 2 / 4, "recall": 2 / 4, "precision": 1, "f1": 4 / 6, "unparsed": 1}
    assert values == pytest.approx({**expected, "yes_ratio": 2 / 4, "n": 4})
    assert found["figures"]["accuracy"]["difference"]["value"] == pytest.approx(2 / 4)
    assert any("1 sample failed and counted as wrong" in w for w in results["warnings"])


@pytest.mark.parametrize("parser", ["strict", "pope-official", "llava", "vcd", "lmms-eval"])
def test_a_failure_is_wrong_under_every_rule(parser: str) -> None:
    counts = PopeMetric(parser=parser).failed_rows(["yes", "no"])
    assert counts.tolist() == [[1, 0, 0, 0, 1, 1], [1, 0, 0, 0, 0, 1]]
    assert PopeMetric(parser=parser).failed_rows([]).shape == (0, 6)


def test_an_image_without_a_caption_adds_nothing_and_is_told() -> None:
    records = [record(0, "A dog and a cat.", ["dog"]), record(1, None, ["dog", "bus"])]
    results = scored(records, ChairMetric())
    found = cell(results, "greedy")
    assert (found["n"], found["failed"]) == (2, 1)
    values = {name: entry["value"] for name, entry in found["figures"].items()}
    assert (values["chair_s"], values["chair_i"], values["recall"]) == (1, 0.5, 1)
    assert any("1 sample failed and added nothing" in w for w in results["warnings"])


def test_a_cell_in_which_everything_failed_has_figures() -> None:
    found = cell(scored([record(i, None, "yes") for i in range(3)]), "greedy")
    assert (found["n"], found["failed"], found["tokens_per_second"]) == (3, 3, 4.0)
    assert found["figures"]["accuracy"]["value"] == 0


def test_a_method_that_changes_nothing_is_told() -> None:
    base = [record(i, "no", "yes") for i in range(4)]
    same = [{**r, "method": "x"} for r in base]
    results = scored([*base, *same])
    assert results["warnings"] == ["m with x on pope: no answer differs from 'greedy'"]
    difference = cell(results, "x")["figures"]["accuracy"]["difference"]
    assert difference == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_order_of_records_does_not_matter() -> None:
    rng = random.Random(0)
    records = [
        record(
            i, rng.choice(["yes", "no", "?"]), rng.choice(["yes", "no"]), method=m, group=str(i % 7)
        )
        for m in ("greedy", "x")
        for i in range(40)
    ]
    first = scored(records)
    ordered = [r for m in ("greedy", "x") for r in rng.sample(records, 80) if r["method"] == m]
    assert scored(ordered) == first
    assert scored(records, seed=1) != first


def test_undefined_figures_are_null_and_said_to_be_undefined() -> None:
    results = score_records(
        [record(0, "nothing", [], benchmark="c")],
        {"c": ChairMetric()},
        baseline="greedy",
        samples=100,
    )
    entry = cell(results, "greedy")["figures"]["chair_i"]
    assert (entry["value"], entry["low"], entry["high"]) == (None, None, None)
    assert "undefined" in markdown_tables(results)


def test_strange_records_are_refused() -> None:
    with pytest.raises(DataError, match="'elsewhere'"):
        scored([record(0, "yes", "yes", benchmark="elsewhere")])
    with pytest.raises(DataError, match="greedy"):
        scored([record(0, "yes", "perhaps")])


def test_the_table_shows_differences_and_escapes_names() -> None:
    base = [record(i, "no", "yes") for i in range(30)]
    other = [record(i, "yes", "yes", method="a|b <i>") for i in range(30)]
    text = markdown_tables(scored([*base, *other]))
    (row,) = [line for line in text.splitlines() if "a\\|b &lt;i&gt;" in line and "|" in line[:1]]
    assert "100.0 [" in row
    assert "+100.0 [+100.0, +100.0]" in row
    assert "<i>" not in text


@pytest.mark.parametrize(("width", "tables"), [(60, 2), (80, 2), (120, 1), (200, 1)])
def test_differences_stand_beside_what_they_are_against(width: int, tables: int) -> None:
    base = [record(i, "no", "yes") for i in range(4)]
    other = [record(i, "yes" if i < 2 else "no", "yes", method="with a name") for i in range(4)]
    console = Console(width=width)
    with console.capture() as capture:
        console.print(terminal_tables(scored([*base, *other]), width=width))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    line = next(line for line in lines if "│ against" in line)
    assert "Δ +50.0" in line
    # what does not fit stands in tables below; no word is broken, nor an interval
    assert sum("│ against" in line for line in lines) == tables
    assert all(line.count("[") == line.count("]") for line in lines)
    for title in ("accuracy", "F1", "yes ratio", "unparsed", "tokens/s"):
        assert sum(title in line for line in lines) == 1
    assert not any("…" in line for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "by the rule: strict." in text
