"""Statements of descriptions of scenes: which introductions of objects are wrong."""
