"""What methods have in common that edit the heads of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.layers import check_layers
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.fits.head_lists import Head, HeadLists, pairs, read_head_lists
from lvlmsal.interventions.base import AttentionIntervention

NO_LISTS: Final = {"lists": None, "model": None, "random": 0}
"""Options that draw heads in any model, for the test kit and dry runs."""


@dataclass(frozen=True)
class ListedHeads(AttentionIntervention):
    """Base of methods whose heads were found beforehand, in one model.

    A list comes from a file (``lists``) or stands in the options under its name, with ``model``.
    Both say which model they are for, and any other one is refused.

    Args:
        lists: file of head lists, see :func:`~lvlmsal.fits.head_lists.read_head_lists`.
        model: of lists that stand in the options: class, layers x query heads, such as
            ``"LlavaForConditionalGeneration 32x32"``.
        random: a control. With this seed each listed head gives way to one that is drawn from the
            same layer; without lists one head of each layer is drawn for each list.
    """

    lists: str | None = None
    model: str | None = None
    random: int | None = None

    names: ClassVar[tuple[str, ...]] = ()
    """What its lists are called; options of these names hold lists of ``[layer, head]``."""

    _given: ClassVar[HeadLists | None] = None
    _chosen: ClassVar[Tensor]  # by list, layer and head

    def __post_init__(self) -> None:
        inline = {name: pairs(getattr(self, name)) for name in self.names}
        if self.lists is not None and (self.model is not None or any(inline.values())):
            raise ValueError(
                f"lists={self.lists!r} holds the heads and names the model: leave out model and "
                f"{', '.join(self.names)}, or lists"
            )
        if any(inline.values()) and self.model is None:
            raise ValueError(
                "a head means something in its own model only: say which with "
                "model='CLASS LAYERSxHEADS', such as 'LlavaForConditionalGeneration 32x32'"
            )
        check_layers(self.layers)

    def bind(self, num_layers: int) -> Self:
        """Read the lists; whether they are the model's own is seen when that is there."""
        try:
            given = None if self.is_identity else self._lists()
        except DataError as error:
            raise ConfigError([f"intervention {self.name!r}: {error}"]) from error
        bound = super().bind(num_layers)
        object.__setattr__(bound, "_given", given)
        layers: Sequence[int] = range(num_layers)
        if given is not None:
            layers = sorted({layer for heads in given.lists.values() for layer, _ in heads})
        object.__setattr__(bound, "_bound", frozenset(layers))
        return bound

    def meet(self, adapter: ModelAdapter) -> None:
        """See that the lists are this model's, and draw other heads where that is asked for.

        Raises:
            UnsupportedError: They are another model's.
        """
        found: dict[str, tuple[Head, ...]] = dict.fromkeys(self.names, ())
        if self._given is not None:
            what = f"intervention {self.name!r}: {self.lists or 'the list of heads'}"
            self._given.refuse_another(adapter, what)
            found |= self._given.lists
        heads = int(adapter.text_config.num_attention_heads)
        if self.random is not None:
            generator = torch.Generator().manual_seed(self.random)
            drawn = {name: list[Head]() for name in self.names}
            for layer in range(adapter.num_layers):
                order = torch.randperm(heads, generator=generator).tolist()
                for name in self.names:
                    listed = [h for h in found[name] if h[0] == layer]
                    count = len(listed) if self._given is not None else 1
                    drawn[name] += [(layer, head) for head in order[:count]]
                    order = order[count:]
            found = {name: tuple(of_name) for name, of_name in drawn.items()}
        chosen = torch.zeros(len(self.names), adapter.num_layers, heads, dtype=torch.bool)
        for place, name in enumerate(self.names):
            for layer, head in found[name]:
                chosen[place, layer, head] = True
        object.__setattr__(self, "_chosen", chosen)

    def _lists(self) -> HeadLists | None:
        """Those of the file or of the options; None where heads are drawn without any."""
        inline = {name: pairs(getattr(self, name)) for name in self.names}
        if self.lists is not None:
            found = read_head_lists(self.lists)
            if missing := [name for name in self.names if name not in found.lists]:
                raise DataError(
                    f"has no list {', '.join(map(repr, missing))}, only "
                    f"{', '.join(map(repr, found.lists)) or 'none'}",
                    path=self.lists,
                )
            return HeadLists(
                found.model, {name: found.lists[name] for name in self.names}, found.weights
            )
        if self.model is not None:
            return HeadLists(self.model, inline)
        if self.random is None:
            options = ", ".join(f"{name}=[[LAYER, HEAD], ...]" for name in self.names)
            raise ConfigError(
                [
                    f"intervention {self.name!r} needs a list of heads: give lists=FILE, or "
                    f"model='CLASS LAYERSxHEADS' with {options}; random=SEED draws some, as a "
                    "control"
                ]
            )
        return None
