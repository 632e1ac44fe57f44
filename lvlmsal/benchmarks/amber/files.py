"""AMBER: queries, annotations, and the words that its generative part looks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lvlmsal.errors import DataError
from lvlmsal.readers.rows import Row, read_json_rows, read_text, reason, short

AMBER_DIMENSIONS: Final[Mapping[str, str]] = {
    "generative": "generative",
    "discriminative-hallucination": "existence",
    "discriminative-attribute-state": "state",
    "discriminative-attribute-number": "number",
    "discriminative-attribute-action": "action",
    "discriminative-relation": "relation",
    "relation": "relation",
}
"""From a type in annotations.json to a dimension. Relation has two types: the first is that of the
questions to which yes is right, the second of those to which no is."""


@dataclass(frozen=True)
class AmberItem:
    """What is right for one query.

    Attributes:
        id: The query's id.
        dimension: A value of `AMBER_DIMENSIONS`.
        label: ``"yes"`` or ``"no"``; empty for the generative part.
        truth: What the image holds; only in the generative part.
        hallu: What people would expect in the image though it is not there; only in the same part.
        line: Line of the file, counted from 1.
    """

    id: int
    dimension: str
    label: str
    truth: tuple[str, ...]
    hallu: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class AmberQuery:
    """What is asked about an image.

    Attributes:
        id: Number of the query, by which annotations are found.
        image: File name of the image.
        text: The question or request.
        line: Line of the file, counted from 1.
    """

    id: int
    image: str
    text: str
    line: int


def read_amber_annotations(path: Path | str) -> dict[int, AmberItem]:
    """Read ``annotations.json`` by id.

    The official script takes the entry at the position id - 1 and never looks at its id.

    Args:
        path: The file.

    Returns:
        What is right, by id.

    Raises:
        DataError: An entry lacks a key, has an unknown type or a truth of the wrong kind, or
            repeats an id.
    """
    items: dict[int, AmberItem] = {}
    for row in read_json_rows(path):
        kind = row.text("type")
        dimension = AMBER_DIMENSIONS.get(kind)
        if dimension is None:
            raise row.error(f"unknown type {kind!r}; expected one of {', '.join(AMBER_DIMENSIONS)}")
        label = ""
        truth: tuple[str, ...] = ()
        hallu: tuple[str, ...] = ()
        if dimension == "generative":
            truth, hallu = _words(row, "truth"), _words(row, "hallu")
        else:
            label = row.text("truth")
            if label not in ("yes", "no"):
                raise row.error(f"'truth' must be 'yes' or 'no', got {label!r}")
        number = _number(row)
        if number in items:
            raise row.error(f"the id {number} was already used in line {items[number].line}")
        items[number] = AmberItem(number, dimension, label, truth, hallu, row.line)
    return items


def read_amber_queries(path: Path | str) -> list[AmberQuery]:
    """Read a query file, such as ``query/query_all.json``.

    Args:
        path: The file.

    Returns:
        The queries in the order of the file.

    Raises:
        DataError: An entry lacks a key or repeats an id.
    """
    queries: dict[int, AmberQuery] = {}
    for row in read_json_rows(path):
        query = AmberQuery(_number(row), row.text("image"), row.text("query"), row.line)
        other = queries.setdefault(query.id, query)
        if other is not query:
            raise row.error(f"the id {query.id} was already used in line {other.line}")
    return list(queries.values())


def read_amber_responses(path: Path | str, known: Mapping[int, AmberItem]) -> dict[int, str]:
    """Read a file of responses: ``id`` and ``response``, in an array or in lines.

    Args:
        path: The file.
        known: The annotations.

    Returns:
        Responses by id, in the order of the file.

    Raises:
        DataError: An entry lacks a key, repeats an id or has one without annotation.
    """
    responses: dict[int, str] = {}
    lines: dict[int, int] = {}
    for row in read_json_rows(path):
        number = _number(row)
        if number not in known:
            raise row.error(
                f"there is no annotation with the id {number}; they have ids from {min(known)} to "
                f"{max(known)}"
            )
        if number in responses:
            raise row.error(
                f"a second response with the id {number}; the first is in line {lines[number]}. "
                "Counted twice it would change the figures, so keep one of the two"
            )
        responses[number], lines[number] = row.text("response"), row.line
    return responses


def read_amber_relation(path: Path | str) -> dict[str, tuple[str, ...]]:
    """Read ``relation.json``: from each word to those that stand for it as well.

    Args:
        path: The file.

    Returns:
        Associated words by word.

    Raises:
        DataError: The file is not an object of lists of strings.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise DataError(f"not valid JSON ({reason(error)})", path=path, line=line) from None
    if not isinstance(content, dict) or not content:
        raise DataError(f"expected an object of lists, got {short(repr(content))}", path=path)
    for word, others in content.items():
        if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
            raise DataError(
                f"the words listed for {word!r} must be a list of strings, "
                f"got {short(repr(others))}",
                path=path,
            )
    return {word: tuple(others) for word, others in content.items()}


def read_amber_safe_words(path: Path | str) -> frozenset[str]:
    """Read ``safe_words.txt``: one word a line, which is never taken for a hallucination."""
    return frozenset(line for line in read_text(path).split("\n") if line.strip())


def unknown_amber_words(item: AmberItem, relation: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The words of an annotation that ``relation.json`` does not have, where every one must be."""
    return [word for word in (*item.truth, *item.hallu) if word not in relation]


def _number(row: Row) -> int:
    number = row.identifier("id")
    if not isinstance(number, int):
        raise row.error(f"'id' must be a whole number, got {number!r}")
    return number


def _words(row: Row, key: str) -> tuple[str, ...]:
    words = row.data.get(key)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise row.error(f"'{key}' must be a list of strings, got {short(repr(words))}")
    return tuple(words)
