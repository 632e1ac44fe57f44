"""What the repository promises about its own shape."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lvlmsal
import lvlmsal.versions

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINKED = ("registry", "adapters", "configs")
NOT_OURS = {".git", ".venv", ".compat", "build", "dist", "runs", "__pycache__", "lightning_logs"}


def files_of_the_project() -> Iterator[Path]:
    """Every file that belongs to the project, links not followed."""
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [
            name
            for name in subfolders
            if name not in NOT_OURS and not name.endswith((".egg-info", "_cache", ".hypothesis"))
        ]
        # .git is a file in a worktree
        yield from (Path(folder, name) for name in names if name not in NOT_OURS)


@pytest.mark.parametrize("name", LINKED)
def test_top_level_folders_are_linked_into_the_package(name: str) -> None:
    link = ROOT / "lvlmsal" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", name)
    assert PYPROJECT["tool"]["setuptools"]["package-dir"][f"lvlmsal.{name}"] == name


def test_every_folder_of_modules_is_a_package() -> None:
    """`setup.py` finds a folder by this file."""
    folders = {
        Path(folder)
        for folder, _, names in os.walk(ROOT / "lvlmsal", followlinks=True)
        if any(name.endswith(".py") for name in names)
    }
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, lvlmsal, lvlmsal.errors, lvlmsal.registry\n"
        "lvlmsal.CATALOG.names(), repr(lvlmsal.DECODERS), dir(lvlmsal)\n"
        "heavy = {'torch', 'transformers', 'lightning', 'torchmetrics', 'numpy', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names() -> None:
    for name in lvlmsal.__all__:
        assert getattr(lvlmsal, name) is not None
        assert name in dir(lvlmsal)
    assert set(lvlmsal._HOMES) <= set(lvlmsal.__all__)
    with pytest.raises(AttributeError, match=r"module 'lvlmsal' has no attribute 'SGSR'"):
        lvlmsal.SGSR  # noqa: B018 - the lookup is the test


def test_public_names_are_the_objects_of_their_modules() -> None:
    from lvlmsal.interventions.locore import LocoRE
    from lvlmsal.model.loading import load

    assert lvlmsal.LocoRE is LocoRE
    assert lvlmsal.load is load


def test_the_command_is_installed() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="lvlmsal")
    assert callable(command.load())


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    by_name = {canonicalize_name(name): version for name, version in pins}
    assert len(by_name) == len(pins)
    return by_name


def _requirements(distribution: str, extras: set[str], seen: dict[str, Requirement]) -> None:
    for text in importlib.metadata.requires(distribution) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        wanted = marker is None or any(marker.evaluate({"extra": e}) for e in {"", *extras})
        name = canonicalize_name(requirement.name)
        if wanted and (name not in seen or requirement.extras - seen[name].extras):
            seen[name] = requirement
            _requirements(requirement.name, requirement.extras, seen)


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    pins = _pins()
    assert pins["torch"] == "2.13.0"
    for section in (
        PYPROJECT["project"]["dependencies"],
        *PYPROJECT["project"]["optional-dependencies"].values(),
    ):
        for requirement in map(Requirement, section):
            if requirement.name != "lvlmsal":
                pin = pins[canonicalize_name(requirement.name)]
                assert pin in requirement.specifier, f"{requirement} against {pin}"
                assert requirement.specifier, f"{requirement} has no lower bound"


def test_every_dependency_of_users_has_an_upper_bound_but_transformers() -> None:
    """A newer transformers warns instead, see lvlmsal/versions.py."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    sections = [texts for name, texts in extras.items() if name not in ("all", "dev")]
    open_ended = {
        requirement.name
        for section in (PYPROJECT["project"]["dependencies"], *sections)
        for requirement in map(Requirement, section)
        if not any(bound.operator in ("<", "<=", "==") for bound in requirement.specifier)
    }
    assert open_ended == {"transformers"}


def test_bounds_and_pins_agree_with_what_is_tried() -> None:
    compat = _tool("compat")
    pins, bounds = _pins(), compat.lower_bounds()
    assert bounds["transformers"] == lvlmsal.versions.OLDEST
    series = [".".join(release.split(".")[:2]) for release in compat.SERIES]
    assert series[0] == lvlmsal.versions.OLDEST
    assert series[-1] == lvlmsal.versions.NEWEST
    assert compat.SERIES[-1] == pins["transformers"]
    page = (ROOT / "docs" / "compatibility.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", page, flags=re.M)[2:]
    assert rows == [(trial.shown, "passed") for trial in compat.trials()]
    for name in ("transformers", *compat.OTHERS):
        assert f"{name} {pins[name]}" in page


def _tool(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_requirements_of_requirements_are_pinned_too() -> None:
    needed: dict[str, Requirement] = {}
    _requirements("lvlmsal", {"all", "dev"}, needed)
    # torch for CUDA brings the libraries of its maker; which ones depends on the index.
    cuda = ("nvidia-", "cuda-", "triton")
    missing = {name for name in needed if name not in _pins() and not name.startswith(cuda)}
    assert missing <= {"lvlmsal"}


def test_release_files_agree_on_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == lvlmsal.__version__
    assert importlib.metadata.version("lvlmsal") == lvlmsal.__version__


def test_every_release_in_the_changelog_speaks_of_numbers() -> None:
    releases = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1:]
    assert releases[0].startswith("[Unreleased]")
    for release in releases:
        assert re.search(r"^### Numbers\n\n- \S", release, flags=re.M), release.splitlines()[0]


@pytest.mark.parametrize(
    ("folders", "limit"), [(("lvlmsal", *LINKED), 300), (("tests", "benchmarks", "tools"), 500)]
)
def test_files_stay_readable(folders: tuple[str, ...], limit: int) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in files_of_the_project()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders
    }
    assert lengths
    assert {name: length for name, length in lengths.items() if length > limit} == {}


def test_nothing_refers_to_one_persons_machine() -> None:
    # Absolute paths of a home or a scratch folder, and folders next to the repository.
    local = re.compile(r"(?<![\w.])/(?:work|tmp|home|root|Users|mnt)/\w|\.\./shared\b")
    binary = {".safetensors", ".png", ".pyc", ".gz"}
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files_of_the_project()
        if path.suffix not in binary and path != Path(__file__)
        for match in local.finditer(path.read_text(encoding="utf-8"))
    }
    assert found == set()
