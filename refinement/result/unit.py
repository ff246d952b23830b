"""Stage 1's unit by how people walk, where nothing else tells it: the unit in which feet stand, and the problem as it starts in another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pose_priors.body.interpolation import lerp_missing
from pose_priors.refinement.given.floor import skin_depths, soles
from pose_priors.refinement.given.planes import level_plane
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.scene import Scene, camera_centres

# How much larger or smaller a unit may be than that of the start, for paths in millimetres too, and how many are tried: 1.5 % apart.
_TIMES, _STEPS = 3000.0, 1083
_STANDS = 0.12  # m/s of a foot that stands, at least; more where the motion itself is that noisy
_CLEARLY = 0.9  # of what feet say against the unit of the start, what they may say at most against another


@torch.no_grad()
def unit_by_feet(scene: Scene, problem: Problem) -> float | None:
    """The scale at which most people stand on a foot on most frames, people held still in the images of their cameras; None where no
    scale does clearly better than that of the start.

    On a frame the slowest foot counts: whoever walks stands on it. Its speed is that in the camera's turned axes and the camera's own,
    which grows with the scale, so that all scales can be tried, however far off the start is.
    """
    feet, both = contact_joints(problem.bodies), problem.visible[:, 1:] & problem.visible[:, :-1]
    if not feet or not both.any():
        return None
    w2c = problem.cameras.w2c.double()
    turned = torch.einsum("tji,ptfj->ptfi", w2c[:, :3, :3], scene.camera_joints[:, :, feet].double())
    own = torch.diff(turned, dim=1)[both] * problem.fps
    carried = (torch.diff(camera_centres(problem.cameras).double(), dim=0) * problem.fps).expand(len(both), -1, -1)[both][:, None]
    still, mixed, moved = own.square().sum(-1), 2 * (own * carried).sum(-1), carried.square().sum(-1)

    def speeds(scale: float) -> torch.Tensor:
        """(N,) squares, of the slowest foot."""
        return (still + scale * mixed + scale**2 * moved).clamp_min(0).amin(-1)

    scales = problem.start.alpha0 * np.geomspace(1 / _TIMES, _TIMES, _STEPS)
    noise = max(_STANDS**2, min(float(speeds(scale).median()) for scale in scales))
    against = [float((found / (found + noise)).mean()) for found in map(speeds, scales)]
    best = int(np.argmin(against))
    clear = 0 < best < _STEPS - 1 and against[best] < _CLEARLY * against[_STEPS // 2]
    return float(scales[best]) if clear else None


def in_unit(problem: Problem, alpha: float) -> Problem:
    """The problem as it starts where stage 1's unit is so many metres: people stay where the cameras see them, on straight lines between,
    and the floor goes to their feet. Of a problem that no depth ties to the unit."""
    start, bodies = problem.start, problem.bodies
    visible = problem.visible.cpu().numpy()
    pelvis = (start.pelvis + (alpha - start.alpha0) * camera_centres(problem.cameras)).cpu().numpy()
    pelvis = np.stack([lerp_missing(row, seen) if seen.any() else row for row, seen in zip(pelvis, visible, strict=True)])
    moved = replace(start, pelvis=torch.from_numpy(pelvis).to(start.pelvis), alpha0=alpha)
    joints, up = moved.joints(bodies).cpu().double().numpy(), start.ground_plane[:3].cpu().double().numpy()
    skin = skin_depths(bodies.height.cpu().numpy(), bodies.thickness.cpu().numpy())
    plane = level_plane(soles(joints, skin, up, visible), up)
    return replace(problem, start=replace(moved, ground_plane=torch.from_numpy(plane).to(start.ground_plane)))
