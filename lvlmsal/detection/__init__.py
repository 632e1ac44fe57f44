"""Which words of an answer are wrong: detectors that share one pass, and what they find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.detection.asking import AskingDetector, Respondent
    from lvlmsal.detection.attention_detectors import PAS, RAUQ, SVAR, Lookback
    from lvlmsal.detection.base import Detector
    from lvlmsal.detection.blank_image import BlankImage
    from lvlmsal.detection.columns import READINGS, Columns, Need
    from lvlmsal.detection.confidence import Entropy, LogProbability, Margin, Perplexity, Position
    from lvlmsal.detection.early_lens import EarlyLens
    from lvlmsal.detection.ensemble import Ensemble
    from lvlmsal.detection.habit_lens import HabitLens
    from lvlmsal.detection.lens_detectors import ContextualLens, InternalConfidence, RowLens
    from lvlmsal.detection.metatoken import MetaToken
    from lvlmsal.detection.probes import DHCP, HiddenStateProbe, LookbackLens
    from lvlmsal.detection.result import Detection, JudgedWord
    from lvlmsal.detection.saliency_detectors import Saliency, SaliencyMagnitude
    from lvlmsal.detection.sampled_consistency import SampledConsistency
    from lvlmsal.detection.self_question import SelfQuestion
    from lvlmsal.detection.semantic_entropy import SemanticEntropy
    from lvlmsal.detection.similarity_detectors import GLSim, InstructionLens

__all__ = [
    "DHCP",
    "PAS",
    "RAUQ",
    "READINGS",
    "SVAR",
    "AskingDetector",
    "BlankImage",
    "Columns",
    "ContextualLens",
    "Detection",
    "Detector",
    "EarlyLens",
    "Ensemble",
    "Entropy",
    "GLSim",
    "HabitLens",
    "HiddenStateProbe",
    "InstructionLens",
    "InternalConfidence",
    "JudgedWord",
    "LogProbability",
    "Lookback",
    "LookbackLens",
    "Margin",
    "MetaToken",
    "Need",
    "Perplexity",
    "Position",
    "Respondent",
    "RowLens",
    "Saliency",
    "SaliencyMagnitude",
    "SampledConsistency",
    "SelfQuestion",
    "SemanticEntropy",
]

# Where each name is defined; a test compares it with the imports above and the registries.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AskingDetector": ".asking",
        "Respondent": ".asking",
        "DHCP": ".probes",
        "SampledConsistency": ".sampled_consistency",
        "SelfQuestion": ".self_question",
        "SemanticEntropy": ".semantic_entropy",
        "BlankImage": ".blank_image",
        "GLSim": ".similarity_detectors",
        "InstructionLens": ".similarity_detectors",
        "HiddenStateProbe": ".probes",
        "LookbackLens": ".probes",
        "MetaToken": ".metatoken",
        "HabitLens": ".habit_lens",
        "Columns": ".columns",
        "ContextualLens": ".lens_detectors",
        "Detection": ".result",
        "Detector": ".base",
        "EarlyLens": ".early_lens",
        "Ensemble": ".ensemble",
        "Entropy": ".confidence",
        "InternalConfidence": ".lens_detectors",
        "JudgedWord": ".result",
        "LogProbability": ".confidence",
        "Lookback": ".attention_detectors",
        "Margin": ".confidence",
        "Need": ".columns",
        "PAS": ".attention_detectors",
        "Perplexity": ".confidence",
        "Position": ".confidence",
        "RAUQ": ".attention_detectors",
        "READINGS": ".columns",
        "RowLens": ".lens_detectors",
        "SVAR": ".attention_detectors",
        "Saliency": ".saliency_detectors",
        "SaliencyMagnitude": ".saliency_detectors",
    },
)
