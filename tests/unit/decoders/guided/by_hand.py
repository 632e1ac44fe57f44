"""Guided decoding written out by hand: one sample, the whole sequence run again for each token."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.detection.vocabulary import Found, Writing
from tests import reference

BEGINS = frozenset(range(40, 130))
"""Tokens that begin a judged word."""
WHOLE = frozenset(range(40, 100))
"""Those that are one by themselves; the others are complete with any token of `ENDS`."""
ENDS = frozenset(range(150, 260))


class NumberedWords:
    """Judged words over ids: a random model says some of them, of one token and of two."""

    tokens = tuple(sorted(BEGINS))

    def step(self, writing: Writing, token: int) -> Found:
        begun = writing.tokens
        if len(begun) == 1 and begun[0] not in WHOLE and token in ENDS:
            return Found(False, f"two {begun[0] % 4}", Writing((*begun, token), token))
        if token in BEGINS:
            name = f"one {token % 4}" if token in WHOLE else ""
            return Found(True, name, Writing((token,), token))
        return Found(False, "", Writing((), token))

    def read(self, ids: Sequence[int]) -> list[Found]:
        writing, found = Writing(), list[Found]()
        for token in ids:
            found.append(self.step(writing, token))
            writing = found[-1].writing
        return found

    def objects_begun_by(self, token: int) -> frozenset[str]:
        return frozenset({f"{'one' if token in WHOLE else 'two'} {token % 4}"})


def ends_sentence(token: int) -> bool:
    return token % 9 == 0


@dataclass
class Log:
    """What happened: replacements, fallbacks, and sentences that were taken back."""

    replaced: int = 0
    fallbacks: int = 0
    back: list[int] = field(default_factory=list)
    whole: int = 0


def risk_at(
    adapter: ModelAdapter,
    output: Any,
    layers: Sequence[int],
    risk: Callable[[float, float], float],
    first: int,
    place: int,
    token: int,
) -> float:
    """Risk of a token of the answer: of its log-odds, and of its mean log lens over judged words.

    Args:
        first: row that predicts the first token.
        place: of the token in the answer.
    """
    row = first + place
    logits = output.logits[0, row]
    others = torch.cat([logits[:token], logits[token + 1 :]])
    odds = float(logits[token] - others.logsumexp(0))
    lenses = []
    for layer in layers:  # what leaves layer l is hidden state l + 1
        states = adapter.decoder.norm(output.hidden_states[layer + 1][0, row])
        inner = adapter.lm_head(states)
        members = sorted(BEGINS | {token})
        lenses.append(float(inner[token] - inner[members].logsumexp(0)))
    return risk(odds, sum(lenses) / len(lenses))


def risk_of_objects(
    words: Any, missing: Callable[[frozenset[str]], float], _place: int, token: int
) -> float:
    """The same of the objects whose names begin with a token."""
    return missing(words.objects_begun_by(token))


@torch.no_grad()
def guided_by_hand(
    adapter: ModelAdapter,
    inputs: dict[str, Tensor],
    *,
    layers: Sequence[int],
    risk: Callable[[float, float], float],
    threshold: float,
    k: int,
    back_up: int,
    steps: int,
    banned: Sequence[int],
    words: Any = None,
    ends: Callable[[int], bool] = ends_sentence,
    missing: Callable[[frozenset[str]], float] | None = None,
    first_back: bool = False,
) -> tuple[list[int], Log]:
    """The answer, of so many tokens, and what happened on the way.

    Args:
        risk: of the log-odds and the mean log lens.
        banned: never said.
        words: that are judged; numbered ones by default.
        ends: whether a sentence ends with a token.
        missing: the risk of a word that may name some objects, in place of what the pass says.
        first_back: whether a sentence is taken back, while one may be, before words are replaced.
    """
    words = words or NumberedWords()
    answer, log = list[int](), Log()
    start, first_banned = 0, set[int]()

    def back(token: int) -> None:
        log.back.append(len(answer) - start)
        first_banned.add(answer[start] if len(answer) > start else token)
        del answer[start:]

    while len(answer) < steps:
        output = adapter.model(**reference.longer(inputs, answer), output_hidden_states=True)
        prompt = inputs["input_ids"].shape[1]
        scores = output.logits[0, -1].clone()
        scores[list(banned)] = -math.inf
        if len(answer) == start:
            scores[list(first_banned)] = -math.inf
        order = scores.argsort(descending=True).tolist()[:k]
        writing = Writing()
        named = set()
        for said in answer:
            found = words.step(writing, said)
            writing = found.writing
            named.add(found.name)
        token = order[0]
        found = words.step(writing, token)

        here = len(answer)
        at: Callable[[int, int], float] = (
            partial(risk_at, adapter, output, layers, risk, prompt - 1)
            if missing is None
            else partial(risk_of_objects, words, missing)
        )
        if found.begins:
            judged = [t for t in order if words.step(writing, t).begins]
            risks = {t: at(here, t) for t in judged}
            safe = [t for t in judged if risks[t] < threshold]
            new = [t for t in safe if not words.objects_begun_by(t) <= named]
            if risks[token] >= threshold:
                if safe and not (first_back and len(log.back) < back_up):
                    token = (new or safe)[0]
                    log.replaced += 1
                elif len(log.back) < back_up:
                    back(token)
                    continue
                else:
                    token = min(judged, key=risks.__getitem__)
                    log.fallbacks += 1
        elif found.name:
            word = [*writing.tokens, token]
            first = here - len(word) + 1
            largest = (
                max(at(first + place, piece) for place, piece in enumerate(word))
                if missing is None
                else missing(frozenset({found.name}))
            )
            # a word that began by a fallback is not judged a second time
            judged_before = words.read(answer)[first].begins
            if largest >= threshold and not (judged_before and at(first, word[0]) >= threshold):
                log.whole += 1
                if len(log.back) < back_up:
                    back(token)
                    continue
                log.fallbacks += 1
        answer.append(token)
        if ends(token):
            start, first_banned = len(answer), set()
    return answer, log
