"""A metric of a user's own in a run: answered with it, or added when all answers are there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.comparisons.comparing import compare
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation import Result, evaluate, score
from lvlmsal.evaluation.results.records import TIMINGS
from lvlmsal.evaluation.results.schema import Results
from lvlmsal.evaluation.run.dry import dry_run
from tests.own_metrics import plugin
from tests.unit.evaluation.typed import misfits

__all__ = ["plugin"]

pytestmark = pytest.mark.slow

METRICS = "benchmarks.*.metrics=[words, {name: words, label: long, letters: 4}, ends]"


def mean_words(result: Result, method: str, benchmark: str, letters: int = 1) -> float:
    """Counted from the records, without the metric."""
    own = [r for r in result.records() if (r["method"], r["benchmark"]) == (method, benchmark)]
    counts = [len([w for w in str(r["answer"]).split() if len(w) >= letters]) for r in own]
    return sum(counts) / len(counts)


def own_figures(result: Result) -> list[Any]:
    """The cells without what a further metric adds."""
    found = []
    for cell in json.loads(json.dumps(result.results["cells"])):
        added = {name for each in cell.pop("metrics", []) for name in each["figures"]}
        cell["figures"] = {k: v for k, v in cell["figures"].items() if k not in added}
        found.append(cell)
    return found


def check(result: Result) -> None:
    """The figures of the further metrics are right wherever they stand."""
    for method in ("greedy", "sgrs"):
        for benchmark in ("pope/random", "chair"):
            for figure, letters in (("words", 1), ("long", 4)):
                expected = mean_words(result, method, benchmark, letters)
                found = result.value("tiny", method, benchmark, figure)
                assert found == pytest.approx(expected)
    results = json.loads((result.folder / "results.json").read_text())
    assert misfits(results, Results) == []
    shown = f"{mean_words(result, 'greedy', 'chair'):.1f}["
    for name in ("results.md", "report.html"):
        text = re.sub(r"<[^>]*>|\s+(?=\[)", "", (result.folder / name).read_text())
        for words in ("words an answer", "long words an answer", "ends.ended", shown):
            assert words in text, name


def test_a_finished_run_takes_a_new_metric_without_a_model(
    copied: Path, finished: Result, plugin: str
) -> None:
    records = (copied / "records.jsonl").read_bytes()
    result = score(copied, [METRICS, f"plugins=[{plugin}]"])
    check(result)
    assert own_figures(result) == own_figures(finished)
    assert (copied / "records.jsonl").read_bytes() == records
    # the run keeps it
    assert score(copied).results == result.results
    # with a baseline, there are differences
    result = score(copied, ["baseline=greedy"])
    figure = result.cell("tiny", "sgrs", "chair")["figures"]["words"]
    means = [mean_words(result, method, "chair") for method in ("sgrs", "greedy")]
    assert figure["difference"] is not None
    assert figure["difference"]["value"] == pytest.approx(means[0] - means[1])


def test_the_same_by_the_config_asks_the_model_nothing(
    copied: Path, config: dict[str, Any], finished: Result, plugin: str
) -> None:
    class Silent:
        """A model that answers nothing."""

    more = [METRICS, f"plugins=[{plugin}]"]
    result = evaluate(config, more, models={"tiny": Silent()})
    check(result)
    assert own_figures(result) == own_figures(finished)
    # and back
    assert evaluate(config, models={"tiny": Silent()}).results == finished.results


def test_a_run_that_is_begun_with_it_answers_alike(
    config: dict[str, Any], finished: Result, answer: Callable[..., Result], plugin: str
) -> None:
    result = answer(config, METRICS, f"plugins=[{plugin}]")
    check(result)
    for mine, theirs in zip(result.records(), finished.records(), strict=True):
        for key in mine.keys() - TIMINGS:
            assert mine[key] == theirs[key]


def test_only_what_changes_no_answer_can_be_set(
    copied: Path, run: Callable[..., tuple[int, str, str]], plugin: str
) -> None:
    before = (copied / "config.yaml").read_bytes()
    code, _, err = run("score", copied, "methods.sgrs.decoder.layers=[0]")
    assert code == 2
    assert "what would change its answers" in err
    assert "methods[sgrs].decoder.layers: the run has [1], the config [0]" in err
    code, _, err = run("score", copied, f"plugins=[{plugin}]", "benchmarks.*.metrics=[wrods]")
    assert code == 2
    assert "unknown metric 'wrods'. Did you mean 'words'?" in err
    code, _, err = run("score", copied, "benchmarks.chair.metrics=[pope]")
    assert code == 2
    assert "records of chair by tiny with greedy under the metric 'pope': " in err
    assert (copied / "config.yaml").read_bytes() == before
    code, out, _ = run("score", copied, f"plugins=[{plugin}]", "benchmarks.*.metrics=[words]")
    assert code == 0
    assert "words an answer" in out


def test_runs_with_and_without_it_are_compared(
    copied: Path, finished: Result, plugin: str, tmp_path: Path
) -> None:
    score(copied, [METRICS, f"plugins=[{plugin}]"])
    both = [finished.folder, copied]
    found = compare(both, methods=["greedy"], benchmarks=["chair"])
    (block,) = found.blocks
    assert [column.figure for column in block.columns][-4:] == ["words", "long", *ENDS]
    (pair,) = block.pairs
    assert "words" not in pair.found["differences"]
    for form in ("md", "latex", "csv", "html", "json"):
        assert "words" in found.write(form)
    assert "words an answer" in found.write("latex", "paper")
    assert "words.value" in found.write("csv", "wide")
    only = compare(both, methods=["greedy"], benchmarks=["chair"], figures=["words"])
    assert [column.figure for column in only.blocks[0].columns] == ["words"]
    # two runs that have it are compared under it, unless it means something else
    third = tmp_path / "third"
    third.mkdir()
    for name in ("config.yaml", "environment.json", "records.jsonl"):
        (third / name).write_bytes((copied / name).read_bytes())
    (pair,) = compare([copied, third], methods=["greedy"], benchmarks=["chair"]).blocks[0].pairs
    assert pair.found["differences"]["words"]["value"] == 0
    score(third, ["benchmarks.*.metrics=[{name: words, letters: 2}]"])
    with pytest.raises(ConfigError, match=r"words: words\(letters=2\)"):
        compare([copied, third], methods=["greedy"], benchmarks=["chair"])
    allowed = compare([copied, third], methods=["greedy"], allow=["metrics"])
    assert all("words" not in p.found["differences"] for b in allowed.blocks for p in b.pairs)


ENDS = ("ends.ended", "ends.n")


def test_a_dry_run_counts_with_it(config: dict[str, Any], plugin: str) -> None:
    more = [METRICS, f"plugins=[{plugin}]"]
    assert len(dry_run(config, more).tried) == 4
    config["benchmarks"][1]["metrics"] = ["pope"]
    with pytest.raises(ConfigError, match="metric 'pope' cannot count answers to 'chair'"):
        dry_run(config)
