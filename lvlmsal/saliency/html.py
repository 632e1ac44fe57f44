"""An answer for a notebook: its words colored by saliency, and the image under each of them.

Colors stand in the elements themselves and there is no script, since notebooks and their viewers
take out one or the other. Where the style is taken out, words stay colored and maps hidden.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from lvlmsal.colors import RAMPS, color, ink_on, scale_top
from lvlmsal.pages import render
from lvlmsal.pictures import encode_image
from lvlmsal.saliency.options import CONTEXT_TEXTS

if TYPE_CHECKING:
    from lvlmsal.saliency.report import SaliencyReport

LIMIT = 100_000
"""Bytes that an answer should stay below in the file of a notebook."""

SIDE = 224
"""Longest side of an image in pixels."""

POOLS = (1, 2, 4, None)
"""Side of the squares of patches that are averaged, step by step, for `LIMIT`; at last no maps."""

LEVELS = 16
"""Steps of a map's colors."""

_GAP = 6  # pixels between images
_TEMPLATE = "saliency/answer.html"


@dataclass(frozen=True)
class _Word:
    """A token as the template shows it."""

    lead: str
    text: str
    style: str
    title: str
    maps: list[str]


def answer_html(report: SaliencyReport) -> str:
    """One answer as HTML that stands on its own, in a page of whatever colors.

    Args:
        report: Of the answer. Words are colored by its saliency, on a scale from 0 to the 98 %
            quantile as in the explorer; the map of the image that the pointer or the keyboard asks
            for is that of its fusion, mean over its layers.

    Returns:
        HTML below 100 kB: where maps would make more of it, they are coarser, or left out.
    """
    text = ""
    for pool in POOLS:
        text = _rendered(report, pool)
        if len(text.encode()) < LIMIT:
            break
    return text


def plain_html(question: str, text: str, note: str) -> str:
    """An answer that cannot be colored, and why."""
    words = [_Word("", text, "", "", [])]
    return render(
        _TEMPLATE, question=question, words=words, pictures=[], width=0, height=0, note=note
    )


def _rendered(report: SaliencyReport, pool: int | None) -> str:
    values = report.saliency
    top = scale_top(values)
    has_maps = pool is not None and len(report.images) == len(report.grids) > 0
    pictures = _pictures(report) if has_maps else []
    words = []
    for at in range(_shown(report)):
        value, text = values[at], report.tokens[at]
        body = text.lstrip()
        maps = [_map(report.image_map(at, image), pool or 1) for image in range(len(pictures))]
        title = _title(report, at, value)
        words.append(_Word(text[: len(text) - len(body)], body, _style(value, top), title, maps))
    return render(
        _TEMPLATE,
        note="",
        question=report.prompt,
        words=words,
        pictures=pictures,
        width=max((one["width"] for one in pictures), default=0),
        height=sum(one["height"] + _GAP for one in pictures),
        ramp=", ".join(f"#{stop}" for stop in RAMPS["light"]),
        ticks=[f"{share * top:.2g}" for share in (0, 0.25, 0.5, 0.75, 1)],
        clipped=any(value is not None and value > top for value in values),
        row=report.options.row,
        context=CONTEXT_TEXTS[report.options.context],
    )


def _pictures(report: SaliencyReport) -> list[dict[str, Any]]:
    """The images one below the other, each as large as the side allows."""
    found: list[dict[str, Any]] = []
    top = 0
    for image in report.images:
        scale = SIDE / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        found.append({**encode_image(image, SIDE), "width": width, "height": height, "top": top})
        top += height + _GAP
    return found


def _shown(report: SaliencyReport) -> int:
    """How many tokens stand in the text of the answer: its end has a mark that does not."""
    count = len(report.tokens)
    while count and report.tokens[count - 1].strip() not in report.text:
        count -= 1
    return count


def _style(value: float | None, top: float) -> str:
    if value is None:
        return ""
    fill = color(value / top)
    return f"background: rgb({fill[0]}, {fill[1]}, {fill[2]}); color: {ink_on(fill)}"


def _title(report: SaliencyReport, at: int, value: float | None) -> str:
    saliency = "no text before it" if value is None else f"saliency {value:.3g}"
    return f"{saliency}, log p {report.log_probabilities[at]:.2f}"


def _map(values: Tensor, pool: int) -> str:
    """One token's map of an image (rows, columns) as a ``data:`` address, a pixel a patch."""
    pooled = avg_pool2d(values.float()[None], pool, ceil_mode=True)[0]
    largest = float(pooled.max())
    shares = pooled / largest if largest > 0 else pooled
    levels = (shares * (LEVELS - 1)).round().byte().numpy()
    steps = [level / (LEVELS - 1) for level in range(LEVELS)]
    picture = Image.frombytes("P", levels.shape[::-1], levels.tobytes())
    picture.putpalette([channel for share in steps for channel in color(share)])
    content = io.BytesIO()
    alphas = bytes(round(150 + 90 * share) for share in steps)
    picture.save(content, "png", optimize=True, transparency=alphas, bits=4)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")
