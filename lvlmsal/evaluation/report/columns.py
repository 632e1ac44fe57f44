"""Which figures of a metric stand in tables, how, and what is said under them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """How one figure is shown.

    Attributes:
        figure: Its name in the results.
        title: Its heading.
        percent: Whether a fraction is shown times 100.
        bare: Whether only the value is shown, without interval and difference.
    """

    figure: str
    title: str
    percent: bool = True
    bare: bool = False


COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "pope": (
        Column("accuracy", "accuracy"),
        Column("f1", "F1"),
        Column("yes_ratio", "yes ratio"),
        Column("unparsed", "unparsed", percent=False, bare=True),
    ),
    "chair": (
        Column("chair_s", "CHAIR_S"),
        Column("chair_i", "CHAIR_I"),
        Column("recall", "recall"),
        Column("length", "length", percent=False),
    ),
    "mme": (
        Column("perception", "perception", percent=False),
        Column("cognition", "cognition", percent=False),
        Column("task_mean", "task mean", percent=False),
        Column("unparsed", "unparsed", percent=False, bare=True),
    ),
    "amber-generative": (
        Column("chair", "CHAIR"),
        Column("cover", "Cover"),
        Column("hal", "Hal"),
        Column("cog", "Cog"),
    ),
    "amber-discriminative": (
        Column("accuracy", "accuracy"),
        Column("f1", "F1"),
        Column("f1/existence", "existence F1"),
        Column("f1/attribute", "attribute F1"),
        Column("f1/relation", "relation F1"),
        Column("unparsed", "unparsed", percent=False, bare=True),
    ),
    "vizwiz": (
        Column("accuracy", "accuracy"),
        Column("accuracy_yes_no", "yes/no"),
        Column("accuracy_number", "number"),
        Column("accuracy_other", "other"),
        Column("accuracy_unanswerable", "unanswerable"),
        Column("unanswerable_f1", "unanswerable F1"),
    ),
    "scienceqa": (
        Column("accuracy", "accuracy"),
        Column("natural", "NAT"),
        Column("social", "SOC"),
        Column("language", "LAN"),
        Column("text", "TXT"),
        Column("image", "IMG"),
        Column("no_context", "NO"),
        Column("grade_1_6", "G1-6"),
        Column("grade_7_12", "G7-12"),
        Column("unparsed", "unparsed", percent=False, bare=True),
    ),
    "captions": (
        Column("cider", "CIDEr"),
        Column("bleu_4", "BLEU-4"),
        Column("rouge_l", "ROUGE-L"),
        Column("length", "length", percent=False),
    ),
    "llava-bench": (
        Column("ratio", "ratio"),
        Column("ratio_conv", "conv"),
        Column("ratio_detail", "detail"),
        Column("ratio_complex", "complex"),
        Column("official", "official", percent=False),
        Column("failed", "failed", percent=False, bare=True),
        Column("unjudged", "unjudged", percent=False, bare=True),
    ),
    "mm-vet": (
        Column("total", "total"),
        Column("rec", "rec"),
        Column("ocr", "ocr"),
        Column("know", "know"),
        Column("gen", "gen"),
        Column("spat", "spat"),
        Column("math", "math"),
        Column("given_up", "given up", percent=False, bare=True),
        Column("unjudged", "unjudged", percent=False, bare=True),
    ),
}
"""Columns of the metrics that have a table of their own; others show every figure as it is."""


def readers_text(cells: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """From which row those read saliency that choose tokens by it; empty where none does.

    Args:
        cells: What a table calls them, and their entries in ``results.json``.

    >>> readers_text([("a", {"saliency_row": "candidate"}), ("b", {})])
    " Saliency is read from the candidate row by 'a'."
    """
    readers: dict[str, dict[str, None]] = {}
    for title, cell in cells:
        if row := cell.get("saliency_row"):
            readers.setdefault(row, {})[repr(title)] = None
    return "".join(
        f" Saliency is read from the {row} row by {', '.join(titles)}."
        for row, titles in readers.items()
    )
