"""Whether a run may go on with what is there now, and the notes of what it was made with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.results.begun import Begun
from lvlmsal.evaluation.results.folder import read_environment
from lvlmsal.evaluation.results.manifests import Asked, Manifest, read_manifest
from lvlmsal.readers.digests import NO_IMAGE

CONTINUED = "continued"
"""Key of ``environment.json`` under which a run that went on notes what was different then."""

_NO_PLACE = ("data", "models", "cells", "seeds", "fits", CONTINUED)
"""Keys of ``environment.json`` that do not describe the machine and its packages."""

_ADVICE = (
    "put back what was there, or choose another folder with output=... "
    "(lvlmsal score shows the figures of what was answered)"
)


def refuse_changes(
    folder: Path,
    environment: Mapping[str, Any],
    manifests: Mapping[str, Manifest],
    begun: Begun,
) -> None:
    """Stop if what a run's records were made with has changed: data, images, weights, their form.

    Args:
        folder: The folder of a run that has begun.
        environment: What is there now.
        manifests: What is asked now, by label of the benchmark.
        begun: What has records. The rest may change: a model that failed to load, a benchmark that
            nothing was asked of, images of samples that nobody has answered.

    Raises:
        ConfigError: Something changed; it names the first file, and what to do.
        DataError: What the run was made with cannot be read.
    """
    earlier = read_environment(folder)
    environment = as_read(environment)
    found = []
    for label, entry in environment["data"].items():
        if label in earlier["data"] and label in begun.benchmarks:
            answered = begun.answered.get(label, frozenset())
            text = _data_change(folder, label, entry, earlier["data"][label], manifests, answered)
            found += [f"{text} since the run began"] if text else []
    for name, entry in environment["models"].items():
        if name in begun.models:
            found += _model_changes(name, entry, earlier["models"].get(name, {}))
    for method, fits in environment.get("fits", {}).items():
        before = earlier.get("fits", {}).get(method, fits)
        if [fit["weights"] for fit in before] != [fit["weights"] for fit in fits]:
            found.append(f"the fit of {method} has changed since the run began")
    if found:
        raise ConfigError([*found, _ADVICE], source=str(folder))


def _data_change(
    folder: Path,
    label: str,
    entry: Mapping[str, Any],
    before: Mapping[str, Any],
    manifests: Mapping[str, Manifest],
    answered: Set[str],
) -> str:
    """How a benchmark's samples or images differ from those of the run; empty if they do not."""
    asked, now = read_manifest(folder, label), manifests[label].samples
    if entry["samples_digest"] != before["samples_digest"]:
        files = before.get("files", {})
        changed = [name for name, digest in entry["files"].items() if files.get(name) != digest]
        first = _first_change(asked, now) if asked else ""
        return (
            f"the samples of {label} have changed"
            + (f": {changed[0]} is not what it was" if changed else "")
            + (f", sample {first!r} differs first" if first else "")
        )
    if asked is None:  # the run of an earlier version
        same = entry["images_digest"] == before["images_digest"]
        return "" if same else f"images of {label} have changed"
    changed = list(
        dict.fromkeys(
            image
            for key, sample in now.items()
            if key in answered and key in asked
            # by position: the names differ where the images have moved
            for (_, before_it), (image, digest) in zip_longest(
                asked[key].images, sample.images, fillvalue=("", "")
            )
            if before_it not in (digest, *NO_IMAGE)
        )
    )
    if not changed:
        return ""
    return f"{len(changed)} images of {label} have changed, {changed[0]} is the first of them,"


def _first_change(asked: Mapping[str, Asked], now: Mapping[str, Asked]) -> str:
    """Id of the first sample that is not what it was; empty where none is found."""
    for key in [*now, *asked]:
        before, after = asked.get(key), now.get(key)
        if before is None or after is None or before.digest != after.digest:
            return key
        if _names(before) != _names(after):
            return key
    # the same samples in another order
    return next((key for key, other in zip(now, asked, strict=True) if key != other), "")


def _names(asked: Asked) -> list[str]:
    return [PurePosixPath(name).name for name, _ in asked.images]


def _model_changes(name: str, entry: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """What differs in a model that was loaded before; records do not say which it was."""
    texts = []
    for what in sorted(entry.keys() & before.keys() - {"source"}):
        then, now = before[what], entry[what]
        if then == now:
            continue
        if isinstance(then, dict) and isinstance(now, dict) and what in ("weights", "files"):
            keys = [key for key in [*now, *then] if then.get(key) != now.get(key)]
            texts.append(
                f"the {what} of {name} have changed since the run began: "
                f"{keys[0]} is not what it was"
            )
        else:
            texts.append(f"{name} began with the {what} {then} and would go on with {now}")
    return texts


def continued(
    earlier: Mapping[str, Any],
    environment: Mapping[str, Any],
    begun: Begun,
    *,
    answers: int | None,
) -> dict[str, Any]:
    """What a run that goes on was made with: what was noted stays, what is new is added.

    Args:
        earlier: The content of ``environment.json``.
        environment: What is there now.
        begun: What has records; of the rest of what was noted, what is not asked for any more goes.
        answers: How many answers were there when the run went on; None where it has all of them,
            so that the machine and its packages of now had no part in any.

    Returns:
        The new content. Where the machine or its packages differ from those that were noted last,
        an entry of the list ``continued`` says how, and after how many answers.
    """
    environment = as_read(environment)
    merged = dict(earlier)
    belonging = {"data": begun.benchmarks, "models": begun.models, "cells": begun.cells}
    for key, names in belonging.items():
        stays = {name: value for name, value in earlier[key].items() if name in names}
        merged[key] = {**environment[key], **stays}
    merged["seeds"] = environment["seeds"]
    if fits := {**earlier.get("fits", {}), **environment.get("fits", {})}:
        merged["fits"] = fits
    if answers is None:
        return merged
    notes = list(earlier.get(CONTINUED, []))
    last = {key: value for key, value in earlier.items() if key not in _NO_PLACE}
    for note in notes:
        last = _updated(last, note["changed"])
    changed = {
        key: _difference(last.get(key), value)
        for key, value in environment.items()
        if key not in _NO_PLACE and last.get(key) != value
    }
    if changed:
        notes.append({"answers": answers, "changed": changed})
    return {**merged, CONTINUED: notes} if notes else merged


def as_read(content: Any) -> Any:
    """A value as it comes back from a JSON file."""
    return json.loads(json.dumps(content))


def _difference(before: Any, now: Any) -> Any:
    """Of packages only those that differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {key: value for key, value in now.items() if before.get(key) != value}
    return now


def _updated(content: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(content)
    for key, value in changed.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = {**old, **value}
        else:
            merged[key] = value
    return merged
