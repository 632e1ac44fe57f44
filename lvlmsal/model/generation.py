"""One call of transformers' `generate`, and the answers that come out of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from threading import get_ident
from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.generation.streamers import BaseStreamer

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.messages import Prompt, question_of
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.videos import Opened
from lvlmsal.attention import AttentionSession
from lvlmsal.attention.asked import Asked
from lvlmsal.attention.cache import GrowingLayer, keeps_all
from lvlmsal.attention.prefixes import Begun, Tails
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.records import TokenRecord
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import Intervention
from lvlmsal.model.answer import Answer, Diagnosis
from lvlmsal.model.risk_stream import TokenRiskStreamer
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.versions import CACHE


def generate_answers(
    adapter: ModelAdapter,
    inputs: Mapping[str, Tensor],
    questions: Sequence[Prompt],
    decoder: Decoder,
    interventions: Sequence[Intervention],
    *,
    pictures: Sequence[Sequence[Opened]] = (),
    diagnose: Sequence[Callable[..., SaliencyReport]],
    max_new_tokens: int,
    seed: int,
    sample_ids: Sequence[str],
    streamer: BaseStreamer | None = None,
    begun: Begun | None = None,
    tails: Tails | None = None,
) -> list[Answer]:
    """Answer a batch that is encoded already.

    Args:
        adapter: of the model.
        inputs: of `generate`; of prompts that have begun their texts, without pixels.
        questions: as they were given.
        decoder: how tokens are chosen.
        interventions: in the order in which they act.
        pictures: of each question, as they were before processing.
        diagnose: for each question what judges an answer to it, as :meth:`Lvlm.diagnose` does with
            images and prompt filled in.
        max_new_tokens: length limit of an answer.
        seed: of the run.
        sample_ids: one for each question, or none.
        streamer: told each token; one question at a time.
        begun: the first columns of the inputs, which have been run under these interventions.
        tails: what stands behind them.

    Raises:
        UnsupportedError: transformers would mix up images or videos of these prompts under beams.
    """
    began = time.perf_counter()
    spans = adapter.spans(inputs["input_ids"], inputs.get("attention_mask"))
    decoder = decoder.bind(adapter)
    if decoder.num_beams > 1 and begun is None and (what := adapter.lost_in_beams(inputs, spans)):
        raise UnsupportedError(
            f"under beam search transformers mixes up {what}: take a decoder without beams, such "
            "as greedy"
        )
    edits: list[Any] = list(interventions)
    listening: AbstractContextManager[None] = nullcontext()
    if isinstance(streamer, TokenRiskStreamer):
        streamer.check(adapter.model)
        listening = streamer.watcher.watching(adapter)
        edits += [] if streamer.watcher.is_identity else [streamer.watcher]
    known, cache = dict(inputs), None
    if begun is not None and tails is not None:
        known |= begun.pixels(adapter, len(questions))
        tails = tails.repeated(decoder.num_beams)
        cache = tails.cache(begun.cache)
    asked = Asked(known, pictures, questions)
    passes = _Passes()
    # Passes that an intervention ends behind the layer that it looks at are counted, too.
    counter = adapter.model.register_forward_hook(passes, always_call=True)
    try:
        scope = (
            AttentionSession(adapter, edits, asked=asked, records=False) if edits else nullcontext()
        )
        with scope as session, listening:
            if session is not None and begun and tails and cache is not None:
                begun.go_on(session.passes, cache, tails)
            elif cache is None:
                cache = growing_cache(adapter) or (whole_cache(adapter) if edits else None)
            # `generate` comes from a mixin of the concrete classes. Of the class, never of the
            # instance, on which others may have put a function of their own.
            generative: Any = type(adapter.model)
            output = generative.generate(
                adapter.model,
                **inputs,
                **({} if cache is None else {CACHE: cache}),
                max_new_tokens=max_new_tokens,
                return_dict_in_generate=True,
                **({"asked": asked} if decoder.sees_images else {}),
                **decoder.generate_kwargs(seed=seed, sample_ids=sample_ids, streamer=streamer),
            )
    finally:
        counter.remove()
    seconds = (time.perf_counter() - began) / len(questions)
    new = output.sequences[:, inputs["input_ids"].shape[1] :]
    records = getattr(output, "records", None) or [
        [TokenRecord(id=token) for token in until_end(adapter, row.tolist())] for row in new
    ]
    own = decoder.saliency_options()
    return [
        _answer(adapter, *parts, seconds=seconds, forwards=passes.count, own=own)
        for parts in zip(questions, records, spans, diagnose, strict=True)
    ]


def growing_cache(adapter: ModelAdapter) -> DynamicCache | None:
    """Transformers' own cache, but for layers that append without copying what they hold.

    ``None`` where another one was chosen, or layers keep a window, a state or nothing.
    """
    chosen = getattr(adapter.model.generation_config, "cache_implementation", None)
    if chosen or not keeps_all(adapter.text_config):
        return None
    cache = DynamicCache()
    cache.layer_class_to_replicate = GrowingLayer
    return cache


_WHOLE = "full_attention"
_WINDOWED = {"sliding_attention", "chunked_attention"}


def whole_cache(adapter: ModelAdapter) -> DynamicCache | None:
    """A cache that keeps what a window hides, which edits can tell the columns of.

    The masks hide the same keys, so answers are those of transformers' own cache, which drops what
    has left the window. ``None`` where there is no window, or where layers keep something else.
    """
    config = adapter.text_config
    window = getattr(config, "sliding_window", None) or getattr(
        config, "attention_chunk_size", None
    )
    kinds = set(getattr(config, "layer_types", None) or (_WINDOWED if window else ()))
    chosen = getattr(adapter.model.generation_config, "cache_implementation", None)
    if chosen or not kinds & _WINDOWED or not kinds <= {_WHOLE, *_WINDOWED}:
        return None
    return DynamicCache()


class _Passes:
    """Counts forward passes of the thread that it is made in: others may use the model as well."""

    def __init__(self) -> None:
        self.count, self._thread = 0, get_ident()

    def __call__(self, *_: object) -> None:
        self.count += get_ident() == self._thread


def _answer(
    adapter: ModelAdapter,
    prompt: Prompt,
    records: list[TokenRecord],
    spans: TokenSpans,
    diagnose: Callable[..., SaliencyReport],
    *,
    seconds: float,
    forwards: int,
    own: SaliencyOptions | None,
) -> Answer:
    kept = [record.id for record in records]
    for record, text in zip(records, adapter.token_texts(kept), strict=True):
        record.text = text
        for rejected in record.rejected:
            rejected["text"] = adapter.token_texts([rejected["id"]])[0]
    return Answer(
        text=adapter.decode(kept),
        prompt=question_of(prompt),
        messages=None if isinstance(prompt, str) else list(prompt),
        token_ids=kept,
        tokens=records,
        spans=replace(spans, length=spans.length + len(kept)),
        seconds=seconds,
        forwards=forwards,
        diagnose=Diagnosis(partial(diagnose, kept), own),
    )


def until_end(adapter: ModelAdapter, ids: list[int]) -> list[int]:
    """Tokens up to and including the first end of sequence; what follows is padding."""
    config: Any = adapter.model.generation_config
    end = config.eos_token_id
    ends = set(end) if isinstance(end, list) else {end}
    stop = next((index for index, token in enumerate(ids) if token in ends), len(ids) - 1)
    return ids[: stop + 1]
