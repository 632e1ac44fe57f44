"""The figures and the records of a run as frames of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from lvlmsal.errors import UnknownName
from lvlmsal.evaluation.report.entries import difference_values
from lvlmsal.evaluation.results.records import Record
from lvlmsal.evaluation.results.schema import Results
from lvlmsal.frames import data_frame

if TYPE_CHECKING:
    import pandas as pd

Level = Literal["scores", "records", "tokens"]

_CELL = {
    "model": "object",
    "method": "object",
    "benchmark": "object",
    "seed": "Int64",
}
_SCORES = {
    **_CELL,
    "metric": "object",
    "n": "int64",
    "failed": "int64",
    "figure": "object",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "interval": "object",
    "higher_is_better": "object",
    "against": "object",
    "difference": "float64",
    "difference_low": "float64",
    "difference_high": "float64",
    "significant": "boolean",
    "mcnemar_p": "float64",
    "changed": "Int64",
    "tokens_changed": "Int64",
}
_RECORDS = {
    **_CELL,
    "sample_id": "object",
    "group": "object",
    "images": "object",
    "prompt": "object",
    "answer": "object",
    "target": "object",
    "status": "object",
    "error": "object",
    "new_tokens": "Int64",
    "token_ids": "object",
    "seconds": "float64",
    "batch_size": "Int64",
    "forwards": "Int64",
    "peak_memory": "Int64",
    "key": "object",
}
_TOKENS = {
    **_CELL,
    "sample_id": "object",
    "token": "int64",
    "id": "int64",
    "text": "object",
    "probability": "float64",
    "saliency": "float64",
    "threshold": "float64",
    "tries": "Int64",
    "rejected": "Int64",
    "fallback": "boolean",
    "key": "object",
}


def run_frame(level: Level, results: Results, records: Iterable[Record]) -> pd.DataFrame:
    """One of the frames of a run; `Result.to_pandas` says what they hold.

    Args:
        level: Which.
        results: The content of ``results.json``.
        records: The records, read only where they are needed.

    Raises:
        UnknownName: There is no such level.
        UnsupportedError: pandas is not installed.
    """
    if level == "scores":
        return data_frame(_scores(results["cells"]), _SCORES)
    # records name their seed only where a method has several
    seeds = {_name(cell): cell["seed"] for cell in results["cells"]}
    rows = ({"seed": seeds.get(_name(record)), **record} for record in records)
    if level == "records":
        return data_frame(rows, _RECORDS)
    if level == "tokens":
        return data_frame(_tokens(rows), _TOKENS)
    raise UnknownName("level of a frame", level, get_args(Level))


def _name(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry["model"], entry["method"], entry["benchmark"]


def _scores(cells: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        for name, figure in cell["figures"].items():
            yield {
                **{key: cell.get(key) for key in _SCORES},
                **{key: figure[key] for key in ("value", "low", "high", "interval")},
                "figure": name,
                "higher_is_better": figure["higher_is_better"],
                "against": cell["compared_with"],
                **difference_values(name, figure["difference"], cell),
            }


def _tokens(records: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for record in records:
        head = {key: record.get(key) for key in (*_CELL, "sample_id", "key")}
        told = record.get("tokens") or [{"id": token} for token in record.get("token_ids", [])]
        for place, token in enumerate(told):
            rejected = token.get("rejected")
            yield {
                **head,
                **token,
                "token": place,
                "rejected": None if rejected is None else len(rejected),
            }
