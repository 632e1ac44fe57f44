"""What questions about the same images have in common, run once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor
from transformers import DynamicCache

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.messages import Prompt
from lvlmsal.adapters.pixels import TEXT
from lvlmsal.adapters.prompts import behind_mark
from lvlmsal.adapters.videos import Opened
from lvlmsal.attention.asked import Asked
from lvlmsal.attention.hooks import first_layers
from lvlmsal.attention.prefixes import Begun, SecondPrefix, Tails, unfinished
from lvlmsal.attention.second_stream import ONLY
from lvlmsal.attention.session import AttentionSession
from lvlmsal.decoders.base import Decoder
from lvlmsal.interventions.base import Intervention
from lvlmsal.interventions.outside import AsksOtherwise
from lvlmsal.model.answer import Answer
from lvlmsal.model.generation import generate_answers
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.versions import CACHE


def can_share(decoder: Decoder, interventions: Sequence[Intervention]) -> bool:
    """Whether answers from a shared prefix are those that each question gets alone."""
    return decoder.shares_prefix and all(
        edit.shares_prefix and (edit.has_second_stream or "second stream" not in edit.hooks())
        for edit in interventions
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

    def run(self, interventions: Sequence[Intervention]) -> Begun:
        """Run the shared tokens."""
        cache = DynamicCache()
        session = AttentionSession(
            self.adapter,
            interventions,
            # the prompt goes on, so none of these rows predicts a token of the answer
            spans=unfinished(self.adapter.spans(self.inputs["input_ids"])),
            asked=Asked(self.inputs, [self.images], [self.question]),
            records=False,
            # of second prompts that are run as a whole, none is made for these tokens
            edits_logits=any(getattr(each, "shares_second", False) for each in interventions),
        )
        with torch.no_grad(), session:
            self.adapter.model(**self.inputs, **{CACHE: cache}, use_cache=True, logits_to_keep=1)
            return Begun.of(session.passes, cache, self.inputs)

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
        begun = self.run(interventions)
        other = self.of_second_questions(questions, interventions)
        if other is not None:
            begun.seconds = {ONLY: SecondPrefix(other.inputs, other.tails)}
        answers: dict[int, Answer] = {}
        for batch in self.batches(batch_size, other):
            before = 1 + begun.runs  # passes over shared tokens
            found = generate_answers(
                self.adapter,
                self.tails_of(batch).behind(self.inputs),
                [questions[index] for index in batch],
                decoder,
                interventions,
                pictures=[self.images] * len(batch),
                diagnose=[diagnose[index] for index in batch],
                max_new_tokens=max_new_tokens,
                seed=seed,
                sample_ids=[sample_ids[index] for index in batch],
                begun=begun,
                tails=self.tails_of(batch),
            )
            for answer in found:
                answer.forwards += before
            answers.update(zip(batch, found, strict=True))
        return [answers[index] for index in range(len(questions))]

    def of_second_questions(
        self, questions: Sequence[Prompt], interventions: Sequence[Intervention]
    ) -> SharedPrefix | None:
        """What second prompts begin with that are other questions about the same images."""
        asked = Asked(self.inputs, [self.images] * len(questions), questions)
        for edit in interventions:
            if isinstance(edit, AsksOtherwise) and not edit.is_identity:
                found = edit.second_questions(asked)
                return None if found is None else self.of(self.adapter, self.images, found)
        return None

    def tails_of(self, batch: Sequence[int]) -> Tails:
        """What stands behind the shared tokens in some questions."""
        pad_token = self.adapter.tokenizer.pad_token_id
        return Tails.of(self.tails, batch, 0 if pad_token is None else int(pad_token))

    def fits(self, batch: Sequence[int]) -> bool:
        """Whether the padding of a batch would reach no further than to its images."""
        lengths = [len(self.tails[index]) for index in batch]
        return max(lengths) - min(lengths) <= self.slack

    def batches(self, size: int, other: SharedPrefix | None = None) -> Iterator[list[int]]:
        """Questions that are decoded together: of similar length, at most `size` of them.

        Args:
            size: of a batch.
            other: of second questions, which shall fit as well.
        """
        order = sorted(range(len(self.tails)), key=lambda index: len(self.tails[index]))
        batch: list[int] = []
        for index in order:
            longer = [*batch, index]
            fits = self.fits(longer) and (other is None or other.fits(longer))
            if batch and (not fits or len(batch) == size):
                yield batch
                batch = []
            batch.append(index)
        yield batch


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
