"""What the metrics of all benchmarks share: counts, judges, and the rules that read answers.

The metric of a benchmark lies in the folder of the benchmark, such as `lvlmsal.benchmarks.pope`.
"""

from lvlmsal.metrics.answer_parsers import PARSERS, AnswerParser, get_parser
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.metrics.judged import JudgedMetric, JudgeRequest

__all__ = [
    "PARSERS",
    "AnswerParser",
    "Column",
    "CountMetric",
    "JudgeRequest",
    "JudgedMetric",
    "get_parser",
]
