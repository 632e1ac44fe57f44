"""A model in memory, what is built for it, and how it judges answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Unpack

from transformers import PreTrainedModel

from lvlmsal.adapters import Loaded
from lvlmsal.adapters.messages import Prompt, question_of, without_images
from lvlmsal.adapters.prompts import check_text
from lvlmsal.adapters.videos import Opened, pictures_of
from lvlmsal.decoders.base import Decoder
from lvlmsal.detection.answers import detect_answer
from lvlmsal.detection.asking import Respondent
from lvlmsal.detection.judge import DEFAULT, DetectorSpec, Judge, make_judge
from lvlmsal.detection.result import Detection
from lvlmsal.detection.vocabulary import judged_vocabulary
from lvlmsal.detection.words import Aggregate
from lvlmsal.interventions.base import Intervention
from lvlmsal.model import MAX_NEW_TOKENS
from lvlmsal.model.components import Spec, build
from lvlmsal.model.inputs import Images, images_of, opened
from lvlmsal.model.options import Edits, listed
from lvlmsal.registry import DECODERS, INTERVENTIONS
from lvlmsal.saliency.diagnosing import diagnose_response
from lvlmsal.saliency.options import SaliencyKeywords, SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport


class _Asked(NamedTuple):
    """A question with the answer that is judged.

    Attributes:
        pictures: of the question.
        prompt: the question, or messages without their images.
        ids: of the answer.
    """

    pictures: list[Opened]
    prompt: Prompt
    ids: list[int]


class Judging:
    """A loaded model that judges answers; see :class:`~lvlmsal.model.lvlm.Lvlm`."""

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

    def build_judge(self, spec: DetectorSpec) -> Judge:
        """A detector from its name and options, with the scaling that goes with this model.

        Args:
            spec: see :meth:`~lvlmsal.model.lvlm.Lvlm.detect`.
        """
        return make_judge(spec, self.adapter, stacklevel=3)

    def diagnose(
        self,
        images: Images,
        prompt: Prompt,
        response: str | Sequence[int] | None = None,
        *,
        options: SaliencyOptions | None = None,
        interventions: Edits = (),
        max_new_tokens: int = MAX_NEW_TOKENS,
        **saliency: Unpack[SaliencyKeywords],
    ) -> SaliencyReport:
        """Saliency of every token of an answer (Eq. 1-6).

        One forward and one backward pass serve the whole answer, or each block of a long one;
        ``norm="matrix"`` takes a backward pass a token.

        Args:
            images: as in :meth:`generate`.
            prompt: the question, or messages.
            response: the answer to judge, as text or token ids; the model's own greedy answer by
                default.
            options: which saliency.
            interventions: edits under which the answer is judged; one or a list of them, as in
                :meth:`generate`.
            max_new_tokens: length limit of the model's own answer.
            saliency: options by name, such as ``row="candidate"`` or ``layers="0.25:0.75"``.

        Raises:
            UnknownName: an unknown option.
            ValueError: the answer holds no token, or an option has no such value.
        """
        chosen = (options or SaliencyOptions()).but(**saliency)
        edits = [self.build_intervention(spec) for spec in listed(interventions)]
        found = self._asked(images, prompt, response, edits, max_new_tokens)
        return diagnose_response(
            self.adapter,
            self.adapter.encode([found.pictures], [found.prompt]),
            found.ids,
            chosen,
            prompt=question_of(found.prompt),
            interventions=edits,
            images=found.pictures,
        )

    def detect(
        self,
        images: Images,
        prompt: Prompt,
        answer: str | Sequence[int] | None = None,
        *,
        detector: DetectorSpec = DEFAULT,
        words: str | Sequence[str] | None = None,
        aggregate: Aggregate = "first",
        interventions: Edits = (),
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> Detection:
        """Which words of an answer are probably wrong: spans with risks from 0 to 1.

        A risk is no probability, see docs/detection.md.

        Args:
            images: as in :meth:`generate`.
            prompt: the question, or messages.
            answer: the answer to judge, as text or token ids; the model's own greedy answer by
                default.
            detector: a name of ``lvlmsal list detectors``, ``{"name": "habit-lens", ...}``, or the
                path of a file of scalings, as ``lvlmsal fit`` writes them, which may also stand as
                ``scaling`` among the options. By default the rule that needs no label where a
                scaling for the model exists, and plain log-probability, with a warning,
                elsewhere.
            words: which words are judged: ``"coco"`` for the objects of COCO, the path of a
                vocabulary file, or the words themselves; by default those of the scaling, or
                ``"coco"``.
            aggregate: how the risk of a word follows from those of its tokens: ``"first"``,
                ``"mean"``, ``"max"`` or ``"noisy-or"``.
            interventions: edits under which the answer is judged, as in :meth:`diagnose`.
            max_new_tokens: length limit of the model's own answer, and of those that a detector
                samples.

        Raises:
            ConfigError: an unknown name or option.
            UnsupportedError: a detector that has to be scaled for this model and is not, or a file
                that was made from another one.
        """
        judge = self.build_judge(detector)
        edits = [self.build_intervention(spec) for spec in listed(interventions)]
        found = self._asked(images, prompt, answer, edits, max_new_tokens)
        return detect_answer(
            self.adapter,
            self.adapter.encode([found.pictures], [found.prompt]),
            found.ids,
            judge,
            own=answer is None,
            vocabulary=None if words is None else judged_vocabulary(words),
            aggregate=aggregate,
            prompt=question_of(found.prompt),
            interventions=edits,
            images=pictures_of(found.pictures),
            respondent=self.respondent(found.pictures, found.prompt, edits, max_new_tokens),
        )

    @abstractmethod
    def respondent(
        self,
        images: Images,
        prompt: Prompt,
        interventions: Sequence[Intervention] = (),
        max_new_tokens: int = MAX_NEW_TOKENS,
        sample_id: str = "",
    ) -> Respondent:
        """This model with a question, for detectors that ask it more.

        Args:
            images: of the question.
            prompt: the question, or messages without their images.
            interventions: under which everything is asked; odds are those before logits are edited.
            max_new_tokens: length limit of sampled answers.
            sample_id: of the question, which their random numbers depend on.
        """

    def _asked(
        self,
        images: Images,
        prompt: Prompt,
        response: str | Sequence[int] | None,
        edits: Sequence[Intervention],
        max_new_tokens: int,
    ) -> _Asked:
        """Read what was asked and answered; without an answer, ask.

        Raises:
            ValueError: the answer holds no token.
        """
        images, prompt = images_of(prompt, images), without_images(prompt)
        pictures = opened(images, max_pixels=self.adapter.max_image_pixels)
        if response is None:
            ids = self._own_answer(pictures, prompt, edits, max_new_tokens)
        elif isinstance(response, str):
            check_text(response, "the response")
            ids = list(self.adapter.tokenizer(response, add_special_tokens=False)["input_ids"])
        else:
            ids = list(response)
        if not ids:
            raise ValueError("the response holds no token, so there is nothing to judge")
        return _Asked(pictures, prompt, ids)

    @abstractmethod
    def _own_answer(
        self,
        pictures: list[Opened],
        prompt: Prompt,
        interventions: Sequence[Intervention],
        max_new_tokens: int,
    ) -> list[int]:
        """Token ids of the model's own greedy answer."""

    def _diagnoses(
        self,
        entries: Sequence[Any],
        questions: Sequence[Prompt],
        decoder: Decoder,
        interventions: Sequence[Intervention],
    ) -> list[Callable[..., SaliencyReport]]:
        """What judges an answer to each question, as its decoder would."""
        judge = partial(
            self.diagnose, interventions=interventions, options=decoder.saliency_options()
        )
        return [partial(judge, *pair) for pair in zip(entries, questions, strict=True)]
