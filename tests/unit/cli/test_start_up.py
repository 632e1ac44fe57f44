"""What commands import: listings, help and refused configs answer without any heavy package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow

HEAVY = (
    *("torch", "transformers", "lightning", "torchmetrics", "matplotlib", "scipy", "datasets"),
    *("numpy", "PIL"),
)
SCRIPT = """
import contextlib, io, json, sys
from lvlmsal.cli import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    heavy = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
    told = {"words": words, "code": code, "out": out.getvalue(), "err": err.getvalue()}
    print(json.dumps({**told, "heavy": heavy}))
"""
GOOD: dict[str, Any] = {
    "output": "runs/x",
    "models": ["pocket-llava"],
    "methods": ["greedy", {"name": "b", "decoder": "sgrs", "interventions": ["locore"]}],
    "benchmarks": [{"name": "pope", "root": "data"}],
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"batchsize": 3}, "batchsize: there is no such key. Did you mean 'batch_size'"),
    "type": ({"seed": "soon"}, "seed: Value 'soon'"),
    "number": ({"batch_size": 0}, "batch_size: must be at least 1, got 0"),
    "logger": ({"logger": "cvs"}, "Did you mean 'csv'"),
    "judge": ({"judge": {"model": "m", "max_calls": -1}}, "judge.max_calls: must not be negative"),
    "checkpoint": ({"models": ["pocket-lava"]}, "Did you mean 'pocket-llava'"),
    "backend": ({"models": [{"source": "a/b", "image_backend": "pill"}]}, "Did you mean 'pil'"),
    "method": ({"methods": ["sgsr"]}, "unknown decoder 'sgsr'. Did you mean 'sgrs'"),
    "option": (
        {"methods": [{"name": "a", "decoder": {"name": "sgrs", "alfa": 1}}]},
        "methods[0] (a): decoder 'sgrs': unknown option 'alfa'. Did you mean 'alpha'",
    ),
    "option's type": (
        {"methods": [{"name": "a", "decoder": "greedy", "interventions": [{"name": "locore"}]}]}
        | {"benchmarks": [{"name": "mme", "root": "data", "parser": 3}]},
        "benchmarks[0]: benchmark 'mme': option 'parser' must be text, not 3",
    ),
    "option's value": (
        {"methods": [{"name": "a", "decoder": {"name": "sgrs", "alpha": -1}}]},
        "methods[0] (a): decoder 'sgrs': alpha must be at least 0",
    ),
    "intervention": (
        {"methods": [{"name": "a", "interventions": ["locroe"]}]},
        "unknown intervention 'locroe'. Did you mean 'locore'",
    ),
    "benchmark": ({"benchmarks": [{"name": "pop", "root": "x"}]}, "Did you mean 'pope'"),
}


def ran(commands: list[list[str]]) -> list[dict[str, Any]]:
    """Run commands one after another in a process of their own."""
    words = [sys.executable, "-c", SCRIPT, json.dumps(commands), json.dumps(HEAVY)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_help_and_listings_import_nothing_heavy() -> None:
    commands = [
        ["--help"],
        ["list"],
        ["list", "interventions", "--json"],
        ["describe", "sgrs"],
        ["describe", "pope", "--json"],
        ["data", "list"],
        ["data", "show", "mme"],
        ["score", "--help"],
        ["score", "mme", "--help"],
        ["evaluate", "--help"],
    ]
    found = ran(commands)
    assert [(each["words"], each["code"], each["heavy"]) for each in found] == [
        (words, 0, []) for words in commands
    ]
    assert "--parser" in found[-2]["out"]


def test_a_wrong_config_is_refused_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    commands = []
    for name, (wrong, _) in WRONG.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**GOOD, **wrong}))
        commands.append(["evaluate", str(path)])
    first = commands[0][1]
    others = [["evaluate", first, "--dry-run"], ["check", "batch", first]]
    others += [["analyze", name, first] for name in ("tokens", "layers", "fusion")]
    texts = [text for _, text in WRONG.values()]
    texts += texts[:1] * len(others)
    for each, text in zip(ran([*commands, *others]), texts, strict=True):
        assert each["code"] == 2
        assert text in each["err"]
        assert each["heavy"] == []


SWEEP: dict[str, Any] = {"method": "sgrs", "grids": [{"sgrs.alpha": [0, 0.6]}]}
WRONG_SWEEPS: dict[str, tuple[dict[str, Any], str]] = {
    "no sweep": ({"sweep": None}, "sweep: expected `method` and `grids`"),
    "key of the run": ({"sede": 3}, "Did you mean 'seed'"),
    "decoder": ({"sweep": {**SWEEP, "method": "sgsr"}}, "Did you mean 'sgrs'"),
    "axis": ({"sweep": {**SWEEP, "grids": [{"sgrs.alfa": [0]}]}}, "Did you mean 'alpha'"),
    "value": ({"sweep": {**SWEEP, "grids": [{"sgrs.k": [0]}]}}, "k must be at least 1, got 0"),
}
WRONG_WORDS = {
    "sweep nosuch.yaml": "there is no config file 'nosuch.yaml'",
    "analyze decay nosuch.yaml": "there is no config file 'nosuch.yaml'",
    "analyze decay sweep_sgrs": "expected one over locore.beta",
    "generate IMAGE Q --decoder sgsr": "Did you mean 'sgrs'",
    "generate IMAGE Q --decoder sgrs --set alfa=1": "Did you mean 'alpha'",
    "generate IMAGE Q --intervention locroe": "Did you mean 'locore'",
    "generate IMAGE Q --model pocket-lava": "Did you mean 'pocket-llava'",
    "saliency IMAGE Q -o a.png --set rwo=candidate": "Did you mean 'row'",
    "saliency IMAGE Q -o a.png --set row=last": "option 'row' must be one of",
    "saliency IMAGE Q -o a.gif": "expected a name that ends in .png",
}


def test_wrong_sweeps_and_questions_are_refused_before_anything_heavy_is_imported(
    tmp_path: Path,
) -> None:
    commands, texts = [], []
    for name, (wrong, text) in WRONG_SWEEPS.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**GOOD, "sweep": SWEEP, **wrong}))
        commands.append(["sweep", str(path)])
        texts.append(text)
    image = tmp_path / "a.png"
    image.touch()
    commands += [[str(image) if w == "IMAGE" else w for w in k.split()] for k in WRONG_WORDS]
    commands += [["generate", "nowhere.png", "Q"], ["score", "nowhere"], ["compare", "nowhere"]]
    texts += [*WRONG_WORDS.values(), *["does not exist"] * 3]
    for each, text in zip(ran(commands), texts, strict=True):
        assert each["code"] == 2
        assert text in each["err"]
        assert each["heavy"] == [], each["words"]


SCORERS = """
import json, sys
from lvlmsal.registry import SCORERS
print(json.dumps([[name, SCORERS.get(name).name] for name in SCORERS]))
print(json.dumps([name for name in json.loads(sys.argv[1]) if name in sys.modules]))
"""


def test_scorers_import_of_heavy_packages_only_what_they_count_with() -> None:
    words = [sys.executable, "-c", SCORERS, json.dumps(HEAVY)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    names, heavy = map(json.loads, done.stdout.splitlines())
    assert len(names) > 8
    assert set(heavy) <= {"torch", "numpy", "PIL"}


def test_scoring_answers_imports_no_framework(tmp_path: Path) -> None:
    (tmp_path / "color.txt").write_text(
        "a.jpg\tIs it red?\tYes\tYes\na.jpg\tIs it blue?\tNo\tYes\n"
    )
    (scored,) = ran([["score", "mme", "--results", str(tmp_path), "--json"]])
    assert scored["code"] == 0
    assert json.loads(scored["out"])["accuracy"] == pytest.approx(0.5)
    assert set(scored["heavy"]) <= {"torch", "numpy", "PIL"}
