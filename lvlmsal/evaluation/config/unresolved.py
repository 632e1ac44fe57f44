"""Interpolations of the environment: resolved where they are used, never where they are written.

``${oc.env:TOKEN}`` in a config stands for something that belongs to a machine or a person. The
config that a run works with holds its value; every file of the run holds the text, and reading the
run's own ``config.yaml`` resolves it again.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.resolvers import oc

from lvlmsal.secrets import remember

Place = tuple[str | int, ...]
"""Keys and positions that lead to a value of a config."""

Unresolved = dict[Place, str]
"""The texts of a config that take something from the environment, by their place."""

_RESOLVER = "lvlmsal.env"
_ENV = re.compile(r"(\$\{\s*)oc\.env(\s*:)")
_USED: list[str] = []
_TAKEN: list[str] = []
_NAMES = (("models", "name"), ("methods", "name"), ("benchmarks", "label"))


def _environment(key: str, *default: Any) -> Any:
    """``oc.env``, which also notes that it was asked."""
    found = oc.env(key, *default)
    _USED.append(key)
    if key in os.environ:  # a default stands in the config for everybody to read
        _TAKEN.append(key)
        if isinstance(found, str):
            remember(found, f"${{oc.env:{key}}}")
    return found


# omegaconf 2.4 renamed it, and what has the new name in 2.3 is another function
_register: Any = OmegaConf.register_resolver
if "replace" not in inspect.signature(_register).parameters:
    _register = OmegaConf.register_new_resolver
_register(_RESOLVER, _environment, replace=True)


def resolve(content: Mapping[str, Any]) -> tuple[dict[str, Any], Unresolved]:
    """Resolve all interpolations of a config.

    Args:
        content: The config as plain Python objects.

    Returns:
        The resolved config, and the texts whose value the environment has a part in, however it
        came there (a text may refer to another one). Names of models, methods and benchmarks stand
        in every file of a run, so they are the texts themselves.

    Raises:
        OmegaConfBaseException: An interpolation leads nowhere.
        RecursionError: The config is nested too deeply, or contains itself.
    """
    tree = OmegaConf.create(_noted(content))
    found: Unresolved = {}
    for place, node in _texts(tree, ()):
        _USED.clear()
        _TAKEN.clear()
        value = node[place[-1]]
        if isinstance(value, DictConfig | ListConfig):
            value = OmegaConf.to_container(value, resolve=True)
        if _USED:
            text = _at(content, place)
            found[place] = text
            for leaf in _leaves(value) if _TAKEN else ():
                remember(leaf, text)
    resolved = OmegaConf.to_container(tree, resolve=True)
    assert isinstance(resolved, dict)  # content is a mapping
    for place, text in found.items():
        if len(place) == 3 and (place[0], place[2]) in _NAMES:
            resolved[place[0]][place[1]][place[2]] = text
    return {str(key): value for key, value in resolved.items()}, found


def _noted(value: Any) -> Any:
    """A copy in which the environment is asked through `_environment`."""
    if isinstance(value, str):
        return _ENV.sub(rf"\g<1>{_RESOLVER}\g<2>", value)
    if isinstance(value, Mapping):
        return {key: _noted(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_noted(entry) for entry in value]
    return value


def _texts(tree: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """Every interpolation of a config: its place, and the container that it is in."""
    keys: Any = range(len(tree)) if isinstance(tree, ListConfig) else list(tree)
    for key in keys:
        if OmegaConf.is_interpolation(tree, key):
            yield (*place, key), tree
        elif not OmegaConf.is_missing(tree, key) and isinstance(
            entry := tree[key], DictConfig | ListConfig
        ):
            yield from _texts(entry, (*place, key))


def _at(content: Any, place: Place) -> Any:
    for key in place:
        content = content[key]
    return content


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _leaves(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(entry)


def below(texts: Mapping[Place, str], place: Place, new: Place) -> Unresolved:
    """The texts of one part of a config, for that part at a new place.

    Example:
        >>> below({("methods", 0, "decoder", "x"): "${oc.env:X}"}, ("methods", 0), ())
        {('decoder', 'x'): '${oc.env:X}'}
    """
    length = len(place)
    return {(*new, *at[length:]): text for at, text in texts.items() if at[:length] == place}


def unresolved(value: Any, texts: Mapping[Place, str], place: Place = ()) -> Any:
    """A part of a config as it may be written: with the texts in place of what they stand for.

    Args:
        value: The resolved part, as plain Python objects.
        texts: The texts of the whole config.
        place: Where the part is in the config.

    Example:
        >>> unresolved({"user": "me", "note": "a"}, {("options", "user"): "${oc.env:ME}"},
        ...            ("options",))
        {'user': '${oc.env:ME}', 'note': 'a'}
    """
    if place in texts:
        return texts[place]
    if isinstance(value, Mapping):
        return {key: unresolved(entry, texts, (*place, key)) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [unresolved(entry, texts, (*place, n)) for n, entry in enumerate(value)]
    return value


def literal(value: Any, texts: Mapping[Place, str], place: Place = ()) -> Any:
    r"""`unresolved`, for a config that is read again: other texts are protected from resolving.

    Example:
        >>> literal({"output": "runs/${x}"}, {})
        {'output': 'runs/\\${x}'}
    """
    if place in texts:
        return texts[place]
    if isinstance(value, Mapping):
        return {key: literal(entry, texts, (*place, key)) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [literal(entry, texts, (*place, n)) for n, entry in enumerate(value)]
    if isinstance(value, str):
        # OmegaConf halves the backslashes in front of ${, and takes an odd one as "no reference"
        return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", value)
    return value
