"""Names that packages offer and import late: complete, the same for type checkers, and cheap."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lvlmsal
from lvlmsal import registry
from lvlmsal.errors import DataError, UnknownName

PACKAGES: dict[str, tuple[str, ...]] = {
    "lvlmsal": (),
    "lvlmsal.adapters": ("ADAPTERS",),
    "lvlmsal.benchmarks": ("BENCHMARKS", "SCORERS"),
    "lvlmsal.decoders": ("DECODERS",),
    "lvlmsal.detection": ("DETECTORS",),
    "lvlmsal.evaluation": (),
    "lvlmsal.evidence": (),
    "lvlmsal.interventions": ("INTERVENTIONS",),
    "lvlmsal.metrics": ("METRICS",),
    "lvlmsal.sweeps": (),
}


def seen_by_type_checkers(package: ModuleType) -> dict[str, str]:
    """Names to the modules that a type checker takes them from."""
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    assert [ast.unparse(block.test) for block in blocks] == ["TYPE_CHECKING"]
    imports = [node for node in blocks[0].body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


@pytest.mark.parametrize("name", PACKAGES)
def test_late_names_are_those_of_type_checkers(name: str) -> None:
    package = importlib.import_module(name)
    typed = seen_by_type_checkers(package)
    eager = {key for key in package.__all__ if key not in typed}
    assert set(typed) | eager == set(package.__all__)
    assert all(isinstance(getattr(package, key), type) for key in eager)  # the errors
    for key, home in typed.items():
        assert getattr(package, key) is getattr(importlib.import_module(home), key), key
        assert key in dir(package)


@pytest.mark.parametrize(
    ("package", "kind"), [(name, kind) for name, kinds in PACKAGES.items() for kind in kinds]
)
def test_every_built_in_class_is_a_name_of_its_package(package: str, kind: str) -> None:
    known: registry.Registry[Any] = getattr(registry, kind)
    # Other packages may be installed here that bring classes of their own.
    built_in = [name for name in known if known.origin(name).startswith("lvlmsal.")]
    assert len(built_in) > 4
    for name in built_in:
        cls = known.get(name)
        assert getattr(importlib.import_module(package), cls.__name__) is cls


def test_packages_and_listings_import_nothing_heavy() -> None:
    code = (
        "import importlib, sys, lvlmsal\n"
        f"for name in {list(PACKAGES)}: importlib.import_module(name)\n"
        "listed = lvlmsal.list_methods, lvlmsal.list_adapters, lvlmsal.list_benchmarks\n"
        "assert all(len(names()) > 4 for names in (*listed, lvlmsal.list_checkpoints))\n"
        "heavy = {'torch', 'transformers', 'lightning', 'torchmetrics', 'numpy', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_misspelled_name_is_answered_with_the_one_that_is_meant() -> None:
    with pytest.raises(AttributeError) as caught:
        lvlmsal.lode  # noqa: B018 - the lookup is the test
    # what Python makes its suggestion from
    assert (caught.value.name, caught.value.obj) == ("lode", lvlmsal)


def test_listed_methods_are_those_that_generate_takes() -> None:
    decoders, interventions = (lvlmsal.list_methods(kind=k) for k in ("decoder", "intervention"))
    assert {"greedy", "sgrs"} <= set(decoders)
    assert {"locore", "vcd"} <= set(interventions)
    assert lvlmsal.list_methods() == sorted([*decoders, *interventions])
    assert lvlmsal.list_methods("no-such*") == []
    with pytest.raises(UnknownName, match="Did you mean 'decoder'"):
        lvlmsal.list_methods(kind="decoders")  # type: ignore[arg-type]


def test_score_takes_the_answer_files_of_a_scorer(tmp_path: Path) -> None:
    (tmp_path / "color.txt").write_text(
        "a.jpg\tIs it red?\tYes\tYes\na.jpg\tIs it blue?\tNo\tYes\n"
    )
    assert lvlmsal.score("mme", results=str(tmp_path))["accuracy"] == pytest.approx(0.5)
    with pytest.raises(lvlmsal.ConfigError, match="results"):
        lvlmsal.score("mme")
    with pytest.raises(DataError, match="is not a run folder"):
        lvlmsal.score(tmp_path)
