"""Poses from places: exact places give the pose back, unseen ones the prior's, and proportions are found."""

from __future__ import annotations

from typing import Any

import pytest
import roma
import torch

from pose_priors.body.builtin import rest_joints
from pose_priors.body.fitting import proportions
from pose_priors.body.fitting.draws import draw_pose
from pose_priors.body.fitting.points import BodyPoints, Fit, PoseGaussian, placed
from pose_priors.body.fitting.pose import compliance, fit_pose, left_jacobian_inverse
from pose_priors.body.fitting.proportions import fit_body
from pose_priors.body.skeleton import PARENTS, index_of

NUM = 22
PARENTS_22 = PARENTS[:NUM]


def example(num: int = 6) -> tuple[torch.Tensor, torch.Tensor, PoseGaussian]:
    """Poses (num, 22, 3), roots of any direction, places of the pelvis (num, 3), and the Gaussian that they are of."""
    generator = torch.Generator().manual_seed(3)
    mean = 0.2 * torch.randn(NUM, 3, generator=generator, dtype=torch.float64)
    mean[[4, 5]] = torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64)
    drawn = mean + 0.15 * torch.randn(500, NUM, 3, generator=generator, dtype=torch.float64)
    pose = drawn[:num].clone()
    pose[:, 0] = roma.random_rotvec(num, generator=generator).double()
    return pose, torch.randn(num, 3, generator=generator, dtype=torch.float64), PoseGaussian.of(drawn)


def points(sigma: float, tripods: bool = True) -> BodyPoints:
    """The joints, and three points around each, which tell how it is turned."""
    joint = torch.arange(NUM)
    offset = torch.zeros(NUM, 3, dtype=torch.float64)
    if tripods:
        joint = joint.repeat(4)
        offset = torch.cat([offset, *(0.1 * torch.eye(3, dtype=torch.float64)[i].expand(NUM, 3) for i in range(3))])
    return BodyPoints(joint, offset, torch.full((len(joint),), sigma, dtype=torch.float64))


def test_what_is_seen_exactly_is_found_exactly() -> None:
    pose, root, prior = example()
    rest = rest_joints()[:NUM]
    seen, _, _ = placed(roma.rotvec_to_rotmat(pose), root, points(1e-4), rest, PARENTS_22)
    fit = fit_pose(seen, points(1e-4), rest, PARENTS_22, prior)
    assert (fit.places - seen).norm(dim=-1).max() < 1e-4
    apart = roma.rotmat_geodesic_distance(roma.rotvec_to_rotmat(fit.pose), roma.rotvec_to_rotmat(pose))
    assert apart.max() < 1e-2
    torch.testing.assert_close(fit.root, root, rtol=0, atol=1e-4)


def test_what_is_not_seen_is_as_usual() -> None:
    pose, root, prior = example()
    rest, few = rest_joints()[:NUM], points(1e-3, tripods=False)
    seen, _, _ = placed(roma.rotvec_to_rotmat(pose), root, few, rest, PARENTS_22)
    hidden = [index_of(f"left_{name}") for name in ("elbow", "wrist")]
    seen[:, hidden] = torch.nan
    fit = fit_pose(seen, few, rest, PARENTS_22, prior)
    shown = [joint for joint in range(NUM) if joint not in hidden]
    assert (fit.places - seen)[:, shown].norm(dim=-1).max() < 5e-3
    # the Gaussian's mean, given what was seen
    elbow = index_of("left_elbow")
    assert (fit.pose[:, elbow] - prior.mean[elbow]).norm(dim=-1).mean() < 0.1
    assert (pose[:, elbow] - prior.mean[elbow]).norm(dim=-1).mean() > 0.15


def test_the_most_probable_pose_has_no_better_neighbours() -> None:
    pose, root, prior = example(3)
    rest, few = rest_joints()[:NUM], points(0.02, tripods=False)
    seen, _, _ = placed(roma.rotvec_to_rotmat(pose), root, few, rest, PARENTS_22)
    seen = seen + 0.02 * torch.randn(seen.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fit = fit_pose(seen, few, rest, PARENTS_22, prior)

    def nats(turned: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        places, _, _ = placed(roma.rotvec_to_rotmat(turned), at, few, rest, PARENTS_22)
        astray = (turned[:, 1:] - prior.mean[1:]).flatten(1) @ prior.whiten.T
        return ((places - seen) / 0.02).square().sum((1, 2)) + astray.square().sum(1)

    turned, at = fit.pose.clone().requires_grad_(), fit.root.clone().requires_grad_()
    slopes = torch.autograd.grad(nats(turned, at).sum(), (turned, at))
    # against slopes a tenth of a radian, or a centimetre, away
    far = torch.autograd.grad(nats(turned + 0.1, at + 0.01).sum(), (turned, at))
    for near, away in zip(slopes, far, strict=True):
        assert near.abs().max() < 0.05 * away.abs().max()


def test_proportions_are_found() -> None:
    pose, root, prior = example(40)
    rest = rest_joints()[:NUM]
    longer = rest.clone()
    for side in ("left", "right"):
        hip, knee = (index_of(f"{side}_{name}") for name in ("hip", "knee"))
        below = [index_of(f"{side}_{name}") for name in ("knee", "ankle", "foot")]
        longer[below] += 0.1 * (rest[knee] - rest[hip])
    moved = points(0.003)
    seen, _, _ = placed(roma.rotvec_to_rotmat(pose), root, moved, longer, PARENTS_22)
    seen[:, index_of("head")] += 0.0
    fit = fit_body(seen, moved, rest, PARENTS_22, prior, rounds=6)
    assert (fit.places - seen).norm(dim=-1).mean() < 0.002
    thigh = (fit.rest[index_of("left_knee")] - fit.rest[index_of("left_hip")]).norm()
    assert thigh.item() == pytest.approx(float((longer[index_of("left_knee")] - longer[index_of("left_hip")]).norm()), abs=0.004)
    torch.testing.assert_close(fit.rest[:, 0], -fit.rest[[0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20], 0])


def test_proportions_and_poses_that_explain_each_other_are_told_apart_at_once() -> None:
    """A neck 5 cm to the front looks like a trunk that is always bent: found in turn alone, the two take a hundred rounds."""
    pose, root, _ = example(12)
    generator = torch.Generator().manual_seed(4)
    prior = PoseGaussian.of(pose[:1] + 0.3 * torch.randn(400, NUM, 3, generator=generator, dtype=torch.float64))
    rest, few = rest_joints()[:NUM], points(0.008, tripods=False)
    few = BodyPoints(*(value[[0, 1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19]] for value in (few.joint, few.offset, few.sigma)))
    longer, shifts = rest.clone(), torch.zeros(NUM, dtype=torch.float64)
    longer[[12, 15], 2] += 0.05
    shifts[12] = 0.04
    seen, _, _ = placed(roma.rotvec_to_rotmat(pose), root, few, longer, PARENTS_22)
    soon, late = (fit_body(seen, few, rest, PARENTS_22, prior, shift_spread=shifts, rounds=rounds) for rounds in (4, 16))
    torch.testing.assert_close(soon.rest, late.rest, rtol=0, atol=5e-4)
    assert (late.rest[12] - late.rest[9] - rest[12] + rest[9])[2] > 0.025


def test_draws_are_spread_as_the_cost_is_curved() -> None:
    """Against Gauss and Newton's curvature by autograd, and Laplace's approximation, of a body of nine joints."""
    pose, root, _ = example(1)
    parents, rest = PARENTS[:9], rest_joints()[:9]
    generator = torch.Generator().manual_seed(8)
    mixed = 0.03 * torch.randn(24, 24, generator=generator, dtype=torch.float64)
    usual = torch.zeros(400, 9, 3, dtype=torch.float64)
    usual[:, 1:] = 0.1 * pose[:, 1:9] + (torch.randn(400, 24, generator=generator, dtype=torch.float64) @ mixed).view(400, 8, 3)
    usual[:, 4:6, 0] += 0.5  # within the knees' limits
    prior = PoseGaussian.of(usual)
    few = BodyPoints(torch.arange(9), torch.zeros(9, 3, dtype=torch.float64), torch.full((9,), 0.01, dtype=torch.float64))
    seen, _, _ = placed(roma.rotvec_to_rotmat(usual[:1]), root, few, rest, parents)
    fit = fit_pose(seen, few, rest, parents, prior)
    _, curvature = compliance(seen, fit, parents, prior)

    def residual(step: torch.Tensor) -> torch.Tensor:
        turned = roma.rotvec_to_rotmat(step[3:].view(1, 9, 3)) @ roma.rotvec_to_rotmat(fit.pose)
        places, _, _ = placed(turned, fit.root + step[:3], few, rest, parents)
        astray = (roma.rotmat_to_rotvec(turned[:, 1:]) - prior.mean[1:]).flatten() @ prior.whiten.T
        return torch.cat([(places - seen).flatten() / 0.01, astray])

    jacobian = torch.autograd.functional.jacobian(residual, torch.zeros(30, dtype=torch.float64))
    torch.testing.assert_close(curvature[0], jacobian.T @ jacobian, rtol=1e-6, atol=1e-6 * float(curvature.max()))

    num = 1500
    many = Fit(fit.pose.expand(num, -1, -1), fit.root.expand(num, -1), rest, few, fit.places.expand(num, -1, -1))
    drawn = draw_pose(seen.expand(num, -1, -1), many, parents, prior, generator)
    turn = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(drawn.pose) @ roma.rotvec_to_rotmat(fit.pose).mT)
    whitened = torch.cat([drawn.root - fit.root, turn.flatten(1)], 1) @ torch.linalg.cholesky(curvature[0])
    assert whitened.mean(0).abs().max() < 0.15
    spread = torch.linalg.eigvalsh(whitened.T @ whitened / num)
    assert spread.min() > 0.6
    assert spread.max() < 1.5


def test_frames_begin_where_another_like_them_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where the nearest in time was: the first frame stands the other way round and with its arms up."""
    pose, root, prior = example(9)
    pose = pose[:1].repeat(9, 1, 1)
    pose[0, 0] = torch.tensor([0.0, 3.0, 0.0])
    pose[0, [index_of("left_shoulder"), index_of("right_shoulder")]] += torch.tensor([[0.0, 0.0, 2.4], [0.0, 0.0, -2.4]])
    rest, few = rest_joints()[:NUM], points(0.01, tripods=False)
    seen, _, _ = placed(roma.rotvec_to_rotmat(pose), root[:1].expand(9, 3), few, rest, PARENTS_22)
    begun: list[torch.Tensor] = []

    def watched(seen: torch.Tensor, *given: Any) -> Fit:
        if given[-1] is not None:
            begun.append(given[-1])
        return fit_pose(seen, *given)

    monkeypatch.setattr(proportions, "fit_pose", watched)
    fit = fit_body(seen, few, rest, PARENTS_22, prior, frames=torch.tensor([0, 8]))
    assert len(begun[-1]) == 9
    apart = roma.rotmat_geodesic_distance(*(roma.rotvec_to_rotmat(x[:, 0]) for x in (begun[-1], fit.pose)))
    assert apart.max() < 0.1


def test_left_jacobian() -> None:
    rotvec = torch.tensor([[0.3, -0.8, 1.1], [1e-6, 0.0, 0.0], [0.0, 2.9, 0.1]], dtype=torch.float64)
    for row in rotvec:

        def after(turn: torch.Tensor, row: torch.Tensor = row) -> torch.Tensor:
            return roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(turn) @ roma.rotvec_to_rotmat(row))

        steps = 1e-6 * torch.eye(3, dtype=torch.float64)
        numeric = torch.stack([(after(step) - after(-step)) / 2e-6 for step in steps], -1)
        torch.testing.assert_close(left_jacobian_inverse(row), numeric, rtol=0, atol=1e-5)
