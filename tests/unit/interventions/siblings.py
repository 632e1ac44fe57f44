"""What tests of methods that work alike do with each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.attention import intervene
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.interventions.base import Intervention
from lvlmsal.interventions.contrast import Contrast
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.model.loading import load
from lvlmsal.testing.tiny import collate, tiny_inputs, tiny_lvlm, tiny_model, tiny_samples
from tests import second_streams as streams
from tests.unit.model.test_lvlm import picture

F64 = torch.float64


def check_contrast_of_two_runs(
    family: str,
    edit: Contrast,
    amateur: Callable[[PreTrainedModel, Mapping[str, Tensor], Sequence[int], Any], Tensor],
    *,
    use_cache: bool,
) -> None:
    """Each step of a batch is chosen from a contrast of strength 1.5 with an amateur, uncut.

    Args:
        family: of the tiny model.
        edit: with ``alpha=1.5, beta=0``.
        amateur: logits (V,) of the second stream behind an answer, by hand.
        use_cache: of ``generate``.
    """
    assert (edit.alpha, edit.beta) == (1.5, 0.0)
    model = tiny_model(family, layers=3, dtype=F64)
    samples = tiny_samples(family, (1, 2), dtype=F64)
    with intervene(model, edit):
        tokens, logits = streams.decode(model, collate(samples), use_cache=use_cache)
    for row, sample in enumerate(samples):
        for step in range(4):
            answer = tokens[row, :step].tolist()
            seen = streams.following(model, sample.inputs, answer)
            unseen = amateur(model, sample.inputs, answer, edit)
            assert (seen - unseen).abs().max() > 1e-3, "the second stream is the first one"
            assert streams.close(logits[row, step], 2.5 * seen - 1.5 * unseen), (row, step)


def check_answers_of_two_plain_models(
    family: str,
    edit: Intervention,
    changed: Callable[[Image.Image], Image.Image],
    combine: streams.Combine,
) -> None:
    """Answers are those of the model on both pictures, and without a picture those of the model.

    Args:
        family: of the tiny model.
        edit: whose second stream sees other pictures.
        changed: what it sees in place of a picture.
        combine: how the logits of both are put together, by hand.
    """
    lvlm = load(tiny_lvlm(family, dtype=F64))
    entries = [[picture(60, 40, 1), picture(36, 52, 2)], [], [picture(48, 48, 3)]]
    questions = ["Is there a cat?", "Why?", "Is there a dog in it?"]
    found = lvlm.generate(entries, questions, interventions=[edit], max_new_tokens=4)
    plain = lvlm.generate(entries, questions, max_new_tokens=4)
    assert [one.token_ids for one in found] != [one.token_ids for one in plain]
    assert found[1].token_ids == plain[1].token_ids
    for index in (0, 2):
        first = lvlm.adapter.encode([entries[index]], [questions[index]])
        others = [changed(image) for image in entries[index]]
        second = lvlm.adapter.encode([others], [questions[index]])
        ids = found[index].token_ids
        wanted = streams.combined(lvlm.model, first, second, combine, ids)
        assert wanted.argmax(-1).tolist() == ids


def check_blocks_of_sgrs_next_to_locore(edit: Intervention) -> None:
    """Blocks of SGRS find the tokens of its single steps under an edit and LocoRE."""
    model: Any = tiny_model("llava", dtype=F64)
    batch = tiny_inputs("llava", (1, 0), dtype=F64)
    found = []
    for size in (1, 4):
        sgrs = SGRS(row="predicting", block_size=size, alpha=1.2)
        with intervene(model, edit, LocoRE(beta=0.3)):
            kwargs = sgrs.generate_kwargs(sample_ids=["a", "b"])
            found.append(model.generate(**batch, max_new_tokens=6, **kwargs))
    assert torch.equal(*found)
