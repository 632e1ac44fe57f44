"""Files for a public host, which cannot run here: they parse, and name what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
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


def test_what_workflows_set_up_is_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {oldest}" in project["classifiers"]
    steps = [
        step
        for path in WORKFLOWS
        for job in content(path)["jobs"].values()
        for step in job["steps"]
    ]
    versions = {
        step["with"]["python-version"]
        for step in steps
        if step.get("uses", "").startswith("actions/setup-python")
    }
    assert versions == {oldest}


def test_a_tag_that_is_not_the_version_is_not_published(tmp_path: Path) -> None:
    (command,) = [
        step["run"]
        for step in content(ROOT / ".github" / "workflows" / "release.yml")["jobs"]["build"][
            "steps"
        ]
        if "GITHUB_REF_NAME" in step.get("run", "")
    ]
    # before any package is installed, as there
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    (tmp_path / "python").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    for tag, code in ((f"v{lvlmsal.__version__}", 0), ("v0.0.1", 1)):
        given = {**os.environ, "PATH": path, "GITHUB_REF_NAME": tag}
        assert subprocess.run(command, shell=True, cwd=ROOT, env=given).returncode == code


def test_what_the_papers_of_the_project_name_is_there() -> None:
    names = ("RELEASING.md", "SECURITY.md", ".pre-commit-config.yaml")
    papers = [*(ROOT / name for name in names), *(ROOT / ".github").rglob("*.*")]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    for paper in papers:
        text = paper.read_text(encoding="utf-8")
        paths = re.findall(r"(?<![\w/.])((?:docs|lvlmsal|tools|\.github)/[\w/.-]*\w)", text)
        assert [path for path in paths if not (ROOT / path).exists()] == [], paper.name
        assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets, paper.name


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dev = " ".join(project["optional-dependencies"]["dev"])
    assert all(hook["entry"].split()[0] in dev for hook in hooks)
