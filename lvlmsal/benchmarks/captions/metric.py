"""CIDEr-D of captions, with BLEU and ROUGE-L next to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.benchmarks.captions.ngrams import (
    NGRAMS,
    Tokenizer,
    bleu_counts,
    caption_tokens,
    require_pycocoevalcap,
)
from lvlmsal.metrics.base import SetMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.progress import track
from lvlmsal.registry import METRICS

_SIZES = range(1, NGRAMS + 1)


@METRICS.register("captions")
@dataclass(eq=False)
class CaptionsMetric(SetMetric):
    """CIDEr-D of captions: how much they say what people say of this image and not of others.

    Targets are lists of reference captions. CIDEr-D and ROUGE-L are those of pycocoevalcap, means
    over captions. CIDEr-D goes from 0 to 10, as the package gives it; papers show it times 100.
    BLEU is that of the whole set, by the formula of the same package.

    How telling an n-gram is depends on how many images of the evaluated set have it among their
    references, so figures of different sets do not compare. A set of one image has no such thing
    as a telling n-gram: its CIDEr is undefined (nan). pycocoevalcap gives 0 there, even for a
    perfect caption. Intervals resample captions and keep the n-grams' weights.

    Args:
        tokenizer: ``"plain"``, or ``"ptb"`` for that of COCO's evaluation, which needs Java; see
            `lvlmsal.benchmarks.captions.ngrams.caption_tokens`.

    Raises:
        UnsupportedError: The extra ``captions``, or Java, is needed and missing.

    Example:
        >>> metric = CaptionsMetric()
        >>> references = [["a dog runs"], ["three birds fly"]]
        >>> figures = metric.score(["A dog runs.", "Two cats"], references)
        >>> {name: round(figures[name].item(), 3) for name in ("cider", "bleu_1", "rouge_l")}
        {'cider': 3.75, 'bleu_1': 0.491, 'rouge_l': 0.5}
    """

    summary: ClassVar[str] = "captions against reference captions: CIDEr-D, BLEU, ROUGE-L"
    paper: ClassVar[str] = "CIDEr: Consensus-based Image Description Evaluation"
    url: ClassVar[str] = "https://github.com/salaniz/pycocoevalcap"
    count_names: ClassVar[tuple[str, ...]] = (
        "captions",
        "weighed",
        "cider",
        "rouge_l",
        "tokens",
        "reference_tokens",
        *(f"{part}_{size}" for size in _SIZES for part in ("ngrams", "matches")),
    )
    figure_info: ClassVar[dict[str, bool | None]] = {
        "cider": True,
        **{f"bleu_{size}": True for size in _SIZES},
        "rouge_l": True,
        "length": None,
        "n": None,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("cider", "CIDEr"),
        Column("bleu_4", "BLEU-4"),
        Column("rouge_l", "ROUGE-L"),
        Column("length", "length", percent=False),
    )

    tokenizer: Tokenizer = "plain"

    def __post_init__(self) -> None:
        self._package = require_pycocoevalcap(self.tokenizer)

    @property
    def variant(self) -> str:
        """Which code and which tokens; figures of different variants do not compare."""
        tokens = {
            "plain": "words in lower case without marks",
            "ptb": "the Penn Treebank tokenizer of COCO's evaluation",
        }
        return f"CIDEr-D of {self._package}, {tokens[self.tokenizer]}"

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """Scores of captions among one another; nothing is weighed in a set of one."""
        said, references = self._tokens(answers, targets)
        weights = _ciders(said, references)
        rows = [
            [
                1.0,
                len(said) > 1,
                weight,
                _rouge(caption, others),
                *bleu_counts(caption, others),
            ]
            for caption, others, weight in track(
                list(zip(said, references, weights, strict=True)), "captions"
            )
        ]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(self.count_names))

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See the class; nan where there is nothing to divide by."""
        captions, weighed, cider, rouge, tokens, others, *columns = counts.unbind(-1)
        # pycocoevalcap's own small numbers, so that its figures come out
        tiny, small = 1e-15, 1e-9
        shortness = torch.clamp(1 - (others + small) / (tokens + tiny), max=0).exp()
        product = captions / captions  # 1, or nan of no captions
        bleu = {}
        for size in _SIZES:
            possible, matched = columns[2 * size - 2 : 2 * size]
            product = product * (matched + tiny) / (possible + small)
            bleu[f"bleu_{size}"] = product ** (1 / size) * shortness
        return {
            "cider": cider / weighed,
            **bleu,
            "rouge_l": rouge / captions,
            "length": tokens / captions,
            "n": captions,
        }

    def _tokens(
        self, answers: Sequence[str], targets: Sequence[Any]
    ) -> tuple[list[str], list[list[str]]]:
        """Captions and references as tokens, in one run of the tokenizer."""
        for target in targets:
            if isinstance(target, str) or not isinstance(target, Sequence) or not target:
                raise ValueError(
                    f"a target must be a list of at least one reference caption, got {target!r}"
                )
        flat = [text for target in targets for text in target]
        tokens = caption_tokens([*answers, *flat], self.tokenizer)
        rest = iter(tokens[len(answers) :])
        return tokens[: len(answers)], [[next(rest) for _ in target] for target in targets]


def _ciders(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each caption; 0 where the set or its references are too small for weights."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    if len(captions) < 2 or not any(text for others in references for text in others):
        return [0.0] * len(captions)
    scorer = CiderScorer(n=NGRAMS, sigma=6.0)
    for caption, others in zip(captions, references, strict=True):
        scorer += (caption, list(others))
    _, scores = scorer.compute_score()
    return [float(score) for score in scores]


def _rouge(caption: str, references: Sequence[str]) -> float:
    """ROUGE-L of a caption."""
    from pycocoevalcap.rouge.rouge import Rouge

    return float(Rouge().calc_score([caption], list(references)))
