"""What ``lvlmsal list`` shows, made from the registries and the catalog alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.registry import (
    ADAPTERS,
    BENCHMARKS,
    CATALOG,
    DECODERS,
    DETECTORS,
    EVIDENCE,
    INTERVENTIONS,
    METRICS,
    SCORERS,
    Registry,
)
from lvlmsal.tables.table import Head, Row, Table

REGISTRIES: dict[str, Registry[Any]] = {
    "adapters": ADAPTERS,
    "decoders": DECODERS,
    "interventions": INTERVENTIONS,
    "detectors": DETECTORS,
    "evidence": EVIDENCE,
    "metrics": METRICS,
    "benchmarks": BENCHMARKS,
    "scorers": SCORERS,
}
KINDS = (*REGISTRIES, "checkpoints")

# One name for several kinds.
GROUPS = {"methods": ("decoders", "interventions")}

# What classes of a kind say of themselves besides their options.
TRAITS = {
    "interventions": ("supports_beam", "supports_sgrs", "shares_prefix", "has_second_stream"),
    "decoders": ("is_beam", "uses_saliency", "sees_images", "shares_prefix"),
    "detectors": ("supervised", "scaled", "streams", "asks_more"),
}

Entry = dict[str, Any]


def listing(kind: str | None = None) -> dict[str, list[Entry]]:
    """Entries by kind.

    Args:
        kind: One of `KINDS` or of `GROUPS`, or None for all.

    Raises:
        UnknownName: There is no such kind.
    """
    if kind is not None and kind not in (*KINDS, *GROUPS):
        raise UnknownName("kind", kind, (*KINDS, *GROUPS))
    kinds = KINDS if kind is None else GROUPS.get(kind, (kind,))
    return {name: _checkpoints() if name == "checkpoints" else _entries(name) for name in kinds}


def listing_table(kind: str, entries: list[Entry]) -> Table:
    """One kind as a table."""
    heads = [Head("name", words=True), Head("summary", words=True)]
    if kind == "checkpoints":
        heads.append(Head("source", words=True, below=1, prefix="  "))
    rows = [Row.of(str(entry[head.title]) for head in heads) for entry in entries]
    return Table(kind, heads, rows)


def _entries(kind: str) -> list[Entry]:
    registry = REGISTRIES[kind]
    entries = []
    for name in registry:
        options = {} if kind == "adapters" else registry.options(name)
        entries.append(
            {
                **about(kind, name),
                "required": [option.name for option in options.values() if option.required],
                "options": {
                    option.name: _plain(option.default)
                    for option in options.values()
                    if not option.required
                },
            }
        )
    return entries


def about(kind: str, name: str) -> Entry:
    """What a registered class is, where it comes from and what it goes together with.

    Args:
        kind: One of `REGISTRIES`.
        name: A name in that registry.

    Returns:
        ``name``, ``summary``, ``paper``, ``url``, ``origin`` and `traits`.

    Raises:
        UnknownName: There is no such name.
    """
    registry = REGISTRIES[kind]
    cls = registry.outline(name)
    return {
        "name": name,
        **{key: getattr(cls, key) for key in ("summary", "paper", "url")},
        "origin": registry.origin(name),
        **traits(kind, cls),
    }


def traits(kind: str, cls: Any) -> Entry:
    """Where an intervention acts and what it asks others, what it can be combined with, and so on.

    Args:
        kind: One of `KINDS`.
        cls: A registered class.

    Returns:
        ``acts_on`` and the `TRAITS` of the kind; None for a trait that options decide.

    Example:
        >>> from lvlmsal.interventions.locore import LocoRE
        >>> traits("interventions", LocoRE)["acts_on"]
        ['attention scores', 'attention weights']
    """
    found: Entry = {"acts_on": list(cls.hooks())} if kind == "interventions" else {}
    if kind == "evidence":
        found["tells"] = list(cls.tells())
    if asks := getattr(cls, "asks", None):
        kinds = asks.values() if isinstance(asks, Mapping) else [asks]
        found["asks_evidence_for"] = ", ".join(kind.told for kind in kinds)
    for name in TRAITS.get(kind, ()):
        value = getattr(cls, name)
        found[name] = None if isinstance(value, property) else value
    return found


def _plain(default: object) -> Any:
    """A default as JSON can hold it."""
    is_plain = default is None or isinstance(default, bool | int | float | str)
    return default if is_plain else str(default)


def typed(value: object) -> str:
    """A default as one would type it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _checkpoints() -> list[Entry]:
    entries = []
    for name in CATALOG:
        card = CATALOG.get(name)
        entries.append(
            {
                "name": name,
                "summary": card.summary,
                "source": card.hub_id or f"shipped ({card.architecture})",
                "architecture": card.architecture,
                "revision": card.revision,
                "license": card.license,
                "defaults": card.defaults,
            }
        )
    return entries


def parse_settings(settings: list[str], flag: str = "--set ") -> dict[str, Any]:
    """Texts ``key=value`` as values; the values are read as YAML.

    Args:
        settings: The texts.
        flag: What the user typed before each of them, for messages.

    Raises:
        ConfigError: A text is not of that form.

    Example:
        >>> parse_settings(["alpha=0.5", "locore.beta=0.3"])
        {'alpha': 0.5, 'locore.beta': 0.3}
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    found: dict[str, Any] = {}
    problems = []
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key:
            problems.append(f"{flag}{text}: expected KEY=VALUE")
            continue
        try:
            parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]))
        except (OmegaConfBaseException, YAMLError) as error:
            problems.append(f"{flag}{text}: the value cannot be read: {error}")
            continue
        assert isinstance(parsed, dict)  # from_dotlist makes a dictionary
        found[key] = parsed["value"]
    if problems:
        raise ConfigError(problems)
    return found
