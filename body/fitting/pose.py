"""Poses from places: the rotations that bring points of a body to where they were seen, as plausible as a Gaussian of poses has them.

Every frame is solved for itself by Levenberg-Marquardt steps (Marquardt, J. SIAM 11, 1963) on the rotations, all frames at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.fitting.points import BodyPoints, Fit, PoseGaussian, carriers_of, placed
from pose_priors.body.limits import JOINT_LIMITS

_LIMIT_RAD = 0.05  # by how much joints exceed their limits at the price of one standard deviation
_CHUNK = 256  # frames at once: some 100 MB
_STEPS = 25
_DAMPING, _LESS, _MORE = 1e-2, 0.3, 5.0
_ENOUGH = 1e-4  # share of the cost by which a step that is the last makes it smaller
_SMALL = 1e-4  # radians from which on the series is not needed


def fit_pose(
    seen: Tensor, points: BodyPoints, rest: Tensor, parents: Sequence[int], prior: PoseGaussian, start: Tensor | None = None
) -> Fit:
    """The most probable pose of each frame given where points were seen.

    Args:
        seen: (T, K, 3) metres, nan where a point was not seen; at least three points not in line on each frame.
        rest: (N, 3) metres from the root.
        prior: its mean may be another on each frame, (T, N, 3).
        start: (T, N, 3) rotation vectors to begin with; by default the prior's mean, turned as the points near the root are.
    """
    known = seen.isfinite().all(-1)
    seen = seen.nan_to_num()
    begin = _begin(seen, known, points, rest, parents, prior) if start is None else conversions.rotvec_to_rotmat(start)
    means = prior.mean.expand(len(seen), -1, -1)
    found = [
        _solved(part, shown, first, points, rest, parents, PoseGaussian(mean, prior.whiten))
        for part, shown, first, mean in zip(*(value.split(_CHUNK) for value in (seen, known, begin, means)), strict=True)
    ]
    rotmat, root = (torch.cat(parts) for parts in zip(*found, strict=True))
    places, _, _ = placed(rotmat, root, points, rest, parents)
    return Fit(conversions.rotmat_to_rotvec(rotmat), root, rest, points, places)


def _begin(seen: Tensor, known: Tensor, points: BodyPoints, rest: Tensor, parents: Sequence[int], prior: PoseGaussian) -> Tensor:
    """(T, N, 3, 3): the prior's mean, turned so that its points lie nearest to those that were seen, those of the limbs' ends left out."""
    rotmat = conversions.rotvec_to_rotmat(prior.mean.to(rest)).expand(len(seen), -1, 3, 3).clone()
    rotmat[:, 0] = torch.eye(3, dtype=rest.dtype)
    places, _, _ = placed(rotmat, rest.new_zeros(len(seen), 3), points, rest, parents)
    near = _trunk(points, parents)
    weight = (known & near)[..., None].to(rest)
    weight = torch.where(weight.sum(1, keepdim=True) >= 3, weight, known[..., None].to(rest))
    total = weight.sum(1, keepdim=True).clamp_min(1)
    a, b = (value - (weight * value).sum(1, keepdim=True) / total for value in (places, seen))
    rotmat[:, 0] = conversions.special_procrustes((weight * b).transpose(1, 2) @ a)
    begin: Tensor = rotmat
    return begin


def _trunk(points: BodyPoints, parents: Sequence[int]) -> Tensor:
    """(K,) whether a point's joint is one of the trunk: at most the first of its limb."""
    limbs = [parent in (0, 9, 13, 14) or joint in (0, 3, 6, 9, 12) for joint, parent in enumerate(parents)]
    return torch.tensor(limbs)[points.joint]


def _solved(
    seen: Tensor, known: Tensor, rotmat: Tensor, points: BodyPoints, rest: Tensor, parents: Sequence[int], prior: PoseGaussian
) -> tuple[Tensor, Tensor]:
    """Rotations (T, N, 3, 3) and root (T, 3)."""
    weight = known.to(rest) / points.sigma
    carriers = carriers_of(parents).to(rest)[points.joint]
    mean, whiten = prior.mean.to(rest), prior.whiten.to(rest)
    places, _, _ = placed(rotmat, rest.new_zeros(len(seen), 3), points, rest, parents)
    root = (weight[..., None] * (seen - places)).sum(1) / weight.sum(1, keepdim=True)
    damping = rest.new_full((len(seen),), _DAMPING)
    cost = _cost(rotmat, root, seen, weight, points, rest, parents, mean, whiten)
    for _ in range(_STEPS):
        jacobian, residual = _moved(rotmat, root, seen, weight, carriers, points, rest, parents)
        gradient, curvature = _normal(jacobian, residual, rotmat, mean, whiten)
        scaled = curvature + torch.diag_embed(damping[:, None] * (curvature.diagonal(dim1=1, dim2=2) + 1.0))
        step = torch.cholesky_solve(gradient[..., None], torch.linalg.cholesky(scaled))[..., 0]
        turn = conversions.rotvec_to_rotmat(step[:, 3:].view(len(seen), -1, 3))
        tried, moved = turn @ rotmat, root + step[:, :3]
        after = _cost(tried, moved, seen, weight, points, rest, parents, mean, whiten)
        better = after < cost
        rotmat, root = torch.where(better[:, None, None, None], tried, rotmat), torch.where(better[:, None], moved, root)
        done = bool((cost - after)[better].lt(_ENOUGH * cost[better]).all()) if better.any() else bool((damping > 1e4).all())
        cost = torch.where(better, after, cost)
        damping = torch.where(better, damping * _LESS, damping * _MORE).clamp(1e-6, 1e6)
        if done:
            break
    return rotmat, root


def _cost(
    rotmat: Tensor,
    root: Tensor,
    seen: Tensor,
    weight: Tensor,
    points: BodyPoints,
    rest: Tensor,
    parents: Sequence[int],
    mean: Tensor,
    whiten: Tensor,
) -> Tensor:
    """(T,) nats, less a constant."""
    places, _, _ = placed(rotmat, root, points, rest, parents)
    off = (weight[..., None] * (places - seen)).square().sum((1, 2))
    rotvec = conversions.rotmat_to_rotvec(rotmat[:, 1:])
    astray = (rotvec - mean[..., 1:, :]).flatten(1) @ whiten.T
    nats: Tensor = (off + astray.square().sum(1) + _beyond(rotvec).square().sum((1, 2))) / 2
    return nats


def _beyond(rotvec: Tensor) -> Tensor:
    """How far joints (T, N - 1, 3) are outside of what they can, of their limits' own price; negative below."""
    lower, upper = JOINT_LIMITS[1 : 1 + rotvec.shape[1]].to(rotvec).unbind(-1)
    return ((rotvec - upper).clamp_min(0) - (lower - rotvec).clamp_min(0)) / _LIMIT_RAD


def _normal(jacobian: Tensor, residual: Tensor, rotmat: Tensor, mean: Tensor, whiten: Tensor) -> tuple[Tensor, Tensor]:
    """Downhill (T, 3 + 3N) and approximate curvature (T, 3 + 3N, 3 + 3N), of the root's place and of small turns of each joint in its
    parent's axes, given what `_moved` says of the points."""
    gradient = (jacobian.transpose(1, 2) @ residual[..., None])[..., 0]
    curvature = jacobian.transpose(1, 2) @ jacobian
    rotvec = conversions.rotmat_to_rotvec(rotmat[:, 1:])
    to_rotvec = left_jacobian_inverse(rotvec)
    size = whiten.shape[1]
    straight = torch.einsum("ejc,tjcd->tejd", whiten.view(size, size // 3, 3), to_rotvec).flatten(2)
    astray = (mean[..., 1:, :] - rotvec).flatten(1) @ whiten.T
    gradient[:, 6:] += (straight.transpose(1, 2) @ astray[..., None])[..., 0]
    curvature[:, 6:, 6:] += straight.transpose(1, 2) @ straight
    beyond = _beyond(rotvec)
    bent = to_rotvec * (beyond != 0)[..., None] / _LIMIT_RAD
    gradient[:, 6:] -= (bent.transpose(2, 3) @ beyond[..., None]).flatten(1)
    at = 6 + torch.arange(bent.shape[1] * 3).view(-1, 3)
    curvature[:, at[:, :, None].expand(-1, 3, 3), at[:, None].expand(-1, 3, 3)] += bent.transpose(2, 3) @ bent
    return gradient, curvature


def _moved(
    rotmat: Tensor,
    root: Tensor,
    seen: Tensor,
    weight: Tensor,
    carriers: Tensor,
    points: BodyPoints,
    rest: Tensor,
    parents: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """How the points move with the root's place and small turns, (T, 3K, 3 + 3N), and by how much they are to, (T, 3K), in their errors."""
    places, joints, turned = placed(rotmat, root, points, rest, parents)
    num = len(seen)
    above = torch.cat([torch.eye(3, dtype=rest.dtype).expand(num, 1, 3, 3), turned[:, list(parents[1:])]], 1)
    arm = (places[:, :, None] - joints[:, None]) * carriers[None, :, :, None]
    # a small turn d moves the point by (above d) x arm; components of places come first, then joints, then components of turns
    axis, lever = above.permute(2, 0, 1, 3)[:, :, None], arm.permute(3, 0, 1, 2)[..., None]
    moved = torch.stack([axis[i - 2] * lever[i - 1] - axis[i - 1] * lever[i - 2] for i in range(3)], 2).flatten(3)
    still = torch.eye(3, dtype=rest.dtype).expand(num, places.shape[1], 3, 3)
    jacobian: Tensor = (torch.cat([still, moved], -1) * weight[..., None, None]).flatten(1, 2)
    residual = (weight[..., None] * (seen - places)).flatten(1)
    return jacobian, residual


def compliance(seen: Tensor, fit: Fit, parents: Sequence[int], prior: PoseGaussian) -> tuple[Tensor, Tensor]:
    """How poses that were found give way: (T, 3K, 3 + 3N) how the points move with root and turns, in their errors, and the curvature
    (T, 3 + 3N, 3 + 3N) of root and turns there, which is the precision of Laplace's approximation. Arguments as of `fit_pose`."""
    known, rotmat = seen.isfinite().all(-1), conversions.rotvec_to_rotmat(fit.pose)
    weight, carriers = known.to(fit.rest) / fit.points.sigma, carriers_of(parents).to(fit.rest)[fit.points.joint]
    jacobian, residual = _moved(rotmat, fit.root, seen.nan_to_num(), weight, carriers, fit.points, fit.rest, parents)
    _, curvature = _normal(jacobian, residual, rotmat, prior.mean.to(fit.rest), prior.whiten.to(fit.rest))
    return jacobian, curvature


def skew(vector: Tensor) -> Tensor:
    """(..., 3, 3) the matrix of the cross product with a vector (..., 3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    matrix: Tensor = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return matrix


def left_jacobian_inverse(rotvec: Tensor) -> Tensor:
    """(..., 3, 3) how the rotation vector (..., 3) of a rotation changes with a small turn that is applied after it."""
    angle = rotvec.norm(dim=-1).clamp(_SMALL, torch.pi - _SMALL)[..., None, None]
    cross = skew(rotvec)
    factor = 1 / angle.square() - (1 + angle.cos()) / (2 * angle * angle.sin())
    matrix: Tensor = torch.eye(3, dtype=rotvec.dtype) - cross / 2 + factor * cross @ cross
    return matrix
