"""The one LightningModule: it trains any prior."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from math import ceil, isfinite
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics.utilities.distributed import gather_all_tensors

from pose_priors.configs.base import UserError
from pose_priors.priors.base import TrainablePrior
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.evaluation.scores import summarize
from pose_priors.priors.networks.compiled import compiled
from pose_priors.priors.training import schedule
from pose_priors.priors.training.config import TrainingConfig
from pose_priors.priors.training.logging import BEST_SCORES
from pose_priors.priors.training.parameters import in_groups, regrouped
from pose_priors.priors.training.resuming import changes, random_state, set_random_state
from pose_priors.priors.training.smoothing import SmoothedBootstrap

# Share of the defensive component on validation poses beyond which a flow has not learnt, or has lost, what the data look like.
_COLLAPSED = 0.5
# Steps on a GPU after which the loss is looked at.
_STEPS_A_CHECK = 16

log = logging.getLogger(__name__)


class PriorModule(pl.LightningModule):
    """Trains a prior by its own loss, validates it by its energy. Batches are what the prior takes: poses, or windows of motions.

    Args:
        prior: started on the training data.
        config: how to train, with numbers in the place of `auto`.
        experiment: the whole configuration as a plain dict, for the checkpoint.
        fingerprint: names the content of the training data, for the checkpoint.
        seed: of the randomness in training.
        smoothing: puts draws in the place of some rows of each batch, where there is one.

    Attributes:
        compiles: whether steps on whole batches run compiled layers, where a prior has such.
        best_scores: of the validation scores in `BEST_SCORES`, the least so far.
    """

    def __init__(
        self,
        prior: TrainablePrior,
        config: TrainingConfig,
        experiment: dict[str, Any],
        fingerprint: str,
        seed: int,
        smoothing: SmoothedBootstrap | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.config = config
        self.experiment_config = experiment
        self.fingerprint = fingerprint
        self.seed = seed
        self.smoothing = smoothing
        self.begun = False
        self.compiles = False
        self._loaded: dict[str, Any] | None = None
        self._history: list[dict[str, Any]] = []
        self.best_scores: dict[str, float] = {}
        self._energies: list[Tensor] = []
        self._losses: list[dict[str, Tensor]] = []

    def on_fit_start(self) -> None:
        self.prior.set_total_steps(int(self.trainer.estimated_stepping_batches))

    def on_train_epoch_start(self) -> None:
        # Dropout, posterior samples and masks depend on (seed, epoch, rank) alone, so that a resumed run repeats them bit for bit.
        torch.manual_seed(hash((self.seed, self.current_epoch, self.global_rank)) % 2**63)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if self.smoothing is not None:
            batch = self.smoothing(batch, self.current_epoch, self.global_rank, batch_idx)
        # a shorter batch, the last of a pass, is not worth programs of its own
        with compiled() if self.compiles and len(batch) == self.config.batch_size else nullcontext():
            values = self.prior.loss(batch)
        # what is not finite stays so: on a GPU, which would have to wait for the answer, it is enough to ask now and then
        if (values["loss"].device.type == "cpu" or batch_idx % _STEPS_A_CHECK == 0) and not torch.isfinite(values["loss"]):
            raise UserError(
                f"the loss is {values['loss'].item()} at step {self.global_step}: lower training.learning_rate or training.grad_clip_val"
            )
        self.log_dict({f"train/{name}": value.detach() for name, value in values.items()}, prog_bar=False, batch_size=len(batch))
        return values["loss"]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        values, energies = self.prior.held_out(batch)
        self._losses.append({name: value.float() * len(batch) for name, value in values.items()})
        self._energies.append(energies.float())

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
        if not self.trainer.sanity_checking:
            now = {name: value for name, value in {**scores, **losses}.items() if name in BEST_SCORES and isfinite(value)}
            self.best_scores |= {name: min(value, self.best_scores.get(name, value)) for name, value in now.items()}
            self.log_dict({f"best/{name}": value for name, value in self.best_scores.items()}, sync_dist=True)
        share = losses.get("broad_share")
        if share is not None and share > _COLLAPSED:
            log.warning(
                "the defensive component explains %.0f %% of the validation poses: training has collapsed, lower the learning rate",
                100 * share,
            )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        config = self.config
        # one kernel for all weights; under autocast Lightning would not clip gradients before it
        fused = str(self.trainer.precision) in ("32-true", "64-true")
        rate = config.learning_rate
        assert rate != "auto"
        optimizer = torch.optim.AdamW(in_groups(self.prior, config.weight_decay), lr=rate, fused=fused)
        if config.scheduler_type == "plateau":
            return {
                "optimizer": optimizer,
                "lr_scheduler": {
                    "scheduler": schedule.plateau(optimizer, config.patience),
                    "monitor": "val/loss",
                    "interval": "epoch",
                    "frequency": self.trainer.check_val_every_n_epoch or 1,
                },
            }
        scheduler = schedule.of_steps(optimizer, config.scheduler_type, int(self.trainer.estimated_stepping_batches), config.warmup_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_train_epoch_end(self) -> None:
        # Lightning would do it after the epoch's checkpoint, which would then lack it
        (configured,) = self.trainer.lr_scheduler_configs
        loss = self.trainer.callback_metrics.get("val/loss")
        is_due = (self.current_epoch + 1) % configured.frequency == 0
        if is_due and loss is not None and isinstance(configured.scheduler, ReduceLROnPlateau):
            configured.scheduler.step(loss)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["prior"] = describe(self.prior, self.experiment_config, self.fingerprint)
        checkpoint["schedule"] = self._span()
        checkpoint["history"] = self._history
        checkpoint["best_scores"] = dict(self.best_scores)
        states: list[Any] = [random_state(self.device)]
        if self.trainer.world_size > 1:
            (mine,), states = states, [None] * self.trainer.world_size
            torch.distributed.all_gather_object(states, mine)
        checkpoint["random_states"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if not self.config.ema_decay and "current_model_state" in checkpoint:
            checkpoint["state_dict"] = checkpoint["current_model_state"]  # what was trained, not its average
        self._loaded = {key: checkpoint.get(key) for key in ("prior", "schedule", "random_states", "lr_schedulers", "loops")}
        self._history = list(checkpoint.get("history", []))
        self.best_scores = dict(checkpoint.get("best_scores", {}))
        checkpoint["lr_schedulers"] = []  # when the length of this run is known, see `on_train_start`
        checkpoint["optimizer_states"] = [regrouped(state, self.prior) for state in checkpoint["optimizer_states"]]

    def on_train_start(self) -> None:
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            self._go_on(loaded)
        self.begun = True

    def _span(self) -> dict[str, int]:
        """Numbers of steps and batches in the run and in an epoch."""
        batches = int(self.trainer.num_training_batches)
        steps = ceil(batches / self.trainer.accumulate_grad_batches)
        of_pass = getattr(self.trainer.train_dataloader, "batches_a_pass", batches)
        # a limited epoch is what is left of a pass
        of_pass = batches if batches < len(self.trainer.train_dataloader or []) else of_pass
        span = {"steps": int(self.trainer.estimated_stepping_batches), "steps_an_epoch": steps, "batches_an_epoch": batches}
        return span | {"batches_a_pass": of_pass}

    def _go_on(self, loaded: dict[str, Any]) -> None:
        """Lets the settings of this run count from here on, whatever those of the checkpoint were."""
        then = loaded["prior"]["experiment"]
        changed = changes(then, self.experiment_config)
        now, before = self._span(), loaded["schedule"] or {}
        if self.trainer.fit_loop.restarted_mid_epoch:
            if before.get("batches_an_epoch") != now["batches_an_epoch"]:
                a, b = before.get("batches_an_epoch"), now["batches_an_epoch"]
                where = "training.batch_size" if "training.batch_size" in changed else "trainer"
                raise UserError(
                    f"{where}: the checkpoint is in the middle of an epoch of {a} batches, which now would have {b}: go on with as many, "
                    "or from a checkpoint after a whole epoch"
                )
            # Lightning has asked for the loader before it had the checkpoint, and does not tell it any more
            loader, (position,) = self.trainer.train_dataloader, loaded["loops"]["fit_loop"]["state_dict"]["combined_loader"]
            assert loader is not None
            loader.load_state_dict(position)
            states = loaded["random_states"] or []
            if len(states) == self.trainer.world_size:
                set_random_state(states[self.global_rank], self.device)
            else:
                torch.manual_seed(hash((self.seed, self.current_epoch, self.global_rank, self.global_step)) % 2**63)
        self._set_schedule(then["training"], loaded["lr_schedulers"], before, now)
        if changed:
            self._history = [*self._history, {"step": self.global_step, "epoch": self.current_epoch, "changed": changed}]
            if self.global_rank == 0:
                told = ", ".join(f"{key} {a} -> {b}" for key, (a, b) in changed.items())
                log.warning("goes on from step %d with %s", self.global_step, told)

    def _set_schedule(self, then: dict[str, Any], states: list[Any], before: dict[str, int], now: dict[str, int]) -> None:
        config = self.config
        (configured,), (optimizer,) = self.trainer.lr_scheduler_configs, self.trainer.optimizers
        scheduler, rate, groups = configured.scheduler, None, len(optimizer.param_groups)
        assert config.learning_rate != "auto"
        same = all(then.get(key) == getattr(config, key) for key in ("learning_rate", "scheduler_type", "warmup_steps"))
        if isinstance(scheduler, ReduceLROnPlateau):
            if then["scheduler_type"] == "plateau":
                patience = scheduler.patience
                scheduler.load_state_dict(schedule.of_groups(states[0], groups))
                scheduler.patience = patience
                rate = optimizer.param_groups[0]["lr"] * (config.learning_rate / then["learning_rate"])
            else:
                rate = config.learning_rate
        elif same and before == {key: now[key] for key in before}:  # the first versions did not tell how long a pass is
            scheduler.load_state_dict(schedule.of_groups(states[0], groups))
        elif config.scheduler_type != "plateau":
            position = self.global_step
            if before and before["steps_an_epoch"] != now["steps_an_epoch"]:
                position = self.current_epoch * now["steps_an_epoch"]
            position = min(position, now["steps"])
            rate, state = schedule.replayed(config.learning_rate, config.scheduler_type, now["steps"], config.warmup_steps, position)
            scheduler.load_state_dict(schedule.of_groups(state, groups))
        for group, anew in zip(optimizer.param_groups, in_groups(self.prior, config.weight_decay), strict=True):
            group["weight_decay"] = anew["weight_decay"]
            if rate is not None:
                group["lr"] = rate
                group.pop("initial_lr", None)
                if config.scheduler_type != "plateau":
                    group["initial_lr"] = config.learning_rate
