"""``generate`` of a model with a method: what a repository of ``custom_generate`` calls."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn
from transformers import (
    LogitsProcessorList,
    StoppingCriteriaList,
    StopStringCriteria,
)

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.attention import AttentionSession
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.combination import check_combination
from lvlmsal.decoders.search import Beam, Greedy
from lvlmsal.errors import UnsupportedError
from lvlmsal.hub.methods import Method, method_specs, take_options
from lvlmsal.interventions.base import Intervention
from lvlmsal.model.components import build
from lvlmsal.model.generation import growing_cache, whole_cache
from lvlmsal.registry import CATALOG, DECODERS, INTERVENTIONS
from lvlmsal.versions import CACHE, given_cache

_SEARCH = ("do_sample", "num_beams")
"""What a decoder decides."""


def generate(
    model: nn.Module,
    *,
    method: Method | None,
    seed: int | None = None,
    sample_ids: Sequence[str] = (),
    **given: Any,
) -> Any:
    """``generate`` of a model, with a method switched on.

    The answer is that of :meth:`lvlmsal.Lvlm.generate` with the same decoder and interventions,
    token for token.

    Args:
        model: a transformers model with an adapter (``lvlmsal list adapters``).
        method: a decoder, an intervention, or several joined by ``+`` (``"sgrs+locore"``); a
            mapping with options, or a list of such entries. Without a decoder, transformers' own
            search stays, with ``do_sample``, ``num_beams`` and all that belongs to it.
        seed: of a decoder's random numbers, 0 by default; transformers' own sampling has torch's.
        sample_ids: one for each row, which its random numbers depend on; the row's number by
            default.
        **given: options of the method by name (``alpha=0.6``), and any argument of ``generate``:
            inputs, ``max_new_tokens``, ``streamer``, ``logits_processor``, ``generation_config``.
            What is None counts as not given.

    Returns:
        What ``generate`` returns: tokens (B, L + T), or its output object with
        ``return_dict_in_generate=True``.

    Raises:
        ConfigError: an unknown option, or one that several methods have.
        UnknownName: an unknown method.
        UnsupportedError: no adapter for the model, methods that do not go together, or arguments
            that contradict the decoder.

    >>> from lvlmsal.testing import tiny_inputs, tiny_model
    >>> model, inputs = tiny_model("llava"), tiny_inputs("llava")
    >>> tokens = generate(model, method="locore", beta=0.2, **inputs, max_new_tokens=3)
    >>> tokens.shape[1] - inputs["input_ids"].shape[1]
    3
    """
    given = {name: value for name, value in given.items() if value is not None}
    spec, specs = method_specs(method)
    take_options([*([spec] if spec else []), *specs], given)
    adapter = adapter_for(model)
    card = CATALOG.of_checkpoint(str(getattr(adapter.model.config, "_name_or_path", "")))
    edits: list[Intervention] = [
        build(INTERVENTIONS, each, card, adapter.model, stacklevel=2) for each in specs
    ]
    if spec is not None:
        decoder = build(DECODERS, spec, card, adapter.model, stacklevel=2)
        check_combination(decoder, edits)
        given = _decoded_by(decoder.bind(adapter), given, seed or 0, sample_ids)
    elif seed is not None or sample_ids:
        raise UnsupportedError(
            "seed= and sample_ids= are for methods with a decoder of this library: transformers' "
            "own sampling goes by torch.manual_seed"
        )
    else:
        beams = _setting(adapter, given, "num_beams") or 1
        check_combination(Beam(num_beams=beams) if beams > 1 else Greedy(), edits)
    if _brings_no_cache(adapter, given):
        cache = growing_cache(adapter) or (whole_cache(adapter) if edits else None)
        given |= {} if cache is None else {CACHE: cache}
    # Of the class: a model folder has put a function on the instance that leads here again.
    generative: Any = type(adapter.model)
    scope: AbstractContextManager[Any] = (
        AttentionSession(adapter, edits, records=False) if edits else nullcontext()
    )
    with scope:
        return generative.generate(adapter.model, **given)


def _decoded_by(
    decoder: Decoder, given: dict[str, Any], seed: int, sample_ids: Sequence[str]
) -> dict[str, Any]:
    """The arguments of ``generate`` with those of a decoder among them."""
    streamer = given.pop("streamer", None)
    own = decoder.generate_kwargs(seed=seed, sample_ids=sample_ids, streamer=streamer)
    wrong = [name for name in _SEARCH if name in given and given[name] != own.get(name)]
    if wrong:
        said = " and ".join(f"{name}={given[name]!r}" for name in wrong)
        raise UnsupportedError(
            f"decoder {decoder.name!r} decides how tokens are chosen, so {said} cannot be: leave "
            "it out, or choose another decoder by method="
        )
    # the caller's first: a decoder that samples draws from what they leave
    processors = [*given.pop("logits_processor", ()), *own.pop("logits_processor", ())]
    own["logits_processor"] = LogitsProcessorList(processors)
    given = _without_stop_strings(given)
    config: Any = given.get("generation_config")
    if config is not None:
        # next to a config transformers wants no option that could stand in it
        given["generation_config"] = config = copy.deepcopy(config)
        own = config.update(**own)
    return {**given, **own}


def _without_stop_strings(given: dict[str, Any]) -> dict[str, Any]:
    """Stop strings as a criterion: transformers takes the tokenizer from loops of their own."""
    config = given.get("generation_config")
    strings = given.pop("stop_strings", None) or getattr(config, "stop_strings", None)
    tokenizer = given.pop("tokenizer", None)
    if not strings:
        return given
    if tokenizer is None:
        raise UnsupportedError(f"stop_strings={strings!r} need tokenizer=: that of the model")
    stop = StopStringCriteria(getattr(tokenizer, "tokenizer", tokenizer), strings)
    if config is not None:
        given["generation_config"] = config = copy.deepcopy(config)
        config.stop_strings = None
    given["stopping_criteria"] = StoppingCriteriaList([*given.get("stopping_criteria", ()), stop])
    return given


def _setting(adapter: ModelAdapter, given: dict[str, Any], name: str) -> Any:
    """A setting of ``generate``, wherever it comes from."""
    configs = (given.get("generation_config"), adapter.model.generation_config)
    found = (getattr(config, name, None) for config in configs)
    return given[name] if name in given else next((v for v in found if v is not None), None)


def _brings_no_cache(adapter: ModelAdapter, given: dict[str, Any]) -> bool:
    """Whether neither a cache, nor a kind of cache, nor none was asked for."""
    kind = _setting(adapter, given, "cache_implementation")
    return (
        given_cache(given) is None
        and kind is None
        and _setting(adapter, given, "use_cache") is not False
    )
