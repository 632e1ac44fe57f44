"""What each token of one answer rests on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from PIL import Image
from torch import Tensor

from lvlmsal.adapters.spans import ContextName, TokenSpans
from lvlmsal.escaping import shortened
from lvlmsal.frames import data_frame
from lvlmsal.saliency.options import FusionName, SaliencyOptions
from lvlmsal.saliency.raster import raster
from lvlmsal.saliency.reduce import over_earlier

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Quantity = Literal["saliency", "attention"]


@dataclass(frozen=True, repr=False)
class SaliencyReport:
    """What each of the T tokens of an answer rests on, in each of L layers.

    Attributes:
        prompt: the question.
        text: the answer.
        token_ids: its T token ids.
        tokens: their texts.
        maps: normalized saliency under every fusion, each of shape (T, L, n); n positions of prompt
            and answer.
        attention: attention of the same rows, mean over heads, same shape.
        log_probabilities: of each token under the model's raw distribution.
        entropies: of that distribution, in nats.
        layers: indices of the L target layers.
        position_texts: text of each of the n positions.
        spans: where system prompt, images, question and answer stand.
        grids: (rows, columns) of the map over each image: of its patches or, where these are no
            grid, of the cells on which their boxes are drawn. Here and below, each frame of a
            video stands as an image of its own, in the order of ``spans.pictures``.
        options: which saliency.
        images: what the model saw of the images, for plots: the maps lie over them exactly.
        boxes: for each image left, top, right and bottom of its visual tokens as shares of the
            image, shape (n, 4), ``nan`` for a token that is nowhere; None where they are a grid.
    """

    prompt: str
    text: str
    token_ids: list[int]
    tokens: list[str]
    maps: dict[FusionName, Tensor]
    attention: Tensor
    log_probabilities: list[float]
    entropies: list[float]
    layers: list[int]
    position_texts: list[str]
    spans: TokenSpans
    grids: list[tuple[int, int]]
    options: SaliencyOptions
    images: list[Image.Image] = field(default_factory=list)
    boxes: list[Tensor | None] = field(default_factory=list)

    @property
    def rows(self) -> Tensor:
        """Normalized saliency under the fusion of ``options``, shape (T, L, n)."""
        return self.maps[self.options.fusion]

    @property
    def saliency(self) -> list[float | None]:
        """S(c) of each token (Eq. 6) under ``options``; ``None`` where its context is empty."""
        return self.token_saliency()

    def token_saliency(
        self,
        fusion: FusionName | None = None,
        *,
        layers: Sequence[int] | None = None,
        context: ContextName | None = None,
    ) -> list[float | None]:
        """S(c) of each token under another reading, without another pass.

        Args:
            fusion: that of ``options`` by default.
            layers: some of the report's layers; all of them by default.
            context: the set J; that of ``options`` by default.

        Returns:
            One for each token; ``None`` where its context is empty.

        Raises:
            ValueError: a layer that the report does not hold.
        """
        means = self.per_layer(fusion, context=context)[:, self._places(layers)].mean(1)
        return [None if value != value else value for value in means.tolist()]

    def per_layer(
        self,
        fusion: FusionName | None = None,
        *,
        of: Quantity = "saliency",
        context: ContextName | None = None,
    ) -> Tensor:
        """S(c) of each token in each layer alone, shape (T, L); ``nan`` where J is empty.

        Args:
            fusion: as in :meth:`token_saliency`.
            of: ``"attention"`` takes the mean attention to J instead.
            context: as in :meth:`token_saliency`.
        """
        start = self.spans.context_start(context or self.options.context)
        return self._over(self._values(of, fusion), [(start, self.spans.length)], "mean")

    def groups(
        self,
        fusion: FusionName | None = None,
        *,
        of: Quantity = "saliency",
        reduce: Literal["mean", "sum"] = "mean",
    ) -> dict[str, Tensor]:
        """What each token draws from each group of positions before it, mean over layers.

        Args:
            fusion: as in :meth:`token_saliency`.
            of: ``"saliency"`` or ``"attention"``.
            reduce: over the positions of a group; the sums of attention are its shares.

        Returns:
            Shape (T,) for ``"system"``, ``"image"`` (all images together), ``"prompt"`` (the
            question, text between images included) and ``"output"`` (the answer so far); ``nan``
            where a group is empty.
        """
        members = {
            "system": [self.spans.system],
            "image": list(self.spans.visual),
            "prompt": [*self.spans.between, self.spans.prompt],
            "output": [self.spans.output],
        }
        values = self._values(of, fusion)
        return {
            name: self._over(values, intervals, reduce).mean(1)
            for name, intervals in members.items()
        }

    def image_map(
        self,
        token: int,
        image: int = 0,
        *,
        of: Quantity = "saliency",
        fusion: FusionName | None = None,
        layer: int | None = None,
    ) -> Tensor:
        """One token's row over the patch grid of one image.

        Args:
            token: index into the answer.
            image: index of the image.
            of: ``"saliency"`` or ``"attention"``.
            fusion: as in :meth:`token_saliency`.
            layer: one of the report's layers; their mean by default.

        Returns:
            Shape (rows, columns), that of ``grids``.
        """
        return self.over_image(self._values(of, fusion)[token, self._places(layer)].mean(0), image)

    def over_image(self, values: Tensor, image: int) -> Tensor:
        """The part of values over all positions that lies on one image.

        Args:
            values: shape (..., n).
            image: index of the image.

        Returns:
            Shape (..., rows, columns), that of ``grids``.
        """
        own = values[..., self.spans.pictures[image]]
        boxes = self.boxes[image] if self.boxes else None
        if boxes is not None:
            return raster(own, boxes)
        return own.reshape(*values.shape[:-1], *self.grids[image])

    def token_map(
        self,
        *,
        of: Quantity = "saliency",
        fusion: FusionName | None = None,
        layer: int | None = None,
    ) -> Tensor:
        """What each token of the answer draws from each other one, shape (T, T).

        Args:
            of: ``"saliency"`` or ``"attention"``.
            fusion: as in :meth:`token_saliency`.
            layer: one of the report's layers; their mean by default.
        """
        start, end = self.spans.output
        return self._values(of, fusion)[:, self._places(layer), start:end].mean(1)

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        labels: Sequence[bool | None] | None = None,
    ) -> Figure:
        """Draw the token-by-token saliency next to the attention; needs the ``plot`` extra.

        Args:
            path: where to save it; the suffix chooses the format.
            labels: for each token whether it names an object that is not in the image, None where
                it names none; such words are marked.
        """
        from lvlmsal.saliency.plot import plot_report

        return plot_report(self, path, labels=labels)

    def to_pandas(self) -> pd.DataFrame:
        """A frame with a row for each token and each group of positions before it.

        Columns: ``token`` (index), ``text``, ``group`` (``system``, ``image``, ``prompt``,
        ``output``), ``saliency`` (mean over the group's positions), ``attention`` (the group's
        share); those of an empty group are missing. Needs the ``pandas`` extra.

        Raises:
            UnsupportedError: pandas is not installed.
        """
        saliency = self.groups()
        attention = self.groups(of="attention", reduce="sum")
        rows = [
            {
                "token": token,
                "text": text,
                "group": group,
                "saliency": float(values[token]),
                "attention": float(attention[group][token]),
            }
            for token, text in enumerate(self.tokens)
            for group, values in saliency.items()
        ]
        types = {"token": "int64", "text": "object", "group": "object"}
        return data_frame(rows, {**types, "saliency": "float64", "attention": "float64"})

    def __repr__(self) -> str:
        layers = f"layers {self.layers[0]}-{self.layers[-1]}"
        return (
            f"SaliencyReport({shortened(self.text)!r}, {len(self.tokens)} tokens, {layers}, "
            f"{self.options.row} row)"
        )

    def _repr_html_(self) -> str:
        from lvlmsal.saliency.html import answer_html

        return answer_html(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report, images included, to one ``.safetensors`` file; see :meth:`load`."""
        from lvlmsal.saliency.files import save_report

        save_report(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SaliencyReport:
        """Read a report that :meth:`save` wrote.

        Raises:
            DataError: the file is missing, damaged or no report.
        """
        from lvlmsal.saliency.files import load_report

        return load_report(path)

    def _values(self, of: Quantity, fusion: FusionName | None) -> Tensor:
        if of == "attention":
            return self.attention
        if of != "saliency":
            raise ValueError(f"of={of!r} is unknown: choose 'saliency' or 'attention'")
        return self.maps[fusion or self.options.fusion]

    def _over(self, values: Tensor, intervals: Sequence[tuple[int, int]], reduce: str) -> Tensor:
        return over_earlier(values, intervals, self.spans.output_start, reduce)

    def _places(self, layers: int | Sequence[int] | None) -> list[int]:
        """Indices into the second dimension."""
        if layers is None:
            return list(range(len(self.layers)))
        wanted = [layers] if isinstance(layers, int) else list(layers)
        missing = [layer for layer in wanted if layer not in self.layers]
        if not wanted:
            raise ValueError("no layer was chosen: leave layers out to take all of them")
        if missing:
            raise ValueError(f"layers {missing} are not in this report: it holds {self.layers}")
        return [self.layers.index(layer) for layer in wanted]
