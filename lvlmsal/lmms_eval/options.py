"""What `--model_args` of lmms-eval says to this package, and what it says to the base."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.check import component_problems
from lvlmsal.evaluation.config.schema import MethodConfig
from lvlmsal.registry.methods import Ways

EXAMPLE: Final = "--model_args pretrained=...,base=llava_hf,decoder=sgrs,interventions=locore+vcd"

_WRITTEN: Final[Ways] = {"decoder": "decoder={}", "intervention": "interventions={}"}

_ELSEWHERE: Final = (
    *("vllm", "vllm_generate", "sglang", "llava_sglang", "whisper_vllm", "aero_realtime_vllm"),
    *("openai", "async_openai", "litellm", "gemini", "claude", "gpt4v", "reka", "batch_gpt4"),
    *("qwen_vl_api", "srt_api", "generation_api", "gpt4o_audio", "dummy", "from_log"),
)
"""Models of lmms-eval that run in a server or an engine of their own, or do not run at all."""


@dataclass(frozen=True)
class Options:
    """What was asked for.

    Attributes:
        base: Name of lmms-eval's own model.
        decoder: ``name`` and options; None leaves the choice of tokens to the base and the task.
        interventions: The same for each, in the order in which they act.
        seed: What random numbers of the decoder depend on.
        records: Where token records go; None keeps none.
    """

    base: str
    decoder: dict[str, Any] | None = None
    interventions: tuple[dict[str, Any], ...] = ()
    seed: int = 0
    records: Path | None = None

    @property
    def has_method(self) -> bool:
        """Whether anything is to be done otherwise than the base does it."""
        return self.decoder is not None or bool(self.interventions)


def read_options(
    base: object, decoder: object, interventions: object, seed: object, records: object
) -> Options:
    """Read the values as lmms-eval hands them over: text, or what it took for a number or a bool.

    Args:
        base: A name.
        decoder: A name, or a JSON object with `name` and options.
        interventions: Names with ``+`` between them, a JSON object, or a JSON list of either.
        seed: A number.
        records: A path.

    Raises:
        ConfigError: Anything is wrong; all problems together.

    >>> read_options("llava_hf", "sgrs", "locore+vcd", 0, None).interventions
    ({'name': 'locore'}, {'name': 'vcd'})
    """
    problems: list[str] = []
    name = "" if base is None else str(base)
    if not name:
        problems.append(
            "base: says which model of lmms-eval is run, and none is named: write for instance "
            f"{EXAMPLE}"
        )
    elif name == "lvlmsal" or name in _ELSEWHERE:
        problems.append(
            f"base: {name!r} has no torch model in this process that a method could act in: take a "
            "model of lmms-eval that runs on transformers, such as llava_hf, qwen2_vl or "
            "qwen2_5_vl; its answers can be scored and diagnosed afterwards with lvlmsal score "
            "and lvlmsal detect"
        )
    decoders = _specs("decoder", decoder, problems)
    if len(decoders) > 1:
        problems.append(f"decoder: expected one, got {len(decoders)}: {decoder!r}")
    edits = _specs("interventions", interventions, problems)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.append(f"seed: expected a whole number of at least 0, got {seed!r}")
    path = None if records in (None, "") else Path(str(records))
    if path is not None and not (decoders or edits):
        problems.append(
            "records: are written by a method, and none was chosen: add decoder=greedy to keep "
            "those of plain greedy search"
        )
    if path is not None and path.suffix != ".jsonl":
        problems.append(f"records: expected a path that ends in .jsonl, got {str(path)!r}")
    method = MethodConfig("", decoders[0] if decoders else {"name": "greedy"}, edits)
    problems += component_problems(method, None, ways=_WRITTEN)
    if problems:
        raise ConfigError(problems, source="--model_args")
    return Options(name, decoders[0] if decoders else None, tuple(edits), int(str(seed)), path)


def _specs(key: str, value: object, problems: list[str]) -> list[dict[str, Any]]:
    """``name`` and options of each component that a value names."""
    if value is None or value == "":
        return []
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except ValueError as error:
            problems.append(
                f'{key}: {value!r} is no JSON ({error}): write names, or {{"name": "locore", '
                '"beta": 0.2}, or a list of these, with quotes that the shell leaves alone'
            )
            return []
    if isinstance(value, str):
        value = [part.strip() for part in value.split("+")]
    entries = value if isinstance(value, Sequence) else [value]
    found: list[dict[str, Any]] = []
    for entry in entries:
        if isinstance(entry, Mapping):
            found.append(dict(entry))
        elif isinstance(entry, str) and entry:
            found.append({"name": entry})
        else:
            problems.append(
                f"{key}: expected a name or an object with one, got {entry!r} in {value!r}"
            )
    return found
