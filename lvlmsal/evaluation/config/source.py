"""Where a config comes from: a file, a packaged one or an object, over the keys of its base."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lvlmsal.errors import ConfigError, close_matches

ConfigSource = str | Path | Mapping[str, Any] | DictConfig
"""A YAML file, a run folder, the name of a packaged config, a dictionary or an OmegaConf object."""


def packaged_configs() -> list[str]:
    """Names of the configs that are shipped with the library, such as ``paper/pope``."""
    folder = Path(str(files("lvlmsal.configs")))  # a wheel is always unpacked
    paths = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml"))
    return sorted(path.as_posix() for path in paths)


def load_content(source: ConfigSource) -> tuple[dict[str, Any], str]:
    """Read a config as plain Python objects, with interpolations and short forms as they stand.

    Its keys are put over those of its `base`, which is looked for next to it first.

    Args:
        source: Where the config comes from.

    Returns:
        Keys and values, and what to call the source in messages.

    Raises:
        ConfigError: There is no such config, or it is no YAML of keys and values, or that holds for
            its base.
    """
    return _over_bases(source, ())


def _over_bases(source: ConfigSource, above: tuple[Path, ...]) -> tuple[dict[str, Any], str]:
    content, name = _own_content(source)
    here = Path(name).resolve()
    if here in above:
        raise ConfigError([f"{name!r} is the config itself, or has it for its own base"])
    base = content.pop("base", None)
    if base is None:
        return content, name
    place = Path(source).parent if isinstance(source, str | Path) else Path()
    neighbor = place / str(base)
    try:
        under, _ = _over_bases(neighbor if neighbor.is_file() else str(base), (*above, here))
    except ConfigError as error:
        raise ConfigError([f"base: {problem}" for problem in error.problems], source=name) from None
    return {**under, **content}, name


def _own_content(source: ConfigSource) -> tuple[dict[str, Any], str]:
    if isinstance(source, str | Path):
        text, name = _text(source)
        try:
            loaded: object = OmegaConf.create(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line = f":{mark.line + 1}" if mark else ""
            raise ConfigError(
                [f"not valid YAML: {error.problem}"], source=f"{name}{line}"
            ) from None
        except RecursionError:
            raise ConfigError(["nested too deeply, or it contains itself"], source=name) from None
        except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
            # a ValueError is a number of thousands of digits
            raise ConfigError([f"not valid YAML: {first_line(error)}"], source=name) from None
    else:
        loaded, name = source, "config"
    if isinstance(loaded, DictConfig):
        loaded = OmegaConf.to_container(loaded, resolve=False)
    if not isinstance(loaded, Mapping):
        raise ConfigError(
            [f"expected keys and values (output, models ...), got {type(loaded).__name__}"],
            source=name,
        )
    return {str(key): value for key, value in loaded.items()}, name


def _text(source: str | Path) -> tuple[str, str]:
    path = Path(source)
    try:
        if (path / "config.yaml").is_file():  # the folder of a run
            path = path / "config.yaml"
        if path.is_file():
            return path.read_text(encoding="utf-8"), str(path)
    except UnicodeDecodeError:
        raise ConfigError(["not a UTF-8 text file"], source=str(path)) from None
    except OSError as error:
        shown = str(source) if len(str(source)) < 200 else f"{str(source)[:200]}..."
        raise ConfigError(
            [f"expected a file or the name of a packaged config, got {shown!r} ({error.strerror})"]
        ) from None
    known = packaged_configs()
    name = str(source).removesuffix(".yaml")
    if name in known:
        return files("lvlmsal.configs").joinpath(f"{name}.yaml").read_text(encoding="utf-8"), name
    raise ConfigError(
        [
            f"there is no config file {str(source)!r} and no packaged config of that name."
            f"{close_matches(path.stem, known)} Packaged: {', '.join(known)}"
        ]
    )


def first_line(error: Exception) -> str:
    """What an error says, without the lines that show where."""
    return str(error).strip().split("\n")[0]
