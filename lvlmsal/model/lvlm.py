"""A vision-language model with everything that is needed to ask it something."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Unpack, overload

from transformers.generation.streamers import BaseStreamer

from lvlmsal.adapters.messages import Prompt, is_single, without_images
from lvlmsal.adapters.videos import Opened
from lvlmsal.attention.scopes import edited
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.combination import check_combination
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import Intervention
from lvlmsal.model import MAX_NEW_TOKENS
from lvlmsal.model.answer import Answer
from lvlmsal.model.components import Spec
from lvlmsal.model.generation import generate_answers
from lvlmsal.model.inputs import Images, images_of, one_entry_each, opened, opened_batch
from lvlmsal.model.judging import Judging
from lvlmsal.model.options import KNOWN, Edits, GenerateOptions, listed, refuse_others
from lvlmsal.model.respondent import ModelRespondent
from lvlmsal.model.shared_prefix import SharedPrefix, can_share
from lvlmsal.model.stream import AnswerStream


class Lvlm(Judging):
    """A loaded model, its processor and its adapter.

    Made by :func:`lvlmsal.load`. ``model`` is a plain transformers model: whatever works with it
    goes on working, ``model.generate`` among it.

    Attributes:
        model: the transformers model.
        processor: its processor.
        adapter: what the library knows of its family.
        card: the catalog's card, where it was loaded by a catalog name, or is a model of your own
            whose ``config._name_or_path`` is a checkpoint of the catalog.
    """

    @overload
    def generate(  # type: ignore[overload-overlap]  # a str is a sequence of str: `is_single` tells
        self, images: Images, prompts: Prompt, **options: Unpack[GenerateOptions]
    ) -> Answer: ...

    @overload
    def generate(
        self,
        images: Sequence[Images] | None,
        prompts: Sequence[Prompt],
        **options: Unpack[GenerateOptions],
    ) -> list[Answer]: ...

    def generate(
        self,
        images: Images | Sequence[Images],
        prompts: Prompt | Sequence[Prompt],
        *,
        decoder: Decoder | Spec = "greedy",
        interventions: Edits = (),
        max_new_tokens: int = MAX_NEW_TOKENS,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
        **others: Any,
    ) -> Answer | list[Answer]:
        """Ask one question, or a batch of them.

        Args:
            images: an image or a list of them for one question: paths, Pillow images, arrays,
                tensors, bytes or open files, and :class:`lvlmsal.Video` in the place of any of
                them; for a batch, one such entry a question. None for messages that hold their
                images, ``{"type": "image", "image": ...}``.
            prompts: the question, or a list of questions. The chat template is applied. In place of
                a question messages of one or several turns, ``[{"role": "user", "content": ...}]``.
            decoder: a decoder, its name, or ``{"name": "sgrs", "alpha": 0.6}``.
            interventions: likewise, one or a list of them in the order in which they act.
            max_new_tokens: length limit of the answer.
            seed: random numbers depend on it, the sample's id and the position.
            sample_ids: one for each question; the row's number by default.
            streamer: told each token; one question at a time. :meth:`stream` gives text.
            others: none; the error says what to type in place of options of transformers.

        Returns:
            An :class:`Answer`, or a list of them for a list of questions.

        Raises:
            ConfigError: an unknown name or option.
            DataError: an image that cannot be read, or a sample that the processor refuses.
            UnsupportedError: decoder and interventions do not go together.
        """
        refuse_others(others)
        single = is_single(prompts)
        questions: list[Any] = [prompts] if single else list(prompts)
        entries: list[Any] = [images] if single else one_entry_each(images, questions)
        chosen = self.build_decoder(decoder)
        edits = [self.build_intervention(spec) for spec in listed(interventions)]
        check_combination(chosen, edits)
        pictures, again = opened_batch(
            [images_of(*pair) for pair in zip(questions, entries, strict=True)],
            max_pixels=self.adapter.max_image_pixels,
            sample_ids=sample_ids,
        )
        questions = [without_images(prompt) for prompt in questions]
        answers = generate_answers(
            self.adapter,
            self.adapter.encode(pictures, questions),
            questions,
            chosen,
            edits,
            pictures=pictures,
            diagnose=self._diagnoses(again, questions, chosen, edits),
            max_new_tokens=max_new_tokens,
            seed=seed,
            sample_ids=sample_ids,
            streamer=streamer,
        )
        return answers[0] if single else answers

    def stream(
        self, images: Images, prompt: Prompt, **options: Unpack[GenerateOptions]
    ) -> AnswerStream:
        """Ask one question, and take the answer piece by piece while it is generated.

        Args:
            images: as in :meth:`generate`.
            prompt: the question, or messages.
            options: of :meth:`generate`; all but a streamer.

        Returns:
            An iterator of texts; its `answer` is the whole :class:`Answer`.

        Raises:
            UnsupportedError: decoders that may still leave what they have written for something
                else, beam search and OPERA among them.
            LvlmsalError: as :meth:`generate`; what is wrong with an image or the prompt when the
                first piece is taken.
        """
        if not is_single(prompt) or "streamer" in options:
            raise TypeError("stream takes one question and no streamer; take generate for either")
        decoder = self.build_decoder(options.pop("decoder", "greedy"))
        if decoder.is_beam:
            raise UnsupportedError(
                f"{decoder.name} cannot stream, for a beam may still be left for another one: take "
                "generate, or a decoder that writes one answer, such as greedy, sample or sgrs"
            )
        ask = partial(self.generate, images, prompt, decoder=decoder, **options)
        return AnswerStream(self.adapter.decode, lambda streamer: ask(streamer=streamer))

    def ask(
        self,
        images: Images,
        prompts: Sequence[Prompt],
        *,
        batch_size: int = 8,
        **options: Unpack[GenerateOptions],
    ) -> list[Answer]:
        """Ask several questions about the same images, which are encoded and read once.

        The answers and their saliency are those of :meth:`generate`, up to the order in which
        floating-point numbers are summed. Where a decoder or an intervention rules that out, or
        the prompts share no image, batches are generated as usual.

        Args:
            images: of every question.
            prompts: the questions, or messages.
            batch_size: questions that are decoded together.
            **options: of :meth:`generate`; all but a streamer.

        Returns:
            An answer a question, in their order.
        """
        if is_single(prompts):
            raise TypeError("ask takes a list of questions; for one question take generate")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if options.get("streamer") is not None:
            raise TypeError(
                "ask takes no streamer, for it answers questions side by side: take generate, or "
                "stream, for each question"
            )
        refuse_others({k: v for k, v in options.items() if k not in KNOWN})
        for prompt in prompts:
            images_of(prompt, images if images is not None else [])
        decoder = self.build_decoder(options.get("decoder", "greedy"))
        given = listed(options.get("interventions", ()))
        edits = [self.build_intervention(spec) for spec in given]
        check_combination(decoder, edits)
        pictures = opened(images, max_pixels=self.adapter.max_image_pixels)
        names = list(options.get("sample_ids") or map(str, range(len(prompts))))
        if len(prompts) > 1 and can_share(decoder, edits) and not edited(self.adapter.decoder):
            shared = SharedPrefix.of(self.adapter, pictures, prompts)
            if shared is not None:
                return shared.answers(
                    prompts,
                    decoder,
                    edits,
                    diagnose=self._diagnoses([pictures] * len(prompts), prompts, decoder, edits),
                    sample_ids=names,
                    batch_size=batch_size,
                    max_new_tokens=options.get("max_new_tokens", MAX_NEW_TOKENS),
                    seed=options.get("seed", 0),
                )
        answers: list[Answer] = []
        for first in range(0, len(prompts), batch_size):
            part = slice(first, first + batch_size)
            asked = list(prompts[part])
            options["sample_ids"] = names[part]
            answers += self.generate([pictures] * len(asked), asked, **options)
        return answers

    def respondent(
        self,
        images: Images,
        prompt: Prompt,
        interventions: Sequence[Intervention] = (),
        max_new_tokens: int = MAX_NEW_TOKENS,
        sample_id: str = "",
    ) -> ModelRespondent:
        """See the base class."""
        return ModelRespondent(
            self.ask, self.adapter, images, prompt, interventions, max_new_tokens, sample_id
        )

    def _own_answer(
        self,
        pictures: list[Opened],
        prompt: Prompt,
        interventions: Sequence[Intervention],
        max_new_tokens: int,
    ) -> list[int]:
        """See the base class."""
        answer = self.generate(
            pictures, prompt, interventions=interventions, max_new_tokens=max_new_tokens
        )
        return answer.token_ids
