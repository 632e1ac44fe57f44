"""The page about every registered method, docs/methods.md."""
