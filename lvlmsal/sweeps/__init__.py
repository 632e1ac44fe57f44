"""Grids over options, answered as methods of one run, tabulated and plotted."""

from lvlmsal.sweeps.run import SweepResult, sweep

__all__ = ["SweepResult", "sweep"]
