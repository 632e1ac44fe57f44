"""``lvlmsal detect compare`` and ``lvlmsal fit``: detectors compared, they and methods fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvlmsal.analysis.label_files import FORMATS
from lvlmsal.cli.analyze import Config, Out, Overrides
from lvlmsal.cli.commands import WithSettings
from lvlmsal.cli.console import print_report, say
from lvlmsal.cli.detect import detect_app
from lvlmsal.cli.listing import parse_settings
from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.registry import DETECTORS, INTERVENTIONS

LabelFormat = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME",
        help=f"Format of a file of labels in place of a config: {', '.join(FORMATS)}; of pairs "
        "for a method: own, lure.",
    ),
]
LabelImages = Annotated[
    Path | None,
    typer.Option("--images", help="Folder of its images; by default that of the file."),
]
MethodSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Option of a method: position=last ..."),
]
LabelModel = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Model that reads its answers.")
]


@detect_app.command("compare", cls=WithSettings, epilog="lvlmsal detect compare detect")
def detect_compare(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Detector; may be given repeatedly. By default all but those that --ask adds.",
        ),
    ] = None,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask",
            help="Add all detectors that ask the model more: about each object, or for samples.",
        ),
    ] = False,
    scalings: Annotated[
        Path | None,
        typer.Option(help="Folder that lvlmsal fit wrote; by default the shipped scalings."),
    ] = None,
    model: LabelModel = None,
    format: LabelFormat = "",
    images: LabelImages = None,
) -> None:
    """Judge the objects in a run's descriptions by every detector, and score these by CHAIR.

    All detectors share one pass an answer; those of --ask take as long as dozens of answers. An
    existing run is read; missing answers are generated first. In place of a config a file of
    labeled answers may stand (LABELS.jsonl, or --format).
    """
    if path := _label_file(config, model, format, images):
        from lvlmsal.analysis.label_files.comparing import compare_on_labels
        from lvlmsal.analysis.label_files.formats import read_labeled
        from lvlmsal.model.loading import load

        _refuse_unknown(detector or [])
        if ask:
            raise ConfigError(
                ["--ask goes with a config: a file of labels does not say of which objects"]
            )
        answers = read_labeled(path, format or "own", images)  # before a model is loaded
        name = Path(str(model)).name
        found = compare_on_labels(
            answers,
            load(str(model)),
            model=name,
            source=path.name,
            out=out or path.with_suffix(".detectors"),
            detectors=detector or (),
            scaling=None if scalings is None else scalings / f"{name}.json",
        )
    else:
        _refuse_misstated(config, overrides, detector)
        from lvlmsal.analysis.detectors import compare_detectors

        found = compare_detectors(
            config, overrides or [], out=out, detectors=detector or (), ask=ask, scalings=scalings
        )
    print_report(found.tables(), found.folder, found.files, found.notes)


@detect_app.command("score", epilog="lvlmsal detect score runs/detect/analysis/detectors")
def detect_score(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="That detect compare wrote into.")
    ],
) -> None:
    """Score the detectors of a comparison once more, from what it has kept; loads no model."""
    from lvlmsal.analysis.detectors import score_passes

    found = score_passes(folder)
    print_report(found.tables(), found.folder, found.files, found.notes)


def fit(
    config: Annotated[
        str,
        typer.Argument(
            metavar="[METHOD] CONFIG",
            help="Method to fit, such as nullu or vti (a detector by default), and what it is "
            "fitted on: YAML file, name of a packaged config, or run folder; or a file of labeled "
            "answers or of pairs (.jsonl).",
        ),
    ],
    overrides: Overrides = None,
    out: Out = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Detector to scale; may be given repeatedly. By default all that can be.",
        ),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Fit detectors that need labels too, on CHAIR's.")
    ] = False,
    model: LabelModel = None,
    format: LabelFormat = "",
    images: LabelImages = None,
    settings: MethodSettings = None,
) -> None:
    """Fit detectors, or a method, in each model of a config: one file or folder a model.

    Detectors are scaled on the answers of models, which needs no labels: an existing run is read;
    missing answers are generated first. On a file of labeled answers in place of a config
    (LABELS.jsonl, or --format) the detectors that need labels are fitted.

    A method that edits the model is fitted on pairs of a right and a wrong description: those of
    the config's scene world, or of a file (PAIRS.jsonl with --model).
    """
    method, config, overrides = _method_first(config, overrides or [])
    if method in INTERVENTIONS:
        _refuse_labels(detector, labels)
        for written in _fit_method(
            method, config, overrides, out, model, format, images, settings or []
        ):
            say(f"written: {written}")
        return
    if settings:
        raise ConfigError(["--set is for options of a method: lvlmsal fit METHOD CONFIG --set ..."])
    detector = [*(detector or []), method] if method else detector
    if path := _label_file(config, model, format, images):
        from lvlmsal.analysis.label_files.comparing import fit_labeled
        from lvlmsal.analysis.label_files.formats import read_labeled
        from lvlmsal.analysis.output import made_folder
        from lvlmsal.model.loading import load

        _refuse_unknown(detector or [])
        answers = read_labeled(path, format or "own", images)  # before a model is loaded
        name = Path(str(model)).name
        scalings = fit_labeled(
            answers, load(str(model)), model=name, source=path.name, detectors=detector or ()
        )
        folder = made_folder(out or path.with_suffix(".scalings"))
        scalings.save(folder / f"{name}.json")
        made = [folder / f"{name}.json"]
    else:
        _refuse_misstated(config, overrides, detector)
        from lvlmsal.analysis.scalings import fit_scalings

        made = fit_scalings(
            config, overrides or [], out=out, detectors=detector or (), labels=labels
        )
    for written in made:
        say(f"written: {written}")


def _method_first(first: str, rest: list[str]) -> tuple[str, str, list[str]]:
    """The method, if one stands in front of the config; the config; and what follows it.

    Raises:
        ConfigError: A method stands there alone.
    """
    known = first in INTERVENTIONS or first in DETECTORS
    if known and rest and "=" not in rest[0]:
        return first, rest[0], rest[1:]
    if known and not Path(first).exists():
        raise ConfigError(
            [f"say what {first} is to be fitted on: lvlmsal fit {first} CONFIG -o FOLDER"]
        )
    return "", first, rest


def _refuse_labels(detector: list[str] | None, labels: bool) -> None:
    if detector or labels:
        raise ConfigError(["--detector and --labels are for detectors: leave out the method"])


def _fit_method(
    method: str,
    config: str,
    overrides: list[str],
    out: Path | None,
    model: str | None,
    format: str,
    images: Path | None,
    settings: list[str],
) -> list[Path]:
    """Fit a method that edits the model; returns the folders."""
    from lvlmsal.analysis.method_fits import built_method, fit_on_pairs, fit_on_worlds
    from lvlmsal.fits.pairs import READERS, read_pairs
    from lvlmsal.model.loading import load

    options = parse_settings(settings)
    if not (path := _data_file(config, model, format, images, list(READERS))):
        return fit_on_worlds(method, config, overrides, options=options, out=out)
    built = built_method(method, options)
    pairs = read_pairs(path, format or "own", images)  # before a model is loaded
    name = Path(str(model)).name
    folder = out or path.with_suffix(f".{method}")
    fit_on_pairs(built, pairs, load(str(model)), model=name, source=path.name, out=folder)
    return [folder]


def _label_file(config: str, model: str | None, format: str, images: Path | None) -> Path | None:
    """The file of labels that stands in place of a config; None for a config."""
    return _data_file(config, model, format, images, list(FORMATS))


def _data_file(
    config: str, model: str | None, format: str, images: Path | None, formats: list[str]
) -> Path | None:
    """The file of labels or pairs that stands in place of a config; None for a config."""
    if not format and not config.endswith(".jsonl"):
        if model is not None or images is not None:
            raise ConfigError(
                [
                    "--model and --images go with a file of labels (LABELS.jsonl, or --format): "
                    "in a config write  models=[NAME]"
                ]
            )
        return None
    if format and format not in formats:
        raise UnknownName("format of labels", format, formats)
    if model is None:
        raise ConfigError([f"{config}: say which model reads the answers: --model NAME"])
    return Path(config)


def _refuse_misstated(
    config: str, overrides: list[str] | None, detectors: list[str] | None
) -> None:
    from lvlmsal.evaluation.config.stated import refuse_misstated

    refuse_misstated(config, overrides or [])
    _refuse_unknown(detectors or [])  # a plugin that the config names may have brought it


def _refuse_unknown(names: list[str]) -> None:
    for name in names:
        if name not in DETECTORS:
            raise UnknownName("detector", name, list(DETECTORS))
