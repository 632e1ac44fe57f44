"""What a call of the attention function brings along: what is followed, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from lvlmsal.errors import UnsupportedError
from lvlmsal.versions import CACHE

HARMLESS = frozenset(
    {
        "softcap",
        "s_aux",
        "is_causal",
        # The mask holds them already.
        "sliding_window",
        "position_ids",
        "cache_position",
        "token_type_ids",
        "mm_token_type_ids",
        # They say what is returned or kept.
        "use_cache",
        CACHE,
        "logits_to_keep",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "return_dict",
        "num_items_in_batch",
        # They describe the images, which are embedded by then.
        "image_sizes",
        "image_grid_thw",
        "video_grid_thw",
        "mm_encoder_outputs",
    }
)
"""Keyword arguments under which the attention is computed as it is here; those of later versions of
transformers are refused until somebody has looked at them."""


@dataclass(frozen=True)
class Call:
    """One attention call, as its explicit rows are computed.

    With t the soft cap, which acts before any edit::

        scores = t * tanh(scale * q . k / t)      (edited here)
        A      = softmax(scores + bias, sink)     (edited here; the sink's share is dropped)

    Attributes:
        query: (B, H, q, d).
        key: (B, Hkv, k, d).
        value: (B, Hkv, k, d).
        scale: factor on the scores.
        visible: which keys a row sees, boolean (B or 1, 1 or H, q, k); ``None`` for all of them.
        bias: what an additive mask adds to the scores, broadcastable to (B, H, q, k).
        softcap: bound of the scores (Gemma 2); ``None`` for none.
        sink: a score for each head that no key has, (H,), which takes its share of the softmax
            (gpt-oss); ``None`` for none.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    visible: Tensor | None = None
    bias: Tensor | None = field(default=None, repr=False)
    softcap: float | None = None
    sink: Tensor | None = None

    def rows(self, rows: slice) -> Call:
        """The same call, of some of its query rows."""
        return replace(
            self,
            query=self.query[:, :, rows],
            visible=None if self.visible is None else self.visible[:, :, rows],
            bias=None if self.bias is None else self.bias[:, :, rows],
        )


def is_causal(module: nn.Module, kwargs: Mapping[str, Any]) -> bool:
    """Whether rows of a call without a mask see the keys up to their own only, as sdpa has it."""
    given = kwargs.get("is_causal")
    return bool(getattr(module, "is_causal", True) if given is None else given)


def check_arguments(module: nn.Module, kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that may change scores or weights in a way that is not known here.

    Raises:
        UnsupportedError: it names them.
    """
    if kwargs.keys() <= HARMLESS:
        return
    unknown = [name for name, value in kwargs.items() if name not in HARMLESS and value is not None]
    if unknown:
        names = ", ".join(repr(name) for name in sorted(unknown))
        raise UnsupportedError(
            f"{type(module).__name__} hands {names} to its attention, which may change the "
            f"weights and is not followed by edits and recordings of attention: run this model "
            f"without, or use methods that edit hidden states or logits only"
        )


def split_mask(
    mask: Tensor | None,
    query: Tensor,
    key: Tensor,
    *,
    causal: bool,
    memo: dict[tuple[Any, ...], Any] | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Which keys rows see, and what the mask adds to their scores.

    Args:
        mask: boolean, or a float one that is added to the scores; ``None`` for none.
        query: of the rows, (B, H, q, d).
        key: (B, Hkv, k, d).
        causal: whether rows of a call without a mask see the keys up to their own only.
        memo: of the pass, where its layers share what is made of a mask.

    Returns:
        The visible keys, boolean (B or 1, 1 or H, q, k), and the bias; ``None`` for all of them and
        for none. In a float mask minus infinity and the smallest number of its dtype hide a key.
    """
    if mask is None:
        if query.shape[2] == 1 or not causal:
            return None, None
        # As sdpa does: a pass without a mask begins at the first column.
        everything = torch.ones(
            1, 1, query.shape[2], key.shape[2], dtype=torch.bool, device=key.device
        )
        return everything.tril(), None
    if mask.dtype == torch.bool:
        return mask, None
    memo = {} if memo is None else memo
    if (name := ("mask", id(mask))) not in memo:
        hidden = mask <= torch.finfo(mask.dtype).min / 2
        bias = mask.masked_fill(hidden, 0)
        # The mask stands in the memo so that its id is not given to another one.
        memo[name] = ~hidden, bias if bool(bias.any()) else None, mask
    visible, bias, _ = memo[name]
    return visible, bias


def sink_of(kwargs: Mapping[str, Any], heads: int) -> Tensor | None:
    """The sinks of a call, one for each of so many heads.

    Raises:
        UnsupportedError: there are not as many as heads.
    """
    given: Tensor | None = kwargs.get("s_aux")
    if given is None:
        return None
    if given.numel() != heads:
        raise UnsupportedError(
            f"s_aux holds {given.numel()} attention sinks, expected one for each of the {heads} "
            f"heads: this kind of sinks is not followed by edits and recordings of attention"
        )
    return given.reshape(-1)


def sees_ahead(mask: Tensor | None, rows: int, *, causal: bool) -> Tensor | bool:
    """Whether one of the last ``rows`` rows of a call sees the column of a later one of them.

    Args:
        mask: of the call, (B or 1, 1 or H, q, k), boolean or added to the scores; its last columns
            are those of its rows.
        rows: how many of the last rows.
        causal: whether rows of a call without a mask see the keys up to their own only.

    Returns:
        A boolean, on the device of the mask where there is one.
    """
    if rows < 2:
        return False
    if mask is None:
        return not causal
    last = mask[:, :, -rows:, -rows:]
    seen = last if last.dtype == torch.bool else last > torch.finfo(last.dtype).min / 2
    return seen.triu(1).any()


@dataclass
class LastColumn:
    """Whether earlier rows of a pass see its last column, as the prefix of a prefix-LM does.

    What they make of it then reaches the last row again in the layers that follow.
    """

    found: Tensor | bool = False
    _seen: Tensor | None = None

    def note(self, mask: Tensor | None, *, causal: bool) -> None:
        """Look at the mask of one layer; most share one."""
        if mask is None:
            self.found = self.found or not causal
        elif mask is not self._seen:
            self._seen, column = mask, mask[:, :, :-1, -1]
            hides = torch.finfo(mask.dtype).min / 2 if mask.is_floating_point() else 0
            self.found = (column > hides).any() | self.found


def check_no_weights(asked: bool | None, configs: Sequence[Any]) -> None:
    """Refuse to return attention weights.

    Args:
        asked: what the pass was told; ``None`` where its configs decide.
        configs: these; none where they do not count.

    Raises:
        UnsupportedError: the weights were asked for.
    """
    if any(config.output_attentions for config in configs) if asked is None else asked:
        raise UnsupportedError(
            "attention weights are not returned inside of an intervene(...) scope, under SGRS "
            "or in a diagnosis: drop output_attentions=True, or set it to False in the model's "
            "config; lvlmsal.load(...).diagnose(...) holds the edited weights, and outside of "
            "the scope there are the plain ones"
        )
