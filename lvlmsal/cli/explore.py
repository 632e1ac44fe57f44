"""``lvlmsal explore``: answers and what their tokens rest on, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvlmsal.cli.commands import whole_number


def explore(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_OR_REPORT",
            exists=True,
            help="Run folders of `lvlmsal evaluate`, or files that SaliencyReport.save wrote.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Page to write (.html).")],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Model of the run, the first by default; repeatable."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Method of the run, the first by default; two stand side by side."
        ),
    ] = None,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Benchmark of the run, by default that of the longest answers."
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(parser=whole_number(1), metavar="N", help="Questions of each benchmark."),
    ] = 20,
    row: Annotated[
        str | None,
        typer.Option(
            help="Which row S is read from, for all answers of the page: predicting (the default) "
            "or candidate, whatever the decoders read.",
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Color words of runs by a detector's risks, too: default, a name (lvlmsal list "
            "detectors) or a file of lvlmsal fit.",
        ),
    ] = None,
) -> None:
    """Write answers and what their tokens depend on as one page, for any browser, offline.

    Answers to one question about one image stand side by side: those of two methods, two runs or
    two reports. All of them are judged by one definition of S, which the page names; what SGRS saw
    itself is in the records of its tokens. Risks that a guided decoder recorded are shown as well.
    """
    from lvlmsal.analysis.explored import Choice, choose, report_answers, run_answers, split_sources
    from lvlmsal.cli.ask import saliency_options
    from lvlmsal.cli.console import say
    from lvlmsal.errors import ConfigError, UnknownName
    from lvlmsal.explorer import write_page
    from lvlmsal.registry import DETECTORS

    if output.suffix != ".html":
        raise ConfigError([f"--output {output}: expected a name that ends in .html"])
    if not output.absolute().parent.is_dir():
        raise ConfigError([f"--output {output}: there is no folder {output.absolute().parent}"])
    if detector is not None and not detector.endswith(".json"):
        known = ["default", *DETECTORS]
        if detector not in known:
            raise UnknownName("detector", detector, known)
    wanted = Choice(tuple(model or ()), tuple(method or ()), tuple(benchmark or ()))
    try:
        options = saliency_options({} if row is None else {"row": row})
    except ConfigError:
        raise ConfigError([f"--row {row}: expected predicting or candidate"]) from None
    runs, reports = split_sources(sources, wanted, row)
    saved = list(report_answers(reports, beside=options if runs else None))
    chosen, notes = [], []
    for run in runs:
        choice, more = choose(run, wanted)
        chosen.append((run, choice))
        notes += more
    answers = [*run_answers(chosen, limit=limit, options=options, detector=detector), *saved]
    written = write_page(output, answers, title=_title(runs, reports))
    for note in (*notes, *written.notes):
        say(f"note: {note}")
    say(
        f"written: {written.path} ({written.size / 1e6:.2f} MB, {written.samples} questions, "
        f"{written.answers} answers)"
    )


def _title(runs: list[Path], reports: list[Path]) -> str:
    names = [path.resolve().name for path in runs] + [path.stem for path in reports]
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
