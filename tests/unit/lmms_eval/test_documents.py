"""Which documents an answer is for, from what a base looks up."""

from __future__ import annotations

from collections import Counter

import pytest

from lvlmsal.errors import UnsupportedError
from lvlmsal.lmms_eval.documents import Documents, Place

TASKS = {"a": {"test": ["a0", "a1", "a2"]}, "b": {"test": ["b0"], "dev": ["d0"]}}


def test_documents_are_handed_on_and_noted_in_the_order_of_the_batch() -> None:
    documents = Documents(TASKS, Counter())
    batch = [("a", "test", 2), ("b", "dev", 0), ("a", "test", 0)]
    assert [documents[task][split][number] for task, split, number in batch] == ["a2", "d0", "a0"]
    assert documents.take(3) == [Place(*each) for each in batch]
    assert documents["a"]["test"][1] == "a1"
    assert documents.take(1) == [Place("a", "test", 1)]
    assert len(documents["a"]["test"]) == 3


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_another_number_of_rows_is_refused(rows: int) -> None:
    documents = Documents(TASKS, Counter())
    for number in (0, 1):
        documents["a"]["test"][number]
    with pytest.raises(UnsupportedError, match=f"with {rows} rows after it has looked up 2 docum"):
        documents.take(rows)
    documents["a"]["test"][2]
    assert documents.take(1)[0].doc_id == 2  # what was looked up before is forgotten


def test_a_document_that_is_answered_again_has_another_id() -> None:
    answered: Counter[Place] = Counter()
    ids = []
    for _ in range(2):  # of requests, such as rounds of a conversation
        documents = Documents(TASKS, answered)
        for number in (1, 1, 0):
            documents["a"]["test"][number]
        ids.append([place.sample_id for place in documents.take(3)])
    assert ids == [
        ["a/test/1", "a/test/1#1", "a/test/0"],
        ["a/test/1#2", "a/test/1#3", "a/test/0#1"],
    ]
