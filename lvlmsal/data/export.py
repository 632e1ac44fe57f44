"""Data sets of the hub, written as the files that the official releases have.

Only ``lvlmsal data export`` comes here: a run reads files. The package `datasets` loads, from its
cache where the data set is in it; who owns a copy on the hub changes, so the name is always given.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lvlmsal.errors import DataError, UnknownName, UnsupportedError
from lvlmsal.progress import track
from lvlmsal.readers.connection import asking, silence
from lvlmsal.readers.hub import Folder, HubRow, Layout


def export(
    rows: Iterable[Mapping[str, Any]],
    layout: Layout,
    root: str | os.PathLike[str],
    *,
    split: str,
    source: Mapping[str, Any],
) -> Folder:
    """Write a data set in the layout of the official release, whole or not at all.

    Args:
        rows: The rows.
        layout: What to make of them, the `layout` of a benchmark.
        root: The folder to make; it must not exist yet, or be empty.
        split: Which split the rows are.
        source: Where they come from, for the note ``hub.json``.

    Raises:
        DataError: The folder is not empty, or a row is not what the layout needs.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError("is not empty; name a new folder for the export", path=root)
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        folder = Folder(scratch)
        layout((HubRow(k, row) for k, row in enumerate(track(rows, "rows"))), folder, split)
        if not folder.samples:
            raise DataError(f"the split {split!r} of the data set has no rows")
        folder.json("hub.json", dict(source))
        scratch.chmod(0o755)
        scratch.replace(root)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return folder


def load_rows(dataset: str, split: str, config: str | None, revision: str | None) -> Any:
    """Rows of a data set: from a folder of `datasets`, its cache, or the hub.

    Images stay as they are stored, so that no picture is encoded a second time.

    Args:
        dataset: ``owner/name``, or a folder that ``save_to_disk`` has written.
        split: A split, or several joined by ``+``.
        config: Configuration of the data set, where it has several.
        revision: Commit of the hub repository.

    Raises:
        UnsupportedError: `datasets` is not installed.
        DataError: The data set or the split cannot be loaded.
    """
    try:
        import datasets
    except ImportError as error:
        raise UnsupportedError(
            "exporting from the hub needs the package datasets: pip install 'lvlmsal[hub]'"
        ) from error
    # a machine without a connection takes what its cache holds
    silent = "" if Path(dataset).exists() else silence(dataset, "README.md", kind="dataset")
    try:
        with asking(not silent, datasets.config):
            found = _loaded(dataset, split, config, revision, check_commit=bool(silent))
    # the package raises errors of all kinds for what is not there: files, names, connections
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, UnknownName):
            raise
        what = f"{split!r} of {dataset}" + (f" ({config})" if config else "")
        if not silent:
            raise DataError(f"the split {what} cannot be loaded: {error}") from error
        # what the package says of the connection is said already
        said = "" if isinstance(error, ConnectionError) else f": {error}"
        raise DataError(
            f"the split {what} cannot be loaded: {silent}, and {datasets.config.HF_DATASETS_CACHE} "
            f"does not hold it{said}\nA machine without a network takes it from the cache of "
            "another (HF_HOME), or from a folder that save_to_disk wrote"
        ) from error
    for name, feature in found.features.items():
        if isinstance(feature, datasets.Image):
            found = found.cast_column(name, datasets.Image(decode=False))
    return found


def _loaded(
    dataset: str, split: str, config: str | None, revision: str | None, *, check_commit: bool
) -> Any:
    import datasets

    if Path(dataset).is_dir() and any(Path(dataset).glob("*.json")):
        stored = datasets.load_from_disk(dataset)
        if not isinstance(stored, datasets.DatasetDict):
            return stored
        names = split.split("+")
        if unknown := [name for name in names if name not in stored]:
            raise UnknownName("split", unknown[0], list(map(str, stored)))
        return datasets.concatenate_datasets([stored[name] for name in names])
    if check_commit and revision is not None:
        # from its cache the package loads the newest commit, whatever is asked for
        kept = datasets.load_dataset_builder(dataset, config, revision=revision).hash
        if kept != revision:
            raise ValueError(f"the newest commit in it is {kept}, not {revision}")
    return datasets.load_dataset(dataset, config, split=split, revision=revision)
