"""An answer in a notebook: colored words, maps of the image, nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from lvlmsal.colors import color, ink_on
from lvlmsal.saliency.html import LIMIT, answer_html, plain_html
from lvlmsal.saliency.report import SaliencyReport
from tests.unit.explorer.reports import make_report

VOID = {"img"}


class Reader(HTMLParser):
    """Elements and their attributes; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, name: str) -> list[dict[str, str]]:
        return [given for _, given in self.found if given.get("class") == name]


def decoded(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2])))


def test_words_have_the_colors_of_the_scale() -> None:
    report = make_report()
    words = Reader(answer_html(report)).of("lvlmsal-word")
    values = report.saliency
    assert len(words) == len(values) > 3
    known = sorted(value for value in values if value is not None)
    top = known[int(0.98 * (len(known) - 1))]
    for word, value in zip(words, values, strict=True):
        found = re.search(r"background: rgb\((\d+), (\d+), (\d+)\); color: (#\w+)", word["style"])
        if value is None:
            assert found is None
            continue
        assert found is not None
        fill = color(value / top)
        assert tuple(map(int, found.groups()[:3])) == fill
        assert found[4] == ink_on(fill)
        assert f"saliency {value:.3g}" in word["title"]


def test_each_word_has_a_map_of_each_image() -> None:
    report = make_report(grids=[(3, 4), (2, 5)])
    page = Reader(answer_html(report))
    maps, images = page.of("lvlmsal-map"), page.of("lvlmsal-image")
    assert len(images) == len(report.grids) == 2
    assert len(maps) == len(report.tokens) * len(images)
    assert all(each["style"].startswith("display: none") for each in maps)
    for at, each in enumerate(maps):
        token, image = divmod(at, 2)
        picture, values = decoded(each["src"]), report.image_map(token, image)
        assert picture.size == (report.grids[image][1], report.grids[image][0])
        place = int(values.argmax())
        row, column = divmod(place, picture.width)
        assert picture.convert("RGBA").getpixel((column, row)) == (*color(1), 240)
        assert {"top", "width", "height"} <= set(re.findall(r"(\w+): \d+px", each["style"]))
        for name in ("top", "width", "height"):
            (mine,) = re.findall(rf"[; ]{name}: (\d+)px", each["style"])
            assert f"{name}: {mine}px" in images[image]["style"]


def test_it_stands_on_its_own() -> None:
    report = make_report(tokens=["<script>alert(1)</script>", " it", "'s", " \x1b[31m"])
    text = answer_html(report)
    page = Reader(text)
    assert {tag for tag, _ in page.found} <= {"div", "span", "style", "img"}
    assert "&lt;script&gt;alert(1)" in text
    assert "\x1b" not in text
    assert "http" not in text
    assert all(given["src"].startswith("data:image/") for tag, given in page.found if tag == "img")
    assert not any(name.startswith("on") for _, given in page.found for name in given)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "coarser"), [(40, False), (160, True), (1200, True)])
def test_long_answers_stay_small(count: int, coarser: bool) -> None:
    report = make_report(tokens=[" word"] * count, grids=[(24, 24)], layers=[1])
    text = answer_html(report)
    assert len(text.encode()) < LIMIT or count == 1200
    maps = Reader(text).of("lvlmsal-map")
    sizes = {decoded(each["src"]).size for each in maps}
    assert (sizes != {(24, 24)}) == coarser
    if count == 1200:
        assert maps == []


def test_the_mark_of_the_end_is_not_shown() -> None:
    report = make_report(tokens=["A", " ball", "</s>"])
    object.__setattr__(report, "text", "A ball")
    assert "</s>" not in answer_html(report)
    assert "&lt;/s&gt;" not in answer_html(report)
    assert len(Reader(answer_html(report)).of("lvlmsal-word")) == 2


def test_what_cannot_be_colored_is_shown_with_the_reason() -> None:
    text = plain_html("Why?", "<b> it is", "not colored")
    (word,) = Reader(text).of("lvlmsal-word")
    assert "background" not in word["style"]
    assert "&lt;b&gt; it is" in text
    assert "not colored" in text


def test_reports_show_themselves() -> None:
    report = make_report()
    assert report._repr_html_() == answer_html(report)
    assert len(repr(report).splitlines()) == 1
    assert len(repr(report)) < 200


def test_a_report_as_a_frame() -> None:
    report = make_report()
    frame = report.to_pandas()
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "token": "int64",
        "text": "object",
        "group": "object",
        "saliency": "float64",
        "attention": "float64",
    }
    assert len(frame) == 4 * len(report.tokens)
    last = frame[frame.token == len(report.tokens) - 1].set_index("group")
    rows: SaliencyReport = report
    start, end = rows.spans.prompt
    wanted = rows.rows[-1].mean(0)[start:end].mean()
    torch.testing.assert_close(torch.tensor(last.saliency["prompt"]), wanted.double())
    assert last.attention.sum() == pytest.approx(1, abs=1e-5)
