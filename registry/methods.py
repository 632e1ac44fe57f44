"""Decoders and interventions, which people mix up: what to type where one stands for the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lvlmsal.errors import close_matches, closest
from lvlmsal.registry import DECODERS, INTERVENTIONS, Registry

__all__ = ["IN_CONFIG", "IN_PYTHON", "IN_SHELL", "Ways", "mistaken"]

Ways = Mapping[str, str]
"""How the name of a decoder and of an intervention is written."""

IN_CONFIG: Final[Ways] = {"decoder": "decoder: {}", "intervention": "interventions: [{}]"}
IN_PYTHON: Final[Ways] = {"decoder": "decoder='{}'", "intervention": "interventions='{}'"}
IN_SHELL: Final[Ways] = {"decoder": "--decoder {}", "intervention": "--intervention {}"}

_OTHERS: Final[Mapping[str, tuple[Registry[Any], str]]] = {
    "decoder": (INTERVENTIONS, "is an intervention, which edits a decoder"),
    "intervention": (DECODERS, "is a decoder, which interventions edit"),
}


def mistaken(kind: str, name: str, ways: Ways) -> str:
    """What is wrong with the name of a decoder that is an intervention, or the other way round.

    Args:
        kind: What it was given as.
        name: The name; a misspelled one of the other kind counts as well.
        ways: How names are written where it was given.

    Returns:
        A sentence that ends with what to write; empty for any other name.

    Example:
        >>> mistaken("decoder", "vcd", IN_PYTHON)
        "'vcd' is an intervention, which edits a decoder: write  interventions='vcd'"
        >>> mistaken("decoder", "locor", IN_SHELL)
        "unknown decoder 'locor'. Did you mean 'locore'? It is an intervention, which edits a \
decoder: write  --intervention locore"
    """
    if kind not in _OTHERS:
        return ""
    other, what = _OTHERS[kind]
    own = DECODERS if kind == "decoder" else INTERVENTIONS
    if name in own:
        return ""
    if name in other:
        return f"{name!r} {what}: write  {ways[other.kind].format(name)}"
    meant = closest(name, other)
    if meant is None or close_matches(name, own):
        return ""
    written = ways[other.kind].format(meant)
    return f"unknown {kind} {name!r}. Did you mean {meant!r}? It {what}: write  {written}"
