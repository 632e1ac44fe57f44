"""Files for a public host, which cannot run here: they parse, and name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import lvlmsal

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def content(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_targets_that_exist(path: Path) -> None:
    flow = content(path)
    # YAML 1.1 reads the key `on` as true
    assert flow[True]
    assert "permissions" in flow
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    for job in flow["jobs"].values():
        needed = job.get("needs", [])
        assert set([needed] if isinstance(needed, str) else needed) <= set(flow["jobs"])
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            called = re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))
            assert set(called) <= targets
            for script in re.findall(r"^(\.\w+/\w+)", step.get("run", "")):
                assert (ROOT / script).is_file()


def test_the_oldest_and_the_newest_transformers_are_tried() -> None:
    flow = content(ROOT / ".github" / "workflows" / "checks.yml")
    source = (ROOT / "tools" / "compat.py").read_text(encoding="utf-8")
    series = re.search(r"^SERIES = \((.*)\)$", source, flags=re.MULTILINE)
    assert series is not None
    known = re.findall(r'"([\d.]+)"', series[1])
    assert flow["jobs"]["versions"]["strategy"]["matrix"]["transformers"] == [known[0], known[-1]]


def test_publishing_needs_no_stored_secret() -> None:
    texts = [path.read_text(encoding="utf-8") for path in WORKFLOWS]
    assert not any("secrets." in text for text in texts)
    publish = content(ROOT / ".github" / "workflows" / "release.yml")["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}


def test_citation_names_this_version() -> None:
    cited = content(ROOT / "CITATION.cff")
    assert cited["version"] == lvlmsal.__version__
    # required by the format, https://citation-file-format.github.io
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    for author in (*cited["authors"], *cited["preferred-citation"]["authors"]):
        assert {"name"} == set(author) or {"family-names", "given-names"} <= set(author)


def test_forms_of_issues_and_hooks_parse() -> None:
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = content(path)
        assert {"name", "description", "body"} <= set(form)
        assert all({"type", "id", "attributes"} <= set(part) for part in form["body"])
    hooks = content(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    assert all({"id", "name", "entry", "language"} <= set(hook) for hook in hooks)
