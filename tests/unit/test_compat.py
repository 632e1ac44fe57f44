"""How `make compat` compares answers, and what it takes for a failure."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "compat.py"

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.one" name="good"/>
<testcase classname="tests.one" name="left out"><skipped/></testcase>
<testcase classname="tests.two" name="bad"><failure/></testcase>
<testcase classname="tests.two" name="broken"><error/></testcase>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def compat() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compat_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answers(**changes: Any) -> dict[str, Any]:
    return {"one": [{"tokens": [5, 6], "numbers": [[0.25], []]} | changes], "two": {"numbers": [1]}}


@pytest.mark.parametrize(
    ("found", "cell", "fails"),
    [
        (answers(), "identical", False),
        (answers(numbers=[[0.25 + 2**-20], []]), "equal to 1e-06", False),
        (answers(numbers=[[0.2501], []]), "**differ**", True),
        (answers(numbers=[[math.nan], []]), "**differ**", True),
        (answers(numbers=[[], [0.25]]), "**differ**", True),
        (answers(tokens=[5, 7]), "**differ**", True),
        ({"one": answers()["one"]}, "**differ**", True),
    ],
)
def test_answers_are_compared_in_tokens_exactly_and_in_numbers_closely(
    compat: ModuleType, found: Any, cell: str, fails: bool
) -> None:
    outcome, pinned = compat.Outcome(answers=found), compat.Outcome(answers=answers())
    assert compat.compared(outcome, pinned) == cell
    assert bool(outcome.failed) == fails


def test_a_trial_without_answers_is_not_called_equal(compat: ModuleType) -> None:
    assert compat.compared(compat.Outcome(), compat.Outcome(answers=answers())) == "not known"


def test_tests_are_counted_in_the_report_of_pytest(compat: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert compat.counted(report) == (0, ["pytest did not end"])
    report.write_text(JUNIT)
    assert compat.counted(report) == (1, ["tests.two::bad", "tests.two::broken"])
    report.write_text("<testsuites/>")
    assert compat.counted(report) == (0, ["no test was run"])


def test_what_is_installed_in_front_is_what_the_trial_saw(
    compat: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial whose process sees another version than it asked for has not tried it."""
    trial = compat.Trial("old", "numpy 1.0", ("numpy==1.0",), ("tests",))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ".installed").touch()

    def run(command: list[str], **_: Any) -> Any:
        if command[1].endswith("answers.py"):
            written = {"versions": {"numpy": "2.0"}, "answers": answers()}
            Path(command[2]).write_text(json.dumps(written))
        else:
            (report,) = (part for part in command if part.startswith("--junitxml="))
            Path(report.split("=", 1)[1]).write_text(
                "<testsuite><testcase classname='a' name='b'/></testsuite>"
            )
        return compat.subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(compat, "FOLDER", tmp_path)
    monkeypatch.setattr(compat.subprocess, "run", run)
    outcome = compat.run(trial)
    assert (outcome.tests, outcome.failed) == (1, ["numpy is 2.0 in fact"])


def test_each_version_is_tried_and_the_tests_named_exist(compat: ModuleType) -> None:
    trials = list(compat.trials())
    assert len({trial.name for trial in trials}) == len(trials)
    for trial in trials:
        for test in trial.tests:
            assert (SCRIPT.parents[1] / test.split("::")[0]).exists()
