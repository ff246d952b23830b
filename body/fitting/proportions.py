"""Poses and proportions: the one body that many frames show (as markers and shape in Loper, Mahmood & Black, "MoSh", SIGGRAPH Asia 2014).

Places are linear in proportions, given the poses. Poses give way when proportions change: a neck farther to the front explains as much as a
trunk that is always bent. So proportions are found with the poses eliminated (variable projection: Golub & Pereyra, SIAM J. Numer. Anal.
10, 1973), and then poses given these; found in turn without that, they creep: after eight rounds walkers were bent by 45 degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.fitting.points import BodyPoints, Fit, PoseGaussian, bones_of, carriers_of, placed
from pose_priors.body.fitting.pose import compliance, fit_pose
from pose_priors.body.skeleton import MIRROR


def fit_body(
    seen: Tensor,
    points: BodyPoints,
    rest: Tensor,
    parents: Sequence[int],
    prior: PoseGaussian,
    *,
    bone_spread: float = 0.15,
    offset_spread: Tensor | None = None,
    shift_spread: Tensor | None = None,
    rounds: int = 4,
    frames: Tensor | None = None,
) -> Fit:
    """Pose of each frame, and the proportions of the one body that all frames show.

    Args:
        bone_spread: standard deviation of the factors by which bones are longer or shorter than those of `rest`, left and right alike.
        offset_spread: (K,) metres by which the points' offsets may differ from those given; not at all by default.
        shift_spread: (N,) metres by which joints of another skeleton stand elsewhere on the bones that carry them, left and right alike;
            not at all by default.
        rounds: how often poses and proportions are found in turn.
        frames: the frames from which proportions are found; all by default.
    """
    spread = torch.zeros_like(points.sigma) if offset_spread is None else offset_spread
    shifts = torch.zeros(len(parents), dtype=rest.dtype) if shift_spread is None else shift_spread
    chosen = torch.arange(len(seen)) if frames is None else frames
    proportions, fit, own, found = rest, None, points, None
    for _ in range(rounds):
        fit = fit_pose(seen[chosen], own, proportions, parents, prior, None if fit is None else fit.pose)
        proportions, own, found = _proportions(seen[chosen], fit, found, prior, points, rest, parents, bone_spread, spread, shifts)
    if fit is None:
        return fit_pose(seen, own, proportions, parents, prior)
    return fit_pose(seen, own, proportions, parents, prior, fit.pose[_alike(seen, chosen)])


def _alike(seen: Tensor, chosen: Tensor) -> Tensor:
    """(T,) which of the chosen frames shows each frame's points (T, K, 3) most alike: the nearest in time may be of another movement, as
    where a recording begins with a pose for calibration."""
    spread = (seen - seen.nanmean(1, keepdim=True)).nan_to_num().flatten(1)
    nearest: Tensor = torch.cdist(spread, spread[chosen]).argmin(1)
    return nearest


def _proportions(
    seen: Tensor,
    fit: Fit,
    before: Tensor | None,
    prior: PoseGaussian,
    points: BodyPoints,
    rest: Tensor,
    parents: Sequence[int],
    bone_spread: float,
    offset_spread: Tensor,
    shift_spread: Tensor,
) -> tuple[Tensor, BodyPoints, Tensor]:
    """The bones' lengths, the joints' shifts and the points' offsets that explain best what was seen, poses giving way, under the prior on
    all three: a step of Gauss and Newton from those `before`, which `fit` has. The joints at rest, the points, and the three as numbers."""
    rotmat = conversions.rotvec_to_rotmat(fit.pose)
    _, _, turned = placed(rotmat, fit.root, points, rest, parents)
    bones, carriers = bones_of(rest, parents), carriers_of(parents).to(rest)[points.joint]
    group = [min(joint, MIRROR[joint]) for joint in range(len(parents))]
    groups = sorted(set(group[1:]))
    above = turned[:, list(parents[1:])]
    spanned = (above @ bones[1:, :, None])[..., 0]  # (T, N - 1, 3)
    known = seen.isfinite().all(-1)
    by_bone = torch.zeros(*seen.shape, len(groups), dtype=rest.dtype)
    for joint in range(1, len(parents)):
        by_bone[..., groups.index(group[joint])] += carriers[None, :, joint, None] * spanned[:, None, joint - 1]
    moving = [name for name in groups if shift_spread[name] > 0]
    mirrored = rest.new_tensor([-1.0, 1.0, 1.0])
    by_shift = torch.zeros(*seen.shape, 3 * len(moving), dtype=rest.dtype)
    for joint in range(1, len(parents)):
        if group[joint] in moving:
            at = 3 * moving.index(group[joint])
            axes = above[:, joint - 1] * (mirrored if joint > group[joint] else 1.0)
            by_shift[..., at : at + 3] += carriers[None, :, joint, None, None] * axes[:, None]
    free = torch.nonzero(offset_spread > 0)[:, 0]
    by_offset = torch.zeros(*seen.shape, 3 * len(free), dtype=rest.dtype)
    for at, k in enumerate(free.tolist()):
        by_offset[:, k, :, 3 * at : 3 * at + 3] = turned[:, points.joint[k]]
    weight = known.to(rest) / points.sigma
    design = (torch.cat([by_bone, by_shift, by_offset], -1) * weight[..., None, None]).flatten(1, 2)
    left = ((seen - fit.places).nan_to_num() * weight[..., None]).flatten()
    jacobian, curvature = compliance(seen, fit, parents, prior)
    shared = jacobian.mT @ design
    stiff = design.flatten(0, 1).T @ design.flatten(0, 1) - (shared.mT @ torch.linalg.solve(curvature, shared)).sum(0)
    # seen on many frames, a proportion is as sure as on one: frames err alike
    scale = 1 / len(seen)
    spread = [rest.new_full((len(groups),), bone_spread), shift_spread[moving].repeat_interleave(3).to(rest)]
    spread.append(offset_spread[free].repeat_interleave(3).to(rest))
    pull = design.flatten(0, 1).T @ left + (0.0 if before is None else stiff @ before)
    found = torch.linalg.solve(scale * stiff + torch.diag(torch.cat(spread).pow(-2)), scale * pull)
    found[: len(groups)].clamp_(-0.6, 1.5)
    factors, moved, away = found.split([len(groups), 3 * len(moving), 3 * len(free)])
    factor = 1 + factors
    bones = torch.cat([bones[:1], bones[1:] * factor[[groups.index(name) for name in group[1:]]][:, None]])
    for joint in range(1, len(parents)):
        if group[joint] in moving:
            shift = moved.view(-1, 3)[moving.index(group[joint])]
            bones[joint] += shift * mirrored if joint > group[joint] else shift
    place = [bones[0]]
    for joint in range(1, len(parents)):
        place.append(place[parents[joint]] + bones[joint])
    offset = points.offset.clone()
    offset[free] += away.view(-1, 3)
    return torch.stack(place), replace(points, offset=offset), found
