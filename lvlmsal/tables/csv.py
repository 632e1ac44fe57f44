"""Rows of values as CSV text."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping

from lvlmsal.escaping import csv_cell


def csv_text(rows: Iterable[Mapping[str, object]], columns: Collection[str]) -> str:
    r"""Rows below a line of headings; what a spreadsheet would take for a formula stays text.

    Args:
        rows: Values by column; what a row lacks is empty.
        columns: Every column, in order.

    Example:
        >>> csv_text([{"a": 1, "b": None}, {"b": "=x"}], ["a", "b"])
        "a,b\n1,\n,'=x\n"
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()
