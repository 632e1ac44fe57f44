"""What tests of whole runs share: a tiny random model, a small scene world, and a browser.

The browser is a Chromium that is already installed: the one that ``CHROMIUM`` names, or the first
on the path. Without one, or without Playwright, tests of pages are skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lvlmsal.cli import main
from lvlmsal.evaluation import Result, evaluate
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.testing.tiny import tiny_lvlm

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line with these words: exit code, output and errors, never a traceback."""

    def start(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        output = capfd.readouterr()
        assert "Traceback" not in output.err
        return code, output.out, output.err

    return start


@pytest.fixture(autouse=True)
def _no_other_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Trainer looks for callbacks of other packages, through what is installed as a whole."""
    home = "lightning.pytorch.trainer.connectors.callback_connector"
    monkeypatch.setattr(f"{home}._load_external_callbacks", lambda group: [])


@pytest.fixture(autouse=True)
def _plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports go without plots, which take a third of a small run; `test_report.py` has them."""
    monkeypatch.setattr("lvlmsal.evaluation.report.page.plots", lambda results: [])


@pytest.fixture(scope="session")
def tiny() -> Lvlm:
    return load(tiny_lvlm("llava"))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a checkpoint folder, which a config can name."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny-llava"
    model, processor = tiny_lvlm("llava")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("data") / "world", images=3, seed=3, shifted=True)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A world of its own, for tests that damage it."""
    return write_world(tmp_path / "world", images=3, seed=3, shifted=True)


def make_config(output: Path, root: Path) -> dict[str, Any]:
    return {
        "output": str(output),
        "models": [{"source": "tiny/llava", "name": "tiny"}],
        "methods": [
            "greedy",
            {"name": "sgrs", "decoder": {"name": "sgrs", "layers": [1]}},
        ],
        "benchmarks": [
            {"name": "pope", "split": "random", "max_new_tokens": 2, "limit": 1},
            {"name": "chair", "max_new_tokens": 3},
        ],
        "data": {"root": str(root)},
        "bootstrap": {"samples": 100},
        "batch_size": 2,
    }


@pytest.fixture
def config(tmp_path: Path, shared_world: Path) -> dict[str, Any]:
    return make_config(tmp_path / "run", shared_world)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, shared_world: Path, tiny: Lvlm) -> Result:
    """A whole run of `config`; tests that change its folder copy it first."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return evaluate(make_config(folder, shared_world), models={"tiny": tiny})


# Not for the whole session: while it runs, Playwright keeps an event loop in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        pytest.skip("no Chromium is installed: apt-get install chromium, or set CHROMIUM")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a file; at the end there must have been no error and no request to anywhere else."""
    complaints: list[str] = []
    contexts = []

    def request(url: str) -> None:
        if not url.startswith(("file:", "data:")):
            complaints.append(f"request to {url}")

    def start(path: Path, *, width: int = 1400, theme: Any = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("request", lambda found: request(found.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(path.as_uri())
        page.wait_for_selector(".token[aria-selected=true]")
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def answer(tiny: Lvlm) -> Callable[..., Result]:
    def start(config: dict[str, Any], *overrides: str) -> Result:
        return evaluate(config, overrides, models={"tiny": tiny})

    return start


@pytest.fixture
def copied(config: dict[str, Any], finished: Result) -> Path:
    folder = Path(config["output"])
    shutil.copytree(finished.folder, folder)
    return folder
