"""What the shell says: colored answers, help, listings, and advice for what people type."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lvlmsal
from lvlmsal.adapters.videos import Video
from lvlmsal.cli import main
from lvlmsal.cli.ask import Reply, colored
from lvlmsal.cli.console import PIPE_WIDTH
from lvlmsal.cli.listing import REGISTRIES
from lvlmsal.cli.score import print_scores
from lvlmsal.cli.shown import shown_file
from lvlmsal.colors import color
from lvlmsal.decoders.records import TokenRecord
from lvlmsal.errors import DataError
from lvlmsal.registry import CATALOG
from tests.printed import assert_holds


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown does not depend on the terminal that the tests run in."""
    monkeypatch.setenv("COLUMNS", "100")


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


def test_without_colors_there_is_no_scale_of_them() -> None:
    reply = Reply(" A dog", [record(" A", 0.0), record(" dog", 0.2)], 1.0, "candidate")
    shown = colored(reply, colors=False).plain
    assert shown.endswith(
        "saliency, candidate row: its colors are off here; --json has the numbers"
    )
    assert "0.250" in colored(reply).plain


def test_an_answer_that_was_cut_off_keeps_its_last_word() -> None:
    shown = colored(Reply(" A dog", [record(" A", None), record(" dog", None)], 1.0, "predicting"))
    assert shown.plain == " A dog"


def test_version_and_short_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert lvlmsal.__version__ in said(capsys, "--version")
    assert "lvlmsal evaluate demo" in said(capsys, "evaluate", "-h")


COMMANDS = [
    *("", "evaluate", "sweep", "compare", "judge", "list", "describe", "generate", "saliency"),
    *("explore", "score", "score run", "score pope", "score amber", "check", "check batch"),
    *("data", "data list", "data show", "data check", "data export", "data frames"),
    *("analyze", "analyze tokens", "analyze layers", "analyze fusion", "analyze decay"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_what_to_type_and_no_type_of_python(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = said(capsys, *command.split(), "-h")
    assert "Usage" in shown
    for word in ("<str>", "<int", "<path>", "<bool>", "<list", "<float"):
        assert word not in shown, word
    # a command without commands of its own ends with an example
    if "COMMAND" not in shown:
        assert f"lvlmsal {command}" in shown.partition("─╯")[2]


def test_what_an_option_takes_stands_next_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "generate", "-h").splitlines()
    flags = {words[1]: words[2] for line in lines if (words := line.split())[1:2] and "--" in line}
    assert flags["--model"] == "NAME"
    assert flags["--seed"] == "N"
    assert flags["--set"] == "KEY=VALUE"
    assert flags["--json"] == "Print"  # a switch takes nothing
    # all lines of a paragraph make one paragraph
    assert "comma-separated. The exit code is 1 if" in " ".join(
        said(capsys, "compare", "-h").split()
    )


@pytest.mark.parametrize(
    ("words", "least"),
    [
        ("generate a.png Q --seed -1", 0),
        ("generate a.png Q --seed soon", 0),
        ("generate a.png Q --max-new-tokens 0", 1),
        ("explore runs/a -o a.html --limit 0", 1),
        ("analyze layers demo --token 2 --token x", 0),
        ("data frames videos out --frames 0.5", 1),
    ],
)
def test_a_number_that_cannot_be_is_refused_with_what_was_given(
    words: str, least: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    given = words.split()[-1]
    assert f"expected a whole number of at least {least}, got {given}" in told


def test_methods_are_decoders_and_interventions(capsys: pytest.CaptureFixture[str]) -> None:
    listed = said(capsys, "list", "methods")
    assert all(name in listed for name in ("greedy", "sgrs", "locore", "vcd"))
    assert "pope" not in listed


@pytest.mark.parametrize(
    "words", [("list",), ("list", "methods"), ("list", "adapters"), ("data", "list")]
)
def test_listings_hold_at_80_columns_in_a_pipe_too(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = said(capsys, *words)
    assert max(map(len, listed.splitlines())) == 80
    kinds = {"methods": ["decoders", "interventions"], "adapters": ["adapters"]}
    kinds |= {"list": ["benchmarks"] if words[0] == "data" else list(REGISTRIES)}
    for kind in kinds[words[-1]]:
        for name in REGISTRIES[kind]:
            assert f"│{name} " in listed
    if words == ("list",):
        for name in CATALOG:
            assert f"  {CATALOG.get(name).hub_id or 'shipped'}" in listed
    if words == ("data", "list"):
        assert "  pope/gqa/random: 3000 samples " in listed


def test_scores_hold_at_80_columns_in_a_pipe_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rules = [f"rule-{'x' * i}" for i in range(8)]
    figures = ["accuracy", "precision", "recall", "f1", "yes_ratio", "unparsed"]
    number = iter(range(1000, 2000))
    values = {rule: {figure: next(number) / 10000 for figure in figures} for rule in rules}
    print_scores({"accuracy": 0.5, "parsers": values}, as_json=False)
    shown = capsys.readouterr().out
    assert_holds(shown, 80)
    for found in values.values():
        assert all(shown.count(f" {value:.4f}") == 1 for value in found.values())


def test_a_pipe_without_columns_is_as_wide_as_a_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    listed = said(capsys, "list", "adapters")
    assert 80 < max(map(len, listed.splitlines())) <= PIPE_WIDTH


@pytest.mark.parametrize(
    ("variable", "value", "colored"),
    [
        *(("CLICOLOR", "1", True), ("CLICOLOR", "0", False)),
        *(("CLICOLOR_FORCE", "1", True), ("CLICOLOR_FORCE", "0", False)),
    ],
)
def test_clicolor_is_heard(
    variable: str,
    value: str,
    colored: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"):
        monkeypatch.setenv(name, "")  # what the command sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("TERM", "xterm-256color")
    # a terminal that the command believes in; one that it is talked into; a pipe
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if variable == "CLICOLOR" else "")
    shown = said(capsys, "evaluate", "-h")
    assert bool(re.search(r"\x1b\[(1;)?3\d", shown)) == colored


@pytest.mark.parametrize(
    "words",
    [
        *("generate nowhere.png Hi", "saliency nowhere.png Hi -o a.png", "score nowhere"),
        *("compare nowhere", "judge nowhere", "explore nowhere -o a.html"),
    ],
)
def test_a_path_that_is_not_there_is_told_before_anything_is_imported(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "path 'nowhere" in told
    assert "does not exist" in told


def test_a_decoder_given_as_an_intervention_is_answered_in_words_of_the_shell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image = tmp_path / "a.png"
    image.touch()
    assert main(["generate", str(image), "Hi", "--decoder", "vcd"]) == 2
    assert "write  --intervention vcd" in capsys.readouterr().err
    assert main(["generate", str(image), "Hi", "--intervention", "sgrs"]) == 2
    assert "write  --decoder sgrs" in capsys.readouterr().err


def test_a_setting_with_dashes_is_answered_with_what_to_write(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", "demo", "--batch-size", "4"]) == 2
    assert "batch_size=4" in capsys.readouterr().err
    assert main(["evaluate", "demo", "--batch-size"]) == 2
    assert "batch_size=..." in capsys.readouterr().err
    assert main(["evaluate", "demo", "--batch-size=4"]) == 2
    assert "batch_size=4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("methods=[vcd,{name: m, decoder: vcd}]", "write  interventions: [vcd]"),
        ("methods=[{name: m, interventions: [sgrs]}]", "write  decoder: sgrs"),
        ("methods=[vdc]", "Did you mean 'vcd'? It is an intervention"),
        ("methods=[{name: m, interventions: [sgsr]}]", "Did you mean 'sgrs'? It is a decoder"),
        (
            "methods=[{name: m, interventions: [{locore: {beta: 0.3}}]}]",
            "has no name of the intervention: write  {name: locore, beta: 0.3}",
        ),
        ("methods=[{locore: {beta: 0.3}}]", "write  interventions: [{name: locore, ...}]"),
        ("methods=[{name: locore, beta: 0.2}]", "interventions: [{name: locore, beta: ...}]"),
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


def test_a_video_is_known_by_its_suffix_and_a_gif_is_an_image(tmp_path: Path) -> None:
    video = tmp_path / "clip.MP4"
    video.write_bytes(b"not read here")
    shown = shown_file(video)
    assert isinstance(shown, Video)
    assert repr(shown) == repr(Video(video))
    gif = tmp_path / "wave.gif"
    Image.new("RGB", (4, 4)).save(gif)
    assert shown_file(gif) == gif
    broken = tmp_path / "photo.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"photo\.jpg"):
        shown_file(broken)


@pytest.mark.slow
def test_a_model_without_videos_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    av = pytest.importorskip("av")
    video = tmp_path / "clip.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for shade in (0, 80, 160):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for command in ("generate", "detect"):
        assert main([command, str(video), "What happens?", "--model", "pocket-llava"]) == 2
        assert "takes no videos" in capsys.readouterr().err
