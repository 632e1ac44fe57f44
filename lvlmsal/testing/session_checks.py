"""The checks of interventions that hold a session against the plain model and its caches."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, Final

import torch

from lvlmsal.attention import AttentionSession, intervene
from lvlmsal.interventions.base import Intervention
from lvlmsal.testing.checks import check_caches, other_pixels
from lvlmsal.testing.intervention_case import InterventionCase

FAINT: Final = 1e-9
"""The way from off to on that a strength of almost nothing has gone."""


def check_faint(case: InterventionCase) -> None:
    """With a strength of almost nothing it is almost the plain model.

    The identity leaves the plain model alone. This runs the edited attention, the hooks and the
    second stream with an edit that is too small to be seen, so that all they compute besides shows.
    """
    faint = _faint(case)
    if faint is None or faint.is_identity:
        return
    plain = case.step_logits(case.batch)
    with intervene(case.adapter, faint):
        edited = case.step_logits(case.batch)
    kept = edited.isfinite()  # a plausibility cut, which is no matter of strength, bans the others
    plain = plain.masked_fill(~kept, -torch.inf)
    gap = float((plain.log_softmax(-1) - edited.log_softmax(-1))[kept].abs().max())
    assert gap < 1e-3, f"log-probabilities are off by {gap:.1e} at a strength of {FAINT}"


def check_recorded(case: InterventionCase) -> None:
    """A pass that is recorded gives the logits of one that is not."""
    if not case.intervention.supports_sgrs:
        return
    with AttentionSession(case.adapter, [case.intervention], edits_logits=False) as session:
        plain = case.logits(case.batch)
        with session.record(range(session.adapter.num_layers), full=True):
            recorded = case.model(**case.batch).logits.detach()
    real = case.batch["attention_mask"].bool()
    gap = float((plain - recorded)[real].abs().max())
    assert gap < 1e-3, f"logits of a recorded pass are off by {gap:.1e}"


def check_every_cache(case: InterventionCase) -> None:
    """Every exact cache gives the tokens of the dynamic one, or is refused."""
    for num_beams in [1, 3] if case.intervention.supports_beam else [1]:

        def decode(num_beams: int = num_beams, **options: Any) -> torch.Tensor:
            with intervene(case.adapter, case.intervention):
                return case.decode(case.batch, num_beams=num_beams, **options)

        check_caches(case.model, case.batch, decode, num_beams=num_beams)


def check_pixels(case: InterventionCase) -> None:
    """Another image changes the logits of its sample, and of no other one."""
    logits = []
    for inputs in (case.batch, other_pixels(case.batch)):
        with intervene(case.adapter, case.intervention):
            logits.append(case.step_logits(inputs))
    assert not torch.equal(logits[0][0], logits[1][0]), "other pixels leave the logits as they were"
    # A plausibility cut leaves minus infinity, which minus itself is not a number.
    gap = float((logits[0][1] - logits[1][1]).abs().nan_to_num(0.0).max())
    assert gap < 1e-3, f"other pixels change the logits of a sample without an image by {gap:.1e}"


def _faint(case: InterventionCase) -> Intervention | None:
    """The intervention with each number that its identity changes moved next to the identity's."""
    on: Any = case.intervention  # a dataclass, as every registered one
    off: Any = case.identity
    if off is None or type(on) is not type(off) or not is_dataclass(type(on)):
        return None
    numbers: dict[str, float] = {}
    for option in fields(on):
        strong, none = getattr(on, option.name), getattr(off, option.name)
        if isinstance(strong, float) and isinstance(none, float) and strong != none:
            numbers[option.name] = none + FAINT * (strong - none)
    made: Intervention = replace(on, **numbers)
    return made if numbers else None
