"""AMBER's discriminative part: yes-or-no questions on existence, attributes and relations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from lvlmsal.benchmarks.amber.generative_counts import printed
from lvlmsal.metrics.answer_parsers import Verdict, get_parser, rule_named

AMBER_QUESTIONS: Final = ("existence", "state", "number", "action", "relation")
"""The dimensions of the yes-or-no questions."""
AMBER_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "": AMBER_QUESTIONS,
    "existence": ("existence",),
    "attribute": ("state", "number", "action"),
    "state": ("state",),
    "number": ("number",),
    "action": ("action",),
    "relation": ("relation",),
}
"""The groups of questions that have figures of their own; the empty name stands for all."""

_KINDS: Final = ("n", "correct", "said_no", "right_no", "gold_no")
DISCRIMINATIVE_COUNTS: Final = (
    *(f"{kind}/{dimension}" for dimension in AMBER_QUESTIONS for kind in _KINDS),
    *_KINDS,
    "unparsed",
)
"""What is counted of one answer, in this order: for each dimension, and then over all, ``n`` (1),
``correct``, ``said_no``, ``right_no`` (said no, and no is right) and ``gold_no`` (no is right)."""


def _official(answer: str) -> Verdict:
    """Exactly Yes or exactly No."""
    if answer == "Yes":
        return "yes"
    return "no" if answer == "No" else None


def _lmms_eval(answer: str) -> Verdict:
    """Yes if the letters "yes" occur anywhere in any case, else no if "no" does."""
    text = answer.lower()
    if "yes" in text:
        return "yes"
    return "no" if "no" in text else None


AMBER_PARSERS: Final[Mapping[str, Callable[[str], Verdict]]] = {
    "official": _official,
    "lmms-eval": _lmms_eval,
    "vlmevalkit": get_parser("vlmevalkit").parse,
    "strict": get_parser("strict").parse,
}
"""From an answer to a verdict: the rules by name. An answer that is neither is wrong."""


def amber_parser(name: str) -> Callable[[str], Verdict]:
    """The rule of that name.

    Raises:
        UnknownName: There is none; the message lists all.

    Example:
        >>> for name in ("official", "lmms-eval", "strict"):
        ...     print(name, [amber_parser(name)(text) for text in ("No", "No.", "no", "I know")])
        official ['no', None, None, None]
        lmms-eval ['no', 'no', 'no', 'no']
        strict ['no', 'no', 'no', None]
    """
    return rule_named("parser of AMBER", name, AMBER_PARSERS)


def amber_discriminative_counts(
    answers: Sequence[str], targets: Sequence[Any], parser: str = "official"
) -> Tensor:
    """What answers add to the counts of AMBER's discriminative part.

    Args:
        answers: One text for each question.
        targets: Mappings with ``dimension`` (of `AMBER_QUESTIONS`) and ``label`` (yes or no).
        parser: Name of the rule that reads the answers, see `AMBER_PARSERS`.

    Returns:
        float64 tensor of shape (questions, 31); the columns are those of `DISCRIMINATIVE_COUNTS`.

    Raises:
        ValueError: The two differ in length, or a target is none.
        UnknownName: No rule has that name.
    """
    rule = amber_parser(parser)
    if len(answers) != len(targets):
        raise ValueError(f"{len(answers)} answers for {len(targets)} targets")
    column = {name: place for place, name in enumerate(DISCRIMINATIVE_COUNTS)}
    rows = torch.zeros(len(answers), len(DISCRIMINATIVE_COUNTS), dtype=torch.float64)
    for place, (answer, target) in enumerate(zip(answers, targets, strict=True)):
        if not isinstance(target, Mapping) or {"dimension", "label"} - target.keys():
            raise ValueError(f"a target of AMBER has 'dimension' and 'label', got {target!r}")
        dimension, label = target["dimension"], target["label"]
        if dimension not in AMBER_QUESTIONS or label not in ("yes", "no"):
            raise ValueError(
                f"'dimension' must be one of {', '.join(AMBER_QUESTIONS)} and 'label' yes or no, "
                f"got {target!r}"
            )
        verdict = rule(answer)
        said_no, gold_no = verdict == "no", label == "no"
        counted = (True, verdict == label, said_no, said_no and gold_no, gold_no)
        for kind, value in zip(_KINDS, counted, strict=True):
            rows[place, column[f"{kind}/{dimension}"]] = value
            rows[place, column[kind]] = value
        rows[place, column["unparsed"]] = verdict is None
    return rows


def amber_group_figures(counts: Tensor, group: str) -> dict[str, Tensor]:
    """Accuracy, precision, recall and F1 of a group of questions, both ways.

    No is the positive class: it says that something is not as the question has it. The official
    script adds 0.001 to each denominator of each dimension, rounds, computes F1 from the rounded
    precision and recall, and adds 0.0001 to its denominator, of existence 0.001.

    Args:
        counts: Tensor of shape (..., 31) with sums of rows of `amber_discriminative_counts`.
        group: A name of `AMBER_GROUPS`.

    Returns:
        The fractions ``accuracy``, ``precision``, ``recall`` and ``f1``, nan without a denominator,
        and percentages with one decimal as printed, ``official/...``; ``n``.
    """
    column = {name: counts[..., place] for place, name in enumerate(DISCRIMINATIVE_COUNTS)}
    parts = AMBER_GROUPS[group]
    n, correct, said, right, gold = (
        torch.stack([column[f"{kind}/{part}"] for part in parts]).sum(0) for kind in _KINDS
    )
    # over all, the script counts once more; over the attributes, it adds up three counters
    extra = 0.001 * len(parts) if group else 0.001
    some = n > 0
    precision = printed(right / (said + extra) * 100, some)
    recall = printed(right / (gold + extra) * 100, some)
    above = 2 * (precision / 100) * (recall / 100)
    below = precision / 100 + recall / 100 + (0.001 if group == "existence" else 0.0001)
    return {
        "accuracy": correct / n,
        "precision": right / said,
        "recall": right / gold,
        "f1": 2 * right / (said + gold),
        "official/accuracy": printed(correct / (n + extra) * 100, some),
        "official/precision": precision,
        "official/recall": recall,
        "official/f1": printed(above / below * 100, some),
        "n": n,
    }


def amber_discriminative_figures(counts: Tensor) -> dict[str, Tensor]:
    """The figures of AMBER's discriminative part from summed counts.

    Args:
        counts: Tensor of shape (..., 31) with sums of rows of `amber_discriminative_counts`.

    Returns:
        Tensors of shape (...): those of `amber_group_figures` over all questions; of the groups
        ``accuracy/<group>``, ``f1/<group>`` and ``official/f1/<group>``; and ``unparsed``.
    """
    overall = amber_group_figures(counts, "")
    n = overall.pop("n")
    groups = {name: amber_group_figures(counts, name) for name in AMBER_GROUPS if name}
    shown = ("accuracy", "f1", "official/f1")
    return {
        **overall,
        **{f"{figure}/{name}": groups[name][figure] for figure in shown for name in groups},
        "unparsed": counts[..., DISCRIMINATIVE_COUNTS.index("unparsed")],
        "n": n,
    }
