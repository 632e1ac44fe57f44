"""A model of one's own, built on LLaVA, and its adapter: a family that only renames."""

from typing import ClassVar

from transformers import LlavaForConditionalGeneration

from lvlmsal.adapters.llava import LlavaAdapter


class ExampleForConditionalGeneration(LlavaForConditionalGeneration):
    """Stands for a model class that this package would bring along."""


class ExampleAdapter(LlavaAdapter):
    """Everything is where LLaVA has it."""

    architectures: ClassVar[tuple[str, ...]] = ("ExampleForConditionalGeneration",)
    family: ClassVar[str] = "Example"
    summary: ClassVar[str] = "a LLaVA under another name"
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
