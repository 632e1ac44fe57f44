"""Which of Lightning's loggers a config may ask for."""

from __future__ import annotations

import importlib.util

from lvlmsal.errors import close_matches

LOGGERS = ("csv", "tensorboard", "wandb", "none")
"""What ``logger`` of a config may say."""


def logger_problems(kind: str) -> list[str]:
    """Why a logger cannot be made: unknown, or its package is not installed.

    Example:
        >>> logger_problems("cvs")
        ["logger: there is no 'cvs'. Did you mean 'csv'? Known: csv, tensorboard, wandb, none"]
    """
    if kind not in LOGGERS:
        hint = close_matches(kind, LOGGERS)
        return [f"logger: there is no {kind!r}.{hint} Known: {', '.join(LOGGERS)}"]
    if kind in ("tensorboard", "wandb") and importlib.util.find_spec(kind) is None:
        return [f"logger: {kind} is not installed: type  pip install 'lvlmsal[{kind}]'"]
    return []
