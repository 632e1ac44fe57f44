"""The pages on data keep up with what is registered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lvlmsal.benchmarks.subsets import POPULATIONS
from lvlmsal.registry import BENCHMARKS

DOCS = Path(__file__).parents[3] / "docs"
INDEX = DOCS / "benchmarks/README.md"
ROW = re.compile(r"\| \[`(?P<name>[\w-]+)`\]\((?P<page>[\w.-]+)\) \|")


def built_in() -> set[str]:
    return {name for name in BENCHMARKS if BENCHMARKS.origin(name).startswith("lvlmsal.")}


def test_the_index_has_a_row_for_every_benchmark() -> None:
    rows = ROW.findall(INDEX.read_text(encoding="utf-8"))
    names = [name for name, _ in rows]
    assert len(names) == len(set(names))
    assert set(names) == built_in()
    missing = [page for _, page in rows if not (INDEX.parent / page).is_file()]
    assert missing == []


def test_every_page_of_a_benchmark_is_in_the_index() -> None:
    pages = {page for _, page in ROW.findall(INDEX.read_text(encoding="utf-8"))}
    assert {path.name for path in INDEX.parent.glob("*.md")} - {INDEX.name} <= pages


def test_rows_have_as_many_cells_as_the_head() -> None:
    lines = [line for line in INDEX.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize("page", ["data.md", "traps.md", "benchmarks/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert links or page == "data.md"
    assert [link for link in links if not ((DOCS / page).parent / link).exists()] == []


def test_the_page_on_data_names_what_there_is() -> None:
    text = (DOCS / "data.md").read_text(encoding="utf-8")
    for name in built_in():
        assert (f"| `{name}` |" in text) == (BENCHMARKS.get(name).layout is not None)
    for name, population in POPULATIONS.items():
        assert f"`{name}`" in text
        assert not population.size or str(population.size) in text
