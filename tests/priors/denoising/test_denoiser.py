"""The denoiser before it is trained, against normal distributions in closed form; and the noise that it is trained with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch
from prior_cases import make_poses
from torch import Tensor, nn

from pose_priors.body.rotations import haar_correction, mirror_pose
from pose_priors.body.skeleton import MIRROR
from pose_priors.configs.base import UserError
from pose_priors.priors.denoising.contract import told
from pose_priors.priors.denoising.denoiser import Denoiser, DenoiserConfig, mean_of_near
from pose_priors.priors.denoising.noise import LEAST, MOST, draw_std, turned_by_noise
from pose_priors.priors.gaussian import Gaussian, GaussianConfig
from pose_priors.priors.mixture import MixtureConfig

JOINTS = (1, 16, 18)
POSES = make_poses(400).double()


def _silent() -> Denoiser:
    """Two networks that say nothing."""
    denoiser = DenoiserConfig(hidden=8, num_networks=2, mixture=None).build(JOINTS).double()
    denoiser.fit_statistics(POSES)
    for network in denoiser.networks:
        nn.init.zeros_(network.last.weight)
        nn.init.zeros_(network.last.bias)
    return denoiser.eval()


def _gaussian() -> Gaussian:
    prior = GaussianConfig(kind="gaussian", covariance="full").build(JOINTS).double()
    prior.fit_statistics(POSES)
    return prior.eval()


def _normal(denoiser: Denoiser) -> tuple[Tensor, Tensor]:
    network = denoiser.networks[0]
    return network.mean, torch.linalg.inv(network.precision)


def _conditional(mean: np.ndarray, covariance: np.ndarray, seen: np.ndarray, std: np.ndarray) -> np.ndarray:
    """E[x | what is seen of it with noise], by the covariance of both."""
    known = np.isfinite(std)
    of_seen = covariance[np.ix_(known, known)] + np.diag(std[known] ** 2)
    return mean + covariance[:, known] @ np.linalg.solve(of_seen, seen[known] - mean[known])


STDS = {
    "alike": torch.full((55, 3), 0.3),
    "by axis": torch.rand(55, 3, generator=torch.Generator().manual_seed(0)) + 0.05,
    "one unseen": torch.where(torch.arange(55)[:, None] == 16, math.inf, 0.2).expand(55, 3),
    "nothing seen": torch.full((55, 3), math.inf),
}


@pytest.mark.parametrize("kind", STDS)
@pytest.mark.parametrize("of", ["silent networks", "gaussian"])
def test_a_normal_is_denoised_in_closed_form(kind: str, of: str) -> None:
    poses, std = make_poses(5, seed=2).double(), STDS[kind].double()
    if of == "gaussian":
        prior = _gaussian()
        found, (mean, covariance) = prior.denoise(poses, std), (prior._whole()[1], torch.linalg.inv(prior._whole()[0]))
    else:
        denoiser = _silent()
        found, (mean, covariance) = denoiser.denoise(poses, told(std, poses)), _normal(denoiser)
    index = list(JOINTS)
    for pose, one in zip(poses, found, strict=True):
        arguments = (mean, covariance, pose[index].flatten(), std[index].flatten())
        expected = _conditional(*(value.detach().numpy() for value in arguments))
        torch.testing.assert_close(one[index].flatten().detach(), torch.from_numpy(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("noise", [0.01, 0.2, 0.8])
@pytest.mark.parametrize("of", ["silent networks", "gaussian"])
def test_the_smoothed_energy_of_a_normal(of: str, noise: float) -> None:
    poses = make_poses(20, seed=3).double()
    rotvec = poses[:, list(JOINTS)]
    if of == "gaussian":
        prior = _gaussian()
        energy, (precision, mean), weight = prior.energy(poses, noise=noise), prior._whole(), prior.config.defensive_weight
        covariance, broad = torch.linalg.inv(precision), prior.defensive.log_prob(rotvec).sum(-1)
    else:
        denoiser = _silent()
        energy, (mean, covariance), weight = denoiser.energy(poses, noise), _normal(denoiser), 0.01
        broad = denoiser.defensive.log_prob(rotvec).sum(-1)
    smoothed = torch.distributions.MultivariateNormal(mean, covariance + noise**2 * torch.eye(9, dtype=torch.float64))
    log_prob = smoothed.log_prob(rotvec.flatten(1)) + haar_correction(rotvec).sum(-1)
    expected = -torch.logaddexp(log_prob + math.log(1 - weight), broad + math.log(weight))
    torch.testing.assert_close(energy, expected, rtol=1e-6, atol=1e-5)


def test_the_slope_of_the_energy_is_tweedies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a silent network, whose slope is one of a potential: the gradient is (x - D(x)) / s^2, but for Haar measure and defence."""
    monkeypatch.setattr("pose_priors.priors.denoising.denoiser._DEFENSIVE_WEIGHT", 1e-12)
    denoiser, noise = _silent(), 0.3
    pose = make_poses(4, seed=4).double().requires_grad_()
    rotvec = pose[:, list(JOINTS)]
    energy = denoiser.energy(pose, noise) + haar_correction(rotvec).sum(-1)
    (gradient,) = torch.autograd.grad(energy.sum(), pose)
    with torch.no_grad():
        expected = (pose - denoiser.denoise(pose, told(noise, pose))) / noise**2
    torch.testing.assert_close(gradient[:, list(JOINTS)], expected[:, list(JOINTS)], rtol=1e-5, atol=1e-5)


def test_noise_is_of_every_kind() -> None:
    std = draw_std(4000, 10, torch.zeros(1), torch.Generator().manual_seed(0), 0.0, [1, 20])
    known = std.isfinite()
    assert LEAST - 1e-6 <= float(std[known].min()) < 1.3 * LEAST
    assert 0.8 * MOST < float(std[known].max()) <= MOST + 1e-6
    assert torch.equal(known, known.all(-1, keepdim=True).expand_as(known))  # a joint is seen or not
    whole = known.all(-1).all(-1)
    assert float((~whole).double().mean()) == pytest.approx(0.25 * 0.87, abs=0.04)
    alike = (std == std[:, :1, :1]).flatten(1).all(1)
    by_joint = (std == std[:, :, :1]).flatten(1).all(1) & ~alike
    assert float(alike[whole].double().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(by_joint[whole].double().mean()) == pytest.approx(0.25, abs=0.03)
    # sizes are uniform in their logarithm
    quartiles = std[alike & whole][:, 0, 0].log().quantile(torch.tensor([0.25, 0.5, 0.75]))
    expected = math.log(LEAST) + (math.log(MOST) - math.log(LEAST)) * torch.tensor([0.25, 0.5, 0.75])
    torch.testing.assert_close(quartiles, expected, rtol=0, atol=0.15)


def test_plain_noise_has_its_share_and_its_sizes() -> None:
    std = draw_std(4000, 10, torch.zeros(1), torch.Generator().manual_seed(0), 0.7, [2, 8])
    plain = (std == std[:, :1, :1]).flatten(1).all(1) & (std[:, 0, 0] >= math.radians(2)) & (std[:, 0, 0] <= math.radians(8))
    # of the rest half is alike too, three quarters and more with nothing hidden, and some of that as large
    within = math.log(4) / (math.log(MOST) - math.log(LEAST))
    assert float(plain.double().mean()) == pytest.approx(0.7 + 0.3 * 0.5 * (1 - 0.25 * 0.87) * within, abs=0.03)
    quartiles = std[plain][:, 0, 0].rad2deg().log2().quantile(torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quartiles, torch.tensor([1.5, 2.0, 2.5]), rtol=0, atol=0.06)
    assert float((~std.isfinite()).any(-1).any(-1).double().mean()) == pytest.approx(0.3 * 0.25 * 0.87, abs=0.02)


@pytest.mark.parametrize("sizes", [[0, 3], [5, 2]])
def test_sizes_of_plain_noise_that_make_no_sense_are_refused(sizes: list[float]) -> None:
    with pytest.raises(ValueError, match="smaller one first"):
        DenoiserConfig(plain_deg=sizes)


def test_noise_turns_each_joint_in_its_own_frame() -> None:
    rotvec = make_poses(2, seed=1)[:1, [1, 16]].expand(20_000, 2, 3)
    std = torch.tensor([[0.05, 0.1, 0.2], [0.3, 0.02, 0.1]])
    seen = turned_by_noise(rotvec, std, torch.Generator().manual_seed(0))
    clean, noisy = (roma.rotvec_to_rotmat(value) for value in (rotvec, seen))
    turn = roma.rotmat_to_rotvec(clean.mT @ noisy)
    torch.testing.assert_close(turn.std(0), std, rtol=0.03, atol=0)
    torch.testing.assert_close(turn.mean(0), torch.zeros(2, 3), rtol=0, atol=0.01)
    unseen = turned_by_noise(rotvec, torch.full((2, 3), math.inf), torch.Generator().manual_seed(0))
    assert unseen.isfinite().all()


def test_the_mean_of_near_rotations_is_chordal() -> None:
    middle = make_poses(6, seed=5)[:, :10]
    generator = torch.Generator().manual_seed(0)
    near = torch.stack([turned_by_noise(middle, torch.tensor(0.1), generator) for _ in range(3)])
    weights = [0.5, 0.2, 0.3]
    matrices = sum(w * roma.rotvec_to_rotmat(value) for w, value in zip(weights, near, strict=True))
    expected = roma.special_procrustes(matrices)
    found = roma.rotvec_to_rotmat(mean_of_near(near, weights))
    assert float(roma.rotmat_geodesic_distance(found, expected).max()) < 5e-3
    torch.testing.assert_close(mean_of_near(near[:1], [1.0]), near[0], rtol=0, atol=1e-5)


def test_validation_repeats_and_training_does_not() -> None:
    denoiser, poses = DenoiserConfig(hidden=8, mixture=None).build(JOINTS), make_poses(64)
    denoiser.fit_statistics(poses)
    state = torch.get_rng_state()
    assert torch.equal(*(denoiser.eval().loss(poses) for _ in range(2)))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(*(denoiser.train().loss(poses) for _ in range(2)))
    # in units of what a normal leaves, which it is about before it has learnt anything
    assert 0.5 * len(JOINTS) < float(denoiser.loss(poses).detach()) < 2 * len(JOINTS)
    assert denoiser.loss(poses[:1]).isfinite()


@pytest.mark.parametrize("std", [torch.zeros(54), torch.zeros(54, 3), torch.zeros(3, 54, 3)])
def test_a_shape_that_fits_no_pose_is_refused(std: Tensor) -> None:
    with pytest.raises(ValueError, match="55"):
        told(std, torch.zeros(3, 55, 3))


def test_the_mixture_has_its_share_of_the_answer() -> None:
    small = MixtureConfig(kind="mixture", num_components=[2], widths=[0.7, 1.0], covariance_floors=[1e-4])
    poses = make_poses(6, seed=7)

    def answer(share: float) -> Tensor:
        denoiser = DenoiserConfig(hidden=8, mixture=small, mixture_share=share).build(JOINTS)
        denoiser.fit_statistics(POSES.float())
        nn.init.zeros_(denoiser.networks[0].last.weight)
        nn.init.zeros_(denoiser.networks[0].last.bias)
        found = denoiser.eval().denoise(poses, told(0.4, poses))
        assert denoiser.mixture is not None
        exact[share] = denoiser.mixture.denoise(poses, 0.4)
        return found

    exact: dict[float, Tensor] = {}
    network, some, mixture = answer(0.0), answer(0.25), answer(1.0)
    torch.testing.assert_close(mixture, exact[1.0], rtol=0, atol=1e-5)
    index = list(JOINTS)
    assert (network - mixture)[:, index].abs().max() > 0.02
    expected = mean_of_near(torch.stack([network, mixture])[:, :, index], [0.75, 0.25])
    torch.testing.assert_close(some[:, index], expected, rtol=0, atol=1e-5)


def test_a_denoiser_that_learns_of_mirror_images_answers_alike_to_both() -> None:
    torch.manual_seed(0)
    joints = (3, 16, 17, 18, 19)
    poses, std = make_poses(6, seed=3).double(), 0.1 + 0.5 * torch.rand(6, 55, 3, dtype=torch.float64)
    std[2, 16] = math.inf
    answers = {}
    for mirror in (True, False):
        denoiser = DenoiserConfig(hidden=16, num_networks=2, mirror=mirror, mixture=None).build(joints).double()
        denoiser.fit_statistics(POSES)
        for network in denoiser.networks:
            nn.init.normal_(network.last.weight, std=0.03)
        denoiser.eval().requires_grad_(False)
        found, image = denoiser.denoise(poses, std), denoiser.denoise(mirror_pose(poses), std[:, list(MIRROR)])
        answers[mirror] = float((mirror_pose(image) - found)[:, joints].norm(dim=-1).max())
        # what has the mean of everything is symmetric if the data is made so
        mean = torch.zeros(55, 3, dtype=torch.float64)
        mean[list(joints)] = denoiser.networks[0].mean.view(-1, 3)
        assert torch.allclose(mirror_pose(mean), mean, atol=1e-12) == mirror
    assert 100 * answers[True] < 0.01 < answers[False]  # means are taken near one of the two


def test_a_denoiser_in_training_sees_mirror_images_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    joints, seen = (16, 17), []
    denoiser = DenoiserConfig(hidden=8, mirror=True, mixture=None).build(joints)
    denoiser.fit_statistics(POSES.float())
    monkeypatch.setattr(denoiser, "_error", lambda network, rotvec, generator: seen.append(rotvec) or rotvec.sum())
    pose = POSES[:1].float().expand(400, -1, -1)
    torch.manual_seed(0)
    denoiser.train().loss(pose)
    denoiser.eval().loss(pose)
    plain, image = pose[:, joints], mirror_pose(pose)[:, joints]
    is_plain, is_image = ((seen[0] == given).all(-1).all(-1) for given in (plain, image))
    assert (is_plain ^ is_image).all()
    assert 150 < int(is_image.sum()) < 250
    assert torch.equal(seen[1], plain)


def test_joints_without_a_mirror_image_are_refused() -> None:
    with pytest.raises(UserError, match="left_elbow") as caught:
        DenoiserConfig(mirror=True).build((1, 2, 18))
    assert "\n" not in str(caught.value)
