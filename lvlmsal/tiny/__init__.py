"""Tiny random models of every supported family: for tests, and in place of real ones in dry runs.

`lvlmsal.testing` offers them to authors of plugins; `lvlmsal.tiny.parts` has what a family of one's
own is built of.
"""
