"""LVLMs-Saliency: how strongly each generated token rests on what stands before it."""

from lvlmsal.saliency.full import full_graph_rows
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.saliency.row import row_saliency

__all__ = ["SaliencyOptions", "SaliencyReport", "full_graph_rows", "row_saliency"]
