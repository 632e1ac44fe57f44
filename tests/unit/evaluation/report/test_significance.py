"""What a report opens with: the differences whose intervals exclude 0, and no others."""

from __future__ import annotations

from typing import Any

from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.evaluation.report.significance import significance_table
from lvlmsal.evaluation.report.warnings import merged_warnings
from lvlmsal.evaluation.results.scoring import score_records

SHOWN = {"accuracy": "accuracy ↑ %", "f1": "F1 ↑ %", "yes_ratio": "yes ratio %"}
"""Figures of POPE that tables show with a difference."""


def results(**answers: str) -> Any:
    """A scored run: a letter a sample and method, y or n; the truth is yes for every second one."""
    records: list[Any] = [
        {
            "key": f"{method}/{sample}",
            "model": "m",
            "method": method,
            "benchmark": "pope",
            "sample_id": str(sample),
            "group": str(sample),
            "answer": {"y": "Yes", "n": "No"}[letter],
            "target": "no" if sample % 2 else "yes",
            "status": "ok",
            "new_tokens": 1,
            "seconds": 0.1,
        }
        for method, letters in answers.items()
        for sample, letter in enumerate(letters)
    ]
    return score_records(records, {"pope": PopeMetric()}, baseline="greedy", samples=200)


def test_the_rows_are_the_differences_whose_interval_excludes_zero() -> None:
    # greedy is right in 20 of 40, "good" in all, "bad" in none, "same" where greedy is
    found = results(greedy="yynn" * 10, good="yn" * 20, bad="ny" * 20, same="yynn" * 10)
    wanted = []
    for entry in found["cells"]:
        for figure, title in SHOWN.items():
            bounds = entry["figures"][figure]["difference"]
            if bounds and (bounds["low"] > 0 or bounds["high"] < 0):
                value = f"{100 * bounds['value']:+.1f}"
                interval = f"[{100 * bounds['low']:+.1f}, {100 * bounds['high']:+.1f}]"
                p = f"{entry['mcnemar']['p_value']:.2g}" if figure == "accuracy" else "-"
                wanted.append((entry["method"], title, value, interval, p))
    table = significance_table(found)
    shown = [
        (row.cells[1].text, row.cells[2].text, *row.cells[3].parts, row.cells[-1].text)
        for row in table.rows
    ]
    assert sorted(shown) == sorted(wanted)
    # half of the answers became right, half of them wrong: by hand
    assert ("good", "accuracy ↑ %", "+50.0") in [each[:3] for each in shown]
    assert ("bad", "accuracy ↑ %", "-50.0") in [each[:3] for each in shown]
    assert "same" not in {each[0] for each in shown}
    verdicts = [row.cells[0].text for row in table.rows]
    assert verdicts == sorted(verdicts, key=["better", "worse", "different"].index)
    assert dict(zip([each[0] for each in shown], verdicts, strict=True)) == {
        "good": "better",
        "bad": "worse",
    }
    assert table.title == f"{len(wanted)} of 9 differences to 'greedy' are significant"
    # of the nine, those of "same" cannot differ
    assert "of the 6 differences where answers changed" in table.notes[0]


def test_it_says_plainly_that_nothing_is_significant() -> None:
    one_more = significance_table(results(greedy="yynn" * 10, other="ynnn" + "yynn" * 9))
    assert one_more.rows == []
    assert one_more.title == "None of 3 differences to 'greedy' is significant"
    same = significance_table(results(greedy="yn", other="yn"))
    assert "No method changed an answer" in same.notes[1]
    alone = significance_table(results(greedy="yn"))
    assert (alone.title, alone.notes) == ("No row of this run is compared with a control", [])


def test_equal_warnings_stand_once_with_what_they_are_about() -> None:
    found = results(greedy="yn", b="yn", c="yn")
    found["warnings"] = [
        "m with b on pope: no answer differs from 'greedy'",
        "pope: about the whole run",
        "m with c on pope (seed 1, 2): no answer differs from 'greedy'",
        "m with b: the run has no twin: add it",
        "pope: about the whole run",
    ]
    merged = merged_warnings(found)
    assert [(each.text, each.count, each.places) for each in merged] == [
        (
            "no answer differs from 'greedy'",
            2,
            ["m with b on pope", "m with c on pope (seed 1, 2)"],
        ),
        ("pope: about the whole run", 2, []),
        ("the run has no twin: add it", 1, ["m with b"]),
    ]
