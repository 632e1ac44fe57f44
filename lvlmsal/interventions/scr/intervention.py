"""SCR: the patches that text looks at most give some of their hidden state to their neighbors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.pixels import TEXT
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.layers import LayerSpec, check_layers, resolve_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.attention.prompt_rows import has_pixels, repeats, select
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import HiddenStateIntervention
from lvlmsal.interventions.scr.patches import Grid, Spread, TextToImage, grids_of, spread
from lvlmsal.registry import INTERVENTIONS, check_choices

_KEPT = 256
# Sources of images by model and then by content; of the oldest ones nothing is kept.
_OF_IMAGES: WeakKeyDictionary[PreTrainedModel, dict[bytes, list[Spread]]] = WeakKeyDictionary()


@INTERVENTIONS.register("scr")
@dataclass(frozen=True)
class SCR(HiddenStateIntervention):
    """Spatial credit redistribution: an edit of the residual stream of image tokens.

    A diagnosing pass over the prompt, in which nothing is edited, gives each patch its attention:
    that of the text behind the image, mean over its rows, all heads and the diagnosed layers. The
    ``k`` most attended patches s of an image, none of them on its border, are the sources. Each
    gives to those of its 8 neighbors n that are not sources; a neighbor of several takes from the
    most attended one. Then, in the prompt's pass, after the second residual addition of each of the
    ``layers``, with h the residual stream (D,) of a patch before the update::

        h_n <- h_n + (lam - 1) h_s,      h_s <- h_s / lam

    Text rows, later layers and generated tokens are not edited; they meet the edit in the image's
    keys and values. Rows of patches take from patches behind them, hence ``looks_ahead``.

    There is no public code; this follows the paper's text. Where that is open or at odds with
    itself:

    - It calls 91 % of a source retained (1 / lam), and its proposition treats one update. Repeated
      over 12 layers, as its equation says, what a source brings into the first of them is scaled by
      1.1^-12 = 0.32, and each neighbor has been given 0.75 of it. Only the repeated reading fits
      its 48 to 56 % larger norms of neighbors, so ``apply="every_layer"`` is the default;
      ``"once"`` edits the first of the ``layers`` alone, which is this library's choice.
    - It diagnoses layers 8-16 and edits 0-11 or 0-15: part of what is diagnosed lies behind what is
      edited. Both ends are taken to be included.
    - Which text rows are averaged is not said. Here it is those of the prompt behind the last
      image, for every image of a sample; generated tokens never count.
    - Whether a source may also take is ruled out, but not in which order: here all sources are
      chosen first. A patch on the border may take.
    - Grids without an inner patch (2 x 2, or one row) have no source then and are left alone.
      Several tiles of an image and frames of a video are grids of their own, each with its border,
      from which ``k`` sources are chosen together. Samples without an image are left alone.
    - For models that it does not name, the first half of the layers is edited and layers from 1/4
      to just beyond 1/2 of the depth are diagnosed: 0 to 15 and 8 to 16 of 32.

    Its numbers could not be verified: no reproduction was found, its POPE uses 1,000
    questions a split, and its captions are short ones (CHAIR-s 10 for plain LLaVA-1.5).

    The paper diagnoses with the question that is asked. ``diagnosis="image"`` asks the same neutral
    question of every image instead and nothing else, on the model without other interventions. The
    sources then depend on the image alone (and on text before it); they are kept and used again
    for all questions about it, which can also share its keys and values.

    Args:
        lam: strength, at least 1; 1 is the plain model, bit for bit. The paper: 1.05 to 1.15.
        k: sources of an image.
        layers: that are edited, see :data:`~lvlmsal.attention.layers.LayerSpec`.
        diagnosis_layers: whose attention is read.
        apply: ``"every_layer"`` or ``"once"``, see above.
        diagnosis: ``"question"`` or ``"image"``, see above; the latter needs the processor.
        diagnosis_prompt: what ``diagnosis="image"`` asks.
        exclude_border: whether patches on the border are not sources, as in the paper.

    >>> SCR(lam=1.0).is_identity, SCR(diagnosis="image").shares_prefix
    (True, True)
    """

    lam: float = 1.10
    k: int = 32
    layers: LayerSpec = "0.0:0.5"
    diagnosis_layers: LayerSpec = "0.25:0.53125"
    apply: Literal["every_layer", "once"] = "every_layer"
    diagnosis: Literal["question", "image"] = "question"
    diagnosis_prompt: str = "Describe the image."
    exclude_border: bool = True

    summary: ClassVar[str] = "spreads the hidden states of the most attended patches around them"
    paper: ClassVar[str] = "Beyond Dominant Patches: Spatial Credit Redistribution (2026)"
    url: ClassVar[str] = "https://arxiv.org/abs/2602.22469"
    looks_ahead: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"lam": 4.0, "k": 2, "exclude_border": False}
    off: ClassVar[Mapping[str, Any]] = {"lam": 1.0}
    model_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "llava-1.5-*": {"layers": "0:12", "diagnosis_layers": "8:17"},
        "qwen2-vl-*": {"layers": "0:16", "diagnosis_layers": "8:17"},
    }

    def __post_init__(self) -> None:
        if not math.isfinite(self.lam) or self.lam < 1:
            raise ValueError(f"lam must be at least 1 (the plain model), got {self.lam}")
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        check_choices(self)
        check_layers(self.layers)
        check_layers(self.diagnosis_layers)

    @property
    def is_identity(self) -> bool:
        """Whether lam is one."""
        return self.lam == 1

    @property
    def shares_prefix(self) -> bool:  # type: ignore[override]  # depends on an option here
        """Whether the sources are those of the image, whatever is asked about it."""
        return self.diagnosis == "image"

    def acting_layers(self, num_layers: int) -> Sequence[int]:
        """See the base class; also refuses layers to diagnose that the model does not have."""
        resolve_layers(self.diagnosis_layers, num_layers)
        return super().acting_layers(num_layers)

    def applies_to(self, layer: int) -> bool:
        """In ``layers``, or in the first of them alone."""
        first = self.apply == "every_layer" or not self._bound or layer == min(self._bound)
        return first and super().applies_to(layer)

    def prepare(self, prompt: Prompt) -> Tensor:
        """Find who gives to whom: columns of (row, patch that takes, patch that gives), (3, n).

        A source stands in one column of its own, as the one that takes from itself.

        Raises:
            UnsupportedError: no text stands behind an image, or there is no processor to ask of it.
        """
        grids = grids_of(prompt)
        find = self._of_images if self.diagnosis == "image" else self._of_questions
        spreads = find(prompt, grids)
        moves: list[tuple[int, int, int]] = []
        for row, (spans, of_row) in enumerate(zip(prompt.spans, spreads, strict=True)):
            for image, found in enumerate(of_row):
                at = spans.positions(image)
                moves += [(row, at[source], at[source]) for source in found.sources]
                moves += [(row, at[taker], at[giver]) for taker, giver in found.pairs]
        return torch.tensor(moves, dtype=torch.long).reshape(-1, 3).T

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Move hidden states (B, q, D) of sources, in the pass that holds the image."""
        ends = [spans.pad + spans.images[-1][1] for spans in context.spans if spans.images]
        if max(ends, default=0) <= context.first_query_column:
            return states
        if context.first_query_column:
            raise UnsupportedError("SCR edits an image in one pass: run the prompt as a whole")
        key = ("scr", id(self))
        if key not in context.memo:
            context.memo[key] = context.state(self).to(states.device)
        row, taker, giver = context.memo[key]
        pad = context.pad[:, 0].to(row)[row]
        whole = torch.promote_types(states.dtype, torch.float32)
        given = states[row, pad + giver].to(whole)
        added = states[row, pad + taker].to(whole) + (self.lam - 1) * given
        moved = torch.where((taker == giver)[:, None], given / self.lam, added)
        return states.index_put((row, pad + taker), moved.to(states.dtype))

    def _of_questions(self, prompt: Prompt, grids: Sequence[Sequence[Grid]]) -> list[list[Spread]]:
        """Sources by what the text of each row looks at; repeated rows (beams) are run once."""
        seeing = [row for row, spans in enumerate(prompt.spans) if spans.images]
        if any(prompt.spans[row].prompt[0] == prompt.spans[row].output_start for row in seeing):
            raise UnsupportedError(
                "a prompt ends in its image, so no text shows which patches matter: put text "
                "after the image, or choose diagnosis='image'"
            )
        if not seeing:
            return [[] for _ in prompt.spans]
        own = [row for row in seeing if not (has_pixels(prompt) and repeats(prompt, row))]
        watcher = TextToImage(self.diagnosis_layers)
        if len(own) < len(seeing):
            spans = prompt.spans[0]
            width = spans.output_column
            inputs = select(prompt, own)
            cut = {name: v[:, :width] if name in TEXT else v for name, v in inputs.items()}
            watcher.look(prompt, inputs=cut)
        else:
            own = list(range(len(prompt.spans)))
            watcher.look(prompt)
        attention = watcher.attention
        place = -1
        found: list[list[Spread]] = []
        for row, of_row in enumerate(grids):
            place += row in own
            found.append(self._spreads(prompt, row, attention[place], of_row) if of_row else [])
        return found

    def _of_images(self, prompt: Prompt, grids: Sequence[Sequence[Grid]]) -> list[list[Spread]]:
        """Sources by what a neutral question looks at, found once for each row's images."""
        adapter = prompt.adapter
        known = _OF_IMAGES.setdefault(adapter.model, {})
        found: list[list[Spread]] = []
        tail = self._tail(adapter) if any(grids) else []
        for row, of_row in enumerate(grids):
            if not of_row:
                found.append([])
                continue
            spans = prompt.spans[row]
            inputs = select(prompt, [row])
            upto = slice(spans.pad, spans.pad + spans.images[-1][1])
            cut = {name: v[:, upto] if name in TEXT else v for name, v in inputs.items()}
            asked = adapter.place(adapter.append(cut, torch.tensor([tail])))
            key = self._digest(adapter.model, asked)
            if key not in known:
                # Alone and without padding, so that not even rounding depends on other samples.
                watcher = TextToImage(self.diagnosis_layers)
                watcher.look(prompt, inputs=asked, plain=True)
                while len(known) >= _KEPT:
                    known.pop(next(iter(known)), None)
                known[key] = self._spreads(prompt, row, watcher.attention[0], of_row, pad=0)
            found.append(known[key])
        return found

    def _spreads(
        self,
        prompt: Prompt,
        row: int,
        attention: Tensor,
        grids: Sequence[Grid],
        pad: int | None = None,
    ) -> list[Spread]:
        """Who gives to whom in each image of a row, from the attention to its columns (k,)."""
        spans = prompt.spans[row]
        pad = spans.pad if pad is None else pad
        return [
            spread(
                attention[[pad + at for at in spans.positions(image)]],
                grid,
                self.k,
                exclude_border=self.exclude_border,
            )
            for image, grid in enumerate(grids)
        ]

    def _tail(self, adapter: ModelAdapter) -> list[int]:
        """What stands behind the last image where the diagnosing question is asked."""
        inputs = adapter.encode([[Image.new("RGB", (224, 224))]], [self.diagnosis_prompt])
        spans = adapter.spans(inputs["input_ids"], inputs.get("attention_mask"))[0]
        tail: list[int] = inputs["input_ids"][0, spans.pad + spans.prompt[0] :].tolist()
        return tail

    def _digest(self, model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> bytes:
        """Of all that the sources depend on: options, weights and what is asked about what."""
        # A weight that is changed in place counts its versions, unless it was made for inference.
        versions = sum(p._version for p in model.parameters() if not p.is_inference())
        weights = (model.dtype, model.device, versions)
        options = (self.k, self.diagnosis_layers, self.exclude_border, weights)
        digest = hashlib.sha256(repr(options).encode())
        for name, value in sorted(inputs.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.digest()
