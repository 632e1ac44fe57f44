"""Every registered intervention through the public kit, and the kit against broken ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lvlmsal.attention import AttentionContext
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.tiny import TINY

BUILT_IN = [
    name for name in INTERVENTIONS.names() if INTERVENTIONS.get(name).__module__[:8] == "lvlmsal."
]


@pytest.mark.parametrize("family", sorted(TINY))
@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in(name: str, family: str) -> None:
    cls = INTERVENTIONS.get(name)
    assert cls.off or INTERVENTIONS.build(name).is_identity, "says no options that switch it off"
    check_intervention(
        INTERVENTIONS.build(name, **cls.strong),
        identity=INTERVENTIONS.build(name, **cls.off),
        families=[family],
    )


@pytest.mark.parametrize("mode", ["weights", "renormalized", "scores"])
@pytest.mark.parametrize("context", ["after_image", "output"])
def test_every_reading_of_locore(mode: str, context: str) -> None:
    options = {"mode": mode, "context": context, "window": 4}
    check_intervention(
        INTERVENTIONS.build("locore", beta=0.8, **options),
        identity=INTERVENTIONS.build("locore", beta=0.0, **options),
        families=["qwen2_vl"],
    )


class Louder(AttentionIntervention):
    """Keeps every promise; the broken ones below derive from it."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return weights * 1.5


class SeesAhead(Louder):
    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return weights + 0.01


class CountsPadding(Louder):
    """Counts columns where it should count positions."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return weights * (1 + 0.1 * context.query_columns)[None, None, :, None]


class CountsRows(Louder):
    """Takes the row's place in the pass for its place in the sequence."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return weights * (1.0 if weights.shape[2] == 1 else 1.5)


class Remembers(Louder):
    """Keeps state on the object that the user holds."""

    def bind(self, num_layers: int) -> Louder:
        self.seen = num_layers
        return self


class DividesByZero(Louder):
    """Right in every weight, and nan in every gradient of a sample without an image."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        visual = context.image_keys()[:, None, None]
        share = (weights * visual).sum(-1, keepdim=True)
        return torch.where(share > 0, weights * (1 + share) / share, weights)


class NeverOff(Louder):
    @property
    def is_identity(self) -> bool:
        return False


class Silent(AttentionIntervention):
    pass


def test_the_kit_passes_what_is_right() -> None:
    check_intervention(Louder(), families=["llava"])


@pytest.mark.parametrize(
    ("broken", "identity", "message"),
    [
        (SeesAhead(), None, "causality"),
        (CountsPadding(), None, "batch"),
        (CountsRows(), None, "cache"),
        (DividesByZero(), None, "decoders.*not finite"),
        (Remembers(), None, "nothing left"),
        (Louder(), NeverOff(), "identity"),
        (Silent(), None, "effect"),
    ],
)
def test_the_kit_finds_what_is_broken(
    broken: AttentionIntervention, identity: AttentionIntervention | None, message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check_intervention(broken, identity=identity, families=["llava"])
