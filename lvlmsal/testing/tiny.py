"""Tiny random models for tests of plugins; they are built in `lvlmsal.tiny`."""

from lvlmsal.tiny.models import FURTHER, TINY, VOCABULARY, tiny_lvlm, tiny_model
from lvlmsal.tiny.parts import IMAGE, IMAGE_END, IMAGE_START, VIDEO
from lvlmsal.tiny.samples import TinySample, collate, tiny_inputs, tiny_samples

__all__ = [
    "FURTHER",
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
