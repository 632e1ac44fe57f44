"""An answer whose judged words are colored by risk, for notebooks and pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lvlmsal.colors import RAMPS, color, ink_on
from lvlmsal.pages import render
from lvlmsal.pictures import encode_image

if TYPE_CHECKING:
    from lvlmsal.detection.result import Detection, JudgedWord

SIDE = 224
"""Longest side of an image in pixels."""


@dataclass(frozen=True)
class _Piece:
    """A part of the answer as the template shows it."""

    text: str
    style: str = ""
    title: str = ""
    flagged: bool = False


def detection_html(found: Detection) -> str:
    """One answer as HTML that stands on its own, in a page of whatever colors.

    Args:
        found: What was detected. Words are the darker the higher their risk, and underlined where
            they are flagged; the pointer shows the risk and what it is made of.
    """
    pieces, at = [], 0
    for word in found.words:
        pieces += [_Piece(found.text[at : word.start]), _piece(word)]
        at = word.end
    pieces.append(_Piece(found.text[at:]))
    return render(
        "detection/answer.html",
        question=found.prompt,
        pieces=pieces,
        pictures=[encode_image(image, SIDE) for image in found.images],
        ramp=", ".join(f"#{stop}" for stop in reversed(RAMPS["light"])),
        detector=found.detector,
        meaning=meaning(found),
        threshold=f"{found.threshold:.3g}",
        note=found.note,
        judged=len(found.words),
    )


def meaning(found: Detection) -> str:
    """What a risk is, in a few words."""
    if found.calibrated:
        return "the chance of being wrong, as far as other answers are like the labeled ones"
    if found.scaled:
        return "the share of the model's own mentions that score lower, no probability"
    return "the detector's own number, no probability"


def _piece(word: JudgedWord) -> _Piece:
    if word.risk is None:
        return _Piece(word.text, title="not judged")
    fill = color(1 - word.risk)
    line = "; text-decoration: underline 2px" if word.flagged else ""
    style = f"background: rgb({fill[0]}, {fill[1]}, {fill[2]}); color: {ink_on(fill)}{line}"
    reasons = "".join(f"; {name} {value:+.2f}" for name, value in word.reasons.items())
    return _Piece(word.text, style, f"risk {word.risk:.3f}{reasons}", word.flagged)
