"""What differs between the rows of a table that should be alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lvlmsal.comparisons.reading import TRAITS, Row, metric_text
from lvlmsal.errors import UnknownName


def known_traits(allow: Sequence[str]) -> set[str]:
    """The traits that may differ.

    Args:
        allow: Names out of `TRAITS`, also several in one text with commas between them.

    Raises:
        UnknownName: There is no such trait.
    """
    given = {name.strip() for text in allow for name in text.split(",") if name.strip()}
    for name in sorted(given):
        if name not in TRAITS:
            raise UnknownName("trait", name, list(TRAITS))
    return given


def differing_between(pairs: Iterable[tuple[Row, Row]]) -> dict[str, str]:
    """What differs between rows of different runs, each trait with its values and who has them.

    Args:
        pairs: Rows of one benchmark that would be compared with each other.
    """
    found = {}
    between = [(other, row) for other, row in pairs if other.run != row.run]
    for trait in TRAITS:
        unlike = [
            (other, row)
            for other, row in between
            if _value(trait, other, row) != _value(trait, other, other)
        ]
        if unlike:
            rows = [row for side in zip(*unlike, strict=True) for row in side]
            found[trait] = _values_text(trait, rows)
    return found


def differing_inside(rows: Sequence[Row]) -> dict[str, str]:
    """What differs between rows of one run, each trait with its values and who has them.

    Args:
        rows: Rows of one benchmark.
    """
    found = {}
    for trait in TRAITS:
        values = {(row.run, _value(trait, rows[0], row)) for row in rows}
        if len(values) > len({row.run for row in rows}):
            found[trait] = _values_text(trait, rows)
    return found


def _values_text(trait: str, rows: Sequence[Row]) -> str:
    """The values of a trait, and who has them."""
    values: dict[str, list[Row]] = {}
    for row in rows:
        values.setdefault(_value(trait, rows[0], row), []).append(row)
    return "; ".join(f"{value} ({_owners(own)})" for value, own in values.items())


def _value(trait: str, first: Row, row: Row) -> str:
    """A trait of a row as a text, which is that of the first row if the two go together."""
    if trait == "subsets":
        text = f"{len(row.asked)} samples, digest {row.digest}"
        if row.digest != first.digest:
            common = len(row.asked.keys() & first.asked.keys())
            text += f", {common} of them in {first.run}"
        return text
    if trait == "prompts":
        text = repr(row.traits["prompts"])
        other = [
            key
            for key, (prompt, _, _) in row.asked.items()
            if key in first.asked and first.asked[key][0] != prompt
        ]
        if other:
            example = row.asked[other[0]][0]
            text += f", {len(other)} prompts other than in {first.run}, such as {example!r}"
        return text
    if trait == "metrics":
        mine, theirs = row.cells[0].further, first.cells[0].further
        # one that only the other run has is simply not compared
        texts = {label: metric_text(metric) for label, metric in mine.items() if label in theirs}
        other = [f"{k}: {text}" for k, text in texts.items() if text != metric_text(theirs[k])]
        return ", ".join([row.traits["metrics"], *other])
    return row.traits[trait]


def _owners(rows: Sequence[Row]) -> str:
    """Runs with the methods that have a value."""
    methods: dict[str, list[str]] = {}
    for row in rows:
        names = methods.setdefault(row.run, [])
        if row.method not in names:
            names.append(row.method)
    return ", ".join(f"{run}: {' and '.join(names)}" for run, names in methods.items())
