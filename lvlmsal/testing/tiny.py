"""Tiny random models for tests of plugins; they are built in `lvlmsal.tiny`."""

from lvlmsal.tiny.models import TINY, VOCABULARY, tiny_lvlm, tiny_model
from lvlmsal.tiny.samples import (
    IMAGE,
    IMAGE_END,
    IMAGE_START,
    VIDEO,
    TinySample,
    collate,
    tiny_inputs,
    tiny_samples,
)

__all__ = [
    "IMAGE",
    "IMAGE_END",
    "IMAGE_START",
    "TINY",
    "VIDEO",
    "VOCABULARY",
    "TinySample",
    "collate",
    "tiny_inputs",
    "tiny_lvlm",
    "tiny_model",
    "tiny_samples",
]
