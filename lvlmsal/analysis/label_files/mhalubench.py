"""MHaluBench: claims about images, each right or wrong as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from lvlmsal.analysis.label_files.answers import LabeledAnswer, image_file, one_claim
from lvlmsal.readers.rows import Row, read_json_rows

_WRONG: Final = {"hallucination": True, "non-hallucination": False}


def read_mhalubench(path: Path, images: Path) -> list[LabeledAnswer]:
    """Read ``MHaluBench_train.json`` or ``MHaluBench_val-v0.2.json``.

    See https://arxiv.org/abs/2402.03190. Objects have ``image_path``, and either ``claim_list``
    with ``ref_claim_label`` or ``response`` with ``label``; labels are "hallucination" or
    "non-hallucination". Claims are paraphrases without a place in an answer, so each is judged as
    a text of its own.

    Args:
        path: The file.
        images: Folder of the images.

    Raises:
        DataError: An entry lacks a key, or a label is none of the two.
    """
    return [
        found
        for number, row in enumerate(read_json_rows(path))
        for found in _claims(row, number, images)
    ]


def _claims(row: Row, number: int, images: Path) -> list[LabeledAnswer]:
    image = image_file(images, row.text("image_path"))
    claims: Any
    labels: Any
    if "claim_list" in row.data:
        claims, labels = row.data["claim_list"], row.data.get("ref_claim_label")
        is_listed = isinstance(claims, list) and isinstance(labels, list)
        if not is_listed or len(claims) != len(labels):
            raise row.error(
                "'claim_list' and 'ref_claim_label' must be lists of the same length, got "
                f"{claims!r} and {labels!r}"
            )
    else:
        claims, labels = [row.text("response")], [row.text("label")]
    found = []
    for at, (claim, label) in enumerate(zip(claims, labels, strict=True)):
        if label not in _WRONG or not isinstance(claim, str):
            raise row.error(
                f"a claim must be a text labeled {' or '.join(map(repr, _WRONG))}, got {claim!r} "
                f"labeled {label!r}"
            )
        found.append(one_claim(f"{number}/{at}", image, claim, wrong=_WRONG[label]))
    return [claim for claim in found if claim is not None]
