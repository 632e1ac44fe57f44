"""The checkpoint cards that are shipped, and what a card of one's own may hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lvlmsal
from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.registry import ADAPTERS, CATALOG, DECODERS, INTERVENTIONS, Catalog, CheckpointCard
from lvlmsal.registry.catalog import read_card

CARD = """
name: my-model
summary: A model of mine
hub_id: me/my-model
architecture: LlavaForConditionalGeneration
license: MIT
"""


def write(folder: Path, text: str, name: str = "my-model") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_the_promised_checkpoints_are_there() -> None:
    assert set(CATALOG.names()) >= {
        "internvl2.5-8b-mpo",
        "internvl3-14b",
        "llava-1.5-13b",
        "llava-1.5-7b",
        "pocket-idefics3",
        "pocket-llava",
        "pocket-qwen2vl",
        "qwen2-vl-7b",
        "qwen2.5-vl-32b",
        "qwen2.5-vl-7b",
    }
    assert CATALOG.names("qwen2*") == ["qwen2-vl-7b", "qwen2.5-vl-32b", "qwen2.5-vl-7b"]
    assert len(CATALOG) == len(set(CATALOG.names()))
    assert "llava-1.5-7b" in CATALOG
    assert list(CATALOG) == CATALOG.names()


@pytest.mark.parametrize("name", CATALOG.names())
def test_each_card_fits_what_is_registered(name: str) -> None:
    card = CATALOG.get(name)
    assert card.architecture in ADAPTERS
    assert card.summary
    assert card.license
    for method, options in card.defaults.items():
        registry = INTERVENTIONS if method in INTERVENTIONS else DECODERS
        assert registry.problems(method, options) == []
    if card.hub_id is not None:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", card.hub_id)
        assert card.source == card.hub_id


@pytest.mark.parametrize(
    ("name", "beta"), [("llava-1.5-7b", 0.15), ("llava-1.5-13b", 0.15), ("qwen2-vl-7b", 0.2)]
)
def test_settings_of_the_paper(name: str, beta: float) -> None:
    card = CATALOG.get(name)
    assert card.defaults["locore"] == {"beta": beta}
    assert card.defaults["sgrs"] == {"alpha": 0.6}
    assert "paper" in card.notes


@pytest.mark.parametrize(
    "name", ["qwen2.5-vl-7b", "qwen2.5-vl-32b", "internvl2.5-8b-mpo", "internvl3-14b"]
)
def test_settings_of_ours_are_called_ours(name: str) -> None:
    assert "the default is ours" in CATALOG.get(name).notes


def test_no_two_cards_are_of_one_checkpoint() -> None:
    cards = [CATALOG.get(name) for name in CATALOG]
    for places in ([card.source for card in cards], [card.original for card in cards]):
        named = [place for place in places if place is not None]
        assert len(named) == len(set(named))


def test_pocket_cards_point_into_the_installed_package() -> None:
    folder = CATALOG.get("pocket-qwen2vl").folder
    assert lvlmsal.__file__ is not None
    assert folder == Path(lvlmsal.__file__).parent / "pocket/weights/pocket-qwen2vl"
    assert CATALOG.get("pocket-qwen2vl").source == str(folder)


def test_unknown_checkpoints_get_a_suggestion() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'internvl2\.5-8b-mpo'\?"):
        CATALOG.get("internvl2.5-8b-mop")


def test_a_card_of_ones_own(tmp_path: Path) -> None:
    card = read_card(write(tmp_path, CARD + "defaults:\n  locore: {beta: 0.1}\n"))
    assert card == CheckpointCard(
        name="my-model",
        summary="A model of mine",
        hub_id="me/my-model",
        architecture="LlavaForConditionalGeneration",
        license="MIT",
        defaults={"locore": {"beta": 0.1}},
    )
    catalog = Catalog(tmp_path / "none")
    catalog.add(card)
    assert catalog.get("my-model") is card
    with pytest.raises(ValueError, match="already has a checkpoint 'my-model'"):
        catalog.add(card)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a list", "must hold `key: value` lines"),
        ("", "must hold `key: value` lines"),
        ("a: [1", "is not valid YAML"),
        (CARD + "revison: abc", r"unknown option 'revison'\. Did you mean 'revision'"),
        (CARD + "defaults: [locore]", "'defaults' must be a mapping"),
        (CARD + "folder: weights", "either `hub_id` or `folder`"),
        (CARD.replace("hub_id: me/my-model", ""), "either `hub_id` or `folder`"),
        (CARD.replace("hub_id: me/my-model", "folder: x\nrevision: abc"), "has no revision"),
    ],
)
def test_bad_cards_are_refused_by_file(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_card(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_all_problems_of_a_card_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_card(write(tmp_path, "name: 3\nlicence: MIT\n"))
    # name has the wrong type, license is misspelt, three others are missing.
    assert len(caught.value.problems) == 5


def test_a_card_that_calls_itself_otherwise_is_refused(tmp_path: Path) -> None:
    write(tmp_path, CARD, name="other")
    with pytest.raises(ConfigError, match=r"other\.yaml: calls itself 'my-model'"):
        Catalog(tmp_path).names()
