"""Guided decoding: a detector judges words before they are said."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from torch import LongTensor
from transformers import PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.attention.session import AttentionSession
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.guide import Guide, guide_for
from lvlmsal.decoders.guided.loop import GuidedLoop
from lvlmsal.decoders.guided.records import GuidedRecord
from lvlmsal.decoders.one_sequence import GenerateCall, OneSequence
from lvlmsal.decoders.predicting_rows import RowWatcher
from lvlmsal.decoders.search import Greedy, Sample
from lvlmsal.detection.sampled_consistency import SampledConsistency
from lvlmsal.registry import DECODERS


@DECODERS.register("guided")
@dataclass(frozen=True)
class Guided(OneSequence):
    """Greedy search or sampling in which risky words are replaced before they are said.

    Where the first candidate begins a judged word, a detector reads its risk from the row that
    predicts it, which is there before anything is chosen: no pass is added. If the risk is too
    high, the next K - 1 candidates are judged as well, and

    1. the first one is taken that begins a judged word of low risk, where those come first that can
       name an object which the answer has not named;
    2. if there is none, the sentence is taken back to where it began, with its first token banned
       there, up to ``back_up`` times an answer;
    3. after that the judged candidate of lowest risk stands.

    A word of several tokens is judged at its first token, before the rest is known, and again when
    it is complete, by its riskiest token; then only 2 and 3 are left. Risks are those of the edited
    pass: interventions on attention and hidden states act before them. Edits of logits (contrasts)
    change what is chosen and not what is judged.

    With ``detector="sampled-consistency"`` other answers to the question are drawn first, under all
    edits, and a word is as risky as the share of them that do not name its object, 0.7 of them by
    default. That costs as many answers more.

    Use it through :meth:`lvlmsal.Lvlm.generate` or by name in a config. As ``custom_generate`` of a
    model that was not read from its folder, :meth:`bind` it to an adapter with a processor first.
    ``streamer=`` is told a sentence when it can no longer be taken back. It was measured on small
    models only, see docs/guided.md before you trust it.

    Args:
        detector: what judges, as in :meth:`lvlmsal.Lvlm.detect`: a name, a mapping with options, or
            the file of scalings that ``lvlmsal fit`` wrote. It must stream, or be
            ``sampled-consistency``. A mapping's ``scaling`` may be a folder of such files, of which
            the model's is taken.
        k: candidates, the first one among them.
        threshold: risks from which a word is too risky. 1 judges nothing: that is the plain search.
        share: of the model's own mentions that are too risky, in place of a threshold; 0.08 by
            default. Only a detector that is scaled for the model knows it. Of one fitted on labels
            it is the share of right mentions, 0.02 by default.
        back_up: how often an answer may take a sentence back.
        words: which words are judged: ``coco``, a vocabulary file, or the words themselves; by
            default those of the scaling.
        temperature: 0 searches greedily; above, tokens are drawn as by the decoder ``sample``.
        first: what comes first where a word is too risky: ``"replace"``, as above, or
            ``"back-up"``, which replaces a word only where no sentence may be taken back any more,
            for what stands before it in the sentence was said of another word. By default the
            former, and the latter where answers are drawn.

    >>> Guided(threshold=1.0).twin()
    Greedy()
    """

    detector: str | dict[str, Any] = "default"
    k: int = 5
    threshold: float | None = None
    share: float | None = None
    back_up: int = 3
    words: str | list[str] | None = None
    temperature: float = 0.0
    first: Literal["replace", "back-up"] | None = None

    summary: ClassVar[str] = "replaces words that a detector finds risky before they are said"
    paper: ClassVar[str] = "this library, docs/guided.md"
    greedy_options: ClassVar[Mapping[str, Any]] = {"threshold": 1.0, "share": None}
    strong: ClassVar[Mapping[str, Any]] = {
        "detector": "log-probability",
        "threshold": 0.5,
        "share": None,
        "words": list("abcdefghijklmnopqrstuvwxyz"),
    }
    shares_prefix: ClassVar[bool] = True
    keeps_no_passes: ClassVar[str] = "sentences may be taken back"

    _guide: ClassVar[Guide | None] = None

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(
                f"k must be at least 2, the first candidate and another one, got {self.k}"
            )
        if self.back_up < 0:
            raise ValueError(f"back_up must be at least 0 (never), got {self.back_up}")
        if self.threshold is not None and self.share is not None:
            raise ValueError("threshold and share are two ways to say what is risky: give one")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be from 0 to 1 (off), got {self.threshold}")
        if self.share is not None and not 0 < self.share < 1:
            raise ValueError(f"share must be above 0 and below 1, got {self.share}")
        if self.first not in (None, "replace", "back-up"):
            raise ValueError(f"first must be 'replace' or 'back-up', got {self.first!r}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be at least 0 (greedy), got {self.temperature}")

    @property
    def mitigates(self) -> bool:
        """Whether anything is judged."""
        return self.threshold != 1

    @property
    def is_random(self) -> bool:
        """At temperature 0 a seed plays a part only where answers are drawn to judge by."""
        return self.temperature > 0 or (self.mitigates and self.draws)

    @property
    def draws(self) -> bool:
        """Whether it draws other answers to judge by."""
        name = self.detector if isinstance(self.detector, str) else self.detector.get("name")
        return name == SampledConsistency.name

    @property
    def backs_up_first(self) -> bool:
        """Whether a sentence is taken back, while one may be, before a word is replaced."""
        return self.draws if self.first is None else self.first == "back-up"

    def twin(self) -> Decoder:
        """The same search with nothing judged."""
        return Sample(temperature=self.temperature) if self.temperature else Greedy()

    def bind(self, adapter: ModelAdapter) -> Self:
        """Find the detector's scaling and the tokens of the judged words.

        Raises:
            ConfigError: an unknown detector or option, or words that the model cannot write.
            UnsupportedError: see :meth:`~lvlmsal.decoders.guide.Guide.of`.
        """
        if not self.mitigates or (self._guide is not None and self._guide.adapter is adapter):
            return self
        bound = copy.copy(self)
        object.__setattr__(bound, "_guide", self._find(adapter))
        return bound

    def _find(self, adapter: ModelAdapter) -> Guide:
        return Guide.of(
            adapter, self.detector, self.words, self.threshold, self.share, samples=True
        )

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """This object as ``custom_generate``, or the arguments of its twin if nothing is judged."""
        if self.mitigates:
            return super().generate_kwargs(seed=seed, sample_ids=sample_ids, streamer=streamer)
        return self.twin().generate_kwargs(seed=seed, sample_ids=sample_ids, streamer=streamer)

    def decode(
        self, model: PreTrainedModel, call: GenerateCall
    ) -> tuple[LongTensor, list[list[GuidedRecord]], RecordingStream]:
        """Decode under the guide."""
        guide = guide_for(model, self._guide, self._find)
        watcher = RowWatcher(guide.layers)
        session = AttentionSession(guide.adapter, [watcher], records=False)
        with session, watcher.watching(guide.adapter):
            stream = RecordingStream(session.model, session, call.input_ids, call.model_kwargs, [])
            loop = GuidedLoop(self, guide, stream, watcher, call)
            return loop.run(), loop.records, stream
