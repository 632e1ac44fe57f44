"""What other answers of the model name: guided decoding draws them before it begins its own."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import LongTensor, Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.stream import Stream
from lvlmsal.decoders.one_sequence import GenerateCall
from lvlmsal.decoders.randomness import vocabulary_gumbel
from lvlmsal.detection.asking import objects_in
from lvlmsal.detection.sampled_consistency import SampledAnswers, SampledConsistency
from lvlmsal.metrics.text.vocabulary import Vocabulary


def sampled_answers(
    detector: SampledConsistency,
    adapter: ModelAdapter,
    vocabulary: Vocabulary,
    stream: Stream,
    logits: Tensor,
    call: GenerateCall,
) -> list[SampledAnswers]:
    """Draw answers to each question of a batch, one after the other, and take them back.

    They are those that the decoder ``sample`` draws for the ids ``ID#0``, ``ID#1`` ..., as
    :meth:`lvlmsal.Lvlm.detect` asks for them.

    Args:
        detector: how many answers, at which temperature.
        adapter: of the model.
        vocabulary: of judged words, which are looked for in them.
        stream: at the end of the prompt, where it stands again afterwards.
        logits: of the prompt's last row, (B, V).
        call: of ``generate``.
    """
    drawn: list[list[frozenset[str]]] = [[] for _ in call.names]
    for number in range(detector.samples):
        for row, answer in enumerate(_one_each(detector, stream, logits, call, number)):
            drawn[row].append(objects_in(adapter.decode(answer), vocabulary))
    return [SampledAnswers(named) for named in drawn]


def _one_each(
    detector: SampledConsistency, stream: Stream, logits: Tensor, call: GenerateCall, number: int
) -> list[list[int]]:
    """One answer to each question."""
    ids, answers = call.input_ids, [list[int]() for _ in call.names]
    running, position = set(range(len(answers))), 0
    while running:
        scores = call.logits_processor(ids, logits.detach().clone())
        keys = scores / detector.temperature if detector.temperature != 1 else scores
        tokens = torch.full((len(answers),), call.filler, device=ids.device)
        for row in running:
            noise = vocabulary_gumbel(
                keys.shape[1],
                seed=call.seed,
                sample_id=f"{call.names[row]}#{number}",
                position=position,
            )
            tokens[row] = (keys[row] + noise.to(keys)).argmax()
            answers[row].append(int(tokens[row]))
        ids = cast(LongTensor, torch.cat([ids, tokens[:, None]], dim=1))
        stopped = call.stopping_criteria(ids, cast(Any, scores)).tolist()
        running -= {row for row, stops in enumerate(stopped) if stops}
        if running:
            logits = stream.step(tokens)
            position += 1
    if position:
        stream.drop(position)
    return answers
