"""``lvlmsal judge``: a judge model on the answers of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvlmsal.cli.console import UNFINISHED, new_console, print_json
from lvlmsal.escaping import visible

if TYPE_CHECKING:
    from lvlmsal.evaluation import Result
    from lvlmsal.judges import Judging


def judge(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", exists=True)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Such as judge.model=gpt-4-0613"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Let a judge model grade the answers of a run, then score the run.

    Every reply is kept in the run folder, so nothing is asked twice: rerun the same command to
    resume a judging that was stopped. docs/judges.md has the settings. The exit code is 1 if the
    run is unfinished.
    """
    from lvlmsal.evaluation.run.judging import judge_run
    from lvlmsal.progress import Progress

    with Progress("judging") as progress:
        went, result = judge_run(folder, overrides or [], advance=progress.reach)
    if as_json:
        print_json({"judging": dataclasses.asdict(went), "results": result.results})
    else:
        _show(went, result)
    if result.unfinished:
        raise typer.Exit(UNFINISHED)


def _show(went: Judging, result: Result) -> None:
    """Print the figures, and how the judging went."""
    console = new_console()
    console.print(result)
    used = went.usage
    cost = "" if went.cost is None else f", cost {went.cost:.4g}"
    lines = [
        f"{went.added} replies fetched, {went.missing} missing. All replies of this judge: "
        f"{used.replies} in {used.calls} calls, {used.prompt_tokens} + {used.completion_tokens} "
        f"tokens{cost}"
    ]
    if went.stopped:
        lines.append(f"stopped: {went.stopped}")
    if went.refused:
        lines.append(f"{went.refused} requests were refused: {went.reason}")
    for line in lines:
        console.print(visible(line), highlight=False, markup=False, soft_wrap=True)
