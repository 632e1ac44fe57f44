"""The guide to a method of one's own is complete: its package is put together and used as told."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from lvlmsal.attention import AttentionContext
from lvlmsal.attention.context import LogitsContext
from lvlmsal.decoders.base import Decoder
from lvlmsal.interventions import (
    AttentionIntervention,
    FeedForwardIntervention,
    HiddenStateIntervention,
    Intervention,
    LogitsIntervention,
)
from lvlmsal.testing.intervention import INTERVENTION_CHECKS
from tests.tiers import in_full

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "add-your-method.md").read_text()
BLOCKS = re.findall(r"^```(python|toml|yaml)\n(.*?)^```$", GUIDE, flags=re.M | re.S)
FILES = {code.partition("\n")[0].removeprefix("# "): code for _, code in BLOCKS}
PYTHON = [name for name in FILES if name.endswith(".py")]

USE_ALL = """
import sys
from PIL import Image
from lvlmsal.evidence import ObjectLister, open_evidence
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.intervention import check_intervention

for color in ("red", "blue"):
    lister = open_evidence({"name": "red-things", "share": 0.5}, ObjectLister)
    print(color, lister.objects(Image.new("RGB", (4, 3), color)))
METHODS = ("image-floor", "blank-contrast", "gray-contrast", "blind-contrast", "two-contrasts")
MORE = ("dim-contrast", "image-memory", "quiet-words", "image-values", "mean-push")
for name in (*METHODS, *MORE):
    assert INTERVENTIONS.origin(name).endswith("(my-methods 0.1)"), INTERVENTIONS.origin(name)
    cls = INTERVENTIONS.get(name)
    assert cls.off
    if name in sys.argv[1:]:
        families = ["llava" if name == "dim-contrast" else "qwen2_vl"]
        check_intervention(INTERVENTIONS.build(name, **cls.strong), families=families)
    print(name, *cls.hooks(), sep=", ")
"""


def table(heading: str, index: int = 0) -> list[list[str]]:
    """Cells of the rows of a table that stands under a heading, its head left out."""
    section = re.split(rf"^## \d+\. {heading}$", GUIDE, flags=re.M)[1]
    section = re.split(r"^## ", section, flags=re.M)[0]
    lines = re.findall(r"(?:^\|.*\n)+", section, flags=re.M)[index].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the guide, in its folder, and installed next to it."""
    folder = tmp_path_factory.mktemp("guide")
    source = folder / "my-methods"
    for name, code in FILES.items():
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    (source / "my_methods" / "__init__.py").touch()
    # A copy: building leaves folders behind, by which the package would be found as well.
    shutil.copytree(source, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--target", str(folder / "site"), str(folder / "source")]
    subprocess.run([*command, *options], check=True)
    return source


def run(package: Path, command: Sequence[str], *, installed: bool = True) -> str:
    """What a command of the guide prints, with the package installed or only on Python's path."""
    path = package.parent / "site" if installed else package
    paths = [str(path), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=package,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_block_is_a_file_and_every_file_is_used() -> None:
    assert set(FILES) == {
        "pyproject.toml",
        "my_methods/image_floor.py",
        "my_methods/blank_contrast.py",
        "my_methods/gray_contrast.py",
        "my_methods/red_things.py",
        "my_methods/blind_contrast.py",
        "my_methods/two_contrasts.py",
        "my_methods/dim_contrast.py",
        "my_methods/image_memory.py",
        "my_methods/quiet_words.py",
        "my_methods/image_values.py",
        "my_methods/mean_push.py",
        "tests/test_image_floor.py",
        "check.py",
        "use.py",
        "floor.yaml",
    }


@pytest.mark.parametrize(
    "checked",
    in_full(
        [
            ["image-memory"],
            ["image-floor", "blank-contrast", "gray-contrast", "blind-contrast"],
            ["two-contrasts", "dim-contrast"],
            ["quiet-words"],
            ["image-values", "mean-push"],
        ],
        but=[["image-memory"]],
    ),
)
def test_its_methods_are_found_by_name_and_keep_every_promise(
    package: Path, checked: list[str]
) -> None:
    assert run(package, ["-c", USE_ALL, *checked]).splitlines() == [
        "red [('something red', 1.0)]",
        "blue []",
        "image-floor, attention weights",
        "blank-contrast, logits, second stream",
        "gray-contrast, logits, second stream",
        "blind-contrast, logits, second stream, second stream's own edits",
        "two-contrasts, logits, second stream, second stream's own edits",
        "dim-contrast, logits, second stream",
        "image-memory, hidden states, prompt",
        "quiet-words, feed-forward",
        "image-values, attention weights, logits",
        "mean-push, feed-forward",
    ]


@pytest.mark.full
def test_its_check_runs(package: Path) -> None:
    assert run(package, ["check.py"]) == ""


@pytest.mark.full
def test_its_test_passes(package: Path) -> None:
    assert "7 passed" in run(package, ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"])


@pytest.mark.full
def test_its_script_runs(package: Path) -> None:
    Image.linear_gradient("L").convert("RGB").save(package / "scene.png")
    lines = run(package, ["use.py", "scene.png"]).splitlines()
    assert lines[0].startswith("torch.Size([2, ")
    assert [line.split()[0] for line in lines[1:]] == ["greedy", "sgrs"]


@pytest.mark.full
def test_its_config_runs_and_compares_with_twins(package: Path) -> None:
    lvlmsal = ["-m", "lvlmsal"]
    assert "the least share, from 0" in run(package, [*lvlmsal, "describe", "image-floor"])
    dry = [*lvlmsal, "evaluate", "floor.yaml", "--dry-run"]
    assert "no problem was found" in run(package, dry)
    small = ["world.images=2", "world.root=runs/small"]
    table = run(package, [*lvlmsal, "evaluate", "floor.yaml", *small])
    assert table.count("against greedy twin") == 2
    assert table.count("against sgrs twin") == 1


@pytest.mark.full
def test_a_file_that_is_not_installed_is_imported_by_the_config(package: Path) -> None:
    code = (
        "from lvlmsal.evaluation import evaluate\n"
        "from lvlmsal.registry import INTERVENTIONS\n"
        "assert 'image-floor' not in INTERVENTIONS\n"
        "evaluate('floor.yaml', ['plugins=[my_methods.image_floor]'], dry_run=True)\n"
        "assert 'image-floor' in INTERVENTIONS\n"
    )
    run(package, ["-c", code], installed=False)


@pytest.mark.full
def test_its_command_answers(package: Path) -> None:
    Image.linear_gradient("L").convert("RGB").save(package / "scene.png")
    (line,) = re.findall(r"^lvlmsal (generate .*)$", GUIDE, flags=re.M)
    assert run(package, ["-m", "lvlmsal", *shlex.split(line)])


@pytest.mark.parametrize("name", PYTHON)
def test_the_block_keeps_the_style(name: str, package: Path) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    # As in tests and scripts of this repository, not every test function says what it does.
    ignored = [] if name.startswith("my_methods/") else ["--ignore", "D"]
    for command in (["check", *ignored], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *command, *config, name],
            cwd=package,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_the_hooks_that_it_names_are_there() -> None:
    bases = {
        "`AttentionIntervention`": AttentionIntervention,
        "`HiddenStateIntervention`": HiddenStateIntervention,
        "`FeedForwardIntervention`": FeedForwardIntervention,
        "`LogitsIntervention`": LogitsIntervention,
        "any of them": Intervention,
        "a `Decoder`": Decoder,
    }
    rows = table("Find the hook")
    assert {base for _, base, _ in rows} == set(bases)
    for _, base, methods in rows[:-1]:
        name = re.findall(r"`(\w+)`", methods)[0]
        assert callable(getattr(bases[base], name)) or name == "sees_images", (base, name)


def test_what_a_context_tells_is_there() -> None:
    for *_, states, logits in table("Find the hook", 1):
        for text, cls in ((states, AttentionContext), (logits, LogitsContext)):
            for name in re.findall(r"`(\w+)", text):
                assert name in {*dir(cls), *(field.name for field in fields(cls))}, name


def test_the_attributes_and_checks_that_it_explains_are_those_that_there_are() -> None:
    attributes = [name for row in table("The file") for name in re.findall(r"`(\w+)`", row[0])]
    told = {name for name in vars(Intervention)["__annotations__"] if not name.startswith("_")}
    assert set(attributes) == told - {"name", "layers"}
    checks = [row[0].strip("`") for row in table("The kit")]
    assert checks == list(INTERVENTION_CHECKS)
