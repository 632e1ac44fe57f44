"""``lvlmsal explore``: pages of a real run and of saved reports, looked at in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lvlmsal.cli import main
from lvlmsal.evaluation import evaluate
from lvlmsal.evaluation.run.replay import replay
from lvlmsal.pocket.scenes.language import plural
from lvlmsal.pocket.scenes.scene import SHAPES
from lvlmsal.saliency.options import SaliencyOptions
from tests.unit.explorer.reports import make_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def pocket_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight descriptions by the shipped model, plain and under SGRS with LocoRE."""
    folder = tmp_path_factory.mktemp("pocket")
    sgrs = {"name": "sgrs", "plausibility": 0.1}
    config = {
        "output": str(folder / "run"),
        "models": ["pocket-llava"],
        "methods": [
            "greedy",
            {"name": "SGRS + LocoRE", "decoder": sgrs, "interventions": ["locore"]},
        ],
        "benchmarks": [
            {"name": "chair", "max_new_tokens": 96},
            {"name": "pope", "split": "random", "max_new_tokens": 4, "limit": 1},
        ],
        "world": {"root": str(folder / "world"), "images": 8, "seed": 5, "shifted": True},
        "bootstrap": {"samples": 100},
    }
    evaluate(config)
    return folder / "run"


def check_marks(page: Page, run: Path) -> None:
    """Words that name a shape are marked by whether the scene has one, under every answer."""
    records = map(json.loads, (run / "records.jsonl").read_text().splitlines())
    truths = [r["target"] for r in records if r["benchmark"] == "chair" and r["method"] == "greedy"]
    names = {**{shape: shape for shape in SHAPES}, **{plural(shape): shape for shape in SHAPES}}
    marks = "words => words.map(word => [word.textContent, word.dataset.mark])"
    seen = set()
    for sample, truth in enumerate(truths):
        page.click(f".entry[data-sample='{sample}']")
        page.wait_for_selector(f"main[data-sample='{sample}']")
        for word, mark in page.eval_on_selector_all(".token", marks):
            present = "present" if names.get(word) in truth else "absent"
            assert mark == (present if word in names else ""), (sample, word)
            seen.add(mark)
    assert seen == {"", "present", "absent"}
    page.click(".entry[data-sample='0']")
    page.wait_for_selector("main[data-sample='0']")


def check_definitions(page: Page, run: Path, row: str = "predicting") -> None:
    """The chosen token of the left side: S by the page's row, the decoder's own in the record."""
    assert f"{row} row" in page.inner_text(".legend-title")
    assert f"one definition of S: {row} row" in page.inner_text("footer")
    own = page.locator(".aside .own").first.inner_text()
    assert own.startswith("S of the decoder and τ: candidate row")
    texts = page.locator(".record").first.inner_text().split("\n")
    record = dict(zip(texts[::2], texts[1::2], strict=True))
    sample = int(page.get_attribute("main", "data-sample") or -1)
    place = int(page.get_attribute(".token[aria-selected=true]", "data-token") or -1)
    options = SaliencyOptions(row=row)  # type: ignore[arg-type]
    found = list(
        replay(run, methods=["SGRS + LocoRE"], benchmarks=["chair"], options=options, limit=8)
    )[sample]
    told = found.record["tokens"][place]["saliency"]
    # a page shows three significant digits, two of small numbers
    assert float(record["S of the decoder"]) == pytest.approx(told, rel=0.06)
    assert float(record["S"]) == pytest.approx(found.report.saliency[place], rel=0.06)
    assert page.locator(".strips .tau").count() == 0


def test_a_run_of_a_shipped_model(
    show: Open, pocket_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one.html", tmp_path / "two.html"
    assert main(["explore", str(pocket_run), "-o", str(one)]) == 0
    out = capfd.readouterr().out
    assert "--method 'SGRS + LocoRE'" in out
    assert "8 questions, 8 answers" in out
    methods = ["--method", "SGRS + LocoRE", "--method", "greedy"]
    assert main(["explore", str(pocket_run), *methods, "-o", str(two)]) == 0
    assert "8 questions, 16 answers" in capfd.readouterr().out
    assert one.stat().st_size < 2e6
    assert two.stat().st_size < 2e6

    page = show(two)
    assert page.locator(".side h2").all_inner_texts() == ["SGRS + LocoRE", "greedy"]
    assert page.locator(".entry").count() == 8
    check_marks(page, pocket_run)
    # a rejection, wherever the first one is
    for sample in range(8):
        if "rejected" in page.locator(".side-head p").first.inner_text():
            break
        page.keyboard.press("j")
        page.wait_for_selector(f"main[data-sample='{sample + 1}']")
    page.keyboard.press("Home")
    while not page.locator(".rejections tr").count():
        page.keyboard.press("ArrowRight")
    assert page.locator(".rejections tr.taken").count() == 1
    texts = page.locator(".record").first.inner_text().split("\n")
    record = dict(zip(texts[::2], texts[1::2], strict=True))
    assert int(record["tries"]) >= 2
    assert 0 < float(record["τ"]) < 1
    check_definitions(page, pocket_run)
    left, right = page.locator(".side").all()
    selected = ".token[aria-selected=true]"
    before = left.locator(selected).get_attribute("data-token")
    page.keyboard.press("s")
    page.keyboard.press("End")
    assert left.locator(selected).get_attribute("data-token") == before
    assert right.locator(selected).inner_text() == "</s>"
    page.select_option("select[aria-label=Right]", "")
    page.wait_for_function("document.querySelectorAll('.side').length === 1")
    page.select_option("select[aria-label=Left]", "greedy")
    page.wait_for_function("document.querySelector('.side h2').textContent === 'greedy'")


def test_the_row_of_a_page_is_an_option(
    show: Open, pocket_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By the row that SGRS read, the page's S and the decoder's are one number."""
    path = tmp_path / "page.html"
    words = ["--method", "SGRS + LocoRE", "--limit", "3", "-o", str(path)]
    assert main(["explore", str(pocket_run), *words, "--row", "candidate"]) == 0
    page = show(path)
    page.keyboard.press("End")
    check_definitions(page, pocket_run, "candidate")
    texts = page.locator(".record").first.inner_text().split("\n")
    record = dict(zip(texts[::2], texts[1::2], strict=True))
    assert float(record["S"]) == pytest.approx(float(record["S of the decoder"]), rel=0.02)
    saved = tmp_path / "report.safetensors"
    make_report().save(saved)
    capfd.readouterr()
    for sources, row, message in (
        ([pocket_run], "own", "expected predicting or candidate"),
        ([saved], "candidate", "--row judges the answers of run folders"),
        ([pocket_run, saved], "candidate", "type --row predicting"),
    ):
        assert main(["explore", *map(str, sources), "-o", str(path), "--row", row]) == 2
        assert message in capfd.readouterr().err


def test_words_of_a_run_get_the_risks_of_a_detector(
    show: Open, pocket_run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    words = ["--limit", "2", "--detector", "log-probability", "-o", str(path)]
    assert main(["explore", str(pocket_run), *words]) == 0
    page = show(path)
    page.keyboard.press("r")
    colored = "all => all.filter(word => word.style.getPropertyValue('--fill')).length"
    # the same words are judged that CHAIR finds, by the file of words of this world
    named = page.locator(".token[data-mark=present], .token[data-mark=absent]").count()
    assert page.locator(".token").evaluate_all(colored) == named > 0
    page.locator(".token[data-mark=present]").first.click()
    told = page.inner_text(".reasons p").split()
    assert 0 <= float(told[1]) < 1
    assert told[3] == "log-probability,"


def test_reports_and_mistakes(
    show: Open, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "greedy.safetensors", tmp_path / "sgrs.safetensors"
    make_report().save(first)
    make_report(("A", " moon"), seed=2).save(second)
    page_file = tmp_path / "page.html"
    assert main(["explore", str(first), str(second), "-o", str(page_file)]) == 0
    page = show(page_file)
    assert page.locator(".side h2").all_inner_texts() == ["greedy", "sgrs"]
    assert not page.locator(".answers").is_visible()  # one question needs no list
    capfd.readouterr()
    (tmp_path / "notes.txt").write_text("x")
    for words, message in (
        ([tmp_path / "notes.txt", "-o", page_file], "neither a run folder nor a report"),
        ([tmp_path / "none.safetensors", "-o", page_file], "Invalid value for 'RUN_OR_REPORT'"),
        ([tmp_path, "-o", page_file], "is not a run folder"),
        ([first, "-o", tmp_path / "page.htm"], "ends in .html"),
        ([first, "-o", tmp_path / "no/page.html"], "there is no folder"),
        ([first, "--method", "greedy", "-o", page_file], "choose from run folders"),
        ([first, "--detector", "entropie", "-o", page_file], "Did you mean 'entropy'"),
    ):
        assert main(["explore", *map(str, words)]) == 2
        assert message in capfd.readouterr().err
