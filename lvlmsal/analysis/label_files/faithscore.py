"""FaithScore's annotations: atomic facts of answers, each right or wrong as a whole."""

from __future__ import annotations

from pathlib import Path

from lvlmsal.analysis.label_files.answers import LabeledAnswer, coco_file, one_claim
from lvlmsal.readers.rows import Row, read_json_rows


def read_faithscore(path: Path, images: Path) -> list[LabeledAnswer]:
    """Read ``annotation.jsonl`` (https://arxiv.org/abs/2311.01477).

    Lines have ``id`` (a number of COCO's val2014) and ``stage 2``: a label for each atomic fact of
    the answer. 1 stands for a fact that holds and 0 for one that does not. The README says the
    opposite, but most facts have a 1, those that nobody could doubt among them ("There is a
    giraffe's head." of a picture of one). Facts are paraphrases without a place in the answer, so
    each is judged as a text of its own.

    Args:
        path: The file.
        images: Folder of COCO's val2014.

    Raises:
        DataError: A line lacks a key, or a label is neither 0 nor 1.
    """
    return [
        found
        for number, row in enumerate(read_json_rows(path))
        for found in _facts(row, number, images)
    ]


def _facts(row: Row, number: int, images: Path) -> list[LabeledAnswer]:
    identifier = row.identifier("id")
    if not isinstance(identifier, int):
        raise row.error(f"'id' must be a number of an image of COCO, got {identifier!r}")
    facts = row.data.get("stage 2")
    if not isinstance(facts, dict):
        raise row.error(f"'stage 2' must be an object with a label for each fact, got {facts!r}")
    found = []
    for at, (fact, label) in enumerate(facts.items()):
        if type(label) is not int or label not in (0, 1):
            raise row.error(f"'stage 2': the label of {fact!r} must be 0 or 1, got {label!r}")
        image = coco_file(images, identifier)
        found.append(one_claim(f"{number}/{at}", image, fact, wrong=label == 0))
    return [fact for fact in found if fact is not None]
