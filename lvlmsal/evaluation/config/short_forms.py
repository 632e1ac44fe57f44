"""The short forms of a config, which people like to type."""

from __future__ import annotations

from typing import Any

from lvlmsal.registry import BENCHMARKS, DECODERS, INTERVENTIONS


def spell_out(content: dict[str, Any]) -> dict[str, Any]:
    """Replace the short forms of a config by the long ones.

    A model may be a string; so may a decoder, an intervention, a method (a decoder of that name, or
    greedy search with the built-in intervention of that name) and a benchmark. Any of them may
    stand in place of a list of one. Options of a benchmark stand next to its name, and so do its
    further ``metrics``, each of which may be a string; ``split: all`` of POPE stands for its three
    splits. ``decoder`` and ``interventions`` at the top level are the short form of a single
    method.

    Args:
        content: A config as plain Python objects; values of unexpected types are left alone, for
            the type check to complain about.

    Example:
        >>> spell_out({"models": ["pocket-llava"], "decoder": "sgrs"})["methods"]
        [{'name': 'sgrs', 'decoder': {'name': 'sgrs'}, 'interventions': []}]
    """
    content = dict(content)
    if "methods" not in content and ("decoder" in content or "interventions" in content):
        decoder = _named(content.pop("decoder", "greedy"))
        edits = content.pop("interventions", [])
        content["methods"] = [{"decoder": decoder, "interventions": edits}]
    for key, spell in (("models", _model), ("methods", _method), ("benchmarks", _benchmark)):
        if isinstance(content.get(key), list | str | dict):
            content[key] = [spell(entry) for entry in _listed(content[key])]
    if isinstance(content.get("benchmarks"), list):
        content["benchmarks"] = [each for entry in content["benchmarks"] for each in _each(entry)]
    if isinstance(content.get("plugins"), str):
        content["plugins"] = [content["plugins"]]
    return content


def _listed(entries: Any) -> Any:
    """A list, or what stands in place of a list of one."""
    return [entries] if isinstance(entries, str | dict) else entries


def _named(entry: Any) -> Any:
    return {"name": entry} if isinstance(entry, str) else entry


def _benchmark(entry: Any) -> Any:
    entry = _named(entry)
    if isinstance(entry, dict) and isinstance(entry.get("metrics"), list | str | dict):
        entry = {**entry, "metrics": [_named(metric) for metric in _listed(entry["metrics"])]}
    return entry


def _each(entry: Any) -> list[Any]:
    """A benchmark; several where the value of an option stands for several, see `stands_for`."""
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or name not in BENCHMARKS:
        return [entry]
    label = entry.get("label")
    for option, values in BENCHMARKS.outline(name).stands_for.items():
        if isinstance(entry.get(option), str) and entry[option] in values:
            return [
                {**entry, option: value, **({"label": f"{label}/{value}"} if label else {})}
                for value in values[entry[option]]
            ]
    return [entry]


def _model(entry: Any) -> Any:
    if isinstance(entry, str):
        entry = {"source": entry}
    if isinstance(entry, dict) and isinstance(entry.get("source"), str) and not entry.get("name"):
        entry = {**entry, "name": _last_part(entry["source"])}
    return entry


def _last_part(source: str) -> str:
    """What a model is called: the end of its path, or all of an interpolation."""
    last = source.rstrip("/\\").replace("\\", "/").split("/")[-1]
    return last if "${" not in source or "}" not in last or "${" in last else source


def _bare(name: str) -> dict[str, Any]:
    """A method by the name of its decoder, or of its only intervention."""
    is_edit = name in INTERVENTIONS and name not in DECODERS
    return {"interventions": [name]} if is_edit else {"decoder": name}


def _method(entry: Any) -> Any:
    if isinstance(entry, str):
        entry = {"name": entry, **_bare(entry)}
    if not isinstance(entry, dict):
        return entry
    name = entry.get("name")
    if not entry.keys() & {"decoder", "interventions"} and isinstance(name, str):
        # {name: locore} is what locore is, and no greedy search of that name
        entry = {**entry, **(_bare(name) if name in DECODERS or name in INTERVENTIONS else {})}
    decoder = _named(entry.get("decoder", "greedy"))
    edits = entry.get("interventions", [])
    edits = _listed(edits)
    if isinstance(edits, list):
        edits = [_named(edit) for edit in edits]
    if not name:
        parts = [decoder, *(edits if isinstance(edits, list) else [])]
        name = " + ".join(str(part.get("name")) for part in parts if isinstance(part, dict))
    spelled = {"name": name, "decoder": decoder, "interventions": edits}
    return {**spelled, **{key: value for key, value in entry.items() if key not in spelled}}
