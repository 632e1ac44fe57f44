"""The source distribution and the wheel, built and installed as a user would get them."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import lvlmsal
from tests.readme import PREPARED, README, blocks

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(
    ".*", "runs", "build", "dist", "__pycache__", "*.egg-info", "lightning_logs", "tests"
)
DATA = {
    *(".yaml", ".safetensors", ".json", ".jinja", ".md", ".txt", ".typed"),
    *(".html", ".css", ".js"),
}

NAMED = f"lvlmsal-{lvlmsal.__version__}.dist-info"

USE = """
import importlib.metadata, importlib.resources, pathlib, sys
import lvlmsal
from lvlmsal.registry import ADAPTERS, BENCHMARKS, CATALOG, DECODERS, INTERVENTIONS, METRICS
import lvlmsal.cli
place = pathlib.Path(lvlmsal.__file__).parent
assert place.parent == pathlib.Path(sys.argv[1]), place
assert importlib.metadata.version("lvlmsal") == lvlmsal.__version__
for registry in (ADAPTERS, BENCHMARKS, DECODERS, INTERVENTIONS, METRICS):
    assert registry.names(), registry
    for name in registry:
        module = sys.modules[registry.get(name).__module__]
        assert pathlib.Path(module.__file__).is_relative_to(place), module
assert CATALOG.get("pocket-llava").folder.is_relative_to(place)
assert importlib.resources.files("lvlmsal.configs").joinpath("__init__.py").is_file()
# nothing leads back to the tree that the tests run in
assert not [found for found in sys.meta_path if "editable" in str(found)], sys.meta_path
assert not [folder for folder in sys.path if pathlib.Path(folder, "adapters/llava.py").is_file()]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, which is built from a copy of the tree."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=LEFT_OUT)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", "out", "tree"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (built,) = (folder / "out").glob("*.whl")
    return built


def tree() -> set[str]:
    """What the wheel should hold: all modules and all data of the package, by their paths in it."""
    return {
        str(Path(folder, name).relative_to(ROOT))
        for folder, _, names in os.walk(ROOT / "lvlmsal", followlinks=True)
        for name in names
        if "__pycache__" not in folder and (name.endswith(".py") or Path(name).suffix in DATA)
    }


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"lvlmsal", NAMED}
    assert {name for name in names if name.startswith("lvlmsal/")} == tree()
    assert f"{NAMED}/licenses/LICENSE" in names
    assert {"lvlmsal/py.typed", "lvlmsal/registry/checkpoints/llava-1.5-7b.yaml"} <= names


def test_the_wheel_stays_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 30e6


class Installed:
    """An environment of its own with the wheel in it, and nothing else of this project.

    The packages that lvlmsal needs are those of this environment, which stand behind on the path:
    their folder is named in a .pth file, so that no .pth file in it is read, and no editable
    installation is seen.
    """

    def __init__(self, wheel: Path, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        self.programs = folder / ("Scripts" if os.name == "nt" else "bin")
        python = str(self.programs / "python")
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
        found = self.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        self.packages = Path(found.strip())
        others = "\n".join(site.getsitepackages())
        (self.packages / "others.pth").write_text(others, encoding="utf-8")

    def run(self, program: str, *words: str, folder: Path | None = None) -> str:
        """Run a program of the environment, as from a shell that knows nothing of this one."""
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "DISPLAY", "WAYLAND_DISPLAY")
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        done = subprocess.run(
            [str(self.programs / program), *words],
            cwd=folder,
            env=kept,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("empty") / "venv")


def test_the_installed_wheel_works_away_from_the_tree(installed: Installed, tmp_path: Path) -> None:
    installed.run("python", "-c", USE, str(installed.packages), folder=tmp_path)


def test_the_readme_runs_from_the_wheel(installed: Installed, tmp_path: Path) -> None:
    """Its lines as they stand: Python, and the commands that it names for its config."""
    (tmp_path / "lines.py").write_text("\n".join([PREPARED, *blocks("python")]), encoding="utf-8")
    installed.run("python", "lines.py", folder=tmp_path)
    (config,) = blocks("yaml")
    (name,) = re.findall(r"lvlmsal evaluate (\S+\.yaml) --dry-run", README)
    (tmp_path / name).write_text(config, encoding="utf-8")
    told = installed.run("lvlmsal", "evaluate", name, "--dry-run", folder=tmp_path)
    assert "locore" in told
    assert "locore" in installed.run("lvlmsal", "list", folder=tmp_path)


def test_a_run_from_the_wheel_has_its_report(installed: Installed, tmp_path: Path) -> None:
    """The demo, which reads packaged configs, weights and templates, as small as it can be."""
    sizes = ["world.images=2", "methods=[greedy,locore]", "models=[pocket-llava]"]
    asked = ["benchmarks=[{name: pope, max_new_tokens: 2, limit: 1}]", "output=run"]
    installed.run("lvlmsal", "evaluate", "demo", *sizes, *asked, "world.root=w", folder=tmp_path)
    assert "</html>" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    command = ["lvlmsal", "explore", "run", "-o", "page.html", "--limit", "1"]
    installed.run(*command, folder=tmp_path)
    assert (tmp_path / "page.html").is_file()


def test_its_extras_are_those_that_the_docs_name(wheel: Path) -> None:
    metadata = zipfile.ZipFile(wheel).read(f"{NAMED}/METADATA").decode()
    extras = set(re.findall(r"^Provides-Extra: (\S+)", metadata, flags=re.MULTILINE))
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "lvlmsal").rglob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in pages]
    named = {
        extra
        for text in texts
        for some in re.findall(r"pip install [^\n`]*?['\"](?:lvlmsal|\.)\[([\w,]+)\]", text)
        for extra in some.split(",")
    }
    assert {"all", "plot"} <= named
    assert named <= extras
