"""REVERSE (Wu et al., 2025): a trained model marks what it doubts, and says that again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import LongTensor
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.adapters.refused import REVERSE_MARKS
from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.attention.session import AttentionSession
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.one_sequence import GenerateCall, OneSequence
from lvlmsal.decoders.reverse.loop import ReverseLoop
from lvlmsal.decoders.reverse.phrases import Marks
from lvlmsal.decoders.reverse.records import ReverseRecord
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import DECODERS


@DECODERS.register("reverse")
@dataclass(frozen=True)
class Reverse(OneSequence):
    """Retrospective resampling, for checkpoints of REVERSE, which mark phrases in their answers.

    An answer reads ``a <SPAN> red car </CN>``: the mark behind a phrase is ``</CN>`` where the
    model is sure of it and ``</UN>`` where it is not. With p the probability of ``</UN>`` in the
    place of the closing mark, by the logits as the model gives them, a phrase is doubted where
    p > `threshold`. One try after another is made of the answer:

    1. Without a doubted phrase it stands, and the answer is done.
    2. Otherwise it is kept up to the phrase before the first doubted one. The next try goes on from
       there, hotter by `temperature_step` each time and by .5 at most, and ends behind its first
       phrase. If that is not doubted it is kept, and the answer goes on at the first temperature.
    3. After `local_tries` in a row the last sentence that stands is taken back.
    4. After `total_tries` the answer is what stands.

    Rejected phrases, the last five, are written into the question: ``(Hint: potential incorrect
    phrases -> a red car)``. An answer whose marks do not come in pairs is taken back as a whole, as
    the phrase "format error". The marks are not part of the answer.

    Where the public code leaves the paper, or is several codes, it is the default:

    - it draws at temperature 1 from the 50 most probable tokens, the default of transformers then;
    - its step of .05 cannot be set: its scripts' option (.1) has another name, and is not read;
    - its scripts pass ``--open_ended_qa False``, which reads as true: at the end of all tries an
      unfinished sentence is cut off, and an empty answer is asked for once more, with a sentence
      about false premises, before a fixed one stands in its place. ``open_ended=False`` does not;
    - for LLaVA that sentence stands before every hint (`premises`), for Qwen2.5-VL in that second
      round only, where its code loses the first word of it, which is kept here;
    - for LLaVA on Llama 3.1 (``reverse_llava_more``) it has blanks before, between and behind
      sentence and hint. Here they stand as for LLaVA-1.5, without blanks.

    Three things are this library's: ``max_new_tokens`` counts the whole answer with its marks,
    where that code counts each try by itself; blanks before punctuation, which marks leave behind,
    stay; and numbers are drawn by sample. What it returns as cache is that of its last try, with
    hint and marks. With an intervention that asks for another prompt of its own, such as a second
    stream on changed pixels, a hint may be refused.

    Args:
        threshold: a phrase is doubted above it. The scripts take .003, and .5 for questions that
            are answered by yes or no; None takes nothing back, the control.
        temperature: of the first try; 0 takes the most probable token.
        top_k: keep that many tokens, 0 for all.
        temperature_step: how much hotter each further try is.
        local_tries: at one place.
        total_tries: of an answer.
        premises: whether each hint begins with the sentence about false premises: for LLaVA.
        open_ended: whether unfinished sentences and empty answers are dealt with, see above.
        opening: how many tokens at the end of a prompt open the answer; a hint goes before them.
            `` ASSISTANT:`` has 5 in LLaVA-1.5, the heads of Llama 3 and Qwen as well.
        marks: the three tokens: before a phrase, behind a sure one, behind another one.

    >>> Reverse().twin().threshold is None
    True
    """

    threshold: float | None = 0.003
    temperature: float = 1.0
    top_k: int = 50
    temperature_step: float = 0.05
    local_tries: int = 10
    total_tries: int = 50
    premises: bool = True
    open_ended: bool = True
    opening: int = 5
    marks: list[str] = field(default_factory=lambda: list(REVERSE_MARKS))

    summary: ClassVar[str] = "takes back phrases that REVERSE's checkpoints mark as doubtful"
    paper: ClassVar[str] = "Generate, but Verify (REVERSE), 2025"
    url: ClassVar[str] = "https://arxiv.org/abs/2504.13169"
    strong: ClassVar[Mapping[str, Any]] = {
        "marks": ["a", "?", "."],
        "threshold": 0.001,
        "local_tries": 2,
        "total_tries": 4,
        "opening": 1,
    }
    keeps_no_passes: ClassVar[str] = "phrases may be taken back"

    _bound: ClassVar[tuple[ModelAdapter, Marks] | None] = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(
                f"threshold must be from 0 to 1, or None to take nothing back, got {self.threshold}"
            )
        for name in ("temperature", "temperature_step", "top_k"):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        for name in ("local_tries", "total_tries", "opening"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not len(self.marks) == len(set(self.marks)) == len(REVERSE_MARKS):
            raise ValueError(
                "marks must be three tokens (before a phrase, behind a sure one, behind another "
                f"one), got {self.marks}"
            )

    @property
    def mitigates(self) -> bool:
        """Unless it is the control."""
        return self.threshold is not None

    @property
    def is_random(self) -> bool:
        """Further tries are drawn even where the first one is not."""
        return self.temperature > 0 or self.mitigates

    def twin(self) -> Decoder:
        """The same model and marks, and nothing taken back."""
        return Reverse(
            threshold=None,
            temperature=self.temperature,
            top_k=self.top_k,
            marks=self.marks,
        )

    def bind(self, adapter: ModelAdapter) -> Self:
        """Find the marks in the model's vocabulary.

        Raises:
            UnsupportedError: they are not there, or there is no processor to look into.
        """
        bound = copy.copy(self)
        object.__setattr__(bound, "_bound", (adapter, self._find(adapter)))
        return bound

    def _find(self, adapter: ModelAdapter) -> Marks:
        vocabulary = adapter.tokenizer.get_vocab()
        missing = [mark for mark in self.marks if mark not in vocabulary]
        if missing:
            raise UnsupportedError(
                f"decoder 'reverse' goes by the tokens {', '.join(self.marks)}, which this model "
                f"was not trained with ({', '.join(missing)} not in its vocabulary): take a "
                "checkpoint of REVERSE, such as tsunghanwu/reverse_llava_v15, or another decoder"
            )
        return Marks(*(int(vocabulary[mark]) for mark in self.marks))

    def decode(
        self, model: PreTrainedModel, call: GenerateCall
    ) -> tuple[LongTensor, list[list[ReverseRecord]], RecordingStream]:
        """Decode by the marks."""
        adapter, marks = self._bound or (None, None)
        if adapter is None or marks is None or adapter.model is not adapter_for(model).model:
            adapter = adapter_for(model)
            marks = self._find(adapter)
        with AttentionSession(adapter, records=False) as session:
            loop = ReverseLoop(self, marks, session, call)
            return loop.run(), loop.records, loop.stream
