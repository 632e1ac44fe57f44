"""How the next token is chosen: each decoder is a set of arguments for ``model.generate``."""

from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.records import TokenRecord

__all__ = ["Decoder", "TokenRecord"]
