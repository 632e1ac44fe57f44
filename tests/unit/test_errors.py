"""The errors say what they should, and survive the way between processes."""

from __future__ import annotations

import pickle

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lvlmsal.errors import (
    ConfigError,
    DataError,
    LvlmsalError,
    UnknownName,
    UnsupportedError,
    close_matches,
)

EXAMPLES = [
    (ConfigError(["one"]), "one"),
    (ConfigError(["one"], source="a.yaml"), "a.yaml: one"),
    (ConfigError(["one", "two"], source="a.yaml"), "a.yaml: 2 problems:\n  - one\n  - two"),
    (DataError("bad"), "bad"),
    (DataError("bad", path="a.json"), "a.json: bad"),
    (DataError("bad", path="a.json", line=3), "a.json:3: bad"),
    (DataError("bad", line=3), "line 3: bad"),
    (UnknownName("tool", "a'b", []), 'unknown tool "a\'b". Known: none'),
    (UnsupportedError("no"), "no"),
]


@pytest.mark.parametrize(("error", "text"), EXAMPLES)
def test_text_and_pickling(error: LvlmsalError, text: str) -> None:
    assert str(error) == text
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == text
    assert vars(copy) == vars(error)


def test_one_text_is_one_problem() -> None:
    assert ConfigError("abc").problems == ["abc"]  # a str is a sequence of letters


def test_an_error_without_problems_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one problem"):
        ConfigError([])


def test_long_lists_are_cut() -> None:
    text = str(UnknownName("tool", "zz", [f"name{i:03}" for i in range(100)]))
    assert "name029" in text
    assert "name030" not in text
    assert text.endswith(", and 70 more")


@given(st.text(), st.lists(st.text(max_size=8), max_size=5))
def test_suggestions_are_known_names(name: str, known: list[str]) -> None:
    hint = close_matches(name, known)
    assert not hint or any(hint == f" Did you mean {candidate!r}?" for candidate in known)
    if name and name in known:
        assert hint
