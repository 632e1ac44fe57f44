"""The pixels of a prompt whose images were encoded before its first pass, as `generate` does it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.pixels import TEXT
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import UnsupportedError

Note = Callable[[Mapping[str, Any], Any], None]
"""Told of the arguments and the outcome of a call of an image encoder."""

NAMES = ("get_image_features", "get_video_features")


class EncodedImages:
    """Keeps what image encoders were given, until the pass that uses it.

    ``generate`` encodes images first and hands features to the model, which has no use for pixels
    any longer; second streams have.
    """

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}
        self._size = 0

    def note(self, given: Mapping[str, Any], output: Any) -> None:
        """Images were encoded: the arguments of that, as ``generate`` was given them."""
        self._held |= {name: value for name, value in given.items() if isinstance(value, Tensor)}
        self._size += _size(output)

    def inputs(
        self,
        adapter: ModelAdapter,
        ids: Tensor,
        spans: Sequence[TokenSpans],
        encoded: Mapping[str, Any],
    ) -> dict[str, Tensor]:
        """What was noted, in the order of the rows of a prompt, beams included.

        Args:
            adapter: of the model.
            ids: of the prompt.
            spans: one for each row of the batch.
            encoded: ``mm_encoder_outputs`` of the pass.

        Returns:
            Inputs of ``generate``; nothing where no images were encoded in this scope, or where
            their features are not all there, as for a prompt that is run in chunks.
        """
        held, before = self._held, self._size
        self._held, self._size = {}, 0
        beams, rest = divmod(sum(map(_size, encoded.values())), before or 1)
        if not held or rest or not beams or len(ids) % beams:
            return {}
        return of_rows(adapter, held, ids, spans, beams)


def of_rows(
    adapter: ModelAdapter,
    held: Mapping[str, Tensor],
    ids: Tensor,
    spans: Sequence[TokenSpans],
    beams: int,
) -> dict[str, Tensor]:
    """Inputs that are not text, for a batch whose samples have several rows each.

    Args:
        adapter: of the model.
        held: inputs of ``generate``, a sample a row.
        ids: of the batch, ``beams`` rows a sample.
        spans: of the batch.
        beams: how many rows in turn are of one sample.

    Returns:
        Nothing where the inputs are those of another batch.
    """
    pixels = {name: value for name, value in held.items() if name not in TEXT}
    alone = {**pixels, "input_ids": ids[::beams]}
    rows = [row // beams for row in range(len(ids))]
    try:
        adapter.input_rows(alone, spans[::beams])
        found = pixels if beams == 1 else adapter.select_rows(alone, spans[::beams], rows)
    except UnsupportedError:
        return {}
    return {name: value for name, value in found.items() if name not in TEXT}


_lock = threading.Lock()
_encoding = threading.local()
_NOTES: WeakKeyDictionary[nn.Module, list[Note]] = WeakKeyDictionary()
_WRAPPED: dict[type, tuple[list[object], dict[str, Any]]] = {}


def watch_encoders(model: PreTrainedModel, note: Note) -> Callable[[], None]:
    """Be told whenever a model encodes images or videos by themselves.

    Its ``get_image_features`` and ``get_video_features`` are no modules and take no hooks. They are
    wrapped in the class, so that a copy of the model keeps nothing of it, and only as long as
    anybody watches.

    Args:
        model: the model.
        note: told of each call.

    Returns:
        What ends it.
    """
    base, token = model.base_model, object()
    cls = type(base)
    with _lock:
        watching, own = _WRAPPED.setdefault(cls, ([], {}))
        if not watching:
            for name in NAMES:
                if hasattr(cls, name):
                    own[name] = vars(cls).get(name)
                    setattr(cls, name, _noting(getattr(cls, name)))
        watching.append(token)
        _NOTES.setdefault(base, []).append(note)

    def end() -> None:
        with _lock:
            _NOTES[base].remove(note)
            watching.remove(token)
            if not watching:
                for name, before in _WRAPPED.pop(cls)[1].items():
                    if before is None:  # it was inherited
                        delattr(cls, name)
                    else:
                        setattr(cls, name, before)

    return end


def _noting(encode: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(encode)
    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        within = getattr(_encoding, "now", False)  # some encode videos by what encodes images
        _encoding.now = True
        try:
            output = encode(self, *args, **kwargs)
        finally:
            _encoding.now = within
        for note in () if within else list(_NOTES.get(self, ())):
            note(kwargs, output)
        return output

    return noted


def _size(features: Any) -> int:
    """How many numbers the features of images are, which come in tensors or lists of them."""
    found = getattr(features, "pooler_output", features)
    if isinstance(found, Tensor):
        return found.numel()
    return sum(map(_size, found)) if isinstance(found, list | tuple) else 0
