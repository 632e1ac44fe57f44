"""Benchmarks, one folder each: files, counts, metric, samples, and a scorer of answer files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.amber.benchmark import Amber
    from lvlmsal.benchmarks.amber.scorer import AmberScorer
    from lvlmsal.benchmarks.base import Benchmark, Sample
    from lvlmsal.benchmarks.captions.benchmark import Captions
    from lvlmsal.benchmarks.captions.scorer import CaptionsScorer
    from lvlmsal.benchmarks.chair.benchmark import Chair
    from lvlmsal.benchmarks.chair.scorer import ChairScorer
    from lvlmsal.benchmarks.hallusionbench.benchmark import HallusionBench
    from lvlmsal.benchmarks.hallusionbench.scorer import HallusionBenchScorer
    from lvlmsal.benchmarks.llava_bench.benchmark import LlavaBench
    from lvlmsal.benchmarks.llava_bench.scorer import LlavaBenchScorer
    from lvlmsal.benchmarks.mm_vet.benchmark import MmVet
    from lvlmsal.benchmarks.mm_vet.scorer import MmVetScorer
    from lvlmsal.benchmarks.mme.benchmark import Mme
    from lvlmsal.benchmarks.mme.scorer import MmeScorer
    from lvlmsal.benchmarks.pope.benchmark import Pope
    from lvlmsal.benchmarks.pope.scorer import PopeScorer
    from lvlmsal.benchmarks.scienceqa.benchmark import Scienceqa
    from lvlmsal.benchmarks.scienceqa.scorer import ScienceqaScorer
    from lvlmsal.benchmarks.scorer import Scorer
    from lvlmsal.benchmarks.video_chatgpt.benchmark import VideoChatGpt
    from lvlmsal.benchmarks.video_chatgpt.scorer import VideoChatGptScorer
    from lvlmsal.benchmarks.video_qa.benchmark import ActivityNetQa, MsrvttQa, MsvdQa
    from lvlmsal.benchmarks.video_qa.scorer import VideoQaScorer
    from lvlmsal.benchmarks.vizwiz.benchmark import Vizwiz
    from lvlmsal.benchmarks.vizwiz.scorer import VizwizScorer
    from lvlmsal.pocket.statements.benchmark import Statements

__all__ = [
    "ActivityNetQa",
    "Amber",
    "AmberScorer",
    "Benchmark",
    "Captions",
    "CaptionsScorer",
    "Chair",
    "ChairScorer",
    "HallusionBench",
    "HallusionBenchScorer",
    "LlavaBench",
    "LlavaBenchScorer",
    "MmVet",
    "MmVetScorer",
    "Mme",
    "MmeScorer",
    "MsrvttQa",
    "MsvdQa",
    "Pope",
    "PopeScorer",
    "Sample",
    "Scienceqa",
    "ScienceqaScorer",
    "Scorer",
    "Statements",
    "VideoChatGpt",
    "VideoChatGptScorer",
    "VideoQaScorer",
    "Vizwiz",
    "VizwizScorer",
]

# Where each name is defined; a test compares it with the imports above and the registries.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ActivityNetQa": ".video_qa.benchmark",
        "Amber": ".amber.benchmark",
        "AmberScorer": ".amber.scorer",
        "Benchmark": ".base",
        "Captions": ".captions.benchmark",
        "CaptionsScorer": ".captions.scorer",
        "Chair": ".chair.benchmark",
        "ChairScorer": ".chair.scorer",
        "HallusionBench": ".hallusionbench.benchmark",
        "HallusionBenchScorer": ".hallusionbench.scorer",
        "LlavaBench": ".llava_bench.benchmark",
        "LlavaBenchScorer": ".llava_bench.scorer",
        "MmVet": ".mm_vet.benchmark",
        "MmVetScorer": ".mm_vet.scorer",
        "Mme": ".mme.benchmark",
        "MmeScorer": ".mme.scorer",
        "MsrvttQa": ".video_qa.benchmark",
        "MsvdQa": ".video_qa.benchmark",
        "Pope": ".pope.benchmark",
        "PopeScorer": ".pope.scorer",
        "Sample": ".base",
        "Scienceqa": ".scienceqa.benchmark",
        "ScienceqaScorer": ".scienceqa.scorer",
        "Scorer": ".scorer",
        "Statements": "lvlmsal.pocket.statements.benchmark",
        "VideoChatGpt": ".video_chatgpt.benchmark",
        "VideoChatGptScorer": ".video_chatgpt.scorer",
        "VideoQaScorer": ".video_qa.scorer",
        "Vizwiz": ".vizwiz.benchmark",
        "VizwizScorer": ".vizwiz.scorer",
    },
)
