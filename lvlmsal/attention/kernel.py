"""Plain attention by torch's fused kernels, with the log-sum-exp that closed forms build on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

# The kernel behind scaled_dot_product_attention on the CPU: the same numbers, and it returns the
# log-sum-exp that the public function drops.
_CPU_KERNEL = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_CHUNK = 256


@dataclass(frozen=True)
class PlainAttention:
    """What plain attention made of some query rows.

    A weight is recovered from it without the matrix: ``A[q, j] = exp(s(q, j) - log_sum_exp[q])``.

    Attributes:
        query: (B, H, q, d).
        key: (B, H, k, d), repeated for grouped heads.
        value: (B, H, k, d), likewise.
        output: (B, H, q, d).
        log_sum_exp: of each row's scaled scores over the keys that it sees and its head's sink,
            where there are sinks; float32 or better, (B, H, q).
        visible: which keys a row sees, boolean (B or 1, 1, q, k); ``None`` for all up to its own.
        scale: factor on the scores.
        sink: a score of each head that has a share of the softmax and no value, (H,).
    """

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    log_sum_exp: Tensor
    visible: Tensor | None
    scale: float
    sink: Tensor | None = None

    def rows_from(self, first: int) -> PlainAttention:
        """The same, without the rows before index ``first``."""
        return PlainAttention(
            self.query[:, :, first:],
            self.key,
            self.value,
            self.output[:, :, first:],
            self.log_sum_exp[:, :, first:],
            None if self.visible is None else self.visible[:, :, first:],
            self.scale,
            self.sink,
        )


def plain_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    visible: Tensor | None,
    scale: float,
    sink: Tensor | None = None,
) -> PlainAttention:
    """Attention by the fused kernel; the matrix is never held as a whole.

    Args:
        query: (B, H, q, d).
        key: (B, Hkv, k, d).
        value: (B, Hkv, k, d).
        visible: which keys a row sees, boolean (B or 1, 1, q, k); ``None`` for a causal pass over
            its own keys alone, q = k.
        scale: factor on the scores.
        sink: a score of each head that takes its share of the softmax and has no value, (H,).
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    same_width = key.shape[-1] == value.shape[-1]  # it is not in latent attention
    if query.device.type == "cpu" and _CPU_KERNEL is not None and same_width:
        mask = None
        if visible is not None:
            mask = torch.zeros_like(visible, dtype=query.dtype).masked_fill_(~visible, -torch.inf)
        output, log_sum_exp = _CPU_KERNEL(
            query, key, value, 0.0, visible is None, attn_mask=mask, scale=scale
        )
    else:
        output = scaled_dot_product_attention(
            query, key, value, visible, is_causal=visible is None, scale=scale
        )
        log_sum_exp = log_sum_exps(query, key, visible, scale)
    if sink is not None:
        together = torch.logaddexp(log_sum_exp, sink.to(log_sum_exp)[None, :, None])
        share = torch.exp(log_sum_exp - together)[..., None]
        output, log_sum_exp = (output.to(share) * share).to(output), together
    return PlainAttention(query, key, value, output, log_sum_exp, visible, scale, sink)


def log_sum_exps(query: Tensor, key: Tensor, visible: Tensor | None, scale: float) -> Tensor:
    """Log-sum-exp of each row's scores, some rows at a time; for devices whose kernel keeps it.

    Args:
        query: (B, H, q, d).
        key: (B, H, k, d).
        visible: as in :func:`plain_attention`.
        scale: factor on the scores.

    Returns:
        Shape (B, H, q), float32 or better; 0 where a row sees nothing, as the CPU's kernel has it.
    """
    found = []
    for start in range(0, query.shape[2], _CHUNK):
        rows = slice(start, start + _CHUNK)
        scores = scaled_scores(query[:, :, rows], key, scale)
        if visible is None:
            row = torch.arange(start, start + scores.shape[2], device=query.device)[:, None]
            seen = torch.arange(key.shape[2], device=query.device) <= row
        else:
            seen = visible[:, :, rows]
        sums = scores.masked_fill(~seen, -torch.inf).logsumexp(-1)
        found.append(sums.masked_fill(sums == -torch.inf, 0.0))
    return torch.cat(found, dim=-1)


def scaled_scores(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """(B, H, q, k) in float32 or better, as the fused kernels keep them."""
    if query.dtype not in (torch.float32, torch.float64):
        query, key = query.float(), key.float()
    return (query * scale) @ key.transpose(2, 3)
