"""The page itself: data, style and script in one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lvlmsal.colors import RAMPS
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.explorer.shown_answer import Detail, ShownAnswer, encode_answer, in_words
from lvlmsal.pages import render
from lvlmsal.pictures import encode_image
from lvlmsal.saliency.options import CONTEXT_TEXTS

FORMAT = 2
"""Version of the data format."""

LIMIT = 2_000_000
"""Bytes that a page should stay below."""

LADDER = (
    Detail(layers=True, fusions=True),
    Detail(layers=True, fusions=False),
    Detail(layers=False, fusions=False),
    Detail(layers=False, fusions=False, pool=2),
    Detail(layers=False, fusions=False, pool=4),
    Detail(layers=False, fusions=False, pool=4, words=32),
)
"""What is given up, step by step, where a page would be too large."""

SCRIPTS = (
    *("base", "data", "scale", "risks", "tokens", "maps", "charts", "panel", "side", "help", "app"),
)
"""Parts of the script, in their order in the page."""


@dataclass(frozen=True)
class Written:
    """A page that was written.

    Attributes:
        path: the file.
        size: in bytes.
        samples: questions on it.
        answers: answers to them.
        detail: how much of the maps it holds.
    """

    path: Path
    size: int
    samples: int
    answers: int
    detail: Detail

    @property
    def notes(self) -> list[str]:
        """What was left out for the sake of the size, one sentence each."""
        notes = _left_out(self.detail)
        if self.size > LIMIT:
            notes.append(
                f"the page has {self.size / 1e6:.1f} MB, more than {LIMIT / 1e6:.0f} MB: "
                "show fewer answers (--limit) or one method at a time"
            )
        return notes


def write_page(
    path: str | Path, answers: Sequence[ShownAnswer], *, title: str = "Explorer"
) -> Written:
    """Write the page of some answers.

    Args:
        path: the file, ``.html``.
        answers: those of the same sample are shown side by side, in the order given.
        title: of the page.

    Raises:
        DataError: there is no folder for the file.
        UnsupportedError: the answers are judged by different definitions.
        ValueError: there is no answer.
    """
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise DataError(f"there is no folder {target.absolute().parent}", path=target)
    text, detail, samples = build_page(answers, title=title)
    target.write_text(text, encoding="utf-8", newline="\n")
    return Written(target, len(text.encode()), samples, len(answers), detail)


def build_page(
    answers: Sequence[ShownAnswer], *, title: str = "Explorer"
) -> tuple[str, Detail, int]:
    """The page as text, how much of the maps it holds, and the number of samples.

    The richest detail of `LADDER` that stays below `LIMIT` is taken; the page says what was left
    out.

    Args:
        answers: as in :func:`write_page`.
        title: of the page.

    Raises:
        UnsupportedError: the answers are judged by different definitions.
        ValueError: there is no answer.
    """
    if not answers:
        raise ValueError("there is no answer to show")
    _check_one_definition(answers)
    images, samples = _gather(answers)
    for detail in LADDER:
        encoded = _encoded(samples, detail)
        if encoded is None:
            continue
        data = {
            "format": FORMAT,
            "title": title,
            "row": answers[0].report.options.row,
            "context": CONTEXT_TEXTS[answers[0].report.options.context],
            "definition": in_words(answers[0].report.options),
            "notes": _left_out(detail),
            "detail": asdict(detail),
            "images": images,
            "samples": encoded,
        }
        text = _document(title, data)
        if len(text.encode()) < LIMIT:
            break
    return text, detail, len(samples)


def embedded_json(data: Any) -> str:
    r"""JSON that can stand inside a ``<script>`` element: nothing in it can end or open a tag.

    All that is not ASCII is escaped too, U+2028 and U+2029 among it.

    >>> embedded_json({"text": "</script>&"})
    '{"text":"\\u003c/script\\u003e\\u0026"}'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _check_one_definition(answers: Sequence[ShownAnswer]) -> None:
    """Colors of one page mean one quantity, or words look grounded by definition alone."""
    first = answers[0]
    for other in answers[1:]:
        one, two = (replace(shown.report.options, layers=None) for shown in (first, other))
        # A share of the depth is other layers in another model, and a list may be a share.
        layers = first.report.options.layers == other.report.options.layers
        if one != two or not (layers or first.report.layers == other.report.layers):
            raise UnsupportedError(
                f"one page shows one definition of S, but {first.label!r} is judged by "
                f"{in_words(one)}, layers {first.report.layers}, and {other.label!r} by "
                f"{in_words(two)}, layers {other.report.layers}: diagnose them with the same "
                "options, or write a page for each"
            )


def _gather(
    answers: Sequence[ShownAnswer],
) -> tuple[list[dict[str, Any]], list[tuple[dict[str, Any], list[ShownAnswer]]]]:
    """Images, each once, and the answers by sample, in the order of their first answers."""
    groups: dict[str, list[ShownAnswer]] = {}
    for shown in answers:
        groups.setdefault(shown.key, []).append(shown)
    images: dict[str, dict[str, Any]] = {}
    samples = []
    for number, group in enumerate(groups.values(), start=1):
        first = group[0]
        encoded = [encode_image(image) for image in first.report.images]
        images.update((one["src"], one) for one in encoded)
        places = list(images)
        about = {
            "title": first.title or f"question {number}",
            "question": first.report.prompt,
            "images": [places.index(one["src"]) for one in encoded],
        }
        samples.append((about, group))
    return list(images.values()), samples


def _encoded(
    samples: Sequence[tuple[dict[str, Any], list[ShownAnswer]]], detail: Detail
) -> list[dict[str, Any]] | None:
    """The samples with their answers; ``None`` as soon as maps alone are too large.

    The last detail of `LADDER` is taken whatever its size.
    """
    size = 0
    found = []
    for about, group in samples:
        answers = []
        for shown in group:
            answers.append(encode_answer(shown, detail))
            size += len(answers[-1]["packed"]["data"])
            if size > LIMIT and detail != LADDER[-1]:
                return None
        found.append({**about, "answers": answers})
    return found


def _left_out(detail: Detail) -> list[str]:
    notes = []
    if not detail.fusions:
        notes.append("fusions other than the report's own were left out")
    if not detail.layers:
        notes.append("maps are means over the layers; single layers show their S only")
    if detail.pool > 1:
        side = detail.pool
        notes.append(f"image maps hold means over squares of {side} by {side} patches")
    if detail.words is not None:
        notes.append(f"rows hold their {detail.words} largest words only")
    return notes


def _document(title: str, data: Any) -> str:
    folder = files("lvlmsal.explorer") / "page"
    style = (folder / "page.css").read_text(encoding="utf-8")
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    ramps = f"const RAMPS = {json.dumps(RAMPS)};\n"
    script = '"use strict";\n(() => {\n' + ramps + "\n".join(parts) + "})();\n"
    return render(
        "explorer/page/page.html",
        title=title,
        style=Markup(style),
        style_digest=_digest(style),
        script=Markup(script),
        script_digest=_digest(script),
        data=Markup(embedded_json(data)),
    )


def _digest(text: str) -> str:
    """How a Content-Security-Policy names a script or a style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
