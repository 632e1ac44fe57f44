"""What a name given to `load` stands for: a card of the catalog, a folder, or a hub id."""

from __future__ import annotations

import json
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from huggingface_hub import constants, try_to_load_from_cache

from lvlmsal.adapters.forms import base_of, unread
from lvlmsal.errors import DataError, LvlmsalError, UnknownName, UnsupportedError
from lvlmsal.readers.connection import asking, silence
from lvlmsal.readers.digests import is_file
from lvlmsal.registry import CATALOG, CheckpointCard

_CONFIG = "config.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Source:
    """Where a checkpoint is.

    Attributes:
        location: Folder or hub id.
        revision: On the hub; None: the newest.
        card: Entry of the catalog, if it was named so.
        local: Whether it is a folder.
        adapter: Folder of PEFT whose adapter (LoRA) goes into the model; None for none.
        offline: Why the hub is not asked, only its cache; empty: it is asked.
    """

    location: str
    revision: str | None
    card: CheckpointCard | None
    local: bool
    adapter: Path | None = None
    offline: str = ""

    def looked_up(self) -> Self:
        """The source after one look at the hub: where that does not answer, only its cache counts.

        transformers looks for every file by itself, and tries five times, which takes minutes.

        Raises:
            LvlmsalError: The hub does not answer, and the checkpoint is not in the cache.
        """
        if self.local:
            return self
        why = silence(self.location, _CONFIG, revision=self.revision)
        if not why:
            return self
        found = replace(self, offline=why)
        cached = try_to_load_from_cache(self.location, _CONFIG, revision=self.revision)
        if not isinstance(cached, str):
            raise LvlmsalError(f"{self.location!r} is not a folder here. {found._advice()}")
        return found

    def loading(self) -> AbstractContextManager[None]:
        """Surrounds what loads files: where the hub does not answer, nothing asks it again."""
        return asking(not self.offline)

    def _advice(self) -> str:
        name, why = self.location, self.offline[:1].upper() + self.offline[1:]
        here = f"{why}, and {constants.HF_HUB_CACHE} does not hold all of {name}. " if why else ""
        return (
            f"{here}Without a connection, load a folder: fetch it where there is one with "
            f"`hf download {name} --local-dir FOLDER`, then give FOLDER in place of {name!r}"
        )

    def error(self, what: str, cause: Exception) -> LvlmsalError:
        """Explain a failure of transformers in the terms of this source.

        Args:
            what: What went wrong, from the user's point of view.
            cause: What transformers raised.

        Returns:
            An error to raise from `cause`.
        """
        reason = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
        reason = reason or type(cause).__name__
        if self.local:
            return DataError(f"{what}: {reason}", path=self.location)
        if self.offline:
            return LvlmsalError(f"{self.location!r}: {what}: {reason} {self._advice()}")
        return LvlmsalError(
            f"{self.location!r} is not a folder here, and from the model hub {what}: {reason} "
            f"{self._advice()}"
        )


def find_source(
    source: str | Path, revision: str | None = None, base: str | Path | None = None
) -> Source:
    """Tell names, folders and hub ids apart, and check a folder before anything is loaded.

    Args:
        source: Name in the catalog, existing folder, or ``"owner/name"``; tried in this order.
            A `Path` is always a folder.
        revision: On the hub; None: that of the catalog, else the newest.
        base: Of a folder of PEFT: what its adapter goes into; None: what it was trained on.

    Returns:
        The place.

    Raises:
        UnknownName: It is none of them.
        DataError: It is a folder without a model, or a path to nothing.
        UnsupportedError: It is known that the model of the folder cannot be done right, or is not
            read in this form.
    """
    text, folder = str(source), Path(source).expanduser()
    trained_on = base_of(folder) if text not in CATALOG else None
    if trained_on is not None:
        return _adapted(folder, base or trained_on, revision)
    if base is not None:
        raise UnsupportedError(f"{text} is no folder with an adapter (LoRA): leave `base` out")
    if isinstance(source, str) and source in CATALOG:
        card = CATALOG.get(source)
        if card.folder is None:
            return Source(card.source, revision or card.revision, card, local=False)
        return Source(str(_check_folder(card.folder)), None, card, local=True)
    if folder.is_dir():
        return Source(str(_check_folder(folder)), None, None, local=True)
    if folder.exists():
        said = unread(folder) or "this is a file"
        raise DataError(f"expected a folder with a checkpoint: {said}", path=folder)
    if isinstance(source, str) and _HUB_ID.fullmatch(text):
        return Source(text, revision, None, local=False)
    if isinstance(source, Path) or "/" in text or "\\" in text:
        raise DataError("there is no such folder", path=folder)
    raise UnknownName("checkpoint (and there is no folder of this name)", text, CATALOG.names())


def _adapted(folder: Path, base: str | Path, revision: str | None) -> Source:
    """The place of the model that an adapter goes into, with the adapter."""
    said = unread(folder)
    if said:
        raise UnsupportedError(f"{folder}: {said}")
    if not str(base):
        raise DataError(
            "adapter_config.json does not say what the adapter was trained on: give `base`, a "
            "catalog name, a folder or a hub id",
            path=folder,
        )
    try:
        found = find_source(base, revision)
    except LvlmsalError as error:
        raise UnsupportedError(
            f"{folder}: the adapter goes into {str(base)!r}, and that is not to be had ({error}): "
            "give another `base`, a catalog name, a folder or a hub id"
        ) from error
    if found.adapter is not None:
        raise UnsupportedError(
            f"{folder}: the adapter goes into {base}, which is an adapter itself: merge that one "
            "first (`merge_and_unload` of peft), and give the result as `base`"
        )
    return replace(found, adapter=folder)


def folder_problems(folder: Path) -> list[str]:
    """What keeps a folder from being loaded as a model: what `find_source` would say of it."""
    return [str(error) for error in _folder_errors(folder)]


def _check_folder(folder: Path) -> Path:
    """Check that a folder has a configuration and all files of its weights, as safetensors."""
    errors = _folder_errors(folder)
    if errors:
        raise errors[0]
    return folder


def _folder_errors(folder: Path) -> list[LvlmsalError]:
    if not folder.is_dir():
        return [DataError("the folder of this checkpoint is missing", path=folder)]
    said = unread(folder)
    if said:
        return [UnsupportedError(f"{folder}: {said}")]
    if not (folder / _CONFIG).is_file():
        text = "there is no config.json: expected the folder of a model as transformers saves it"
        return [DataError(text, path=folder)]
    found: list[LvlmsalError] = []
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = _shards(index)
        missing = [name for name in shards or () if not is_file(folder / name)]
        if shards is None:
            found.append(DataError("this is not an index of safetensors files", path=index))
        elif missing:
            text = f"files of the weights are missing: {', '.join(missing)}"
            found.append(DataError(text, path=folder))
    elif not (folder / "model.safetensors").is_file():
        found.append(DataError("there are no weights: expected model.safetensors", path=folder))
    try:
        json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        found.append(DataError(f"the configuration cannot be read: {error}", path=folder / _CONFIG))
    return found


def _shards(index: Path) -> list[str] | None:
    """The files that an index names; None for what is no index."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, RecursionError, OSError, KeyError, TypeError, AttributeError):
        return None
    return sorted(names) if all(isinstance(name, str) for name in names) else None
