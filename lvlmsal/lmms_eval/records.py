"""Token records of a run of lmms-eval: one JSON line for each document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lvlmsal.adapters import ModelAdapter
from lvlmsal.decoders.records import TokenRecord
from lvlmsal.errors import DataError
from lvlmsal.evaluation.results.records import finite
from lvlmsal.lmms_eval.documents import Place


class RecordFile:
    """A file of token records, to be joined with samples of lmms-eval by task and `doc_id`.

    Args:
        path: The file; each process but the first writes one next to it, ``NAME.rank1.jsonl``.
        rank: Number of this process.

    Raises:
        DataError: There is such a file.
    """

    def __init__(self, path: Path, rank: int) -> None:
        self.path = path if rank == 0 else path.with_suffix(f".rank{rank}{path.suffix}")
        if self.path.exists():
            raise DataError(
                "is there already, and records of two runs do not belong into one file: give "
                "another name with records=..., or move it",
                path=self.path,
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, adapter: ModelAdapter, place: Place, tokens: Sequence[TokenRecord]) -> None:
        """Add the answer to a document.

        Args:
            adapter: Of the model, for the texts of tokens.
            place: Of the document.
            tokens: Of the answer.
        """
        for record, text in zip(tokens, adapter.token_texts([t.id for t in tokens]), strict=True):
            record.text = text
            for rejected in record.rejected:
                rejected["text"] = adapter.token_texts([rejected["id"]])[0]
        line = {
            "task": place.task,
            "split": place.split,
            "doc_id": place.doc_id,
            "repeat": place.repeat,
            "answer": adapter.decode([record.id for record in tokens]),
            "tokens": [record.to_dict() for record in tokens],
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(line), ensure_ascii=False) + "\n")
