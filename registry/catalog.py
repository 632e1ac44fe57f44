"""The catalog of checkpoints: short names for models, and the settings that go with each.

One YAML card per checkpoint lies in the folder `checkpoints`. A card may leave `revision` empty,
which means the newest one of the model hub; pin a commit with ``lvlmsal.load(name, revision=...)``
where a run has to be repeatable. Defaults for interventions and decoders stand under the user's
own options.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib.resources
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import yaml

from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.registry.options import bind

__all__ = ["CATALOG", "Catalog", "CheckpointCard", "read_card"]


@dataclasses.dataclass(frozen=True)
class CheckpointCard:
    """What is known about one checkpoint.

    Attributes:
        name: The short name, as ``lvlmsal.load`` takes it.
        summary: One line for listings.
        architecture: The entry of the model's `config.architectures`; it decides the adapter.
        license: The license of the weights (SPDX identifier where there is one).
        hub_id: The repository on the model hub, or None for a folder.
        folder: The local folder, or None for the hub. A relative one counts from the folder of the
            installed package `lvlmsal`.
        revision: The commit on the hub; None means the newest.
        original: The repository of the same weights in the form of their authors' own code, which
            transformers does not load.
        defaults: Options by the name of an intervention or decoder.
        notes: Where the defaults come from, and what else a user should know.
    """

    name: str
    summary: str
    architecture: str
    license: str
    hub_id: str | None = None
    folder: Path | None = None
    revision: str | None = None
    original: str | None = None
    defaults: dict[str, dict[str, object]] = dataclasses.field(default_factory=dict)
    notes: str = ""

    def __post_init__(self) -> None:
        if (self.hub_id is None) == (self.folder is None):
            raise ValueError(f"card {self.name!r} must give either `hub_id` or `folder`, not both")
        if self.folder is not None and self.revision is not None:
            raise ValueError(f"card {self.name!r}: a folder has no revision")

    @property
    def source(self) -> str:
        """What to hand to ``from_pretrained``: the hub id, or the folder."""
        return self.hub_id if self.hub_id is not None else str(self.folder)


def read_card(path: Path) -> CheckpointCard:
    """Read one YAML card.

    Args:
        path: The card; its keys are the fields of `CheckpointCard`.

    Returns:
        The card, with its folder made absolute.

    Raises:
        ConfigError: If the file is no such card; it lists everything that is wrong.
        FileNotFoundError: If there is no such file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError([f"is not valid YAML: {error}"], source=str(path)) from error
    if not isinstance(content, Mapping):
        raise ConfigError(["must hold `key: value` lines"], source=str(path))
    values, problems = bind(CheckpointCard, {str(key): value for key, value in content.items()})
    if problems:
        raise ConfigError(problems, source=str(path))
    try:
        card = CheckpointCard(**values)
    except ValueError as error:
        raise ConfigError([str(error)], source=str(path)) from error
    if card.folder is None:
        return card
    return dataclasses.replace(card, folder=_package_folder() / card.folder)


def _package_folder() -> Path:
    """The folder of the installed package; cards point from there to the weights it ships."""
    # A wheel is always unpacked, so the resource is a real folder.
    return Path(str(importlib.resources.files("lvlmsal")))


class Catalog:
    """Checkpoint cards by name, read from a folder at the first use.

    Args:
        folder: Where the cards lie; by default the folder `checkpoints` next to this module.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @cached_property
    def _cards(self) -> dict[str, CheckpointCard]:
        shipped = Path(str(importlib.resources.files("lvlmsal.registry"))) / "checkpoints"
        folder = self._folder or shipped
        cards: dict[str, CheckpointCard] = {}
        for path in sorted(folder.glob("*.yaml")):
            card = read_card(path)
            if card.name != path.stem:
                raise ConfigError([f"calls itself {card.name!r}: rename one"], source=str(path))
            cards[card.name] = card
        return cards

    def names(self, pattern: str = "*") -> list[str]:
        """Return the names that match a shell pattern, sorted."""
        return sorted(fnmatch.filter(self._cards, pattern))

    def get(self, name: str) -> CheckpointCard:
        """Return the card of a name.

        Raises:
            UnknownName: If there is none.
        """
        try:
            return self._cards[name]
        except KeyError:
            raise UnknownName("checkpoint", name, list(self._cards)) from None

    def of_checkpoint(self, source: str) -> CheckpointCard | None:
        """Return the card of a hub id or folder; None if there is none.

        Args:
            source: What the checkpoint was loaded from, as the `_name_or_path` of a config says it.

        Example:
            >>> CATALOG.of_checkpoint("llava-hf/llava-1.5-7b-hf").name
            'llava-1.5-7b'
        """
        if not source:
            return None
        folder = Path(source).resolve()
        for card in self._cards.values():
            if source == card.hub_id or (card.folder and card.folder.resolve() == folder):
                return card
        return None

    def add(self, card: CheckpointCard) -> None:
        """Add a card of your own for the rest of this process.

        Raises:
            ValueError: If the name is taken.
        """
        if card.name in self._cards:
            raise ValueError(f"the catalog already has a checkpoint {card.name!r}")
        self._cards[card.name] = card

    def __contains__(self, name: object) -> bool:
        return name in self._cards

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._cards)


CATALOG = Catalog()
