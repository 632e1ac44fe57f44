"""Scores of official answer files, made by whatever tool: one scorer per benchmark."""

from lvlmsal.scorers.base import Scorer

__all__ = ["Scorer"]
