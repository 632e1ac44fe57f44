"""What the shell says: colored answers, help, listings, and advice for what people type."""

from __future__ import annotations

import pytest

import lvlmsal
from lvlmsal.cli import main
from lvlmsal.cli.ask import Reply, colored
from lvlmsal.colors import color
from lvlmsal.decoders.records import TokenRecord


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    main(list(words))
    captured = capsys.readouterr()
    return captured.out + captured.err


def record(text: str, saliency: float | None) -> TokenRecord:
    return TokenRecord(id=1, text=text, saliency=saliency)


def test_words_have_the_colors_of_the_explorer_and_no_control_token() -> None:
    words = [record(" A", 0.0), record(" big", 0.2), record(" dog", 0.2)]
    shown = colored(Reply(" A big dog", [*words, record("</s>", 0.1)], 1.0, "predicting"))
    assert shown.plain.startswith(" A big dog\n")
    assert "</s>" not in shown.plain
    styles = [str(span.style) for span in shown.spans]
    # the scale begins at 0 and ends at the highest value: white on deep blue, black on pale yellow
    assert styles[0] == "white on #{:02x}{:02x}{:02x}".format(*color(0.0))
    assert styles[1] == "black on #{:02x}{:02x}{:02x}".format(*color(1.0))


def test_an_answer_that_was_cut_off_keeps_its_last_word() -> None:
    shown = colored(Reply(" A dog", [record(" A", None), record(" dog", None)], 1.0, "predicting"))
    assert shown.plain == " A dog"


def test_version_and_short_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert lvlmsal.__version__ in said(capsys, "--version")
    assert "lvlmsal evaluate demo" in said(capsys, "evaluate", "-h")


def test_methods_are_decoders_and_interventions(capsys: pytest.CaptureFixture[str]) -> None:
    listed = said(capsys, "list", "methods")
    assert all(name in listed for name in ("greedy", "sgrs", "locore", "vcd"))
    assert "pope" not in listed
    # nothing is broken over lines at the width of a page
    assert max(map(len, listed.splitlines())) <= 100


def test_a_setting_with_dashes_is_answered_with_what_to_write(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", "demo", "--batch-size", "4"]) == 2
    assert "batch_size=..." in capsys.readouterr().err
    assert main(["evaluate", "demo", "--batch-size=4"]) == 2
    assert "batch_size=4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("methods=[vcd,{name: m, decoder: vcd}]", "write  interventions: [vcd]"),
        ("methods=[{name: m, interventions: [sgrs]}]", "write  decoder: sgrs"),
        (
            "methods=[{name: m, interventions: [locore], beta: 0.2}]",
            "write  interventions: [{name: locore, beta: ...}]",
        ),
        ("methods=[{name: m, decoder: sgrs, alpha: 0.2}]", "decoder: {name: sgrs, alpha: ...}"),
        ("models=[{source: pocket-llava, dtype: fp16}]", "Did you mean 'float16'?"),
        ("models=[liuhaotian/llava-v1.5-7b]", "for transformers are llava-1.5-7b"),
    ],
)
def test_advice(setting: str, advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "demo", setting]) == 2
    assert advice in capsys.readouterr().err
