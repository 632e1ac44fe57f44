"""The answers that pictures show: the first one of each model and method with both kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lvlmsal.analysis.described_run import DescribedRun, judged
from lvlmsal.analysis.labels import Mention, object_labels, object_mentions
from lvlmsal.analysis.output import Cell
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.run.replay import Replayed
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.saliency.options import SaliencyOptions


@dataclass(frozen=True)
class Example:
    """An answer and the tokens of it that pictures look at.

    Attributes:
        answer: With its report.
        labels: Of its tokens.
        tokens: Indices of the chosen tokens.
    """

    answer: Replayed
    labels: list[bool | None]
    tokens: list[int]


class Examples:
    """Keeps an answer of each model, method and benchmark while all of them go by.

    By default that is the first answer with a hallucinated and a correct mention, so that nobody
    picks it by its looks, and the tokens are the first mention of each kind.

    Args:
        sample: Id of the sample to take instead.
        tokens: Indices of the tokens to take instead; 0 has no answer before it.
    """

    def __init__(self, sample: str | None = None, tokens: Sequence[int] = ()) -> None:
        self._sample, self._tokens = sample, list(tokens)
        self.found: dict[Cell, Example] = {}

    def offer(self, answer: Replayed, vocabulary: Vocabulary) -> None:
        """Keep an answer if it is the one.

        Raises:
            ConfigError: It is the one that was asked for and has no such tokens.
        """
        if answer.cell in self.found or self._sample not in (None, answer.sample.id):
            return
        truth, report = answer.sample.target, answer.report
        tokens = self._tokens or _firsts(object_mentions(report, truth, vocabulary))
        if self._sample is None and not self._tokens and len(tokens) < 2:
            return
        wrong = [token for token in tokens if not 0 < token < len(report.tokens)]
        if wrong or not tokens:
            listed = ", ".join(f"{i} {text!r}" for i, text in enumerate(report.tokens))
            raise ConfigError(
                [
                    f"--token: choose from 1 to {len(report.tokens) - 1} for sample "
                    f"{answer.sample.id}; its tokens are {listed}"
                ]
            )
        self.found[answer.cell] = Example(answer, object_labels(report, truth, vocabulary), tokens)


def labeled(
    run: DescribedRun,
    options: SaliencyOptions,
    examples: Examples,
    *,
    lvlms: Mapping[str, Lvlm] | None = None,
) -> Iterator[tuple[Replayed, list[Mention]]]:
    """Every description of a run with its saliency and mentions, each offered as an example.

    Args:
        run: See `describe`.
        options: Which saliency.
        examples: Keeps the answers that will be drawn.
        lvlms: Models that are already loaded, by name.
    """
    for answer in judged(run, options, lvlms=lvlms):
        vocabulary = run.vocabularies[answer.record["benchmark"]]
        yield answer, object_mentions(answer.report, answer.sample.target, vocabulary)
        examples.offer(answer, vocabulary)


def file_stem(cell: Cell) -> str:
    """A cell as the beginning of a file's name.

    Example:
        >>> file_stem(("pocket-llava", "greedy + LocoRE", "chair"))
        'pocket-llava-greedy-LocoRE-chair'
    """
    return re.sub(r"[^\w.]+", "-", "-".join(cell)).strip("-")


def _firsts(mentions: Sequence[Mention]) -> list[int]:
    """The first correct and the first hallucinated mention, as far as there are both."""
    firsts: dict[bool, int] = {}
    for mention in mentions:
        if mention.start > 0:
            firsts.setdefault(mention.hallucinated, mention.start)
    return [firsts[kind] for kind in (False, True) if kind in firsts]
