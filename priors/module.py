"""The one LightningModule: it trains any prior."""

from __future__ import annotations

import logging
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pydantic import Field
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, ReduceLROnPlateau, SequentialLR, StepLR
from torchmetrics.utilities.distributed import gather_all_tensors

from pose_priors.configs.base import Config, UserError
from pose_priors.priors.base import TrainablePrior
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.evaluation.scores import summarize

# A step schedule divides the learning rate by ten at each third of the epochs, a plateau schedule by two after a third of the patience.
_STEPS, _STEP_FACTOR = 3, 0.1
_PLATEAU_FACTOR = 0.5
# Share of the defensive component on validation poses beyond which a flow has not learnt, or has lost, what the data look like.
_COLLAPSED = 0.5

log = logging.getLogger(__name__)


class TrainingConfig(Config):
    """How a prior is trained."""

    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    max_epochs: int = Field(ge=1)
    weight_decay: float = Field(0.0, ge=0)
    grad_clip_val: float | None = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    scheduler_type: Literal["step", "cosine", "plateau"] = "cosine"
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises from zero."""
    patience: int = Field(10, ge=1)
    """Epochs without a better validation loss after which training stops."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay per step of the averaged weights that are validated and saved; 0 for none."""


class PriorModule(pl.LightningModule):
    """Trains a prior by its own loss, validates it by its energy. Batches are what the prior takes: poses, or windows of motions.

    Args:
        prior: started on the training data.
        config: how to train.
        experiment: the whole configuration as a plain dict, for the checkpoint.
        fingerprint: names the content of the training data, for the checkpoint.
        seed: of the randomness in training.
    """

    def __init__(self, prior: TrainablePrior, config: TrainingConfig, experiment: dict[str, Any], fingerprint: str, seed: int) -> None:
        super().__init__()
        self.prior = prior
        self.config = config
        self.experiment_config = experiment
        self.fingerprint = fingerprint
        self.seed = seed
        self._energies: list[Tensor] = []
        self._losses: list[dict[str, Tensor]] = []

    def on_fit_start(self) -> None:
        self.prior.set_total_steps(int(self.trainer.estimated_stepping_batches))

    def on_train_epoch_start(self) -> None:
        # Dropout, posterior samples and masks depend on (seed, epoch, rank) alone, so that a resumed run repeats them bit for bit.
        torch.manual_seed(hash((self.seed, self.current_epoch, self.global_rank)) % 2**63)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        values = self.prior.loss(batch)
        if not torch.isfinite(values["loss"]):
            raise UserError(
                f"the loss is {values['loss'].item()} at step {self.global_step}: lower training.learning_rate or training.grad_clip_val, "
                "and go on with --resume from last.ckpt, which holds the last whole epoch"
            )
        self.log_dict({f"train/{name}": value.detach() for name, value in values.items()}, prog_bar=False, batch_size=len(batch))
        return values["loss"]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        values = self.prior.loss(batch)
        self._losses.append({name: value.float() * len(batch) for name, value in values.items()})
        self._energies.append(self.prior.energy(batch).float())

    def on_validation_epoch_end(self) -> None:
        # Means over all rows of all ranks, by hand: one rank may have a row more than another, for which Lightning's gathering fails and
        # its averages are off.
        energies = torch.cat(self._energies)
        if self.trainer.world_size > 1:
            energies = torch.cat(gather_all_tensors(energies))
        sums = {name: torch.stack([losses[name] for losses in self._losses]).sum() for name in self._losses[0]}
        losses = {name: float(self.trainer.strategy.reduce(value, reduce_op="sum")) / len(energies) for name, value in sums.items()}
        self._energies.clear()
        self._losses.clear()
        scores = {name: value for name, value in summarize(self.prior, energies).items() if isinstance(value, float)}
        for name, value in {**scores, **losses}.items():
            self.log(f"val/{name}", value, prog_bar=name == "loss", sync_dist=True)  # the same on every rank
        share = losses.get("broad_share")
        if share is not None and share > _COLLAPSED:
            log.warning(
                "the defensive component explains %.0f %% of the validation poses: training has collapsed, lower the learning rate",
                100 * share,
            )

    def configure_optimizers(self) -> dict[str, Any]:
        config = self.config
        optimizer = torch.optim.AdamW(self.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        if config.scheduler_type == "plateau":
            scheduler: LRScheduler = ReduceLROnPlateau(optimizer, factor=_PLATEAU_FACTOR, patience=max(1, config.patience // 3))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val/loss", "interval": "epoch"}}
        total = int(self.trainer.estimated_stepping_batches)
        if config.scheduler_type == "step":
            scheduler = StepLR(optimizer, max(1, total // _STEPS), _STEP_FACTOR)
        else:
            scheduler = CosineAnnealingLR(optimizer, max(1, total - config.warmup_steps))
        if config.warmup_steps:
            rise = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / config.warmup_steps))
            scheduler = SequentialLR(optimizer, [rise, scheduler], [config.warmup_steps])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["prior"] = describe(self.prior, self.experiment_config, self.fingerprint)
