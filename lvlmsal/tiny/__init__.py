"""Tiny random models of every supported family: for tests, and in place of real ones in dry runs.

`lvlmsal.testing` offers them to authors of plugins.
"""
