"""Whole-body poses from a seed, for a first run without licence or download.

Every one of the 55 joints moves, none independently of the others: activities of legs and arms (`legs`, `gait`, `arms`), joined by trunk
and gaze (`body`), finger synergies (`hands`), and here the face, the heading, the ranges of motion and a little noise of every joint's
own. The sources of the numbers are named in those modules.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.limits import JOINT_LIMITS
from pose_priors.body.rotations import canonicalize
from pose_priors.body.skeleton import NUM_JOINTS, PARTS
from pose_priors.datamodules.synthetic.body import Bodies, body_poses
from pose_priors.datamodules.synthetic.hands import hand_poses

# each joint's own standard deviation in degrees, by part
_NOISE_DEG = {"root": 1.5, "body": 1.2, "jaw": 1.0, "eyes": 1.0, "left_hand": 1.2, "right_hand": 1.2}


def synthetic_poses(num_poses: int, seed: int) -> Tensor:
    """Draws poses of standing, walking, running, sitting, squatting, stepping and bending people who reach, gesture and look around.

    Left and right are equally likely to do anything, headings are uniform, and every joint is inside
    `body.limits.JOINT_LIMITS`, by a smooth map, so that no pose lies on a bound.

    Args:
        num_poses: how many; the poses are independent of each other.
        seed: the same seed and number give the same poses.
    Returns:
        (num_poses, 55, 3) float32 canonical rotation vectors in radians, joints in SMPL-X order, finger angles from the flat hand.
    Raises:
        ValueError: if `num_poses` is not positive.
    """
    if num_poses < 1:
        raise ValueError(f"num_poses must be at least 1; got {num_poses}")
    generator = torch.Generator().manual_seed(seed)
    bodies = body_poses(num_poses, generator)
    pose = torch.zeros(num_poses, NUM_JOINTS, 3, dtype=torch.float64)
    pose[:, : bodies.pose.shape[1]] = bodies.pose
    pose[:, PARTS["jaw"][0] : PARTS["eyes"][-1] + 1] = _face(bodies, generator)
    hands = hand_poses(bodies.closing, generator)
    pose[:, list(PARTS["left_hand"])] = hands[:, 0]
    pose[:, list(PARTS["right_hand"])] = hands[:, 1] * hands.new_tensor([1.0, -1.0, -1.0])

    noise = torch.randn(pose.shape, generator=generator, dtype=torch.float64)
    for part, std in _NOISE_DEG.items():
        noise[:, list(PARTS[part])] *= math.radians(std)
    pose = within_limits(pose + noise)

    heading = torch.zeros(num_poses, 3, dtype=torch.float64)
    heading[:, 1] = math.pi * (2 * torch.rand(num_poses, generator=generator, dtype=torch.float64) - 1)
    pose[:, 0] = conversions.rotvec_composition([heading, pose[:, 0]])
    return canonicalize(pose.float())


def _face(bodies: Bodies, generator: torch.Generator) -> Tensor:
    """(n, 3, 3) jaw, left eye, right eye: the mouth opens in some poses more than in others; both eyes turn to what the head has left to
    look at, and converge on what is near (Listing's law: without torsion)."""
    n = len(bodies.pose)
    latent = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    opening = 26 * torch.sigmoid(1.4 * latent[:, 0] - 2.2)
    sideways = 2.5 * latent[:, 1] * (0.4 + opening / 26)
    jaw = torch.stack([opening, sideways, 0.3 * sideways], -1)

    # where the gaze is further to the side or down, the eyes take part of it and are surer of it
    left = 30 * torch.tanh((0.8 * bodies.gaze[:, 0] + 7 * latent[:, 2]) / 30)
    down = 22 * torch.tanh((0.8 * bodies.gaze[:, 1] + 5 * latent[:, 3]) / 22)
    converge = 5 * torch.sigmoid(latent[:, 4] + 0.08 * down)
    eyes = [torch.stack([down + 0.3 * latent[:, 5] * sign, left - sign * converge, torch.zeros_like(left)], -1) for sign in (1, -1)]
    return torch.stack([jaw, *eyes], 1).deg2rad()


def within_limits(pose: Tensor) -> Tensor:
    """Draws each component smoothly and strictly into its bounds; what is well inside hardly moves. (n, J, 3), the first J joints."""
    lower, upper = JOINT_LIMITS[: pose.shape[1]].unbind(-1)
    middle, half = (upper + lower) / 2, (upper - lower) / 2
    scaled = (pose - middle) / half
    eighth = scaled.square().square().square()
    return middle + half * scaled / (1 + eighth).sqrt().sqrt().sqrt()
