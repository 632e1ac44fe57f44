"""Try every version that lvlmsal says it works with, and write docs/compatibility.md.

    make compat                       # all of them, about a quarter of an hour on two cores
    make compat TRANSFORMERS=5.99.0   # this one only; the page stays as it is

The versions come from pyproject.toml (the lower bounds) and from SERIES below; each is installed
into a folder of its own under .compat/ and put in front of what is installed already, which is what
constraints.txt pins. torch stays the one that is there: another one is gigabytes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
FOLDER = ROOT / ".compat"

SERIES = ("5.22.2", "5.23.0", "5.24.0")
"""The last release of each series of transformers that is supported; the last one is pinned."""

# What else an old release needs to be as old, since it refuses or does not know the pinned one.
COMPANIONS = {
    "lightning": ("pytorch-lightning=={version}", "fsspec==2025.12.0", "packaging==24.2"),
    "omegaconf": ("antlr4-python3-runtime==4.9.3",),
}

MODELS = (
    "tests/unit/test_versions.py",
    "tests/unit/model/test_lvlm.py",
    "tests/unit/adapters/test_tiny.py",
    "tests/unit/adapters/test_pocket_checkpoints.py",
    "tests/unit/attention/test_cache.py",
    "tests/unit/attention/test_hooks.py",
    "tests/unit/attention/test_session.py",
    "tests/unit/decoders/opera/test_opera_by_hand.py",
    "tests/unit/saliency/test_rows.py",
    "tests/conformance/test_builtin_decoders.py::test_built_in",
    "tests/conformance/test_builtin_interventions.py::test_built_in",
)
"""The part of the suite for each transformers."""

LIBRARIES = (
    "tests/unit/adapters/test_images.py",
    "tests/unit/evaluation",
    "tests/unit/benchmarks/pope/test_metric.py",
    "tests/unit/statistics",
    "tests/unit/registry",
    "tests/unit/explorer",
    "tests/integration/test_subsets.py",
)
"""The part of the suite for the oldest of everything else."""

ONE_FAMILY = ("-k", "not test_built_in or llava")
"""Of the conformance kit one family; the rest of these files has what is particular to others."""

OTHERS = ("numpy", "pillow", "torchmetrics", "lightning", "omegaconf")
"""Of these the oldest release is tried, each alone and then all together."""

TOLERANCE = 1e-5
"""By which S of the same answer may differ between two versions."""


@dataclass(frozen=True)
class Trial:
    """One set of versions.

    Attributes:
        name: of its folder.
        shown: in the table.
        packages: what is installed in front of the pinned ones.
        tests: that are run.
    """

    name: str
    shown: str
    packages: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass
class Outcome:
    """What came of a trial.

    Attributes:
        failed: what went wrong, empty where nothing did.
        tests: number of tests that passed.
        answers: tokens and numbers by checkpoint and method.
        versions: of the packages, as the trial itself saw them.
    """

    failed: list[str] = field(default_factory=list)
    tests: int = 0
    answers: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def lower_bounds() -> dict[str, str]:
    """Of each dependency of pyproject.toml the oldest version that it lets in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {}
    for requirement in map(Requirement, project["dependencies"]):
        (found[requirement.name],) = (
            bound.version for bound in requirement.specifier if bound.operator == ">="
        )
    return found


def trials() -> Iterator[Trial]:
    """What `make compat` tries."""
    for release in SERIES:
        yield of_transformers(release)
    bounds, everything = lower_bounds(), []
    for name in OTHERS:
        companions = [text.format(version=bounds[name]) for text in COMPANIONS.get(name, ())]
        packages = (f"{name}=={bounds[name]}", *companions)
        everything += packages
        yield Trial(f"{name}-{bounds[name]}", f"{name} {bounds[name]}", packages, LIBRARIES)
    packages = (*everything, f"transformers=={SERIES[0]}")
    shown = f"the five above and transformers {SERIES[0]} together"
    yield Trial("oldest", shown, packages, LIBRARIES)


def of_transformers(release: str) -> Trial:
    """One transformers with everything else as pinned."""
    name = f"transformers-{release}"
    return Trial(name, f"transformers {release}", (f"transformers=={release}",), MODELS)


def run(trial: Trial) -> Outcome:
    """Install what is not there yet, run the tests, and ask for the answers."""
    print(f"--- {trial.shown}", flush=True)
    folder = FOLDER / trial.name
    if not (folder / ".installed").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        where = ["--target", str(folder), "--upgrade", "--no-deps", "--no-compile"]
        if subprocess.run([*pip, *where, *trial.packages], check=False).returncode:
            return Outcome(["pip could not install it"])
        (folder / ".installed").touch()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    outcome = Outcome()
    found = FOLDER / f"{trial.name}.json"
    found.unlink(missing_ok=True)
    command = [sys.executable, str(ROOT / "tools" / "answers.py"), str(found)]
    with logged(trial).open("w") as log:
        shared: dict[str, Any] = {"env": environment, "cwd": ROOT, "stdout": log, "stderr": log}
        if subprocess.run(command, check=False, **shared).returncode:
            outcome.failed.append("answers.py")
        else:
            read = json.loads(found.read_text())
            outcome.answers, outcome.versions = read["answers"], read["versions"]
            for package in trial.packages:
                name, wanted = package.split("==")
                if Version(outcome.versions.get(name, wanted)) != Version(wanted):
                    outcome.failed.append(f"{name} is {outcome.versions[name]} in fact")
        report = FOLDER / f"{trial.name}.xml"
        report.unlink(missing_ok=True)
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ONE_FAMILY]
        subprocess.run([*tests, f"--junitxml={report}", *trial.tests], check=False, **shared)
    passed, failed = counted(report)
    outcome.tests = passed
    outcome.failed += failed
    return outcome


def logged(trial: Trial) -> Path:
    """What the trial said."""
    return FOLDER / f"{trial.name}.log"


def counted(report: Path) -> tuple[int, list[str]]:
    """Number of tests that passed, and the names of those that did not."""
    if not report.exists():
        return 0, ["pytest did not end"]
    passed, failed = 0, []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" not in kinds:
            passed += 1
    return passed, failed if passed or failed else ["no test was run"]


def differences(found: Any, wanted: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Where two files of answers differ, and by how much: infinity where not in a number alone."""
    if isinstance(wanted, dict) and isinstance(found, dict) and found.keys() == wanted.keys():
        for name in wanted:
            yield from differences(found[name], wanted[name], f"{place} {name}".strip())
    elif isinstance(wanted, list) and isinstance(found, list) and len(found) == len(wanted):
        for one, other in zip(found, wanted, strict=True):
            yield from differences(one, other, place)
    elif isinstance(wanted, float) and isinstance(found, float):
        if found != wanted and not (math.isnan(found) and math.isnan(wanted)):
            gap = abs(found - wanted)
            yield place, math.inf if math.isnan(gap) else gap
    elif found != wanted:
        yield place, math.inf


def compared(outcome: Outcome, pinned: Outcome) -> str:
    """The cell of the table on the answers; what differs by too much is a failure."""
    if not outcome.answers or not pinned.answers:
        return "not known"
    gaps = list(differences(outcome.answers, pinned.answers))
    worst = max((gap for _, gap in gaps), default=0.0)
    if worst > TOLERANCE:
        places = sorted({place for place, gap in gaps if gap > TOLERANCE})
        outcome.failed.append(f"other answers ({', '.join(places)})")
        return "**differ**"
    return "identical" if worst == 0 else f"equal to {worst:.0e}"


def table(rows: Sequence[tuple[Trial, Outcome]], pinned: Outcome) -> list[str]:
    """Lines of the page's table."""
    lines = ["| versions | result | tests passed | answers |", "| --- | --- | --- | --- |"]
    for trial, outcome in rows:
        answers = compared(outcome, pinned)
        result = "passed" if not outcome.failed else "**failed**: " + "; ".join(outcome.failed[:3])
        lines.append(f"| {trial.shown} | {result} | {outcome.tests} | {answers} |")
    return lines


def page(rows: Sequence[tuple[Trial, Outcome]], pinned: Outcome) -> str:
    """docs/compatibility.md."""
    python = ".".join(map(str, sys.version_info[:2]))
    pins = ", ".join(f"{name} {number}" for name, number in pinned.versions.items())
    return "\n".join(
        [
            "# Compatibility",
            "",
            "Written by `make compat` (`tools/compat.py`), which names the tests of each row and",
            "fails where a row does. Only what is named in a row differs from the versions of",
            f"`constraints.txt` ({pins}).",
            "",
            *table(rows, pinned),
            "",
            "*Tests passed*: a part of the suite, for transformers the attention, the decoders,",
            "the diagnosis and the conformance kit on one family; for the other packages images,",
            "configs, records, reports and whole runs. *Answers*: a padded batch of two questions",
            "to each shipped model by every registered decoder and intervention, and a diagnosis;",
            "tokens, S and tau are compared with those under the pinned versions, S and tau to",
            f"{TOLERANCE:.0e}.",
            "",
            f"Tried with Python {python} and torch {version('torch')} only: no other Python and no",
            "other torch, nor a CUDA build of it, was tried for this page.",
            "",
            "A transformers outside of the range above is not refused: it warns once, with the",
            "command that checks it (`make compat TRANSFORMERS=<version>` in a checkout).",
            "`pyproject.toml` says why the other bounds are what they are.",
            "",
        ]
    )


def main() -> int:
    """The exit code: 1 where a version failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transformers", help="try this version only; the page stays as it is")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    parser.add_argument("--jobs", type=int, default=cores, help="trials at a time; one a core")
    options = parser.parse_args()
    one: str | None = options.transformers
    FOLDER.mkdir(exist_ok=True)
    pinned_trial = of_transformers(SERIES[-1])
    named = [pinned_trial, *([of_transformers(one)] if one else trials())]
    chosen = list(dict.fromkeys(named))  # none twice at a time in one folder
    with ThreadPoolExecutor(options.jobs) as pool:  # each only waits for its processes
        outcomes = dict(zip(chosen, pool.map(run, chosen), strict=True))
    rows, pinned = list(outcomes.items()), outcomes[pinned_trial]
    print("\n".join(table(rows, pinned)))
    if not one:
        PAGE.write_text(page(rows, pinned))
    for trial, outcome in rows:
        for reason in outcome.failed:
            log = logged(trial).relative_to(ROOT)
            print(f"FAILED: {trial.shown}: {reason} (see {log})", file=sys.stderr)
    return 1 if any(outcome.failed for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
