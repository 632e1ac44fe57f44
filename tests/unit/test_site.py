"""The documentation as a site: it builds, and what it quotes is what the program says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.full
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Every page is in the navigation, every link and every reference leads somewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "api" / "interventions.html").read_text(encoding="utf-8")
    assert "Strengthens the attention to the most recent context tokens" in page


@pytest.mark.slow
def test_the_command_page_is_what_the_program_says() -> None:
    command = [sys.executable, "-m", "typer", "lvlmsal.cli.app", "utils", "docs"]
    command += ["--name", "lvlmsal", "--title", "Commands"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert page.strip() == told.strip(), "type: make docs"


def test_every_message_of_the_troubleshooting_page_exists() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r'^\| "(.+?)" \|', page, flags=re.MULTILINE)
    assert len(quoted) > 8
    folders = ("lvlmsal", "adapters", "registry")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    # messages are broken over lines of source
    code = " ".join(re.sub(r'"\s+f?"', "", path.read_text(encoding="utf-8")) for path in paths)
    assert [words for words in quoted if words not in code] == []
