"""When a foot carries, and where the floor is, from the present estimate."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body.motion import steps
from pose_priors.body.motion_state import CONTACT_JOINTS
from pose_priors.body.skeleton import index_of
from pose_priors.refinement.given.problem import Bodies, Problem
from pose_priors.refinement.solve.motion_states import ClipMotionPrior
from pose_priors.refinement.solve.once import once
from pose_priors.refinement.solve.scene import Scene

_FEET = tuple(index_of(f"{side}_{joint}") for joint in ("ankle", "foot") for side in ("left", "right"))
# A foot carries below this speed and this height above where it stands when flat; both fade over the width beside them.
_SPEED, _SPEED_WIDTH = 0.35, 0.05
_HEIGHT, _HEIGHT_WIDTH = 0.06, 0.015
_SUREST = 1e-4  # how sure height and speed can be, against another witness


@once
def contact_joints(bodies: Bodies) -> list[int]:
    """Joints that have a height above the sole for every person."""
    return torch.isfinite(bodies.height).all(0).nonzero()[:, 0].tolist()


@torch.no_grad()
def detect_contacts(scene: Scene, problem: Problem, motion: ClipMotionPrior | None = None) -> Tensor:
    """(P, T, F) in [0, 1]: how surely each joint that can carry does, by its height and speed; or, where a motion prior sees the person
    and is surer, by what that expects; and by what a program saw in the pictures, where one has looked. Zero outside a person's life.

    The surer of the first two: errors of the pose make a foot slide that stands, and a contact that is missed costs more than one too many.
    The pictures know nothing of poses, so their log-odds add, as those of independent witnesses do.
    """
    joints = contact_joints(problem.bodies)
    feet = scene.joints[:, :, joints]
    speed = torch.zeros_like(feet[..., 0])
    speed[:, : problem.num_frames] = steps(feet[:, : problem.num_frames]) * problem.fps  # the step into the padding is none
    raised = scene.heights(joints) - problem.bodies.height[:, None, joints]
    still = torch.sigmoid((_SPEED - speed) / _SPEED_WIDTH)
    low = torch.sigmoid((_HEIGHT - raised) / _HEIGHT_WIDTH)
    found = still * low * problem.alive[..., None]
    return _by_pictures(found if motion is None else _by_motion(found, scene, problem, motion), problem)


def _by_motion(found: Tensor, scene: Scene, problem: Problem, motion: ClipMotionPrior) -> Tensor:
    if not motion.view.valid.any():
        return found
    places = [CONTACT_JOINTS.index(problem.bodies.smplx_index[joint]) for joint in contact_joints(problem.bodies)]
    expected = motion.prior.contact_probabilities(motion.view.states(scene))[..., places]
    nearest, known = motion.view.nearest(found.shape[1])
    expected = expected.gather(1, nearest[..., None].expand(-1, -1, len(places)))
    return torch.where((known & problem.alive)[..., None], torch.maximum(expected, found), found)


def _by_pictures(found: Tensor, problem: Problem) -> Tensor:
    odds = problem.observations.contact_log_odds
    if not odds.any():
        return found
    places = [_FEET.index(problem.bodies.smplx_index[joint]) for joint in contact_joints(problem.bodies)]
    added = torch.sigmoid(torch.logit(found, _SUREST) + odds[..., places])
    return torch.where(odds[..., places] != 0, added, found) * problem.alive[..., None]
