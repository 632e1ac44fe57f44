"""The command line: what it prints, and bad input as a message with exit code 2."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lvlmsal.cli.listing import KINDS
from lvlmsal.evaluation import Result
from lvlmsal.saliency import SaliencyReport

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config_file(tmp_path: Path, config: dict[str, Any], world: Path, tiny_folder: Path) -> Path:
    """`config` on a world of its own, with a checkpoint folder as the model."""
    config |= {
        "models": [{"source": str(tiny_folder), "name": "tiny"}],
        "methods": ["greedy"],
        "data": {"root": str(world)},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_help_is_quick_to_come() -> None:
    code = (
        "import sys; from lvlmsal.cli import main; main(['--help']); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'lightning')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "evaluate" in done.stdout


def test_evaluate_and_score(run: Run, config_file: Path, tmp_path: Path) -> None:
    code, out, _ = run("evaluate", config_file, "benchmarks.*.limit=1")
    assert code == 0
    assert "CHAIR_S" in out
    results = json.loads((tmp_path / "run/results.json").read_text())
    code, out, _ = run("score", tmp_path / "run", "--json")
    assert code == 0
    assert json.loads(out) == results
    assert run("score", tmp_path)[0] == 2


def test_answers_are_not_read_by_other_words_than_before(
    run: Run, config_file: Path, world: Path, tmp_path: Path
) -> None:
    assert run("evaluate", config_file, "benchmarks.*.limit=1")[0] == 0
    words = world / "vocabulary.txt"
    kept = words.rename(tmp_path / "kept.txt")
    code, _, err = run("score", tmp_path / "run")
    assert code == 2
    assert f"{words}, by whose words the answers were read, is not there" in " ".join(err.split())
    kept.rename(words)
    assert run("score", tmp_path / "run")[0] == 0


def test_list_shows_every_kind(run: Run) -> None:
    code, out, _ = run("list", "--json")
    assert code == 0
    found = json.loads(out)
    assert set(found) == set(KINDS)
    assert {entry["name"] for entry in found["decoders"]} >= {"greedy", "sample", "beam", "sgrs"}
    (pope,) = [entry for entry in found["benchmarks"] if entry["name"] == "pope"]
    assert pope["required"] == ["root"]
    assert pope["options"]["split"] == "random"
    code, out, _ = run("list", "interventions")
    assert code == 0
    assert "locore" in out
    assert "greedy" not in out
    code, _, err = run("list", "decoder")
    assert code == 2
    assert "Did you mean 'decoders'" in err


def test_list_says_what_goes_together(run: Run) -> None:
    _, out, _ = run("list", "--json")
    found = {
        kind: {entry["name"]: entry for entry in entries}
        for kind, entries in json.loads(out).items()
    }
    vcd, vissink = found["interventions"]["vcd"], found["interventions"]["vissink"]
    assert (vcd["has_second_stream"], vissink["has_second_stream"]) == (True, False)
    assert "second stream" in vcd["acts_on"]
    assert vissink["acts_on"] == ["attention weights", "hidden states", "prompt"]
    assert vissink["supports_beam"] is vissink["supports_sgrs"] is True
    assert vissink["shares_prefix"] is True
    assert found["interventions"]["memvr"]["shares_prefix"] is False
    assert found["interventions"]["scr"]["shares_prefix"] is None  # its options decide
    greedy, beam = found["decoders"]["greedy"], found["decoders"]["beam"]
    assert (greedy["is_beam"], beam["is_beam"]) == (False, True)
    assert found["decoders"]["sgrs"]["uses_saliency"] is True


def test_everything_that_is_listed_can_be_described(run: Run) -> None:
    _, out, _ = run("list", "--json")
    listed = {
        (kind, entry["name"]): entry
        for kind, entries in json.loads(out).items()
        for entry in entries
        if kind != "checkpoints"
    }
    for (kind, name), entry in listed.items():
        code, out, err = run("describe", name, "--json")
        assert code == 0, err
        (same,) = [each for each in json.loads(out) if each["kind"] == kind]
        assert {key: same[key] for key in entry.keys() & {"summary", "origin", "acts_on"}} == {
            key: entry[key] for key in entry.keys() & {"summary", "origin", "acts_on"}
        }
        assert set(same["options"]) == {*entry["required"], *entry["options"]}


def test_describe_is_for_a_terminal(run: Run) -> None:
    code, out, _ = run("describe", "vissink")
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "acts on: attention weights, hidden states, prompt" in lines
    assert "  llava-1.5-7b: dims=[1415, 2533]" in lines
    at = lines.index("  keep = 0.6")
    assert lines[at + 1] == "      what sinks keep; 1 is the plain model, bit for bit."
    code, out, _ = run("describe", "pope")
    assert code == 0
    assert "pope (metrics)" in out
    assert "root (required)" in out
    code, _, err = run("describe", "vizsink")
    assert code == 2
    assert "Did you mean 'vissink'" in err


def test_generate_gives_every_token_its_saliency(run: Run, world: Path, tiny_folder: Path) -> None:
    image = next((world / "images").iterdir())
    words = ("generate", image, "What is there?", "--model", tiny_folder, "--max-new-tokens", 3)
    code, out, _ = run(*words, "--json")
    assert code == 0
    greedy = json.loads(out)
    assert all(token["saliency"] is not None for token in greedy["tokens"])
    options = ("--decoder", "sgrs", "--set", "layers=[1]", "--intervention", "locore")
    code, out, _ = run(*words, *options, "--set", "locore.beta=0.5", "--json")
    assert code == 0
    assert json.loads(out)["tokens"][0]["saliency"] != greedy["tokens"][0]["saliency"]
    assert (greedy["row"], json.loads(out)["row"]) == ("predicting", "candidate")
    code, out, _ = run(*words)
    assert code == 0
    assert "saliency, predicting row:" in out


def test_saliency_writes_a_picture(
    run: Run, world: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    image = next((world / "images").iterdir())
    out = tmp_path / "map.png"
    words = ("saliency", image, "What is there?", "--model", tiny_folder, "--max-new-tokens", 3)
    code, _, err = run(*words, "-o", out)
    assert code == 0, err
    assert out.read_bytes()[:4] == b"\x89PNG"
    code, _, err = run(*words, "-o", tmp_path / "report.safetensors")
    assert code == 0, err
    assert len(SaliencyReport.load(tmp_path / "report.safetensors").tokens) == 3


def test_all_mistakes_of_a_question_are_told_together(run: Run, tmp_path: Path) -> None:
    image = tmp_path / "x.png"
    image.touch()
    code, _, err = run(
        "saliency", image, "hi", "-o", tmp_path / "no/map.bmp", "--model", "pocket-lava",
        "--intervention", "locroe", "--set", "rows=1", "--set", "norm=colum",
    )  # fmt: skip
    assert code == 2
    for words in ("pocket-llava", "locore", "'row'", "colum", "there is no folder", ".png"):
        assert words in err
    code, _, err = run(
        "generate", image, "hi", "--decoder", "sgsr", "--set", "nocore.beta=1", "--set", "what"
    )
    assert code == 2
    assert "what" in err


def damage_image(world: Path) -> str:
    path = sorted((world / "images").iterdir())[0]
    path.write_bytes(path.read_bytes()[:150])
    return path.name


def remove_image(world: Path) -> str:
    path = sorted((world / "images").iterdir())[0]
    path.unlink()
    return f"scene_pope_random.json:1: there is no image {path}"


def cut_line(world: Path) -> str:
    path = world / "pope/scene_pope_random.json"
    path.write_text(path.read_text()[:-20])
    return f"{path}:{len(path.read_text().splitlines())}: "


def drop_label(world: Path) -> str:
    path = world / "pope/scene_pope_random.json"
    lines = path.read_text().splitlines()
    row = json.loads(lines[2])
    del row["label"]
    lines[2] = json.dumps(row)
    path.write_text("\n".join(lines) + "\n")
    return f"{path}:3: "


def leave_the_root(world: Path) -> str:
    path = world / "pope/scene_pope_random.json"
    path.write_text(path.read_text().replace('"SCENE_', '"../SCENE_', 1))
    return f"{path}:1: "


def break_annotations(world: Path) -> str:
    path = world / "annotations/instances.json"
    path.write_text(path.read_text()[:-10])
    return str(path)


@pytest.mark.parametrize(
    "spoil",
    [damage_image, remove_image, cut_line, drop_label, leave_the_root, break_annotations],
)
def test_bad_data_is_a_message(
    run: Run, config_file: Path, world: Path, tmp_path: Path, spoil: Callable[[Path], str]
) -> None:
    words = spoil(world)
    code, _, err = run("evaluate", config_file)
    assert code == 2
    assert words in err
    for line in (tmp_path / "run/records.jsonl").open() if (tmp_path / "run").exists() else ():
        record = json.loads(line)
        assert record["status"] == ("failed" if words in record["error"] else "ok")
    assert not (tmp_path / "run/results.json").exists()


def test_a_bad_config_is_a_message(run: Run, config_file: Path, tiny_folder: Path) -> None:
    code, _, err = run("evaluate", config_file, "methods=[sgsr]", "batch_size=no", "sede=1")
    assert code == 2
    for words in ("Did you mean 'sgrs'", "batch_size", "Did you mean 'seed'", "3 problems"):
        assert words in err
    code, _, err = run("evaluate", config_file.with_name("none.yaml"))
    assert code == 2
    assert re.search(r"Packaged: .*\bdemo\b", err)
    assert run("evaluate")[0] == 2


def test_a_folder_without_weights_is_a_message(
    run: Run, config_file: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_bytes((tiny_folder / "config.json").read_bytes())
    code, _, err = run("evaluate", config_file, f"models=[{bare}]")
    assert code == 2
    assert f"{bare}: there are no weights" in err
    code, _, err = run(
        "generate", next(iter(tmp_path.glob("world/images/*"))), "x", "--model", bare
    )
    assert code == 2
    assert f"{bare}: there are no weights" in err


def test_answers_made_elsewhere_are_scored(run: Run, world: Path, tmp_path: Path) -> None:
    questions = world / "pope/scene_pope_random.json"
    rows = [json.loads(line) for line in questions.read_text().splitlines()]
    answers = tmp_path / "answers.jsonl"
    lines = [json.dumps({"question_id": r["question_id"], "answer": r["label"]}) for r in rows]
    answers.write_text("\n".join(lines))
    words = ("score", "pope", "--questions", questions, "--answers", answers)
    code, out, _ = run(*words, "--json")
    assert code == 0
    assert json.loads(out)["accuracy"] == 1.0
    assert "accuracy: 1.0000" in run(*words)[1]
    code, _, err = run(*words, "--parser", "strikt")
    assert code == 2
    assert "Did you mean 'strict'" in err
    answers.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:10])
    code, _, err = run(*words)
    assert code == 2
    assert f"{answers}:{len(lines)}: " in err

    captions = tmp_path / "captions.jsonl"
    captions.write_text(json.dumps({"image_id": 1, "caption": "A star."}) + "\n")
    chair = ("score", "chair", "--annotations", world / "annotations", "--captions", captions)
    options = ("--vocabulary", world / "vocabulary.txt", "--singularizer", "none", "--json")
    code, out, _ = run(*chair, *options)
    assert code == 0
    assert json.loads(out)["n_captions"] == 1
    captions.write_text(json.dumps({"image_id": 99, "caption": "A star."}) + "\n")
    code, _, err = run(*chair, *options)
    assert code == 2
    assert f"{captions}:1" in err
    assert "99" in err


def test_an_interrupt_says_how_to_go_on(
    run: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> Result:
        raise KeyboardInterrupt

    monkeypatch.setattr("lvlmsal.evaluation.evaluate", stop)
    code, _, err = run("evaluate", config_file)
    assert code == 130
    assert "same command" in err
