"""What hands are like before anything is seen."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from pose_priors.body.rotations import mirror_pose
from pose_priors.body.skeleton import PARTS
from pose_priors.priors.base import Prior
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.terms.base import Term, num_visible
from pose_priors.refinement.solve.terms.priors import smplx_pose

_SAMPLES, _SEED = 256, 0


class HandPrior(Term):
    """A trained prior's energy as far as it exceeds that of plausible hands, of both hands.

    The density of hands is so peaked (hundredths of a radian) that its modes would hold the fingers tighter than all that was seen, and
    the optimiser would spend its iterations on them. What counts for J joints is J softplus((energy - typical) / J): flat among plausible
    hands, with the slope of the energy beyond, which for heavy-tailed densities falls with the distance. All frames are scored, since a
    pull on some of them would make fingers jerk.

    A prior of one hand scores the other one in the mirror.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    name: ClassVar[str] = "hands"
    prior: Prior
    quantile: float = 0.95
    """Of the prior's own samples, those with at most the typical energy."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        pose = smplx_pose(scene, problem)[problem.alive]
        both = torch.stack([pose, mirror_pose(pose)]) if self._one_hand else pose[None]
        excess = (self.prior.energy(both) - self.typical) / self.prior.num_joints
        return nn.functional.softplus(excess).sum() * self.prior.num_joints / num_visible(problem)

    @cached_property
    def typical(self) -> float:
        """Energy in nats that few of the prior's own samples exceed."""
        device = self.prior.default_pose.device
        with torch.no_grad():
            samples = self.prior.sample(_SAMPLES, torch.Generator(device).manual_seed(_SEED))
            return float(self.prior.energy(samples).quantile(self.quantile))

    @property
    def _one_hand(self) -> bool:
        return sum(not set(PARTS[hand]).isdisjoint(self.prior.joint_indices) for hand in ("left_hand", "right_hand")) == 1
