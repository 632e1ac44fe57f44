"""Keeps pytest from collecting the linked folders twice.

`registry`, `adapters` and `configs` are collected through their links in lvlmsal/, under the names
by which they are imported.
"""

collect_ignore = ["registry", "adapters", "configs"]
