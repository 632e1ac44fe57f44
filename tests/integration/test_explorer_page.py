"""The explorer's page in a real browser: what it shows, its keys, and that nothing leaves it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lvlmsal.explorer import ShownAnswer, write_page
from lvlmsal.saliency.report import SaliencyReport
from tests.unit.explorer.reports import make_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

Open = Callable[..., "Page"]

WORDS = ("The", " red", " star", " is", " left", " of", " a", " blue", " moon", ".", "</s>")
LABELS = [None, None, False, None, None, None, None, None, True, None, None]
HOSTILE = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"


@pytest.fixture(scope="module")
def report() -> SaliencyReport:
    return make_report(WORDS, layers=(4, 5, 6), grids=((3, 4),))


@pytest.fixture(scope="module")
def single(report: SaliencyReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two questions, answered once each; only the first answer has labels."""
    path = tmp_path_factory.mktemp("page") / "single.html"
    second = make_report((" Yes", "."), prompt="Is it?", seed=1)
    write_page(path, [ShownAnswer(report, hallucinated=LABELS), ShownAnswer(second)])
    return path


def chosen(page: Page, side: int = 0) -> int:
    selector = ".token[aria-selected=true]"
    return int(page.locator(".side").nth(side).locator(selector).get_attribute("data-token") or -1)


def recorded(page: Page, name: str, side: int = 0) -> str:
    """A number of the chosen token's record."""
    box = page.locator(".side").nth(side).locator(".record div")
    return str(box.filter(has=page.get_by_text(name, exact=True)).locator("dd").inner_text())


def number(text: str) -> float:
    minus = "\N{MINUS SIGN}"
    return float(text.replace(minus, "-").removesuffix(" %"))


def layer(page: Page, name: str) -> float:
    return number(page.get_attribute(f".layer[data-layer='{name}']", "title").split(": ")[1])  # type: ignore[union-attr]


def test_a_token_shows_what_the_report_says(
    show: Open, single: Path, report: SaliencyReport
) -> None:
    page = show(single)
    assert chosen(page) == 8  # the first name of an object that is not there
    for token in (5, 2):
        page.click(f".token[data-token='{token}']")
        assert chosen(page) == token
        assert page.inner_text(".token-name") == WORDS[token].strip()
        assert number(recorded(page, "S")) == pytest.approx(report.saliency[token], rel=5e-3)
        log_p = report.log_probabilities[token]
        assert number(recorded(page, "log p")) == pytest.approx(log_p, rel=5e-3)
        assert number(recorded(page, "p")) == pytest.approx(np.exp(log_p), rel=5e-3)
        assert number(recorded(page, "entropy")) == pytest.approx(report.entropies[token], rel=5e-3)
        assert layer(page, "mean") == pytest.approx(report.saliency[token], rel=0.01)
        for place, index in enumerate(report.layers):
            wanted = float(report.per_layer()[token, place])
            assert layer(page, str(index)) == pytest.approx(wanted, rel=0.02, abs=1e-4)
        sums = {name: float(found[token]) for name, found in report.groups(reduce="sum").items()}
        shares = [
            number(text) for text in page.locator(".groups td:nth-child(3)").all_inner_texts()
        ]
        assert shares == pytest.approx(
            [100 * value / sum(sums.values()) for value in sums.values()], abs=1.0
        )
    assert recorded(page, "object") == "in the image"


def test_arcs_lead_to_the_words_of_the_largest_values(
    show: Open, single: Path, report: SaliencyReport
) -> None:
    page = show(single)
    page.click(".token[data-token='7']")
    start = report.spans.prompt[0]
    row = report.rows[7].mean(0)[start : report.spans.output_start + 7]
    best = report.position_texts[start + int(row.argmax())].strip()
    assert page.locator(".arcs path").count() == 7
    bars = page.eval_on_selector_all(
        ".word", "words => words.map(w => [w.textContent, +w.style.getPropertyValue('--bar')])"
    )
    largest = [text for text, height in bars if height == 1]
    assert best in largest
    later = [height for text, height in bars[-4:]]
    assert later == [0, 0, 0, 0]  # the token itself and what comes after it


def test_maps_of_the_image_show_the_patch_grid(
    show: Open, single: Path, report: SaliencyReport
) -> None:
    page = show(single)
    page.click(".token[data-token='3']")
    pixels = """canvas => [canvas.height, canvas.width,
        ...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"""
    for kind, of in (("saliency", "saliency"), ("attention", "attention")):
        rows, columns, *values = page.eval_on_selector(f".heat[data-kind={kind}] canvas", pixels)
        assert (rows, columns) == report.grids[0]
        wanted = report.image_map(3, of=of).flatten().numpy()  # type: ignore[arg-type]
        colors = np.array(values).reshape(-1, 4)
        # the larger the value, the lighter the color
        luminance = colors[:, :3] @ [0.2126, 0.7152, 0.0722]
        assert luminance.argmax() == wanted.argmax()
        assert np.corrcoef(np.argsort(np.argsort(wanted)), np.argsort(np.argsort(luminance)))[
            0, 1
        ] == pytest.approx(1.0, abs=0.06)
        place = divmod(int(wanted.argmax()), columns)
        label = page.get_attribute(f".heat[data-kind={kind}] canvas", "aria-label") or ""
        assert f"in row {place[0] + 1}, column {place[1] + 1} of 3 by 4" in label


def test_keys(show: Open, single: Path) -> None:
    page = show(single)
    press = page.keyboard.press
    press("Home")
    assert chosen(page) == 0
    press("ArrowLeft")
    assert chosen(page) == 0
    press("ArrowRight")
    press("ArrowRight")
    assert chosen(page) == 2
    assert page.evaluate("document.activeElement.dataset.token") == "2"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"  # focus can be seen
    press("n")
    assert chosen(page) == 8
    press("End")
    assert chosen(page) == len(WORDS) - 1
    press("l")
    assert page.get_attribute(".layer[aria-checked=true]", "data-layer") == "4"
    press("L")
    press("L")
    assert page.get_attribute(".layer[aria-checked=true]", "data-layer") == "6"
    press("m")
    assert page.get_attribute(".layer[aria-checked=true]", "data-layer") == "mean"
    press("a")
    assert page.get_attribute(".switch [data-kind=attention]", "aria-pressed") == "true"
    press("a")
    assert page.get_attribute(".switch [data-kind=saliency]", "aria-pressed") == "true"
    press("o")
    assert page.locator(".side.bare").count() == 1
    press("?")
    assert page.locator("dialog[open]").count() == 1
    press("j")  # not while the help is open
    press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.get_attribute("main", "data-sample") == "0"
    for down, up in (("j", "k"), ("ArrowDown", "ArrowUp")):
        press(down)
        page.wait_for_selector("main[data-sample='1']")
        assert page.inner_text(".question") == "Is it?"
        press(up)
        page.wait_for_selector("main[data-sample='0']")
    page.click(".entry[data-sample='1']")
    page.wait_for_selector("main[data-sample='1']")


def test_measure_layer_and_fusion_change_colors_and_numbers(
    show: Open, single: Path, report: SaliencyReport
) -> None:
    page = show(single)
    page.click(".token[data-token='6']")
    fills = "words => words.map(word => word.style.getPropertyValue('--fill'))"

    def painted() -> list[str]:
        return list(page.eval_on_selector_all(".token", fills))

    saliency = painted()
    page.click(".layer[data-layer='5']")
    assert "layer 5" in page.inner_text(".legend-title")
    one_layer = painted()
    title = page.get_attribute(".token[data-token='6']", "title") or ""
    wanted = float(report.per_layer()[6, 1])
    assert number(title.removeprefix("S ")) == pytest.approx(wanted, rel=0.02)
    page.keyboard.press("m")
    page.select_option("select[aria-label=Fusion]", "max")
    other = painted()
    assert layer(page, "mean") == pytest.approx(report.token_saliency("max")[6], rel=0.01)
    page.click(".switch [data-kind=attention]")
    attention = painted()
    mean = float(report.per_layer(of="attention")[6].mean())
    assert layer(page, "mean") == pytest.approx(mean, rel=0.01)
    assert len({tuple(colors) for colors in (saliency, one_layer, other, attention)}) == 4


def test_layers_of_two_sides_are_matched_by_number(show: Open, tmp_path: Path) -> None:
    reports = [make_report(WORDS, layers=layers) for layers in ((2, 3), (0, 1, 2), (7,))]
    other = replace(reports[2], prompt="Is it?")
    path = tmp_path / "page.html"
    write_page(path, [ShownAnswer(r, str(n)) for n, r in enumerate([*reports[:2], other])])
    page = show(path)
    checked = ".layer[aria-checked=true]"
    sides = page.locator(".side")
    sides.nth(1).locator(".layer[data-layer='2']").click()
    assert page.locator(checked).evaluate_all("b => b.map(x => x.dataset.layer)") == ["2", "2"]
    sides.nth(1).locator(".layer[data-layer='0']").click()
    assert page.locator(checked).evaluate_all("b => b.map(x => x.dataset.layer)") == ["mean", "0"]
    page.keyboard.press("j")
    page.wait_for_selector("main[data-sample='1']")
    assert page.get_attribute(checked, "data-layer") == "mean"
    assert "mean over layers" in page.inner_text(".legend-title")


def test_hallucinated_words_have_a_mark_that_is_no_color(show: Open, single: Path) -> None:
    page = show(single)
    style = "word => [getComputedStyle(word).textDecorationStyle, word.getAttribute('aria-label')]"
    mark = "word => getComputedStyle(word, '::before').content"
    for token, line, words, sign in (
        (8, "wavy", "not in the image", '"▲"'),
        (2, "solid", "in the image", "none"),
    ):
        found = page.eval_on_selector(f".token[data-token='{token}']", style)
        assert found[0] == line
        assert found[1].endswith(f", {words}")
        assert page.eval_on_selector(f".token[data-token='{token}']", mark) == sign
    assert "in the image" not in (page.get_attribute(".token[data-token='4']", "aria-label") or "")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_the_switch(
    show: Open, single: Path, theme: str
) -> None:
    page = show(single, theme=theme)

    def ground() -> float:
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return float(np.mean([int(part) for part in re.findall(r"\d+", color)[:3]]))

    def contrasts() -> list[float]:
        """Of each token's text with its ground, as WCAG has it."""
        styles = (
            "words => words.map(w => getComputedStyle(w)).map(s => [s.color, s.backgroundColor])"
        )
        pairs = page.eval_on_selector_all(".token", styles)
        return [contrast(*pair) for pair in pairs]

    first = ground()
    assert (first > 200) == (theme == "light")
    assert min(contrasts()) > 4
    page.keyboard.press("t")
    assert (ground() > 200) != (theme == "light")
    assert min(contrasts()) > 4
    page.keyboard.press("t")
    assert ground() == first


def contrast(first: str, second: str) -> float:
    def luminance(color: str) -> float:
        shares = np.array([int(part) for part in re.findall(r"\d+", color)[:3]]) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", BLINDNESS)
def test_the_color_scale_survives_color_blindness(
    show: Open, single: Path, theme: str, kind: str
) -> None:
    page = show(single, theme=theme)
    pixels = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, 1).data]"
    colors = np.array(page.eval_on_selector(".legend-bar", pixels)).reshape(-1, 4)[::9, :3] / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ BLINDNESS[kind].T, 0, 1) @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(seen) - 16
    assert (np.diff(lightness) > 2).all()


def test_what_a_model_says_is_never_run(show: Open, tmp_path: Path) -> None:
    report = make_report((" A", f" {HOSTILE}", "\n", " "), prompt=HOSTILE)
    rejected = [{"id": 1, "text": HOSTILE, "saliency": 0.1, "probability": 0.2}]
    record = {"threshold": 0.2, "tries": 2, "rejected": rejected, "fallback": False}
    shown = ShownAnswer(report, label=HOSTILE, title=HOSTILE, records=[record] * 4)
    write_page(tmp_path / "page.html", [shown], title=HOSTILE)
    page = show(tmp_path / "page.html")
    page.click(".token[data-token='1']")
    assert page.inner_text(".token[data-token='1']") == HOSTILE
    assert page.inner_text(".question") == HOSTILE
    assert page.inner_text(".side h2") == HOSTILE
    assert page.inner_text(".rejections tr.rejected th") == HOSTILE
    assert page.title() == HOSTILE
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x], #app script").count() == 0


def test_the_policy_stops_a_script_that_gets_in(browser: Browser, single: Path) -> None:
    page = browser.new_page()
    page.goto(single.as_uri())
    fragment = f"document.createRange().createContextualFragment(`{HOSTILE}`)"
    page.evaluate(f"document.body.append({fragment})")
    page.wait_for_timeout(100)
    assert page.evaluate("window.hacked") is None
    page.close()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One question, answered twice at length; the second answer has records."""
    path = tmp_path_factory.mktemp("page") / "long.html"
    reports = [make_report(WORDS * 12, seed=seed) for seed in (0, 1)]
    rejected = [{"id": 1, "text": " moon", "saliency": 0.1, "probability": 0.2}] * 3
    records = [{"threshold": 0.2, "saliency": 0.3, "tries": 4, "rejected": rejected}] * len(
        reports[1].tokens
    )
    write_page(
        path, [ShownAnswer(reports[0], "one"), ShownAnswer(reports[1], "two", records=records)]
    )
    return path


@pytest.mark.parametrize("width", [800, 500, 420])
def test_narrow_windows_need_no_scrolling_sideways(
    show: Open, single: Path, long: Path, width: int
) -> None:
    for path in (single, long):
        page = show(path, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("right", ["two", ""])
def test_the_record_stands_next_to_the_answer_without_scrolling(
    show: Open, long: Path, right: str
) -> None:
    page = show(long)
    page.select_option("select[aria-label=Left]", "two" if not right else "one")
    page.select_option("select[aria-label=Right]", right)
    sides = page.locator(".side")
    assert sides.count() == (2 if right else 1)
    for side in sides.all():
        record = side.locator(".aside")
        for name in (".record", ".token-name", ".rejections"):
            box = record.locator(name).bounding_box()
            assert box is not None
            assert box["y"] > 0
            assert box["y"] + box["height"] <= 900
        words, aside = side.locator(".flow").bounding_box(), record.bounding_box()
        assert words is not None
        assert aside is not None
        assert words["y"] < 500
        if not right:  # there is room for a column of its own
            assert aside["x"] >= words["x"] + words["width"]
    # it stays in sight along the whole answer
    page.keyboard.press("End")
    chosen_word = page.locator(".side").first.locator(".token[aria-selected=true]")
    for part in (chosen_word, page.locator(".aside").first.locator(".record")):
        box = part.bounding_box()
        assert box is not None
        assert 0 < box["y"] < box["y"] + box["height"] <= 900
    found = chosen_word.evaluate(
        """word => {
            const { x, y, width, height } = word.getBoundingClientRect();
            return document.elementFromPoint(x + width / 2, y + height / 2) === word;
        }"""
    )
    assert found  # and does not cover the word


def test_the_legend_says_what_dark_means(show: Open, single: Path) -> None:
    page = show(single)
    assert "Dark: a word rests on little of the text after the image" in page.inner_text(".meaning")
    page.keyboard.press("a")
    assert "Dark: a word attends to little" in page.inner_text(".meaning")
    # and it is so: of two words, the darker one has the smaller S
    page.keyboard.press("a")
    found = page.eval_on_selector_all(
        ".token[style*='--fill']",
        "words => words.map(w => [w.title, getComputedStyle(w).backgroundColor])",
    )
    values = [number(title.removeprefix("S ").split(",")[0]) for title, _ in found]
    lightness = [sum(int(part) for part in re.findall(r"\d+", color)[:3]) for _, color in found]
    assert lightness[int(np.argmin(values))] < lightness[int(np.argmax(values))]


def test_single_layers_are_said_to_be_missing(show: Open, tmp_path: Path) -> None:
    words = [f" word{n}" for n in range(60)]
    many = [
        ShownAnswer(make_report(words, layers=range(16), grids=((24, 24),), seed=n), sample=str(n))
        for n in range(20)
    ]
    write_page(tmp_path / "page.html", many)
    page = show(tmp_path / "page.html")
    assert "means over the layers" in page.inner_text("footer")
    page.keyboard.press("l")
    assert "stay means over the layers" in page.inner_text(".layers")
