"""`lvlmsal check batch`: none differ in float32, and what differs is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lvlmsal.evaluation.run import batch_check as batches
from lvlmsal.evaluation.run.batch_check import check_batches
from lvlmsal.model.lvlm import Lvlm

pytestmark = pytest.mark.slow

Config = dict[str, Any]


class Slipping:
    """A model that gives another second token to one question, unless the question is alone."""

    def __init__(self, lvlm: Lvlm, sample_id: str) -> None:
        self._lvlm, self._id = lvlm, sample_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lvlm, name)

    def generate(self, images: Any, prompts: Sequence[str], **options: Any) -> Any:
        return self._slipped(self._lvlm.generate(images, prompts, **options), **options)

    def ask(self, images: Any, prompts: Sequence[str], **options: Any) -> Any:
        return self._slipped(self._lvlm.ask(images, prompts, **options), **options)

    def _slipped(self, answers: Any, *, sample_ids: Sequence[str], **_: Any) -> Any:
        if len(answers) > 1 and self._id in sample_ids:
            answer = answers[list(sample_ids).index(self._id)]
            answer.token_ids = [answer.token_ids[0], answer.token_ids[1] ^ 1, 9, 9]
        return answers


def check(config: Config, model: Any, *sizes: int, **more: Any) -> list[batches.BatchCheck]:
    return list(check_batches(config, sizes=sizes, models={"tiny": model}, **more))


def test_no_answer_of_the_tiny_model_differs(config: Config, tiny: Lvlm) -> None:
    config["methods"].append({"name": "edited", "decoder": "sample", "interventions": ["locore"]})
    found = check(config, tiny, 1, 2, 5)
    assert [(c.method, c.size) for c in found] == [
        (method, size) for method in ("greedy", "sgrs", "edited") for size in (1, 2, 5)
    ]
    for entry in found:
        assert (entry.samples, entry.failed, entry.answers, entry.tokens) == (7, 0, 0, 0)
        assert entry.first is None
        assert entry.dtype == "float32"
        assert not entry.is_wrong
    assert not Path(config["output"]).exists()


def test_the_first_difference_is_named(config: Config, tiny: Lvlm) -> None:
    config["methods"] = ["greedy"]
    alone, batched = check(config, Slipping(tiny, "chair/2"), 1, 3)
    assert (alone.answers, alone.first) == (0, None)
    # three tokens are allowed: one is another one, the third may be, and a fourth is too many
    assert (batched.answers, batched.is_wrong) == (1, True)
    assert 2 <= batched.tokens <= 3
    flip = batched.first
    assert flip is not None
    assert (flip.sample, flip.position) == ("chair/2", 1)
    assert flip.alone != flip.batched
    # the margin, by a plain forward pass of the prompt and the first token
    sample = next(s for s in benchmark_of(config).samples() if s.id == "2")
    answer = tiny.generate(list(sample.images), sample.prompt, max_new_tokens=3)
    from lvlmsal.adapters import open_image

    inputs = tiny.adapter.encode([[open_image(sample.images[0])]], [sample.prompt])
    inputs = tiny.adapter.append(inputs, torch.tensor([answer.token_ids[:1]]))
    with torch.no_grad():
        logits = tiny.adapter.model(**inputs).logits[0, -1].sort(descending=True).values
    assert flip.margin == pytest.approx(float(logits[0] - logits[1]), rel=1e-4)
    assert f"token 1: {flip.alone!r} alone" in batches.flip_text(flip)


def benchmark_of(config: Config) -> Any:
    from lvlmsal.evaluation.config.plan import make_plan

    return make_plan(config, given=["tiny"]).benchmarks["chair"]


def test_differences_in_sixteen_bits_are_counted_and_forgiven(config: Config, tiny: Lvlm) -> None:
    config["methods"] = ["greedy"]
    (entry,) = check(config, Slipping(tiny, "chair/2"), 3)
    assert not batches.BatchCheck(**{**vars(entry), "dtype": "bfloat16"}).is_wrong


def test_the_limit_takes_the_first_images(config: Config, tiny: Lvlm) -> None:
    config["methods"] = ["greedy"]
    (entry,) = check(config, tiny, 2, limit=1)
    assert entry.samples == 5


def test_the_command(
    run: Callable[..., tuple[int, str, str]],
    config: Config,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config["models"] = [str(tiny_folder)]
    config["methods"] = ["greedy"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    code, output, _ = run("check", "batch", path, "--sizes", "2", "--limit", 1, "--json")
    assert code == 0
    (entry,) = json.loads(output)
    assert (entry["size"], entry["samples"], entry["answers"]) == (2, 5, 0)
    load = batches.load_model
    monkeypatch.setattr(batches, "load_model", lambda *w: Slipping(load(*w), "chair/2"))
    code, output, _ = run("check", "batch", path, "--sizes", "3,4")
    assert code == 1
    assert "chair/2" in output
    for sizes in ("", "0", "1,x", "-2"):
        code, _, errors = run("check", "batch", path, f"--sizes={sizes}")
        assert code == 2
        assert "expected whole numbers from 1, such as 1,2,8" in errors
