"""Runs next to each other: what is refused, what is paired, and the formats."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.comparisons.comparing import compare
from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.evaluation import Result, evaluate
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.statistics.paired import mcnemar
from tests.printed import assert_holds, read_latex

pytestmark = pytest.mark.slow

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def runs(finished: Result, tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """The finished run and a copy of it with other records or another environment."""

    def copy(record: Change | None = None, environment: Change | None = None) -> tuple[Path, Path]:
        other = tmp_path / "other"
        shutil.copytree(finished.folder, other)
        path = other / "records.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        for entry in records:
            if record is not None:
                record(entry)
        kept = [entry for entry in records if "dropped" not in entry]
        path.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        path = other / "environment.json"
        content = json.loads(path.read_text())
        if environment is not None:
            environment(content)
        path.write_text(json.dumps(content))
        return finished.folder, other

    return copy


def test_inside_a_run_nothing_is_refused(finished: Result) -> None:
    found = compare([finished.folder])
    assert [block.benchmark for block in found.blocks] == ["pope/random", "chair"]
    # SGRS has no control in this run, so nothing is said of it but its values
    for block in found.blocks:
        assert [row.method for row in block.rows] == ["greedy", "sgrs"]
        assert block.pairs == ()
    (note,) = found.notes
    assert note == (
        "Not alike in one run, where rows keep to their control: pope/random, chair: decoders: "
        "greedy (run: greedy); sgrs(rejection=False) (run: sgrs)."
    )
    alone = compare([finished.folder], methods=["greedy"], benchmarks=["chair"])
    (block,) = alone.blocks
    expected = finished.cell("tiny", "greedy", "chair")["figures"]
    assert block.rows[0].entry["figures"] == expected
    assert alone.notes == ()


def test_runs_that_decode_otherwise_are_refused_unless_allowed(
    runs: Callable[..., tuple[Path, Path]],
) -> None:
    def record(entry: dict[str, Any]) -> None:
        if entry["method"] == "greedy":
            entry["dropped"] = True
        entry["method"] = "guided"

    def environment(content: dict[str, Any]) -> None:
        for cell in content["cells"].values():
            if cell["method"] == "sgrs":
                cell["method"] = "guided"

    pair = runs(record, environment)
    with pytest.raises(ConfigError) as caught:
        compare(pair)
    text = str(caught.value)
    # each is compared with each, since no method has the same name; SGRS decodes alike in both
    assert (
        "pope/random, chair: decoders: greedy (run: greedy); sgrs(rejection=False) (other: guided)"
        in text
    )
    assert "(run: sgrs)" not in text
    assert "--allow decoders" in text
    found = compare(pair, allow=["decoders"])
    assert [note.partition(":")[0] for note in found.notes] == [
        "Allowed to differ",
        "Not alike in one run, where rows keep to their control",
    ]
    assert len(compare(pair, methods=["sgrs", "guided"]).notes) == 0


def test_a_method_of_one_run_only_is_no_reason_to_refuse(
    runs: Callable[..., tuple[Path, Path]],
) -> None:
    def record(entry: dict[str, Any]) -> None:
        if entry["method"] == "sgrs":
            entry["dropped"] = True

    found = compare(runs(record))
    for block in found.blocks:
        assert [(row.run, row.method) for row in block.rows] == [
            ("run", "greedy"),
            ("run", "sgrs"),
            ("other", "greedy"),
        ]
        assert [(pair.row.title, pair.other.title) for pair in block.pairs] == [
            ("other: tiny with greedy", "run: tiny with greedy")
        ]


def test_what_was_not_asked_alike_is_refused_with_both_values(
    runs: Callable[..., tuple[Path, Path]],
) -> None:
    def environment(content: dict[str, Any]) -> None:
        content["models"]["tiny"].update(dtype="bfloat16", attention="other")
        for cell in content["cells"].values():
            cell["benchmark"]["max_new_tokens"] += 1

    def record(entry: dict[str, Any]) -> None:
        entry["prompt"] += " Say yes or no."

    pair = runs(record, environment)
    with pytest.raises(ConfigError) as caught:
        compare(pair, methods=["greedy"])
    text = str(caught.value)
    assert "pope/random, chair: dtypes: float32 (run: greedy); bfloat16 (other: greedy)" in text
    assert "; other (other: greedy)" in text
    assert "pope/random: lengths: 2 tokens (run: greedy); 3 tokens (other: greedy)" in text
    assert "4 prompts other than in run" in text
    assert "Say yes or no.'" in text
    assert "--allow prompts,lengths,dtypes,attention" in text
    with pytest.raises(ConfigError, match="attention"):
        compare(pair, methods=["greedy"], allow=["prompts,lengths", "dtypes"])
    found = compare(pair, methods=["greedy"], allow=["prompts,lengths,dtypes,attention"])
    assert len(found.notes) == 6
    with pytest.raises(UnknownName, match="'promts'"):
        compare(pair, allow=["promts"])


def test_unequal_sample_sets_are_refused_with_counts_and_never_paired(
    runs: Callable[..., tuple[Path, Path]],
) -> None:
    first: list[str] = []

    def record(entry: dict[str, Any]) -> None:
        first.append(entry["sample_id"])
        if entry["benchmark"] == "pope/random" and entry["sample_id"] == first[0]:
            entry["dropped"] = True

    pair = runs(record)
    with pytest.raises(ConfigError, match=r"subsets: 4 samples, digest \w+ \(run: greedy\); 3 sam"):
        compare(pair, methods=["greedy"], benchmarks=["pope/random"])
    found = compare(pair, methods=["greedy"], allow=["subsets"])
    assert [len(block.pairs) for block in found.blocks] == [0, 1]


def test_changed_targets_are_another_subset(runs: Callable[..., tuple[Path, Path]]) -> None:
    def record(entry: dict[str, Any]) -> None:
        if entry["benchmark"] == "pope/random":
            entry["target"] = "yes"

    with pytest.raises(ConfigError, match="4 of them in run"):
        compare(runs(record), methods=["greedy"], benchmarks=["pope/random"])


def test_runs_are_paired_by_sample(runs: Callable[..., tuple[Path, Path]]) -> None:
    right: dict[str, list[bool]] = {"run": [], "other": []}

    def record(entry: dict[str, Any]) -> None:
        if entry["benchmark"] != "pope/random" or entry["method"] != "greedy":
            return
        right["run"].append(entry["answer"].lower().startswith(entry["target"]))
        if len(right["other"]) < 3:
            entry["answer"] = entry["target"]
            entry["token_ids"] = [1]
        right["other"].append(entry["answer"].lower().startswith(entry["target"]))

    pair = runs(record)
    found = compare(pair, methods=["greedy"], benchmarks=["pope/random"])
    (block,) = found.blocks
    (one,) = block.pairs
    assert (one.row.run, one.other.run) == ("other", "run")
    expected = (sum(right["other"]) - sum(right["run"])) / len(right["run"])
    assert one.found["differences"]["accuracy"]["value"] == pytest.approx(expected)
    assert one.found["pairs"] == len(right["run"])
    test = mcnemar(right["other"], right["run"])
    assert one.found["mcnemar"]["p_value"] == test.p_value
    assert one.found["mcnemar"]["only_this"] == test.only_a
    assert one.found["mcnemar"]["independent"] is False
    assert one.found["changed"] == 3


def test_every_format_says_the_same(
    runs: Callable[..., tuple[Path, Path]], tmp_path: Path, run: Callable[..., Any]
) -> None:
    pair = runs()
    words = ["compare", *pair, "--method", "greedy"]
    code, text, _ = run(*words, "--format", "json")
    assert code == 0
    content = json.loads(text)
    assert [row["run"] for row in content["rows"]] == ["run", "other"] * 2
    assert content["pairs"][0]["changed"] == 0
    value = content["rows"][2]["figures"]["length"]["value"]
    code, text, _ = run(*words, "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(text)))
    (line,) = [
        e for e in lines if e["run"] == "run" and e["figure"] == "length" and not e["against"]
    ]
    assert float(line["value"]) == value
    assert sum(e["against"] == "run: tiny with greedy" for e in lines) == sum(
        len(p["differences"]) for p in content["pairs"]
    )
    for suffix, mark in (("tex", "tabular"), ("html", "<table>"), ("md", "| --- |")):
        path = tmp_path / f"table.{suffix}"
        code, text, _ = run(*words, "-o", path)
        assert code == 0
        assert "written:" in text
        assert mark in path.read_text()
        assert f"{value:.1f}" in path.read_text()
    code, text, _ = run(*words)
    assert code == 0
    assert "between runs and models" in text
    assert run(*words, "-o", tmp_path / "table.xls")[0] == 2
    assert run(*words, "--format", "xml")[0] == 2


def test_styles(
    runs: Callable[..., tuple[Path, Path]], tmp_path: Path, run: Callable[..., Any]
) -> None:
    pair = runs()
    path = tmp_path / "table.tex"
    code, text, _ = run("compare", *pair, "-o", path, "--style", "paper")
    assert (code, text) == (0, f"written: {path}\n")
    floats = read_latex(path.read_text())
    assert [found.label for found in floats] == [
        "tab:pope",
        "tab:chair",
        "tab:pope-random-pairs",
        "tab:chair-pairs",
    ]
    # of each run both methods, and a pair of each
    assert [len([cells for cells in f.rows[1:] if cells]) for f in floats] == [4, 4, 2, 2]
    assert "% Not alike in one run" in path.read_text()
    code, text, _ = run("compare", *pair, "--format", "csv", "--style", "wide")
    assert code == 0
    wide = list(csv.DictReader(io.StringIO(text)))
    tidy = list(csv.DictReader(io.StringIO(run("compare", *pair, "--format", "csv")[1])))
    assert len(wide) == 4 + 4 + 2 + 2
    # a row of the tidy file is a few columns of the wide one
    key = ("run", "method", "benchmark", "against")
    by_key = {tuple(line[name] for name in key): line for line in wide}
    for line in tidy:
        other = by_key[tuple(line[name] for name in key)]
        for name in ("value", "low", "high", "difference", "significant"):
            assert line[name] == other.get(f"{line['figure']}.{name}", "")
    code, _, errors = run("compare", *pair, "--style", "paper")
    assert code == 2
    assert "add --format latex" in errors
    assert run("compare", *pair, "--format", "md", "--style", "paper")[0] == 2


def test_frames_hold_what_the_files_hold(runs: Callable[..., tuple[Path, Path]]) -> None:
    found = compare(runs(), methods=["greedy"], figures=["length", "accuracy"])
    frame = found.to_pandas()
    assert str(frame.value.dtype) == "float64"
    assert str(frame.changed.dtype) == "Int64"
    assert set(frame.figure) == {"length", "accuracy"}  # those that were asked for
    values = frame[frame.against.isna()]
    assert list(zip(values.run, values.benchmark, strict=True)) == [
        (run, benchmark) for benchmark in ("pope/random", "chair") for run in ("run", "other")
    ]
    entry = found.blocks[0].rows[0].entry["figures"]["accuracy"]
    assert values.value.iloc[0] == entry["value"]
    assert values.low.iloc[0] == entry["low"]
    pairs = frame[frame.against.notna()]
    assert pairs.value.isna().all()
    assert pairs.difference.tolist() == [0.0, 0.0]
    wide = found.to_pandas("wide")
    assert len(wide) == 2 * 3
    assert wide["accuracy.value"].iloc[0] == entry["value"]
    assert wide["length.value"].iloc[:3].isna().all()
    assert "length.std" not in wide
    lines = list(csv.DictReader(io.StringIO(found.write("csv"))))
    assert list(frame.columns) == list(lines[0])
    assert len(frame) == len(lines)
    with pytest.raises(UnknownName, match="style of a frame 'long'"):
        found.to_pandas("long")  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [80, 100])
def test_tables_hold_in_a_narrow_pipe(
    width: int,
    runs: Callable[..., tuple[Path, Path]],
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    pair = runs()
    for words in (("compare", pair[0]), ("compare", *pair), ("score", pair[1])):
        code, text, _ = run(*words)
        assert code == 0
        assert_holds(text, width)


def test_what_is_not_there_is_told(finished: Result, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run has the method 'gredy'\. Did you mean 'greedy'"):
        compare([finished.folder], methods=["gredy"])
    # one name may stand in place of a list of one
    with pytest.raises(ConfigError, match="no run has the method 'gredy'"):
        compare(str(finished.folder), methods="gredy")
    with pytest.raises(ConfigError, match="given twice"):
        compare([finished.folder, finished.folder])
    with pytest.raises(Exception, match="is not a run folder"):
        compare([tmp_path])


def test_figures_can_be_chosen(finished: Result) -> None:
    found = compare([finished.folder], methods=["greedy"], figures=["recall", "length", "f1"])
    shown = {b.benchmark: [column.figure for column in b.columns] for b in found.blocks}
    # POPE has no length
    assert shown == {"pope/random": ["recall", "f1"], "chair": ["recall", "length", "f1"]}
    assert "accuracy" not in found.write("latex")
    usual = compare([finished.folder], methods=["greedy"], figures=["length"]).blocks[0].columns
    assert usual == compare([finished.folder], methods=["greedy"]).blocks[0].columns
    with pytest.raises(UnknownName, match="accuracy"):
        compare([finished.folder], methods=["greedy"], figures=["acuracy"])


def test_several_seeds_and_models(config: dict[str, Any], tiny: Lvlm) -> None:
    config["methods"] = [{"name": "drawn", "decoder": "sample"}]
    config["models"] = [{"source": "t/a", "name": "a"}, {"source": "t/b", "name": "b"}]
    result = evaluate({**config, "seeds": [0, 1]}, models={"a": tiny, "b": tiny})
    assert len(result.results["over_seeds"]) == 4
    found = compare([result.folder])
    for block in found.blocks:
        (pair,) = block.pairs
        assert (pair.row.model, pair.other.model) == ("b", "a")
        assert pair.found["changed"] == 0
        assert [cell.seed for cell in pair.row.cells] == [0, 1]
        assert set(pair.found["differences"]["n" if "n" in pair.found["differences"] else "length"])
    summary = result.cell("a", "drawn", "chair")
    values = [result.cell("a", "drawn", "chair", s)["figures"]["length"]["value"] for s in (0, 1)]
    assert summary["figures"]["length"]["value"] == pytest.approx(sum(values) / 2)
