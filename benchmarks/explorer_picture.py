"""The picture of the explorer in README.md and docs/explorer.md: a page of the demo in Chromium.

    lvlmsal evaluate configs/demo.yaml
    python benchmarks/explorer_picture.py

It needs Playwright (the ``dev`` extra) and a Chromium: the one that ``CHROMIUM`` names, or the
first on the path.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from lvlmsal.cli import main as lvlmsal

METHODS = ("greedy", "SGRS + LocoRE")


def take(page: Path, picture: Path, question: str, token: int) -> None:
    """Open a page, choose a question and a token of the right side, and save what is seen.

    Args:
        page: that ``lvlmsal explore`` wrote.
        picture: the file to write, ``.png``.
        question: how the list of the page calls it.
        token: index into the answer on the right; on the left the page chooses the first word that
            names an absent object.
    """
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        sys.exit("no Chromium is installed: apt-get install chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        seen = browser.new_page(viewport={"width": 1360, "height": 920}, color_scheme="light")
        seen.goto(page.absolute().as_uri())
        entry = seen.locator(".entry").filter(has_text=question)
        sample = entry.get_attribute("data-sample")
        entry.click()
        seen.wait_for_selector(f"main[data-sample='{sample}']")
        seen.locator(".side").nth(1).locator(f".token[data-token='{token}']").click()
        seen.mouse.move(0, 0)  # away from the entry, which looks otherwise under it
        seen.screenshot(path=picture)
        browser.close()


def main() -> int:
    """Write the page of a run, and its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--run", default="runs/demo", help="run folder of configs/demo.yaml")
    parser.add_argument("--question", default="STICKERS_000000000009", help="its title in the list")
    parser.add_argument("--token", type=int, default=20, help="index into the right answer")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/explorer.png"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        chosen = [word for method in METHODS for word in ("--method", method)]
        words = ["--model", "pocket-idefics3", "--benchmark", "chair", *chosen]
        if code := lvlmsal(["explore", given.run, *words, "-o", str(page)]):
            return code
        take(page, given.output, given.question, given.token)
    return 0


if __name__ == "__main__":
    sys.exit(main())
