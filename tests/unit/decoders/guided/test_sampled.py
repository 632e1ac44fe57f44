"""Guided by sampled answers: which ones are drawn, what they say of words, and the rule by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.attention import intervene
from lvlmsal.decoders.guide import UNSUPPORTED
from lvlmsal.decoders.guided.beams import GuidedBeam
from lvlmsal.decoders.guided.decoder import Guided
from lvlmsal.decoders.search import Sample
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.detection.sampled_consistency import SampledAnswers
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import Intervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vcd import VCD
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.pocket import POCKET
from lvlmsal.pocket.scenes.world import WORLD
from tests.tiers import in_full
from tests.unit.decoders.guided.by_hand import Log, guided_by_hand

CASES = [("pocket-llava", "replace"), ("pocket-idefics3", "back-up"), ("pocket-llava", "back-up")]
EDITS: list[Intervention | None] = [LocoRE(beta=2.0), None, VCD()]
COUNT, STEPS = 4, 30
PROMPT = "Please describe this image in detail."


def pictures(count: int) -> list[Any]:
    scenes = [WORLD.scene_number(index, seed=31, shifted=True) for index in range(count)]
    return [WORLD.draw(scene)[0] for scene in scenes]


def detector(**options: Any) -> dict[str, Any]:
    return {"name": "sampled-consistency", "samples": COUNT, **options}


def drawn(lvlm: Lvlm, names: Sequence[str], **how: Any) -> list[list[frozenset[str]]]:
    """Objects of the answers that the decoder ``sample`` gives, by sample and number."""
    vocabulary = Guided(detector=detector()).bind(lvlm.adapter)._guide.words.vocabulary  # type: ignore[union-attr]
    found = []
    for name, picture in zip(names, pictures(len(names)), strict=True):
        ids = [f"{name}#{number}" for number in range(COUNT)]
        answers = lvlm.generate([picture] * COUNT, [PROMPT] * COUNT, sample_ids=ids, **how)
        found.append([frozenset(n for n, _ in vocabulary.objects(a.text)) for a in answers])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("edit", in_full(EDITS, but=EDITS[:1]), ids=str)
def test_risks_are_shares_of_what_the_decoder_sample_says(edit: Intervention | None) -> None:
    lvlm, names = load(POCKET["pocket-llava"]), ["a", "b"]
    edits = [] if edit is None else [edit]
    how: dict[str, Any] = {"interventions": edits, "max_new_tokens": 60, "seed": 3}
    others = drawn(lvlm, names, decoder=Sample(temperature=1.3), **how)
    guided = Guided(detector=detector(temperature=1.3), threshold=0.99, back_up=0)
    answers = lvlm.generate(pictures(2), [PROMPT] * 2, decoder=guided, sample_ids=names, **how)
    plain = lvlm.generate(pictures(2), [PROMPT] * 2, decoder="greedy", **how)
    words = guided.bind(lvlm.adapter)._guide.words  # type: ignore[union-attr]
    shares = set()
    for answer, said, before in zip(answers, others, plain, strict=True):
        assert answer.token_ids == before.token_ids or any(t.rejected for t in answer.tokens)
        judged: list[Any] = [t for t in answer.tokens if t.risk is not None]
        assert judged
        for record in judged:
            missing = [sum(o not in s for s in said) for o in words.objects_begun_by(record.id)]
            assert record.risk == min(missing) / COUNT
            shares.add(record.risk)
    assert len(shares) > 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "first"), in_full(CASES, but=CASES[1:]))
@torch.no_grad()
def test_a_batch_is_guided_as_each_sample_by_hand(name: str, first: Any) -> None:
    lvlm, happened = load(POCKET[name]), list[Log]()
    adapter: Any = lvlm.adapter
    model, edit = adapter.model, LocoRE(beta=1.0)
    ends = [adapter.tokenizer.eos_token_id]
    options: dict[str, Any] = {"threshold": 0.5, "back_up": 2, "k": 8, "first": first}
    guided = Guided(detector=detector(temperature=1.5), **options).bind(adapter)
    guide: Any = guided._guide
    inputs = adapter.encode([[picture] for picture in pictures(4)], [PROMPT] * 4)
    how = {"max_new_tokens": STEPS, "suppress_tokens": ends}
    prompt = inputs["input_ids"].shape[1]
    with intervene(model, edit):
        output = model.generate(**inputs, **how, **guided.generate_kwargs())
        batches = [
            model.generate(
                **inputs,
                **how,
                **Sample(temperature=1.5).generate_kwargs(
                    sample_ids=[f"{row}#{n}" for row in range(4)]
                ),
            )
            for n in range(COUNT)
        ]
        for row, picture in enumerate(pictures(4)):
            texts = [adapter.decode(batch[row, prompt:].tolist()) for batch in batches]
            named = [{n for n, _ in guide.words.vocabulary.objects(text)} for text in texts]
            answer, log = guided_by_hand(
                adapter,
                adapter.encode([[picture]], [PROMPT]),
                layers=[],
                risk=lambda odds, lens: 0.0,
                threshold=guide.threshold,
                k=guided.k,
                back_up=2,
                steps=STEPS,
                banned=ends,
                words=guide.words,
                ends=guide.ends_sentence,
                first_back=first == "back-up",
                missing=lambda objects, named=named: min(  # type: ignore[misc]
                    sum(one not in said for said in named) / COUNT for one in objects
                ),
            )
            assert output[row, prompt:].tolist() == answer
            happened.append(log)
    if first == "replace":
        assert sum(log.replaced for log in happened) > 0
    elif name == "pocket-llava":
        assert sum(len(log.back) for log in happened) > 0
    else:  # on an image of another world, of which its answers disagree
        assert sum(log.fallbacks for log in happened) > 0
        assert max(max(log.back) for log in happened) > 0
        assert sum(log.whole for log in happened) > 0


def test_only_guided_draws_answers_to_judge_by() -> None:
    adapter = load(POCKET["pocket-llava"]).adapter
    for decoder in (GuidedBeam(detector="sampled-consistency"), SGRS(judge="sampled-consistency")):
        with pytest.raises(UnsupportedError, match="only the decoder 'guided' draws"):
            decoder.bind(adapter)
    with pytest.raises(UnsupportedError, match=r"no share=0\.1 of them: give"):
        Guided(detector="sampled-consistency", share=0.1).bind(adapter)


def test_a_seed_plays_a_part_where_answers_are_drawn() -> None:
    assert Guided(detector=detector()).is_random
    assert Guided(detector="sampled-consistency").is_random
    assert not Guided(detector=detector(), threshold=1.0).is_random
    assert not Guided().is_random


def test_by_drawn_answers_a_sentence_is_taken_back_before_a_word_is_replaced() -> None:
    adapter = load(POCKET["pocket-llava"]).adapter
    guided = Guided(detector=detector()).bind(adapter)
    assert guided.backs_up_first
    assert guided._guide is not None
    assert guided._guide.threshold == UNSUPPORTED
    assert not Guided(detector=detector(), first="replace").backs_up_first
    assert not Guided().backs_up_first
    assert Guided(first="back-up").backs_up_first


@given(st.lists(st.frozensets(st.sampled_from("abc")), min_size=1), st.sets(st.sampled_from("abc")))
def test_more_objects_that_a_token_may_name_lower_its_risk(
    named: list[frozenset[str]], objects: set[str]
) -> None:
    others = SampledAnswers(named)
    alone = [others.risk([one]) for one in objects]
    if not alone:
        assert math.isnan(others.risk(objects))
        return
    assert others.risk(objects) == min(alone)
    assert others.risk([*objects, "never said"]) == min(alone)
    assert others.risk(["never said"]) == 1.0
