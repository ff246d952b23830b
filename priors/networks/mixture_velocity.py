"""The exact velocity of a mixture of training poses, beside those that networks have learnt of the same paths."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pose_priors.priors.gaussians.paths import KernelPaths
from pose_priors.priors.gaussians.patterns import by_pattern
from pose_priors.priors.gaussians.selection import KernelsConfig
from pose_priors.priors.networks.derived import at_once, lasts
from pose_priors.priors.networks.precision import without_autocast

_FEW, _MANY = 1e4, 3e5
_SHARE_OF_FEW = 0.5


class MixtureVelocityConfig(KernelsConfig):
    """How a mixture beside velocity networks is built, in features whose spread is one."""

    num_components: list[int] = Field(default_factory=lambda: [8], min_length=1)
    """Gaussians of each clustering of the poses."""
    covariance_floors: list[float] = Field(default_factory=lambda: [1e-3, 1e-4], min_length=1)
    """Added to variances; held-out poses choose one."""
    share: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = "auto"
    """Of the mixture in the average; auto: a half of up to 10,000 training poses, none from 300,000 on."""


class MixtureVelocity(nn.Module):
    """E[pose - noise | x_t] of paths to a mixture of kernels around training poses, in closed form, and its average with that of networks.

    Networks learn too little of few poses and a mixture too much of each; they err in other ways, so that their mean errs less than either,
    as that of regressions does (Breiman, "Stacked regressions", Machine Learning 24, 1996). It is one velocity field with one density. The
    more poses there are, the less a mixture of ten thousand of them has to say.

    Args:
        num_features: D, three for each joint.
    """

    share: Tensor

    def __init__(self, config: MixtureVelocityConfig, num_features: int) -> None:
        super().__init__()
        self.config = config
        self.kernels = config.kernels(num_features).requires_grad_(False)  # fitted, not trained
        self.register_buffer("share", torch.zeros(()))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Fits the mixture to features (N, D), if it has a share."""
        self.share.fill_(share_of(len(x)) if self.config.share == "auto" else self.config.share)
        if self.counts:
            self.config.fit(self.kernels, x)

    @property
    def counts(self) -> bool:
        """Whether it has a share in the average."""
        with at_once():
            return bool(self.share > 0)

    def beside(self, velocity: Tensor, x: Tensor, time: Tensor, visible: Tensor | None) -> Tensor:
        """The average with velocities of networks: (*batch, D), at x (*batch, D) and times (*batch,), where of each joint x holds the end
        already if it is `visible`, (*batch, D / 3) -> (*batch, D), zero there."""
        return velocity.lerp(self._asked(KernelPaths.velocity, x, time, visible).to(velocity), self.share.to(velocity))

    def beside_divergence(self, divergence: Tensor, x: Tensor, time: Tensor, visible: Tensor | None) -> Tensor:
        """The same of divergences: (*batch,) -> (*batch,)."""
        return divergence.lerp(self._asked(KernelPaths.divergence, x, time, visible).to(divergence), self.share.to(divergence))

    def _asked(self, question: Callable[[KernelPaths, Tensor, Tensor], Tensor], x: Tensor, time: Tensor, visible: Tensor | None) -> Tensor:
        with without_autocast(x):
            rows, times = x.reshape(-1, x.shape[-1]), time.flatten()
            is_one = times.shape[0] and times.stride(0) == 0 and lasts(times) and not times.requires_grad
            times = times[:1] if is_one else times  # for all rows, but for gradients, which each has its own
            patterns = [] if visible is None else by_pattern(visible.reshape(-1, visible.shape[-1]))
            if patterns:
                parts = [
                    question(KernelPaths.of(self.kernels, seen.repeat_interleave(3)), rows[at], times[at] if times.shape[0] > 1 else times)
                    for seen, at in patterns
                ]
                answer = torch.cat(parts)[torch.cat([at for _, at in patterns]).argsort()]
            else:
                answer = question(KernelPaths.of(self.kernels), rows, times)
            return answer.view(*x.shape[:-1], *answer.shape[1:])


def share_of(num_poses: int) -> float:
    """How much of the average a mixture has, by how many poses there are to learn from; in between on a logarithmic scale."""
    few = math.log(_MANY / max(num_poses, _FEW)) / math.log(_MANY / _FEW)
    return _SHARE_OF_FEW * max(0.0, few)
