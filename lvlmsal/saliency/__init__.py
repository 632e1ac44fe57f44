"""LVLMs-Saliency: how strongly each generated token rests on what stands before it."""

from lvlmsal.saliency.block import ResponseRows, block_saliency
from lvlmsal.saliency.full import full_graph_rows
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport

__all__ = [
    "ResponseRows",
    "SaliencyOptions",
    "SaliencyReport",
    "block_saliency",
    "full_graph_rows",
]
