"""What each method shares among the questions about an image: logits stay, rows are run once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from lvlmsal.decoders.search import Greedy
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.model.shared_prefix import SharedPrefix, can_share
from lvlmsal.registry import DECODERS, INTERVENTIONS
from lvlmsal.testing.tiny import tiny_lvlm
from tests.unit.model.test_lvlm import picture

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
QUESTIONS = [
    "Is there a cat?",
    "Is there a big dog here?",
    "Is there a dog?",
    "Is there a tree? é, or two",
]

# What is run once for all questions, in columns, where n are those of the shared prefix of the
# first prompt and v of them the image's; of each further question they are saved.
FIRST: Callable[[int, int], int] = lambda n, v: n  # noqa: E731
SAME: Callable[[int, int], int] = lambda n, v: 2 * n  # noqa: E731
TEXT: Callable[[int, int], int] = lambda n, v: 2 * n - v  # noqa: E731

SAVED: list[tuple[str, Mapping[str, Any], Callable[[int, int], int]]] = [
    *((name, {}, FIRST) for name in ("ad-hh", "allpath", "clva-reconstruction", "deco", "dola")),
    *((name, {}, FIRST) for name in ("hgai", "locore", "none", "nullu", "only", "vaf", "vti")),
    ("vissink", {}, FIRST),
    ("scr", {"diagnosis": "image"}, FIRST),
    ("farsight", {"horizon": "endless"}, FIRST),
    ("farsight", {"horizon": "endless", "generated": True}, FIRST),
    ("tame", {"reading": "paper", "gamma": 2.0}, FIRST),
    ("vista", {"steer": 0.0}, FIRST),
    *((name, {}, SAME) for name in ("cicd", "ritual", "vcd", "vord")),
    ("causalmm", {"side": "vision"}, SAME),
    *((name, {}, TEXT) for name in ("m3id", "pai")),
    ("damro", {"kept": 2}, lambda n, v: 2 * n - v + 2),
    # a token a letter, and a space behind them
    ("icd", {"disturbance": "dog dog dog"}, lambda n, v: 2 * n + len("dog dog dog ")),
    ("marine", {"wording": "So {objects}. {question}"}, lambda n, v: 2 * n + len("So cat, dog. ")),
    # second prompts that are run as a whole with each question
    *((name, {}, FIRST) for name in ("agla", "avisc", "causalmm", "crops", "sid")),
]
NOTHING = [
    ("eah", {}),
    ("farsight", {}),
    ("farsight", {"horizon": "endless", "form": "code"}),
    ("memvr", {}),
    ("scr", {}),
    ("tame", {}),
    ("vista", {}),
]


def built(name: str, options: Mapping[str, Any]) -> Any:
    return INTERVENTIONS.build(name, **{**INTERVENTIONS.get(name).strong, **options})


class Kept(LogitsProcessor):
    """Keeps the scores that tokens are chosen by, under the tokens that they follow."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        for ids, row in zip(input_ids.tolist(), scores, strict=True):
            start = next(place for place, token in enumerate(ids) if token)  # behind the padding
            self.found[tuple(ids[start:])] = row.clone()
        return scores


class Watched(Greedy):
    """Greedy search that lets its scores be kept."""

    kept: Kept

    def generate_kwargs(self, **given: Any) -> dict[str, Any]:
        watched = LogitsProcessorList([self.kept])
        return {**super().generate_kwargs(**given), "logits_processor": watched}


def watched() -> Watched:
    decoder = Watched()
    object.__setattr__(decoder, "kept", Kept())
    return decoder


class Rows:
    """Counts the rows that the last layer of the text decoder computes."""

    def __init__(self, lvlm: Lvlm) -> None:
        self.count = 0
        lvlm.adapter.layers[-1].register_forward_hook(self._count)

    def _count(self, module: object, args: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        self.count += states.shape[0] * states.shape[1]

    def of(self, run: Callable[[], Any]) -> int:
        before = self.count
        run()
        return self.count - before


def ids_of(pairs: Sequence[Any]) -> list[str]:
    return [f"{name} {options or ''}".strip() for name, options, *_ in pairs]


def test_every_method_is_listed() -> None:
    """A new one says here what it shares, or that it does not."""
    listed = {name for name, *_ in (*SAVED, *NOTHING)}
    modules = {name: INTERVENTIONS.get(name).__module__ for name in INTERVENTIONS.names()}
    assert listed == {name for name, module in modules.items() if module.startswith("lvlmsal.")}


def test_the_table_of_the_documentation_says_the_same() -> None:
    text = (ROOT / "docs" / "throughput.md").read_text(encoding="utf-8")
    table = text.partition("| --- | --- | --- |\n")[2]
    rows = [line.split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    told = [set(re.findall("`([a-z0-9-]+)`", cells[1])) for cells in rows]
    first = {name for name, options, saved in SAVED if saved is FIRST and not options}
    by_option = {name for name, options, saved in SAVED if saved is FIRST and options}
    both = {name for name, _, saved in SAVED if saved is not FIRST}
    whole = {"agla", "avisc", "causalmm", "crops", "sid"}
    never = {name for name, _ in NOTHING} - by_option
    assert told == [first - whole, by_option, both, whole, never]
    apart = {name for name in DECODERS.names() if not DECODERS.get(name).shares_prefix}
    (said,) = re.findall("Decoders share the prompt, but for (.*?), which", text)
    assert set(re.findall("`([a-z0-9-]+)`", said)) == apart


@pytest.mark.parametrize(("name", "options"), NOTHING, ids=ids_of(NOTHING))
def test_methods_whose_prompt_rows_depend_on_what_follows_share_nothing(
    name: str, options: Mapping[str, Any]
) -> None:
    assert not can_share(Greedy(), [built(name, options)])


@pytest.mark.parametrize(("name", "options", "saved"), SAVED, ids=ids_of(SAVED))
def test_logits_are_those_of_each_question_alone_and_rows_are_saved(
    name: str, options: Mapping[str, Any], saved: Callable[[int, int], int]
) -> None:
    lvlm = load(tiny_lvlm("llava", dtype=torch.float64))
    edit, image = built(name, options), picture(48, 32)
    together, alone = watched(), watched()
    assert can_share(together, [edit])
    given: dict[str, Any] = {"interventions": [edit], "max_new_tokens": 4}
    lvlm.ask(image, QUESTIONS, batch_size=3, decoder=together, **given)
    for question in QUESTIONS:
        lvlm.generate(image, question, decoder=alone, **given)
    assert set(together.kept.found) == set(alone.kept.found)
    for ids, scores in alone.kept.found.items():
        found = together.kept.found[ids]
        assert torch.equal(found.isfinite(), scores.isfinite())
        # a second stream that no token of a batch needs may differ by a constant of the row
        found, scores = (each.log_softmax(-1)[scores.isfinite()] for each in (found, scores))
        assert torch.allclose(found, scores, rtol=1e-9, atol=1e-9)

    # one question at a time, so that no batch is padded; the first token alone
    prefix = SharedPrefix.of(lvlm.adapter, [image], QUESTIONS)
    assert prefix is not None
    ids = prefix.inputs["input_ids"]
    (start, end), rows = lvlm.adapter.spans(ids)[0].images[0], Rows(lvlm)
    given["max_new_tokens"] = 1
    before = rows.of(lambda: [lvlm.generate(image, each, **given) for each in QUESTIONS])
    after = rows.of(lambda: lvlm.ask(image, QUESTIONS, batch_size=1, **given))
    assert before - after == (len(QUESTIONS) - 1) * saved(ids.shape[1], end - start)
