"""Poses that a body may have had where points of it were seen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.body.fitting.points import Fit, PoseGaussian
from pose_priors.body.fitting.pose import fit_pose


def draw_pose(seen: Tensor, fit: Fit, parents: Sequence[int], prior: PoseGaussian, generator: torch.Generator) -> Fit:
    """A draw of each frame's pose given where points were seen, the proportions as they were found.

    What was seen is moved by its errors and the expected pose by the prior's spread; the most probable pose of these is the draw
    (randomize-then-optimize: Bardsley, Solonen, Haario & Laine, SIAM J. Sci. Comput. 36, 2014). Near the most probable pose this is
    Laplace's approximation; farther away, bones still end where joints were seen, and joints stay within their limits.

    Args:
        seen: (T, K, 3) metres, nan where a point was not seen.
        fit: the most probable poses, with the points and proportions.
        generator: on the CPU.
    """
    num = len(seen)
    errors = fit.points.sigma[:, None] * torch.randn(seen.shape, generator=generator, dtype=torch.float64).to(seen)
    spread = torch.randn(num, len(prior.whiten), generator=generator, dtype=torch.float64).to(prior.whiten)
    away = torch.linalg.solve(prior.whiten, spread.T).T.view(num, -1, 3)
    expected = prior.mean.expand(num, -1, -1) + torch.cat([torch.zeros_like(away[:, :1]), away], 1)
    return fit_pose(seen + errors, fit.points, fit.rest, parents, PoseGaussian(expected, prior.whiten), fit.pose)
