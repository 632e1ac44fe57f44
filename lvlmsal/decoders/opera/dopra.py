"""DOPRA as far as its paper tells: OPERA that reads the attention of another layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lvlmsal.decoders.opera.decoder import OPERA
from lvlmsal.registry import DECODERS


@DECODERS.register("dopra-reconstruction")
@dataclass(frozen=True)
class DopraReconstruction(OPERA):
    """OPERA that judges by the attention of layer 11: a reconstruction of DOPRA, no reproduction.

    DOPRA's abstract penalizes over-accumulation in a specific layer, such as the 12th, by a
    weighted and overlaid penalty, and re-allocates as OPERA does. No public code was found, and
    neither the weights nor how penalties are overlaid could be read anywhere. So this is
    :class:`~lvlmsal.decoders.opera.decoder.OPERA` with ``layer=11`` and nothing else: with
    ``layer=-1`` both say the same, token for token. Figures of the paper cannot be expected of it.

    A model of fewer than 12 layers is refused until ``layer`` names one that it has. Options are
    those of OPERA, which its text explains.

    >>> DopraReconstruction().layers_read
    [11]
    """

    layer: int = 11

    summary: ClassVar[str] = "OPERA that reads layer 11; a reconstruction, not a reproduction"
    paper: ClassVar[str] = "DOPRA: Decoding Over-accumulation Penalization (ACM MM 2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2407.15130"
    strong: ClassVar[Mapping[str, Any]] = {"layer": 0}
