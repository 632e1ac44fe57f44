"""Interpolations of the environment: used resolved, written as they stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lvlmsal import secrets
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.evaluation.config.plan import read_draft
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.config.unresolved import literal, resolve
from lvlmsal.evaluation.results.config_changes import refuse_differences
from lvlmsal.evaluation.results.folder import write_config
from lvlmsal.secrets import hide, remember
from lvlmsal.sweeps.reading import read_sweep

SECRET = "sk-0123456789-of-the-test"
TOKEN = "${oc.env:LVLMSAL_TEST_TOKEN}"
BASE = {
    "output": "runs/x",
    "models": ["pocket-llava"],
    "methods": ["greedy"],
    "benchmarks": [{"name": "pope", "root": "nowhere"}],
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVLMSAL_TEST_TOKEN", SECRET)
    monkeypatch.setenv("LVLMSAL_TEST_SIZE", "3")
    monkeypatch.delenv("LVLMSAL_TEST_UNSET", raising=False)


def test_values_are_used_and_texts_are_written() -> None:
    config, problems, _ = read_config(
        {
            **BASE,
            "data": {"root": "${judge.options.user}/data"},
            "batch_size": "${oc.env:LVLMSAL_TEST_SIZE}",
            "workers": "${oc.env:LVLMSAL_TEST_UNSET,2}",
            "benchmarks": ["pope", {"name": "chair", "root": f"/{TOKEN}"}],
            "judge": {"model": "m", "options": {"user": TOKEN}},
        }
    )
    assert problems == []
    assert config.batch_size == 3
    assert config.workers == 2
    assert config.benchmarks[0].options["root"] == f"{SECRET}/data"
    assert config.benchmarks[1].options["root"] == f"/{SECRET}"
    written = config.to_yaml()
    assert SECRET not in written
    assert "workers: ${oc.env:LVLMSAL_TEST_UNSET,2}" in written
    assert written.count("${judge.options.user}/data") == 2
    again, problems, _ = read_config(OmegaConf.create(written))
    assert problems == []
    assert again.to_dict() == config.to_dict()
    assert again.to_yaml() == written


def test_names_are_the_texts_because_they_stand_in_every_file() -> None:
    config, problems, _ = read_config(
        {**BASE, "models": [TOKEN], "methods": [{"name": TOKEN, "decoder": "greedy"}]}
    )
    assert problems == []
    assert (config.models[0].name, config.models[0].source) == (TOKEN, SECRET)
    assert config.methods[0].name == TOKEN


@given(st.text(alphabet="\\${}ab:' \n"))
def test_text_that_looks_like_an_interpolation_survives_being_written(text: str) -> None:
    written = OmegaConf.to_yaml(OmegaConf.create(literal({"key": text}, {})))
    assert resolve(OmegaConf.to_container(OmegaConf.create(written))) == ({"key": text}, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": TOKEN},
        {"models": [{"source": "pocket-llava", "dtype": TOKEN}]},
        {"models": [TOKEN]},
        {"decoder": TOKEN},
        {"decoder": {"name": "sgrs", "alpha": TOKEN}},
        {"baseline": TOKEN},
        {"judge": {"model": "m", "base_url": TOKEN}},
        {"logger": TOKEN},
        {"plugins": [TOKEN]},
        {TOKEN: 1},
        {"nosuchkey": TOKEN},
    ],
    ids=str,
)
def test_messages_show_the_text(wrong: dict[str, object]) -> None:
    own = {k: v for k, v in BASE.items() if not (k == "methods" and "decoder" in wrong)}
    problems = read_draft({**own, **wrong}).problems
    assert problems
    message = str(ConfigError(problems))
    assert "0123456" not in message  # neither whole nor cut


def test_errors_about_files_show_the_text() -> None:
    read_config({**BASE, "data": {"root": TOKEN}})
    assert str(DataError("gone", path=f"/{SECRET}/x", line=2)) == f"/{TOKEN}/x:2: gone"


def test_a_run_goes_on_with_its_own_config_and_with_the_first_one(tmp_path: Path) -> None:
    first = {**BASE, "methods": [{"decoder": {"name": "sgrs", "alpha": 0.5}}]}
    first["world"] = {"root": "w", "images": "${oc.env:LVLMSAL_TEST_SIZE}"}
    write_config(tmp_path, read_config(first)[0])
    record = {
        **dict.fromkeys(("sample_id", "group", "prompt", "error"), ""),
        "key": "0/1",
        "model": "pocket-llava",
        "method": "sgrs",
        "benchmark": "pope",
        "images": [],
        "answer": "yes",
        "target": "yes",
        "status": "ok",
        "new_tokens": 1,
        "seconds": 0.5,
    }
    (tmp_path / "records.jsonl").write_text(json.dumps(record) + "\n")  # a run has begun
    refuse_differences(tmp_path, read_config(first)[0])
    refuse_differences(tmp_path, read_config(tmp_path / "config.yaml")[0])
    first["world"] = {"root": "w", "images": 3}  # the same, whoever says it
    refuse_differences(tmp_path, read_config(first)[0])
    first["world"] = {"root": "w", "images": 4}
    with pytest.raises(ConfigError, match=r"world.images: the run has '\$\{oc.env:.*config 4"):
        refuse_differences(tmp_path, read_config(first)[0])


def test_points_of_a_sweep_keep_the_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVLMSAL_TEST_ALPHA", "0.123456")
    alpha = "${oc.decode:${oc.env:LVLMSAL_TEST_ALPHA}}"
    found = read_sweep(
        {
            "output": "runs/x",
            "models": ["pocket-llava"],
            "methods": ["greedy"],
            "world": {"root": f"{tmp_path}/{TOKEN}", "images": 2},
            "benchmarks": [{"name": "pope", "limit": 1}],
            "sweep": {
                "method": {"name": "start", "decoder": {"name": "sgrs", "alpha": alpha}},
                "grids": [{"sgrs.window": [2, 4]}, {"sgrs.alpha": [0.5]}],
            },
        },
        given=["pocket-llava"],
    )
    assert SECRET not in str(found.config)
    alphas = [method["decoder"].get("alpha") for method in found.config["methods"]]
    assert alphas == [None, alpha, alpha, 0.5]


def test_values_of_an_axis_are_not_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LVLMSAL_TEST_ALPHA", "0.123456")
    axis = ["${oc.decode:${oc.env:LVLMSAL_TEST_ALPHA}}"]
    sweep = {"method": {"name": "start", "decoder": "sgrs"}, "grids": [{"sgrs.alpha": axis}]}
    with pytest.raises(ConfigError, match=r"sweep\.grids: \$\{oc\.decode:.* write the value"):
        read_sweep({**BASE, "sweep": sweep}, given=["pocket-llava"])


def test_a_default_is_no_secret_and_nothing_is_replaced_twice() -> None:
    known = dict(secrets._KNOWN)
    try:
        resolve({"dtype": "${oc.env:LVLMSAL_TEST_UNSET,float64}"})
        remember("first-value", "${oc.env:second-value}")
        remember("second-value", "${oc.env:OTHER}")
        said = hide("float64 first-value second-value")
    finally:
        secrets._KNOWN.clear()
        secrets._KNOWN.update(known)
    assert said == "float64 ${oc.env:second-value} ${oc.env:OTHER}"
