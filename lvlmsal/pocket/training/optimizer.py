"""The optimizer of a pocket model: Muon for the matrices of its layers, AdamW for everything else.

A run of two hours on two cores is short. Measured on the vision part of pocket-idefics3, Muon
(Jordan et al. 2024, as torch has it) finds after 250 steps the class of half of the patches where
AdamW finds a quarter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Chained(torch.optim.Optimizer):
    """Several optimizers as one, for a trainer that counts the steps of a single one.

    Args:
        parts: Optimizers of different parameters.
    """

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        """See the class."""
        self.parts = parts
        super().__init__([p for part in parts for g in part.param_groups for p in g["params"]], {})
        self._share_groups()

    def _share_groups(self) -> None:
        """Let the groups be those of the parts, so that a rate that is set here is set there."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Compute the loss and gradients once, then let every part take its step."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, in their order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the states of the parts."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def build_optimizer(model: nn.Module, *, muon: bool) -> torch.optim.Optimizer:
    """The optimizer of a recipe.

    Args:
        model: What is trained.
        muon: Let Muon move the matrices of layers; without it AdamW moves everything.

    Returns:
        An optimizer whose groups say under ``"inner"`` whether they are Muon's. The rates are left
        to the recipe.
    """
    named = dict(model.named_parameters())
    inner = {n for n, p in named.items() if muon and p.ndim == 2 and ".layers." in n}
    outer = [p for name, p in named.items() if name not in inner]
    groups = [
        {"params": [p for p in outer if p.ndim > 1], "weight_decay": 0.02, "inner": False},
        {"params": [p for p in outer if p.ndim <= 1], "weight_decay": 0.0, "inner": False},
    ]
    adamw = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    if not inner:
        return adamw
    matrices = {"params": [named[name] for name in sorted(inner)], "inner": True}
    return Chained(adamw, torch.optim.Muon([matrices], weight_decay=0.02))
