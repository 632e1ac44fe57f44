"""Names of what can be used, for lists and completion: `lvlmsal.list_methods()` and its like.

Listing imports neither torch nor any of the registered classes; plugins are listed as well.
"""

from __future__ import annotations

from typing import Any, Literal

from lvlmsal.errors import UnknownName
from lvlmsal.registry import ADAPTERS, BENCHMARKS, CATALOG, DECODERS, INTERVENTIONS, Registry

__all__ = ["list_adapters", "list_benchmarks", "list_checkpoints", "list_methods"]

_KINDS: dict[str, Registry[Any]] = {"decoder": DECODERS, "intervention": INTERVENTIONS}


def list_methods(
    pattern: str = "*", *, kind: Literal["decoder", "intervention"] | None = None
) -> list[str]:
    """Names of methods: what ``decoder=`` and ``interventions=`` of `generate` take.

    Args:
        pattern: A shell pattern that the names have to match.
        kind: Decoders choose the next token, one at a time; interventions edit the model while it
            decodes, and several go together. Both by default.

    Returns:
        The names, sorted; none where nothing matches.

    Raises:
        UnknownName: There is no such kind.

    Example:
        >>> list_methods(kind="decoder")
        ['beam', 'dopra-reconstruction', 'greedy', 'guided', 'guided-beam', 'halc', 'halc-beam',
        'opera', 'reverse', 'sample', 'sgrs']
        >>> list_methods("vi*")
        ['vissink', 'vista']
    """
    if kind is not None and kind not in _KINDS:
        raise UnknownName("kind of methods", kind, tuple(_KINDS))
    chosen = _KINDS.values() if kind is None else (_KINDS[kind],)
    return sorted(name for registry in chosen for name in registry.names(pattern))


def list_adapters(pattern: str = "*") -> list[str]:
    """Names of the model classes of transformers that can be loaded; arguments as `list_methods`.

    Example:
        >>> list_adapters("LlavaNext*")
        ['LlavaNextForConditionalGeneration', 'LlavaNextVideoForConditionalGeneration']
    """
    return ADAPTERS.names(pattern)


def list_benchmarks(pattern: str = "*") -> list[str]:
    """Names of benchmarks, as configs take them; arguments as `list_methods`.

    Example:
        >>> list_benchmarks("ms*")
        ['msrvtt-qa', 'msvd-qa']
    """
    return BENCHMARKS.names(pattern)


def list_checkpoints(pattern: str = "*") -> list[str]:
    """Short names of checkpoints, as `lvlmsal.load` takes them; arguments as `list_methods`.

    A hub id or a folder of any other checkpoint does as well.

    Example:
        >>> "pocket-llava" in list_checkpoints("pocket-*")
        True
    """
    return CATALOG.names(pattern)
