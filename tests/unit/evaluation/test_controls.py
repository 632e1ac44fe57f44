"""What a method is compared with, and several seeds, against cases worked out by hand."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from lvlmsal.benchmarks.chair.metric import ChairMetric
from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.controls import Opponent, add_twins, opponents, saliency_rows
from lvlmsal.evaluation.config.plan import make_plan
from lvlmsal.evaluation.config.schema import MethodConfig, ModelConfig, RunConfig
from lvlmsal.evaluation.report.run_tables import markdown_tables
from lvlmsal.evaluation.results.config_changes import differences
from lvlmsal.evaluation.results.folder import write_config
from lvlmsal.evaluation.results.scoring import score_records

LOCORE = {"name": "locore"}


def settings(method: str, decoder: dict[str, Any], *edits: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": {"name": "m"},
        "method": method,
        "decoder": decoder,
        "interventions": list(edits),
    }


GREEDY = settings("greedy", {"name": "greedy"})
EDITED = settings("greedy + LocoRE", {"name": "greedy"}, LOCORE)
BEAM = settings("beam", {"name": "beam", "num_beams": 3}, LOCORE)
CONTROL = settings("control", {"name": "sgrs", "rejection": False, "alpha": 0.3, "k": 4})
SGRS_4 = settings("sgrs", {"name": "sgrs", "alpha": 0.9, "k": 4, "row": "predicting"})
SGRS_5 = settings("sgrs 5", {"name": "sgrs", "k": 5})
COLD = settings("cold", {"name": "sgrs", "temperature": 0.0})
BOTH = settings("both", {"name": "sgrs", "k": 4}, LOCORE)


def found(*cells: dict[str, Any], baseline: str = "") -> dict[str, Opponent | None]:
    return {method: other for (_, method), other in opponents(cells, baseline).items()}


def test_each_method_is_compared_with_its_own_twin() -> None:
    assert found(SGRS_4, GREEDY, EDITED, BEAM, CONTROL, SGRS_5, COLD, BOTH) == {
        "greedy + LocoRE": Opponent("greedy", False),
        "beam": None,  # no beam search without LocoRE
        "sgrs": Opponent("control", False),
        "sgrs 5": None,  # the control has another k
        "cold": Opponent("greedy", False),  # temperature 0 without rejection is greedy search
        "both": Opponent("control", False),
    }


def test_a_second_method_of_the_same_settings_is_compared_with_the_first() -> None:
    assert found(GREEDY, settings("again", {"name": "greedy"})) == {
        "again": Opponent("greedy", False)
    }


def test_a_baseline_that_decodes_otherwise_is_marked() -> None:
    assert found(GREEDY, EDITED, SGRS_4, CONTROL, baseline="greedy") == {
        "greedy + LocoRE": Opponent("greedy", False),
        "sgrs": Opponent("greedy", True),
        "control": Opponent("greedy", True),
    }


def test_twins_are_kept_apart_by_model() -> None:
    other = {**EDITED, "model": {"name": "n"}}
    assert opponents([GREEDY, EDITED, other], "") == {
        ("m", "greedy + LocoRE"): Opponent("greedy", False),
        ("n", "greedy + LocoRE"): None,
    }


def test_tables_say_from_which_row_methods_read_saliency() -> None:
    """Two methods called SGRS can read different rows; controls and others read none."""
    rows = saliency_rows([GREEDY, EDITED, CONTROL, SGRS_4, BOTH])
    assert rows == {("m", "sgrs"): "predicting", ("m", "both"): "candidate"}
    records = [record(0, "yes", method, 0) for method in ("greedy", "sgrs", "both")]
    results = scored(records, saliency_rows=rows)
    found = {cell["method"]: cell.get("saliency_row") for cell in results["cells"]}
    assert found == {"greedy": None, "sgrs": "predicting", "both": "candidate"}
    table = markdown_tables(results)
    assert "read from the predicting row by 'sgrs'." in table
    assert "read from the candidate row by 'both'." in table
    several = [record(0, "yes", "sgrs", seed) for seed in (0, 1)]
    assert scored(several, saliency_rows=rows)["over_seeds"][0]["saliency_row"] == "predicting"


def test_missing_twins_are_added_once() -> None:
    config = RunConfig(
        models=[ModelConfig(source="a/b", name="b"), ModelConfig(source="a/c", name="c")],
        methods=[
            MethodConfig("SGRS", {"name": "sgrs", "k": 4}),
            MethodConfig("SGRS again", {"name": "sgrs", "k": 4, "alpha": 0.1}),
            MethodConfig("L", {"name": "greedy"}, [LOCORE]),
            MethodConfig("beam", {"name": "beam"}),
        ],
    )
    add_twins(config)
    names = [method.name for method in config.methods]
    assert names[4:] == ["sgrs twin (k=4, rejection=False)", "greedy twin"]
    assert SGRS(k=4).twin() == SGRS(
        **{key: value for key, value in config.methods[4].decoder.items() if key != "name"}
    )
    add_twins(config)
    assert [method.name for method in config.methods] == names


def run_config(root: str, **more: Any) -> dict[str, Any]:
    return {
        "output": f"{root}/run",
        "models": [{"source": "a/b", "name": "b"}],
        "methods": ["greedy", "sample", "sgrs"],
        "world": {"root": f"{root}/world", "images": 2},
        "benchmarks": [{"name": "chair"}],
        **more,
    }


def test_only_what_draws_is_answered_with_every_seed(tmp_path: Any) -> None:
    plan = make_plan(run_config(str(tmp_path), seeds=[3, 1], twins=True), given=["b"])
    assert [(cell.method, cell.seed) for cell in plan.cells] == [
        ("greedy", 3),
        ("sample", 3),
        ("sample", 1),
        ("sgrs", 3),
        ("sgrs", 1),
        ("sgrs twin (rejection=False)", 3),
        ("sgrs twin (rejection=False)", 1),
    ]
    with pytest.raises(ConfigError, match=r"seeds: 1 is given 2 times(.|\n)*seeds\[2\]: must be"):
        make_plan(run_config(str(tmp_path), seeds=[1, 1, -1]), given=["b"])
    with pytest.raises(ConfigError, match="twins: adds what each method is compared with"):
        make_plan(run_config(str(tmp_path), twins=True, baseline="greedy"), given=["b"])


def test_seeds_can_be_added_to_a_run_but_not_changed(tmp_path: Any) -> None:
    write_config(tmp_path, RunConfig(seed=4))
    assert differences(tmp_path, RunConfig(seed=4)) == []
    assert differences(tmp_path, RunConfig(seeds=[4, 0])) == []
    assert differences(tmp_path, RunConfig(seeds=[0, 4])) == [
        "seed: the run has 4, the config 0",
    ]


def record(sample: int, answer: str | None, method: str, seed: int, **more: Any) -> dict[str, Any]:
    return {
        "key": f"{method}{seed}/{sample}",
        "model": "m",
        "method": method,
        "benchmark": "pope",
        "sample_id": str(sample),
        "group": str(sample // 2),
        "answer": answer,
        "target": "yes",
        "status": "ok" if answer is not None else "failed",
        "new_tokens": 2,
        "token_ids": [5, len(answer or "")],
        "seconds": 0.5,
        "seed": seed,
        "forwards": 3,
        "peak_memory": 100 * sample,
        **more,
    }


RIGHT = {0: {0, 1, 2, 3}, 1: {0, 1}, 2: {0, 1, 2, 3, 4, 5}}
"""Samples of 8 that the drawn answers get right, by seed."""


def drawn(method: str = "drawn") -> list[dict[str, Any]]:
    return [
        record(i, "yes" if i in right else "no", method, seed)
        for seed, right in RIGHT.items()
        for i in range(8)
    ]


def scored(records: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    return score_records(records, {"pope": PopeMetric()}, samples=400, **options)


def test_the_summary_over_seeds_shows_mean_spread_and_interval() -> None:
    plain = [record(i, "yes" if i < 2 else "no", "greedy", 0) for i in range(8)]
    results = scored([*plain, *drawn()], baseline="greedy")
    assert [(c["method"], c["seed"]) for c in results["cells"]] == [
        ("greedy", 0),
        ("drawn", 0),
        ("drawn", 1),
        ("drawn", 2),
    ]
    (entry,) = results["over_seeds"]
    assert entry["seeds"] == [0, 1, 2]
    assert (entry["n"], entry["groups"], entry["failed"]) == (24, 4, 0)
    figure = entry["figures"]["accuracy"]
    values = [len(right) / 8 for right in RIGHT.values()]
    assert figure["value"] == pytest.approx(statistics.mean(values))
    assert figure["std"] == pytest.approx(statistics.stdev(values))
    assert (figure["min"], figure["max"]) == (0.25, 0.75)
    # every seed against the one run of greedy search
    assert figure["difference"]["value"] == pytest.approx(statistics.mean(values) - 0.25)
    assert entry["changed"] == 2 + 0 + 4
    text = markdown_tables(results)
    assert "drawn (3 seeds)" in text
    assert "50.0 ± 25.0 [" in text


def test_many_equal_seeds_tell_no_more_than_one() -> None:
    """The answers to one image belong together whatever their seed."""
    once = [record(i, "yes" if i % 3 else "no", "drawn", 0, group=str(i)) for i in range(60)]
    copies = [{**r, "seed": seed} for seed in range(4) for r in once]
    (entry,) = scored(copies)["over_seeds"]
    alone = scored([dict(r) for r in once])["cells"][0]
    width = entry["figures"]["f1"]["high"] - entry["figures"]["f1"]["low"]
    expected = alone["figures"]["f1"]["high"] - alone["figures"]["f1"]["low"]
    assert width == pytest.approx(expected)
    assert entry["figures"]["f1"]["std"] == 0


def test_the_same_seed_is_compared_with_the_same_seed() -> None:
    results = scored([*drawn("a"), *drawn("b")], baseline="a")
    assert [c["changed"] for c in results["cells"]] == [None, None, None, 0, 0, 0]
    summary = results["over_seeds"][1]
    assert summary["figures"]["accuracy"]["difference"] == {"value": 0, "low": 0, "high": 0}
    told = "m with b on pope (seed 0, 1, 2): no answer differs from 'a'"
    assert results["warnings"].count(told) == 1


def test_a_failed_sample_of_one_seed_is_wrong_in_that_seed_only() -> None:
    records = drawn()
    records[0] = record(0, None, "drawn", 0)
    (entry,) = scored(records)["over_seeds"]
    expected = [3 / 8, 2 / 8, 6 / 8]
    assert entry["figures"]["accuracy"]["value"] == pytest.approx(statistics.mean(expected))
    assert (entry["n"], entry["failed"]) == (24, 1)


def test_mcnemar_tokens_and_costs_of_a_cell() -> None:
    base = [record(i, "yes" if i in (0, 1) else "no", "a", 0) for i in range(6)]
    other = [record(i, "yes" if i in (1, 2, 3, 4) else "no", "b", 0) for i in range(6)]
    other[0]["token_ids"] = [5, 2, 9]
    other[5]["answer"] = "No"
    results = scored([*base, *other], baseline="a")
    _, cell = results["cells"]
    # right in b only: 2, 3, 4; in a only: 0; two-sided binomial of 1 in 4: 2 * 5 / 16
    assert cell["mcnemar"] == {
        "figure": "accuracy",
        "only_this": 3,
        "only_other": 1,
        "p_value": 0.625,
        "independent": False,
    }
    assert cell["changed"] == 5
    # "yes" against "no": one position each in samples 0, 2, 3, 4, of which 0 has one token more;
    # its second token is 2 instead of 3
    assert cell["tokens_changed"] == 2 + 1 + 1 + 1
    assert cell["cost"] == {
        "ms_per_token": 250.0,
        "forwards_per_token": 1.5,
        "peak_memory": 500,
    }
    assert any("McNemar" in warning for warning in results["warnings"])


def test_mcnemar_is_for_metrics_that_call_each_answer_right_or_wrong() -> None:
    captions = [
        {**record(i, "a dog", method, 0), "target": ["cat"]} for method in "ab" for i in range(3)
    ]
    results = score_records(captions, {"pope": ChairMetric()}, baseline="a", samples=100)
    # CHAIR_S: every caption has a hallucinated object or none
    assert results["cells"][1]["mcnemar"]["figure"] == "chair_s"
    old = [{k: v for k, v in r.items() if k not in ("token_ids", "forwards")} for r in captions]
    cell = score_records(old, {"pope": ChairMetric()}, baseline="a", samples=100)["cells"][1]
    assert cell["tokens_changed"] is None
    assert cell["cost"]["forwards_per_token"] is None


def test_a_method_without_twin_is_told() -> None:
    records = drawn("a")[:8]
    results = scored(records, against={("m", "a"): None})
    assert results["warnings"] == [
        "m with a: the run has no control to compare it with; twins=true adds it"
    ]
    assert results["cells"][0]["compared_with"] is None
