"""The page of a run: whole, escaped, and without any request to anywhere."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from lvlmsal.evaluation import Result, score
from lvlmsal.evaluation.report.plots import NO_PLOTS
from lvlmsal.evaluation.report.samples import choose_samples

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

EVIL = "<script>alert('x')</script> & \"q\" </pre> ]]>"


class Tags(HTMLParser):
    """Collects tags with their attributes, and sees that what is opened is closed."""

    void = ("meta", "br", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def changed(finished: Result, tmp_path: Path) -> Callable[..., str]:
    """The page of a copy of the finished run whose records were changed."""

    def page(change: Callable[[dict[str, Any]], None]) -> str:
        folder = tmp_path / "copy"
        shutil.copytree(finished.folder, folder)
        path = folder / "records.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        for record in records:
            change(record)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        score(folder)
        return (folder / "report.html").read_text()

    return page


@pytest.fixture(autouse=True)
def _plots() -> None:
    """These tests look at plots."""


def test_the_page_holds_tables_plots_samples_and_settings(finished: Result) -> None:
    text = (finished.folder / "report.html").read_text()
    tags = Tags(text).tags
    names = [tag for tag, _ in tags]
    assert len(text) < 3_000_000
    pictures = [attrs["src"] or "" for tag, attrs in tags if tag == "img"]
    kinds = {source.partition(";base64,")[0] for source in pictures}
    assert kinds == {"data:image/jpeg", "data:image/svg+xml"}
    # one plot for each benchmark
    assert sum(source.startswith("data:image/svg") for source in pictures) == 2
    assert "script" not in names
    rest = re.sub(r"<pre>.*?</pre>|src=\"data:[^\"]*\"", "", text, flags=re.DOTALL)
    assert "//" not in rest
    for heading in (
        finished.folder.name,
        "Figures",
        "Samples",
        "Settings",
        "Made with",
        "Warnings",
    ):
        assert re.search(rf"<h[12][^>]*>{heading}</h[12]>", text)
    for record in finished.records():
        if record["benchmark"] == "chair":
            assert record["prompt"] in text
    assert "bootstrap:" in text
    assert '"samples_digest"' in html.unescape(text)


def test_the_contents_name_every_section_and_nothing_else(finished: Result) -> None:
    tags = Tags((finished.folder / "report.html").read_text()).tags
    sections = [attrs.get("id") for tag, attrs in tags if tag == "h2"]
    links = [attrs["href"] for tag, attrs in tags if tag == "a"]
    assert links == [f"#{name}" for name in sections]
    assert len(set(links)) == len(links) > 6
    # what is significant stands first
    assert sections[0] == "significant"


def test_whatever_stands_in_the_records_is_escaped(changed: Callable[..., str]) -> None:
    def change(record: dict[str, Any]) -> None:
        record["answer"], record["prompt"] = EVIL + " answer", EVIL + " prompt"
        record["images"] = ["no<such>.png"]
        if record["benchmark"] == "chair" and record["method"] == "sgrs":
            record.update(status="failed", answer=None, error=EVIL + " error")

    text = changed(change)
    assert "<script" not in text
    assert "script" not in [tag for tag, _ in Tags(text).tags]
    for word in ("answer", "prompt", "error"):
        assert f"{EVIL} {word}" in html.unescape(text)
    assert '<h2 id="failed">Failed samples</h2>' in text
    assert '<a href="#failed">' in text


def test_without_matplotlib_the_page_says_what_the_plots_need(
    changed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvlmsal.evaluation.report.plots.find_spec", lambda _: None)
    text = changed(lambda record: None)
    assert NO_PLOTS in html.unescape(text)
    assert "svg" not in text


def test_answers_that_differ_are_marked(changed: Callable[..., str]) -> None:
    def change(record: dict[str, Any]) -> None:
        if record["benchmark"] == "pope/random":
            record["answer"] = record["target"] if record["method"] == "sgrs" else "perhaps"

    text = changed(change)
    assert '<b class="good">right</b>' in text
    assert '<b class="bad">wrong</b>' in text


def test_images_that_are_gone_are_told(
    finished: Result, shared_world: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished.folder, tmp_path / "copy")
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace(str(shared_world), str(tmp_path / "gone")))
    (tmp_path / "gone").mkdir()
    shutil.copy(shared_world / "vocabulary.txt", tmp_path / "gone")  # answers are read by it
    score(folder)
    name = finished.records()[0]["images"][0]
    assert f"image not found: {name}" in (folder / "report.html").read_text()


def test_samples_are_spread_and_those_that_differ_come_first() -> None:
    answers = {
        f"{i:03}": {"a": {"answer": "x"}, "b": {"answer": "y" if i % 2 else "x"}}
        for i in range(100)
    }
    chosen = choose_samples(answers)
    assert chosen == ["001", "025", "051", "075", "000", "050"]
    assert choose_samples({}) == []


@pytest.mark.parametrize("width", [1400, 800, 500, 360])
def test_nothing_but_boxes_scrolls_sideways(finished: Result, browser: Browser, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto((finished.folder / "report.html").as_uri())
    page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.locator(".wide").evaluate_all("all => all.map(box => box.scrollWidth)")
    assert (max(boxes) > width) == (width < 1400)
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_light_or_dark_as_the_system_is(
    finished: Result, browser: Browser, theme: Literal["light", "dark"]
) -> None:
    page = browser.new_page(color_scheme=theme)
    page.goto((finished.folder / "report.html").as_uri())

    def luminance(color: str) -> float:
        shares = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper > 0.5) == (theme == "light")
    inks = page.locator("body, a, .good, .bad, .changed, .places, .warning").evaluate_all(
        "all => all.map(each => getComputedStyle(each).color)"
    )
    for ink in map(luminance, inks):
        low, high = sorted((ink, paper))
        assert (high + 0.05) / (low + 0.05) > 4.5
    page.close()


def test_a_browser_shows_it_and_asks_for_nothing(finished: Result, browser: Browser) -> None:
    page = browser.new_page()
    told: list[str] = []
    page.on("request", lambda r: told.append(r.url) if not r.url.startswith("data:") else None)
    page.on("console", lambda message: told.append(message.text))
    url = (finished.folder / "report.html").as_uri()
    page.goto(url)
    assert told == [url]
    pictures = page.locator("img")
    widths = pictures.evaluate_all("all => all.map(image => image.naturalWidth)")
    assert len(widths) > 2
    assert min(widths) > 0
    page.close()
