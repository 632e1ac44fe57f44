"""A separate package, installed, is found by its entry points and used like the built-ins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.full  # what a plugin brings is tried in test_contributing.py, too

PLUGIN = Path(__file__).parents[1] / "example_plugin"

# Runs in a process of its own, where the package is installed; nothing of it is imported by hand.
USE = """
import sys, warnings
import torch
import lvlmsal
from lvlmsal.adapters import adapter_for
from lvlmsal.registry import ADAPTERS, DECODERS, INTERVENTIONS, METRICS
from lvlmsal.testing.tiny import tiny_inputs, tiny_model

warnings.filterwarnings("error", message=".*plugin.*left out")
PACKAGE = "lvlmsal_example_plugin"
assert not any(name.startswith(PACKAGE) for name in sys.modules)

origin = DECODERS.origin("typical")
assert origin == f"{PACKAGE}.decoder:Typical (lvlmsal-example-plugin 0.3)", origin
assert {"sharpen", "locore"} <= set(INTERVENTIONS.names())
assert INTERVENTIONS.problems("sharpen", {"factor": -1, "fctor": 2}) == [
    "intervention 'sharpen': unknown option 'fctor'. Did you mean 'factor'? "
    "Options: factor, layers"
]

model, inputs = tiny_model("llava"), tiny_inputs("llava", (1, 1))

def answer(decoder, *interventions):
    with lvlmsal.intervene(model, *interventions):
        kwargs = decoder.generate_kwargs(seed=1, sample_ids=["a", "b"])
        ids = model.generate(**inputs, max_new_tokens=12, **kwargs)
    return ids[:, inputs["input_ids"].shape[1] :]

greedy = DECODERS.build("greedy")
plain = answer(greedy)
assert torch.equal(answer(greedy, INTERVENTIONS.build("sharpen", factor=1)), plain)
assert not torch.equal(answer(greedy, INTERVENTIONS.build("sharpen", factor=0.2)), plain)
typical = answer(DECODERS.build("typical", mass=0.5))
assert typical.shape == plain.shape and not torch.equal(typical, plain)

metric = METRICS.build("hedging", words=["maybe"])
answers = ["Maybe a cat", "a cat", "a dog, maybe", "perhaps"]
assert metric.score(answers, [None] * 4)["hedging"] == 0.5

own = ADAPTERS.get("ExampleForConditionalGeneration")
assert own.__module__ == f"{PACKAGE}.adapter"
model.__class__ = sys.modules[own.__module__].ExampleForConditionalGeneration
adapter = adapter_for(model)
assert type(adapter) is own
spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
assert [len(sample.images) for sample in spans] == [1, 1]
print("used")
"""

# Its benchmark is evaluated, shown with the columns of its metric, and scored.
EVALUATE = """
import json, pathlib, sys
from PIL import Image
from lvlmsal.evaluation import evaluate
from lvlmsal.registry import BENCHMARKS, SCORERS

root = pathlib.Path(sys.argv[1])
for color in ("red", "blue"):
    Image.new("RGB", (28, 28), color).save(root / f"{color}.png")
lines = [{"image": f"{color}.png", "color": color} for color in ("red", "blue")]
(root / "tints.jsonl").write_text("\\n".join(map(json.dumps, lines)))
found = evaluate({
    "models": ["pocket-llava"],
    "benchmarks": [{"name": "tint", "root": str(root), "max_new_tokens": 3}],
    "methods": [{"name": "greedy", "decoder": "greedy"}],
    "output": str(root / "run"),
})
print(found.markdown())
answers = [{"image": f"{color}.png", "answer": "It is blue ."} for color in ("red", "blue")]
(root / "answers.jsonl").write_text("\\n".join(map(json.dumps, answers)))
print(SCORERS.build("tint", root=root, answers=root / "answers.jsonl").score())
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed into it, as `pip install` would into site-packages."""
    folder = tmp_path_factory.mktemp("plugin")
    # A copy: building leaves folders behind.
    shutil.copytree(PLUGIN, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--target", str(folder / "site"), str(folder / "source")]
    subprocess.run([*command, *options], check=True)
    return folder / "site"


def run(code: str, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_plugin_is_used_by_name(site: Path) -> None:
    done = run(USE, site)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "used"


def test_a_benchmark_of_the_plugin_runs_and_shows_its_own_columns(
    site: Path, tmp_path: Path
) -> None:
    done = run(EVALUATE, site, str(tmp_path))
    assert done.returncode == 0, done.stderr
    (head,) = re.findall(r"^\|.*color named.*\|$", done.stdout, flags=re.M)
    assert "length" not in head
    assert "{'metric': 'tint', 'named': 0.5, 'length': 4.0}" in done.stdout


def test_a_broken_plugin_is_reported_and_the_rest_works(site: Path, tmp_path: Path) -> None:
    broken = tmp_path / "site"
    shutil.copytree(site, broken)
    (broken / "lvlmsal_example_plugin" / "intervention.py").write_text("import no_such_module")
    code = (
        "from lvlmsal.registry import DECODERS, INTERVENTIONS\n"
        "print('sharpen' in INTERVENTIONS, 'locore' in INTERVENTIONS, 'typical' in DECODERS)"
    )
    done = run(code, broken)
    assert done.stdout.strip() == "False True True", done.stderr
    assert "the intervention plugin 'sharpen' of lvlmsal-example-plugin 0.3" in done.stderr
    assert "ModuleNotFoundError: No module named 'no_such_module'" in done.stderr
