"""The first check of a config: what is wrong in itself, found without importing a component."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.check import stated_problems
from lvlmsal.evaluation.config.plugins import import_plugins
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.config.source import ConfigSource, load_content
from lvlmsal.evaluation.config.world import world_problems

UNSET_ROOT = Path(os.devnull, "data.root")
"""Stands for a `data.root` that a config leaves open; below a file, so that no folder is there."""


def refuse_misstated(
    source: ConfigSource, overrides: Iterable[str] = (), *, found: Iterable[str] = ()
) -> None:
    """Refuse a config that is wrong in itself: its keys, names, options or their values.

    `lvlmsal.evaluation.config.plan.make_plan` says the same and more. This is for commands, which
    then answer before they import what a run needs.

    Args:
        source: The config, as `read_config` takes it.
        overrides: Texts ``key=value``.
        found: What else is wrong.

    Raises:
        ConfigError: It lists every such problem.
    """
    config, problems, name = read_config(source, overrides)
    problems = [*found, *problems]
    problems += import_plugins(config.plugins)
    problems += stated_problems(config, read=problems)
    problems += world_problems(config.world)
    if problems:
        raise ConfigError(problems, source=name)


def with_data_root(source: ConfigSource, overrides: Iterable[str]) -> list[str]:
    """Overrides for a dry run, which needs no data: `UNSET_ROOT` where `data.root` is left open.

    Raises:
        ConfigError: The config cannot be read at all.
    """
    given = list(overrides)
    data = load_content(source)[0].get("data")
    is_open = isinstance(data, dict) and data.get("root") == "???"
    if is_open and not any(text.split("=")[0].strip() == "data.root" for text in given):
        given.append(f"data.root={UNSET_ROOT}")
    return given
