"""HALC: contrasts of crops around a judged word decide its last token once more."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from torch import LongTensor
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.attention.session import AttentionSession
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.halc.candidates import Candidates
from lvlmsal.decoders.halc.loop import HalcLoop
from lvlmsal.decoders.halc.records import HalcRecord
from lvlmsal.decoders.halc.views import Views
from lvlmsal.decoders.one_sequence import GenerateCall, OneSequence
from lvlmsal.decoders.search import Greedy
from lvlmsal.detection.vocabulary import judged_vocabulary, words_for
from lvlmsal.errors import UnsupportedError
from lvlmsal.evidence.base import Detector, Kind, TextScorer
from lvlmsal.evidence.opening import asking_problems, open_evidence, recorded_evidence
from lvlmsal.registry import DECODERS, check_choices


@DECODERS.register("halc")
@dataclass(frozen=True)
class HALC(OneSequence):
    """Adaptive focal-contrast decoding: judged words are decided again under crops of the image.

    Greedy search, until the next token shows that a judged word has ended. Then for its last token:

    1. ``evidence`` is asked where the image shows the word. With more than ``max_boxes`` boxes the
       word stays; else the smallest one counts, and the middle of the image (0.2 to 0.8 of each
       side) where there is none.

    2. Crops are made around it: with e = ``expand`` of widths 1 - min(e, 0.8), 1, 1 + e and
       (1 + e)^2 of the box, and heights likewise, cut off at the edges of the image. Where one is
       more than 100 times as long as it is wide, it is widened, since processors refuse such.

    3. The prompt with each crop in place of the image, and the answer before the token, gives
       logits f (V,). Of the pairs of crops those ``pairs`` are taken whose predictions differ most.

    4. Each gives two candidates, the best tokens of ``f - weight g`` and of ``g - weight f``.

    5. The candidate stays whose text so far ``scorer`` finds to fit the whole image best. A token
       is decided again once; the answer goes on from it.

    Nothing but greedy search happens where no judged word is said, and to a sample without an
    image. A judged word costs a run of the prompt and the answer so far with each crop, side by
    side, and a step of the batch where its token is replaced.

    Where the paper, its public code (BillChan226/HALC) and this differ:

    - the code looks at every noun, by a tagger. Here ``words`` says which: those of COCO by
      default. It is asked for the word as it stands, where the code takes off each last "s"; here
      only one that leaves a word of ``words`` ("dogs", and neither "bus" nor "benches").
      ``ask_for="object"`` asks for the vocabulary's name of the object ("dog" for "puppies").
    - the code **skips each word with a probability of 0.3, without a seed**, leaves out a list of
      words ("cat" and "bus" among them) and adds another list. None of it is in the paper, and none
      of it is offered here.
    - its divergence has both KL terms turned round, which has no bound; ``divergence="js"`` is the
      Jensen-Shannon divergence of the paper.
    - its plausibility mask on this way leaves out what has a logit below -1000, that is nothing;
      ``plausibility`` is a cut like that of contrastive decoding, at the crop that is not taken
      off. Default: none.
    - its scores come from a checkpoint for captions that is loaded into a class that compares
      images and texts. Here ``scorer="blip-matching"`` is one that was trained to compare them.
    - it stops after 64 tokens, and takes one sample at a time. Here a batch gives what its samples
      give alone.
    - a word that the length limit cuts off behind its last token is not decided again.
    - of several images the smallest box counts wherever it is, only its image is cropped, and the
      score is the mean over the images. Videos are refused. Choices of this library.

    Other edits of attention and hidden states act under the crops as well; those of logits
    (contrasts) act on the greedy steps alone.

    It needs raw images: use it through :meth:`lvlmsal.Lvlm.generate`, ``ask`` or by name in a
    config, never inside of the model's own ``generate``. ``streamer=`` is told a token when it is
    decided, one step later than it is found.

    Args:
        evidence: what finds words, such as ``"zero-shot-detection"`` or ``{"name": "file", "path":
            "boxes.jsonl"}``. Must be given unless nothing is decided again.
        scorer: what scores texts, such as ``"blip-matching"``; likewise.
        words: which words are judged: ``coco``, a vocabulary file, or the words themselves.
        ask_for: ``"word"`` or ``"object"``, see above.
        pairs: of crops whose contrasts are candidates; 0 is greedy search.
        weight: of the crop that is taken off.
        expand: e.
        views: crops, 2 or more.
        max_boxes: with more than these a word is skipped.
        plausibility: cut; 0 cuts nothing.
        divergence: ``"code"`` or ``"js"``.

    >>> HALC(evidence="stand-in", scorer="stand-in").twin()
    Greedy()
    """

    evidence: str | Mapping[str, Any] | None = None
    scorer: str | Mapping[str, Any] | None = None
    words: str | list[str] = "coco"
    ask_for: Literal["word", "object"] = "word"
    pairs: int = 2
    weight: float = 0.05
    expand: float = 0.6
    views: int = 4
    max_boxes: int = 3
    plausibility: float = 0.0
    divergence: Literal["code", "js"] = "code"

    summary: ClassVar[str] = "decides judged words again by contrasts of crops around them"
    paper: ClassVar[str] = "HALC: Adaptive Focal-Contrast Decoding (ICML 2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2403.00425"
    asks: ClassVar[Mapping[str, Kind]] = {"evidence": Detector, "scorer": TextScorer}
    sees_images: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = True
    greedy_options: ClassVar[Mapping[str, Any]] = {"pairs": 0}
    strong: ClassVar[Mapping[str, Any]] = {
        "evidence": "stand-in",
        "scorer": "stand-in",
        "words": list("abcdefghijklmnopqrstuvwxyz"),
    }
    keeps_no_passes: ClassVar[str] = "a token may be replaced"

    _adapter: ClassVar[ModelAdapter | None] = None

    def __post_init__(self) -> None:
        most = self.views * (self.views - 1) // 2
        if self.views < 2:
            raise ValueError(f"views must be at least 2, got {self.views}")
        if not 0 <= self.pairs <= most:
            raise ValueError(
                f"pairs must be from 0 (greedy search) to {most}, all pairs of {self.views} views, "
                f"got {self.pairs}"
            )
        if self.expand <= 0:
            raise ValueError(f"expand must be above 0, got {self.expand}")
        if self.max_boxes < 0:
            raise ValueError(f"max_boxes must be at least 0, got {self.max_boxes}")
        if not 0 <= self.weight < 1:
            raise ValueError(f"weight must be at least 0 and below 1, got {self.weight}")
        if not 0 <= self.plausibility <= 1:
            raise ValueError(f"plausibility must be from 0 to 1, got {self.plausibility}")
        check_choices(self)
        for name, kind in self.asks.items():
            given = getattr(self, name)
            if (given is not None or self.pairs) and (
                problems := asking_problems(name, given, kind)
            ):
                raise ValueError("; ".join(problems))

    @property
    def mitigates(self) -> bool:
        """Whether anything is decided again."""
        return self.pairs > 0

    @property
    def is_random(self) -> bool:
        """No seed plays a part."""
        return False

    def twin(self) -> Decoder:
        """Greedy search."""
        return Greedy()

    def outside(self) -> dict[str, Any]:
        """Which versions of evidence and scorer answer."""
        given = {name: getattr(self, name) for name in self.asks}
        return {
            name: recorded_evidence(spec, self.asks[name])
            for name, spec in given.items()
            if spec is not None
        }

    def bind(self, adapter: ModelAdapter) -> Self:
        """Find the tokens of the judged words.

        Raises:
            ConfigError: words that the model cannot write.
            DataError: a vocabulary file that is none.
        """
        if not self.mitigates or self._adapter is adapter:
            return self
        words_for(adapter, judged_vocabulary(self.words))
        bound = copy.copy(self)
        object.__setattr__(bound, "_adapter", adapter)
        return bound

    def decode(
        self, model: PreTrainedModel, call: GenerateCall
    ) -> tuple[LongTensor, list[list[HalcRecord]], RecordingStream]:
        """Decode.

        Raises:
            UnsupportedError: the raw images are not known, there is a video, or this is bound to
                another model.
        """
        adapter = adapter_for(model) if self._adapter is None else self._adapter
        if adapter.model is not adapter_for(model).model:
            raise UnsupportedError(
                "this decoder is bound to another model: bind it to the adapter of this one"
            )
        candidates = self._candidates(adapter, call) if self.mitigates else None
        with AttentionSession(adapter, [], records=False) as session:
            stream = RecordingStream(session.model, session, call.input_ids, call.model_kwargs, [])
            loop = HalcLoop(candidates, stream, call, self.num_beams)
            return loop.run(), loop.records, stream

    def _candidates(self, adapter: ModelAdapter, call: GenerateCall) -> Candidates:
        if call.asked is None:
            raise UnsupportedError(
                f"{type(self).__name__} crops images as they were before processing, and the "
                "model's own generate is given processed pixels: ask by lvlmsal.load(...)."
                f"generate(image, question, decoder={{'name': {self.name!r}, ...}})"
            )
        assert self.evidence is not None  # the constructor has asked for both
        assert self.scorer is not None
        return Candidates(
            self,
            adapter,
            words_for(adapter, judged_vocabulary(self.words)),
            open_evidence(self.evidence, Detector),
            open_evidence(self.scorer, TextScorer),
            Views(adapter, call.asked, call.names),
            call.logits_processor,
        )
