"""``lvlmsal fit METHOD``: methods fitted on pairs of a right and a wrong description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from lvlmsal import __version__
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.plan import make_plan
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.run.evaluate import load_model
from lvlmsal.fits.digests import pixel_digest
from lvlmsal.fits.folder import Fit
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.fits.pairs import Pair
from lvlmsal.fits.states import pair_states
from lvlmsal.interventions.fitted import FittedIntervention, fitted_methods
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.pocket.scenes.language import CAPTION_PROMPTS
from lvlmsal.pocket.worlds import read_world
from lvlmsal.progress import Progress
from lvlmsal.registry import INTERVENTIONS, options_of

IMAGES: Final = "images"
"""Folder of a world's pictures."""


def fit_on_worlds(
    method: str,
    config: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    options: Mapping[str, Any] | None = None,
    out: Path | None = None,
    lvlms: Mapping[str, Lvlm] | None = None,
) -> list[Path]:
    """Fit a method in each model of a config, on what is true of the config's scene world.

    Args:
        method: Its name.
        config: An ordinary config with a ``world``; nothing is asked of its benchmarks.
        overrides: Texts ``key=value``.
        options: Of the method.
        out: Folder, in which each model gets one; by default ``fits/METHOD`` in the run folder.
        lvlms: Models that are already loaded, by name.

    Returns:
        The folders.

    Raises:
        ConfigError: The config is wrong or has no world, or the method takes no fit.
        DataError: The world cannot be written.
    """
    built, given = built_method(method, options or {}), dict(lvlms or {})
    plan = make_plan(config, overrides, given=list(given))
    if plan.config.world is None:
        raise ConfigError(
            [
                "world: a method is fitted on what is known of each image: give a config with a "
                "scene world, or a file of pairs:  lvlmsal fit "
                f"{method} PAIRS.jsonl --model NAME"
            ]
        )
    root = Path(plan.config.world.root)
    pairs = world_pairs(root, plan.config.world.images)
    out = out or Path(plan.config.output) / "fits" / method
    folders = []
    for model in plan.config.models:
        lvlm = load_model(model, given.get(model.name))
        folders.append(out / model.name)
        fit_on_pairs(built, pairs, lvlm, model=model.name, source=root.name, out=folders[-1])
    return folders


def world_pairs(root: Path, images: int) -> list[Pair]:
    """A caption of each image of a world, and the same with a class that is not there.

    Args:
        root: Of the world.
        images: How many there are.
    """
    world, scene_of = read_world(root)
    pairs = []
    for number in range(1, images + 1):
        scene, use = scene_of(number), f"pairs/{root.name}"
        other = world.misdescribed(scene, world.questioner(0, "misdescribed", number))
        right, wrong = (
            world.caption(each, world.questioner(0, use, number)) for each in (scene, other)
        )
        image = root / IMAGES / world.file_name(number)
        pairs.append(Pair(str(number), image, CAPTION_PROMPTS[0], right, wrong))
    return pairs


def built_method(method: str, options: Mapping[str, Any]) -> FittedIntervention:
    """A method that can be fitted, with its options.

    Raises:
        ConfigError: It takes no fit, or an option is wrong.
    """
    built = INTERVENTIONS.build(method, **options)
    if not isinstance(built, FittedIntervention):
        raise ConfigError(
            [f"{method} takes no fit; the methods that do are {', '.join(fitted_methods())}"]
        )
    return built


def fit_on_pairs(
    method: FittedIntervention,
    pairs: Sequence[Pair],
    lvlm: Lvlm,
    *,
    model: str,
    source: str,
    out: Path,
) -> None:
    """Fit a method in one model, and write what was found.

    Args:
        method: With the options of the fit.
        pairs: What it is fitted on; at least one.
        lvlm: The model that reads them.
        model: What it is called.
        source: What the pairs are called.
        out: Folder to write into.

    Raises:
        DataError: An image cannot be read, or an answer is empty.
        LvlmsalError: The folder cannot be written.
    """
    adapter, statistics = lvlm.adapter, method.statistics()
    images: dict[Path, str] = {}
    with Progress(f"fitting {method.name} in {model}", len(pairs)) as progress:
        for pair in pairs:
            images[pair.image] = images.get(pair.image) or pixel_digest(pair.image)
            statistics.add(*pair_states(adapter, pair, method.reads))
            progress.advance()
    tensors = statistics.tensors()
    options = options_of(method)
    digests = sorted(set(images.values()))
    Fit(
        str(method.name),
        {name: options[name] for name in method.fit_options},
        model,
        ModelMark.of(adapter),
        {
            "lvlmsal": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "dtype": str(lvlm.model.dtype).removeprefix("torch."),
            "revision": getattr(lvlm.model.config, "_commit_hash", None),
        },
        {"source": source, "pairs": len(pairs), "images": len(digests)},
        digests,
        {name: list(tensor.shape) for name, tensor in tensors.items()},
    ).save(out, tensors)
