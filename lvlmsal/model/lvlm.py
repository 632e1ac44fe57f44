"""A vision-language model with everything that is needed to ask it something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Unpack, overload

import torch
from transformers import PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from lvlmsal.adapters import Loaded, load_checkpoint
from lvlmsal.adapters.prompts import check_text
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.combination import check_combination
from lvlmsal.interventions.base import Intervention
from lvlmsal.model.answer import Answer
from lvlmsal.model.components import Spec, build
from lvlmsal.model.generation import Edits, GenerateOptions, generate_answers, listed
from lvlmsal.model.inputs import Images, one_entry_each, opened, opened_batch
from lvlmsal.model.shared_prefix import SharedPrefix, can_share
from lvlmsal.registry import DECODERS, INTERVENTIONS
from lvlmsal.saliency.diagnosing import diagnose_response
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport


class Lvlm:
    """A loaded model, its processor and its adapter.

    Made by :func:`load`. ``model`` is a plain transformers model: whatever works with it goes on
    working, ``model.generate`` among it.

    Attributes:
        model: the transformers model.
        processor: its processor.
        adapter: what the library knows of its family.
        card: the catalog's card, where it was loaded by a catalog name, or is a model of your own
            whose ``config._name_or_path`` is a checkpoint of the catalog.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.model: PreTrainedModel = loaded.model
        self.processor = loaded.processor
        self.adapter = loaded.adapter
        self.card = loaded.card

    def __repr__(self) -> str:
        name = self.card.name if self.card is not None else type(self.model).__name__
        return f"Lvlm({name}, {self.adapter.num_layers} layers, {self.model.device})"

    def build_decoder(self, spec: Decoder | Spec) -> Decoder:
        """A decoder from its name and options, on top of the checkpoint's own defaults."""
        if isinstance(spec, Decoder):
            return spec
        return build(DECODERS, spec, self.card, self.model, stacklevel=3)

    def build_intervention(self, spec: Intervention | Spec) -> Intervention:
        """An intervention from its name and options, on top of the checkpoint's own defaults."""
        if isinstance(spec, Intervention):
            return spec
        return build(INTERVENTIONS, spec, self.card, self.model, stacklevel=3)

    @overload
    def generate(  # type: ignore[overload-overlap]  # a str is a sequence of str, distinguished below
        self,
        images: Images,
        prompts: str,
        **options: Unpack[GenerateOptions],
    ) -> Answer: ...

    @overload
    def generate(
        self,
        images: Sequence[Images],
        prompts: Sequence[str],
        **options: Unpack[GenerateOptions],
    ) -> list[Answer]: ...

    def generate(
        self,
        images: Images | Sequence[Images],
        prompts: str | Sequence[str],
        *,
        decoder: Decoder | Spec = "greedy",
        interventions: Edits = (),
        max_new_tokens: int = 64,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> Answer | list[Answer]:
        """Ask one question, or a batch of them.

        Args:
            images: an image or a list of them for one question: paths, Pillow images, arrays,
                tensors, bytes or open files; for a batch, one such entry a question.
            prompts: the question, or a list of questions. The chat template is applied.
            decoder: a decoder, its name, or ``{"name": "sgrs", "alpha": 0.6}``.
            interventions: likewise, one or a list of them in the order in which they act.
            max_new_tokens: length limit of the answer.
            seed: random numbers depend on it, the sample's id and the position.
            sample_ids: one for each question; the row's number by default.
            streamer: told each token; one question at a time.

        Returns:
            An :class:`Answer`, or a list of them for a list of questions.

        Raises:
            ConfigError: an unknown name or option.
            DataError: an image that cannot be read, or a sample that the processor refuses.
            UnsupportedError: decoder and interventions do not go together.
        """
        single = isinstance(prompts, str)
        questions = [prompts] if isinstance(prompts, str) else list(prompts)
        entries: list[Any] = [images] if single else one_entry_each(images, questions)
        chosen = self.build_decoder(decoder)
        edits = [self.build_intervention(spec) for spec in listed(interventions)]
        check_combination(chosen, edits)
        pictures, again = opened_batch(
            entries, max_pixels=self.adapter.max_image_pixels, sample_ids=sample_ids
        )
        answers = generate_answers(
            self.adapter,
            self.adapter.encode(pictures, questions),
            questions,
            chosen,
            edits,
            diagnose=self._diagnoses(again, questions, chosen, edits),
            max_new_tokens=max_new_tokens,
            seed=seed,
            sample_ids=sample_ids,
            streamer=streamer,
        )
        return answers[0] if single else answers

    def ask(
        self,
        images: Images,
        prompts: Sequence[str],
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
            prompts: the questions.
            batch_size: questions that are decoded together.
            **options: of :meth:`generate`.

        Returns:
            An answer a question, in their order.
        """
        if isinstance(prompts, str):
            raise TypeError("ask takes a list of questions; for one question take generate")
        decoder = self.build_decoder(options.get("decoder", "greedy"))
        given = listed(options.get("interventions", ()))
        edits = [self.build_intervention(spec) for spec in given]
        check_combination(decoder, edits)
        pictures = opened(images, max_pixels=self.adapter.max_image_pixels)
        names = list(options.get("sample_ids") or map(str, range(len(prompts))))
        if len(prompts) > 1 and can_share(decoder, edits):
            shared = SharedPrefix.of(self.adapter, pictures, prompts)
            if shared is not None:
                return shared.answers(
                    prompts,
                    decoder,
                    edits,
                    diagnose=self._diagnoses([pictures] * len(prompts), prompts, decoder, edits),
                    sample_ids=names,
                    batch_size=batch_size,
                    max_new_tokens=options.get("max_new_tokens", 64),
                    seed=options.get("seed", 0),
                )
        answers: list[Answer] = []
        for first in range(0, len(prompts), batch_size):
            part = slice(first, first + batch_size)
            asked = list(prompts[part])
            options["sample_ids"] = names[part]
            answers += self.generate([pictures] * len(asked), asked, **options)
        return answers

    def diagnose(
        self,
        images: Images,
        prompt: str,
        response: str | Sequence[int] | None = None,
        *,
        options: SaliencyOptions | None = None,
        interventions: Edits = (),
        max_new_tokens: int = 64,
    ) -> SaliencyReport:
        """Saliency of every token of an answer (Eq. 1-6).

        One forward and one backward pass serve the whole answer, or each block of a long one;
        ``norm="matrix"`` takes a backward pass a token.

        Args:
            images: as in :meth:`generate`.
            prompt: the question.
            response: the answer to judge, as text or token ids; the model's own greedy answer by
                default.
            options: which saliency.
            interventions: edits under which the answer is judged.
            max_new_tokens: length limit of the model's own answer.

        Raises:
            ValueError: the answer holds no token.
        """
        edits = [self.build_intervention(spec) for spec in listed(interventions)]
        pictures = opened(images, max_pixels=self.adapter.max_image_pixels)
        if response is None:
            answer = self.generate(
                pictures, prompt, interventions=edits, max_new_tokens=max_new_tokens
            )
            ids = answer.token_ids
        elif isinstance(response, str):
            check_text(response, "the response")
            ids = list(self.adapter.tokenizer(response, add_special_tokens=False)["input_ids"])
        else:
            ids = list(response)
        if not ids:
            raise ValueError("the response holds no token, so there is nothing to diagnose")
        inputs = self.adapter.encode([pictures], [prompt])
        return diagnose_response(
            self.adapter,
            inputs,
            ids,
            options or SaliencyOptions(),
            prompt=prompt,
            interventions=edits,
            images=pictures,
        )

    def _diagnoses(
        self,
        entries: Sequence[Any],
        questions: Sequence[str],
        decoder: Decoder,
        interventions: Sequence[Intervention],
    ) -> list[Callable[..., SaliencyReport]]:
        """What judges an answer to each question, as its decoder would."""
        judge = partial(
            self.diagnose, interventions=interventions, options=decoder.saliency_options()
        )
        return [partial(judge, *pair) for pair in zip(entries, questions, strict=True)]


def load(
    source: str | Path | tuple[torch.nn.Module, Any],
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    device_map: str | dict[str, Any] | None = None,
    image_backend: str = "auto",
    max_image_pixels: int | None = None,
) -> Lvlm:
    """Load a model that can be asked, diagnosed and evaluated.

    Args:
        source: a catalog name (``lvlmsal list checkpoints``), a hub id, a local folder, or a
            (model, processor) pair of your own. A model in a PEFT, ``torch.compile``, DataParallel
            or DDP wrapper is taken out of it; what the wrapper does to its layers stays.
        dtype: of the weights, for instance ``"bfloat16"``; as stored by default.
        device: ``"cuda"``, ``"cpu"``; the CPU by default. Not together with ``device_map``.
        revision: of a hub id.
        trust_remote_code: whether code from the hub may run.
        device_map: as in transformers, for models that are spread over devices.
        image_backend: ``"pil"`` or ``"torchvision"``; by default what transformers chooses.
        max_image_pixels: larger images are refused, by default those over 100 million pixels.

    Raises:
        UnsupportedError: no adapter for the architecture.
        UnknownName: neither a catalog name nor a folder nor a hub id.
    """
    return Lvlm(
        load_checkpoint(
            source,
            dtype=dtype,
            device=device,
            revision=revision,
            trust_remote_code=trust_remote_code,
            device_map=device_map,
            image_backend=image_backend,
            max_image_pixels=max_image_pixels,
        )
    )
