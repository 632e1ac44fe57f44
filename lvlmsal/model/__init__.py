"""One model with its adapter: `load`, `Lvlm`, and the answers that it gives."""

MAX_NEW_TOKENS = 128
"""Length limit of an answer where none is given, in Python and on the command line."""
