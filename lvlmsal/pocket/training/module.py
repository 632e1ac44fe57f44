"""The LightningModule that trains a pocket model, and its recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from lvlmsal.pocket.training.batches import whitening
from lvlmsal.pocket.training.build import build
from lvlmsal.pocket.training.data import Batch, Encoder, Mix
from lvlmsal.pocket.training.optimizer import build_optimizer
from lvlmsal.pocket.training.pocket import Pocket


@dataclass(frozen=True)
class Leg:
    """A part of the training over which learning rates fall in a cosine, laid out to its end.

    Attributes:
        start: Share of the budget from which it runs.
        rate: Peak learning rate of AdamW.
        matrix_rate: Peak learning rate of Muon on the matrices of layers, where it is used.
    """

    start: float
    rate: float
    matrix_rate: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How a pocket model is trained.

    Attributes:
        minutes: Budget of wall-clock time; None to go by steps alone.
        steps: Budget of steps; None to go by minutes alone.
        tower_share: Share of the budget for the vision part alone.
        legs: The course of the learning rates.
        muon: Whether Muon moves the matrices of layers, and AdamW the rest, or AdamW everything.
        warmup: Steps of linear warm-up, at the start of each stage.
        patch_weight: Weight of the patch loss next to the loss on words.
        name_weight: Weight of a loss by which an image token is to say, through the output layer,
            how the names of the objects on its patches begin.
        seed: Seed of the weights and of the scenes.
        check_every: Steps between checkpoints and looks at unseen scenes.
        mixes: What a batch is made of, from which share of the budget on.
        tower_rows: Images per batch in the first stage.
        workers: Processes that draw batches next to the training; they do not see the clock, so
            they need a budget of steps alone. 0 draws in the process that trains.
        look_rows: Unseen images that are looked at.
        tiny: Train the far smaller model of the tests.
    """

    minutes: float | None = 72.0
    steps: int | None = None
    tower_share: float = 0.08
    legs: Sequence[Leg] = (Leg(0.0, 1.5e-3), Leg(0.53, 1.2e-3))
    muon: bool = False
    warmup: int = 60
    patch_weight: float = 0.3
    name_weight: float = 0.0
    seed: int = 0
    check_every: int = 200
    mixes: Sequence[tuple[float, Mix]] = (
        (0.0, Mix(rows=16)),
        (0.53, Mix(rows=16, questions=6, captioned=1.0, answer_weight=2.0, noun_weight=5.0)),
    )
    tower_rows: int = 16
    workers: int = 0
    look_rows: int = 80
    tiny: bool = False


class PocketModule(L.LightningModule):
    """A pocket model in training.

    Args:
        name: Which model.
        recipe: How it is trained.
    """

    def __init__(self, name: str, recipe: Recipe) -> None:
        """See the class."""
        super().__init__()
        self.recipe = recipe
        self.pocket: Pocket = build(name, tiny=recipe.tiny)
        self.model = self.pocket.model
        world, merge = self.pocket.world, self.pocket.merge
        self.sizes = [len(world.classes) + 1, len(world.colors) + 1]
        width = int(self.model.config.get_text_config().hidden_size)
        self.patch_head = nn.Linear(width, merge**2 * sum(self.sizes))
        encoder, blank = Encoder(self.pocket), self.pocket.dialogue.blank
        names = [encoder.ids(blank + name) for name in world.classes]
        self.begins = torch.tensor([0, *(ids[0] for ids in names)])
        self.spelled = torch.zeros(len(names) + 1, len(self.pocket.tokenizer))
        for row, ids in zip(self.spelled[1:], names, strict=True):
            row[ids] = 1.0 / len(set(ids))
        self.used_seconds = 0.0
        self.tower_steps = 0

    def whiten(self, encoder: Encoder) -> None:
        """Let the patch embedding start from the statistics of training scenes."""
        weight = self.pocket.patch_filters()
        weight.data.copy_(whitening(encoder, len(weight)).reshape(weight.shape))

    @property
    def progress(self) -> float:
        """Share of the budget used, 0 to 1."""
        shares = [0.0]
        if self.recipe.minutes is not None:
            shares.append(self.used_seconds / (60.0 * self.recipe.minutes))
        if self.recipe.steps is not None:
            shares.append(self.global_step / self.recipe.steps)
        return min(1.0, max(shares))

    def share_at(self, index: int) -> float:
        """Share of the budget used when batch `index` is trained on, as far as it is known."""
        if self.recipe.minutes is None and self.recipe.steps is not None:
            return index / self.recipe.steps
        return self.progress

    def tower_rows_at(self, index: int) -> int:
        """Images of batch `index` if it is one for the vision part alone, else 0."""
        return self.recipe.tower_rows * (self.share_at(index) < self.recipe.tower_share)

    def mix_at(self, index: int) -> Mix:
        """What batch `index` is made of if it is a whole one."""
        share = self.share_at(index)
        return [mix for start, mix in self.recipe.mixes if share >= start][-1]

    def patch_scores(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the class and of the color that cover each patch, from image embeddings."""
        scores = self.patch_head(image).float().reshape(-1, sum(self.sizes))
        classes, colors = scores.split(self.sizes, dim=1)
        return classes, colors

    def patch_loss(self, image: Tensor, patches: Tensor) -> Tensor:
        """Cross-entropy of each patch's class and color."""
        classes, colors = self.patch_scores(image)
        class_loss = nn.functional.cross_entropy(classes, patches[:, 0])
        return class_loss + nn.functional.cross_entropy(colors, patches[:, 1])

    def name_loss(self, image: Tensor, patches: Tensor) -> Tensor:
        """Cross-entropies of the names of what image tokens show, read off as if they were words.

        Through the output layer they say how a name begins, and by the input embeddings which
        tokens it has. A vision part that was trained with captions speaks the language of its
        texts; here it is told. The decoder can then say what it attends to, and find what it is
        asked for, without learning 67 names by heart first.
        """
        whole: Any = self.model
        states = self.pocket.decoder.norm(image)
        said = whole.lm_head(states).float().log_softmax(dim=1)
        heard = (states @ whole.get_input_embeddings().weight.T).float().log_softmax(dim=1)
        classes = patches[:, 0].reshape(len(image), -1)
        seen = classes > 0
        losses = -said.gather(1, self.begins[classes]) - (heard @ self.spelled.T).gather(1, classes)
        loss: Tensor = losses[seen].sum() / seen.sum().clamp(min=1)
        return loss

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores of the next word where one is due, (N, vocabulary), and image embeddings."""
        whole: Any = self.model
        image = self.pocket.image_embeddings(batch)
        embeddings = whole.get_input_embeddings()(batch["input_ids"])
        config: Any = self.model.config
        marked = (batch["input_ids"] == config.image_token_id)[..., None].expand_as(embeddings)
        embeddings = embeddings.masked_scatter(marked, image.to(embeddings.dtype))
        hidden = self.pocket.decoder(
            inputs_embeds=embeddings,
            attention_mask=batch["attention_mask"],
            position_ids=batch["position_ids"],
            use_cache=False,
        ).last_hidden_state
        return whole.lm_head(hidden[batch["rows"], batch["columns"]]), image

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        if "input_ids" not in batch:
            image = self.pocket.image_embeddings(batch)
            loss = self.patch_loss(image, batch["patches"])
            self.tower_steps = self.global_step + 1
            self.log("patch_loss", loss)
            return loss
        scores, image = self(batch)
        losses = nn.functional.cross_entropy(scores.float(), batch["targets"], reduction="none")
        loss = (losses * batch["weights"]).sum() / batch["weights"].sum()
        self.log("word_loss", loss)
        loss = loss + self.recipe.patch_weight * self.patch_loss(image, batch["patches"])
        if self.recipe.name_weight:
            names = self.name_loss(image, batch["patches"])
            self.log("name_loss", names)
            loss = loss + self.recipe.name_weight * names
        return loss

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate for the share of the budget used."""
        leg = [leg for leg in self.recipe.legs if self.progress >= leg.start][-1]
        done = (self.progress - leg.start) / (1.0 - leg.start)
        # ask the batch, not the clock: it may have been drawn just before the stage ended
        since = self.global_step - (self.tower_steps if "input_ids" in batch else 0)
        warm = min(1.0, (since + 1) / self.recipe.warmup)
        share = warm * (0.51 + 0.49 * math.cos(math.pi * done))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = share * (leg.matrix_rate if group["inner"] else leg.rate)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `build_optimizer`."""
        return build_optimizer(self, muon=self.recipe.muon)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep how much of the budget is used."""
        checkpoint["pocket"] = {"seconds": self.used_seconds, "tower_steps": self.tower_steps}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the budget where it was left."""
        self.used_seconds = checkpoint["pocket"]["seconds"]
        self.tower_steps = checkpoint["pocket"]["tower_steps"]

    @torch.no_grad()
    def look(self, batch: Batch) -> dict[str, float]:
        """Share of right first words of answers, and of right names in captions, on one batch."""
        scores, image = self(batch)
        right = scores.argmax(dim=-1) == batch["targets"]
        result = {"nouns": float(right[batch["nouns"]].float().mean())}
        for index, kind in enumerate(("caption", *self.pocket.world.questions)):
            chosen = batch["kinds"] == index
            if kind != "caption" and bool(chosen.any()):
                result[kind] = float(right[chosen].float().mean())
        labels = batch["patches"][:, 0]
        found = self.patch_scores(image)[0].argmax(dim=-1) == labels
        result["patches"] = float(found[labels > 0].float().mean())
        return result
