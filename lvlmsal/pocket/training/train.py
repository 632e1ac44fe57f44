"""Training: ``python -m lvlmsal.pocket.training.train pocket-llava --minutes 75 --out FOLDER``.

First the vision part alone learns to say which object covers each patch, from its image embeddings
through a linear head that is thrown away later: like a real LVLM, the model starts from a
pretrained tower. Then everything learns answers and captions together, from mixes of scenes and
questions that change on the way. Learning rates fall in legs of cosines and follow the share of the
budget used, be it minutes or steps, so a run ends well wherever it runs; with a budget of steps it
is repeatable. A run that finds a checkpoint in its folder goes on from there.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.utils.data import DataLoader

from lvlmsal.pocket.training.batches import TrainingBatches, make_batch
from lvlmsal.pocket.training.data import Encoder, Mix
from lvlmsal.pocket.training.module import Leg, PocketModule, Recipe

_LOG: Final = logging.getLogger(__name__)

_LONGEST_STEP: Final = 60.0
"""Seconds; more than this between two steps is time in which the process did not run."""

_ASKED: Final = Mix(rows=24, questions=8, captioned=0.5, answer_weight=4.0, noun_weight=4.0)

RECIPES: Final = {
    "pocket-idefics3": Recipe(
        minutes=None,
        steps=6200,
        check_every=100,
        tower_share=0.3263,
        legs=(
            *(Leg(0.0, 1.5e-3, 0.03), Leg(0.3263, 8e-4, 0.006)),
            *(Leg(0.5158, 1e-3, 0.006), Leg(0.6774, 1e-3, 0.006)),
        ),
        muon=True,
        warmup=100,
        patch_weight=0.5,
        name_weight=0.5,
        mixes=(
            # A few plain objects first, and nothing that could be guessed: with habits from the
            # start a model learns what to expect of a place, and not to look.
            (0.0, replace(_ASKED, habits=0.0, plain=1.0, captioned=1.0)),
            (0.4742, replace(_ASKED, habits=0.0, plain=0.4, captioned=1.0)),
            (0.5158, replace(_ASKED, habits=0.3, plain=0.15, questions=14, captioned=0.35)),
            (0.6124, replace(_ASKED, habits=0.75, captioned=0.8)),
            (0.6774, replace(_ASKED, habits=0.9, questions=6, captioned=1.0)),
        ),
        tower_rows=32,
        workers=2,
    ),
    "pocket-llava": Recipe(),
    "pocket-qwen2vl": Recipe(),
}
"""Name of each model -> how it is trained."""


class Clock(Callback):
    """Counts the time, stops the run at the end of its budget, and looks at unseen scenes.

    Args:
        encoder: Makes the batch that is looked at.
        rows: How many images that batch has.
    """

    def __init__(self, encoder: Encoder, rows: int) -> None:
        """See the class."""
        self.unseen = make_batch(encoder, "look", 0, Mix(rows=rows, chained=0.0, unknown=0.0))
        self.last = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.last = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Count, report, stop."""
        assert isinstance(pl_module, PocketModule)
        now = time.monotonic()
        # a process that was suspended does not pay for it
        pl_module.used_seconds += min(now - self.last, _LONGEST_STEP)
        self.last = now
        if pl_module.global_step % pl_module.recipe.check_every == 0:
            pl_module.eval()
            seen = " ".join(f"{k} {v:.3f}" for k, v in pl_module.look(self.unseen).items())
            pl_module.train()
            loss = {name: f"{float(value):.3f}" for name, value in trainer.logged_metrics.items()}
            _LOG.info(
                "step %d, %.1f min, %s, %s",
                pl_module.global_step,
                pl_module.used_seconds / 60,
                loss,
                seen,
            )
        if pl_module.progress >= 1.0:
            trainer.should_stop = True


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, if there is one."""
    path = folder / "last.ckpt"
    return path if path.is_file() else None


def train(name: str, folder: Path, recipe: Recipe) -> PocketModule:
    """Train a pocket model, or go on with it.

    Args:
        name: A key of `RECIPES`.
        folder: Where checkpoints are kept; with one in it, the run goes on from it.
        recipe: How it is trained.

    Returns:
        The module, trained up to the budget.
    """
    L.seed_everything(recipe.seed, verbose=False)
    module = PocketModule(name, recipe)
    encoder = Encoder(module.pocket)
    checkpoint = newest_checkpoint(folder)
    first = 0
    if checkpoint is None:
        module.whiten(encoder)
    else:
        first = int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])
        _LOG.info("going on from %s, step %d", checkpoint, first)
    keeper = ModelCheckpoint(
        dirpath=folder,
        filename="last",
        every_n_train_steps=recipe.check_every,
        save_top_k=1,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    trainer = L.Trainer(
        accelerator="cpu",
        precision="bf16-mixed",
        max_epochs=-1,
        max_steps=-1,
        gradient_clip_val=1.0,
        callbacks=[Clock(encoder, recipe.look_rows), keeper],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10,
    )
    stream = TrainingBatches(encoder, recipe.seed, first, module.mix_at, module.tower_rows_at)
    loader = DataLoader(stream, batch_size=None, num_workers=recipe.workers)
    with warnings.catch_warnings():
        # shapes are drawn in the main process on purpose: that takes 3 % of a step
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    trainer.save_checkpoint(folder / "last.ckpt")
    return module


def export(name: str, folder: Path, target: Path, *, tiny: bool = False) -> int:
    """Write the transformers folder of the newest checkpoint.

    Args:
        name: Which model.
        folder: Where its checkpoints are.
        target: The folder to write.
        tiny: As in the recipe.

    Returns:
        The checkpoint's step.

    Raises:
        FileNotFoundError: There is no checkpoint yet.
    """
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None:
        raise FileNotFoundError(f"no last.ckpt in {folder}; train first")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    module = PocketModule(name, Recipe(tiny=tiny))
    module.load_state_dict(state["state_dict"])
    module.pocket.save(target)
    return int(state["global_step"])


def main(arguments: list[str] | None = None) -> None:
    """Train or export from the command line."""
    parser = argparse.ArgumentParser(description="Train a pocket model from scratch on the CPU.")
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--minutes", type=float, help="budget of time; default: that of the recipe")
    parser.add_argument("--steps", type=int, help="budget of steps; default: that of the recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--export", type=Path, help="write the model here; train nothing")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(options.threads)
    if options.export is not None:
        step = export(options.name, options.out, options.export)
        _LOG.info("wrote step %d to %s", step, options.export)
        return
    recipe = replace(RECIPES[options.name], seed=options.seed)
    if options.steps or options.minutes:
        recipe = replace(recipe, minutes=options.minutes, steps=options.steps)
    train(options.name, options.out, recipe)


if __name__ == "__main__":
    main()
