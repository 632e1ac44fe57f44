"""REVERSE by hand: one sample, texts and lists, the whole sequence run for each token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import LlavaProcessor, LogitsProcessor

from lvlmsal.adapters import adapter_for
from lvlmsal.decoders.randomness import vocabulary_gumbel
from lvlmsal.testing.tiny import tiny_lvlm, tiny_model
from lvlmsal.tiny.parts import WORDS, byte_tokenizer

SPAN, SURE, UNSURE = range(WORDS + 1, WORDS + 4)
"""Ids of the marks, behind that of images."""

PERIOD = 17

PREMISES = (
    "For this question, please point out the false premises or note what information is missing, "
    "rather than answering it directly."
)
NO_ANSWER = "Unable to answer directly due to false premises or missing information."


def marked_lvlm(dtype: torch.dtype = torch.float64) -> tuple[Any, Any]:
    """A tiny LLaVA whose tokenizer has the marks, and its processor."""
    model: Any = tiny_model("llava", dtype=dtype)
    plain: Any = tiny_lvlm("llava")[1]
    build: Any = LlavaProcessor
    processor = build(
        plain.image_processor,
        byte_tokenizer("<image>", "<SPAN>", "</CN>", "</UN>"),
        patch_size=plain.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=plain.chat_template,
    )
    return model, processor


class Marking(LogitsProcessor):
    """Makes a random model mark phrases, in pairs mostly, end sentences and stop.

    Args:
        prompt: columns of the prompt.
    """

    def __init__(self, prompt: int) -> None:
        self.prompt = prompt

    def __call__(self, input_ids: torch.LongTensor, scores: Tensor) -> Any:
        changed = scores.clone()
        for row, ids in enumerate(input_ids[:, self.prompt :].tolist()):
            within = ids.count(SPAN) > ids.count(SURE) + ids.count(UNSURE)
            changed[row, SPAN] += -2.0 if within else 6.0
            changed[row, [SURE, UNSURE]] += 5.5 if within else -6.0
            changed[row, PERIOD] += 0.0 if within else 5.0
            changed[row, WORDS] = -torch.inf  # an image
        return changed


@dataclass
class Found:
    """What came out of a run by hand."""

    answer: list[int]
    tries: int = 0
    hints: list[str] = field(default_factory=list)
    hottest: float = 0.0
    gave_up: bool = False


@dataclass
class ByHand:
    """The public code's loop, on one unpadded sample.

    Attributes:
        model: A LLaVA.
        processor: With the marks.
        inputs: Of the sample.
        options: Of the decoder.
        seed: Of the run.
        limit: Tokens of an answer, marks included.
        adjust: Logits processor: (1, L) and (1, V) to (1, V).
    """

    model: Any
    processor: Any
    inputs: dict[str, Tensor]
    options: Any
    seed: int
    limit: int
    adjust: Callable[[Any, Tensor], Tensor]
    drawn: int = 0

    def text(self, ids: Sequence[int]) -> str:
        return str(adapter_for(self.model, self.processor).decode(list(ids))).strip()

    def ids_of(self, text: str) -> list[int]:
        return list(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def say(
        self, hint: str, said: list[int], temperature: float, corrects: bool
    ) -> tuple[list[int], list[float]]:
        """A try, and the probability of the unsure mark at each of its tokens."""
        asked = self.inputs["input_ids"][0].tolist()
        prefix = [*asked[:-5], *self.ids_of(hint), *asked[-5:]] if hint else asked
        new: list[int] = []
        chances: list[float] = []
        while len(said) + len(new) < self.limit:
            with torch.no_grad():
                raw = self.model(
                    input_ids=torch.tensor([[*prefix, *said, *new]]),
                    pixel_values=self.inputs["pixel_values"],
                ).logits[0, -1]
            seen: Any = torch.tensor([[*asked, *said, *new]])
            scores = self.adjust(seen, raw[None].clone())[0]
            if temperature > 0:
                scores = scores / temperature
                kept = scores.argsort(descending=True)[: self.options.top_k]
                cut = torch.full_like(scores, -torch.inf)
                cut[kept] = scores[kept]
                scores = cut + vocabulary_gumbel(
                    len(scores), seed=self.seed, sample_id="0", position=self.drawn
                )
            self.drawn += 1
            new.append(int(scores.argmax()))
            chances.append(float(raw.softmax(-1)[UNSURE]))
            if new[-1] == 2 or (corrects and new[-1] in (SURE, UNSURE)):
                break
        return new, chances

    def stripped(self, ids: list[int]) -> list[int]:
        if SPAN not in ids and UNSURE in ids:
            ids = ids[: ids.index(UNSURE)]
        return [token for token in ids if token not in (SPAN, SURE, UNSURE)]

    def judge(
        self, said: list[int], new: list[int], chances: list[float]
    ) -> tuple[str | None, int]:
        """The rejected phrase, if there is one, and what of the try is kept then."""
        whole = said + new
        spans = [at for at, token in enumerate(whole) if token == SPAN]
        ends = [at for at, token in enumerate(whole) if token in (SURE, UNSURE)]
        if not spans:
            return None, -1
        if len(spans) != len(ends) or any(a > b for a, b in zip(spans, ends, strict=True)):
            return "Format Error", 0
        spans = [at for at, token in enumerate(new) if token == SPAN]
        ends = [at for at, token in enumerate(new) if token in (SURE, UNSURE)]
        for number, (begin, end) in enumerate(zip(spans, ends, strict=False)):
            if chances[end] > self.options.threshold:
                back = 0 if number == 0 else ends[number - 1] + 1
                return self.text(new[begin + 1 : end]), back
        return None, -1

    def run(self, found: Found, premises: bool = False) -> Found:
        options = self.options
        said: list[int] = []
        rejected: list[str] = []
        corrects, local, temperature = False, 0, options.temperature
        for _ in range(options.total_tries):
            if not corrects:
                temperature = options.temperature
            hint = ""
            if rejected or premises:
                hint = PREMISES
                if rejected:
                    hint += f"(Hint: potential incorrect phrases -> {', '.join(rejected[-5:])})"
            found.hints.append(hint)
            found.tries += 1
            found.hottest = max(found.hottest, temperature)
            new, chances = self.say(hint, said, temperature, corrects)
            phrase, back = self.judge(said, new, chances)
            if phrase is None:
                if not corrects:
                    found.answer = self.stripped(said + new)
                    return self.ended(found, premises)
                said = said + (new if new and new[-1] in (SURE, UNSURE) else new[:-1])
                corrects, local = False, 0
                continue
            corrects = True
            local += 1
            temperature = min(temperature + options.temperature_step, options.temperature + 0.5)
            if phrase.lower() not in rejected:
                rejected.append(phrase.lower())
            if local == options.local_tries:
                local = 0
                if not said:
                    begin = new.index(SPAN) if SPAN in new else len(new)
                    lost = self.text(new[:begin]).lower()
                else:
                    stop = self.processor.tokenizer.convert_tokens_to_ids(".")
                    kept = max(
                        (at + 1 for at, token in enumerate(said) if token == stop), default=0
                    )
                    lost = self.text(said[kept:])
                    said = said[:kept]
                if lost:
                    rejected.append(lost)
                continue
            said = said + new[:back]
        found.gave_up = True
        texts = [self.processor.tokenizer.decode([token]) for token in said]
        ends = [at + 1 for at, text in enumerate(texts) if "." in text]
        found.answer = self.stripped(said[: max(ends, default=0)])
        return self.ended(found, premises)

    def ended(self, found: Found, premises: bool) -> Found:
        if self.text(found.answer):
            return found
        if not premises:
            found.gave_up = False
            return self.run(found, premises=True)
        found.answer = self.ids_of(NO_ANSWER)[: self.limit]
        return found
