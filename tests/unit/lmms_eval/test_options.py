"""What `--model_args` of lmms-eval may say, and what is said of mistakes."""

from __future__ import annotations

import ast
import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.errors import ConfigError
from lvlmsal.lmms_eval import manifest
from lvlmsal.lmms_eval.options import Options, read_options

ROOT = Path(__file__).parents[3]


def read(**given: Any) -> Options:
    defaults = {"decoder": None, "interventions": None, "seed": 0, "records": None}
    return read_options(**{"base": "llava_hf", **defaults, **given})


@pytest.mark.parametrize(
    "written",
    [
        "locore+vcd",
        " locore + vcd ",
        '["locore","vcd"]',
        '[{"name": "locore"}, "vcd"]',
        ["locore", {"name": "vcd"}],
    ],
)
def test_interventions_are_names_with_plus_signs_or_json(written: object) -> None:
    assert read(interventions=written).interventions == ({"name": "locore"}, {"name": "vcd"})


def test_options_stand_in_an_object() -> None:
    found = read(
        decoder='{"name":"sgrs","alpha":0.7}', interventions='{"name":"locore","beta":0.3}', seed=4
    )
    assert found.decoder == {"name": "sgrs", "alpha": 0.7}
    assert found.interventions == ({"name": "locore", "beta": 0.3},)
    assert (found.base, found.seed, found.has_method) == ("llava_hf", 4, True)


def test_without_decoder_and_interventions_there_is_no_method() -> None:
    assert not read().has_method
    assert not read(interventions="", decoder="").has_method
    assert read(decoder="greedy").has_method


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"interventions": "locor"}, "unknown intervention 'locor'. Did you mean 'locore'?"),
        ({"decoder": "sgsr"}, "unknown decoder 'sgsr'. Did you mean 'sgrs'?"),
        ({"decoder": "vcd"}, "which edits a decoder: write  interventions=vcd"),
        ({"interventions": "sgrs"}, "which interventions edit: write  decoder=sgrs"),
        ({"decoder": '{"name": "sgrs", "alhpa": 1}'}, "Did you mean 'alpha'?"),
        ({"decoder": '{"name": "sgrs"'}, "is no JSON"),
        ({"interventions": "locore++vcd"}, "expected a name or an object with one, got ''"),
        ({"decoder": "greedy+sgrs"}, "decoder: expected one, got 2"),
        ({"base": None}, "base: says which model of lmms-eval is run, and none is named"),
        ({"base": "openai"}, "'openai' has no torch model in this process"),
        ({"base": "vllm"}, "'vllm' has no torch model in this process"),
        ({"base": "lvlmsal"}, "'lvlmsal' has no torch model in this process"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": True}, "seed: expected a whole number of at least 0, got True"),
        ({"records": "a.jsonl"}, "add decoder=greedy"),
        ({"records": "a.txt", "decoder": "greedy"}, "expected a path that ends in .jsonl"),
    ],
)
def test_mistakes(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**given)
    assert told in str(caught.value)
    assert str(caught.value).startswith("--model_args: ")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read(base="openai", decoder="sgsr", interventions="locor", seed="x")
    assert len(caught.value.problems) == 4


def test_the_entry_point_is_a_function_of_a_module_that_imports_nothing() -> None:
    """What fails there would take the plug-ins of all other packages with it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["lmms_eval.models"]["lvlmsal"].partition(":")
    assert getattr(importlib.import_module(module), name) is manifest.manifest
    for path in ("lvlmsal/lmms_eval/manifest.py", "lvlmsal/lmms_eval/__init__.py"):
        body = ast.parse((ROOT / path).read_text()).body
        imports = [each for each in body if isinstance(each, ast.Import | ast.ImportFrom)]
        assert {ast.unparse(each) for each in imports} <= {
            "from __future__ import annotations",
            "from typing import Any",
        }
