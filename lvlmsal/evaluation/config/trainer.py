"""Lightning's Trainer, made for answering and for nothing else."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.loggers import Logger

from lvlmsal.errors import close_matches
from lvlmsal.evaluation.config.schema import TrainerConfig

GPUS = ("cuda", "mps")
"""Accelerators that ``gpu`` stands for."""

STRATEGIES = ("auto", "ddp")
"""What ``trainer.strategy`` may say."""


def make_trainer(
    options: TrainerConfig, *callbacks: Callback, logger: Logger | None = None
) -> Trainer:
    """A Trainer that writes no files of its own and leaves gradients possible.

    Args:
        options: What the config says.
        callbacks: Lightning callbacks.
        logger: What callbacks log to.

    Raises:
        MisconfigurationException: Lightning refuses the options, also as a ValueError.
    """
    return Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=options.strategy,
        precision=options.precision,  # type: ignore[arg-type]  # Lightning checks the text
        callbacks=list(callbacks),
        plugins=_cluster(),  # type: ignore[arg-type]  # a list, of which Lightning wants a wider kind
        use_distributed_sampler=False,  # `AnswerData` deals batches out
        logger=logger or False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        # saliency needs gradients, which inference mode would forbid for good
        inference_mode=False,
    )


def _cluster() -> list[ClusterEnvironment] | None:
    """SLURM as Lightning finds it, but without its own way of starting a job again.

    Before it does, it saves the model's weights as a checkpoint, and it answers no SIGTERM.
    """
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        return [SLURMEnvironment(auto_requeue=False)]
    return None


def trainer_problems(options: TrainerConfig) -> list[str]:
    """What keeps the options from working: on this machine, with these processes, or at all.

    Args:
        options: What the config says.
    """
    if options.strategy not in STRATEGIES:
        return [
            f"trainer.strategy: {options.strategy!r} is not supported; there are "
            f"{' and '.join(map(repr, STRATEGIES))}: each process holds the whole model and "
            "answers samples of its own. Strategies that split a model over processes (fsdp, "
            "deepspeed, model parallel) need all of them to take every step of every answer "
            "together. For a model that is too large for one device give device_map=auto to the "
            "model, with trainer.devices=1"
        ]
    if problem := _accelerator_problem(options.accelerator):
        return [f"trainer.accelerator: {problem}"]
    try:
        with quiet_lightning():
            trainer = make_trainer(options)
    except (MisconfigurationException, ValueError, TypeError) as error:
        return [f"trainer: {error}"]
    started = int(os.environ.get("WORLD_SIZE", "1")) if TorchElasticEnvironment.detect() else None
    asked = trainer.num_devices * trainer.num_nodes
    if started is not None and started != asked:
        return [
            f"trainer: torchrun has started {started} processes, and trainer.devices="
            f"{options.devices} with trainer.num_nodes={options.num_nodes} makes {asked}: set "
            "trainer.devices to --nproc-per-node and trainer.num_nodes to --nnodes"
        ]
    return []


def _accelerator_problem(name: str) -> str:
    """Why this machine does not have an accelerator, and what to write; empty where it does."""
    if name == "auto":
        return ""
    kinds = GPUS if name == "gpu" else (name,)
    known = AcceleratorRegistry.available_accelerators()
    if name != "gpu" and name not in known:
        names = sorted({"auto", "gpu", *known})
        hint = close_matches(name, names)
        return f"there is no accelerator {name!r}.{hint} Known: {', '.join(names)}"
    if any(AcceleratorRegistry[kind]["accelerator"].is_available() for kind in kinds):
        return ""
    without_cuda = "cuda" in kinds and torch.version.cuda is None
    build = f"; torch {torch.__version__} is a build without CUDA" if without_cuda else ""
    return (
        f"this machine has no {name} that torch can use{build}: write trainer.accelerator=cpu, or "
        "auto for the best that there is"
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notices about devices and data loaders out of the progress display."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [found.level for found in loggers]
    for found in loggers:
        found.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=PossibleUserWarning)
            warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
            yield
    finally:
        for found, level in zip(loggers, levels, strict=True):
            found.setLevel(level)
