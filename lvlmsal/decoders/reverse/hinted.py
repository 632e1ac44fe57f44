"""The prompt of a batch with a hint in each question, as `generate` prepared it without."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lvlmsal.adapters.pixels import KINDS
from lvlmsal.errors import UnsupportedError


def hinted(
    input_ids: Tensor,
    kwargs: Mapping[str, Any],
    hints: Sequence[Sequence[int]],
    *,
    opening: int,
    visual: Collection[int],
    filler: int,
) -> tuple[Tensor, dict[str, Any]]:
    """Write text into prompts, before the tokens that open the answer.

    All images stand before it, so their features stay as they are, and what follows takes the next
    positions.

    Args:
        input_ids: of the prompts, (B, L), left-padded.
        kwargs: as ``generate`` prepared them.
        hints: ids of each prompt's; none for one that stays.
        opening: how many tokens open the answer.
        visual: ids of image tokens.
        filler: id for padding.

    Returns:
        Ids and arguments of the longer prompts, left-padded.

    Raises:
        UnsupportedError: a prompt is shorter than its opening, or has an image there.
    """
    count, width = input_ids.shape
    mask = kwargs.get("attention_mask")
    mask = torch.ones_like(input_ids) if mask is None else mask
    rows = [mask[row].bool().nonzero()[:, 0] for row in range(count)]
    for row, real in enumerate(rows):
        if not hints[row]:
            continue
        tail = input_ids[row, real[-opening:]].tolist()
        if len(real) < opening or set(tail) & set(visual):
            raise UnsupportedError(
                f"the hint of REVERSE goes before the last {opening} tokens of a prompt, which "
                f"open the answer, and prompt {row} is shorter or has its image there: give "
                "`opening`, the number of tokens that your chat template writes behind a question"
            )
    longest = max(len(real) + len(hint) for real, hint in zip(rows, hints, strict=True))

    def longer(values: Tensor, row: int, between: Tensor, shift: int = 0, pad: int = 0) -> Tensor:
        own = values[..., rows[row]]
        cut = own.shape[-1] - min(opening, own.shape[-1])
        parts = [own[..., :cut], between.to(own), own[..., cut:] + shift]
        made = torch.cat(parts, dim=-1)
        return torch.nn.functional.pad(made, (longest - made.shape[-1], 0), value=pad)

    found: dict[str, Any] = dict(kwargs)
    ids, masks = [], []
    for row, hint in enumerate(hints):
        ids.append(longer(input_ids[row], row, input_ids.new_tensor(list(hint)), pad=filler))
        masks.append(longer(mask[row], row, mask.new_ones(len(hint))))
    found["attention_mask"] = torch.stack(masks)
    for name in KINDS:
        if (kinds := kwargs.get(name)) is not None:
            firsts = [kinds[row, rows[row][-opening:][:1]] for row in range(count)]
            found[name] = torch.stack(
                [
                    longer(kinds[row], row, firsts[row].expand(len(hint)))
                    for row, hint in enumerate(hints)
                ]
            )
    if (positions := kwargs.get("position_ids")) is not None:
        positions = positions.expand(*positions.shape[:-2], count, width)
        made = []
        for row, hint in enumerate(hints):
            own = positions[..., row, :]
            first = own[..., rows[row][-opening:][:1]]
            steps = torch.arange(len(hint), device=own.device)
            made.append(longer(own, row, first + steps, shift=len(hint)))
        found["position_ids"] = torch.stack(made, dim=-2)
    return torch.stack(ids), found
