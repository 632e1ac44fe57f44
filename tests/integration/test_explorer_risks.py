"""Risks on the explorer's page, in a real browser: colors, the threshold's slider, the reasons."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lvlmsal.colors import color
from lvlmsal.decoders.halc.records import HalcRecord
from lvlmsal.decoders.reverse.records import ReverseRecord
from lvlmsal.explorer import ShownAnswer, write_page
from tests.unit.explorer.reports import make_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

Open = Callable[..., "Page"]

WORDS = ("A", " red", " star", " and", " a", " blue", " moon", ",", " a", " ring", ".")
LABELS = [None, None, False, None, None, None, True, None, None, True, None]
RISKS = {2: 0.3, 6: 0.95, 9: 0.6}


def detected(**others: Any) -> dict[str, Any]:
    """As ``Detection.to_dict`` has it, as far as the page reads it."""
    words = [
        {
            "tokens": [token, token + 1],
            "risk": risk,
            "reasons": {"minus logit p": 2.5 * risk, "<b>lens</b>": -1.25},
        }
        for token, risk in RISKS.items()
    ]
    return {
        "detector": {"name": "early-lens", "layers": "0.0:0.5"},
        "scaled": True,
        "calibrated": False,
        "threshold": 0.9,
        "words": [*words, {"tokens": [4, 5], "risk": None, "reasons": {}}],
        **others,
    }


def guided() -> list[dict[str, Any]]:
    """Records of guided decoding: one word was replaced, and a sentence taken back before it."""
    plain = {"threshold": 0.92, "tries": 1, "rejected": [], "fallback": False, "risk": None}
    records = [dict(plain) for _ in WORDS]
    records[0]["taken_back"] = [{"text": "A circle", "word": "circle", "risk": 0.98}]
    records[6] |= {
        "risk": 0.4,
        "tries": 2,
        "probability": 0.2,
        "rejected": [{"id": 7, "text": " heart", "risk": 0.99, "probability": 0.7}],
    }
    return records


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One question with two answers: risks of a detector, and those of a guided decoder."""
    path = tmp_path_factory.mktemp("page") / "risks.html"
    first = ShownAnswer(make_report(WORDS), "greedy", hallucinated=LABELS, detection=detected())
    second = ShownAnswer(
        make_report(WORDS, seed=1), "guided", hallucinated=LABELS, records=guided()
    )
    write_page(path, [first, second])
    return path


def fills(page: Page, side: int = 0) -> dict[int, tuple[int, ...]]:
    """Token -> its color, of those that have one."""
    of = "words => words.map(word => word.style.getPropertyValue('--fill'))"
    found = page.locator(".side").nth(side).locator(".token").evaluate_all(of)
    numbers = [tuple(map(int, re.findall(r"\d+", fill))) for fill in found]
    return {token: rgb for token, rgb in enumerate(numbers) if rgb}


def flagged(page: Page, side: int = 0) -> list[int]:
    marked = page.locator(".side").nth(side).locator(".token[data-flag=flagged]")
    return [int(text) for text in marked.evaluate_all("all => all.map(one => one.dataset.token)")]


def slide(page: Page, value: float) -> None:
    """Move the slider as the keyboard or a pointer would: the browser tells of each step."""
    page.locator(".risk-slider input").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value
    )


def test_judged_words_are_colored_by_risk_and_no_others(show: Open, path: Path) -> None:
    page = show(path)
    assert len(fills(page)) == len(WORDS)  # by S at first
    page.click(".switch [data-kind=risk]")
    ramp = {token: color(1 - risk) for token, risk in RISKS.items()}
    assert set(fills(page)) == set(ramp)
    for token, rgb in fills(page).items():
        assert rgb == pytest.approx(ramp[token], abs=1), token
    assert set(fills(page, side=1)) == {6}  # what the guided decoder judged and took
    page.keyboard.press("r")
    assert len(fills(page)) == len(WORDS)
    page.keyboard.press("r")
    assert page.get_attribute(".switch [data-kind=risk]", "aria-pressed") == "true"


def test_the_slider_flags_words_and_counts_them(show: Open, path: Path) -> None:
    page = show(path)
    page.keyboard.press("r")
    assert flagged(page) == [6]
    assert page.inner_text(".risk-slider output") == "0.900"
    counts = page.inner_text(".risk-slider .counts")
    # three words of the first answer, of which two are absent, and one absent one of the second
    assert counts.startswith("1 of 4 judged words flagged")
    assert "1 name an absent object (100 %), which is 33 % of the 3" in counts
    slide(page, 0.25)
    assert flagged(page) == [2, 6, 9]
    assert flagged(page, side=1) == [6]
    counts = page.inner_text(".risk-slider .counts")
    assert counts.startswith("4 of 4 judged words flagged")
    assert "3 name an absent object (75 %), which is 100 % of the 3" in counts
    slide(page, 1)
    assert flagged(page) == flagged(page, side=1) == []
    # as a user does it: the slider keeps the focus while words change
    page.focus(".risk-slider input")
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert page.inner_text(".risk-slider output") == "0.900"
    assert flagged(page) == [6]


def test_reasons_stand_below_the_record(show: Open, path: Path) -> None:
    page = show(path)
    page.locator(".side").first.locator(".token[data-token='6']").click()
    reasons = page.locator(".side").first.locator(".reasons")
    assert reasons.locator("p").inner_text().startswith("Risk 0.950 by early-lens, flagged: ")
    assert reasons.locator("th").all_inner_texts() == ["minus logit p", "<b>lens</b>"]
    minus = "\N{MINUS SIGN}"
    assert reasons.locator("td.number").all_inner_texts() == ["+2.38", f"{minus}1.25"]
    assert reasons.locator(".bar.against").count() == 1
    page.locator(".side").first.locator(".token[data-token='1']").click()
    assert reasons.inner_text() == ""  # not judged


def test_rejected_candidates_and_back_ups_of_a_guided_decoder(show: Open, path: Path) -> None:
    page = show(path)
    side = page.locator(".side").nth(1)
    side.locator(".token[data-token='6']").click()
    rejected = side.locator(".rejections tr.rejected")
    assert rejected.locator("th").inner_text() == "heart"
    assert rejected.locator("td.number").all_inner_texts() == ["0.990", "p 0.700"]
    assert side.locator(".rejections tr.taken td.number").first.inner_text() == "0.400"
    side.locator(".token[data-token='0']").click()
    assert "Taken back: “A circle”, for “circle”" in side.locator(".rejections").inner_text()
    assert "1 sentence taken back" in side.locator(".side-head").inner_text()


def test_records_of_a_scorer_and_of_marks_have_words_of_their_own(
    show: Open, tmp_path: Path
) -> None:
    scored = [HalcRecord(1, word).to_dict() for word in WORDS]
    others = [{"id": 7, "text": " heart", "score": 0.25}]
    scored[1] |= {"score": 0.5, "replaced": " heart", "rejected": others}
    marked = [ReverseRecord(1, word).to_dict() for word in WORDS]
    marked[1] |= {"doubt": 0.001, "taken_back": [{"phrase": "a heart", "doubt": 0.02}]}
    path = tmp_path / "records.html"
    both = [("halc", scored), ("reverse", marked)]
    write_page(path, [ShownAnswer(make_report(WORDS), name, records=rows) for name, rows in both])
    first, second = show(path).locator(".side").all()
    for side in (first, second):
        side.locator(".token[data-token='0']").click()
        assert "history" not in side.inner_text()
        assert "\N{GREEK SMALL LETTER TAU}" not in side.locator(".record").inner_text()
        side.locator(".token[data-token='1']").click()
    assert first.locator(".rejections p").inner_text() == (
        "Best of 2 candidates by the scorer, in place of heart."
    )
    assert first.locator(".rejections tr.taken td.number").inner_text() == "0.500"
    assert "Taken back: “a heart”, which the model marked with a doubt of 0.0200." in (
        second.locator(".rejections").inner_text()
    )
    assert "1 phrase taken back" in second.locator(".side-head").inner_text()


def test_a_page_without_risks_has_no_switch_for_them(show: Open, tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", [ShownAnswer(make_report(WORDS))])
    page = show(tmp_path / "page.html")
    assert page.locator(".switch [data-kind=risk]").count() == 0
    page.keyboard.press("r")
    assert len(fills(page)) == len(WORDS)
    assert "null" not in page.inner_text(".legend-box")  # there are no marks either


@pytest.mark.parametrize("width", [1360, 420])
def test_the_slider_fits_into_the_window(show: Open, path: Path, width: int) -> None:
    page = show(path, width=width)
    page.keyboard.press("r")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
