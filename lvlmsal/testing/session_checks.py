"""The checks of interventions that hold a session against the plain model and its caches."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, Final
from unittest.mock import patch

import torch

from lvlmsal.attention import AttentionSession, intervene
from lvlmsal.attention.function import EXPLICIT_ROWS
from lvlmsal.interventions.base import AttentionIntervention, Intervention
from lvlmsal.testing.checks import check_caches, other_pixels
from lvlmsal.testing.endings import ENDINGS, left_behind
from lvlmsal.testing.intervention_case import STEPS, InterventionCase

FAINT: Final = 1e-9
"""The way from off to on that a strength of almost nothing has gone."""


def check_identity(case: InterventionCase) -> None:
    """Switched off, it is bit for bit the plain model, on eager attention and on sdpa if it can."""
    if case.identity is None:
        return
    for implementation in ("eager", "sdpa") if case.adapter.decoder._supports_sdpa else ("eager",):
        case.model.set_attn_implementation({"text_config": implementation})
        plain = case.logits(case.batch), case.decode(case.batch)
        with intervene(case.adapter, case.identity):
            edited = case.logits(case.batch), case.decode(case.batch)
        for left, right in zip(plain, edited, strict=True):
            assert torch.equal(left, right), (
                f"{case.identity}, which should be off, changes the model on {implementation} "
                "attention: say in `is_identity` that it is off, or give `off` the options that "
                "are"
            )


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


def check_closed_form(case: InterventionCase) -> None:
    """A pass of many rows, in closed form, gives the logits of the explicit weights."""
    if not getattr(case.intervention, "has_closed_form", False):
        return
    rows, length = len(case.samples), EXPLICIT_ROWS + 8
    more = 4 + torch.arange(rows * length).reshape(rows, length) * 7 % 200
    inputs = case.adapter.append(case.batch, more)
    with intervene(case.adapter, case.intervention):
        closed = case.logits(inputs)
        # asked for gradients, a pass computes its weights
        explicit = case.model(**inputs).logits.detach()
    gap = float((closed - explicit)[inputs["attention_mask"].bool()].abs().max())
    assert gap < 1e-3, f"logits of the closed form are off by {gap:.1e} from those of the weights"


def check_key_gains(case: InterventionCase) -> None:
    """Decode steps that scale values of the cache give the logits of edited weights."""
    kind = type(case.intervention)
    if getattr(kind, "key_gains", None) in (None, AttentionIntervention.key_gains):
        return
    with intervene(case.adapter, case.intervention):
        scaled = case.step_logits(case.batch)
    with (
        patch.object(kind, "key_gains", AttentionIntervention.key_gains),
        intervene(case.adapter, case.intervention),
    ):
        edited = case.step_logits(case.batch)
    gap = float((scaled - edited).abs().nan_to_num(0.0).max())
    assert gap < 1e-3, f"logits of `key_gains` are off by {gap:.1e} from those of edited weights"


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
    assert not torch.equal(logits[0][0], logits[1][0]), (
        "other pixels leave the logits of a sample with an image as they were"
    )
    # A plausibility cut leaves minus infinity, which minus itself is not a number.
    gap = float((logits[0][1] - logits[1][1]).abs().nan_to_num(0.0).max())
    assert gap < 1e-3, f"other pixels change the logits of a sample without an image by {gap:.1e}"


def check_second_stream(case: InterventionCase) -> None:
    """Who says that it runs a second stream does, and nobody else: a pass more for each token."""
    passes: list[object] = []
    counter = case.model.register_forward_hook(lambda *_: passes.append(None))
    try:
        with intervene(case.adapter, case.intervention):
            case.decode(case.samples[0].inputs)
    finally:
        counter.remove()
    second = case.intervention.brings_second_stream
    # its passes may wait for one another, a look at the prompt is one pass more
    made = f"{len(passes)} passes were made for {STEPS} tokens"
    assert not second or len(passes) > STEPS, (
        f"{made}, expected more, since `has_second_stream` is set: return inputs in `second_inputs`"
    )
    assert second or len(passes) < 2 * STEPS, (
        f"{made}, expected fewer than {2 * STEPS}, since `has_second_stream` is not set: write  "
        "has_second_stream: ClassVar[bool] = True"
    )


def check_nothing_left(case: InterventionCase) -> None:
    """Hooks, configuration and results are as before, however the scope ends."""
    before, plain = left_behind(case.model), case.logits(case.batch)
    for name, ending in ENDINGS.items():
        ending(lambda: case.decode(case.batch), lambda: intervene(case.adapter, case.intervention))
        after = left_behind(case.model)
        changed = [kind for kind in before if after[kind] != before[kind]]
        assert not changed, f"after {name}, the model has another {' and '.join(changed)}"
        gap = float((case.logits(case.batch) - plain).abs().max())
        assert gap == 0, f"after {name}, logits of the plain model differ by {gap:.1e}"
    options, now = case.options or {}, vars(case.intervention)
    changed = [key for key in {**options, **now} if key not in options or key not in now]
    changed += [key for key in options if key in now and options[key] != now[key]]
    assert not changed, f"the object's own {', '.join(changed)} was changed by answering"


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
