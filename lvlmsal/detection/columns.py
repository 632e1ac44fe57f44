"""What detectors read: numbers of judged tokens, by reading and, for some of them, by layer."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from torch import Tensor

from lvlmsal.attention.layers import LayerSpec, check_layers, resolve_layers
from lvlmsal.errors import UnknownName


@dataclass(frozen=True)
class Reading:
    """Something that a pass can be asked for.

    Attributes:
        summary: what it is.
        shape: the names of its dimensions behind those of the tokens; ``layers`` is one of them
            where it is read in several layers.
        part: what it is computed from, which decides what it costs: ``logits``, ``tokens`` (ids
            of the answer), ``states`` and ``rows`` (of the residual stream), ``patches`` (states of
            the image), ``question`` (states of the text behind it), ``attention``, ``blank`` (one
            more forward pass) or ``saliency`` (the only one with a backward pass).
        own: whether it is read from the token's own row, which is there once the token was fed
            back, in place of the row that predicts it.
    """

    summary: str
    shape: tuple[str, ...] = ()
    part: str = "logits"
    own: bool = False

    @property
    def is_layered(self) -> bool:
        """Whether it is read in several layers."""
        return "layers" in self.shape


_BY_LAYER: Final = ("layers",)
_BY_HEAD: Final = ("layers", "heads")
_BY_UNIT: Final = ("layers", "units")

CELLS: Final = 16
"""Runs of equally many visual tokens that a map of attention is summed over, in the order of the
sequence: tiles, images and frames one behind the other."""

READINGS: Final[Mapping[str, Reading]] = MappingProxyType(
    {
        "log_probability": Reading("log p of the token under the raw distribution, in nats"),
        "odds": Reading("log p - log(1 - p), with all its digits where p is near 1"),
        "entropy": Reading("entropy of the distribution that the token was chosen from, in nats"),
        "margin": Reading("largest probability minus the second one"),
        "largest": Reading("log-probability of the likeliest token, in nats"),
        "position": Reading("index of the token in the answer", part="tokens"),
        "occurrence": Reading("how often the token stood in the answer before", part="tokens"),
        "blank_log_probability": Reading(
            "log p of the token where the images are blank, in nats", part="blank"
        ),
        "state": Reading("the token's own row after so many layers", _BY_UNIT, "rows", own=True),
        "row_lens": Reading(
            "log-probability of the token as read off the row after so many layers",
            _BY_LAYER,
            "states",
        ),
        "patch_lens": Reading(
            "largest log-probability of the token as read off a visual token after so many layers",
            _BY_LAYER,
            "patches",
        ),
        "image_similarity": Reading(
            "largest cosine of the token's own state and a visual token's, after so many layers",
            _BY_LAYER,
            "patches",
            own=True,
        ),
        "grounded_similarity": Reading(
            "mean cosine of the row and the visual tokens that would most likely say the token",
            _BY_LAYER,
            "patches",
        ),
        "prompt_similarity": Reading(
            "cosine of the row and the last one of the prompt, after so many layers",
            _BY_LAYER,
            "question",
        ),
        "question_lens": Reading(
            "largest flattened log-probability of the token as read off a token of the question",
            _BY_LAYER,
            "question",
        ),
        "question_fit": Reading(
            "nearness of the row and the part of the question that would say the token",
            _BY_LAYER,
            "question",
        ),
        "attention_image": Reading("attention to the images, summed", _BY_HEAD, "attention"),
        "attention_cells": Reading(
            f"the same in {CELLS} runs of the visual tokens, in the order of the sequence",
            (*_BY_HEAD, "cells"),
            "attention",
        ),
        "attention_prompt": Reading(
            "attention to the text behind the images, summed", _BY_HEAD, "attention"
        ),
        "attention_output": Reading(
            "attention to the answer so far, summed", _BY_HEAD, "attention"
        ),
        "attention_previous": Reading(
            "attention of the token's own row to the token before it",
            _BY_HEAD,
            "attention",
            own=True,
        ),
        "lookback": Reading(
            "mean attention to what was given, of that and the mean attention to the answer so far",
            _BY_HEAD,
            "attention",
        ),
        "saliency": Reading("S(c) in each layer (Eq. 6)", _BY_LAYER, "saliency"),
        "saliency_image": Reading("the same over the images", _BY_LAYER, "saliency"),
        "saliency_norm": Reading(
            "2-norm of the row before it is divided by it", _BY_LAYER, "saliency"
        ),
    }
)
"""The readings by name. Layers are counted as the adapter has them, from 0; of the lenses and of
the similarity, layer l stands for the residual stream behind it."""


@dataclass(frozen=True)
class Need:
    """A reading that a detector wants, in some layers.

    Args:
        reading: its name in `READINGS`.
        layers: fractions of the depth, such as ``"0.0:0.5"``, are the same for every model.

    Raises:
        UnknownName: there is no such reading.
        ValueError: the layers cannot be read.

    >>> Need("row_lens", "0.0:0.5").resolved(4)
    [0, 1]
    """

    reading: str
    layers: LayerSpec = None

    def __post_init__(self) -> None:
        if self.reading not in READINGS:
            raise UnknownName("reading", self.reading, list(READINGS))
        check_layers(self.layers)

    def resolved(self, num_layers: int) -> list[int]:
        """The layers in a model of that depth; none of a reading that has no layers."""
        return resolve_layers(self.layers, num_layers) if READINGS[self.reading].is_layered else []


def union(needs: Iterable[Need], num_layers: int) -> dict[str, list[int]]:
    """What one pass has to record for all of them: the layers of each reading, ascending.

    >>> union([Need("row_lens", [0]), Need("row_lens", [2]), Need("entropy")], 4)
    {'row_lens': [0, 2], 'entropy': []}
    """
    found: dict[str, set[int]] = {}
    for need in needs:
        found.setdefault(need.reading, set()).update(need.resolved(num_layers))
    return {name: sorted(layers) for name, layers in found.items()}


class Columns:
    """Readings of some tokens, of any shape: (T,) of an answer, (B, K) of candidates.

    Args:
        values: shape (tokens..., layers, heads) by reading, as far as `READINGS` has these.
        layers: which layers of each layered reading they are.
        num_layers: depth of the model.

    Attributes:
        asked: what detectors that ask the model more have found out of the tokens of one answer,
            shape (T,) by detector.
    """

    def __init__(
        self, values: Mapping[str, Tensor], layers: Mapping[str, Sequence[int]], num_layers: int
    ) -> None:
        self.asked: dict[Hashable, Tensor] = {}
        self.values, self.layers, self.num_layers = dict(values), dict(layers), num_layers

    def __getitem__(self, need: Need | str) -> Tensor:
        """A reading, in the layers that are needed where it has some."""
        need = Need(need) if isinstance(need, str) else need
        values = self.values[need.reading]
        if not READINGS[need.reading].is_layered:
            return values
        held = list(self.layers[need.reading])
        places = [held.index(layer) for layer in need.resolved(self.num_layers)]
        behind = len(READINGS[need.reading].shape)
        found: Tensor = values.movedim(-behind, 0)[places].movedim(0, -behind)
        return found

    def of(self, row: int) -> Columns:
        """Those of one sample of a batch."""
        return Columns(
            {name: values[row] for name, values in self.values.items()},
            self.layers,
            self.num_layers,
        )
