"""How figures of files are printed: no number is broken, however narrow the terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from lvlmsal.cli import score as module


@pytest.mark.parametrize("width", [80, 140])
def test_wide_tables_are_turned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setattr(module, "new_console", lambda: Console(width=width))
    names = ("accuracy", "accuracy_yes_no", "accuracy_number", "accuracy_unanswerable", "f1")
    rules = {
        rule: {name: (10 * row + column) / 100 for column, name in enumerate(names)}
        for row, rule in enumerate(("vizwiz-api", "lmms-eval"))
    }
    module.print_scores({"metric": "vizwiz", "rules": rules}, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["metric: vizwiz", "rules:"]
    assert max(map(len, lines)) <= width
    cells = [
        [part.strip() for part in line.strip("│┃").split("│")] for line in lines if "│" in line
    ]
    if width == 140:
        assert cells[1] == ["lmms-eval", "0.1000", "0.1100", "0.1200", "0.1300", "0.1400"]
    else:
        assert cells[3] == ["accuracy_unanswerable", "0.0300", "0.1300"]


def test_no_escape_code_of_a_category_acts(capsys: pytest.CaptureFixture[str]) -> None:
    rules = {"one": {"a\x1b[31mred": 0.5, "other": "\x1b[2J"}}
    module.print_scores({"metric": "x", "rules": rules}, as_json=False)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert r"a\u001b[31mred" in said
