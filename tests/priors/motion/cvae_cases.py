"""Small motion priors of both variants, and generated motions for them."""

from __future__ import annotations

import pytest
import torch
from motion_windows import synthetic_windows
from torch import Tensor

from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig
from pose_priors.priors.motion.negatives import num_source_frames

CONFIG = MotionCVAEConfig(kind="motion_cvae", hidden=64, latent_dim=4, num_layers=2, critic_hidden=32)


HUMOR = MotionCVAEConfig(kind="motion_cvae", variant="humor", hidden=64, latent_dim=4, num_layers=2, critic_hidden=0)


VARIANTS = pytest.mark.parametrize("config", [CONFIG, HUMOR], ids=["extrapolating", "humor"])


FRAMES = CONFIG.window + 2


WINDOWS = synthetic_windows(48, num_source_frames(FRAMES))


def started(config: MotionCVAEConfig, seed: int = 0) -> MotionCVAE:
    torch.manual_seed(seed)
    prior = config.build()
    prior.fit_statistics(WINDOWS)
    return prior.eval()


def states_of_people(num_people: int = 3) -> Tensor:
    return synthetic_windows(num_people, 12, seed=1).states()
