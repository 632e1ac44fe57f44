"""The two classes that lmms-eval builds: its own model inside, a method on it.

Prompts, images, batches and the reading of answers are those of lmms-eval's own class, so that what
a method does is all that differs from a run of that class.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lmms_eval.api.model import lmms
from lmms_eval.models import get_model
from torch import nn

from lvlmsal.errors import LvlmsalError, UnsupportedError
from lvlmsal.lmms_eval.documents import Documents, Place
from lvlmsal.lmms_eval.method import Method, Stopped
from lvlmsal.lmms_eval.options import read_options
from lvlmsal.lmms_eval.records import RecordFile

_PROCESSORS = ("processor", "_processor", "_image_processor", "image_processor")


class ChatModel(lmms):  # type: ignore[misc]  # it ships no types
    """``--model lvlmsal``: a model of lmms-eval with a method of this library.

    With neither decoder nor interventions, the model inside is left alone.

    Args:
        base: Name of lmms-eval's own model, such as ``llava_hf``.
        decoder: How tokens are chosen; a name, or a JSON object with options. Without one, the
            base and the task choose.
        interventions: ``locore+vcd``, or JSON.
        seed: What random numbers of the decoder depend on.
        records: Path of a JSONL file for token records.
        **arguments: Of the base.

    Raises:
        LvlmsalError: Options, a base or a model that no method can act in.
    """

    is_simple = False

    def __init__(
        self,
        base: str | None = None,
        decoder: Any = None,
        interventions: Any = None,
        seed: Any = 0,
        records: Any = None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        options = read_options(base, decoder, interventions, seed, records)
        kind = get_model(options.base, force_simple=type(self).is_simple)
        # Some have one form only: requests are made for the form that is inside.
        self.is_simple = kind.is_simple
        self.inner = kind(**arguments)
        self._rank, self._world_size = self.inner.rank, self.inner.world_size
        self.device = getattr(self.inner, "device", "cpu")
        if hasattr(self.inner, "accelerator"):
            self.accelerator = self.inner.accelerator
        model = _torch_model(self.inner, options.base)
        self.answered: Counter[Place] = Counter()
        self.method: Method | None = None
        self.records: RecordFile | None = None
        if options.has_method:
            self.method = Method(model, _processor(self.inner, options.base), options)
        if options.records is not None:
            rank = int(os.environ.get("RANK", self._rank))
            self.records = RecordFile(options.records, rank)

    def generate_until(self, requests: list[Any]) -> list[Any]:
        """Answers of the model inside."""
        return self._handed_on("generate_until", requests)

    def generate_until_multi_round(self, requests: list[Any]) -> list[Any]:
        """Answers of the model inside, to questions that depend on earlier answers."""
        return self._handed_on("generate_until_multi_round", requests)

    def generate_visual_cot(self, requests: list[Any]) -> list[Any]:
        """Answers of the model inside, to images that it draws first."""
        return self._handed_on("generate_visual_cot", requests)

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        """Log-likelihoods by the model inside.

        Raises:
            UnsupportedError: A method is on, which acts where an answer is generated.
        """
        if self.method is not None:
            raise UnsupportedError(
                "this task compares log-likelihoods of given answers, for which nothing is "
                "generated, so a method would not act: leave decoder= and interventions= out, or "
                "choose a task with output_type: generate_until"
            )
        return self._handed_on("loglikelihood", requests)

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Of this model, and of the one inside."""
        super().set_cache_hook(cache_hook)
        self.inner.set_cache_hook(cache_hook)

    def clean(self) -> None:
        """Let go of the model."""
        self.method = None
        self.inner.clean()
        super().clean()

    def _handed_on(self, kind: str, requests: list[Any]) -> list[Any]:
        """Let the model inside answer.

        Raises:
            LvlmsalError: The method failed; without one, what fails is the base's own affair.
        """
        self.inner.task_dict = self.task_dict
        self.inner._rank, self.inner._world_size = self._rank, self._world_size
        if self.method is None:
            return list(getattr(self.inner, kind)(requests))
        # Copies that fill up a process: they come last and are no answers.
        proper = [each for each in requests if not (each.metadata or {}).get("__padding_only__")]
        fillers = requests[len(proper) :]
        answers = self._answered(self.method, kind, proper, self.records) if proper else []
        return answers + (self._answered(self.method, kind, fillers, None) if fillers else [])

    def _answered(
        self, method: Method, kind: str, requests: Sequence[Any], records: RecordFile | None
    ) -> list[Any]:
        method.records = records
        method.documents = Documents(self.task_dict, self.answered)
        self.inner.task_dict = method.documents
        try:
            answers = list(getattr(self.inner, kind)(list(requests)))
        except Stopped as stopped:
            raise _reason(stopped.error) from stopped.error
        if method.failure is not None:  # somebody has caught everything
            raise _reason(method.failure) from method.failure
        return answers


class SimpleModel(ChatModel):
    """The same with requests of lmms-eval's simple form (``--force_simple``)."""

    is_simple = True


def _reason(error: BaseException) -> BaseException:
    """What ends the run: an error of this library as it is, another one with its kind."""
    if isinstance(error, LvlmsalError) or not isinstance(error, Exception):
        return error
    return LvlmsalError(
        f"the method failed, and lmms-eval would have taken this for an empty answer: "
        f"{type(error).__name__}: {error}"
    )


def _torch_model(inner: Any, base: str) -> nn.Module:
    """The model that the base calls ``generate`` of."""
    model = getattr(inner, "model", None)
    if isinstance(model, nn.Module) and hasattr(model, "generate"):
        return model
    raise UnsupportedError(
        f"base={base} holds {type(model).__name__} as its model, expected a torch model with a "
        "generate method: take a model of lmms-eval that runs on transformers, such as llava_hf, "
        "qwen2_vl or qwen2_5_vl"
    )


def _processor(inner: Any, base: str) -> Any:
    """The processor of the base, which has a tokenizer."""
    for name in _PROCESSORS:
        processor = getattr(inner, name, None)
        if hasattr(processor, "tokenizer"):
            return processor
    raise UnsupportedError(
        f"base={base} has no processor of transformers as {' or '.join(_PROCESSORS)}, which "
        "methods read prompts with: take another one, such as llava_hf, qwen2_vl or qwen2_5_vl"
    )
