"""An example of a package that adds to lvlmsal without being part of it."""
