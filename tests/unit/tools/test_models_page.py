"""The page about models: a row for every adapter, and what the kit found in the kit's words."""

from __future__ import annotations

from pathlib import Path

import families
import pytest

from lvlmsal.adapters.refused import REFUSED
from lvlmsal.errors import UnsupportedError

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")


def rows(page: str) -> dict[str, list[str]]:
    """The cells of each row of the first table, by class."""
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    whole = [cells for cells in lines if len(cells) == len(families.COLUMNS) + 4]
    return {cells[1]: cells for cells in whole if cells[1] not in ("class", "---")}


def test_every_adapter_has_a_row() -> None:
    names = families.built_in()
    shown = [name.replace("ForConditionalGeneration", "") for name in names]
    assert list(rows(PAGE)) == shown


def test_everything_refused_is_named() -> None:
    assert all(f"{name}" in PAGE.replace("\\", "") for name in REFUSED)


def test_what_fails_is_said() -> None:
    fine = {column: {"this": ""} for column in families.COLUMNS}
    broken = {**fine, "SGRS": {"sgrs": "off by 1", "decoder sgrs": ""}}
    page = families.page(
        {
            "LlavaForConditionalGeneration": fine,
            "Qwen2VLForConditionalGeneration": broken,
            "JanusForConditionalGeneration": {column: {} for column in families.COLUMNS},
        }
    )
    table = rows(page)
    assert table["Llava"][2:-1] == [*["yes"] * len(families.COLUMNS), "as images"]
    assert "llava-1.5-7b" in table["Llava"][-1]
    assert table["Qwen2VL"][2 + families.COLUMNS.index("SGRS")] == "no"
    assert "- Qwen2-VL, sgrs: off by 1" in page
    assert table["Qwen2VL"][-2] == "yes"
    assert table["Janus"][2:-2] == ["-"] * len(families.COLUMNS)
    assert "make models" in page


def test_the_kit_is_quoted_by_its_first_sentence() -> None:
    def fails() -> None:
        raise AssertionError("2 checks failed:\nllava, a: off\n    usual reason: x\nllava, b: y")

    def refuses() -> None:
        raise UnsupportedError("not here: why")

    def breaks() -> None:
        raise ZeroDivisionError("by nothing")

    assert families._wrong(fails) == "llava, a: off"
    assert families._wrong(refuses) == "not here: why"
    assert families._wrong(breaks) == "ZeroDivisionError('by nothing')"
    assert families._wrong(lambda: None) == ""


@pytest.mark.slow
def test_a_family_is_tried_in_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check has a column, and what it finds stands there."""
    checks = {name: lambda _: None for name in families.ADAPTER_CHECKS}
    monkeypatch.setattr(families, "ADAPTER_CHECKS", {**checks, "sgrs": lambda _: 1 / 0})
    found = families.outcomes("LlavaForConditionalGeneration")
    assert all(found.values())
    assert {name for tried in found.values() for name in tried} == set(checks)
    assert found["SGRS"] == {"sgrs": "ZeroDivisionError('division by zero')"}
    assert not any(found["diagnosis"].values())
