"""What the tests cost: CPU seconds of each test file, written into docs/development.md.

    python tools/durations.py [arguments of pytest, such as -n 2 or a folder]

CPU time, of a test and of the processes that it waits for, says the same on a busy machine as on an
idle one. What a shared fixture costs counts for the first test that asks for it. The table is made
if every test passed, and goes into the page if no folder, file or marker was asked for.
"""

from __future__ import annotations

import re
import resource
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "development.md"
TIERS = ("fast", "slow", "full")
SHOWN = 25


def used() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


class Durations:
    """A pytest plugin; workers measure, and their reports carry it to the process that adds up."""

    def __init__(self) -> None:
        self.last = 0.0
        self.seconds: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.tests: Counter[str] = Counter()

    def pytest_runtest_logstart(self) -> None:
        """What came before, such as collecting, is not the test's."""
        self.last = used()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        """Give the report of each phase its tier and its seconds."""
        report = yield
        now = used()
        marks = [tier for tier in TIERS if item.get_closest_marker(tier)]
        report.spent, self.last = (marks[-1] if marks else "fast", now - self.last), now
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Add up, here or in the process that the worker reports to."""
        tier, seconds = report.spent
        file = report.nodeid.partition("::")[0]
        self.seconds[file][tier] += seconds
        self.tests[file] += report.when == "call"

    def table(self) -> str:
        """All tiers together, and the files that cost most."""
        total = sum(self.seconds.values(), Counter())
        order = sorted(self.seconds, key=lambda file: -self.seconds[file].total())
        rows = [("**all files**", self.tests.total(), total)]
        rows += [(f"`{file}`", self.tests[file], self.seconds[file]) for file in order[:SHOWN]]
        lines = [f"| file | tests | {' | '.join(TIERS)} |", "| --- | ---: | ---: | ---: | ---: |"]
        for name, tests, seconds in rows:
            cells = [f"{seconds[tier]:.0f}" if seconds[tier] else "" for tier in TIERS]
            lines.append(f"| {name} | {tests} | {' | '.join(cells)} |")
        return "\n".join(lines)


def pytest_configure(config: pytest.Config) -> None:
    """Workers load this file by its name."""
    config.pluginmanager.register(Durations(), "durations-of-tests")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Only the process that adds up writes."""
    if hasattr(session.config, "workerinput") or exitstatus:
        return
    found: Any = session.config.pluginmanager.get_plugin("durations-of-tests")
    if (
        session.config.args_source is pytest.Config.ArgsSource.ARGS
        or session.config.option.markexpr
    ):
        print("\n" + found.table())
        return
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- durations: tools/durations.py writes this -->\n", "<!-- /durations -->"
    new, count = re.subn(
        f"{begin}.*?{end}", lambda _: f"{begin}{found.table()}\n{end}", text, flags=re.S
    )
    if count != 1:
        raise RuntimeError(f"{PAGE} must hold the lines {begin.strip()} and {end} once")
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(pytest.main(["-p", "durations", *sys.argv[1:]]))
