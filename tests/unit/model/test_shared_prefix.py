"""Questions about one image: what they share is run once, and every answer stays what it was."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from PIL import Image

from lvlmsal.attention import intervene
from lvlmsal.decoders.guided import Guided, GuidedBeam
from lvlmsal.decoders.opera.decoder import OPERA
from lvlmsal.decoders.search import Beam, Greedy
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.interventions.icd import ICD
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.m3id import M3ID
from lvlmsal.interventions.marine import MARINE
from lvlmsal.interventions.pai import PAI
from lvlmsal.interventions.ritual import RITUAL
from lvlmsal.interventions.sid import SID
from lvlmsal.interventions.vcd import VCD
from lvlmsal.interventions.vissink import VisSink
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.model.shared_prefix import SharedPrefix, can_share
from lvlmsal.testing.sharing import check_sharing
from lvlmsal.testing.tiny import tiny_lvlm
from lvlmsal.tiny.parts import WORDS
from tests.tiers import FAMILIES
from tests.unit.model.test_lvlm import picture

pytestmark = pytest.mark.slow

QUESTIONS = [
    "Is there a cat?",
    "Is there a big dog here?",
    "Is there a dog?",
    "Is there a tree? é, or two",
    "Is there a cow?",
]
NAMES = ["a", "b", "c", "d", "e"]
DECODERS: list[Any] = [
    "greedy",
    "sample",
    {"name": "beam", "num_beams": 3},
    {"name": "sgrs", "alpha": 0.9, "row": "predicting"},
    {"name": "sgrs", "alpha": 0.9, "row": "candidate", "block_size": 1},
    {"name": "sgrs", "alpha": 0.9, "rejection": False},
    {"name": "guided", **Guided.strong},
    {"name": "guided-beam", **GuidedBeam.strong, "num_beams": 2},
]


def loaded(family: str) -> Lvlm:
    return load(tiny_lvlm(family, dtype=torch.float64))


class Prefills:
    """Counts the tokens that the text decoder reads."""

    def __init__(self, lvlm: Lvlm) -> None:
        self.columns = 0
        lvlm.adapter.decoder.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module: object, args: Any, kwargs: Any) -> None:
        self.columns += kwargs["inputs_embeds"].shape[0] * kwargs["inputs_embeds"].shape[1]


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("decoder", DECODERS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_each_question_alone(family: str, decoder: Any, edited: bool) -> None:
    lvlm = loaded(family)
    images = [picture(30, 70, 1), picture(50, 50, 2)] if edited else picture()
    options: dict[str, Any] = {
        "decoder": decoder,
        "interventions": [LocoRE(beta=1.5, window=3)] if edited else [],
        "max_new_tokens": 5,
        "seed": 3,
    }
    together = lvlm.ask(images, QUESTIONS, batch_size=3, sample_ids=NAMES, **options)
    for question, name, found in zip(QUESTIONS, NAMES, together, strict=True):
        alone = lvlm.generate(images, question, sample_ids=[name], **options)
        assert found.token_ids == alone.token_ids
        assert found.text == alone.text
        assert found.prompt == question
        assert found.spans.images == alone.spans.images
        assert found.spans.output == alone.spans.output
        for mine, theirs in zip(found.tokens, alone.tokens, strict=True):
            wanted = theirs.saliency
            close = None if wanted is None else pytest.approx(wanted, rel=1e-9)
            assert mine.saliency == close
            assert [entry["id"] for entry in mine.rejected] == [e["id"] for e in theirs.rejected]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_a_batch_are_padded_and_the_image_is_read_once(family: str) -> None:
    """Otherwise the test above would say nothing about padding, or about sharing."""
    lvlm = loaded(family)
    shared = SharedPrefix.of(lvlm.adapter, [picture()], QUESTIONS)
    assert shared is not None
    batches = list(shared.batches(3))
    assert sorted(index for batch in batches for index in batch) == list(range(len(QUESTIONS)))
    lengths = [[len(shared.tails[index]) for index in batch] for batch in batches]
    assert any(len(set(batch)) > 1 for batch in lengths)
    assert all(max(batch) - min(batch) <= shared.slack for batch in lengths)
    start, end = lvlm.adapter.spans(shared.inputs["input_ids"])[0].images[-1]
    reads = Prefills(lvlm)
    lvlm.ask(picture(), QUESTIONS, max_new_tokens=1)
    assert reads.columns < 2 * (end - start) + sum(len(q) + 30 for q in QUESTIONS)


@pytest.mark.parametrize(
    "edits",
    [
        [VCD(**VCD.strong)],
        [M3ID(**M3ID.strong)],
        [PAI(**PAI.strong)],
        [RITUAL(**RITUAL.strong)],
        [LocoRE(beta=1.0, rows="predicting"), VCD(**VCD.strong)],
        [VisSink(**VisSink.strong), ICD()],
        [SID(**SID.strong)],
        [MARINE(**MARINE.strong)],
    ],
    ids=lambda edits: "+".join(edit.name for edit in edits),
)
@pytest.mark.parametrize("decoder", [Greedy(), Beam(3), SGRS(alpha=1.0), OPERA()], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_second_streams_and_edits_of_predicting_rows_share(
    family: str, decoder: Any, edits: list[Any]
) -> None:
    assert can_share(decoder, edits)
    check_sharing(decoder, edits, [family])


@pytest.mark.parametrize("edit", [VCD(beta=0.0), LocoRE(beta=1.0)], ids=lambda edit: edit.name)
def test_inside_of_a_scope_each_question_is_answered_alone(edit: Any) -> None:
    lvlm = loaded("llava")
    with intervene(lvlm.model, edit):
        found = lvlm.ask(picture(), QUESTIONS, batch_size=2, max_new_tokens=3)
        alone = [lvlm.generate(picture(), one, max_new_tokens=3) for one in QUESTIONS]
    assert [answer.token_ids for answer in found] == [answer.token_ids for answer in alone]


def test_a_noised_image_is_read_once_for_all_questions() -> None:
    """The tokens of an image twice, once for each stream; those of a question each time."""
    lvlm = loaded("llava")
    image = lvlm.adapter.spans(lvlm.adapter.encode([[picture()]], QUESTIONS[:1])["input_ids"])[0]
    (start, end) = image.images[0]
    reads = Prefills(lvlm)
    lvlm.ask(picture(), QUESTIONS, interventions=VCD(beta=0.0), max_new_tokens=1)
    read = sum(len(question) + 30 for question in QUESTIONS)
    assert 2 * (end - start) < reads.columns < 3 * (end - start) + 2 * read


def test_questions_without_a_common_image_are_generated_as_usual() -> None:
    lvlm = loaded("llava")
    mark = lvlm.processor.image_token
    for images, questions in (
        (None, QUESTIONS),
        (picture(), [f"First this: {mark} what is it?", f"Or that: {mark} what is it?"]),
    ):
        pictures = [] if images is None else [images]
        assert SharedPrefix.of(lvlm.adapter, pictures, questions) is None
        found = lvlm.ask(images, questions, batch_size=2, max_new_tokens=3)
        alone = [lvlm.generate(images, question, max_new_tokens=3) for question in questions]
        assert [answer.token_ids for answer in found] == [answer.token_ids for answer in alone]


def test_one_question_twice_and_one_question_alone() -> None:
    lvlm = loaded("qwen2_vl")
    alone = lvlm.generate(picture(), QUESTIONS[0], max_new_tokens=3).token_ids
    for count in (1, 2):
        found = lvlm.ask(picture(), QUESTIONS[:1] * count, max_new_tokens=3)
        assert [answer.token_ids for answer in found] == [alone] * count
    assert lvlm.ask(picture(), []) == []
    with pytest.raises(TypeError, match="generate"):
        lvlm.ask(picture(), QUESTIONS[0])


def test_another_image_between_two_calls_leaves_no_trace() -> None:
    """Qwen's model remembers the offset of its last prompt's positions."""
    lvlm = loaded("qwen2_vl")
    wide, tall = picture(140, 28, 3), picture(28, 84, 4)
    wanted = [lvlm.generate(image, QUESTIONS[1], max_new_tokens=4) for image in (wide, tall)]
    first = lvlm.ask(wide, QUESTIONS, max_new_tokens=4)[1]
    second = lvlm.ask(tall, QUESTIONS, max_new_tokens=4)[1]
    again = lvlm.ask(wide, QUESTIONS, max_new_tokens=4)[1]
    assert [a.token_ids for a in (first, second, again)] == [
        wanted[0].token_ids,
        wanted[1].token_ids,
        wanted[0].token_ids,
    ]


class ByLength(AttentionIntervention):
    """Acts by how long the prompt is, so that an image's rows depend on the question."""

    name: ClassVar[str] = "by-length"

    def scores(self, scores: torch.Tensor, context: Any) -> torch.Tensor:
        lengths = scores.new_tensor([spans.length for spans in context.spans])
        return scores * (1 + lengths[:, None, None, None] / 10)


def test_an_intervention_shares_only_if_it_says_so() -> None:
    lvlm = loaded("llava")
    greedy = lvlm.build_decoder("greedy")
    assert can_share(greedy, [LocoRE()])
    assert not can_share(greedy, [LocoRE(), ByLength()])
    found = lvlm.ask(picture(), QUESTIONS, interventions=[ByLength()], max_new_tokens=3)
    for question, answer in zip(QUESTIONS, found, strict=True):
        alone = lvlm.generate(picture(), question, interventions=[ByLength()], max_new_tokens=3)
        assert answer.token_ids == alone.token_ids


class Liar(ByLength):
    """Says that it shares although it does not."""

    shares_prefix: ClassVar[bool] = True

    def scores(self, scores: torch.Tensor, context: Any) -> torch.Tensor:
        lengths = scores.new_tensor([spans.length for spans in context.spans])
        return scores * (1 + lengths[:, None, None, None] % 5)


def test_the_kit_finds_out_who_shares_wrongly() -> None:
    with pytest.raises(AssertionError, match="shares_prefix"):
        check_sharing(Greedy(), [Liar()], ["llava"])
    check_sharing(Greedy(), [ByLength()], ["llava"])  # says that it does not share


def test_a_diagnosis_after_sharing_is_that_of_the_answer_alone() -> None:
    lvlm = loaded("llava")
    image = Image.fromarray(torch.zeros(40, 40, 3, dtype=torch.uint8).numpy())
    answer = lvlm.ask(image, QUESTIONS, decoder="sgrs", max_new_tokens=3)[3]
    alone = lvlm.diagnose(
        image,
        QUESTIONS[3],
        answer.token_ids,
        options=lvlm.build_decoder("sgrs").saliency_options(),
    )
    assert answer.diagnose().token_saliency() == pytest.approx(alone.token_saliency(), nan_ok=True)


def test_marks_that_pixels_embed_are_not_run_again_without_them() -> None:
    # Behind an image of Ovis2 stands a mark whose embedding is the tower's where there are pixels.
    lvlm = loaded("ovis2")
    prefix = SharedPrefix.of(lvlm.adapter, [picture()], QUESTIONS)
    assert prefix is not None
    shared = prefix.inputs["input_ids"][0]
    assert shared[-prefix.slack :].max() < WORDS < shared[-prefix.slack - 1]
    together = lvlm.ask(picture(), QUESTIONS, batch_size=3, max_new_tokens=5)
    for question, found in zip(QUESTIONS, together, strict=True):
        assert found.token_ids == lvlm.generate(picture(), question, max_new_tokens=5).token_ids
