"""Grids over options, answered as methods of one run, tabulated and plotted."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.sweeps.run import SweepResult, dry_sweep, sweep

__all__ = ["SweepResult", "dry_sweep", "sweep"]

# A config is checked with `lvlmsal.sweeps.stated`, which needs none of these.
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, ".run"))
