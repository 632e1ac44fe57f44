"""``lvlmsal data``: the layout of a benchmark's files, checking them, and getting them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvlmsal.cli.commands import Commands
from lvlmsal.cli.console import new_console, print_json, say
from lvlmsal.cli.describe import counted, described_as, page
from lvlmsal.cli.frames import frames

if TYPE_CHECKING:
    from lvlmsal.benchmarks.base import Benchmark
    from lvlmsal.data.check import DataCheck
    from lvlmsal.data.manifest import Difference


class Format(Enum):
    """What `data export` writes."""

    FILES = "files"
    LMMS_EVAL = "lmms-eval"


WRONG = 1
"""Exit code of a check that found something."""
SHOWN = 20

data_app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
data_app.command("frames", epilog="lvlmsal data frames videos frames --frames 8")(frames)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Benchmark (lvlmsal data list).")]
Root = Annotated[Path, typer.Option(help="Folder of the benchmark's files.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@data_app.command("list", epilog="lvlmsal data list --json")
def list_data(as_json: AsJson = False) -> None:
    """List the benchmarks and the size of their official releases."""
    from lvlmsal.registry import BENCHMARKS
    from lvlmsal.tables.table import Head, Row, Table
    from lvlmsal.tables.terminal import terminal_document

    found = [described_as("benchmarks", name) for name in BENCHMARKS]
    if as_json:
        print_json(found)
        return
    rows = []
    for entry in found:
        rows.append(Row.of([entry["name"], entry["summary"]]))
        for label, counts in entry["expected"].items():
            rows.append(Row.of(["", f"  {label}: {counted(counts)}"]))
    heads = [Head("name", words=True), Head("summary, and sizes of official releases", words=True)]
    console = new_console()
    console.print(terminal_document([Table("", heads, rows)], [], console.width))


@data_app.command("show", epilog="lvlmsal data show pope")
def show_data(name: Name, as_json: AsJson = False) -> None:
    """Show a benchmark's documentation: its options and the expected layout of its files."""
    found = described_as("benchmarks", name)
    if as_json:
        print_json(found)
    else:
        say(page(found))


@data_app.command("check", epilog="lvlmsal data check pope --root data/pope split=popular")
def check(
    name: Name,
    root: Root,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Options, such as split=popular."),
    ] = None,
    images: Annotated[
        bool,
        typer.Option("--images/--no-images", help="Open every image, or only look for it."),
    ] = True,
    counts: Annotated[
        bool, typer.Option("--counts/--no-counts", help="Compare with the official release.")
    ] = True,
    write_manifest: Annotated[
        Path | None, typer.Option(help="Write names and SHA-256 of all files to this file.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Compare all files with this manifest.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read everything that a run would read; the exit code is 1 if anything is wrong."""
    from lvlmsal.data.check import check_data
    from lvlmsal.data.manifest import compare, file_names, manifest_text, read_manifest
    from lvlmsal.errors import ConfigError

    if not images and (write_manifest or manifest):
        raise ConfigError(["a manifest covers the images too: omit --no-images"])
    expected = read_manifest(manifest) if manifest else None
    benchmark = _build(name, root, options or [])
    found = check_data(benchmark, images=images, counts=counts)
    content = found.to_dict()
    difference = None
    if manifest or write_manifest:
        names = file_names(benchmark, found)
        if expected is not None:
            difference = compare(names, expected)
            content["manifest"] = vars(difference)
            content["good"] = found.good and not difference
        if write_manifest and found.good:
            write_manifest.write_text(manifest_text(found, names), encoding="utf-8", newline="\n")
    if as_json:
        print_json(content)
    else:
        _print_check(found, difference)
        if write_manifest:
            what = "written" if found.good else "not written, since something is wrong"
            say(f"manifest: {what}: {write_manifest}")
    if not content["good"]:
        raise SystemExit(WRONG)


@data_app.command(
    "export",
    epilog="lvlmsal data export pope --dataset OWNER/POPE --split test --root data/pope",
)
def export_data(
    name: Name,
    root: Annotated[Path, typer.Option(help="Folder to create; of tasks, their folder.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="Options of the benchmark, for a task: split=popular."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Data set on the hub (owner/name), or a save_to_disk folder."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split, or several joined by +.")] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of the data set.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of the data set.")] = None,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="files: what the benchmark reads, from a data set of the hub (extra: hub). "
            "lmms-eval: a task of lmms-eval, from the benchmark's files.",
        ),
    ] = Format.FILES,
    files: Annotated[
        Path | None, typer.Option("--from", help="Folder of the benchmark's files, for a task.")
    ] = None,
) -> None:
    """Write a data set of the hub as a benchmark's files, or these as a task of lmms-eval."""
    from lvlmsal.errors import ConfigError

    if form is Format.LMMS_EVAL:
        if files is None or dataset or split or config or revision:
            raise ConfigError(
                [
                    "--format lmms-eval: is written from a benchmark's files: give their folder "
                    f"with --from, for instance  lvlmsal data export {name} --format lmms-eval "
                    "--from data/pope --root tasks, and no --dataset, --split, --config, --revision"
                ]
            )
        _export_task(name, files, root, options or [])
        return
    if dataset is None or split is None or files or options:
        raise ConfigError(
            [
                "a data set of the hub is written as files: give --dataset and --split, and "
                "neither --from nor KEY=VALUE, which are for --format lmms-eval"
            ]
        )
    _export_files(name, root, dataset, split, config, revision)


def _export_task(name: str, files: Path, root: Path, options: list[str]) -> None:
    from lvlmsal.cli.listing import parse_settings
    from lvlmsal.data.lmms_export import export_task

    chosen = parse_settings(options, flag="")
    folder = export_task(_build(name, files, options), chosen, root)
    say(f"written: {folder}")
    say(f"next: lmms-eval --include_path {root} --tasks {folder.name} --log_samples ...")


def _export_files(
    name: str, root: Path, dataset: str, split: str, config: str | None, revision: str | None
) -> None:
    from lvlmsal.data.export import export, load_rows
    from lvlmsal.errors import UnknownName
    from lvlmsal.registry import BENCHMARKS

    layout = BENCHMARKS.get(name).layout if name in BENCHMARKS else None
    if layout is None:
        known = [each for each in BENCHMARKS if BENCHMARKS.outline(each).layout]
        raise UnknownName("benchmark with a data set on the hub", name, known)
    rows = load_rows(dataset, split, config, revision)
    source = {"dataset": dataset, "config": config, "split": split, "revision": revision}
    folder = export(rows, layout, root, split=split, source=source)
    say(f"{folder.samples} samples and {len(folder.images)} images: {root}")
    say(f"next: lvlmsal data check {name} --root {root}")


def _build(name: str, root: Path, options: list[str]) -> Benchmark:
    from lvlmsal.cli.listing import parse_settings
    from lvlmsal.registry import BENCHMARKS

    return BENCHMARKS.build(name, root=str(root), **parse_settings(options, flag=""))


def _print_check(found: DataCheck, difference: Difference | None) -> None:
    say(f"{found.label} in {found.root}")
    counts = ", ".join(f"{number} {kind}" for kind, number in found.counts.items())
    official = f" (official release: {counted(found.expected)})" if found.expected else ""
    say(f"found: {counts}{official}")
    if found.subset:
        say(
            f"subset: {found.subset['chosen']}: {found.subset['groups']} of {found.subset['of']} "
            f"groups, sha256 {found.subset['digest']}"
        )
    for title, digest in (("samples", found.samples_digest), ("images", found.images_digest)):
        say(f"sha256 of {title}: {digest or 'not taken'}")
    for file, digest in list(found.files.items())[:SHOWN]:
        say(f"sha256 of {file}: {digest}")
    _print_some("files", [], len(found.files))
    _print_some("wrong", found.problems)
    _print_some("missing", [f"{path} (asked at {at})" for path, at in found.missing.items()])
    _print_some("unreadable", [f"{path}: {why}" for path, why in found.unreadable.items()])
    for kind in ("missing", "added", "changed"):
        if difference is not None:
            _print_some(f"against the manifest, {kind}", getattr(difference, kind))
    if found.good and not difference:
        opened = "every image was opened" if found.images_opened else "no image was opened"
        say(f"nothing is wrong; {opened}")


def _print_some(title: str, texts: list[str], number: int | None = None) -> None:
    """The first of many, with how many there are; --json has them all."""
    number = len(texts) if number is None else number
    for text in texts[:SHOWN]:
        say(f"{title}: {text}")
    if number > SHOWN:
        say(f"{title}: {number} in total; --json lists all of them")
