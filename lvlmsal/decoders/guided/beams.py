"""Beam search in which risky words cost what they are risky."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import LongTensor, Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.session import AttentionSession
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.guide import Guide, guide_for
from lvlmsal.decoders.predicting_rows import RowWatcher
from lvlmsal.decoders.search import Beam
from lvlmsal.decoders.streaming import given_streamer, refuse_streamer
from lvlmsal.detection.vocabulary import Writing
from lvlmsal.registry import DECODERS
from lvlmsal.versions import given_cache


class RiskPenalty(LogitsProcessor):
    """Adds log(1 - risk) to the scores of probable tokens that begin a judged word.

    Args:
        guide: judges them.
        watcher: of the passes that the scores come from.
        count: how many of the most probable tokens of each beam are looked at.
        prompt: columns of the prompt.
    """

    def __init__(self, guide: Guide, watcher: RowWatcher, count: int, prompt: int) -> None:
        self.guide, self.watcher, self.count, self.prompt = guide, watcher, count, prompt

    def __call__(self, input_ids: LongTensor, scores: Tensor) -> Tensor:
        """Scores (beams, V) of beams (beams, L)."""
        tokens = scores.topk(min(self.count, scores.shape[1]), dim=-1).indices
        words, position = self.guide.words, input_ids.shape[1] - self.prompt
        begun = torch.zeros_like(tokens, dtype=torch.bool)
        for row, said in enumerate(input_ids[:, self.prompt :].tolist()):
            read = words.read(said)
            writing = read[-1].writing if read else Writing()
            for place, token in enumerate(tokens[row].tolist()):
                begun[row, place] = words.step(writing, token).begins
        if not bool(begun.any()):
            return scores
        risks = self.guide.risks(self.watcher.rows, tokens, [position] * len(tokens))
        # what cannot be judged costs nothing
        costs = torch.tensor(risks, dtype=torch.float64).nan_to_num(0.0).neg().log1p().to(scores)
        costs = torch.where(begun, costs, torch.zeros_like(costs))
        return scores.scatter_add(1, tokens, costs)


@DECODERS.register("guided-beam")
@dataclass(frozen=True)
class GuidedBeam(Beam):
    """Beam search that adds log(1 - risk) where a beam would begin a judged word.

    No threshold is needed: a word that is riskier than 92 % of the model's own ones costs 2.5 in
    log-probability, the median one 0.7. Nothing is taken back, for other beams go on without it.
    Looks at the 2 x ``num_beams`` most probable tokens of each beam.

    Args:
        num_beams: hypotheses kept, 2 or more.
        length_penalty: exponent on the length in a finished hypothesis' score.
        detector: what judges, as in :class:`~lvlmsal.decoders.Guided`.
        words: which words are judged, likewise.

    >>> GuidedBeam().twin()
    Beam(num_beams=5, length_penalty=1.0)
    """

    detector: str | dict[str, Any] = "default"
    words: str | list[str] | None = None

    summary: ClassVar[str] = "beam search in which risky words cost log(1 - risk)"
    paper: ClassVar[str] = "this library, docs/guided.md"
    strong: ClassVar[Mapping[str, Any]] = {
        "detector": "log-probability",
        "words": list("abcdefghijklmnopqrstuvwxyz"),
    }

    _guide: ClassVar[Guide | None] = None

    @property
    def mitigates(self) -> bool:
        """Always."""
        return True

    def twin(self) -> Decoder:
        """Beam search."""
        return Beam(num_beams=self.num_beams, length_penalty=self.length_penalty)

    def bind(self, adapter: ModelAdapter) -> Self:
        """Find the detector's scaling and the tokens of the judged words."""
        bound = copy.copy(self)
        object.__setattr__(bound, "_guide", self._find(adapter))
        return bound

    def _find(self, adapter: ModelAdapter) -> Guide:
        # a threshold is not asked for, and so no share of own words has to be known
        return Guide.of(adapter, self.detector, self.words, 1.0, None)

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """Those of beam search, and this object as ``custom_generate``."""
        return {**super().generate_kwargs(streamer=streamer), "custom_generate": self}

    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: LongTensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        **model_kwargs: Any,
    ) -> Any:
        """Transformers' own beam search with one more logits processor; ``generate`` calls it.

        Raises:
            UnsupportedError: a streamer, or a model that this is not bound to.
        """
        name = type(self).__name__
        refuse_streamer(given_streamer(), name)
        guide = guide_for(model, self._guide, self._find)
        watcher = RowWatcher(guide.layers)
        session = AttentionSession(guide.adapter, [watcher], records=False)
        with session, watcher.watching(guide.adapter):
            cache = given_cache(model_kwargs)
            if cache is not None and cache.get_seq_length():
                # an earlier pass's keys and values, which this session has not seen
                mask = model_kwargs.get("attention_mask")
                session.use_spans(guide.adapter.spans(input_ids, mask), cache)
            penalty = RiskPenalty(guide, watcher, 2 * self.num_beams, input_ids.shape[1])
            search: Any = model  # its method comes from a mixin of the concrete classes
            return search._beam_search(
                input_ids,
                logits_processor=LogitsProcessorList([*logits_processor, penalty]),
                stopping_criteria=stopping_criteria,
                generation_config=generation_config,
                **model_kwargs,
            )
