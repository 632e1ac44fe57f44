"""The one attention function of the library and the session that tells it what to do."""

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.function import attention_forward
from lvlmsal.attention.intervening import intervene
from lvlmsal.attention.layers import LayerSpec, resolve_layers
from lvlmsal.attention.recording import Recording
from lvlmsal.attention.session import AttentionSession

__all__ = [
    "AttentionContext",
    "AttentionSession",
    "LayerSpec",
    "Recording",
    "attention_forward",
    "intervene",
    "resolve_layers",
]
