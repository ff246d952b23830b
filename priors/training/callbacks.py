"""What is watched beside the loss: samples against data, round trips, pictures; and the averaging of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, WeightAveraging
from torch import Tensor

from pose_priors.body.limits import limit_violations
from pose_priors.body.motion import MotionWindows
from pose_priors.body.skeleton import PARTS
from pose_priors.configs.base import UserError
from pose_priors.figures import Figure
from pose_priors.figures.drawing import draw_bars, draw_poses
from pose_priors.priors.base import Prior, TrainablePrior
from pose_priors.priors.evaluation.scores import round_trip_deg
from pose_priors.priors.hand_vae import HandVAE
from pose_priors.priors.joint_flow import JointFlow
from pose_priors.priors.module import PriorModule
from pose_priors.priors.motion.cvae import MotionCVAE
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.scores import restoration_scores
from pose_priors.priors.motion.report import draw_samples
from pose_priors.priors.motion.scores import contact_f1, one_step_errors
from pose_priors.priors.training.logging import log_figure

_NUM_DRAWN = 12
_NUM_WATCHED = 32  # clips
_WATCHED_TASKS = ("denoise_40mm", "gap_20", "legs_hidden")
_TRAVERSED, _STEPS = 4, 7


class AveragedWeights(WeightAveraging):
    """An exponential moving average of the weights, which validation, checkpoints and the finished model use.

    The decay rises to its value over the first steps, (1 + n) / (10 + n), so that short runs do not keep their start.
    """

    def __init__(self, decay: float) -> None:
        def update(averaged: list[Tensor], current: list[Tensor], _: Tensor | int) -> None:
            assert self._average_model is not None
            n = int(self._average_model.n_averaged)  # on the processor, where asking for it waits for nothing
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))

        # buffers hold indices and counts: they are copied, never averaged
        super().__init__(device="cpu", use_buffers=False, multi_avg_fn=update)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning makes the averages before it moves the module, and would fetch all weights from a GPU in every step
        assert self._average_model is not None
        self._average_model.module.to(pl_module.device)


class LearningRate(Callback):
    """Logs the learning rate, which is the same in all groups of parameters."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step % cast(Any, trainer).log_every_n_steps == 0:  # set by a part of it, which mypy does not see
            for logger in trainer.loggers:
                logger.log_metrics({"lr-AdamW": trainer.optimizers[0].param_groups[0]["lr"]}, trainer.global_step)


class RunName(Callback):
    """Names in each checkpoint the run that it is of, None for one that nobody will start again, and the command that was called."""

    def __init__(self, name: str | None, command: str) -> None:
        self.name, self.command = name, command

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["run"], checkpoint["command"] = self.name, self.command


class SampleReport(Callback):
    """Logs how far samples are from data, by part of the body, and draws them.

    Args:
        poses: (N, 55, 3) held-out poses to compare with.
        every_n_epochs: how often to draw.
    """

    def __init__(self, poses: Tensor, every_n_epochs: int) -> None:
        self.poses = poses
        self.every_n_epochs = every_n_epochs

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        prior = _prior(pl_module)
        assert isinstance(prior, Prior)
        poses = self.poses.to(pl_module.device)
        generator = torch.Generator(pl_module.device).manual_seed(0)
        try:
            samples = prior.sample(len(poses), generator)
        except AssertionError as error:  # nflows' splines assert that they can be inverted
            raise UserError("the flow can no longer be inverted: lower training.learning_rate or training.grad_clip_val") from error
        values = sample_statistics(prior, samples, poses) | {"round_trip_deg": round_trip_deg(prior, poses)}
        pl_module.log_dict({f"val/{name}": value for name, value in values.items()}, rank_zero_only=True)
        if trainer.logger is not None and _draws_now(trainer, self.every_n_epochs):
            for name, figure in _figures(prior, samples, poses).items():
                log_figure(trainer.logger, name, figure, trainer.global_step)


class MotionReport(Callback):
    """Logs how well a motion prior predicts held-out clips one frame ahead and which joints touch, or what a prior of clips leaves of
    noise, gaps and hidden legs; and draws sampled motions.

    Args:
        clips: held-out motions, one window each; at most some from all over them are used.
        every_n_epochs: how often to draw.
    """

    def __init__(self, clips: Sequence[MotionWindows], every_n_epochs: int) -> None:
        at = torch.linspace(0, len(clips) - 1, min(len(clips), _NUM_WATCHED)).round().long().tolist()
        self.clips = [clips[i] for i in at]
        self.every_n_epochs = every_n_epochs

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        prior = _prior(pl_module)
        assert isinstance(prior, MotionCVAE | MotionFlow)
        if isinstance(prior, MotionFlow):
            values = restoration_scores(prior, [clip.to(pl_module.device) for clip in self.clips], _WATCHED_TASKS)
        else:
            values = one_step_errors(prior, self.clips) | contact_f1(prior, self.clips)
        pl_module.log_dict({f"val/{name}": value for name, value in values.items()}, rank_zero_only=True)
        if trainer.logger is not None and _draws_now(trainer, self.every_n_epochs) and (figure := draw_samples(prior)) is not None:
            log_figure(trainer.logger, "samples", figure, trainer.global_step)


def _prior(module: pl.LightningModule) -> TrainablePrior:
    assert isinstance(module, PriorModule)
    return module.prior


def _draws_now(trainer: pl.Trainer, every_n_epochs: int) -> bool:
    epoch = trainer.current_epoch + 1
    return epoch == trainer.max_epochs or epoch % every_n_epochs == 0


def sample_statistics(prior: Prior, samples: Tensor, poses: Tensor) -> dict[str, float]:
    """Samples against data, (N, 55, 3) each: for each part the difference of means and the ratio of standard deviations of its rotation
    vectors, and the mean angle in degrees by which samples exceed joint limits."""
    values = {}
    for part, joints in PARTS.items():
        learnt = [j for j in joints if j in prior.joint_indices]
        if learnt:
            ours, theirs = samples[:, learnt], poses[:, learnt]
            values[f"sample_mean_error_deg/{part}"] = float((ours.mean(0) - theirs.mean(0)).norm(dim=-1).mean().rad2deg())
            values[f"sample_std_ratio/{part}"] = float(ours.std(0).mean() / theirs.std(0).mean())
    values["sample_limit_violation_deg"] = float(limit_violations(samples)[:, prior.joint_index].mean().rad2deg())
    values["data_limit_violation_deg"] = float(limit_violations(poses)[:, prior.joint_index].mean().rad2deg())
    return values


def _figures(prior: Prior, samples: Tensor, poses: Tensor) -> dict[str, Figure]:
    figures: dict[str, Figure] = {"samples": draw_poses(samples[:_NUM_DRAWN], part=prior.drawn_part)}
    if isinstance(prior, JointFlow):
        figures["joint_nll"] = draw_bars({"nll": -prior.joint_log_prob(poses).mean(0)}, prior.joints, "NLL [nats]")
    if isinstance(prior, HandVAE):
        figures["traversals"] = draw_poses(traverse(prior), columns=_STEPS, part=prior.drawn_part)
    return figures


def traverse(prior: HandVAE) -> Tensor:
    """Decoded poses along the first latent dimensions, from -3 to 3 with the rest at zero: (dimensions * steps, 55, 3)."""
    z = torch.zeros(
        min(_TRAVERSED, prior.latent_dim), _STEPS, prior.latent_dim, dtype=prior.default_pose.dtype, device=prior.default_pose.device
    )
    for row in range(len(z)):
        z[row, :, row] = torch.linspace(-3, 3, _STEPS)
    return prior.decode(z.flatten(0, 1))
