"""A loaded model that detectors ask more: yes-no questions and sampled answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import LongTensor, Tensor
from transformers import PreTrainedModel
from transformers.generation.streamers import BaseStreamer
from transformers.generation.utils import GenerateDecoderOnlyOutput

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.messages import Prompt
from lvlmsal.attention.stream import Stream
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.predicting_rows import RowWatcher
from lvlmsal.decoders.randomness import sample_names
from lvlmsal.detection.asking import Respondent
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import Intervention
from lvlmsal.model.answer import Answer
from lvlmsal.model.inputs import Images
from lvlmsal.versions import given_cache


@dataclass(frozen=True)
class FirstRow(Decoder):
    """Greedy search for one token, of which it keeps the model's own logits.

    They are those of the edited pass, before anybody edits the logits: a cut of a contrast would
    leave nothing of "yes" or "no", or of both.

    Attributes:
        adapter: of the model.
        logits: shape (V,) by id of the sample, in the model's dtype, on the CPU.
    """

    shares_prefix: ClassVar[bool] = True
    adapter: ModelAdapter
    logits: dict[str, Tensor] = field(default_factory=dict)

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """A loop of one step."""

        def loop(
            model: PreTrainedModel,
            input_ids: LongTensor,
            logits_processor: object,
            stopping_criteria: object,
            generation_config: object,
            **model_kwargs: Any,
        ) -> GenerateDecoderOnlyOutput:
            watcher = RowWatcher(())
            with watcher.watching(self.adapter):
                Stream(model, input_ids, model_kwargs, given_cache(model_kwargs)).prefill()
            found = watcher.rows.logits
            for name, row in zip(sample_names(sample_ids, len(found)), found, strict=True):
                self.logits[name] = row.cpu()
            first = found.argmax(-1, keepdim=True).to(input_ids)
            longer = torch.cat([input_ids, first], dim=1)
            return GenerateDecoderOnlyOutput(sequences=longer)  # type: ignore[arg-type]  # LongTensor

        return {"do_sample": False, "num_beams": 1, "custom_generate": loop}


class ModelRespondent(Respondent):
    """A loaded model with the images and the question of an answer.

    Args:
        ask: :meth:`~lvlmsal.model.lvlm.Lvlm.ask` of the model.
        adapter: of the model.
        images: of the question.
        prompt: the question, or messages without their images.
        interventions: under which the answer is judged; everything is asked under them as well,
            but for edits of logits, which samples are drawn under and odds are not.
        max_new_tokens: length limit of sampled answers.
        sample_id: of the question, which their random numbers depend on.
    """

    def __init__(
        self,
        ask: Callable[..., list[Answer]],
        adapter: ModelAdapter,
        images: Images,
        prompt: Prompt,
        interventions: Sequence[Intervention],
        max_new_tokens: int,
        sample_id: str = "",
    ) -> None:
        self._ask, self._adapter = ask, adapter
        self._images, self._prompt = images, prompt
        self._interventions, self._max_new_tokens = list(interventions), max_new_tokens
        self._sample_id = sample_id
        self._samples: dict[float, list[str]] = {}
        self._odds: dict[str, float] = {}

    @property
    def has_images(self) -> bool:
        """See the base class."""
        return bool(self._images)

    def yes_odds(self, questions: Sequence[str]) -> list[float]:
        """See the base class; questions about one image share what they begin with.

        Edits of attention, hidden states and images act; those of logits do not reach the odds, as
        they do not reach the log-probabilities of the one pass.

        Raises:
            UnsupportedError: the tokenizer begins both words with the same token.
        """
        if new := [one for one in dict.fromkeys(questions) if one not in self._odds]:
            yes, no = yes_no_tokens(self._adapter.tokenizer)
            reader = FirstRow(self._adapter)
            self._ask(
                self._images,
                new,
                decoder=reader,
                interventions=self._interventions,
                max_new_tokens=1,
                sample_ids=new,
            )
            for question in new:
                row = reader.logits[question].double()
                odds = row[yes].logsumexp(0) - row[no].logsumexp(0)
                self._odds[question] = float(odds)
        return [self._odds[question] for question in questions]

    def samples(self, count: int, temperature: float) -> list[str]:
        """See the base class; more of them go on from those that are known."""
        known = self._samples.setdefault(temperature, [])
        if (more := count - len(known)) > 0:
            answers = self._ask(
                self._images,
                [self._prompt] * more,
                decoder={"name": "sample", "temperature": temperature},
                interventions=self._interventions,
                max_new_tokens=self._max_new_tokens,
                sample_ids=[f"{self._sample_id}#{number}" for number in range(len(known), count)],
            )
            known += [answer.text for answer in answers]
        return known[:count]


def yes_no_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """With which tokens an answer begins that says yes, or no: capitalized or not.

    Args:
        tokenizer: of the model.

    Raises:
        UnsupportedError: both words begin with the same token.
    """
    firsts = []
    for word in ("yes", "no"):
        texts = [blank + form for form in (word, word.capitalize()) for blank in ("", " ")]
        found = set()
        for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]:
            pieces = [(token, tokenizer.decode([token]).strip().lower()) for token in ids]
            # a blank may be a token of its own, and a word may be unknown
            first = next(((token, text) for token, text in pieces if text), None)
            if first is not None and word.startswith(first[1]):
                found.add(first[0])
        firsts.append(found)
    yes, no = firsts
    if not yes - no or not no - yes:
        raise UnsupportedError(
            "the tokenizer of this model cannot begin an answer with yes or no, so it cannot be "
            "asked whether an object is there: leave the detector self-question out"
        )
    return sorted(yes - no), sorted(no - yes)
