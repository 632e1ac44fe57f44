"""HallusionBench from verdicts: accuracy by question, by question pair and by figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

HALLUSION_COUNTS: Final = (
    "n",
    "correct",
    "pairs",
    "pairs_right",
    "figures",
    "figures_right",
    "figures_wrong",
    "figure_score",
    "easy",
    "easy_right",
    "hard",
    "hard_right",
    "said_yes",
    "gold_yes",
    "wrong",
    "wrong_no",
    "unclear",
    "unjudged",
)
"""What a sample adds, in this order; what belongs to a unit stands with its first sample."""

_COLUMN: Final = {name: place for place, name in enumerate(HALLUSION_COUNTS)}
WRONG, RIGHT, UNCLEAR = 0, 1, 2
"""The verdicts on an answer, as the official result files have them."""

Target = Mapping[str, Any]
_KEYS: Final = ("category", "subcategory", "set_id", "figure_id", "question_id")
_NUMBERS: Final = {"visual_input": ("0", "1", "2"), "gt_answer": ("0", "1")}


def hallusionbench_counts(
    verdicts: Sequence[int | None],
    targets: Sequence[Target],
    *,
    unclear_without_image: bool = True,
    figure_without_image: bool = False,
) -> Tensor:
    """Count verdicts by question, question pair and figure.

    A pair are all samples of one question of a set (over its figures), a figure are all questions
    on one image; easy and hard groups are the parts of a pair with the original (or no) and with
    the edited images. A unit is right if all of its answers are. Answers without a verdict are
    counted as such and otherwise left out, of their units too.

    Args:
        verdicts: 0 wrong, 1 right, 2 unclear; None where there is no verdict.
        targets: Keys of the question (``category``, ``subcategory``, ``set_id``, ``figure_id``,
            ``question_id``), ``visual_input``, ``gt_answer``, and optionally ``whole``: how many
            samples the ``figure``, the ``pair`` and its ``level`` have, so that a unit of which
            some samples could not be answered is not taken for right.
        unclear_without_image: Whether "unclear" is right where the question needs an image and
            has none (VS, figure 0), as in the official script.
        figure_without_image: Whether the questions without an image are a figure too, as in
            lmms-eval and VLMEvalKit; not in the official script.

    Returns:
        float64 tensor of shape (samples, `HALLUSION_COUNTS`).

    Raises:
        ValueError: The two differ in length, or a target is none.
    """
    for target in targets:
        check_target(target)
    rows = torch.zeros(len(targets), len(HALLUSION_COUNTS), dtype=torch.float64)
    right: list[bool | None] = []
    for place, (verdict, target) in enumerate(zip(verdicts, targets, strict=True)):
        right.append(_is_right(verdict, target, unclear_without_image))
        _count_answer(rows[place], verdict, right[-1], int(target["gt_answer"]))
    for name, unit in _UNITS.items():
        members: dict[tuple[object, ...], list[int]] = {}
        for place, target in enumerate(targets):
            left_out = name == "figure" and not figure_without_image and _is_bare(target)
            if not left_out:
                members.setdefault(unit(target), []).append(place)
        for places in members.values():
            _count_unit(rows, name, places, right, targets)
    return rows


def hallusionbench_failures(
    targets: Sequence[Target], *, figure_without_image: bool = False
) -> Tensor:
    """Rows of samples without an answer: wrong, and so are the units that hold nothing else.

    Units with other samples are counted with those, see ``whole`` in `hallusionbench_counts`.
    """
    rows = hallusionbench_counts(
        [WRONG] * len(targets),
        targets,
        unclear_without_image=False,
        figure_without_image=figure_without_image,
    )
    for name, unit in _UNITS.items():
        sizes = Counter(unit(target) for target in targets)
        for row, target in zip(rows, targets, strict=True):
            if sizes[unit(target)] < target.get("whole", {}).get(name, 0):
                row[[_COLUMN[column] for column in _columns(name, target)]] = 0
    return rows


def hallusionbench_figures(counts: Tensor) -> dict[str, Tensor]:
    """Figures of summed counts, as fractions; the official script prints percent, 4 decimals.

    Args:
        counts: Shape (..., `HALLUSION_COUNTS`).

    Returns:
        ``aacc``, ``qacc`` and ``facc``: share of questions, question pairs and figures that are
        right. ``easy_group_acc`` and ``hard_group_acc``: the leaderboard's accuracies of "easy" and
        "hard questions", which are shares of groups. ``figure_score``: mean share of right answers
        of a figure; ``inconsistent`` and ``all_wrong``: shares of figures with some and with no
        right answer. ``yes_difference``: share of yes among the predictions minus that among the
        references, where a prediction is the reference if the answer is right and its opposite if
        not. ``fp_ratio``: share of wrong answers whose reference is no. Then the numbers
        ``unclear``, ``unjudged`` and ``n``. nan where there is nothing to divide by.
    """
    count = dict(zip(HALLUSION_COUNTS, counts.unbind(-1), strict=True))
    mixed = count["figures"] - count["figures_right"] - count["figures_wrong"]
    return {
        "aacc": count["correct"] / count["n"],
        "qacc": count["pairs_right"] / count["pairs"],
        "facc": count["figures_right"] / count["figures"],
        "easy_group_acc": count["easy_right"] / count["easy"],
        "hard_group_acc": count["hard_right"] / count["hard"],
        "figure_score": count["figure_score"] / count["figures"],
        "inconsistent": mixed / count["figures"],
        "all_wrong": count["figures_wrong"] / count["figures"],
        "yes_difference": (count["said_yes"] - count["gold_yes"]) / count["n"],
        "fp_ratio": count["wrong_no"] / count["wrong"],
        "unclear": count["unclear"],
        "unjudged": count["unjudged"],
        "n": count["n"],
    }


def check_target(target: Any) -> None:
    """Refuse what is not a target.

    Raises:
        ValueError: It lacks a key, or ``visual_input`` or ``gt_answer`` is not such a number.
    """
    if not isinstance(target, Mapping) or {*_KEYS, *_NUMBERS} - target.keys():
        raise ValueError(
            f"a target of HallusionBench has {', '.join((*_KEYS, *_NUMBERS))}; got {target!r}"
        )
    for key, known in _NUMBERS.items():
        if str(target[key]) not in known:
            raise ValueError(f"{key!r} must be one of {', '.join(known)}, got {target[key]!r}")


def _is_bare(target: Target) -> bool:
    """Whether the question is about an image that is not shown."""
    return target["category"] == "VS" and str(target["figure_id"]) == "0"


def _level(target: Target) -> str:
    return "hard" if int(target["visual_input"]) == 2 else "easy"


def _figure(target: Target) -> tuple[object, ...]:
    return tuple(str(target[k]) for k in ("category", "subcategory", "set_id", "figure_id"))


def _pair(target: Target) -> tuple[object, ...]:
    return tuple(str(target[k]) for k in ("category", "subcategory", "set_id", "question_id"))


_UNITS: Final[dict[str, Callable[[Target], tuple[object, ...]]]] = {
    "figure": _figure,
    "pair": _pair,
    "level": lambda target: (*_pair(target), _level(target)),
}


def unit_sizes(targets: Sequence[Target]) -> list[dict[str, int]]:
    """How many samples the units of each sample have: what ``whole`` of its target holds."""
    sizes: list[dict[str, int]] = [{} for _ in targets]
    for name, unit in _UNITS.items():
        keys = [unit(target) for target in targets]
        count = Counter(keys)
        for size, key in zip(sizes, keys, strict=True):
            size[name] = count[key]
    return sizes


def _is_right(verdict: int | None, target: Target, unclear_without_image: bool) -> bool | None:
    if verdict is None:
        return None
    return verdict == RIGHT or (verdict == UNCLEAR and unclear_without_image and _is_bare(target))


def _count_answer(row: Tensor, verdict: int | None, right: bool | None, gold: int) -> None:
    if right is None:
        row[_COLUMN["unjudged"]] = 1
        return
    named = {
        "n": True,
        "correct": right,
        "said_yes": right == bool(gold),
        "gold_yes": gold == 1,
        "wrong": not right,
        "wrong_no": not right and gold == 0,
        "unclear": verdict == UNCLEAR,
    }
    for name, value in named.items():
        row[_COLUMN[name]] = float(value)


def _columns(name: str, target: Target) -> tuple[str, ...]:
    """The columns of a unit: how many there are, how many of them are right, and the others."""
    if name == "pair":
        return ("pairs", "pairs_right")
    if name == "level":
        level = _level(target)
        return (level, f"{level}_right")
    return ("figures", "figures_right", "figures_wrong", "figure_score")


def _count_unit(
    rows: Tensor,
    name: str,
    places: Sequence[int],
    right: Sequence[bool | None],
    targets: Sequence[Target],
) -> None:
    """Count a unit in the row of its first sample."""
    judged = [answer for place in places if (answer := right[place]) is not None]
    if not judged:
        return
    target = targets[places[0]]
    # samples that failed are not among `places`, and are wrong
    size = max(len(places), target.get("whole", {}).get(name, 0))
    asked = len(judged) + size - len(places)
    share = sum(judged) / asked
    columns = _columns(name, target)
    values = (1.0, float(share == 1), float(share == 0), share)
    for column, value in zip(columns, values, strict=False):
        rows[places[0], _COLUMN[column]] = value
