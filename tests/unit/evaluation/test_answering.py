"""Batches by image and length, and what happens when a batch does not fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lvlmsal.benchmarks.base import Sample
from lvlmsal.evaluation.run.answering import AnswerModule
from lvlmsal.evaluation.run.loading import AnswerData, Batch, Task, make_batches
from lvlmsal.model.loading import load
from lvlmsal.testing.tiny import tiny_lvlm
from tests.unit.evaluation.given import cell_of

pytestmark = pytest.mark.slow


def sample(number: int, image: str, prompt: str = "Is it?") -> Sample:
    images = (Path(image),) if image else ()
    return Sample(str(number), images, prompt, "yes", image or str(number))


CELLS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(["a", "b", "c", ""]), st.text(max_size=9))),
        st.sampled_from([4, 9]),
    ),
    min_size=1,
    max_size=3,
)


@given(CELLS, st.integers(1, 4), st.booleans(), st.sets(st.integers(0, 8)))
def test_every_open_sample_is_in_one_batch(
    parts: list[tuple[list[tuple[str, str]], int]], size: int, share: bool, answered: set[int]
) -> None:
    cells = [
        cell_of(
            f"part{i}",
            [sample(n, image, prompt) for n, (image, prompt) in enumerate(rows)],
            limit,
        )
        for i, (rows, limit) in enumerate(parts)
        if rows
    ]
    keys = [c.key(s.id) for c in cells for s in c.benchmark.samples()]
    done = {key for place, key in enumerate(keys) if place in answered}
    batches = list(make_batches(cells, done, size=size, share=share))
    found = [task.key for batch in batches for task in batch.tasks]
    assert sorted(found) == sorted(set(keys) - done)
    for batch in batches:
        assert len({task.max_new_tokens for task in batch.tasks}) == 1
        if batch.shared:
            assert share
            assert len({task.sample.images for task in batch.tasks}) == 1 < len(batch.tasks)
        else:
            assert 1 <= len(batch.tasks) <= size
            if share:
                pictures = [t.sample.images for t in batch.tasks if t.sample.images]
                assert len(set(pictures)) == len(pictures)


def test_a_batch_holds_prompts_of_similar_length() -> None:
    prompts = ["x" * n for n in (9, 1, 8, 2, 7, 3)]
    samples = [sample(n, f"{n}.png", prompt) for n, prompt in enumerate(prompts)]
    batches = make_batches([cell_of("p", samples)], set(), size=2, share=True)
    lengths = [[len(task.sample.prompt) for task in batch.tasks] for batch in batches]
    assert lengths == [[1, 2], [3, 7], [8, 9]]


class Narrow:
    """A model whose memory holds a few samples at a time, or some samples never."""

    def __init__(self, room: int, error: type[Exception], hopeless: str = "") -> None:
        self._lvlm = load(tiny_lvlm("llava"))
        self._room, self._error, self._hopeless = room, error, hopeless
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lvlm, name)

    def generate(self, images: Any, prompts: Sequence[str], **options: Any) -> Any:
        self._take(prompts, len(prompts))
        return self._lvlm.generate(images, prompts, **options)

    def ask(self, images: Any, prompts: Sequence[str], *, batch_size: int, **options: Any) -> Any:
        self._take(prompts, min(batch_size, len(prompts)))
        return self._lvlm.ask(images, prompts, batch_size=batch_size, **options)

    def _take(self, prompts: Sequence[str], size: int) -> None:
        self.sizes.append(size)
        if size > self._room or self._hopeless in prompts:
            raise self._error("CUDA out of memory. Tried to allocate 2 GiB\nand much advice")


def answered(lvlm: Any, prompts: Sequence[str], *, shared: bool, size: int = 8) -> list[Any]:
    images = ["a.png"] * len(prompts) if shared else [f"{n}.png" for n in range(len(prompts))]
    rows = [sample(n, image, p) for n, (image, p) in enumerate(zip(images, prompts, strict=True))]
    of = cell_of("p", rows)
    batch = Batch(tuple(Task(of, row) for row in rows), shared)
    module = AnswerModule(lvlm, [batch], size)
    pictures: list[Any] = [[Image.new("RGB", (30, 30), "red")]] * len(rows)
    return [module.predict_step((0, pictures)), module.size]


PROMPTS = ["Is it?", "Is it red?", "Is it a dog?", "Is it not?", "Or is it?"]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, torch.OutOfMemoryError])
@pytest.mark.parametrize("shared", [False, True])
def test_a_batch_that_does_not_fit_is_halved(shared: bool, error: type[Exception]) -> None:
    wanted, _ = answered(load(tiny_lvlm("llava")), PROMPTS, shared=shared, size=2)
    lvlm = Narrow(2, error)
    records, size = answered(lvlm, PROMPTS, shared=shared)
    assert size == 2
    assert lvlm.sizes[0] == 5
    assert [r["token_ids"] for r in records] == [r["token_ids"] for r in wanted]
    assert [r["status"] for r in records] == ["ok"] * 5
    assert all(r["batch_size"] <= 2 for r in records)


@pytest.mark.parametrize("shared", [False, True])
def test_one_sample_that_never_fits_fails_alone(shared: bool) -> None:
    lvlm = Narrow(8, RuntimeError, hopeless=PROMPTS[3])
    records, _ = answered(lvlm, PROMPTS, shared=shared)
    assert [r["status"] for r in records] == ["ok", "ok", "ok", "failed", "ok"]
    assert records[3]["error"] == "out of memory: CUDA out of memory. Tried to allocate 2 GiB"
    assert records[3]["answer"] is None


def test_other_errors_are_not_taken_for_memory() -> None:
    lvlm = load(tiny_lvlm("llava"))
    lvlm.generate = lambda *_, **__: (_ for _ in ()).throw(RuntimeError("shapes differ"))  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shapes differ"):
        answered(lvlm, PROMPTS[:1], shared=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_opened_once_a_batch_and_broken_ones_are_told(
    tmp_path: Path, workers: int
) -> None:
    Image.new("RGB", (12, 8), "blue").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n")
    rows = [sample(0, str(tmp_path / "good.png")), sample(1, str(tmp_path / "bad.png"))]
    of = cell_of("p", rows)
    both = Batch(tuple(Task(of, row) for row in rows), shared=False)
    same = Batch((Task(of, rows[0]), Task(of, rows[0])), shared=True)
    loaded = list(AnswerData([both, same], workers).predict_dataloader())
    assert [number for number, _ in loaded] == [0, 1]
    (good, bad), (one, two) = loaded[0][1], loaded[1][1]
    assert good[0].size == (12, 8)
    assert "bad.png" in bad
    assert one is two
