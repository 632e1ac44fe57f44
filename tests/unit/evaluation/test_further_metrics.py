"""Metrics next to a benchmark's own: their figures by hand, and configs that are refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.evaluation.config.plan import make_plan
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.report.entries import columns_of
from lvlmsal.evaluation.report.legend import legend
from lvlmsal.evaluation.report.run_tables import run_tables
from lvlmsal.evaluation.results.scoring import score_records
from lvlmsal.metrics.base import CountMetric
from lvlmsal.pocket.scenes.world import write_world
from tests.own_metrics import Ends, Words, plugin

__all__ = ["plugin"]


def record(method: str, sample: int, answer: str | None, seed: int = 0) -> dict[str, Any]:
    return {
        "key": f"{method}{seed}/{sample}",
        "model": "m",
        "method": method,
        "benchmark": "pope",
        "sample_id": str(sample),
        "group": str(sample),
        "answer": answer,
        "target": ["yes", "no"][sample % 2],
        "status": "ok" if answer is not None else "failed",
        "new_tokens": 2,
        "seconds": 0.5,
        "seed": seed,
    }


ANSWERS = {
    "greedy": ["Yes.", "No, it is not.", "Yes", "No"],
    "other": ["Yes, it is.", "No.", "Yes.", None],
}
FURTHER: dict[str, CountMetric] = {"words": Words(), "long": Words(letters=3), "ends": Ends()}


def scored(further: dict[str, CountMetric] | None, seeds: int = 1) -> Any:
    records = [
        record(method, sample, answer, seed)
        for method, answers in ANSWERS.items()
        for seed in range(seeds)
        for sample, answer in enumerate(answers)
    ]
    added = None if further is None else {"pope": further}
    metrics = {"pope": PopeMetric()}
    return score_records(records, metrics, baseline="greedy", samples=200, further=added)


def test_the_figures_are_those_of_counting_by_hand() -> None:
    greedy, other = scored(FURTHER)["cells"]
    values = {name: figure["value"] for name, figure in greedy["figures"].items()}
    assert values["words"] == (1 + 4 + 1 + 1) / 4
    assert values["long"] == (1 + 2 + 1 + 0) / 4  # "Yes."; "No,", "not."; "Yes"
    assert values["ends.ended"] == 2 / 4
    assert values["ends.n"] == 4
    # the sample that failed adds nothing: these metrics know no wrong answer
    values = {name: figure["value"] for name, figure in other["figures"].items()}
    assert values["words"] == (3 + 1 + 1) / 3
    assert values["ends.ended"] == 1
    found = other["figures"]["words"]
    assert found["difference"]["value"] == pytest.approx(5 / 3 - 7 / 4)
    assert found["difference"]["low"] < found["difference"]["value"] < found["difference"]["high"]
    assert found["higher_is_better"] is False
    assert greedy["figures"]["ends.ended"]["interval"] == "wilson"
    assert greedy["metrics"][1] == {
        "label": "long",
        "metric": Words.name,
        "metric_options": {"letters": 3},
        "variant": None,
        "figures": ["long"],
    }
    assert greedy["metrics"][2]["figures"] == ["ends.ended", "ends.n"]


def test_nothing_else_of_a_cell_changes() -> None:
    for seeds in (1, 2):
        plain, more = scored(None, seeds), scored(FURTHER, seeds)
        for kind in ("cells", "over_seeds"):
            for before, after in zip(plain[kind], more[kind], strict=True):
                assert "metrics" not in before
                added = {name for each in after.pop("metrics") for name in each["figures"]}
                assert added == {"words", "long", "ends.ended", "ends.n"}
                for name in added:
                    del after["figures"][name]
                assert after == before
        assert more["warnings"] == plain["warnings"]


def test_over_seeds_the_mean_is_that_of_the_seeds() -> None:
    records = [record("a", 0, "one two", 0), record("a", 0, "one", 1)]
    records += [record("b", 0, "one two three", 0), record("b", 0, "one two", 1)]
    found: Any = score_records(
        records,
        {"pope": PopeMetric()},
        baseline="a",
        samples=20,
        further={"pope": {"words": Words()}},
    )
    first, second = (entry["figures"]["words"] for entry in found["over_seeds"])
    assert (first["value"], first["min"], first["max"]) == (1.5, 1, 2)
    assert first["std"] == pytest.approx(math.sqrt(0.5))
    assert second["difference"]["value"] == 1.0


def test_tables_show_them_after_those_of_the_benchmark() -> None:
    results = scored({"words": Words(), "ends": Ends()})
    shown = [(c.figure, c.title, c.percent) for c in columns_of("pope", results["cells"])]
    # this process does not know the metrics by name, so the names of the figures are the titles
    assert shown == [
        ("accuracy", "accuracy", True),
        ("f1", "F1", True),
        ("yes_ratio", "yes ratio", True),
        ("unparsed", "unparsed", False),
        ("words", "words", False),
        ("ends.ended", "ends.ended", False),
        ("ends.n", "ends.n", False),
    ]
    # a benchmark without them has dashes in their columns
    bare = scored(None)["cells"]
    for entry in bare:
        entry["benchmark"] = "pope/bare"
    results["cells"] += bare
    (table,) = run_tables(results)
    place = next(i for i, head in enumerate(table.heads) if head.title == "words")
    texts = [(row.cells[0].text, row.cells[place].text) for row in table.rows]
    assert texts == [("pope", "1.8"), ("pope", "1.7"), ("pope/bare", "-"), ("pope/bare", "-")]


def test_the_legend_says_what_a_label_stands_for() -> None:
    llava = PopeMetric(parser="llava")
    text = legend(scored({"llava": llava, "pope": PopeMetric()}))
    assert " llava: the metric pope with parser llava." in text
    assert text.count("the metric pope") == 1


def test_a_record_that_a_metric_cannot_count_names_the_metric() -> None:
    class Picky(Words):
        def rows(self, answers: Any, targets: Any) -> Any:
            return [{"yes": 1}[target] for target in targets]

    with pytest.raises(DataError, match="by m with greedy under the metric 'picky': KeyError: 'no"):
        scored({"picky": Picky()})


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    root = write_world(tmp_path / "world", images=2, seed=0, shifted=True)
    return {
        "output": str(tmp_path / "run"),
        "models": ["pocket-llava"],
        "methods": ["greedy"],
        "benchmarks": [{"name": "pope", "split": "random"}, {"name": "chair"}],
        "data": {"root": str(root)},
    }


def test_short_forms_and_places(config: dict[str, Any], plugin: str) -> None:
    config["plugins"] = plugin
    config["benchmarks"][0] |= {"metrics": "words"}
    config["benchmarks"][1] |= {"metrics": ["words", {"name": "pope", "label": "p"}]}
    read, problems, _ = read_config(config)
    assert problems == []
    assert read.benchmarks[0].metrics == [{"name": "words"}]
    assert "metrics" not in read.benchmarks[0].options
    again, problems, _ = read_config(read.to_dict())
    assert problems == []
    assert again == read
    over, problems, _ = read_config(config, ["benchmarks.*.metrics=[{name: words, letters: 3}]"])
    assert problems == []
    assert [b.metrics for b in over.benchmarks] == [[{"name": "words", "letters": 3}]] * 2


def test_no_metric_is_part_of_a_record_s_key(config: dict[str, Any], plugin: str) -> None:
    plain = [cell.digest for cell in make_plan(config).cells]
    more = ["benchmarks.*.metrics=[words, ends]", f"plugins=[{plugin}]"]
    assert [cell.digest for cell in make_plan(config, more).cells] == plain


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ("wrods", "benchmarks[0]: metrics[0]: unknown metric 'wrods'. Did you mean 'words'"),
        ([{"label": "x"}], "metrics[0]: a metric needs a `name`, such as"),
        ([{"name": "words", "leters": 2}], "unknown option 'leters'. Did you mean 'letters'"),
        ([{"name": "words", "label": ""}], "metrics[0]: `label` must be a text, got ''"),
        (["words", "words"], "metrics: 'words' stands there 2 times; give each its own"),
        (5, "benchmarks[0].metrics: expected a list, got 5"),
        ([{"name": "words", "label": "f1"}], "'pope/random' has a figure 'f1' already; give"),
        ("mm-vet", "metric 'mm-vet' asks a judge model, which only the own metric"),
        (
            "chair",
            "benchmarks[0]: metrics[0]: metric 'chair' cannot count answers to 'pope/random', "
            "whose targets are such as 'yes': ",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(
    config: dict[str, Any], plugin: str, metrics: Any, words: str
) -> None:
    config["plugins"] = [plugin]
    config["benchmarks"][0]["metrics"] = metrics
    with pytest.raises(ConfigError) as caught:
        make_plan(config)
    assert words in str(caught.value)
    assert not Path(config["output"]).exists()


def test_one_label_means_one_thing(config: dict[str, Any], plugin: str) -> None:
    config["plugins"] = [plugin]
    config["benchmarks"][0]["metrics"] = ["words"]
    config["benchmarks"][1]["metrics"] = [{"name": "words", "letters": 3}]
    with pytest.raises(ConfigError, match=r"benchmarks\[1\]: metrics\[0\]: 'words' is another"):
        make_plan(config)
    config["benchmarks"][1]["metrics"][0]["label"] = "long"
    make_plan(config)


@pytest.mark.parametrize("key", ["metrics", "metric"])
def test_the_key_at_the_top_says_where_it_belongs(config: dict[str, Any], key: str) -> None:
    _, problems, _ = read_config({**config, key: ["words"]})
    assert [p for p in problems if "write  benchmarks: [{name: ..., metrics: ...}]" in p]
