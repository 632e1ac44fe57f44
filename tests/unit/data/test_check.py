"""lvlmsal data: what is said of a benchmark, and what a check of its files finds."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.benchmarks.pope.benchmark import Pope
from lvlmsal.cli import main
from lvlmsal.data.manifest import read_manifest
from lvlmsal.errors import DataError
from lvlmsal.registry import BENCHMARKS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def start(*words: object) -> tuple[int, str, str]:
        code = main(["data", *(str(word) for word in words)])
        output = capfd.readouterr()
        assert "Traceback" not in output.err
        return code, output.out, output.err

    return start


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three questions on two images."""
    root = tmp_path / "data"
    (root / "val2014").mkdir(parents=True)
    rows = [(1, "a.png"), (2, "a.png"), (3, "b ü.png")]
    lines = [
        {"question_id": n, "image": image, "text": "Is it?", "label": "no"} for n, image in rows
    ]
    (root / "coco_pope_random.json").write_text("".join(json.dumps(r) + "\n" for r in lines))
    for n, image in enumerate(("a.png", "b ü.png")):
        Image.new("RGB", (8, 8), (n, 0, 0)).save(root / "val2014" / image)
    return root


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """An official release as small as `root`."""
    counts: ClassVar[dict[str, dict[str, int]]] = {"pope/random": {"samples": 3, "images": 2}}
    monkeypatch.setattr(Pope, "expected", counts)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.usefixtures("few")
def test_whole_data_passes_with_its_digests(run: Run, root: Path) -> None:
    code, out, _ = run("check", "pope", "--root", root, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["good"]
    assert found["counts"] == {"samples": 3, "images": 2, "groups": 2}
    assert found["files"] == {"coco_pope_random.json": sha(root / "coco_pope_random.json")}
    names = ("a.png", "b ü.png")
    total = "".join(f"{name} {sha(root / 'val2014' / name)}\n" for name in names)
    assert found["images_digest"] == hashlib.sha256(total.encode()).hexdigest()
    assert found["samples_digest"] == Pope(root=str(root)).digest()
    code, out, _ = run("check", "pope", "--root", root)
    assert code == 0
    assert "3 samples, 2 images, 2 groups (official release: 3 samples, 2 images)" in out
    assert "nothing is wrong; every image was opened" in out


def test_counts_are_compared_with_the_release(run: Run, root: Path) -> None:
    Pope.expected, before = {"pope/random": {"samples": 3000, "images": 2}}, Pope.expected
    try:
        code, out, _ = run("check", "pope", "--root", root)
        assert code == 1
        assert "wrong: pope/random has 3 samples, the official release has 3000" in out
        for words in (("--no-counts",), ("limit=1",), ("subset=all-1-seed0",)):
            assert run("check", "pope", "--root", root, *words)[0] == 0
        (root / "world.json").write_text("{}")  # a scene world is no release
        assert run("check", "pope", "--root", root)[0] == 0
    finally:
        Pope.expected = before


@pytest.mark.usefixtures("few")
def test_missing_and_damaged_images_are_all_named(run: Run, root: Path) -> None:
    (root / "val2014/a.png").unlink()
    image = root / "val2014/b ü.png"
    Image.effect_noise((64, 64), 50).save(image)
    image.write_bytes(image.read_bytes()[:-1000])
    code, out, _ = run("check", "pope", "--root", root, "--json")
    found = json.loads(out)
    assert code == 1
    assert list(found["missing"]) == [str(root / "val2014/a.png")]
    assert found["missing"][str(root / "val2014/a.png")].endswith("coco_pope_random.json:1")
    assert list(found["unreadable"]) == [str(image)]
    assert found["images_digest"] is None
    (root / "val2014/a.png").write_bytes(b"no image at all")
    assert run("check", "pope", "--root", root)[0] == 1
    code, out, _ = run("check", "pope", "--root", root, "--no-images")
    assert code == 0
    assert "no image was opened" in out


def test_a_damaged_file_is_a_finding_and_not_the_end(run: Run, root: Path) -> None:
    path = root / "coco_pope_random.json"
    path.write_text(path.read_text()[:-30])
    code, out, _ = run("check", "pope", "--root", root)
    assert code == 1
    assert f"wrong: {path}:3: " in out
    code, out, _ = run("check", "pope", "--root", root / "nowhere", "--json")
    assert code == 1
    assert "no folder" in json.loads(out)["problems"][0]


@pytest.mark.usefixtures("few")
def test_a_manifest_finds_every_difference(run: Run, root: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.txt"
    assert run("check", "pope", "--root", root, "--write-manifest", manifest)[0] == 0
    expected = ["coco_pope_random.json", "val2014/a.png", "val2014/b ü.png"]
    assert read_manifest(manifest) == {name: sha(root / name) for name in expected}
    lines = manifest.read_text(encoding="utf-8").splitlines()
    assert lines[-1] == f"{sha(root / 'val2014/b ü.png')}  val2014/b ü.png"
    # the other machine has another picture under that name
    other = tmp_path / "elsewhere"
    shutil.copytree(root, other)
    assert run("check", "pope", "--root", other, "--manifest", manifest)[0] == 0
    Image.new("RGB", (8, 8), (99, 0, 0)).save(other / "val2014/a.png")
    code, out, _ = run("check", "pope", "--root", other, "--manifest", manifest)
    assert code == 1
    assert "against the manifest, changed: val2014/a.png" in out
    code, out, _ = run(
        "check", "pope", "--root", other, "limit=1", "--manifest", manifest, "--json"
    )
    assert code == 1
    found = json.loads(out)["manifest"]
    assert found == {"missing": ["val2014/b ü.png"], "added": [], "changed": ["val2014/a.png"]}
    assert run("check", "pope", "--root", root, "--no-images", "--manifest", manifest)[0] == 2


def test_nothing_is_written_of_damaged_data(run: Run, root: Path, tmp_path: Path) -> None:
    (root / "val2014/a.png").unlink()
    manifest = tmp_path / "m.txt"
    assert run("check", "pope", "--root", root, "--write-manifest", manifest)[0] == 1
    assert not manifest.exists()


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("0" * 64 + "  a\n" + "0" * 64 + "  a\n", ":2: ", "twice"),
        ("# x\n\nabc  a.png\n", ":3: ", "sha256sum"),
        ("# x\n", ": ", "no files"),
    ],
)
def test_a_bad_manifest_is_named_with_its_line(
    tmp_path: Path, text: str, where: str, words: str
) -> None:
    path = tmp_path / "m.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}{where}")
    assert words in str(caught.value)


def test_files_outside_the_root_have_names_of_their_own(
    run: Run, root: Path, tmp_path: Path
) -> None:
    (root / "val2014").rename(tmp_path / "pictures")
    (root / "coco_pope_random.json").rename(tmp_path / "q.json")
    words = ("--no-counts", f"images={tmp_path / 'pictures'}", f"questions={tmp_path / 'q.json'}")
    manifest = tmp_path / "m.txt"
    code, *_ = run("check", "pope", "--root", root, *words, "--write-manifest", manifest)
    assert code == 0
    names = ["<files>/q.json", "<images>/a.png", "<images>/b ü.png"]
    assert list(read_manifest(manifest)) == names


def test_wrong_words_are_user_errors(run: Run, root: Path) -> None:
    code, _, err = run("check", "poope", "--root", root)
    assert code == 2
    assert "Did you mean 'pope'" in err
    code, _, err = run("check", "pope", "--root", root, "spilt=random")
    assert code == 2
    assert "Did you mean 'split'" in err
    code, _, err = run("check", "pope", "--root", root, "split")
    assert code == 2
    assert "error: split: expected KEY=VALUE" in err


def test_show_prints_layout_and_options(run: Run) -> None:
    code, out, _ = run("show", "pope")
    assert code == 0
    assert "root/pope/coco_pope_random.json" in out
    assert "Args" not in out
    assert "split = random" in out
    assert "root (required)" in out
    assert "arxiv.org/abs/2305.10355" in out


def test_every_benchmark_says_what_it_expects(run: Run) -> None:
    code, out, _ = run("list", "--json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)
    assert [entry["name"] for entry in found] == list(BENCHMARKS)
    for entry in found:
        assert "Expected layout" in entry["description"], entry["name"]
        undocumented = [name for name, option in entry["options"].items() if not option["help"]]
        assert not undocumented, entry["name"]
        for counts in entry["expected"].values():
            assert set(counts) <= {"samples", "images", "groups"}
    assert issubclass(BENCHMARKS.get("pope"), Benchmark)
