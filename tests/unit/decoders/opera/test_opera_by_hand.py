"""OPERA against a search without a cache, a batch or a tensor."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from lvlmsal.decoders.opera.decoder import OPERA, PAPER
from lvlmsal.testing.tiny import TinySample, collate, tiny_model, tiny_samples
from tests.unit.decoders.opera.test_opera import EAGER, MARKS, STEPS, answers, run

pytestmark = pytest.mark.slow

F64 = torch.float64


class ByHand:
    """OPERA for one sample: whole sequences, eager attention, one beam after the other."""

    def __init__(self, model: PreTrainedModel, sample: TinySample, opera: OPERA) -> None:
        self.model, self.opera = model, opera
        self.inputs = dict(sample.inputs)
        self.ids: list[int] = self.inputs.pop("input_ids")[0].tolist()
        self.inputs.pop("attention_mask", None)
        self.image = {at for start, end in sample.images for at in range(start, end)}
        self.rollbacks = 0
        self.memory: dict[tuple[int, ...], tuple[list[float], list[list[float]]]] = {}

    def look(self, tokens: list[int]) -> tuple[list[float], list[list[float]]]:
        """Log-probabilities of the next token, and normalized rows of the layer."""
        key = tuple(tokens)
        if key not in self.memory:
            ids = torch.tensor([self.ids + tokens])
            with torch.no_grad():
                output = self.model(input_ids=ids, **self.inputs, output_attentions=True)
            logits = output.logits[0, -1].log_softmax(-1)
            logits[MARKS] = -math.inf
            rows = []
            for heads in output.attentions[self.opera.layer][0].permute(1, 2, 0).tolist():
                largest = [max(values) for values in heads]
                rows.append([value / sum(largest) for value in largest])
            self.memory[key] = logits.tolist(), rows
        return self.memory[key]

    def penalty(self, tokens: list[int]) -> tuple[float, int]:
        _, rows = self.look(tokens)
        start, opera = len(self.ids), self.opera
        best, place = -1.0, -1
        for column in range(max(0, len(tokens) - opera.window), len(tokens)):
            product = opera.score_factor
            for row in range(column, len(tokens)):
                product *= opera.scale * rows[start + row][start + column]
            if product > best:
                best, place = product, column
        if len(tokens) <= opera.image_bonus_tokens:
            best = -sum(rows[-1][at] for at in self.image)
        return best, place

    def candidates(self, tokens: list[int]) -> tuple[dict[int, float], int]:
        """Log-probabilities of the candidates with their penalties, and the beam's place."""
        scores, _ = self.look(tokens)
        chosen = sorted(range(len(scores)), key=lambda token: -scores[token])
        chosen = chosen[: self.opera.num_candidates]
        looked = {token: self.penalty([*tokens, token]) for token in chosen}
        every = [math.exp(score) for score in scores]
        for token in chosen:
            every[token] *= math.exp(-self.opera.alpha * looked[token][0])
        if self.opera.normalize == "candidates":
            total = sum(every[token] for token in chosen)
        else:
            total = sum(every) / sum(math.exp(score) for score in scores)
        counts = Counter(place for _, place in looked.values())
        most = max(counts.values())
        place = min(place for place, count in counts.items() if count == most)
        return {token: math.log(every[token] / total) for token in chosen}, place

    def summary(self, beams: list[dict[str, Any]]) -> int | None:
        opera = self.opera
        if opera.overlap == "code":
            lists = [beam["places"] for beam in beams]
            votes = [places[-1] for places in lists]
            needed = opera.threshold + 1 if opera.threshold is not None else math.inf
        else:
            lists = [beam["places"][-opera.window :] for beam in beams]
            votes = [place for places in lists for place in places]
            needed = opera.threshold if opera.threshold is not None else math.inf
        counts = Counter(votes)
        summary = min(place for place in counts if counts[place] == max(counts.values()))
        enough = all(places.count(summary) >= needed for places in lists)
        return summary if enough and summary >= opera.earliest_summary else None

    def decode(self, steps: int) -> list[int]:
        opera = self.opera
        start = [{"tokens": [], "score": 0.0, "places": [], "parent": 0}]
        states: list[list[dict[str, Any]]] = [start]
        times: Counter[int] = Counter()
        rejected: dict[int, set[tuple[int, int]]] = {}
        last = 0
        while len(states) <= steps:
            now, beams = len(states) - 1, states[-1]
            found = [self.candidates(beam["tokens"]) for beam in beams]
            for beam, (_, place) in zip(beams, found, strict=True):
                beam["places"] = [*beam["places"][:now], place]
            if now not in rejected and now:
                summary = self.summary(beams)
                tried = [] if summary is None else [summary + 1, summary]
                if opera.monotone and summary is not None and summary + 1 < last:
                    tried = []
                free = [at for at in tried if at < now and times[at] < opera.max_rollbacks]
                if free:
                    last = free[0]
                    times[last] += 1
                    self.rollbacks += 1
                    rejected = {at: pairs for at, pairs in rejected.items() if at <= last}
                    taken = {(b["parent"], b["tokens"][-1]) for b in states[last + 1]}
                    rejected[last] = rejected.get(last, set()) | taken
                    del states[last + 1 :]
                    continue
            options = []
            for number, (beam, (scores, _)) in enumerate(zip(beams, found, strict=True)):
                if now in rejected and opera.after_rollback == "vocabulary":
                    scores = dict(enumerate(self.look(beam["tokens"])[0]))
                for token, score in scores.items():
                    banned = (number, token) in rejected.get(now, set())
                    value = beam["score"] + score - (1e6 if banned else 0)
                    options.append((value, number, token))
            options.sort(key=lambda option: -option[0])
            states.append(
                [
                    {
                        "tokens": [*beams[number]["tokens"], token],
                        "score": value,
                        "places": beams[number]["places"],
                        "parent": number,
                    }
                    for value, number, token in options[: opera.num_beams]
                ]
            )
        tokens: list[int] = states[-1][0]["tokens"]
        return tokens


READINGS: dict[str, dict[str, Any]] = {
    "code": {},
    "code, no bonus": {"image_bonus_tokens": 0, "score_factor": 1e-2},
    "paper": {**PAPER, "threshold": 2, "scale": 4.0},
    "paper, short window": {**PAPER, "threshold": 2, "window": 4, "scale": 6.0},
    "code, candidates after": {"after_rollback": "candidates", "score_factor": 1e-3},
    "weak": {"alpha": 0.1, "max_rollbacks": 1, "normalize": "vocabulary", "monotone": True},
    "no roll-back": {"threshold": None, "image_bonus_tokens": 3, "score_factor": 1e-3},
    "late": {"earliest_summary": 2, "threshold": 2, "scale": 8.0, "score_factor": 1.0},
    "first layer": {"layer": 0, "score_factor": 1e-2},
}


@pytest.mark.parametrize("reading", sorted(READINGS))
def test_against_a_search_by_hand(reading: str) -> None:
    opera = OPERA(**{**EAGER, **READINGS[reading]})
    model = tiny_model("llava", dtype=F64)
    samples = tiny_samples("llava", (1, 0), dtype=F64)
    found = run(model, collate(samples), opera)
    eager = tiny_model("llava", dtype=F64)
    eager.set_attn_implementation("eager")
    wanted, rollbacks = [], []
    for sample in samples:
        by_hand = ByHand(eager, sample, opera)
        wanted.append(by_hand.decode(STEPS))
        rollbacks.append(by_hand.rollbacks)
    assert found.rollbacks == rollbacks
    assert answers(found, collate(samples)) == wanted
    assert any(rollbacks) == (reading != "no roll-back")
