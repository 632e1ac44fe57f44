"""Configs: short forms, overrides, and all problems at once."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch.accelerators import AcceleratorRegistry
from omegaconf import OmegaConf

from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.evaluation.config.plan import make_plan
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.config.schema import RunConfig, TrainerConfig
from lvlmsal.evaluation.config.source import load_content, packaged_configs
from lvlmsal.evaluation.config.stated import refuse_misstated
from lvlmsal.evaluation.config.trainer import trainer_problems
from lvlmsal.evaluation.run.dry import dry_run
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.pocket.worlds import WORLDS
from tests.packaged import SWEEPS

SHORT = {
    "output": "run",
    "models": ["pocket-llava", {"source": "some/where/llava-x"}],
    "methods": [
        "greedy",
        {"name": "mine", "decoder": {"name": "sgrs", "layers": [0, 1]}, "interventions": "locore"},
    ],
    "benchmarks": [{"name": "pope", "split": "popular"}, "chair"],
    "data": {"root": "data"},
}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return write_world(tmp_path / "world", images=2, seed=0, shifted=True)


def test_short_forms_are_spelled_out() -> None:
    config, problems, _ = read_config(SHORT)
    assert problems == []
    assert [model.name for model in config.models] == ["pocket-llava", "llava-x"]
    assert config.methods[0].decoder == {"name": "greedy"}
    assert config.methods[1].interventions == [{"name": "locore"}]
    assert config.benchmarks[0].options == {"root": "data", "split": "popular"}


def test_a_method_of_which_only_the_name_is_given_is_what_the_name_says() -> None:
    named = [{"name": name} for name in ("sgrs", "locore", "plain")]
    config, problems, _ = read_config({**SHORT, "methods": named})
    assert problems == []
    parts = [
        (m.name, m.decoder["name"], [e["name"] for e in m.interventions]) for m in config.methods
    ]
    assert parts == [
        ("sgrs", "sgrs", []),
        ("locore", "greedy", ["locore"]),
        ("plain", "greedy", []),
    ]


def test_the_resolved_config_reads_as_itself() -> None:
    config, _, _ = read_config(SHORT)
    again, problems, _ = read_config(OmegaConf.create(config.to_dict()))
    assert problems == []
    assert again == config


def test_overrides_leave_the_caller_s_config_alone() -> None:
    before = copy.deepcopy(SHORT)
    read_config(SHORT, ["benchmarks.*.limit=3", "methods.mine.decoder.alpha=0.9"])
    assert before == SHORT


def test_a_decoder_at_the_top_is_a_single_method() -> None:
    config, problems, _ = read_config(
        {"output": "x", "decoder": "sgrs", "interventions": ["locore"]}, ["decoder.alpha=0.9"]
    )
    assert problems == []
    (method,) = config.methods
    assert method.decoder == {"name": "sgrs", "alpha": 0.9}
    assert method.interventions == [{"name": "locore"}]
    assert method.name == "sgrs + locore"


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("seed=3", lambda c: c.seed == 3),
        ("trainer.devices=[0,1]", lambda c: c.trainer.devices == [0, 1]),
        ("methods.mine.decoder.alpha=1e-1", lambda c: c.methods[1].decoder["alpha"] == 0.1),
        ("methods[1].decoder.layers=[3]", lambda c: c.methods[1].decoder["layers"] == [3]),
        ("methods.0.decoder.k=2", lambda c: c.methods[0].decoder == {"name": "greedy", "k": 2}),
        ("methods.-1.decoder=beam", lambda c: c.methods[1].decoder == {"name": "beam"}),
        (
            "methods.mine.interventions.locore.beta=0.3",
            lambda c: c.methods[1].interventions == [{"name": "locore", "beta": 0.3}],
        ),
        ("benchmarks.*.limit=5", lambda c: [b.options["limit"] for b in c.benchmarks] == [5, 5]),
        ("benchmarks.pope.prompt='a: {question}, b'", lambda c: "a: {" in str(c.benchmarks[0])),
        ("models[llava-x].dtype=float16", lambda c: c.models[1].dtype == "float16"),
        ("models=[qwen2-vl-7b]", lambda c: [m.name for m in c.models] == ["qwen2-vl-7b"]),
        ("world.root=w", lambda c: c.world.root == "w" and c.world.images == 100),
        ("data.root=null", lambda c: c.benchmarks[1].options == {}),
        ("data.root=", lambda c: c.data.root == ""),
    ],
)
def test_overrides(override: str, read: Callable[[RunConfig], bool]) -> None:
    config, problems, _ = read_config(SHORT, [override])
    assert problems == []
    assert read(config)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed", "key=value"),
        ("=3", "key=value"),
        ("methods.mien.decoder=beam", "Did you mean 'mine'"),
        ("methods.7.decoder=beam", "2 entries"),
        ("seed.deep=3", "could not be converted"),
        ("decoder.alpha=1", "methods.NAME.decoder.alpha"),
        ("seed=[1", "cannot be read"),
        ("seed=", "could not be converted"),
    ],
)
def test_bad_overrides_are_told(override: str, words: str) -> None:
    _, problems, _ = read_config(SHORT, [override])
    assert any(words in problem for problem in problems), problems


def test_all_problems_are_reported_together(tmp_path: Path, world: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlavaForConditionalGeneratio"]}')
    config = {
        "output": str(tmp_path / "run"),
        "modles": [],
        "models": ["pocket-lava", str(folder), {"source": "a/b", "dtype": "float23"}],
        "methods": [
            "sgsr",
            {"name": "a", "decoder": {"name": "sgrs", "alfa": 1, "k": "many"}},
            {"name": "a", "decoder": {"name": "beam", "num_beams": 1}},
            {"name": "c", "interventions": ["locroe"]},
        ],
        "benchmarks": [{"name": "pope", "splitt": "random"}, "mmme", {"name": "chair"}],
        "data": {"root": str(tmp_path / "nowhere")},
        "baseline": "greedi",
        "batch_size": 0,
        "seed": "x",
        "trainer": {"device": 2, "accelerator": "abacus"},
        "plugins": ["no_such_module_at_all"],
    }
    with pytest.raises(ConfigError) as caught:
        make_plan(config)
    text = str(caught.value)
    for words in (
        "modles: there is no such key. Did you mean 'models'",
        "Did you mean 'pocket-llava'",
        "there are no weights",
        "Did you mean 'LlavaForConditionalGeneration'",
        "float23",
        "Did you mean 'sgrs'",
        "'alfa'",
        "'k'",
        "num_beams",
        "the name 'a' is used 2 times",
        "Did you mean 'locore'",
        "Did you mean 'split'",
        "'mmme'",
        "nowhere",
        "baseline",
        "batch_size",
        "seed",
        "trainer.device: there is no such key. Did you mean 'devices'",
        "trainer.accelerator: there is no accelerator 'abacus'. Known: auto, cpu, cuda, gpu",
        "no_such_module_at_all",
    ):
        assert words in text, f"{words!r} not in:\n{text}"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["gpu", "cuda", "mps", "tpu"])
def test_an_accelerator_that_this_machine_lacks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("cuda", "mps", "tpu"):
        cls = AcceleratorRegistry[kind]["accelerator"]
        monkeypatch.setattr(cls, "is_available", staticmethod(lambda: False))
    (problem,) = trainer_problems(TrainerConfig(accelerator=name))
    assert problem.startswith(f"trainer.accelerator: this machine has no {name} that torch can use")
    assert problem.endswith("write trainer.accelerator=cpu, or auto for the best that there is")
    assert trainer_problems(TrainerConfig(accelerator="cpu")) == []


def test_a_misspelled_accelerator() -> None:
    (problem,) = trainer_problems(TrainerConfig(accelerator="gpus"))
    assert "there is no accelerator 'gpus'. Did you mean 'gpu'?" in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: 1\n  bad: [", "config.yaml:2"),
        ("- a\n- b\n", "expected keys and values"),
        ("seed: ${nothing}\n", "nothing"),
        ("seed: 1\nseed: 2\n", "duplicate"),
    ],
)
def test_unreadable_files_are_told(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        make_plan(path)
    assert words in str(caught.value)


def test_a_sweep_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only `lvlmsal sweep CONFIG` takes"):
        make_plan("decay", [f"output={tmp_path}", f"world.root={tmp_path / 'world'}"])


def test_a_config_stands_over_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 3\nbatch_size: 2\nmodels: [llava-1.5-7b]\n")
    (tmp_path / "mine.yaml").write_text("base: base.yaml\nseed: 4\n")
    (tmp_path / "top.yaml").write_text("base: mine.yaml\noutput: run\n")
    content, name = load_content(tmp_path / "top.yaml")
    assert content == {"seed": 4, "batch_size": 2, "models": ["llava-1.5-7b"], "output": "run"}
    assert name == str(tmp_path / "top.yaml")
    # a packaged one that is no neighbor
    content, _ = load_content({"base": "demo", "seed": 9})
    assert (content["seed"], content["output"]) == (9, "runs/demo")


@pytest.mark.parametrize("base", ["mine.yaml", "other.yaml", "sub/../other.yaml"])
def test_a_config_that_is_its_own_base_is_refused(tmp_path: Path, base: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "mine.yaml").write_text(f"base: {base}\n")
    (tmp_path / "other.yaml").write_text("base: mine.yaml\n")
    with pytest.raises(ConfigError, match="is the config itself, or has it for its own base"):
        load_content(tmp_path / "mine.yaml")


def test_an_unknown_config_lists_the_packaged_ones() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'demo'"):
        make_plan("demmo")


def test_a_value_that_is_left_open_is_asked_for_once() -> None:
    with pytest.raises(ConfigError) as caught:
        make_plan("paper/pope")
    assert caught.value.problems == [
        "data.root: needs a value; add data.root=... or write it into the config"
    ]


# those that span a sweep have a test next to the sweeps
# and those that need more data than the world has, in test_{paper,guided}_configs.py
RUNS = [
    n for n in packaged_configs() if n not in SWEEPS and not n.startswith(("paper/", "guided-coco"))
]


@pytest.mark.parametrize("name", RUNS)
def test_packaged_configs_are_valid(name: str, tmp_path: Path, world: Path) -> None:
    overrides = [f"output={tmp_path / 'run'}", f"data.root={world}"]
    config, _, _ = read_config(name)
    if config.world:
        overrides += [f"world.root={tmp_path / 'own'}", "world.images=2"]
    plan = make_plan(name, overrides, given=[model.name for model in config.models])
    assert plan.cells
    known = {"pope", "chair", "mme", "amber", "vizwiz", "statements"}
    assert {cell.benchmark.name for cell in plan.cells} <= known


def test_a_checkpoint_brings_its_own_defaults(tmp_path: Path, world: Path) -> None:
    config = {
        "output": str(tmp_path / "run"),
        "models": ["llava-1.5-7b", "qwen2-vl-7b"],
        "methods": [{"name": "m", "interventions": ["locore"]}],
        "benchmarks": ["chair"],
        "data": {"root": str(world)},
    }
    betas = [cell.interventions[0].beta for cell in make_plan(config).cells]
    assert betas == [0.15, 0.2]
    config["methods"] = [{"name": "m", "interventions": [{"name": "locore", "beta": 0.5}]}]
    assert [cell.interventions[0].beta for cell in make_plan(config).cells] == [0.5, 0.5]


def test_speed_settings_do_not_change_a_record_s_key(tmp_path: Path, world: Path) -> None:
    config = {
        "output": str(tmp_path / "run"),
        "models": ["llava-1.5-7b"],
        "methods": ["greedy"],
        "benchmarks": [{"name": "pope"}],
        "data": {"root": str(world)},
    }

    def digest(*overrides: str) -> str:
        return make_plan(config, overrides).cells[0].digest

    same = digest()
    assert digest("batch_size=3", "trainer.devices=2", "benchmarks.0.limit=1") == same
    for change in ("seed=1", "benchmarks.0.max_new_tokens=3", "models.0.dtype=float16"):
        assert digest(change) != same
    assert digest("benchmarks.0.prompt='{question} Now!'") != same


def test_another_world_in_the_folder_is_told(tmp_path: Path, world: Path) -> None:
    config = {
        "output": str(tmp_path / "run"),
        "models": ["llava-1.5-7b"],
        "methods": ["greedy"],
        "benchmarks": ["chair"],
        "world": {"root": str(world), "images": 3},
    }
    with pytest.raises(ConfigError, match="images=2, the config says 3"):
        make_plan(config)


def test_a_world_of_another_kind_or_of_an_earlier_version_is_told(
    tmp_path: Path, world: Path
) -> None:
    config = {
        "output": str(tmp_path / "run"),
        "models": ["llava-1.5-7b"],
        "methods": ["greedy"],
        "benchmarks": ["chair"],
        "world": {"root": str(world), "images": 2, "kind": "sticker"},
    }
    with pytest.raises(ConfigError, match="must be shapes or stickers, got 'sticker'"):
        make_plan(config)
    with pytest.raises(ConfigError, match="kind='shapes', the config says 'stickers'"):
        make_plan(config, ["world.kind=stickers"])
    make_plan(config, ["world.kind=shapes"])
    note = json.loads((world / "world.json").read_text())
    del note["kind"]
    (world / "world.json").write_text(json.dumps(note))
    with pytest.raises(ConfigError, match="an earlier version of lvlmsal; delete the folder"):
        make_plan(config, ["world.kind=shapes"])


def test_a_world_without_its_font_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise UnsupportedError("type: pip install 'lvlmsal[stickers]'")

    monkeypatch.setattr(WORLDS["stickers"], "require", missing)
    root = tmp_path / "world"
    config = {
        "output": str(tmp_path / "run"),
        "models": ["llava-1.5-7b"],
        "methods": ["greedy"],
        "benchmarks": ["chair"],
        "world": {"root": str(root), "kind": "stickers"},
    }
    for check in (make_plan, dry_run, refuse_misstated):
        with pytest.raises(ConfigError, match=r"world\.kind: type: pip install 'lvlmsal\[stick"):
            check(config)
    assert not root.exists()


def test_layers_that_a_model_lacks_are_found_before_its_weights_are_loaded(
    tmp_path: Path, world: Path
) -> None:
    config = {
        "output": str(tmp_path / "run"),
        "models": ["llava-1.5-7b", "pocket-llava"],  # the first one's files are not at hand
        "methods": [
            {"name": "deep", "interventions": [{"name": "locore", "layers": [40]}]},
            {"name": "off", "interventions": [{"name": "locore", "layers": [40], "beta": 0}]},
            {"name": "judged", "decoder": {"name": "sgrs", "layers": "6:9"}},
            {"name": "fine", "decoder": "sgrs", "interventions": ["vaf"]},
        ],
        "benchmarks": ["chair"],
        "data": {"root": str(world)},
    }
    with pytest.raises(ConfigError) as caught:
        make_plan(config)
    deep, judged = caught.value.problems
    assert deep.startswith("methods[0] (deep): pocket-llava: intervention 'locore': layers [40]")
    assert judged.startswith("methods[2] (judged): pocket-llava: decoder 'sgrs': layers='6:9'")
