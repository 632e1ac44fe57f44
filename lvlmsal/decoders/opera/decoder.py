"""OPERA: beam search with an over-trust penalty that goes back where it was trusted too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from torch import LongTensor
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer
from transformers.generation.utils import GenerateBeamDecoderOnlyOutput

from lvlmsal.adapters import adapter_for
from lvlmsal.attention.layers import LayerSpec
from lvlmsal.attention.scopes import adopted
from lvlmsal.attention.session import AttentionSession
from lvlmsal.attention.stream import Stream
from lvlmsal.decoders.base import Decoder, check_outputs
from lvlmsal.decoders.opera.look_ahead import LookAhead
from lvlmsal.decoders.opera.over_trust import LayerWatcher
from lvlmsal.decoders.opera.retrospection import Retrospection
from lvlmsal.decoders.opera.search import OperaSearch
from lvlmsal.decoders.search import Beam
from lvlmsal.decoders.streaming import given_streamer, refuse_streamer
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import DECODERS, check_choices
from lvlmsal.versions import CACHE, given_cache

PAPER: Final[Mapping[str, Any]] = {
    "score_factor": 1.0,
    "image_bonus_tokens": 0,
    "normalize": "vocabulary",
    "overlap": "paper",
    "earliest_summary": 0,
    "monotone": True,
    "after_rollback": "candidates",
}
"""Options under which :class:`OPERA` is what the paper writes."""


@dataclass
class OPERAOutput(GenerateBeamDecoderOnlyOutput):
    """What ``generate(..., return_dict_in_generate=True)`` returns under OPERA.

    Attributes:
        rollbacks: how often each sample went back.
        scores: none, for a token may be taken back; ``output_scores=True`` gives
            ``sequences_scores``.
        forwards: forward passes of the whole batch, the prefill included.
    """

    rollbacks: list[int] | None = None
    forwards: int | None = None


@DECODERS.register("opera")
@dataclass(frozen=True)
class OPERA(Beam):
    """Beam search with an over-trust penalty and retrospection-allocation (Section 3.2-3.3).

    With w[i, j] the last layer's attention of generated token i to generated token j, the largest
    of all heads, each row divided by its sum over the whole sequence; x each of the N_can best
    tokens of a beam after t tokens, tried as token t::

        phi(x) = factor * max_j prod_{i=j..t} sigma * w[i, j],   c = the j of the maximum
        log p(x) = log softmax(l(x) - alpha * phi(x)) over the candidates

    and nothing but candidates is taken. A beam's c at a position is that of most of its candidates
    (the first one among equals). When the same summary token s is c for all beams again and again,
    the search goes back behind s and chooses the next token otherwise than before; where that was
    done ``max_rollbacks`` times, s itself; where that too, it goes on.

    Sums of logarithms in float64 stand for the products, which are taken in the model's own
    precision in the public code (shikiw/OPERA): in float16 phi is infinite above 0.0066, so that
    the code's penalty is all or nothing there. Its argmax c is taken on those numbers too: of
    columns whose products overflowed, vanished or round to one number it takes the first, the logs
    here the largest. So c can be another column here, and the search can go back where the public
    code in float16 would not, or the reverse. That is not offered here. A penalty that stands more
    than 1e5 logits above the least one of a beam (above none, with ``normalize="vocabulary"``)
    counts as 1e5.

    Where paper and public code differ, the defaults are the code's; :data:`PAPER` holds the options
    for the paper's text:

    - ``score_factor``: 1e-7 in the code, not in the paper.
    - ``image_bonus_tokens``: in the code the first 10 tokens are not penalized by phi but favored
      by what they give to the image (0 to 1 logit). The paper does not mention it.
    - ``normalize``: the code sets all other logits to -999 before the softmax, so a beam's
      log-probabilities are relative to its candidates; the paper writes a softmax of the logits.
      (At -999 other tokens come into play where all penalties exceed that; here never.)
    - ``overlap``: code: s is the c of most beams now, and each beam must have had it *more* than r
      times since the beginning. Paper: s is the most frequent c of the last ``window`` positions,
      at least r times; that each beam must have it so often is this library's reading.
    - ``earliest_summary``: the code ignores s among the first 10 tokens.
    - ``monotone``: in the paper positions never decrease; in the code that is commented out.
    - ``after_rollback``: the code chooses among all tokens without a penalty, the paper among the
      other candidates.
    - the limit beta has no option of its own in the code, which takes N_can (5 as well).
    - the code's counts do not follow the beams when these are reordered. Here they do.
    - the code takes candidates from the raw logits; here logits processors come first, so that a
      ban leaves N_can tokens. Tokens taken back stay possible in both: as last resort.
    - going back, what was taken back at later positions is forgotten; in the code at others.

    A token costs one pass with a row for each candidate, a roll-back one over the answer so far.
    Under interventions, and where layers see a window, each candidate has a pass, and what was
    chosen one more: 1 + N_can. Samples of a batch decide what they decide alone, but a batch takes
    as many steps as its samples' roll-backs cost together. Logits processors and stopping criteria
    are asked again at positions that are gone back to, so they must not remember earlier calls.

    Use it through :meth:`lvlmsal.Lvlm.generate`, by name in a config, or as
    ``model.generate(**inputs, **OPERA().generate_kwargs())``.

    Args:
        num_beams: hypotheses kept, 2 or more.
        length_penalty: exponent on the length in a finished hypothesis' score.
        alpha: strength of the penalty; 0 for none.
        scale: sigma; 40 to 60 in the paper.
        score_factor: factor on the products, see above.
        num_candidates: N_can; 1 in the code's fast setting, with ``threshold=25``.
        window: k, how many of the last tokens are columns; with "paper" also how many positions
            the overlap counts. As long as the longest answer in paper and code.
        image_bonus_tokens: tokens at the beginning for which the attention to the image is the
            (negative) penalty.
        normalize: ``"candidates"`` or ``"vocabulary"``.
        threshold: r; ``None`` never goes back.
        max_rollbacks: beta, how often one position is gone back to.
        overlap: ``"code"`` or ``"paper"``.
        earliest_summary: summary tokens with a smaller index are no reason to go back.
        monotone: whether going back behind an earlier token than the last time is refused.
        after_rollback: ``"vocabulary"`` or ``"candidates"``.
        layer: whose attention is read; the last one in paper and code.

    >>> OPERA().twin()
    Beam(num_beams=5, length_penalty=1.0)
    >>> OPERA(**PAPER).score_factor
    1.0
    """

    alpha: float = 1.0
    scale: float = 50.0
    score_factor: float = 1e-7
    num_candidates: int = 5
    window: int = 512
    image_bonus_tokens: int = 10
    normalize: Literal["candidates", "vocabulary"] = "candidates"
    threshold: int | None = 15
    max_rollbacks: int = 5
    overlap: Literal["code", "paper"] = "code"
    earliest_summary: int = 10
    monotone: bool = False
    after_rollback: Literal["vocabulary", "candidates"] = "vocabulary"
    layer: int = -1

    summary: ClassVar[str] = "beam search that penalizes and takes back over-trusted tokens"
    paper: ClassVar[str] = "OPERA: over-trust penalty and retrospection-allocation (CVPR 2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2311.17911"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha < 0:
            raise ValueError(f"alpha must be at least 0 (no penalty), got {self.alpha}")
        for name in ("scale", "score_factor"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("num_candidates", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("image_bonus_tokens", "max_rollbacks", "earliest_summary"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.threshold is not None and self.threshold < 1:
            raise ValueError(
                f"threshold must be at least 1, or None (never go back), got {self.threshold}"
            )
        check_choices(self)

    @property
    def looks(self) -> bool:
        """Whether candidates are tried in passes of their own."""
        return self.alpha > 0 or self.threshold is not None

    @property
    def mitigates(self) -> bool:
        """Unless it neither penalizes nor goes back."""
        return self.looks

    def twin(self) -> Decoder:
        """Beam search."""
        return Beam(num_beams=self.num_beams, length_penalty=self.length_penalty)

    @property
    def layers_read(self) -> LayerSpec:
        """The one whose attention is judged; none where no candidate is looked at."""
        return [self.layer] if self.looks else None

    def retrospection(self) -> Retrospection:
        """What a sample starts with."""
        return Retrospection(
            threshold=self.threshold,
            overlap=self.overlap,
            window=self.window,
            limit=self.max_rollbacks,
            earliest=self.earliest_summary,
            monotone=self.monotone,
        )

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """This object as ``custom_generate``.

        Raises:
            UnsupportedError: there is a streamer.
        """
        return {"custom_generate": self, **super().generate_kwargs(streamer=streamer)}

    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: LongTensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        **model_kwargs: Any,
    ) -> OPERAOutput | LongTensor:
        """The decoding loop; ``generate`` calls it.

        Args:
            model: the model.
            input_ids: prompts, left-padded, a row for each beam, (B * num_beams, L).
            logits_processor: applied to log-probabilities before candidates are taken.
            stopping_criteria: end of sequence and ``max_new_tokens`` among them.
            generation_config: its pad token fills answers that are shorter.
            **model_kwargs: as ``generate`` prepared them.

        Returns:
            Sequences (B, L + T), or :class:`OPERAOutput` with ``return_dict_in_generate=True``.

        Raises:
            ConfigError: the model has no such layer.
            UnsupportedError: another number of beams, sampling, no cache, a streamer, or what is
                kept of passes (logits, hidden states, attention weights) was asked for.
        """
        config = generation_config
        name = type(self).__name__
        refuse_streamer(given_streamer(), name)
        check_outputs(config, name, "a token may be taken back", returned=["output_scores"])
        wanted = self.num_beams, False
        if (config.num_beams or 1, bool(config.do_sample)) != wanted or (
            (config.num_return_sequences or 1) > self.num_beams
        ):
            raise UnsupportedError(
                f"OPERA is a beam search: call generate with num_beams={self.num_beams}, as "
                f"`model.generate(**inputs, **decoder.generate_kwargs())` does, do_sample=False "
                f"and no more return sequences than beams"
            )
        if model_kwargs.get("use_cache") is False:
            raise UnsupportedError("this decoder needs the KV cache: drop use_cache=False")
        self.bind(adapter_for(model))
        watcher = LayerWatcher(self.layer)
        watchers = [watcher] if self.looks else []
        with AttentionSession(model, watchers, records=False) as session:
            cache = adopted(given_cache(model_kwargs), input_ids.shape[1])
            if cache.get_seq_length():
                spans = session.adapter.spans(input_ids, model_kwargs.get("attention_mask"))
                session.use_spans(spans, cache)
            stream = Stream(session.model, input_ids, model_kwargs, cache)
            look = LookAhead(session, stream, watcher.seen, input_ids.shape[1])
            search = OperaSearch(
                self, stream, watcher.seen, look, logits_processor, stopping_criteria, config
            )
            search.run()
        ids, scores = search.sequences()
        if config.return_dict_in_generate:
            cached: dict[str, Any] = {CACHE: stream.cache}
            return OPERAOutput(
                sequences=ids,
                sequences_scores=scores.to(ids.device) if config.output_scores else None,
                **cached,
                rollbacks=[sample.rollbacks for sample in search.samples],
                forwards=stream.forwards,
            )
        return ids
