"""What differs between the rows of a table that should be alike."""

from __future__ import annotations

from collections.abc import Sequence

from lvlmsal.comparisons.reading import TRAITS, Row
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


def differing(rows: Sequence[Row]) -> dict[str, str]:
    """What differs between rows of one benchmark, each trait with its values and who has them."""
    found = {}
    for trait in TRAITS:
        values: dict[str, list[Row]] = {}
        for row in rows:
            values.setdefault(_value(trait, row, rows[0]), []).append(row)
        if len(values) > 1:
            found[trait] = "; ".join(f"{value} ({_owners(own)})" for value, own in values.items())
    return found


def _value(trait: str, row: Row, first: Row) -> str:
    """A trait as a text that is the same for rows that go together."""
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
    return row.traits[trait]


def _owners(rows: Sequence[Row]) -> str:
    """Runs with the methods that have a value."""
    methods: dict[str, list[str]] = {}
    for row in rows:
        names = methods.setdefault(row.run, [])
        if row.method not in names:
            names.append(row.method)
    return ", ".join(f"{run}: {' and '.join(names)}" for run, names in methods.items())
