"""The page as a file: what stands in it, what cannot get out of it, and how large it is."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.explorer import ShownAnswer, build_page, write_page
from lvlmsal.explorer.page import LIMIT, SCRIPTS, embedded_json
from lvlmsal.pictures import encode_image
from lvlmsal.saliency.options import SaliencyOptions
from tests.unit.explorer.reports import make_report

FOLDER = Path(__file__).parents[3] / "lvlmsal/explorer/page"
HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>&<!--\u2028"
)


def parts(page: str) -> tuple[str, str, str, str]:
    """Policy, style, data and script."""
    patterns = (
        r'http-equiv="Content-Security-Policy" content="([^"]*)"',
        r"<style>(.*?)</style>",
        r'<script type="application/json" id="data">(.*?)</script>',
        r"<script>(.*?)</script>",
    )
    policy, style, data, script = (re.findall(pattern, page, flags=re.S) for pattern in patterns)
    return policy[0], style[0], data[0], script[0]


@given(st.recursive(st.text() | st.none() | st.booleans(), st.lists, max_leaves=5))
def test_embedded_text_is_read_again_and_holds_no_markup(value: Any) -> None:
    text = embedded_json(value)
    assert json.loads(text) == value
    assert not set("<>&") & set(text)
    assert text.isascii()


def test_what_a_model_says_stays_text() -> None:
    report = make_report(tokens=["A", f" {HOSTILE}", "{{script}}"], prompt=HOSTILE)
    rejected = [{"id": 1, "text": HOSTILE, "saliency": 0.1}]
    records = [{"rejected": rejected, "threshold": 0.1}] * 3
    shown = ShownAnswer(report, label=HOSTILE, title=HOSTILE, records=records)
    page, _, _ = build_page([shown], title=HOSTILE)
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "<img" not in page
    (title,) = re.findall("<title>(.*)</title>", page, flags=re.S)
    # a line end that nobody sees is shown
    assert html.unescape(title) == HOSTILE.replace("\u2028", r"\u2028")
    assert not set("<>\"'") & set(title)
    data = json.loads(parts(page)[2])
    assert data["samples"][0]["question"] == HOSTILE
    assert data["samples"][0]["answers"][0]["tokens"] == report.tokens


def test_the_policy_allows_this_script_and_this_style_and_nothing_else() -> None:
    policy, style, _, script = parts(build_page([ShownAnswer(make_report())])[0])
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert rules == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "img-src": "data:",
        "script-src": f"'sha256-{digest(script)}'",
        "style-src": f"'sha256-{digest(style)}'",
    }


def test_the_page_names_no_other_place() -> None:
    page, _, _ = build_page([ShownAnswer(make_report())])
    assert set(re.findall(r"\w+://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(|\bsrc=\"|\bhref=|innerHTML|\beval\(", page)


def test_every_part_of_the_script_is_in_the_page() -> None:
    assert {path.stem for path in FOLDER.glob("*.js")} == set(SCRIPTS)
    assert {path.suffix for path in FOLDER.iterdir()} == {".js", ".css", ".html"}
    for path in FOLDER.iterdir():
        assert len(path.read_text().splitlines()) <= 300, path.name


def test_answers_to_one_question_stand_side_by_side_and_share_the_image() -> None:
    greedy, sgrs = make_report(), make_report(tokens=["B"], seed=1)
    other = make_report(prompt="Why?")
    shown = [ShownAnswer(greedy, "greedy"), ShownAnswer(other, "greedy"), ShownAnswer(sgrs, "sgrs")]
    page, _, samples = build_page(shown)
    data = json.loads(parts(page)[2])
    assert samples == 2
    labels = [[answer["label"] for answer in sample["answers"]] for sample in data["samples"]]
    assert labels == [["greedy", "sgrs"], ["greedy"]]
    assert len(data["images"]) == 1
    assert [sample["images"] for sample in data["samples"]] == [[0], [0]]
    with pytest.raises(ValueError, match="no answer"):
        build_page([])


@pytest.mark.parametrize(
    "options",
    [
        {"row": "candidate"},
        {"norm": "matrix"},
        {"heads": "sum_then_abs"},
        {"fusion": "max"},
        {"context": "output"},
        {"loss": "sum"},
    ],
)
def test_one_page_shows_one_definition(options: dict[str, Any]) -> None:
    """Two questions share the color scale as well, so it does not matter whose answers differ."""
    plain, other = make_report(), make_report(options=SaliencyOptions(**options), prompt="Why?")
    (value,) = options.values()
    with pytest.raises(UnsupportedError, match=f"'two' by .*{value}"):
        build_page([ShownAnswer(plain, "one"), ShownAnswer(other, "two")])
    page, _, _ = build_page([ShownAnswer(other)])
    data = json.loads(parts(page)[2])
    assert data["row"] == other.options.row
    assert str(value) in data["definition"]


def test_layers_of_one_page_are_the_same_share_or_the_same_layers() -> None:
    def of(spec: Any, *layers: int) -> ShownAnswer:
        return ShownAnswer(make_report(options=SaliencyOptions(layers=spec), layers=layers))

    build_page([of("0.5:1.0", 2, 3), of("0.5:1.0", 4, 5)])  # of models of different depth
    build_page([of("0.5:1.0", 2, 3), of([2, 3], 2, 3)])
    with pytest.raises(UnsupportedError, match=r"layers \[2, 3\].*layers \[0, 1\]"):
        build_page([of("0.5:1.0", 2, 3), of([0, 1], 0, 1)])


@pytest.mark.slow
def test_detail_is_given_up_until_the_page_is_small_enough(tmp_path: Path) -> None:
    few = [ShownAnswer(make_report())]
    written = write_page(tmp_path / "few.html", few)
    assert written.notes == []
    assert written.detail.fusions
    assert written.size == (tmp_path / "few.html").stat().st_size
    # twenty answers of a 7B model's shape: 16 layers, 24 x 24 patches, 60 tokens
    words = [f" word{n}" for n in range(60)]
    many = [
        ShownAnswer(make_report(words, layers=range(16), grids=((24, 24),), seed=n), sample=str(n))
        for n in range(20)
    ]
    written = write_page(tmp_path / "many.html", many)
    assert written.size < LIMIT
    assert not written.detail.layers
    assert written.samples == written.answers == 20
    text = (tmp_path / "many.html").read_text()
    assert all(note in json.loads(parts(text)[2])["notes"] for note in written.notes)
    assert written.notes


def test_a_page_that_stays_too_large_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvlmsal.explorer.page.LIMIT", 10_000)
    written = write_page(tmp_path / "page.html", [ShownAnswer(make_report())])
    assert "--limit" in written.notes[-1]
    with pytest.raises(DataError, match="no folder"):
        write_page(tmp_path / "none/page.html", [ShownAnswer(make_report())])


def test_images_are_bounded() -> None:
    small = Image.effect_noise((64, 48), 30).convert("RGB")
    encoded = encode_image(small)
    kind, content = encoded["src"].split(";base64,")
    assert kind == "data:image/png"
    assert (encoded["width"], encoded["height"]) == (64, 48)
    path = base64.b64decode(content)
    assert path[:8] == b"\x89PNG\r\n\x1a\n"
    large = encode_image(Image.effect_noise((3000, 1000), 60).convert("RGBA"))
    assert large["src"].startswith("data:image/jpeg;base64,")
    assert (large["width"], large["height"]) == (448, 149)
    assert len(large["src"]) < 120_000
