"""What every prior that knows noise promises: denoised poses and smoothed energies, on every kind in the registry."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import pytest
import torch
from contract_cases import CASES, prior_of
from prior_cases import make_poses, random_rotations

from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.priors.base import Prior

KNOWING = [name for name in CASES if name.startswith(("gaussian", "mixture", "ensemble-gaussian")) or name.endswith("-denoiser")]
every_knowing = pytest.mark.parametrize("name", KNOWING)


def _double(name: str) -> Prior:
    return copy.deepcopy(prior_of(name)).double()


def test_every_kind_is_among_them() -> None:
    assert {name.split("-")[0] for name in KNOWING} == {name.split("-")[0] for name in CASES}


@every_knowing
@pytest.mark.parametrize("batch", [(), (0,), (3,), (2, 2)])
@pytest.mark.parametrize("by", ["number", "joint", "axis", "pose"])
def test_it_denoises_any_shape_and_leaves_other_joints(name: str, batch: tuple[int, ...], by: str) -> None:
    prior, pose = prior_of(name), make_poses(math.prod(batch), seed=2).view(*batch, NUM_JOINTS, 3)
    some = torch.rand(NUM_JOINTS, 3, generator=torch.Generator().manual_seed(0)) + 0.05
    std: Any = {"number": 0.2, "joint": some[:, 0], "axis": some, "pose": some.expand(pose.shape)}[by]
    found = prior.denoise(pose, std)
    assert found.shape == pose.shape
    assert found.isfinite().all()
    others = [i for i in range(NUM_JOINTS) if i not in prior.joint_indices]
    assert torch.equal(found[..., others, :], pose[..., others, :])
    assert not batch or 0 in batch or not torch.equal(found, pose)


@every_knowing
def test_a_row_knows_nothing_of_others(name: str) -> None:
    prior, poses = prior_of(name), make_poses(5, seed=3)
    std = torch.full((5, NUM_JOINTS, 3), 0.2)
    std[1], std[3, 4] = 0.05, math.inf
    found = prior.denoise(poses, std)
    for row in range(5):
        torch.testing.assert_close(prior.denoise(poses[row], std[row]), found[row], rtol=1e-4, atol=1e-4)
    broken = poses.clone()
    broken[2, prior.joint_indices[0]] = math.nan
    again = prior.denoise(broken, std)
    assert again[[0, 1, 3, 4]].isfinite().all()
    torch.testing.assert_close(again[[0, 1, 3, 4]], found[[0, 1, 3, 4]], rtol=1e-5, atol=1e-5)
    hidden = torch.zeros(NUM_JOINTS)
    hidden[prior.joint_indices[0]] = math.inf
    assert prior.denoise(broken, hidden + 0.1).isfinite().all()


@every_knowing
def test_certain_joints_stay_and_unseen_ones_are_not_looked_at(name: str) -> None:
    prior, poses = prior_of(name), make_poses(4, seed=4)
    first, second, *_ = prior.joint_indices
    std = torch.full((NUM_JOINTS,), 0.3)
    std[first], std[second] = 0.0, math.inf
    found = prior.denoise(poses, std)
    torch.testing.assert_close(found[:, first], poses[:, first], rtol=1e-3, atol=2e-3)
    changed = poses.clone()
    changed[:, second] = random_rotations(4)[:, second]
    torch.testing.assert_close(prior.denoise(changed, std), found, rtol=0, atol=1e-5)


@every_knowing
def test_denoised_poses_have_a_gradient(name: str) -> None:
    prior = _double(name)
    pose = make_poses(1, seed=5).double()
    joint = prior.joint_indices[1]

    def of(value: torch.Tensor) -> torch.Tensor:
        return prior.denoise(torch.cat([pose[:, :joint], value[None, None], pose[:, joint + 1 :]], 1), 0.3)[
            :, list(prior.joint_indices[:3])
        ]

    assert torch.autograd.gradcheck(of, pose[0, joint].clone().requires_grad_(), atol=1e-4, rtol=1e-3)


@every_knowing
def test_noise_that_is_none_is_refused(name: str) -> None:
    prior, pose = prior_of(name), make_poses(2)
    for std in (-0.1, math.nan, torch.full((NUM_JOINTS,), -1.0)):
        with pytest.raises(ValueError, match="standard deviations"):
            prior.denoise(pose, std)
    for noise in (-0.1, math.nan, math.inf, torch.full((2,), 0.1)):
        with pytest.raises(ValueError, match="noise is"):
            prior.energy(pose, noise=noise)


@every_knowing
def test_noise_and_poses_of_other_shapes_are_refused(name: str) -> None:
    prior, pose = prior_of(name), make_poses(4)
    for shape in [(54,), (4,), (4, 55), (55, 2), (3, 55, 3), (2, 4, 55, 3), (0,)]:
        with pytest.raises(ValueError, match=r"std is a number, \(55,\), .*\(4, 55, 3\); got " + re.escape(str(shape))):
            prior.denoise(pose, torch.full(shape, 0.1))
    for poses in (pose[:, :54], pose.flatten(1)):
        with pytest.raises(ValueError, match=r"a pose is .* got \("):
            prior.denoise(poses, 0.1)


@every_knowing
def test_noise_without_end_is_as_good_as_not_seen(name: str) -> None:
    prior, pose = prior_of(name), make_poses(3)
    torch.testing.assert_close(prior.denoise(pose, 1e200), prior.denoise(pose, math.inf))


@every_knowing
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float64, 1e-5), (torch.float16, 5e-3)])
def test_poses_of_another_type_are_denoised_and_scored(name: str, dtype: torch.dtype, apart: float) -> None:
    prior, pose = prior_of(name), make_poses(3, seed=6)
    found, expected = prior.denoise(pose.to(dtype), 0.2), prior.denoise(pose, 0.2)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=apart, atol=apart)
    torch.testing.assert_close(prior.energy(pose.to(dtype), 0.2), prior.energy(pose, 0.2), rtol=0.02, atol=0.1)


@every_knowing
@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
def test_the_gradient_is_that_of_the_smoothed_energy(name: str, noise: float) -> None:
    prior, pose = _double(name), make_poses(6, seed=4).double().requires_grad_()
    energy = prior.energy(pose, noise=noise)
    (gradient,) = torch.autograd.grad(energy.sum(), pose)
    direction = torch.randn(pose.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-6
    with torch.no_grad():
        slope = (prior.energy(pose + step * direction, noise=noise) - prior.energy(pose - step * direction, noise=noise)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum((-1, -2)), slope, rtol=1e-3, atol=1e-3)


@every_knowing
def test_smoothed_energies_are_finite_anywhere_and_flatter_the_more_noise(name: str) -> None:
    prior = prior_of(name)
    poses = torch.cat([make_poses(30, seed=6), random_rotations(200), torch.zeros(1, NUM_JOINTS, 3)])
    spread = []
    for noise in (0.02, 0.2, 1.0):
        at = poses.clone().requires_grad_()
        energy = prior.energy(at.view(-1, 1, NUM_JOINTS, 3), noise=noise)
        (gradient,) = torch.autograd.grad(energy.sum(), at)
        assert energy.shape == (231, 1)
        assert energy.isfinite().all()
        assert gradient.isfinite().all()
        assert energy.max() < 1e4
        spread.append(float(energy[30:230].median() - energy[:30].median()))
    assert min(spread[:2]) > spread[2] > 0  # the first two are near what the broad component allows
    assert torch.equal(prior.energy(poses, noise=0.0), prior.energy(poses))


@every_knowing
def test_denoised_poses_are_nearer(name: str) -> None:
    prior = prior_of(name)
    clean = make_poses(200, seed=7, shift=0.1)
    noise = 0.4 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    index = list(prior.joint_indices)
    found = prior.denoise(clean + noise, 0.4)
    before, after = ((pose - clean)[:, index].square().mean() for pose in (clean + noise, found))
    assert float(after) < 0.6 * float(before)


@pytest.mark.parametrize("name", [name for name in CASES if name not in KNOWING][::4])
def test_without_a_denoiser_it_says_what_to_give(name: str) -> None:
    prior, pose = prior_of(name), make_poses(2)
    for call in (lambda: prior.denoise(pose, 0.1), lambda: prior.energy(pose, noise=0.1)):
        with pytest.raises(ValueError, match=r"model\.denoiser") as caught:
            call()
        assert "\n" not in str(caught.value)
