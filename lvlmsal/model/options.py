"""What `generate` takes, and what to type in place of options of transformers' own `generate`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from transformers import GenerationConfig, GenerationMixin
from transformers.generation.streamers import BaseStreamer

from lvlmsal.decoders.base import Decoder
from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.interventions.base import Intervention
from lvlmsal.model.components import Spec

Edits = Intervention | Spec | Sequence[Intervention | Spec]
"""Interventions in the order in which they act; one may stand in place of a list of one."""


class GenerateOptions(TypedDict, total=False):
    """Options of :meth:`lvlmsal.model.lvlm.Lvlm.generate`, which describes them."""

    decoder: Decoder | Spec
    interventions: Edits
    max_new_tokens: int
    seed: int
    sample_ids: Sequence[str]
    streamer: BaseStreamer | None


KNOWN = tuple(GenerateOptions.__annotations__)

# Options of transformers that are those of a decoder here.
_DECODERS = {
    "sample": ("temperature", "top_k", "top_p"),
    "beam": ("num_beams", "length_penalty"),
}


def listed(edits: Edits) -> Sequence[Intervention | Spec]:
    """Interventions as a list: a name, read as one, would be its letters."""
    return [edits] if isinstance(edits, str | Mapping | Intervention) else edits


def refuse_others(given: Mapping[str, Any]) -> None:
    """Refuse options that `generate` does not have, and say what to type in place of them.

    Args:
        given: The options.

    Raises:
        ConfigError: There are any; one sentence for each thing to do.

    Example:
        >>> refuse_others({"do_sample": True, "top_p": 0.9})
        Traceback (most recent call last):
        ...
        lvlmsal.errors.ConfigError: do_sample, top_p: write decoder={'name': 'sample', 'top_p': 0.9}
    """
    left = dict(given)
    problems = []
    draws = left.pop("do_sample", None)
    for name, options in _DECODERS.items():
        chosen = {option: left.pop(option) for option in options if option in left}
        if chosen or (name == "sample" and draws):
            told = ["do_sample"] * (name == "sample" and draws is not None)
            spec = {"name": name, **chosen}
            problems.append(f"{', '.join([*told, *chosen])}: write decoder={spec}")
        elif name == "sample" and draws is not None:
            problems.append("do_sample: leave it out; decoder='greedy', the default, draws nothing")
    if "max_length" in left:
        left.pop("max_length")
        problems.append("max_length: write max_new_tokens=, which does not count the prompt")
    problems += [_problem(name, value) for name, value in left.items()]
    if problems:
        raise ConfigError(problems)


def _problem(name: str, value: object) -> str:
    if name in GenerationConfig().to_dict():  # type: ignore[no-untyped-call]
        return f"{name}: set it for the model, lvlm.model.generation_config.{name} = {value!r}"
    if name in inspect.signature(GenerationMixin.generate).parameters:
        return (
            f"{name}: call transformers' own generate, lvlm.model.generate(**lvlm.adapter.encode("
            f"[[image]], [prompt]), {name}=...), within lvlmsal.intervene where there are edits"
        )
    return str(UnknownName("option of generate", name, KNOWN))
