"""HallusionBench: result files with the judge's verdicts, or with answers alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, get_args

from torch import Tensor

from lvlmsal.benchmarks.answers.judge_reply_files import give_replies
from lvlmsal.benchmarks.hallusionbench.files import HallusionQuestion, read_hallusionbench
from lvlmsal.benchmarks.hallusionbench.metric import HallusionBenchMetric as HallusionMetric
from lvlmsal.benchmarks.hallusionbench.metric import HallusionRule
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers, rules_named
from lvlmsal.errors import DataError
from lvlmsal.metrics.judge_prompts import OWN
from lvlmsal.readers.rows import listed
from lvlmsal.registry import SCORERS


@SCORERS.register("hallusionbench")
@dataclass(kw_only=True)
class HallusionBenchScorer(Scorer):
    """A result file in the layout of HallusionBench: the question file with more keys.

    Args:
        results: Result file, such as HallusionBench_result.json.
        questions: The official question file, to find missing and unknown questions; without it
            the results are taken to be complete.
        rule: judge (official), or strict, lmms-eval, vlmevalkit, which read the answers.
        rules: Rules that read the answers, to show more figures under, comma-separated: strict,
            lmms-eval, vlmevalkit; ``all`` for every one.
        replies: With the rule judge: file of the judge's replies, by id (such as VD_ocr_0_1_2) or
            key; without it the verdicts in the results are taken.
        judge: Which judge counts where the replies are those of several: its model.
        verdict_key: Key of the verdicts: 0 wrong, 1 right, 2 unclear.
        answer_key: Key of the answers.
        judge_prompt: The prompt that replies by key were fetched with.
        seed: Seed of the intervals.
    """

    summary: ClassVar[str] = "HallusionBench results: aAcc, qAcc, fAcc, yes bias."
    paper: ClassVar[str] = "Guan et al., HallusionBench, CVPR 2024"
    url: ClassVar[str] = "https://github.com/tianyi-lab/HallusionBench"

    results: Path
    questions: Path | None = None
    rule: HallusionRule = "judge"
    rules: str = ""
    replies: Path | None = None
    judge: str = ""
    verdict_key: str = "gpt4v_output_gpt_check"
    answer_key: str = "model_prediction"
    judge_prompt: str = OWN
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: There are replies of a judge, and a rule that asks none.
            UnknownName: One of `rules` reads no answers.
        """
        if self.replies is not None and self.rule != "judge":
            raise ValueError(f"replies are of a judge, and the rule {self.rule!r} asks no judge")
        self._rules()

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`; ``categories`` holds VD, VS and every subcategory."""
        metric = HallusionMetric(rule=self.rule, judge_prompt=self.judge_prompt)
        items = read_hallusionbench(self.results)
        if self.questions is not None:
            _compare(items, read_hallusionbench(self.questions), self.results)
        rows, warnings = self._rows(metric, items)
        names = [(item.category, f"{item.category} {item.subcategory}") for item in items]
        kinds = list(dict.fromkeys(name for pair in sorted(names) for name in pair))
        groups = [item.group for item in items]
        result: dict[str, Any] = {
            "metric": "hallusionbench",
            "variant": metric.variant if self._asks else self._source,
            **numbers(metric, rows),
            "intervals": bounds(metric, rows, groups, self.seed),
            "categories": {
                kind: numbers(metric, rows[[kind in pair for pair in names]]) for kind in kinds
            },
            "warnings": [*warnings, *metric.unread(rows)],
        }
        if rules := self._rules():
            said = [item.row.text(self.answer_key) for item in items]
            targets = [item.target for item in items]
            metrics = {name: HallusionMetric(rule=name) for name in rules}
            result["rules"] = {
                name: numbers(rule, rule.rows(said, targets)) for name, rule in metrics.items()
            }
        return result

    def _rules(self) -> list[HallusionRule]:
        """The rules of the option; that of a judge has no verdict but the one of `rule`."""
        reading = {name: name for name in get_args(HallusionRule) if name != "judge"}
        return [reading[name] for name in rules_named("rule", self.rules, reading)]

    @property
    def _asks(self) -> bool:
        """Whether the metric reads answers; otherwise the verdicts are in the file."""
        return self.rule != "judge" or self.replies is not None

    @property
    def _source(self) -> str:
        return f"judge, verdicts of the file under {self.verdict_key}"

    def _rows(
        self, metric: HallusionMetric, items: list[HallusionQuestion]
    ) -> tuple[Tensor, list[str]]:
        targets = [item.target for item in items]
        if not self._asks:
            return metric.rows_of_verdicts([self._verdict(item) for item in items], targets), []
        answers = [item.row.text(self.answer_key) for item in items]
        warnings: list[str] = []
        if self.replies is not None:
            asks = {
                item.id: partial(metric.requests, answer, item.target)
                for item, answer in zip(items, answers, strict=True)
            }
            warnings = give_replies(metric, self.replies, asks, judge=self.judge)
        return metric.rows(answers, targets), warnings

    def _verdict(self, item: HallusionQuestion) -> int:
        if self.verdict_key not in item.row.data:
            raise item.row.error(
                f"there is no verdict under {self.verdict_key!r}: name its key "
                "(--verdict-key), give the judge's replies (--replies), or choose a rule that "
                "reads the answers (--rule strict, lmms-eval or vlmevalkit)"
            )
        value = item.row.identifier(self.verdict_key)
        if value not in (0, 1, 2):
            raise item.row.error(
                f"{self.verdict_key!r} must be 0 (wrong), 1 (right) or 2 (unclear), got {value!r}"
            )
        return int(value)


def _compare(items: list[HallusionQuestion], asked: list[HallusionQuestion], results: Path) -> None:
    """Refuse results that are not those of the questions."""
    wanted = {question.key: question for question in asked}
    for item in items:
        if item.key not in wanted:
            raise item.row.error(f"the question {item.id} is not in the question file")
        if item.answer != wanted[item.key].answer:
            raise item.row.error(
                f"{item.id} has gt_answer {item.answer}, the question file "
                f"{wanted[item.key].answer}: these are results of another release"
            )
    if missing := sorted(wanted.keys() - {item.key for item in items}):
        raise DataError(
            f"{len(missing)} of {len(asked)} questions have no result: "
            f"{listed('_'.join(key) for key in missing)}",
            path=results,
        )
