"""The list of packages; everything else is in pyproject.toml.

Every folder of lvlmsal/ with an __init__.py is a package. The three that stand at the top of the
repository are named: a source distribution has no links to them.
"""

from setuptools import find_packages, setup

LINKED = {"lvlmsal.adapters", "lvlmsal.configs", "lvlmsal.registry"}

setup(packages=sorted(LINKED.union(find_packages(include=["lvlmsal", "lvlmsal.*"]))))
