"""Who may import whom: the parts of the package stand on top of one another, in one direction.

Imports for type checkers only count as others do.
"""

from __future__ import annotations

import ast
import graphlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the bottom up; a floor may import those above it in this list. A part is a folder or a module
# of the package, or one of the parts of a folder that is named with them.
FLOORS = [
    {"colors", "escaping", "lazy", "pictures", "secrets"},
    {"errors", "pages", "progress", "tables"},
    {"frames", "readers", "registry", "versions"},
    {"adapters"},
    {"attention", "fits", "tiny"},
    {"evidence", "saliency"},
    {"interventions"},
    {"explorer"},
    {"metrics"},
    {"statistics"},
    {"detection"},
    {"decoders"},
    {"model"},
    {"benchmarks", "hub"},
    {"data", "judges"},
    {"configs", "pocket"},
    {"evaluation.config"},
    {"evaluation.results"},
    {"evaluation.report"},
    {"evaluation.run"},
    {"evaluation"},
    {"analysis", "comparisons", "lmms_eval", "sweeps"},
    {"cli"},
    {"__main__", "testing"},
]
# Parts that know less than their floor would let them.
ONLY = {
    "registry": {"errors", "secrets"},
    "readers": {"errors"},
    "metrics": {"errors", "lazy", "readers", "registry"},
    "statistics": {"errors", "metrics"},
    "benchmarks": {"errors", "lazy", "progress", "readers", "registry", "metrics", "statistics"},
    "data": {"errors", "progress", "readers", "registry", "metrics", "benchmarks"},
    "judges": {"errors", "lazy", "secrets", "readers", "registry", "metrics"},
}

# Imports that point upwards or in a circle, and are for type checkers only.
FOR_TYPES_ONLY = {
    # A registry is named after the class that its entries must have, and says so to type checkers;
    # the class itself is imported at the first use.
    "lvlmsal.registry": {
        "lvlmsal.adapters.base",
        "lvlmsal.benchmarks.base",
        "lvlmsal.benchmarks.scorer",
        "lvlmsal.decoders.base",
        "lvlmsal.detection.base",
        "lvlmsal.evidence.base",
        "lvlmsal.interventions.base",
        "lvlmsal.metrics.base",
    },
    # Entry points are registered with the registry that asks for them.
    "lvlmsal.registry.plugins": {"lvlmsal.registry.core"},
    # Metrics lie next to what they count, and are offered by this package as well: at run time it
    # knows their names only.
    "lvlmsal.metrics": {"lvlmsal.pocket.statements.metric"}
    | {
        f"lvlmsal.benchmarks.{name}.metric"
        for name in (
            *("amber", "captions", "chair", "hallusionbench", "llava_bench", "mm_vet", "mme"),
            *("pope", "scienceqa", "video_chatgpt", "video_qa", "vizwiz"),
        )
    },
    # The benchmark of the worlds stands on these.
    "lvlmsal.benchmarks": {"lvlmsal.pocket.statements.benchmark"},
    # The list of the sessions that are open, which a session asks who acts besides it.
    "lvlmsal.attention.scopes": {"lvlmsal.attention.session"},
    # A loop reads the options of the decoder that has made it.
    "lvlmsal.decoders.guided.loop": {"lvlmsal.decoders.guided.decoder"},
    "lvlmsal.decoders.halc.candidates": {"lvlmsal.decoders.halc.decoder"},
    "lvlmsal.decoders.opera.search": {"lvlmsal.decoders.opera.decoder"},
    "lvlmsal.decoders.reverse.loop": {"lvlmsal.decoders.reverse.decoder"},
    "lvlmsal.decoders.reverse.tries": {"lvlmsal.decoders.reverse.decoder"},
    "lvlmsal.decoders.sgrs.loop": {"lvlmsal.decoders.sgrs.decoder"},
}


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for folder, _, names in os.walk(ROOT / "lvlmsal", followlinks=True):
        for name in names:
            if name.endswith(".py"):
                path = Path(folder, name)
                dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found[dotted.removesuffix(".__init__")] = ast.parse(path.read_text())
    return found


def imports(node: ast.AST, *, deferred: bool) -> Iterator[str]:
    """The modules of the package that a tree imports, those for type checkers only among them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not deferred:
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in modules())
        elif isinstance(child, ast.ImportFrom) and child.module in modules():
            for alias in child.names:
                nested = f"{child.module}.{alias.name}"
                yield nested if nested in modules() else child.module
        yield from imports(child, deferred=deferred)


PARTS = {name for floor in FLOORS for name in floor}


def part(module: str) -> str:
    names = module.split(".")[1:]
    return next((name for name in (".".join(names[:2]), *names[:1]) if name in PARTS), "")


def test_the_table_is_complete() -> None:
    assert {module for module in modules() if not part(module)} == {"lvlmsal"}
    assert {part(module) for module in modules()} == {"", *PARTS}


def type_checking(tree: ast.Module) -> ast.Module:
    """What a module imports for type checkers only."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    found = [block for block in blocks if "TYPE_CHECKING" in ast.unparse(block.test)]
    return ast.Module(list[ast.stmt](found), [])


def arrows(module: str, *, deferred: bool) -> set[str]:
    """What a module may be asked about: its imports without the exceptions above."""
    return set(imports(modules()[module], deferred=deferred)) - FOR_TYPES_ONLY.get(module, set())


def test_the_exceptions_are_for_types_only_and_none_is_stale() -> None:
    for module, targets in FOR_TYPES_ONLY.items():
        tree = modules()[module]
        for_types = set(imports(type_checking(tree), deferred=True))
        assert targets <= for_types, module
        rest = [node for node in tree.body if not isinstance(node, ast.If)]
        assert not targets & set(imports(ast.Module(rest, []), deferred=True)), module


def test_relative_imports_are_not_used() -> None:
    relative = [
        f"{module}:{node.lineno}"
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.parametrize("name", sorted(PARTS))
def test_imports_point_downwards(name: str) -> None:
    floor = next(index for index, names in enumerate(FLOORS) if name in names)
    allowed = ONLY.get(name) or {below for names in FLOORS[:floor] for below in names}
    wrong = {
        f"{module} imports {target}"
        for module in modules()
        if part(module) == name
        for target in arrows(module, deferred=True)
        if part(target) not in {*allowed, name, ""}
    }
    assert wrong == set()


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {module: arrows(module, deferred=False) for module in modules()}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) >= set(modules())
