"""Metrics over answers and captions, the rules that read them, and their uncertainty.

`Pope` and `Chair` are torchmetrics classes; `lvlmsal.metrics.functional` has the same as plain
functions; `lvlmsal.scorers` scores files that were made elsewhere.
"""

from lvlmsal.metrics.amber import AmberDiscriminative, AmberGenerative
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.chair import Chair
from lvlmsal.metrics.choices import CHOICE_RULES, ChoiceRule
from lvlmsal.metrics.cider import Cider
from lvlmsal.metrics.hallusionbench import HallusionBench
from lvlmsal.metrics.judged import JudgedMetric, JudgeRequest
from lvlmsal.metrics.llava_bench import LlavaBench
from lvlmsal.metrics.mcnemar import McNemar, mcnemar
from lvlmsal.metrics.mm_vet import MmVet
from lvlmsal.metrics.mme import Mme
from lvlmsal.metrics.parsers import PARSERS, AnswerParser, get_parser
from lvlmsal.metrics.pope import Pope
from lvlmsal.metrics.ranking import (
    MannWhitney,
    auroc,
    auroc_differences,
    auroc_intervals,
    mann_whitney,
    rank_correlation,
)
from lvlmsal.metrics.scienceqa import Scienceqa
from lvlmsal.metrics.statistics import (
    Interval,
    bootstrap_interval,
    figure_intervals,
    paired_difference,
    wilson,
)
from lvlmsal.metrics.video_chatgpt import VideoChatGpt
from lvlmsal.metrics.video_qa import VideoQa
from lvlmsal.metrics.vizwiz import VQA_RULES, Vizwiz, VqaRule
from lvlmsal.metrics.vocabulary import Vocabulary

__all__ = [
    "CHOICE_RULES",
    "PARSERS",
    "VQA_RULES",
    "AmberDiscriminative",
    "AmberGenerative",
    "AnswerParser",
    "Chair",
    "ChoiceRule",
    "Cider",
    "CountMetric",
    "HallusionBench",
    "Interval",
    "JudgeRequest",
    "JudgedMetric",
    "LlavaBench",
    "MannWhitney",
    "McNemar",
    "MmVet",
    "Mme",
    "Pope",
    "Scienceqa",
    "VideoChatGpt",
    "VideoQa",
    "Vizwiz",
    "Vocabulary",
    "VqaRule",
    "auroc",
    "auroc_differences",
    "auroc_intervals",
    "bootstrap_interval",
    "figure_intervals",
    "get_parser",
    "mann_whitney",
    "mcnemar",
    "paired_difference",
    "rank_correlation",
    "wilson",
]
