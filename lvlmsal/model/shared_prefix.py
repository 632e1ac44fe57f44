"""What questions about the same images have in common, run once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.messages import Prompt
from lvlmsal.adapters.pixels import TEXT
from lvlmsal.adapters.prompts import behind_mark
from lvlmsal.adapters.videos import Opened
from lvlmsal.attention.aside import aside
from lvlmsal.attention.asked import Asked
from lvlmsal.attention.hooks import first_layers
from lvlmsal.attention.scopes import open_passes
from lvlmsal.attention.second_stream import ONLY
from lvlmsal.attention.session import AttentionSession
from lvlmsal.decoders.base import Decoder
from lvlmsal.interventions.base import Intervention
from lvlmsal.model.answer import Answer
from lvlmsal.model.generation import generate_answers
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.versions import CACHE


def can_share(decoder: Decoder, interventions: Sequence[Intervention]) -> bool:
    """Whether answers from a shared prefix are those that each question gets alone."""
    own = "second stream's own edits"  # they need the whole second prompt, from its beginning on
    return decoder.shares_prefix and all(
        edit.shares_prefix and own not in edit.hooks() for edit in interventions
    )


@dataclass(frozen=True)
class SharedPrefix:
    """The tokens with which several prompts begin, images among them, and how each goes on.

    In a causal decoder the keys and values of these tokens are the same whatever follows, so they
    are computed once. A batch of questions of different lengths is padded at the left as always:
    the padding stands before the shared tokens, as many of which as there is padding are taken off
    the cache at its end and run again, so that all rows have equally many columns cached. Only text
    behind the last image can be run again; that is the `slack`.

    Attributes:
        adapter: of the model.
        inputs: of the shared tokens, one row, pixels included.
        tails: token ids of each prompt behind the shared ones, at least one each.
        slack: shared text tokens behind the last image.
        images: that every prompt is about.
        question: the first one.
    """

    adapter: ModelAdapter
    inputs: dict[str, Tensor]
    tails: list[list[int]]
    slack: int
    images: Sequence[Opened]
    question: Prompt

    @classmethod
    def of(
        cls,
        adapter: ModelAdapter,
        images: Sequence[Opened],
        prompts: Sequence[Prompt],
    ) -> SharedPrefix | None:
        """Find what prompts about the same images share.

        Args:
            adapter: with a processor.
            images: that every prompt is about.
            prompts: the questions.

        Returns:
            The prefix, or None where prompts share no image: no image was given, a question has
            its own text before the last one, the processor writes another sequence than its
            tokenizer would, so that only running it on each question would tell, the tokens of a
            prompt see those that follow (a prefix-LM), or positions depend on how long the prompt
            is (behind long videos).
        """
        written = enumerate(prompts)
        texts = [adapter.write(prompt, images, sample=number) for number, prompt in written]
        mark = _last_mark(adapter, texts[0])
        parts = [text.rpartition(mark) for text in texts] if mark and images else []
        if len({head for head, _, _ in parts}) != 1:
            return None
        whole = adapter.encode([images], prompts[:1])
        ids = whole["input_ids"][0].tolist()
        # Tokenized behind the placeholder: a tokenizer reads what follows a special token by
        # itself, whatever stands before it.
        tails = [behind_mark(adapter.tokenizer, mark, tail) for _, _, tail in parts]
        if not all(tails) or ids[-len(tails[0]) :] != tails[0]:
            return None
        # one token is left to each, for its row predicts the first token of the answer
        pairs = zip(min(tails)[:-1], max(tails)[:-1], strict=False)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        length = len(ids) - len(tails[0]) + shared
        pictures = adapter.spans(whole["input_ids"])[0].images
        if not pictures:
            return None
        # what follows the prefix runs without pixels
        last = adapter.marked(ids, pictures[-1]) if adapter.embeds_marks else pictures[-1]
        if last[1] > length:
            return None
        cut = {name: v[:, :length] if name in TEXT else v for name, v in whole.items()}
        if "token_type_ids" in cut and _sees_ahead(adapter, cut):
            return None
        if not adapter.goes_on(cut):
            return None
        rests = [tail[shared:] for tail in tails]
        return cls(adapter, cut, rests, length - last[1], images, prompts[0])

    def run(
        self, interventions: Sequence[Intervention]
    ) -> tuple[DynamicCache, DynamicCache | None]:
        """Keys and values of the shared tokens, shape (1, heads, n, d) a layer.

        The second ones are those of a second stream with the same tokens; another second prompt is
        run with each question.
        """
        cache, ids = DynamicCache(), self.inputs["input_ids"]
        # the prompt goes on, so none of these rows predicts a token of the answer
        spans = [
            replace(each, output_start=each.length + 1, length=each.length + 1)
            for each in self.adapter.spans(ids)
        ]
        session = AttentionSession(
            self.adapter,
            interventions,
            spans=spans,
            asked=Asked(self.inputs, [self.images], [self.question]),
            records=False,
        )
        with torch.no_grad(), session:
            self.adapter.model(**self.inputs, **{CACHE: cache}, use_cache=True, logits_to_keep=1)
            prefill = session.passes.of_cache(cache)
            second = None if prefill is None else prefill.seconds.get(ONLY)
            if second is None:
                return cache, None
            with aside(second.owner, open_passes()):
                return cache, second.cached(ids)

    def answers(
        self,
        questions: Sequence[Prompt],
        decoder: Decoder,
        interventions: Sequence[Intervention],
        *,
        diagnose: Sequence[Callable[..., SaliencyReport]],
        sample_ids: Sequence[str],
        batch_size: int,
        max_new_tokens: int,
        seed: int,
    ) -> list[Answer]:
        """Answer all questions, see :func:`~lvlmsal.model.generation.generate_answers`."""
        prefix, second = self.run(interventions)
        answers: dict[int, Answer] = {}
        for batch in self.batches(batch_size):
            found = generate_answers(
                self.adapter,
                self.prompts(batch),
                [questions[index] for index in batch],
                decoder,
                interventions,
                diagnose=[diagnose[index] for index in batch],
                max_new_tokens=max_new_tokens,
                seed=seed,
                sample_ids=[sample_ids[index] for index in batch],
                cache=self.expanded(prefix, batch, decoder.num_beams),
                second=None if second is None else self.expanded(second, batch, decoder.num_beams),
            )
            for answer in found:
                answer.forwards += 1 + (second is not None)  # the shared tokens' passes
            answers.update(zip(batch, found, strict=True))
        return [answers[index] for index in range(len(questions))]

    def batches(self, size: int) -> Iterator[list[int]]:
        """Questions that are decoded together: of similar length, at most `size` of them."""
        order = sorted(range(len(self.tails)), key=lambda index: len(self.tails[index]))
        batch: list[int] = []
        for index in order:
            longer = batch and len(self.tails[index]) - len(self.tails[batch[0]]) > self.slack
            if batch and (longer or len(batch) == size):
                yield batch
                batch = []
            batch.append(index)
        yield batch

    def prompts(self, batch: Sequence[int]) -> dict[str, Tensor]:
        """Inputs of some questions without pixels, padded at the left, as for `generate`."""
        longest = max(len(self.tails[index]) for index in batch)
        pad_token = self.adapter.tokenizer.pad_token_id
        # what stands in padded columns, and what a tail's tokens are in each input but the ids
        padding = {"input_ids": 0 if pad_token is None else int(pad_token)}
        own = {"attention_mask": 1}
        found: dict[str, Tensor] = {}
        for name in TEXT:
            if name not in self.inputs:
                continue
            head = self.inputs[name][0]
            rows = []
            for index in batch:
                tail = self.tails[index]
                values = tail if name == "input_ids" else [own.get(name, 0)] * len(tail)
                before = head.new_full((longest - len(tail),), padding.get(name, 0))
                rows.append(torch.cat([before, head, head.new_tensor(values)]))
            found[name] = torch.stack(rows)
        return found

    def expanded(self, cache: DynamicCache, batch: Sequence[int], beams: int) -> DynamicCache:
        """The cache of some questions: each row shifted by its padding, each repeated per beam."""
        longest = max(len(self.tails[index]) for index in batch)
        pads = [longest - len(self.tails[index]) for index in batch for _ in range(beams)]
        layers: list[Any] = cache.layers  # of a kind with keys and values
        pairs = [(_shifted(layer.keys, pads), _shifted(layer.values, pads)) for layer in layers]
        return DynamicCache(pairs)


def _last_mark(adapter: ModelAdapter, text: str) -> str:
    """Of an image or a video, whichever stands last."""
    marks = (adapter.image_mark, adapter.video_mark or adapter.image_mark)
    return max(marks, key=text.rfind)


def _sees_ahead(adapter: ModelAdapter, inputs: Mapping[str, Tensor]) -> bool:
    """Whether tokens of a prefix see its last one, and so would see what stands behind it."""
    session = AttentionSession(adapter)
    watching = session.watching_last_column()
    with torch.no_grad(), session, watching as seen, first_layers(adapter, 1):
        adapter.model(**inputs, use_cache=False, logits_to_keep=1)
    return bool(seen.found)


def _shifted(states: Tensor, pads: Sequence[int]) -> Tensor:
    """Rows of keys or values (1, h, n, d) behind their padding, cut to n: (len(pads), h, n, d)."""
    rows = states.new_zeros(len(pads), *states.shape[1:])
    length = states.shape[2]
    for row, pad in zip(rows, pads, strict=True):
        row[:, pad:] = states[0, :, : length - pad]
    return rows
