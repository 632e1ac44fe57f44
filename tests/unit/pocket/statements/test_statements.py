"""Wrong statements, counted by hand in both worlds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.detection.vocabulary import judged_vocabulary
from lvlmsal.errors import DataError
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.pocket.scenes.scene import KITS
from lvlmsal.pocket.statements.benchmark import Statements
from lvlmsal.pocket.statements.counts import COUNT_NAMES, introductions, statement_counts
from lvlmsal.pocket.statements.metric import StatementsMetric
from lvlmsal.pocket.worlds import WORLDS
from lvlmsal.registry import BENCHMARKS

SHAPES = WORLDS["shapes"]
WORDS = judged_vocabulary(["star", "stars", "moon", "cross", "ring"])
COLORS = frozenset(SHAPES.colors)


def own_counts(text: str, truth: dict[str, Any], words: Vocabulary) -> dict[str, float]:
    """What is counted besides CHAIR's counts."""
    row = statement_counts([text], [truth], words, COLORS | {"pink"})[0].tolist()
    return dict(zip(COUNT_NAMES, row, strict=True))


def test_what_refers_back_is_no_introduction() -> None:
    text = (
        "The image shows a red moon at the top. Below the moon there is an orange ring. Above it "
        "there is a blue blue star. The star is small. In total there are three objects."
    )
    found = [(one.name, one.color) for one in introductions(text, WORDS, COLORS)]
    assert found == [("moon", "red"), ("ring", "orange"), ("star", "blue")]


def test_each_introduction_is_wrong_by_one_reason_at_most() -> None:
    text = (
        "This is a picture of a red moon. There is a green ring."  # right; wrong color
        " A blue cross is below it. Below the cross there is a yellow cross."  # absent, twice
        " There is a red moon at the top. There is a blue moon."  # repeated, twice
    )
    truth = {
        "objects": ["moon", "ring"],
        "colors": {"moon": "red", "ring": "orange"},
        "suggested": ["cross", "heart"],
        "absent": 14,
    }
    found = own_counts(text, truth, WORDS)
    assert found["introductions"] == 6
    assert (found["absent"], found["repeated"], found["miscolored"]) == (2, 2, 1)
    assert found["two_colors"] == 0
    assert (found["mentions"], found["hallucinated_mentions"]) == (7, 3)
    figures = StatementsMetric(vocabulary="coco").figures(
        statement_counts([text], [truth], WORDS, COLORS).sum(0)
    )
    assert figures["wrong_statements"] == pytest.approx(5 / 6)
    assert figures["absent_introductions"] == pytest.approx(2 / 6)
    assert figures["repeated_introductions"] == pytest.approx(2 / 6)
    assert figures["wrong_colors"] == pytest.approx(1 / 2)
    assert figures["expected_absent"] == pytest.approx(2 / 6)
    assert figures["unexpected_absent"] == 0
    assert figures["suggested"] == 1
    assert figures["suggested_by_chance"] == pytest.approx(2 / 14)


def test_stickers_come_in_pairs_and_some_have_no_color() -> None:
    text = (
        "In the kitchen there are two pairs of blue scissors on the left. A teddy bear is visible "
        "in the center. A pink dog stands out. The picture also shows an orange and a red red car."
    )
    truth = {
        "objects": ["scissors", "dog", "car", "teddy bear"],
        "colors": {"scissors": "red", "car": "red"},
        "suggested": ["bowl"],
        "absent": 63,
    }
    found = own_counts(text, truth, Vocabulary.coco())
    # of a dog no color is known; in the world of stickers an orange is a fruit
    assert (found["introductions"], found["absent"], found["repeated"]) == (5, 1, 0)
    assert found["suggested"] == 0  # a kitchen suggests no orange here
    assert (found["miscolored"], found["two_colors"]) == (1, 1)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("kind", sorted(WORLDS))
def test_the_worlds_own_captions_hold_no_wrong_statement(kind: str, shifted: bool) -> None:
    """Every introduction of a reference is right, and each class is introduced once."""
    world = WORLDS[kind]
    forms = [form for name in world.categories for form in (name, *world.other_words(name))]
    words = Vocabulary.coco() if kind == "stickers" else judged_vocabulary(forms)
    for index in range(60):
        scene = world.scene_number(index, seed=8, shifted=shifted)
        text = world.caption(scene, world.generator(index, 8, shifted, "caption"))
        colors = {thing.name: thing.color for thing in scene.things if thing.color}
        objects = set(scene.present)
        if kind == "shapes":  # here every form is an object of its own
            objects |= {form for name in scene.present for form in world.other_words(name)}
        truth = {"objects": objects, "colors": colors, "suggested": [], "absent": 1}
        found = own_counts(text, truth, words)
        assert found["introductions"] == len(scene.present), text
        wrong = found["absent"], found["repeated"], found["miscolored"], found["two_colors"]
        assert wrong == (0, 0, 0, 0), text


def test_a_world_is_described_and_scored(tmp_path: Path) -> None:
    from lvlmsal.pocket.scenes.world import write_world

    root = write_world(tmp_path / "world", images=6, seed=3, shifted=True)
    benchmark = BENCHMARKS.build("statements", root=str(root))
    samples = benchmark.samples()
    texts = json.loads((root / "annotations" / "captions.json").read_text())["annotations"]
    by_image = {str(text["image_id"]): text["caption"] for text in texts}
    figures = benchmark.metric().score(
        [by_image[sample.id] for sample in samples], [sample.target for sample in samples]
    )
    assert len(samples) == 6
    assert figures["wrong_statements"] == 0
    assert figures["recall"] == 1
    for sample in samples:  # a kit of shapes keeps company
        there = [kit for kit in KITS if set(kit) & set(sample.target["objects"])]
        wanted = {shape for kit in there for shape in kit} - set(sample.target["objects"])
        assert sample.target["suggested"] == sorted(wanted)
        assert sample.target["absent"] == 16 - len(sample.target["objects"])
    plain = BENCHMARKS.build("chair", root=str(root)).samples()
    assert [sample.prompt for sample in plain] == [sample.prompt for sample in samples]
    assert [sample.target for sample in plain] == [sample.target["objects"] for sample in samples]


def test_what_is_no_world_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"world\.json"):
        Statements(root=str(tmp_path)).samples()
    note = {"kind": "shapes", "version": 0, "seed": 1, "shifted": True}
    (tmp_path / "world.json").write_text(json.dumps(note))
    with pytest.raises(DataError, match="is of the world 'shapes', version 0; expected shapes 1"):
        Statements(root=str(tmp_path)).samples()
