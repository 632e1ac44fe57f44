"""``lvlmsal score log`` and ``lvlmsal detect log``: answers that other tools have logged."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lvlmsal.cli.console import say
from lvlmsal.errors import ConfigError, DataError, UnknownName
from lvlmsal.registry import BENCHMARKS, DETECTORS

if TYPE_CHECKING:
    from lvlmsal.benchmarks.base import Benchmark
    from lvlmsal.readers.logs import LoggedAnswer

Log = Annotated[
    Path,
    typer.Argument(
        metavar="LOG", help="Samples of lmms-eval, VLMEvalKit or inspect_ai.", exists=True
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Options of the benchmark, such as split=popular."),
]
Tool = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="lmms-eval, vlmevalkit or inspect_ai; the suffix says it."),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What in the log holds the sample's id; by default the place in the data set counts.",
    ),
]


def score_log(
    log: Log,
    benchmark: Annotated[str, typer.Option(metavar="NAME", help="Benchmark that was asked.")],
    root: Annotated[Path, typer.Option(help="Folder of the benchmark's files.")],
    options: Settings = None,
    tool: Tool = None,
    key: Key = None,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score the answers of a log by the metric of a benchmark of this library."""
    from lvlmsal.benchmarks.answers.logged import check_complete, join
    from lvlmsal.benchmarks.scorer import bounds, numbers
    from lvlmsal.cli.score import print_scores
    from lvlmsal.metrics.base import checked_rows
    from lvlmsal.readers.logs import read_log

    built = _built(benchmark, root, options or [])
    samples = built.samples()
    pairs = join(read_log(log, tool), samples, key)
    check_complete(pairs, samples)
    metric = built.metric()
    answers = [answer.answer for _, answer in pairs]
    rows = checked_rows(metric, answers, [sample.target for sample, _ in pairs])
    scores: dict[str, Any] = {
        "metric": metric.name,
        "benchmark": built.label,
        **numbers(metric, rows),
        "intervals": bounds(metric, rows, [sample.group for sample, _ in pairs], seed),
    }
    print_scores(scores, as_json)


def detect_log(
    log: Log,
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON lines to write.")],
    options: Settings = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Model that judges: catalog name, hub id or folder.")
    ] = "pocket-llava",
    detector: Annotated[
        str,
        typer.Option(metavar="NAME", help="Detector (lvlmsal list detectors), or a file of a fit."),
    ] = "default",
    words: Annotated[
        str | None,
        typer.Option(
            help="Judged words: coco, or a vocabulary file; by default the model's, or yes and no "
            "where the benchmark asks for these."
        ),
    ] = None,
    saliency: Annotated[
        bool, typer.Option("--saliency", help="Write the saliency of each token as well.")
    ] = False,
    benchmark: Annotated[
        str | None, typer.Option(metavar="NAME", help="Benchmark that has the images and prompts.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the benchmark's files.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder that the log's image paths are relative to.")
    ] = None,
    tool: Tool = None,
    key: Key = None,
) -> None:
    """Judge the words of answers that others gave, with the images and prompts of a benchmark.

    Without a benchmark, images and prompts are those that the log names.
    """
    from lvlmsal.readers.logs import read_log

    problems = []
    if (benchmark is None) != (root is None):
        problems.append("--benchmark and --root go together: give both or none")
    if benchmark is None and (options or key):
        problems.append("KEY=VALUE and --key are for a benchmark: give --benchmark and --root")
    if detector != "default" and not detector.endswith(".json") and detector not in DETECTORS:
        problems.append(f"--detector: {UnknownName('detector', detector, list(DETECTORS))}")
    if output.exists():
        problems.append(f"--output {output}: is there already; name another file")
    if problems:
        raise ConfigError(problems)
    answers = read_log(log, tool)
    built = None
    if benchmark is None or root is None:
        asked = [_of_log(answer, images) for answer in answers]
    else:
        built = _built(benchmark, root, options or [])
        asked = _of_benchmark(answers, built, key)
    from lvlmsal.analysis.answer_labels import YesNoLabels, asks_yes_or_no
    from lvlmsal.model.loading import load

    judged: str | Sequence[str] | None = words
    if built is not None and words is None and asks_yes_or_no(built):
        judged = YesNoLabels.words.names

    lvlm = load(model)
    with output.open("w", encoding="utf-8", newline="\n") as file:
        for shown, prompt, line, text in asked:
            if text.strip():
                found = lvlm.detect(shown, prompt, text, detector=detector, words=judged)
                line |= found.to_dict()
            if text.strip() and saliency:
                report = lvlm.diagnose(shown, prompt, text)
                line["saliency"] = list(report.saliency)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    say(f"{len(asked)} answers: {output}")


Asked = tuple[list[Any], str, dict[str, Any], str]
"""Images, prompt, what the line begins with, and the answer."""


def _of_benchmark(
    answers: Sequence[LoggedAnswer], benchmark: Benchmark, key: str | None
) -> list[Asked]:
    from lvlmsal.benchmarks.answers.logged import join

    return [
        (list(sample.images), sample.prompt, {"sample_id": sample.id}, answer.answer)
        for sample, answer in join(answers, benchmark.samples(), key)
    ]


def _of_log(answer: LoggedAnswer, folder: Path | None) -> Asked:
    """What the log itself says of images and prompt.

    Raises:
        DataError: It does not.
    """
    if not answer.images or not answer.prompt:
        raise answer.row.error(
            "the log does not say which image or prompt this answers: give the benchmark that was "
            "asked, with --benchmark and --root"
        )
    shown: list[Any] = []
    for name in answer.images:
        if name.startswith("data:"):
            shown.append(base64.b64decode(name.partition(",")[2]))
            continue
        path = Path(name) if folder is None else folder / name
        if not path.is_file():
            raise DataError(
                "there is no such image: say with --images which folder paths are relative to",
                path=path,
            )
        shown.append(path)
    return shown, answer.prompt, {"place": answer.place}, answer.answer


def _built(name: str, root: Path, options: list[str]) -> Benchmark:
    from lvlmsal.cli.listing import parse_settings

    built = BENCHMARKS.build(name, root=str(root), **parse_settings(options, flag=""))
    if problems := built.reading_problems():
        raise DataError("\n".join(problems))
    return built
