"""Lightning's Trainer, made for answering and for nothing else."""

from __future__ import annotations

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from lvlmsal.evaluation.guards import quiet_lightning
from lvlmsal.evaluation.schema import TrainerConfig


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
        use_distributed_sampler=False,  # `AnswerData` deals batches out
        logger=logger or False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        # saliency needs gradients, which inference mode would forbid for good
        inference_mode=False,
    )


def trainer_problems(options: TrainerConfig) -> list[str]:
    """Why Lightning refuses the options on this machine: no such device, strategy, precision."""
    try:
        with quiet_lightning():
            make_trainer(options)
    except (MisconfigurationException, ValueError, TypeError) as error:
        return [f"trainer: {error}"]
    return []
