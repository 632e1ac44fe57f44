"""`lvlmsal analyze` on a shipped model: its tables agree with the run's own figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lvlmsal.analysis.tokens import analyze_tokens
from tests.printed import assert_holds
from tests.unit.statistics.by_hand import auroc, mann_whitney_p

pytestmark = pytest.mark.slow

pytest.importorskip("matplotlib")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config, its run and the analysis of its tokens."""
    folder = tmp_path_factory.mktemp("analyze")
    config = {
        "output": str(folder / "run"),
        "world": {"root": str(folder / "world"), "images": 7, "seed": 5, "shifted": True},
        "models": ["pocket-llava"],
        "methods": ["greedy"],
        "benchmarks": [
            {"name": "chair", "max_new_tokens": 80},
            {"name": "pope", "split": "random", "limit": 1, "max_new_tokens": 4},
        ],
        "bootstrap": {"samples": 100},
        "batch_size": 7,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    analyze_tokens(folder / "config.yaml")
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def assert_tables_hold(out: str) -> None:
    lines = [line for line in out.splitlines() if "│" in line]
    assert len(lines) > 2
    assert_holds("\n".join(lines), 80)


def test_tokens(run: Run, folder: Path) -> None:
    code, out, err = run("analyze", "tokens", folder / "config.yaml")
    assert code == 0, err
    assert_tables_hold(out)
    assert "log-probability" in out
    found = folder / "run" / "analysis" / "tokens"
    for name in ("auroc.png", "bins.png"):
        assert (found / name).read_bytes()[:4] == b"\x89PNG"
    mentions = table(found / "mentions.csv")
    # the rows are what CHAIR has counted in the same answers
    cells = json.loads((folder / "run" / "results.json").read_text())["cells"]
    (chair,) = [cell for cell in cells if cell["benchmark"] == "chair"]
    figures = {name: figure["value"] for name, figure in chair["figures"].items()}
    assert len(mentions) == figures["n_mentions"] > 20
    wrong = [row for row in mentions if row["hallucinated"] == "1"]
    assert len(wrong) == figures["n_hallucinated"] > 0
    assert {row["benchmark"] for row in mentions} == {"chair"}
    assert all(float(row["log_probability"]) < 0 < float(row["saliency"]) for row in mentions)
    # and the summary is what these rows give
    (content,) = json.loads((found / "summary.json").read_text())
    assert (content["mentions"], content["hallucinated"]) == (len(mentions), len(wrong))
    assert content["options"]["row"] == "predicting"
    for line in table(found / "summary.csv"):
        kinds = [
            [float(line["sign"]) * float(row[line["score"]]) for row in mentions
             if row["hallucinated"] == kind]
            for kind in "01"
        ]  # fmt: skip
        assert float(line["auroc"]) == pytest.approx(auroc(*kinds), abs=1e-3)
        assert float(line["mann_whitney_p"]) == pytest.approx(mann_whitney_p(*kinds), rel=0.02)
        bins = [row for row in table(found / "bins.csv") if row["score"] == line["score"]]
        assert len(bins) == 10
        assert sum(int(row["mentions"]) for row in bins) == len(mentions)


def test_published_figures_stand_next_to_ours(run: Run, folder: Path) -> None:
    row = {
        "method": "greedy",
        "benchmarks": ["chair"],
        "figures": {"saliency_last/correct_mean": 0.472, "entropy/auroc": 0.5},
        "unit": "plain",
    }
    config = folder / "printed.yaml"
    config.write_text(
        (folder / "config.yaml").read_text()
        + yaml.safe_dump({"paper": {"source": "arXiv 1", "table": "Table 9", "tokens": [row]}})
    )
    code, out, err = run("analyze", "tokens", config)
    assert code == 0, err
    assert_tables_hold(out)
    assert "Compared with Table 9 of arXiv 1" in out
    found = folder / "run" / "analysis" / "tokens"
    lines = {line["score"]: line for line in table(found / "summary.csv")}
    ours = {
        "saliency_last/correct_mean": float(lines["saliency_last"]["correct_mean"]),
        "entropy/auroc": float(lines["entropy"]["auroc"]),
    }
    entries = {e["figure"]: e for e in json.loads((found / "paper.json").read_text())}
    assert {figure: e["ours"] for figure, e in entries.items()} == pytest.approx(ours)
    difference = entries["saliency_last/correct_mean"]["difference"]
    assert difference == pytest.approx(ours["saliency_last/correct_mean"] - 0.472)
    code, _, err = run("analyze", "tokens", config, "paper.tokens.0.figures={saliency/auroq: 1}")
    assert code == 2
    assert "Did you mean 'saliency/auroc'?" in err


def test_tokens_under_another_reading(run: Run, folder: Path, tmp_path: Path) -> None:
    words = ("analyze", "tokens", folder / "config.yaml", "-o", tmp_path / "out")
    code, _, err = run(*words, "--set", "row=candidate", "--bins", "equal-count")
    assert code == 0, err
    (content,) = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert content["options"]["row"] == "candidate"
    sizes = [part["rate"]["n"] for part in content["scores"]["saliency"]["bins"]]
    assert max(sizes) - min(sizes) <= 1


def test_layers(run: Run, folder: Path) -> None:
    code, out, err = run("analyze", "layers", folder / "config.yaml")
    assert code == 0, err
    assert_tables_hold(out)
    assert "AUROC of each layer" in out
    found = folder / "run" / "analysis" / "layers"
    lines = table(found / "layers.csv")
    assert {line["layer"] for line in lines if line["quantity"] == "saliency"} == set("0123")
    for part in ("tokens", "grid", "answer", "locore"):
        path = found / f"pocket-llava-greedy-chair-{part}.png"
        assert path.read_bytes()[:4] == b"\x89PNG"


def test_layers_of_a_chosen_token(run: Run, folder: Path, tmp_path: Path) -> None:
    words = ("analyze", "layers", folder / "config.yaml", "-o", tmp_path / "out")
    code, out, err = run(*words, "--sample", "no such", "--set", "layers=[2]")
    assert code == 0, err
    assert "no pictures of pocket-llava" in out
    assert {line["layer"] for line in table(tmp_path / "out" / "layers.csv")} == {"2"}
    sample = table(folder / "run" / "analysis" / "tokens" / "mentions.csv")[0]["sample"]
    code, _, err = run(*words, "--sample", sample, "--token", 999)
    assert code == 2
    assert f"for sample {sample}; its tokens are 0 " in err


def test_fusion(run: Run, folder: Path) -> None:
    code, out, err = run("analyze", "fusion", folder / "config.yaml")
    assert code == 0, err
    assert_tables_hold(out)
    found = folder / "run" / "analysis" / "fusion"
    lines = table(found / "fusion.csv")
    names = [line["fusion"] for line in lines]
    assert names[:5] == ["product", "add", "max", "attention", "gradient"]
    # fitted, or said why not
    assert names[5:] == ["mlp"] or "no fusion 'mlp'" in out
    # the product is what `analyze tokens` calls saliency
    (saliency,) = [
        line
        for line in table(folder / "run" / "analysis" / "tokens" / "summary.csv")
        if line["score"] == "saliency"
    ]
    assert float(lines[0]["auroc"]) == pytest.approx(float(saliency["auroc"]))
    assert list(found.glob("pocket-llava-greedy-chair-token*.png"))


def test_mistakes_are_told_before_anything_is_answered(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    words = ("analyze", "tokens", folder / "config.yaml", f"output={tmp_path / 'new'}")
    code, _, err = run(*words, "--bins", "deciles")
    assert code == 2
    assert "expected equal-width or equal-count" in err
    code, _, err = run(*words, "--set", "rows=candidate")
    assert code == 2
    assert "'row'" in err
    code, _, err = run(*words, "benchmarks=[{name: pope, split: random}]")
    assert code == 2
    assert "add the benchmark 'chair' (there are: pope/random)" in err
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    code, _, err = run("analyze", "tokens", folder / "config.yaml", "-o", tmp_path / "file")
    assert code == 2
    assert "--out" in err
