"""An answer in a notebook, in the explorer and as a frame."""

from __future__ import annotations

import pickle
import webbrowser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from lvlmsal.decoders.records import TokenRecord
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.model.answer import Answer
from lvlmsal.saliency import SaliencyOptions
from lvlmsal.saliency.html import answer_html
from lvlmsal.saliency.report import SaliencyReport
from tests.unit.model.test_lvlm import QUESTION, loaded, picture


def answered(**options: Any) -> Answer:
    return loaded("llava").generate(picture(), QUESTION, max_new_tokens=4, **options)


def test_words_are_colored_by_one_definition_and_judged_once() -> None:
    answer = answered(decoder=SGRS(row="candidate"))
    wanted = answer_html(answer.diagnose(options=SaliencyOptions()))
    assert answer._repr_html_() == wanted
    with patch.object(answer, "diagnose", side_effect=AssertionError):
        assert answer._repr_html_() == wanted
    assert pickle.loads(pickle.dumps(answer))._repr_html_() == wanted


def test_an_answer_that_cannot_be_judged_is_shown_all_the_same() -> None:
    alone = pickle.loads(pickle.dumps(answered()))
    shown = alone._repr_html_()
    assert "not colored by saliency: this answer comes out of a pickle" in shown
    full = answered()
    with (
        patch.object(full, "diagnose", side_effect=RuntimeError("a fault")),
        pytest.raises(RuntimeError, match="a fault"),
    ):
        full._repr_html_()
    with patch.object(full, "diagnose", side_effect=MemoryError("out of memory")):
        assert "not colored by saliency: out of memory" in full._repr_html_()
    assert "background" in full._repr_html_()


def test_reprs_are_short() -> None:
    answer = answered(decoder="sgrs")
    assert repr(answer).startswith("Answer(")
    assert f"{len(answer.token_ids)} tokens" in repr(answer)
    assert all(len(repr(each)) < 160 for each in (answer, *answer.tokens))
    assert repr(TokenRecord(3, "a", fallback=True)) == "TokenRecord(3, 'a', fallback)"


def test_explore_writes_a_page_and_opens_it_where_there_is_a_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    answer = answered(decoder=SGRS(row="candidate"))
    path = answer.explore(tmp_path / "page.html", row="candidate")
    assert path == tmp_path / "page.html"
    text = path.read_text()
    assert '"row":"candidate"' in text
    assert '"own":"candidate row' in text
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    answer.explore(path, browser=False)
    assert opened == []
    other = answer.explore()
    assert other.suffix == ".html"
    assert opened == [other.as_uri()]
    assert '"row":"predicting"' in other.read_text()
    with pytest.raises(DataError, match="there is no folder"):
        answer.explore(tmp_path / "no" / "page.html")


def test_tokens_as_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = answered(decoder=SGRS(alpha=1.5))
    frame = answer.to_pandas()
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "id": "int64",
        "text": "object",
        "probability": "float64",
        "saliency": "float64",
        "threshold": "float64",
        "tries": "int64",
        "rejected": "int64",
        "fallback": "bool",
    }
    assert frame.id.tolist() == answer.token_ids
    assert frame.saliency.tolist() == [token.saliency for token in answer.tokens]
    assert frame.rejected.sum() == sum(len(token.rejected) for token in answer.tokens) > 0
    assert answered().to_pandas().saliency.isna().all()
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'lvlmsal\[pandas\]'"):
        answer.to_pandas()


def test_a_plot_takes_saliency_options_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[SaliencyOptions] = []
    monkeypatch.setattr(SaliencyReport, "plot", lambda self, path: drawn.append(self.options))
    answer = answered(decoder=SGRS(row="candidate"))
    answer.plot(layers=[1])
    answer.plot(options=SaliencyOptions(row="candidate"), fusion="max")
    assert drawn == [
        SaliencyOptions(layers=[1]),
        SaliencyOptions(row="candidate", fusion="max"),
    ]
