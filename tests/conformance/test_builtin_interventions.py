"""Every registered intervention through the public kit, and the kit against broken ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.kernel import PlainAttention
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import (
    AttentionIntervention,
    HiddenStateIntervention,
    Intervention,
    LogitsIntervention,
)
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.tiny import collate, tiny_lvlm, tiny_samples
from tests.tiers import FAMILIES, FURTHER, in_full

pytestmark = pytest.mark.slow

BUILT_IN = [
    name for name in INTERVENTIONS.names() if INTERVENTIONS.get(name).__module__[:8] == "lvlmsal."
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in(name: str, family: str) -> None:
    cls = INTERVENTIONS.get(name)
    assert cls.off or INTERVENTIONS.build(name).is_identity, "says no options that switch it off"
    # it goes by the class token of one picture
    if name == "damro" and family not in ("llava", "cca_llava"):
        model: Any = tiny_lvlm(family)[0]
        reason = "image encoder|several pictures"
        with pytest.raises(UnsupportedError, match=reason), intervene(model, cls()):
            model.generate(**collate(tiny_samples(family)), max_new_tokens=2)
        return
    check_intervention(
        INTERVENTIONS.build(name, **cls.strong),
        identity=INTERVENTIONS.build(name, **cls.off),
        families=[family],
    )


@pytest.mark.full
@pytest.mark.parametrize("family", FURTHER)
@pytest.mark.parametrize(
    "name",
    [name for name in BUILT_IN if INTERVENTIONS.get(name).has_second_stream or name == "locore"],
)
def test_further_families(name: str, family: str) -> None:
    """Edits of attention, and second streams; `make models` tries every method."""
    # ICD writes a system message, and is refused where a family's prompts have none.
    refused = {
        "icd": {"chameleon", "paligemma", "paligemma2"},
        "avisc": {"qwen3_vl", "qwen3_vl_moe"},
    }
    if family not in refused.get(name, ()):
        test_built_in(name, family)


@pytest.mark.parametrize(
    ("mode", "context"),
    in_full(
        itertools.product(["weights", "renormalized", "scores"], ["after_image", "output"]),
        but=("scores", "output"),  # the defaults are among the built-in ones above
    ),
)
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


@dataclass(frozen=True)
class Jumps(AttentionIntervention):
    """Its strength is no strength: any number above 0 does the same."""

    strength: float = 1.0

    off: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    @property
    def is_identity(self) -> bool:
        return self.strength == 0

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return weights * 1.5


class OffTheRecord(Louder):
    """Acts where no gradient is asked for."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return weights if torch.is_grad_enabled() else weights * 1.5


class CountsKeys(Louder):
    """Takes the number of keys for the length of the sequence."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return weights * (1 + weights.shape[3] % 3)


class Mixes(LogitsIntervention):
    """Gives each sample the mean of its batch."""

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        return logits + logits.mean(0, keepdim=True)


def test_the_kit_passes_what_is_right() -> None:
    check_intervention(Louder(), families=["llava"])


# Every case is a whole run of the kit, so the everyday tiers look for four of the faults.
FAULTS: list[tuple[Intervention, AttentionIntervention | None, str]] = [
    (SeesAhead(), None, "causality"),
    (CountsPadding(), None, r"two samples in a padded batch .* greedy search.*key_positions"),
    (CountsRows(), None, "with the cache it decodes other tokens than without it"),
    (DividesByZero(), None, "decoders.*not finite"),
    (Remembers(), None, "nothing left"),
    (Louder(), NeverOff(), "identity"),
    (Silent(), None, "effect: class Silent overrides none of the methods that edit"),
    (Jumps(), None, "faint: log-probabilities are off"),
    (OffTheRecord(), None, "recorded: logits of a recorded pass are off"),
    (CountsKeys(), None, "every cache: other tokens with cache_implementation='static'"),
    (Mixes(), None, "pixels: other pixels change the logits of a sample without an image"),
]


@pytest.mark.parametrize(
    ("broken", "identity", "message"),
    in_full(FAULTS, but=[FAULTS[place] for place in (0, 2, 4, 8)]),
)
def test_the_kit_finds_what_is_broken(
    broken: Intervention, identity: AttentionIntervention | None, message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check_intervention(broken, identity=identity, families=["llava"])


class Raises(Louder):
    """Not an assertion, and not an error of this library."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        raise ZeroDivisionError("by nothing")


def test_the_kit_says_where_a_method_raised() -> None:
    with pytest.raises(AssertionError) as caught:
        check_intervention(Raises(), families=["llava"])
    said = str(caught.value)
    assert f"llava, effect: ZeroDivisionError in {__file__}:" in said
    # told once, with the other checks that met it, and without their usual reasons
    assert said.count("ZeroDivisionError") == 1
    assert "likewise in: causality, recorded, batch" in said
    assert "usual reason" not in said


class Averages(AttentionIntervention):
    """Gives a weight for all heads together."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return weights.mean(1)


class Forgets(LogitsIntervention):
    """Edits, and returns nothing."""

    def logits(self, logits: Tensor, context: LogitsContext) -> Any:
        logits.mul_(2)


class ForgetsStates(HiddenStateIntervention):
    """Looks at the states, and returns nothing."""

    def layer_input(self, states: Tensor, context: AttentionContext) -> Any:
        states.mean()


class LastRow(HiddenStateIntervention):
    """Returns the row that predicts in place of all."""

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        return 1.1 * states[:, -1:]


class ClosesLoosely(Louder):
    """Its closed form is another edit than that of its weights."""

    @property
    def has_closed_form(self) -> bool:
        return True

    def closed_form(self, plain: PlainAttention, context: AttentionContext) -> Any:
        return plain.output


class ClosesOnNothing(ClosesLoosely):
    """Its closed form returns nothing."""

    def closed_form(self, plain: PlainAttention, context: AttentionContext) -> Any:
        plain.output.clone()


RETURNS: list[tuple[Intervention, str]] = [
    (ForgetsStates(), "effect: ForgetsStates.layer_input returned NoneType, expected a tensor"),
    (
        LastRow(),
        "effect: LastRow.layer_output returned a tensor of shape (2, 1, 32), expected a tensor of "
        "shape (2, 28, 32), that of its first argument: return that, edited",
    ),
    (
        ClosesOnNothing(),
        "closed form: ClosesOnNothing.closed_form returned NoneType, expected a tensor of shape "
        "(2, 4, 100, 8), that of plain.output: return that, edited",
    ),
    (ClosesLoosely(), "closed form: logits of the closed form are off by"),
]


@pytest.mark.parametrize(("broken", "words"), in_full(RETURNS, but=RETURNS[1:3]))
def test_the_kit_says_what_was_returned_and_what_was_expected(
    broken: Intervention, words: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        check_intervention(broken, families=["llava"])
    assert f"llava, {words}" in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (
            Averages(),
            "Averages.weights returned a tensor of shape (2, 28, 28), expected a tensor of "
            "shape (2, 4, 28, 28), that of its first argument: return that, edited",
        ),
        (Forgets(), "Forgets.logits returned NoneType, expected a tensor of shape (2, 1, 264)"),
    ],
)
def test_what_an_edit_returns_has_the_shape_that_it_was_given(
    broken: Intervention, told: str
) -> None:
    model: Any = tiny_lvlm("llava")[0]
    inputs = collate(tiny_samples("llava", (1, 0)))
    with pytest.raises(UnsupportedError) as caught, intervene(model, broken):
        model.generate(**inputs, max_new_tokens=2)
    assert told in str(caught.value)
