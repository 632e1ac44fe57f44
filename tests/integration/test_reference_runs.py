"""Packed runs: what they hold, and what a run says that is not the same."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.comparisons import compare_with_reference, pack_run
from lvlmsal.comparisons.packing import unpacked
from lvlmsal.errors import DataError
from lvlmsal.evaluation import Result, evaluate
from lvlmsal.evaluation.report.run_scoring import score_only
from lvlmsal.model.lvlm import Lvlm
from tests.run_folders import cut

pytestmark = pytest.mark.slow

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def packed(finished: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_run(finished.folder, tmp_path_factory.mktemp("reference") / "tiny.tar.gz")


@pytest.fixture
def changed(finished: Result, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the finished run in which records, environment, results or a sample are others."""

    def copy(
        records: dict[int, dict[str, Any]] | None = None,
        environment: Change | None = None,
        results: Change | None = None,
        samples: Change | None = None,
    ) -> Path:
        other = tmp_path / "other"
        shutil.copytree(finished.folder, other)
        lines = [json.loads(line) for line in (other / "records.jsonl").read_text().splitlines()]
        for number, change in (records or {}).items():
            lines[number] |= change
        (other / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for name, change in (("environment", environment), ("results", results)):
            if change is not None:
                content = json.loads((other / f"{name}.json").read_text())
                change(content)
                (other / f"{name}.json").write_text(json.dumps(content))
        if samples is not None:
            for path in (other / "samples").rglob("*.jsonl"):
                rows = [json.loads(line) for line in path.read_text().splitlines()]
                for row in rows:
                    samples(row)
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return other

    return copy


def test_a_packed_run_is_the_same_as_itself(
    finished: Result, packed: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    match = compare_with_reference(finished.folder, packed)
    records = (finished.folder / "records.jsonl").read_text().splitlines()
    assert match.same
    assert (match.answers, match.different, match.causes) == (len(records), 0, [])
    code, out, _ = run("compare", finished.folder, "--reference", packed)
    assert (code, out) == (
        0,
        f"the same: {len(records)} answers, token for token, and all figures\n",
    )
    again = tmp_path / "again.tar.gz"
    assert run("export", "run", finished.folder, again)[0] == 0
    assert again.read_bytes() == packed.read_bytes()
    with tarfile.open(packed) as archive:
        held = {member.name for member in archive}
    assert {"config.yaml", "environment.json", "records.jsonl", "results.json"} <= held
    assert "samples/pope/random.jsonl" in held
    with unpacked(packed) as folder:
        assert score_only(folder).result.results["cells"] == finished.results["cells"]
    assert not [name for name in held if Path(name).suffix in (".png", ".jpg", ".html", ".txt")]


def test_another_prompt_is_named(
    packed: Path, config: dict[str, Any], tiny: Lvlm, run: Callable[..., tuple[int, str, str]]
) -> None:
    config["benchmarks"][1]["prompt"] = "Say all that you see."
    other = evaluate(config, models={"tiny": tiny})
    match = compare_with_reference(other.folder, packed)
    assert not match.same
    assert match.first.startswith("tiny, greedy, chair, sample ")
    assert match.causes[0].startswith("prompt: 'Say all that you see.' here, ")
    assert any(cause.startswith("benchmark prompt: ") for cause in match.causes)
    code, out, _ = run("compare", other.folder, "--reference", packed)
    assert code == 1
    assert f"first: {match.first}" in out
    assert f"why it may be: {match.causes[0]}" in out


def test_the_first_sample_in_the_order_of_the_reference(
    packed: Path, changed: Callable[..., Path]
) -> None:
    answer = {"answer": "else", "token_ids": [1, 2, 9]}
    other = changed(records={3: answer, 1: answer})
    lines = (other / "records.jsonl").read_text().splitlines()
    record = json.loads(lines[1])
    (other / "records.jsonl").write_text("".join(f"{line}\n" for line in reversed(lines)))
    match = compare_with_reference(other, packed)
    assert match.different == 2
    where = f"tiny, {record['method']}, {record['benchmark']}, sample {record['sample_id']}: "
    assert match.first.startswith(where + "'else' here, ")
    assert "they part at token 1" in match.first
    assert match.causes == []
    assert "nothing else that runs write down differs" in str(match)


def loaded(key: str, value: Any) -> Change:
    return lambda content: content["models"]["tiny"].update({key: value})


def version(content: Any) -> None:
    content["packages"]["transformers"] = "5.99.0"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (loaded("dtype", "bfloat16"), "dtype: 'bfloat16' here, "),
        (loaded("image_backend", "torchvision"), "image_backend: 'torchvision' here, "),
        (
            loaded("weights", {"model.safetensors": "0" * 64}),
            "weights (digest) model.safetensors: ",
        ),
        (version, "packages transformers: '5.99.0' here, "),
    ],
)
def test_what_differs_beside_an_answer(
    packed: Path, changed: Callable[..., Path], change: Change, cause: str
) -> None:
    other = changed(records={0: {"answer": "else"}}, environment=change)
    (found,) = compare_with_reference(other, packed).causes
    assert found.startswith(cause)


def test_other_pictures_are_named(packed: Path, changed: Callable[..., Path]) -> None:
    def repainted(row: dict[str, Any]) -> None:
        row["images"] = [{**image, "digest": "0" * 64} for image in row["images"]]

    other = changed(records={0: {"answer": "else"}}, samples=repainted)
    (cause,) = compare_with_reference(other, packed).causes
    assert cause.startswith("the images of the sample are other files")


def test_another_parser_is_named(packed: Path, changed: Callable[..., Path]) -> None:
    def parsed(content: Any) -> None:
        cell = content["cells"][0]
        cell["metric_options"]["parser"] = "other"
        cell["figures"]["accuracy"]["value"] = 0.125

    match = compare_with_reference(changed(results=parsed), packed)
    assert match.different == 0
    (figure,) = match.figures
    assert figure.startswith("tiny, greedy, pope/random: accuracy is 0.125, in the reference ")
    (cause,) = match.causes
    assert cause.startswith("pope/random: metric_options parser: 'other' here, ")


def test_what_only_one_of_them_has(packed: Path, changed: Callable[..., Path]) -> None:
    other = changed()
    lines = (other / "records.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["method"] != "sgrs"]
    (other / "records.jsonl").write_text("".join(f"{line}\n" for line in kept[:-1]))
    match = compare_with_reference(other, packed)
    assert "tiny, sgrs, chair: only in the reference" in match.missing
    assert any(": 1 samples, such as " in text for text in match.missing)
    assert not match.same


def test_what_is_not_packed(finished: Result, changed: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in \.tar\.gz"):
        pack_run(finished.folder, tmp_path / "run.zip")
    other, file = changed(), tmp_path / "run.tar.gz"
    content = json.loads((other / "results.json").read_text())
    content["cells"][0]["figures"]["accuracy"]["value"] = 0.125
    (other / "results.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="is not what the records say: type  lvlmsal score"):
        pack_run(other, file)
    cut(other, keep=2)
    with pytest.raises(DataError, match="has not come to its end"):
        pack_run(other, file)
    assert not file.exists()


def test_what_is_no_packed_run(
    finished: Result, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    file = tmp_path / "run.tar.gz"
    file.write_text("text")
    with pytest.raises(DataError, match="is no packed run"):
        compare_with_reference(finished.folder, file)
    with tarfile.open(file, "w:gz") as archive:
        archive.add(finished.folder / "config.yaml", "config.yaml")
    code, _, err = run("compare", finished.folder, "--reference", file)
    assert code == 2
    assert "it lacks environment.json, records.jsonl, results.json" in err
    code, _, err = run("compare", finished.folder, "--reference", file, "--model", "tiny")
    assert code == 2
    assert "--reference goes with one run and no other option" in err


ROOT = Path(__file__).parents[2]


def test_the_page_lists_the_files_that_there_are() -> None:
    page = (ROOT / "docs" / "reference-runs.md").read_text(encoding="utf-8")
    files = {f"reference/{path.name}" for path in (ROOT / "reference").iterdir()}
    for name in files:
        with unpacked(ROOT / name) as folder:
            texts = [(folder / part).read_text() for part in ("config.yaml", "environment.json")]
        assert not re.search(r"/(?:work|tmp|home|root|Users|mnt)/", "".join(texts)), name
    assert files == set(re.findall(r"^\| `(reference/\S+)` \|", page, flags=re.M))
    assert files


@pytest.mark.full
@pytest.mark.parametrize("path", sorted((ROOT / "reference").iterdir()), ids=lambda path: path.name)
def test_figures_of_a_published_run_follow_from_its_records(path: Path) -> None:
    with unpacked(path) as folder:
        written = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        assert json.loads(json.dumps(score_only(folder).result.results)) == written
