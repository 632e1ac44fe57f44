"""SGRS: saliency-guided rejection sampling, token by token or in drafted blocks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from torch import LongTensor
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.spans import ContextName
from lvlmsal.attention.layers import LayerSpec, resolve_layers
from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.attention.session import AttentionSession
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.guide import Guide, guide_for
from lvlmsal.decoders.one_sequence import GenerateCall, OneSequence
from lvlmsal.decoders.predicting_rows import RowWatcher
from lvlmsal.decoders.records import TokenRecord
from lvlmsal.decoders.search import Greedy
from lvlmsal.decoders.sgrs.candidate_row import CandidateRow
from lvlmsal.decoders.sgrs.candidate_saliency import CandidateSaliency, NoSaliency
from lvlmsal.decoders.sgrs.candidates import OrderName
from lvlmsal.decoders.sgrs.judged_candidates import JudgedCandidates
from lvlmsal.decoders.sgrs.loop import SgrsLoop
from lvlmsal.decoders.sgrs.predicting_row import PredictingRow
from lvlmsal.registry import DECODERS, check_choices
from lvlmsal.saliency.options import DEFAULT_LAYERS, SaliencyOptions


@DECODERS.register("sgrs")
@dataclass(frozen=True)
class SGRS(OneSequence):
    """Saliency-guided rejection sampling (Algorithm 1, Eq. 6-7).

    At each position the top K tokens of softmax(logits / temperature) are tried in an order that is
    sampling without replacement; the first one with S(c) >= tau is taken, with::

        tau = alpha * mean of the S of the last W chosen tokens

    and the first candidate is taken while there is no history or no context. After R rejections the
    candidate of highest S among all of C is taken. Temperature and logits processors shape C and
    its order; S always comes from the raw logits.

    Use it as ``model.generate(**inputs, custom_generate=SGRS(...))``, through
    :meth:`lvlmsal.Lvlm.generate`, or by name in a config. ``streamer=`` is told tokens once they
    are final, up to ``block_size`` of them at a time. What ``generate`` returns besides sequences
    is a :class:`~lvlmsal.decoders.one_sequence.RecordedOutput`; ``output_scores``,
    ``output_logits``, ``output_hidden_states`` and ``output_attentions`` are refused, for a
    position may be decided by several passes.

    Args:
        alpha: share of the recent mean that a token must reach; 0 rejects nothing.
        k: size of C.
        max_tries: R, candidates that may be rejected before the fallback.
        window: W, length of the history.
        temperature: of the candidates' order; 0 walks in order of probability.
        plausibility: only candidates with p >= plausibility * p_max enter C. 0 is the paper. A
            token that the model is rightly sure of can have low saliency; without this cut such
            tokens are replaced by ones that break the sentence.
        row: ``"predicting"`` or ``"candidate"``, the default because it harmed the shipped models
            less (docs/sgrs-row.md); see :class:`~lvlmsal.saliency.options.SaliencyOptions`, also
            for the next four.
        norm: only ``"row"`` is known while decoding.
        heads: order of absolute value and sum over heads.
        fusion: what is summed.
        context: the set J.
        layers: target layers. A step costs 1 + f of a plain one, f the share of the weights above
            the lowest of them.
        block_size: m, tokens that are drafted by plain steps and verified by one recorded pass; 1
            judges token by token. The answers are the same (up to ties within rounding), only the
            cost differs: about 1/m of the recorded cost a token while nothing is rejected.
            Logits processors and stopping criteria that may keep state force 1.
        rejection: ``False`` is the control: the same candidates in the same order, the first is
            always taken and nothing is recorded.
        history: whose S make up tau's mean: ``"all"``, the last W chosen tokens, or ``"accepted"``,
            the last W that reached their threshold, as in the paper's listing, where the S of a
            fallback enters no mean.
        order: ``"probability"`` draws candidates without replacement by their probability,
            ``"uniform"`` each as likely as the other (the listing's ``Sample(C)`` read literally);
            the latter needs a temperature above 0.
        loss: only ``"token"`` is known while decoding: later tokens have no loss yet.
        judge: a detector in saliency's place, as in :class:`~lvlmsal.decoders.Guided`: what begins
            a judged word has 1 - risk for S and ``share`` for tau; all else is accepted.
        share: of the model's own mentions that a judge rejects, 0.08 by default.

    >>> SGRS(alpha=0.6).max_tries
    3
    """

    alpha: float = 0.6
    k: int = 5
    max_tries: int = 3
    window: int = 5
    temperature: float = 1.0
    plausibility: float = 0.0
    row: Literal["predicting", "candidate"] = "candidate"
    norm: Literal["row"] = "row"
    heads: Literal["abs_then_sum", "sum_then_abs"] = "abs_then_sum"
    fusion: Literal["product", "add", "max", "attention", "gradient"] = "product"
    context: ContextName = "after_image"
    layers: LayerSpec = DEFAULT_LAYERS
    block_size: int = 16
    rejection: bool = True
    history: Literal["all", "accepted"] = "all"
    order: OrderName = "probability"
    loss: Literal["token"] = "token"
    judge: str | dict[str, Any] | None = None
    share: float | None = None

    summary: ClassVar[str] = "rejects candidate tokens of low saliency"
    paper: ClassVar[str] = "Hallucination Begins Where Saliency Drops (ICLR 2026)"
    url: ClassVar[str] = "https://arxiv.org/abs/2601.20279"
    uses_saliency: ClassVar[bool] = True
    greedy_options: ClassVar[Mapping[str, Any]] = {"k": 1}
    shares_prefix: ClassVar[bool] = True
    keeps_no_passes: ClassVar[str] = "a position may be decided by several passes"

    _guide: ClassVar[Guide | None] = None

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ValueError(f"alpha must be at least 0 (nothing is rejected), got {self.alpha}")
        for name in ("k", "max_tries", "window", "block_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be at least 0, got {self.temperature}")
        if not 0 <= self.plausibility <= 1:
            raise ValueError(f"plausibility must be from 0 to 1, got {self.plausibility}")
        if self.norm != "row":
            raise ValueError(
                f"norm={self.norm!r} needs the full graph: SGRS decodes with norm='row'"
            )
        if self.loss != "token":
            raise ValueError(
                f"loss={self.loss!r} needs the tokens that follow: SGRS decodes with loss='token'"
            )
        if self.order == "uniform" and self.temperature == 0:
            raise ValueError(
                "order='uniform' draws candidates at random, which temperature=0 rules out: give a "
                "temperature above 0, or order='probability'"
            )
        if self.share is not None and (self.judge is None or not 0 < self.share < 1):
            raise ValueError(
                f"share is what a judge rejects, 0 to 1; got {self.share}, judge={self.judge!r}"
            )
        check_choices(self)
        self.saliency_options()

    @property
    def mitigates(self) -> bool:
        """Unless it is the control."""
        return self.rejection

    @property
    def is_random(self) -> bool:
        """At temperature 0 candidates are walked in the order of their probability."""
        return self.temperature > 0

    def twin(self) -> Decoder:
        """The control: the same candidates and random numbers, the first candidate always taken.

        At temperature 0 that is greedy search.
        """
        if self.temperature == 0:
            return Greedy()
        return SGRS(
            k=self.k,
            temperature=self.temperature,
            plausibility=self.plausibility,
            order=self.order,
            rejection=False,
        )

    def bind(self, adapter: ModelAdapter) -> Self:
        """Find the scaling of the judge, where there is one; see :meth:`Guided.bind`."""
        if self.judge is None or not self.rejection:
            return self
        bound = copy.copy(self)
        object.__setattr__(bound, "_guide", self._find(adapter))
        return bound

    def _find(self, adapter: ModelAdapter) -> Guide:
        return Guide.of(adapter, self.judge or "default", None, None, self.share)

    def saliency_options(self) -> SaliencyOptions | None:
        """What its records hold, and an answer's own diagnosis shows again; none under a judge."""
        if self.judge is not None:
            return None
        names = ("row", "norm", "loss", "heads", "fusion", "context", "layers")
        return SaliencyOptions(**{name: getattr(self, name) for name in names})

    def decode(
        self, model: PreTrainedModel, call: GenerateCall
    ) -> tuple[LongTensor, list[list[TokenRecord]], RecordingStream]:
        """Decode under the judge that the options name."""
        guide = None
        if self.judge is not None and self.rejection:
            guide = guide_for(model, self._guide, self._find)
        watcher = RowWatcher([] if guide is None else guide.layers)
        with ExitStack() as scope:
            session = scope.enter_context(AttentionSession(model, [watcher]))
            if guide is not None:
                scope.enter_context(watcher.watching(session.adapter))
            options = self.saliency_options() or SaliencyOptions()
            layers = resolve_layers(self.layers, session.adapter.num_layers)
            stream = RecordingStream(
                session.model, session, call.input_ids, call.model_kwargs, layers
            )
            saliency: CandidateSaliency
            if not self.rejection:
                saliency = NoSaliency(stream, options)
            elif guide is not None:
                saliency = JudgedCandidates(stream, options, guide, watcher)
            elif self.row == "predicting":
                saliency = PredictingRow(stream, options)
            else:
                saliency = CandidateRow(stream, options)
            loop = SgrsLoop(self, saliency, call)
            return loop.run(), loop.records, stream
