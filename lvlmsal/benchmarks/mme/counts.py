"""MME: pairs of yes-or-no questions on images, in fourteen tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from lvlmsal.benchmarks.mme.files import MME_COGNITION, MME_PERCEPTION, MME_TASKS
from lvlmsal.metrics.answer_parsers import Verdict, get_parser, rule_named

COUNT_NAMES: Final = (
    *(f"{count}/{task}" for task in MME_TASKS for count in ("n", "correct", "both")),
    "n",
    "correct",
    "unparsed",
)
"""What an answer adds, in this order: for each task ``n`` (1), ``correct`` and ``both`` (once for
an image with both questions answered rightly), and the sums over tasks with ``unparsed``."""


_LETTERS: Final[Mapping[str, Verdict]] = {"y": "yes", "n": "no"}


def _prefix(text: str) -> Verdict:
    """Yes if the first four characters hold "yes", else no if they hold "no"."""
    start = text[:4]
    if "yes" in start:
        return "yes"
    return "no" if "no" in start else None


def _official(answer: str) -> Verdict:
    """The first four characters in lower case; leading blanks count among them."""
    return _prefix(answer.lower())


def _lmms_eval(answer: str) -> Verdict:
    """As the official rule, after blanks at the ends and full stops are taken away; y and n too."""
    text = answer.lower().strip().replace(".", "")
    if len(text) == 1:
        return _LETTERS.get(text)
    return _prefix(text)


MME_PARSERS: Final[Mapping[str, Callable[[str], Verdict]]] = {
    "official": _official,
    "lmms-eval": _lmms_eval,
    "vlmevalkit": get_parser("vlmevalkit").parse,
    "strict": get_parser("strict").parse,
}
"""From an answer to a verdict: the rules by name. An answer that is neither is wrong."""


def mme_parser(name: str) -> Callable[[str], Verdict]:
    """The rule of that name.

    Raises:
        UnknownName: There is none; the message lists all.

    Example:
        >>> answers = ["yes", "Not sure", "I don't know", "noyes", "  yes", "n"]
        >>> [mme_parser("official")(answer) for answer in answers]
        ['yes', 'no', None, 'no', None, None]
        >>> [mme_parser("lmms-eval")(answer) for answer in answers]
        ['yes', 'no', None, 'no', 'yes', 'no']
    """
    return rule_named("parser of MME", name, MME_PARSERS)


def mme_counts(answers: Sequence[str], targets: Sequence[Any], parser: str = "official") -> Tensor:
    """What answers add to the counts of MME.

    The answers to both questions on an image must be among them: an image counts for ``both`` if
    each of its questions is answered rightly, in the row of its first answer.

    Args:
        answers: One text for each question.
        targets: Mappings with ``task``, ``image``, ``question`` (1 or 2) and ``label`` (``"yes"``
            or ``"no"``).
        parser: Name of the rule that reads the answers, see `MME_PARSERS`.

    Returns:
        float64 tensor of shape (questions, 45); the columns are those of `COUNT_NAMES`.

    Raises:
        ValueError: The two differ in length, or a target is none.
        UnknownName: No rule has that name.
    """
    rule = mme_parser(parser)
    if len(answers) != len(targets):
        raise ValueError(f"{len(answers)} answers for {len(targets)} targets")
    column = {name: place for place, name in enumerate(COUNT_NAMES)}
    rows = torch.zeros(len(answers), len(COUNT_NAMES), dtype=torch.float64)
    first: dict[tuple[str, str], int] = {}
    right: dict[tuple[str, str], list[int]] = {}
    for place, (answer, target) in enumerate(zip(answers, targets, strict=True)):
        task, image, number, label = _checked(target)
        verdict = rule(answer)
        correct = verdict == label
        for name, value in (("n", True), ("correct", correct)):
            rows[place, column[f"{name}/{task}"]] = value
            rows[place, column[name]] = value
        rows[place, column["unparsed"]] = verdict is None
        unit = (task, image)
        first.setdefault(unit, place)
        right.setdefault(unit, [0, 0])[number - 1] += correct
    for (task, image), place in first.items():
        # more than once only if samples are given repeatedly; then whole pairs count
        rows[place, column[f"both/{task}"]] = min(right[task, image])
    return rows


def _checked(target: Any) -> tuple[str, str, int, str]:
    if not isinstance(target, Mapping) or {"task", "image", "question", "label"} - target.keys():
        raise ValueError(
            f"a target of MME has 'task', 'image', 'question' and 'label', got {target!r}"
        )
    task, number, label = target["task"], target["question"], target["label"]
    if task not in MME_TASKS:
        raise ValueError(f"MME has no task {task!r}; its tasks: {', '.join(MME_TASKS)}")
    if number not in (1, 2) or label not in ("yes", "no"):
        raise ValueError(f"'question' must be 1 or 2 and 'label' yes or no, got {target!r}")
    return task, str(target["image"]), number, label


def mme_figures(counts: Tensor) -> dict[str, Tensor]:
    """The figures of MME from summed counts.

    The score of a task is 100 times the share of right answers plus 100 times the share of images
    with both answers right, so 200 at best. Each image has two questions: the number of images is
    half that of the questions.

    Args:
        counts: Tensor of shape (..., 45) with sums of rows of `mme_counts`.

    Returns:
        Tensors of shape (...): ``perception`` (0 to 2000) and ``cognition`` (0 to 800), nan unless
        all of their tasks have answers; ``task_mean``, the mean score of the tasks that have some,
        which is not an official figure; ``accuracy`` over all answers, a fraction;
        ``score/<task>`` (0 to 200), nan of a task without answers; and the numbers ``unparsed``
        and ``n``.
    """
    column = {name: counts[..., place] for place, name in enumerate(COUNT_NAMES)}
    scores = {
        task: 100 * (column[f"correct/{task}"] + 2 * column[f"both/{task}"]) / column[f"n/{task}"]
        for task in MME_TASKS
    }
    return {
        "perception": torch.stack([scores[task] for task in MME_PERCEPTION]).sum(0),
        "cognition": torch.stack([scores[task] for task in MME_COGNITION]).sum(0),
        "task_mean": torch.stack(list(scores.values())).nanmean(0),
        "accuracy": column["correct"] / column["n"],
        **{f"score/{task}": score for task, score in scores.items()},
        "unparsed": column["unparsed"],
        "n": column["n"],
    }
