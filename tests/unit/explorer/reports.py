"""Reports of made-up numbers with the shape of real ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.saliency.options import FUSIONS, SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport


def make_report(
    tokens: Sequence[str] = ("A", " red", " star", "."),
    *,
    prompt: str = "What is there?",
    layers: Sequence[int] = (2, 3),
    grids: Sequence[tuple[int, int]] = ((3, 4),),
    system: int = 2,
    options: SaliencyOptions | None = None,
    seed: int = 0,
) -> SaliencyReport:
    """An answer to a question of four words after some images, text of one word between them.

    Rows follow ``row="predicting"``: the row of a token ends before it.
    """
    torch.manual_seed(seed)
    images, at = [], system
    for rows, columns in grids:
        images.append((at, at + rows * columns))
        at += rows * columns + 1
    start = (at - 1 if grids else system) + 4
    length = start + len(tokens)
    texts = ["<image>" if any(a <= p < b for a, b in images) else f" w{p}" for p in range(length)]
    texts[start:] = tokens
    options = options or SaliencyOptions()

    def rows_of(order: int) -> Tensor:
        """Values with a heavy tail, 2-norm (saliency) or sum (attention) of each row one."""
        values = torch.rand(len(tokens), len(layers), length) ** 4
        own = torch.arange(len(tokens))[:, None, None] + start
        values = values * (torch.arange(length) < own)
        return values / values.norm(order, dim=-1, keepdim=True)

    return SaliencyReport(
        prompt=prompt,
        text="".join(tokens),
        token_ids=list(range(len(tokens))),
        tokens=list(tokens),
        maps={fusion: rows_of(2) for fusion in FUSIONS},
        attention=rows_of(1),
        log_probabilities=(-torch.rand(len(tokens))).tolist(),
        entropies=torch.rand(len(tokens)).tolist(),
        layers=list(layers),
        position_texts=texts,
        spans=TokenSpans(pad=0, images=tuple(images), output_start=start, length=length),
        grids=list(grids),
        options=options,
        images=[Image.new("RGB", (40 + 8 * n, 30), (200, 80 * n, 0)) for n in range(len(grids))],
    )
