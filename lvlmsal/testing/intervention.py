"""`check_intervention`: what every intervention must do, whoever wrote it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from lvlmsal.attention import AttentionSession, intervene
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.search import Greedy, Sample
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import Intervention
from lvlmsal.testing.checks import Check, Failures
from lvlmsal.testing.drawn import drawn_images
from lvlmsal.testing.intervention_case import InterventionCase
from lvlmsal.testing.replaced_generate import REPLACED, check_replaced_intervention
from lvlmsal.testing.session_checks import (
    check_closed_form,
    check_every_cache,
    check_faint,
    check_identity,
    check_key_gains,
    check_nothing_left,
    check_pixels,
    check_recorded,
    check_second_stream,
)
from lvlmsal.testing.sharing import SHARES_WRONGLY, check_sharing
from lvlmsal.testing.tiny import TINY, TinySample, tiny_lvlm, tiny_samples
from lvlmsal.tiny.parts import in_dtype


def check_intervention(
    intervention: Intervention,
    *,
    identity: Intervention | None = None,
    families: Sequence[str] = tuple(TINY),
) -> None:
    """Run all of :data:`INTERVENTION_CHECKS` on a tiny random model of each family.

    Args:
        intervention: With options strong enough to change a random model.
        identity: The same class with options that switch it off; then it must be the plain model
            bit for bit. By default made of its class's ``off`` options. An intervention that is one
            itself (``is_identity``) need not be given twice.
        families: Keys of :data:`~lvlmsal.testing.tiny.TINY` or `FURTHER`.

    Raises:
        AssertionError: Says which promise of an intervention is not kept.

    >>> from lvlmsal.interventions.locore import LocoRE
    >>> check_intervention(LocoRE(beta=1.0), identity=LocoRE(beta=0.0), families=["llava"])
    """
    if identity is None and getattr(intervention, "is_identity", False):
        identity = intervention
    if identity is None and intervention.off:
        changed: Any = intervention  # a dataclass, as every registered one
        identity = replace(changed, **intervention.off)
    options = copy.deepcopy(vars(intervention))
    failures = Failures()
    for family in families:

        def make(family: str = family) -> InterventionCase:
            model, processor = tiny_lvlm(family)
            samples = tiny_samples(family, (1, 0))
            case = InterventionCase(
                intervention, identity, model, samples, processor, family, options
            )
            case.logits(case.batch)  # transformers leaves hooks of its own at its first pass
            return case

        with drawn_images():
            failures.run(family, INTERVENTION_CHECKS, make)
    failures.raise_any()


def check_effect(case: InterventionCase) -> None:
    """Switched on, it changes the logits; else the other checks would show nothing."""
    if getattr(case.intervention, "is_identity", False):
        return
    plain = case.step_logits(case.batch)
    with intervene(case.adapter, case.intervention):
        edited = case.step_logits(case.batch)
    for row, logits in enumerate(edited):
        known = f"of sample {row}, which has {len(case.samples[row].images)} images,"
        count = int(logits.isnan().sum())
        assert not count, f"{known} {count} logits are not a number"
        # A plausibility cut bans tokens, but never all of them.
        assert logits.isfinite().any(), f"{known} no logit is finite, so no token is left"
    # More than rounding: an edited row takes another kernel than a plain one.
    name, hooks = type(case.intervention).__name__, case.intervention.hooks()
    assert hooks, (
        f"class {name} overrides none of the methods that edit: define `scores` or `weights` "
        "(AttentionIntervention), `layer_input` or `layer_output` (HiddenStateIntervention), "
        "`feed_forward` (FeedForwardIntervention), or `logits` (LogitsIntervention)"
    )
    assert not torch.allclose(plain, edited, atol=1e-3), (
        f"{name} edits {' and '.join(hooks)}, and the logits are those of the plain model: set "
        "`strong` of the class to options that change a random model, or give the check such an "
        "object"
    )


def check_causality(case: InterventionCase) -> None:
    """No query takes from a later key, in the weights and, unless it says so, in the logits."""
    inputs = case.samples[0].inputs
    other = dict(inputs)
    stand = inputs["input_ids"].shape[1] - 2
    other["input_ids"] = inputs["input_ids"].clone()
    other["input_ids"][:, stand:] = 4 + (inputs["input_ids"][:, stand:] + 7) % 200
    before, after = (case.logits(each)[:, :stand] for each in (inputs, other))
    with intervene(case.adapter, case.intervention):
        left, right = case.logits(inputs), case.logits(other)
    # in a prefix-LM they do without the edit, too
    ahead = not torch.allclose(before, after, atol=1e-5)
    earlier = torch.allclose(left[:, :stand], right[:, :stand], atol=1e-5)
    gap = float((left - right)[:, :stand].abs().nan_to_num(0.0).max())
    assert earlier or ahead or case.intervention.looks_ahead, (
        f"the last two tokens of the prompt change the logits of rows before them, by {gap:.1e}"
    )
    assert not torch.allclose(left[:, stand:], right[:, stand:], atol=1e-5), (
        "other tokens at the end of the prompt leave its last logits as they were"
    )
    real = case.batch["attention_mask"].bool()
    recorded, own = _recorded(case, [case.intervention]), _recorded(case, [])
    for layer, weights in recorded.items():
        seen = weights * real[:, None, :, None]  # the rows of padding do not matter
        # some models let the tokens of an image, or of the whole prompt, see one another
        later = seen.triu(1).masked_fill(own[layer] > 0, 0)
        for kind, found in (
            ("keys behind the row's own", later),
            ("padding", seen * ~real[:, None, None, :]),
        ):
            count = int(found.count_nonzero())
            assert not count, f"in layer {layer}, {count} weights on {kind} are not zero"


def _recorded(case: InterventionCase, edits: list[Intervention]) -> dict[int, Tensor]:
    """Weights (B, H, L, L) of each layer in a pass over the batch."""
    with AttentionSession(case.adapter, edits) as session:
        layers = range(session.adapter.num_layers)
        with session.record(list(layers), full=True) as recording:
            case.model(**case.batch)
    return dict(recording.weights)


def check_batch(case: InterventionCase) -> None:
    """A left-padded batch of two gives the tokens of two batches of one."""
    beams = [1, 3] if case.intervention.supports_beam else [1]
    for num_beams in beams:
        with intervene(case.adapter, case.intervention):
            together = case.decode(case.batch, num_beams=num_beams)
            alone = [case.decode(sample.inputs, num_beams=num_beams) for sample in case.samples]
        assert torch.equal(together, torch.cat(alone)), (
            "two samples in a padded batch get other tokens than one by one, under "
            f"{_search(num_beams)}: the padding moves the columns of the shorter one; take places "
            "from `context.key_positions`, `context.query_positions` or `context.spans`"
        )


def check_cache(case: InterventionCase) -> None:
    """Decoding with the cache gives the tokens of decoding without it."""
    beams = [1, 3] if case.intervention.supports_beam else [1]
    for num_beams in beams:
        tokens = []
        for use_cache in (True, False):
            with intervene(case.adapter, case.intervention):
                tokens.append(case.decode(case.batch, use_cache=use_cache, num_beams=num_beams))
        assert torch.equal(*tokens), (
            f"with the cache it decodes other tokens than without it, under {_search(num_beams)}: "
            "a pass over one row must edit it as a pass over all rows does; "
            "`context.query_positions` says which rows there are"
        )


def check_decoders(case: InterventionCase) -> None:
    """Sampling and SGRS, in blocks or one by one, give each sample the tokens it gets alone."""
    decoders: dict[str, Decoder] = {"sample": Sample()}
    if case.intervention.supports_sgrs:
        for row in ("predicting", "candidate"):
            for size in (1, 4):
                # All layers are recorded, so that gradients pass through edited ones.
                decoders[f"sgrs, {row} row, blocks of {size}"] = SGRS(
                    row=row, block_size=size, alpha=1.2, layers=None
                )
    # so that rounding decides nothing
    model = in_dtype(copy.deepcopy(case.model), torch.float64)
    doubled = replace(case, model=model, samples=[_double(sample) for sample in case.samples])
    found: dict[str, list[Tensor]] = {}
    for name, decoder in decoders.items():
        with intervene(doubled.adapter, case.intervention):
            try:
                together = doubled.decode(
                    doubled.batch, **decoder.generate_kwargs(sample_ids=["a", "b"])
                )
            except UnsupportedError:
                if "predicting row" in name:  # a prefix-LM has none, and says so
                    continue
                raise
            alone = [
                doubled.decode(sample.inputs, **decoder.generate_kwargs(sample_ids=[sample_id]))
                for sample, sample_id in zip(doubled.samples, ("a", "b"), strict=True)
            ]
        assert torch.equal(together, torch.cat(alone)), (
            f"two samples in a padded batch get other tokens than one by one, under {name}"
        )
        found.setdefault(name.rpartition(",")[0], []).append(together)
    for name, answers in found.items():
        assert torch.equal(answers[0], answers[-1]), (
            f"under {name}, blocks of 4 tokens get other tokens than one by one: edit every row "
            "that predicts, not the last one of the pass"
        )


def check_shared_prefix(case: InterventionCase) -> None:
    """Who says `shares_prefix` answers questions about one image as if each were the only one."""
    check_sharing(Greedy(), [case.intervention], [case.family])


def _search(num_beams: int) -> str:
    return "greedy search" if num_beams == 1 else f"beam search with {num_beams} beams"


def _double(sample: TinySample) -> TinySample:
    inputs = {
        name: value.double() if value.is_floating_point() else value
        for name, value in sample.inputs.items()
    }
    return replace(sample, inputs=inputs)


INTERVENTION_CHECKS: Final[dict[str, Check[InterventionCase]]] = {
    "identity": Check(check_identity, "`is_identity` forgets an option of `off`"),
    "faint": Check(
        check_faint,
        "the edit jumps where its strength leaves zero: a norm, a cut or a branch that does not "
        "depend on the strength; then say so in its docstring and give `off` no number",
    ),
    "effect": Check(
        check_effect,
        "`strong` is weak, or its `layers` miss a model of two; or 0/0 where there is no image",
    ),
    "causality": Check(
        check_causality,
        "weights were added where they are zero, that is masked; or a row of the prompt is edited "
        "by the question after it: then set `looks_ahead`",
    ),
    "recorded": Check(
        check_recorded,
        "a tensor is changed in place, or the edit depends on whether gradients are asked for",
    ),
    "closed form": Check(
        check_closed_form,
        "`closed_form` leaves out the mask (`plain.visible`), the place of its first row, or what "
        "the row then sums to; or it makes another edit than `scores` and `weights`",
    ),
    "key gains": Check(
        check_key_gains,
        "`key_gains` counts from another column than that of the row, forgets a sample's padding, "
        "or makes another edit than `weights`",
    ),
    "batch": Check(
        check_batch,
        "columns were taken for positions; a maximum or mean is taken over the batch; or random "
        "numbers come from the global generator",
    ),
    "cache": Check(
        check_cache,
        "the row's place in the pass was taken for its position; calls are counted; or a later "
        "pass overwrites state",
    ),
    "every cache": Check(
        check_every_cache,
        "the number of keys was taken for the length of the sequence: a static cache has more",
    ),
    "pixels": Check(
        check_pixels,
        "`second_inputs` or `prepare` keeps an earlier image, or something is taken over the batch",
    ),
    "second stream": Check(
        check_second_stream,
        "`has_second_stream` is missing, or `second_inputs` finds nothing to do",
    ),
    "decoders": Check(
        check_decoders,
        "only the last row of a pass is edited, where several predict; or a division by zero",
    ),
    "replaced generate": Check(check_replaced_intervention, REPLACED),
    "shared prefix": Check(check_shared_prefix, SHARES_WRONGLY),
    "nothing left": Check(
        check_nothing_left, "state is kept on `self`: use `prepare` or `context.carried`"
    ),
}
"""All checks by name, for those who want to run them one by one."""
