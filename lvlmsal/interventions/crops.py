"""CRoPS: contrasts with a text amateur and an image amateur, each blind to what it attends to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext, LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.base import Intervention, LogitsIntervention
from lvlmsal.interventions.contrast import (
    check_contrast,
    plausible,
    rows_with_images,
    undecided,
    without_images,
)
from lvlmsal.interventions.least_attended import LeastAttended, check_layer, image_pool
from lvlmsal.registry import INTERVENTIONS

# expm1 of more does not fit float32; at the default rate that is token 8,000
_LARGEST_EXPONENT = 80.0


@dataclass(frozen=True)
class ShareOfImage(LeastAttended):
    """A share of a sample's image tokens stays, rounded down, one at least.

    Args:
        share: which.
    """

    share: float

    def pool(self, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """The image's keys, and a share of their number."""
        keys = image_pool(context)
        return keys, (self.share * keys.sum(-1)).floor().clamp_min(1)


@dataclass(frozen=True)
class FewOfAll(LeastAttended):
    """Few of all keys that a row sees stay, slowly more along the answer.

    Args:
        fewest: kept for the first token.
        more: how many more, in the end.
        rate: how fast, per token.
    """

    fewest: int
    more: int
    rate: float

    def pool(self, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """All keys up to the row, and floor(fewest + more (1 - exp(-rate t)))."""
        rows = context.query_positions[:, context.first_predicting_row :, None]
        keys = context.key_positions[:, None]
        starts = rows.new_tensor([[spans.output_start] for spans in context.spans])
        time = rows[..., 0] - starts + 1
        count = self.fewest - self.more * torch.expm1(-self.rate * time)
        return (keys >= 0) & (keys <= rows), count.floor()


@INTERVENTIONS.register("crops")
@dataclass(frozen=True)
class CRoPS(LogitsIntervention):
    """Contrasts with the model without its image, and with the model on few image tokens.

    With p, p_text and p_image the probabilities (B, V) of the model and of two amateurs, each with
    a cache of its own, and t the number of tokens generated before::

        u    = log p + (exp(rate t) - 1) (log p - log p_text)
        l_cd = (1 + alpha) u - alpha log p_image,   only where p(y) >= beta max p
        where max p > sure: log p

    - *Image amateur*: the same prompt; from layer i on a row sees, of the image tokens, only the
      share ``image_share`` that layer i - 1 attends to least, as in SID.
    - *Text amateur*: the prompt without its images; from layer i on a row sees, of all columns up
      to its own, only the k_t that layer i - 1 attends to least,
      k_t = floor(text_kept + text_more (1 - exp(-text_rate t))).

    **As released, the public code (ubamba98/CRoPS-Mitigate-Hallucinations-in-Vision-Language-
    Models) does not run**: its text amateur raises an attribute error. Formula, layers and numbers
    are read off that code; what follows is a choice of this library:

    - t is 0 for the first token, where the text amateur has no weight; in a second turn on the same
      cache it goes on counting.
    - columns of the text amateur are all of the prompt's and the answer's, the row's own among
      them; rows of the prompt go by the choice of its last one, and those that would see nothing at
      all see what is hidden, evenly.
    - numbers of image tokens are rounded down, and one stays at least. In the code the option for
      the share is overwritten by 25 %, the default.

    A sample without an image is left, but for the cut.

    Args:
        alpha: strength of the contrast with the image amateur.
        rate: how fast the weight of the text amateur grows, per token; 0 is no text amateur.
        beta: plausibility cut; 0 cuts nothing.
        sure: a probability above which the model is left alone.
        layer: i, from 1 on.
        image_share: of a sample's image tokens that the image amateur still sees.
        text_kept: columns that the text amateur sees for the first token.
        text_more: how many more, in the end.
        text_rate: how fast, per token.
    """

    alpha: float = 1.0
    rate: float = 0.01
    beta: float = 0.1
    sure: float = 0.95
    layer: int = 2
    image_share: float = 0.25
    text_kept: int = 10
    text_more: int = 30
    text_rate: float = 0.001

    summary: ClassVar[str] = "contrasts with two amateurs that see what they attend to least"
    paper: ClassVar[str] = "CRoPS (TMLR 2026)"
    url: ClassVar[str] = "https://arxiv.org/abs/2601.00659"
    has_second_stream: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {
        "alpha": 3.0,
        "rate": 0.5,
        "beta": 0.0,
        "sure": 1.0,
        "layer": 1,
        "text_kept": 3,
    }
    off: ClassVar[Mapping[str, Any]] = {"alpha": 0.0, "rate": 0.0, "beta": 0.0}

    def __post_init__(self) -> None:
        check_contrast(self.alpha, self.beta)
        check_layer(self.layer)
        for name in ("rate", "text_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("sure", "image_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if self.text_kept < 1 or self.text_more < 0:
            raise ValueError(
                "text_kept must be at least 1 and text_more at least 0, got "
                f"{self.text_kept} and {self.text_more}"
            )

    @property
    def is_identity(self) -> bool:
        """Whether neither amateur nor cut is left."""
        return not self.brings_second_stream and self.beta == 0

    @property
    def brings_second_stream(self) -> bool:
        """Whether there is an amateur."""
        return self.alpha > 0 or self.rate > 0

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The prompts of the amateurs that count; none without images."""
        if not any(spans.images for spans in prompt.spans):
            return None
        found: dict[str, Any] = {}
        if self.rate:
            found["text"] = without_images(prompt)
        if self.alpha:
            found["image"] = prompt.again()
        return found

    def acting_layers(self, num_layers: int) -> Sequence[int]:
        """Those of the amateurs that are edited."""
        return ShareOfImage(self.layer, self.image_share).acting_layers(num_layers)

    def second_edits(self, prompt: Prompt) -> Mapping[str, Sequence[Intervention]]:
        """What hides tokens in each."""
        text = FewOfAll(self.layer, self.text_kept, self.text_more, self.text_rate)
        return {"text": [text], "image": [ShareOfImage(self.layer, self.image_share)]}

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        """Where the cut leaves more than one token, and the model is not sure."""
        unsure = (logits.softmax(-1).amax(-1) <= self.sure).any()
        return bool(unsure) and undecided(logits, self.beta)

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """The contrasts under the cut, shape (B, r, V)."""
        plain = found = logits.log_softmax(-1)
        others = {name: other.to(plain).log_softmax(-1) for name, other in context.seconds.items()}
        if "text" in others:
            exponent = (self.rate * context.steps(logits)).clamp(max=_LARGEST_EXPONENT)
            found = found + exponent.expm1() * (plain - others["text"])
        if "image" in others:
            found = (1 + self.alpha) * found - self.alpha * others["image"]
        # a token that another method banned stays banned, whatever the weight
        moves = rows_with_images(context, plain) & plain.isfinite()
        moves = moves & (plain.amax(-1, keepdim=True).exp() <= self.sure)
        return plausible(torch.where(moves, found, plain), logits, self.beta)
