"""What differs between the versions of transformers, and which of them were tried.

Features are told by the signatures of transformers, not by its version: what a later release keeps
then works there, too.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from inspect import signature
from typing import Any

import transformers
from transformers import Cache, GenerationMixin

OLDEST, NEWEST = "5.22", "5.24"
"""The first and the last series of transformers that `make compat` passes on."""

_BEFORE_5_24 = "past_key_values"

CACHE = (
    "cache"
    if "cache" in signature(GenerationMixin.prepare_inputs_for_generation).parameters
    else _BEFORE_5_24
)
"""The argument of models and of ``generate`` that holds the KV cache, and the field of outputs.

Transformers 5.24 renamed ``past_key_values`` to ``cache``. It translates the old name with a
warning, but where both are given it drops the old one.
"""


def given_cache(kwargs: Mapping[str, Any]) -> Cache | None:
    """The cache among the arguments of a model, of ``generate`` or of a ``custom_generate``.

    The old name is understood, too, as long as callers may use it. Where both are given, the new
    one counts, as in transformers.
    """
    found: Cache | None = kwargs[CACHE] if CACHE in kwargs else kwargs.get(_BEFORE_5_24)
    return found


def without_cache(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a model but for the cache, under either name."""
    return {name: value for name, value in kwargs.items() if name not in (CACHE, _BEFORE_5_24)}


def warn_if_untried(version: str) -> None:
    """Warn about a transformers outside of the range that was tried.

    Args:
        version: of transformers, for instance ``"5.24.0"``.
    """
    series = _series(version)
    if not _series(OLDEST) <= series <= _series(NEWEST):
        age = "newer" if series > _series(NEWEST) else "older"
        warnings.warn(
            f"transformers {version} is {age} than what lvlmsal was tested with ({OLDEST} to "
            f"{NEWEST}): its answers may differ. `make compat TRANSFORMERS={version}` in a "
            f"checkout of lvlmsal checks this version; `pip install 'transformers=={NEWEST}.*'` "
            f"installs one that was checked.",
            stacklevel=2,
        )


def _series(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)(?:\.(\d+))?", version)  # "5.25rc1" is of 5.25
    return tuple(int(part or 0) for part in found.groups()) if found else ()


# Once a process, by the first part of the library that needs a model.
warn_if_untried(transformers.__version__)
