"""Overrides of a config: texts ``key=value``, whose keys name places in it."""

from __future__ import annotations

import re
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lvlmsal.errors import close_matches
from lvlmsal.evaluation.config.short_forms import spell_out

_KEY = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")


def apply_override(content: dict[str, Any], text: str) -> None:
    """Put one value into a config.

    Args:
        content: The config as plain Python objects, short forms spelled out; changed in place.
        text: ``key=value``; `lvlmsal.evaluation.config.reading.read_config` says what a key may
            be. Nothing after the sign is the empty text; ``key=null`` is not a value.

    Raises:
        ValueError: The text is not of that form, or the config has no such place.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError("expected key=value")
    try:
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]), resolve=False)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"the value cannot be read: {first}") from None
    assert isinstance(parsed, dict)  # from_dotlist makes a dictionary
    if not value.strip():  # which YAML takes for null, and which could then not be said at all
        parsed["value"] = ""
    keys = [bracket or plain for bracket, plain in _KEY.findall(key.strip())]
    if not keys:
        raise ValueError("expected key=value")
    if keys[0] in ("decoder", "interventions"):
        methods = content.get("methods")
        if isinstance(methods, list) and len(methods) > 1:
            raise ValueError(f"say of which method: methods.NAME.{key.strip()}=...")
        content.setdefault("methods", [{}])
        content.update(spell_out(content))
        keys = ["methods", "*", *keys]
    _put(content, keys, parsed["value"], "")


def _put(node: Any, keys: list[str], value: object, where: str) -> None:
    key, rest = keys[0], keys[1:]
    if isinstance(node, list):
        indices = list(range(len(node))) if key == "*" else [_index(node, key, where)]
        for index in indices:
            if rest:
                node[index] = _opened(node[index])
                _put(node[index], rest, value, f"{where}[{index}]")
            else:
                node[index] = value
    elif isinstance(node, dict):
        if not rest:
            node[key] = value
            return
        node[key] = _opened(node.get(key))
        _put(node[key], rest, value, f"{where}.{key}" if where else key)
    else:
        raise ValueError(f"{where} is {node!r}, which has no {key!r}")


def _opened(node: Any) -> Any:
    """A value that can take keys: nothing becomes a dictionary, a name one with that name."""
    if node is None:
        return {}
    return {"name": node} if isinstance(node, str) else node


def _index(entries: list[Any], key: str, where: str) -> int:
    if re.fullmatch(r"-?\d+", key):
        if not -len(entries) <= int(key) < len(entries):
            raise ValueError(f"{where} has {len(entries)} entries, no entry {key}")
        return int(key) % len(entries)
    names = [_entry_names(entry) for entry in entries]
    found = [index for index, known in enumerate(names) if key in known]
    if len(found) == 1:
        return found[0]
    known = [name for entry in names for name in entry[:1]]
    if found:
        last = len(names) - 1
        raise ValueError(f"{where} has several entries {key!r}; give a position, 0 to {last}")
    raise ValueError(f"{where} has no entry {key!r}.{close_matches(key, known)} It has: {known}")


def _entry_names(entry: object) -> list[str]:
    if isinstance(entry, dict):
        return [str(entry[key]) for key in ("label", "name", "source") if entry.get(key)]
    return [str(entry)]
