"""SCR with sources of the image alone: found once, kept, and the same whatever came before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from lvlmsal import load
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.prompt import Prompt
from lvlmsal.decoders.search import Greedy
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import HiddenStateIntervention, Intervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.scr.intervention import SCR
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.model.shared_prefix import can_share
from lvlmsal.saliency.block import block_saliency
from lvlmsal.saliency.full import full_graph_rows
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.testing.sharing import check_sharing
from lvlmsal.testing.tiny import tiny_inputs, tiny_lvlm, tiny_model
from tests.tiers import FAMILIES

pytestmark = pytest.mark.slow

OPTIONS: dict[str, Any] = {"lam": 3.0, "k": 2, "exclude_border": False}
OF_IMAGE = SCR(diagnosis="image", **OPTIONS)
OF_QUESTION = SCR(**OPTIONS)
ONE = "Is there a cat?"
TWO = "What is at the left, and what is at the right of it?"


def lvlm_of(family: str) -> Lvlm:
    return load(tiny_lvlm(family, layers=4, dtype=torch.float64))


def picture(seed: int) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (32, 48, 3), dtype=torch.uint8, generator=generator)
    return Image.fromarray(values.numpy())


class Spy(HiddenStateIntervention):
    """Keeps what an SCR would move, and moves nothing."""

    def __init__(self, edit: SCR) -> None:
        self.edit = edit
        self.found: list[list[list[int]]] = []

    def prepare(self, prompt: Prompt) -> None:
        self.found.append(self.edit.prepare(prompt).T.tolist())

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        return states


def moves(
    lvlm: Lvlm,
    edit: SCR,
    images: Sequence[Sequence[Image.Image]],
    questions: Sequence[str],
    *others: Intervention,
) -> list[list[list[int]]]:
    """(patch that takes, patch that gives) of each question, as positions."""
    spy = Spy(edit)
    inputs = lvlm.adapter.encode(images, questions)
    generative: Any = lvlm.model
    with intervene(lvlm.adapter, *others, spy):
        generative.generate(**inputs, max_new_tokens=1, do_sample=False)
    return [[move[1:] for move in spy.found[0] if move[0] == row] for row in range(len(questions))]


class Passes:
    """Counts passes of the decoder since they were counted last."""

    def __init__(self, lvlm: Lvlm) -> None:
        self._count = 0
        lvlm.adapter.decoder.register_forward_pre_hook(self._begins)

    def _begins(self, *_: object) -> None:
        self._count += 1

    def __call__(self) -> int:
        count, self._count = self._count, 0
        return count


@pytest.mark.parametrize("family", FAMILIES)
def test_sources_are_those_of_the_neutral_question(family: str) -> None:
    for images in ([picture(0)], [picture(0), picture(1)]):
        lvlm = lvlm_of(family)
        [wanted] = moves(lvlm, OF_QUESTION, [images], [OF_IMAGE.diagnosis_prompt])
        assert len(wanted) > 4
        for question in (ONE, TWO, OF_IMAGE.diagnosis_prompt):
            assert moves(lvlm, OF_IMAGE, [images], [question]) == [wanted]


def test_sources_of_a_question_depend_on_it() -> None:
    lvlm = lvlm_of("llava")
    [one] = moves(lvlm, OF_QUESTION, [[picture(0)]], [ONE])
    [two] = moves(lvlm, OF_QUESTION, [[picture(0)]], [TWO])
    assert one != two


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_order_nor_batch_nor_other_methods_matter(family: str) -> None:
    images = [[picture(0)], [picture(1)], [], [picture(2), picture(1)]]
    questions = [ONE, TWO, ONE, TWO]
    together = moves(lvlm_of(family), OF_IMAGE, images, questions)
    assert together[2] == []
    lvlm, edited = lvlm_of(family), lvlm_of(family)
    for index in (3, 1, 0):
        found = moves(lvlm, OF_IMAGE, [images[index]], [questions[index]])
        assert found == [together[index]]
        loud = LocoRE(beta=30.0, window=50)
        found = moves(edited, OF_IMAGE, [images[index]], [questions[index]], loud)
        assert found == [together[index]]


def test_an_image_is_diagnosed_once() -> None:
    lvlm = lvlm_of("qwen2_vl")
    passes = Passes(lvlm)

    def ask(edit: SCR, *pictures: Image.Image, question: str = ONE) -> int:
        lvlm.generate(list(pictures), question, interventions=[edit], max_new_tokens=1)
        return passes()

    assert ask(OF_IMAGE, picture(0)) == 2
    assert ask(OF_IMAGE, picture(0), question=TWO) == 1
    assert ask(OF_IMAGE, picture(1)) == 2
    assert ask(OF_IMAGE, picture(0), picture(1)) == 2
    assert ask(OF_IMAGE, picture(0)) == 1
    # what the sources do not depend on
    assert ask(SCR(diagnosis="image", **{**OPTIONS, "lam": 2.0, "layers": [0]}), picture(0)) == 1
    # and what they do
    for changed in ({"k": 3}, {"diagnosis_layers": [0]}, {"diagnosis_prompt": "Where?"}):
        edit = SCR(diagnosis="image", **{**OPTIONS, **changed})
        assert [ask(edit, picture(0)), ask(edit, picture(0))] == [2, 1]
    assert [ask(OF_QUESTION, picture(0)), ask(OF_QUESTION, picture(0))] == [2, 2]
    with torch.no_grad():
        lvlm.adapter.lm_head.weight.mul_(2)  # type: ignore[operator]  # a tensor
    assert [ask(OF_IMAGE, picture(0)), ask(OF_IMAGE, picture(0))] == [2, 1]


def test_a_batch_about_one_image_is_diagnosed_once_too() -> None:
    lvlm = lvlm_of("llava")
    passes = Passes(lvlm)
    image = picture(0)
    lvlm.generate([image] * 3, [ONE, TWO, "Why?"], interventions=[OF_IMAGE], max_new_tokens=1)
    assert passes() == 2
    lvlm.generate(
        image,
        ONE,
        interventions=[OF_IMAGE],
        decoder={"name": "beam", "num_beams": 3},
        max_new_tokens=1,
    )
    assert passes() == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_questions_share_the_image(family: str) -> None:
    assert can_share(Greedy(), [OF_IMAGE])
    assert not can_share(Greedy(), [OF_QUESTION])
    check_sharing(Greedy(), [OF_IMAGE], [family])


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_hang_on_neither_batch_nor_cache(family: str, beams: int) -> None:
    lvlm = lvlm_of(family)
    images, questions = [[picture(0)], [], [picture(1), picture(2)]], [ONE, ONE, TWO]
    generative: Any = lvlm.model
    banned = [*lvlm.adapter.image_token_ids, 2]
    options = {"max_new_tokens": 4, "num_beams": beams, "suppress_tokens": banned}

    def tokens(rows: list[int], **more: Any) -> Tensor:
        chosen = [images[row] for row in rows], [questions[row] for row in rows]
        inputs = lvlm.adapter.encode(*chosen)
        ids: Tensor = generative.generate(**inputs, **options, **more, do_sample=False)
        return ids[:, inputs["input_ids"].shape[1] :]

    plain = tokens([0, 1, 2])
    with intervene(lvlm.adapter, OF_IMAGE):
        together = tokens([0, 1, 2])
        assert torch.equal(together, torch.cat([tokens([row]) for row in range(3)]))
        assert torch.equal(together, tokens([0, 1, 2], use_cache=False))
    assert not torch.equal(together, plain)
    assert torch.equal(together[1], plain[1])


def test_sharing_takes_one_pass_over_the_image() -> None:
    lvlm = lvlm_of("llava")
    passes = Passes(lvlm)
    lvlm.ask(picture(0), [ONE, TWO], interventions=[OF_IMAGE], max_new_tokens=1)
    # the diagnosis, the shared tokens, and both questions behind them at once or one by one
    assert passes() in (3, 4)


def test_without_a_processor_there_is_no_neutral_question() -> None:
    model, inputs = tiny_model("llava"), tiny_inputs("llava")
    with (
        intervene(model, OF_IMAGE),
        torch.no_grad(),
        pytest.raises(UnsupportedError, match="needs the model's processor"),
    ):
        model(**inputs)


@pytest.mark.parametrize("edit", [OF_QUESTION, OF_IMAGE], ids=lambda edit: edit.diagnosis)
@pytest.mark.parametrize("family", FAMILIES)
def test_saliency_is_that_of_the_edited_model(family: str, edit: SCR) -> None:
    lvlm = lvlm_of(family)
    inputs = lvlm.adapter.encode([[picture(0)], [picture(1)]], [ONE, TWO])
    response = torch.tensor([[20, 21, 22], [30, 31, 32]])
    options = SaliencyOptions()
    found = block_saliency(lvlm.adapter, inputs, response, options, interventions=[edit]).maps
    plain = block_saliency(lvlm.adapter, inputs, response, options).maps
    full = full_graph_rows(lvlm.adapter, inputs, response, options, interventions=[edit])
    for fusion, rows in full.items():
        assert torch.allclose(found[fusion], rows, atol=1e-6)
        assert not torch.allclose(plain[fusion], rows, atol=1e-3)


@pytest.mark.parametrize("norm", ["row", "matrix"])
def test_an_answer_is_diagnosed_under_the_edit(norm: Any) -> None:
    lvlm = lvlm_of("internvl")
    options = SaliencyOptions(norm=norm)
    report = lvlm.diagnose(
        picture(0), ONE, options=options, interventions=[OF_IMAGE], max_new_tokens=4
    )
    again = lvlm.diagnose(
        picture(0), ONE, report.token_ids, options=options, interventions=[OF_IMAGE]
    )
    plain = lvlm.diagnose(picture(0), ONE, report.token_ids, options=options)
    for fusion, rows in report.maps.items():
        assert torch.equal(rows, again.maps[fusion])
        assert not torch.allclose(rows, plain.maps[fusion], atol=1e-4)
    assert report.log_probabilities != plain.log_probabilities
