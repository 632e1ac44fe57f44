"""What the metrics of all benchmarks share: counts, judges, and the rules that read answers.

The metric of a benchmark lies in the folder of the benchmark, such as `lvlmsal.benchmarks.pope`;
its class is among the names of this package all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.amber.metric import AmberDiscriminativeMetric, AmberGenerativeMetric
    from lvlmsal.benchmarks.captions.metric import CaptionsMetric
    from lvlmsal.benchmarks.chair.metric import ChairMetric
    from lvlmsal.benchmarks.hallusionbench.metric import HallusionBenchMetric
    from lvlmsal.benchmarks.llava_bench.metric import LlavaBenchMetric
    from lvlmsal.benchmarks.mm_vet.metric import MmVetMetric
    from lvlmsal.benchmarks.mme.metric import MmeMetric
    from lvlmsal.benchmarks.pope.metric import PopeMetric
    from lvlmsal.benchmarks.scienceqa.metric import ScienceqaMetric
    from lvlmsal.benchmarks.video_chatgpt.metric import VideoChatGptMetric
    from lvlmsal.benchmarks.video_qa.metric import VideoQaMetric
    from lvlmsal.benchmarks.vizwiz.metric import VizwizMetric
    from lvlmsal.metrics.answer_parsers import PARSERS, AnswerParser, get_parser
    from lvlmsal.metrics.base import CountMetric
    from lvlmsal.metrics.columns import Column
    from lvlmsal.metrics.judged import JudgedMetric, JudgeRequest
    from lvlmsal.pocket.statements.metric import StatementsMetric

__all__ = [
    "PARSERS",
    "AmberDiscriminativeMetric",
    "AmberGenerativeMetric",
    "AnswerParser",
    "CaptionsMetric",
    "ChairMetric",
    "Column",
    "CountMetric",
    "HallusionBenchMetric",
    "JudgeRequest",
    "JudgedMetric",
    "LlavaBenchMetric",
    "MmVetMetric",
    "MmeMetric",
    "PopeMetric",
    "ScienceqaMetric",
    "StatementsMetric",
    "VideoChatGptMetric",
    "VideoQaMetric",
    "VizwizMetric",
    "get_parser",
]

# Where each name is defined; a test compares it with the imports above and the registries.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AmberDiscriminativeMetric": "lvlmsal.benchmarks.amber.metric",
        "AmberGenerativeMetric": "lvlmsal.benchmarks.amber.metric",
        "AnswerParser": ".answer_parsers",
        "CaptionsMetric": "lvlmsal.benchmarks.captions.metric",
        "ChairMetric": "lvlmsal.benchmarks.chair.metric",
        "Column": ".columns",
        "CountMetric": ".base",
        "HallusionBenchMetric": "lvlmsal.benchmarks.hallusionbench.metric",
        "JudgeRequest": ".judged",
        "JudgedMetric": ".judged",
        "LlavaBenchMetric": "lvlmsal.benchmarks.llava_bench.metric",
        "MmVetMetric": "lvlmsal.benchmarks.mm_vet.metric",
        "MmeMetric": "lvlmsal.benchmarks.mme.metric",
        "PARSERS": ".answer_parsers",
        "PopeMetric": "lvlmsal.benchmarks.pope.metric",
        "ScienceqaMetric": "lvlmsal.benchmarks.scienceqa.metric",
        "StatementsMetric": "lvlmsal.pocket.statements.metric",
        "VideoChatGptMetric": "lvlmsal.benchmarks.video_chatgpt.metric",
        "VideoQaMetric": "lvlmsal.benchmarks.video_qa.metric",
        "VizwizMetric": "lvlmsal.benchmarks.vizwiz.metric",
        "get_parser": ".answer_parsers",
    },
)
