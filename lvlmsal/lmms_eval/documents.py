"""Which documents an answer is for: `generate` of a model is not told, but they are looked up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from lvlmsal.errors import UnsupportedError


class Place(NamedTuple):
    """Where a document stands.

    Attributes:
        task: Name of the task.
        split: Of its data.
        doc_id: Number in that split.
        repeat: How often it was answered before in this run.
    """

    task: str
    split: str
    doc_id: int
    repeat: int = 0

    @property
    def sample_id(self) -> str:
        """What random numbers of its answer depend on."""
        return f"{self.task}/{self.split}/{self.doc_id}" + f"#{self.repeat}" * (self.repeat > 0)


class Documents:
    """Documents by task, split and number, as in `task_dict`; what is looked up is remembered.

    The models of lmms-eval look up the documents of a batch right before they call ``generate``, in
    the order of its rows. So their own order of batches can be kept.

    Args:
        tasks: `task_dict` of lmms-eval.
        answered: How often each document was answered before.
    """

    def __init__(self, tasks: Mapping[str, Any], answered: Counter[Place]) -> None:
        self._tasks = tasks
        self._answered = answered
        self._open: list[Place] = []

    def __getitem__(self, task: str) -> _Splits:
        """The splits of a task."""
        return _Splits(task, self._tasks[task], self._open)

    def take(self, rows: int) -> list[Place]:
        """The documents that were looked up since the last call, one for each row of a batch.

        Raises:
            UnsupportedError: It is another number of them.
        """
        found, self._open[:] = list(self._open), []
        if len(found) != rows:
            raise UnsupportedError(
                f"the base calls generate with {rows} rows after it has looked up {len(found)} "
                "documents, so it cannot be said which answer is whose: take another base, for "
                "instance llava_hf or qwen2_vl, or --batch_size 1"
            )
        places = []
        for place in found:
            places.append(place._replace(repeat=self._answered[place]))
            self._answered[place] += 1
        return places


class _Splits:
    """The splits of one task."""

    def __init__(self, task: str, splits: Mapping[str, Any], noted: list[Place]) -> None:
        self._task, self._splits, self._noted = task, splits, noted

    def __getitem__(self, split: str) -> _Split:
        return _Split(self._task, split, self._splits[split], self._noted)


class _Split:
    """The documents of one split."""

    def __init__(self, task: str, split: str, documents: Any, noted: list[Place]) -> None:
        self._task, self._split, self._documents, self._noted = task, split, documents, noted

    def __getitem__(self, doc_id: int) -> Any:
        self._noted.append(Place(self._task, self._split, doc_id))
        return self._documents[doc_id]

    def __len__(self) -> int:
        return len(self._documents)
