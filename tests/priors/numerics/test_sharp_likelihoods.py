"""A likelihood that draws cannot meet is said to be one, in place of draws that forgot it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pose_priors.priors.gaussian import Gaussian, GaussianConfig


@pytest.mark.parametrize(("covariance", "nats"), [("diagonal", 1e15), ("full", 1e30)])
def test_what_is_too_sharp_is_refused(covariance: str, nats: float) -> None:
    poses = torch.zeros(300, 55, 3)
    poses[:, 1:4] = 0.3 * torch.randn(300, 3, 3, generator=torch.Generator().manual_seed(0))
    prior = Gaussian(GaussianConfig(kind="gaussian", covariance=covariance), [1, 2, 3])  # type: ignore[arg-type]
    prior.fit_statistics(poses)

    def rising(pose: Tensor) -> Tensor:
        return nats * pose[..., 1, 0]

    def square(pose: Tensor) -> Tensor:
        return -1e8 * nats * pose[..., 1, 0].square()

    with pytest.raises(ValueError, match="the log-likelihood of observation 0 is so sharp"):
        prior.posterior(rising, 1, 8, generator=torch.Generator().manual_seed(0))
    if nats == 1e30:
        with pytest.raises(ValueError, match="the log-likelihood of observation 0 is so sharp"):
            prior.posterior(square, 1, 8, generator=torch.Generator().manual_seed(0))
