"""A run that asks about a random subset keeps its list, and the list makes the same run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation import evaluate
from lvlmsal.model.lvlm import Lvlm

pytestmark = pytest.mark.slow


def one_benchmark(config: dict[str, Any], folder: Path, **options: Any) -> dict[str, Any]:
    benchmark = {"name": "pope", "split": "random", "max_new_tokens": 1, **options}
    return {**config, "output": str(folder), "benchmarks": [benchmark], "methods": ["greedy"]}


def asked(folder: Path) -> list[str]:
    lines = (folder / "records.jsonl").read_text().splitlines()
    return [json.loads(line)["sample_id"] for line in lines]


@pytest.mark.parametrize(
    "options", [{"subset": "all-2-seed0"}, {"limit": 2, "subset_seed": 0}], ids=["named", "seed"]
)
def test_the_list_in_the_run_folder_makes_the_run_again(
    options: dict[str, Any], config: dict[str, Any], tmp_path: Path, tiny: Lvlm
) -> None:
    first = tmp_path / "first"
    evaluate(one_benchmark(config, first, **options), models={"tiny": tiny})
    list_file = first / "subsets/pope/random.txt"
    groups = [g for g in list_file.read_text().splitlines() if not g.startswith("#")]
    (entry,) = json.loads((first / "environment.json").read_text())["data"].values()
    assert len(groups) == 2
    assert entry["subset"]["groups"] == 2
    assert entry["subset"]["of"] == 3
    assert entry["subset"]["file"] == "subsets/pope/random.txt"

    again = tmp_path / "again"
    evaluate(one_benchmark(config, again, subset=str(list_file)), models={"tiny": tiny})
    (other,) = json.loads((again / "environment.json").read_text())["data"].values()
    assert asked(again) == asked(first)
    assert other["subset"]["digest"] == entry["subset"]["digest"]
    assert other["samples_digest"] == entry["samples_digest"]
    # where the list lies changes nothing: the run goes on with a copy of it
    (tmp_path / "copy.txt").write_text(list_file.read_text())
    copied = one_benchmark(config, again, subset=str(tmp_path / "copy.txt"))
    evaluate(copied, models={"tiny": tiny})
    assert asked(again) == asked(first)


def test_another_choice_does_not_go_on_in_the_same_folder(
    config: dict[str, Any], tmp_path: Path, tiny: Lvlm
) -> None:
    folder = tmp_path / "run"
    evaluate(one_benchmark(config, folder, subset="all-2-seed0"), models={"tiny": tiny})
    with pytest.raises(ConfigError, match="samples of pope/random have changed"):
        evaluate(one_benchmark(config, folder, subset="all-1-seed0"), models={"tiny": tiny})


def test_all_groups_or_the_first_have_no_list(
    config: dict[str, Any], tmp_path: Path, tiny: Lvlm
) -> None:
    for name, options in (("all", {}), ("first", {"limit": 1})):
        evaluate(one_benchmark(config, tmp_path / name, **options), models={"tiny": tiny})
        assert not (tmp_path / name / "subsets").exists()
    (entry,) = json.loads((tmp_path / "all/environment.json").read_text())["data"].values()
    assert entry["subset"] is None
    (entry,) = json.loads((tmp_path / "first/environment.json").read_text())["data"].values()
    assert entry["subset"] == {
        "chosen": "the first 1",
        "groups": 1,
        "of": 3,
        "digest": entry["subset"]["digest"],
        "file": None,
    }


def test_a_wrong_list_stops_before_the_model_with_its_line(
    config: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("SCENE_000000000001.png\nSCENE_000000000099.png\n")
    with pytest.raises(ConfigError, match=r"ids\.txt:2: 'SCENE_000000000099\.png' is not in"):
        evaluate(one_benchmark(config, tmp_path / "run", subset=str(path)))
