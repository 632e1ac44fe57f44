"""How the next token is chosen: each decoder is a set of arguments for ``model.generate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.decoders.base import Decoder
    from lvlmsal.decoders.guided.beams import GuidedBeam
    from lvlmsal.decoders.guided.decoder import Guided
    from lvlmsal.decoders.halc.beams import HALCBeam
    from lvlmsal.decoders.halc.decoder import HALC
    from lvlmsal.decoders.opera.decoder import OPERA
    from lvlmsal.decoders.opera.dopra import DopraReconstruction
    from lvlmsal.decoders.records import TokenRecord
    from lvlmsal.decoders.reverse.decoder import Reverse
    from lvlmsal.decoders.search import Beam, Greedy, Sample
    from lvlmsal.decoders.sgrs.decoder import SGRS

__all__ = [
    "HALC",
    "OPERA",
    "SGRS",
    "Beam",
    "Decoder",
    "DopraReconstruction",
    "Greedy",
    "Guided",
    "GuidedBeam",
    "HALCBeam",
    "Reverse",
    "Sample",
    "TokenRecord",
]

# Where each name is defined; a test compares it with the imports above and the registries.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Beam": ".search",
        "Decoder": ".base",
        "DopraReconstruction": ".opera.dopra",
        "Greedy": ".search",
        "Guided": ".guided.decoder",
        "GuidedBeam": ".guided.beams",
        "HALC": ".halc.decoder",
        "HALCBeam": ".halc.beams",
        "OPERA": ".opera.decoder",
        "Reverse": ".reverse.decoder",
        "SGRS": ".sgrs.decoder",
        "Sample": ".search",
        "TokenRecord": ".records",
    },
)
