"""Small priors of every kind, and checkpoints of them as `train.py` leaves them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from motion_windows import synthetic_windows
from prior_cases import JOINTS, cases, make_poses, shake, trained

from pose_priors.priors.base import Prior, TrainablePrior
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.motion.cvae import MotionCVAEConfig
from pose_priors.priors.motion.flow.prior import MotionFlowConfig
from pose_priors.priors.motion.kinds import window_frames
from pose_priors.priors.registry import KINDS

OF_POSES = dict(cases())
_CVAE = {"hidden": 64, "latent_dim": 4, "num_layers": 1}
OF_MOTIONS = {
    "motion_cvae": MotionCVAEConfig(kind="motion_cvae", critic_hidden=8, **_CVAE),
    "motion_cvae-humor": MotionCVAEConfig(kind="motion_cvae", variant="humor", critic_hidden=0, **_CVAE),
    "motion_flow": MotionFlowConfig(kind="motion_flow", num_frames=24, hidden=16, num_blocks=1, num_heads=2, num_steps=2),
}
NAMES = [*OF_POSES, *OF_MOTIONS]
assert {name.split("-")[0] for name in NAMES} == set(KINDS)


@cache
def prior_of(name: str) -> TrainablePrior:
    """One whose every parameter is off where it started, frozen; the tests leave it as it is."""
    if name in OF_POSES:
        poses = make_poses(60)
        return shake(trained(OF_POSES[name], JOINTS, 0, poses, started_on=poses), 0.01).requires_grad_(False)
    torch.manual_seed(0)
    prior = OF_MOTIONS[name].build()
    prior.fit_statistics(synthetic_windows(12, window_frames(OF_MOTIONS[name])))
    return shake(prior.eval(), 0.01).requires_grad_(False)  # type: ignore[arg-type]  # it knows tensors alone


def content_of(name: str) -> dict[str, Any]:
    """A checkpoint's."""
    prior = prior_of(name)
    model = prior.config.model_dump(mode="json")  # type: ignore[union-attr]
    experiment = {"model": model, "data": {"path": "built_in", "licence": "CC0"}, "training": {"batch_size": 8}, "seed": 0}
    return {
        "state_dict": {f"prior.{key}": value for key, value in prior.state_dict().items()},
        "prior": describe(prior, experiment, "0123456789abcdef"),
        "epoch": 3,
        "global_step": 40,
        "schedule": {"steps": 40, "steps_an_epoch": 10, "batches_an_epoch": 10, "batches_a_pass": 10},
        "history": [{"step": 12, "epoch": 1, "changed": {"training.max_epochs": [4, 3]}}],
        "best_scores": {"nll": -12.5, "loss": -12.5} if isinstance(prior, Prior) else {"loss": 0.5},
        "command": "python train.py --config NAME",
    }


def checkpoint_of(name: str, folder: Path) -> Path:
    """It as a file in a folder."""
    torch.save(content_of(name), folder / "best.ckpt")
    return folder / "best.ckpt"
