"""A checkpoint as HuMoR publishes it, and the prior in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from humor_reference import humor_checkpoint, random_weights
from torch import Tensor

from pose_priors.priors import load_prior
from pose_priors.priors.motion.cvae import MotionCVAE


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return random_weights()


@pytest.fixture(scope="module")
def published(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "humor" / "best_model.pth"
    path.parent.mkdir()
    torch.save(humor_checkpoint(weights), path)
    return path


@pytest.fixture(scope="module")
def prior(published: Path) -> MotionCVAE:
    loaded = load_prior(published)
    assert isinstance(loaded, MotionCVAE)
    return loaded


@pytest.fixture
def precise(prior: MotionCVAE) -> Iterator[MotionCVAE]:
    """The same prior in double precision, for the time of a test."""
    yield prior.double()
    prior.float()
