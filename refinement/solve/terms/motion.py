"""How a trained motion prior says that people move: frame by frame, and, as a function of the scale, all people together."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from pose_priors.priors import Criterion, MotionPrior
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.motion_states import MotionView
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.terms.base import Term, num_visible
from pose_priors.refinement.solve.terms.smoothness import at_scale

# Transitions that go through the networks at once: what bounds the memory of long clips.
_BATCH = 4096


class MotionTerm(Term):
    """A term that rests on a motion prior.

    Args:
        prior: frozen.
        view: how it sees the problem.
        every: one in so many transitions is scored, for all: velocities let each feel the frames on both sides of it.
        chunk: frames of a chunk; chunks of all people run side by side, each from its own first state, as many at once as memory allows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    prior: MotionPrior
    view: MotionView
    every: int = 2
    chunk: int = 10

    def mean_energy(self, scene: Scene, joints: Tensor, problem: Problem, by: Criterion) -> Tensor:
        """Minus the plausibility of a scene whose joints are (P, T, J, 3): each person's mean over its transitions, for as many frames as
        it lives, over the people and frames that were seen; 0 for too short clips.

        The critic of the prior is left out: it tells right motions from wrong ones, and was never taught to lead from one to the other.
        """
        valid = self.view.valid & (torch.arange(self.view.valid.shape[1], device=self.view.valid.device) % self.every == 0)
        # a life too short for one of these is scored on all its transitions
        valid = torch.where(valid.any(1, keepdim=True), valid, self.view.valid)
        if not valid.any():
            return joints.sum() * 0
        states = self.view.states(scene, joints)
        before, after = states[:, :-1][valid], states[:, 1:][valid]
        step = max(self.chunk, _BATCH // self.chunk * self.chunk)
        energies = [-self.prior.pair_plausibility(before[i : i + step], after[i : i + step], by) for i in range(0, len(before), step)]
        share = problem.alive.sum(1, keepdim=True).to(joints.dtype) / valid.sum(1, keepdim=True).clamp_min(1)
        return (torch.cat(energies) * share.expand_as(valid)[valid]).sum() / num_visible(problem)


class MotionLikelihood(MotionTerm):
    """How plausible each step of each person is, given the one before: through the encoder, so that no latent can absorb anything."""

    name: ClassVar[str] = "cvae"

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        return self.mean_energy(scene, scene.joints, problem, "surrogate")


class MotionScale(MotionTerm):
    """How plausible the motions of all people are at a scale, bodies held still in the images of their cameras (`MultiPersonScale`).

    Feet that carry do not slide at the right scale; the rest of the surrogate would rather have everything a little slower.
    """

    name: ClassVar[str] = "multi_scale"

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        return self.mean_energy(scene.with_rotations_held(), at_scale(scene, problem), problem, "stance")
