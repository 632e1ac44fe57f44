"""How tables show a metric's figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """How one figure is shown.

    Attributes:
        figure: Its name in the results.
        title: Its heading.
        percent: Whether a fraction is shown times 100.
        bare: Whether only the value is shown, without interval and difference.
    """

    figure: str
    title: str
    percent: bool = True
    bare: bool = False
