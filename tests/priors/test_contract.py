"""What every prior promises, checked on every variant of every member of the registry."""

from __future__ import annotations

import copy
import math
from functools import cache

import numpy as np
import pytest
import roma
import torch
from prior_cases import JOINTS, cases, conditioned_on_root, make_poses, random_rotations, shake, trained
from torch import Tensor

from pose_priors.body.skeleton import JOINT_NAMES, NUM_JOINTS
from pose_priors.configs.base import UserError
from pose_priors.priors.base import DensityPrior, Prior
from pose_priors.priors.default_pose import default_pose

CASES = dict(cases())
STEPS = 20


def _is_density(name: str) -> bool:
    return isinstance(CASES[name].build(JOINTS), DensityPrior)


def _is_likelihood(name: str) -> bool:
    prior = CASES[name].build(JOINTS)
    return isinstance(prior, DensityPrior) and prior.energy_is_nll


DENSITIES = [name for name in CASES if _is_density(name)]
LIKELIHOODS = [name for name in DENSITIES if _is_likelihood(name)]

every_prior = pytest.mark.parametrize("name", CASES)
every_density = pytest.mark.parametrize("name", DENSITIES)
every_likelihood = pytest.mark.parametrize("name", LIKELIHOODS)


@cache
def _prior(name: str) -> Prior:
    """Started on one set of poses and trained for some steps on a shifted one; the tests leave it as it is."""
    return trained(CASES[name], JOINTS, STEPS, make_poses(128, shift=0.1), started_on=make_poses(256))


@cache
def _small_density(name: str, joints: tuple[int, ...]) -> DensityPrior:
    """A density over one or two joints that fits them roughly."""
    poses = make_poses(512, spread=0.35)
    prior = trained(CASES[name], joints, STEPS, poses, started_on=poses)
    assert isinstance(prior, DensityPrior)
    return prior


def _energy_and_gradient(prior: Prior, pose: Tensor) -> tuple[Tensor, Tensor]:
    pose = pose.clone().requires_grad_()
    energy = prior.energy(pose)
    (gradient,) = torch.autograd.grad(energy.sum(), pose)
    return energy.detach(), gradient


@every_prior
def test_it_names_the_joints_that_it_learns(name: str) -> None:
    prior = _prior(name)
    assert set(prior.joint_indices) <= set(JOINTS)
    assert prior.joints == tuple(JOINT_NAMES[i] for i in prior.joint_indices)
    assert prior.num_joints == len(prior.joints) == len(set(prior.joints))


@every_prior
@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3)])
def test_energy_takes_any_batch_shape(name: str, batch: tuple[int, ...]) -> None:
    prior = _prior(name)
    poses = make_poses(math.prod(batch), seed=1)
    energy = prior.energy(poses.view(*batch, NUM_JOINTS, 3))
    assert energy.shape == batch
    torch.testing.assert_close(energy.flatten(), prior.energy(poses), rtol=1e-4, atol=1e-3)


@every_prior
@pytest.mark.parametrize("shape", [(NUM_JOINTS,), (2, 54, 3), (2, NUM_JOINTS, 4), (2, NUM_JOINTS * 3)])
def test_energy_refuses_what_is_not_a_pose(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="55"):
        _prior(name).energy(torch.zeros(shape))


@every_prior
def test_each_pose_has_its_energy_whatever_the_batch(name: str) -> None:
    prior = _prior(name)
    poses = torch.cat([make_poses(6, seed=1), random_rotations(6)])
    together = prior.energy(poses)
    alone = torch.cat([prior.energy(pose[None]) for pose in poses])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(prior.energy(poses.flip(0)), together.flip(0), rtol=1e-4, atol=1e-3)


def _of_angle(angle: float, num: int = 32) -> Tensor:
    axis = torch.nn.functional.normalize(torch.randn(num, NUM_JOINTS, 3, generator=torch.Generator().manual_seed(2)), dim=-1)
    axis[:3] = torch.eye(3)[:, None]
    return axis * angle


@every_prior
@pytest.mark.parametrize("angle", [0.0, 1e-20, 1e-8, 1e-4, math.pi - 1e-4, math.pi, math.pi + 1e-6, 1.5 * math.pi, 2 * math.pi, 50.0])
def test_energy_and_gradient_are_finite_at_every_angle(name: str, angle: float) -> None:
    energy, gradient = _energy_and_gradient(_prior(name), _of_angle(angle))
    assert torch.isfinite(energy).all()
    assert torch.isfinite(gradient).all()


@every_prior
def test_energy_is_finite_bounded_and_higher_than_of_data_at_random_rotations(name: str) -> None:
    prior = _prior(name)
    energy, gradient = _energy_and_gradient(prior, random_rotations(1000))
    assert torch.isfinite(gradient).all()
    assert energy.max() < 1e4
    data = prior.energy(make_poses(200, seed=3, shift=0.1))
    assert energy.median() > data.median() + 10


@every_prior
def test_the_gradient_is_that_of_the_energy(name: str) -> None:
    prior = copy.deepcopy(_prior(name)).double()
    pose = make_poses(8, seed=4).double()
    _, gradient = _energy_and_gradient(prior, pose)
    direction = torch.randn(pose.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-8
    slope = (prior.energy(pose + step * direction) - prior.energy(pose - step * direction)) / (2 * step)
    # all but those where a spline's knot, at which its slope has a kink, happens to lie between the two points
    assert torch.isclose((gradient * direction).sum((-1, -2)), slope, rtol=1e-3, atol=1e-3).sum() >= 7


@every_prior
def test_energy_depends_on_rotations_not_on_how_they_are_written(name: str) -> None:
    prior = _prior(name)
    poses = torch.cat([make_poses(20, seed=5), random_rotations(20)])
    turned = poses + 2 * math.pi * torch.nn.functional.normalize(poses, dim=-1)
    torch.testing.assert_close(prior.energy(turned), prior.energy(poses), rtol=1e-3, atol=5e-2)


@every_prior
def test_joints_not_learnt_do_not_matter(name: str) -> None:
    prior = _prior(name)
    poses, changed = make_poses(8, seed=6), make_poses(8, seed=6)
    others = [i for i in range(NUM_JOINTS) if i not in prior.joint_indices and not (i == 0 and conditioned_on_root(prior))]
    changed[:, others] = random_rotations(8)[:, others]
    assert torch.equal(prior.energy(changed), prior.energy(poses))
    _, gradient = _energy_and_gradient(prior, poses)
    assert (gradient[:, others] == 0).all()
    assert (gradient[:, list(prior.joint_indices)] != 0).any(-1).float().mean() > 0.99


@every_prior
def test_samples_are_canonical_repeatable_and_filled(name: str) -> None:
    prior = _prior(name)
    torch.manual_seed(1)
    first = prior.sample(7, torch.Generator().manual_seed(0))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = prior.sample(7, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)
    other = prior.sample(7, torch.Generator().manual_seed(1))
    assert first.shape == (7, NUM_JOINTS, 3)
    assert torch.isfinite(first).all()
    assert not first.requires_grad
    assert first.norm(dim=-1).max() <= math.pi + 1e-5
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    others = [i for i in range(NUM_JOINTS) if i not in prior.joint_indices and not (i == 0 and conditioned_on_root(prior))]
    assert torch.equal(first[:, others], prior.default_pose[others].expand(7, -1, -1))
    assert torch.equal(prior.default_pose, default_pose(make_poses(256), prior.joint_indices))
    assert prior.sample(2).shape == (2, NUM_JOINTS, 3)


@every_prior
def test_samples_look_better_to_the_prior_than_random_rotations(name: str) -> None:
    prior = _prior(name)
    sampled = prior.energy(prior.sample(100, torch.Generator().manual_seed(0)))
    assert torch.isfinite(sampled).all()
    assert sampled.median() < prior.energy(random_rotations(100)).median()


@every_prior
def test_state_dict_round_trip_is_bitwise(name: str) -> None:
    prior = _prior(name)
    again = CASES[name].build(prior.joint_indices)
    again.load_state_dict(prior.state_dict())
    poses = torch.cat([make_poses(10, seed=7), random_rotations(10)])
    assert torch.equal(again.eval().energy(poses), prior.energy(poses))
    assert torch.equal(again.sample(3, torch.Generator().manual_seed(0)), prior.sample(3, torch.Generator().manual_seed(0)))


@every_prior
def test_training_lowers_the_loss(name: str) -> None:
    poses = make_poses(128, shift=0.1)
    before = trained(CASES[name], JOINTS, 0, poses, started_on=make_poses(256))
    with torch.no_grad():
        losses = [prior.loss(poses)["loss"] for prior in (before, _prior(name))]
    assert losses[1] < losses[0] - 0.5


@every_prior
def test_loss_is_a_finite_scalar_that_reaches_every_parameter(name: str) -> None:
    prior = shake(copy.deepcopy(_prior(name)), 0.01).train()
    torch.manual_seed(0)
    values = prior.loss(make_poses(64, seed=8))
    assert all(value.shape == () for value in values.values())
    assert torch.isfinite(torch.stack([value.detach() for value in values.values()])).all()
    values["loss"].backward()
    for parameter_name, parameter in prior.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@every_prior
def test_start_is_finite_and_the_same_on_every_rank(name: str) -> None:
    torch.manual_seed(0)
    prior = CASES[name].build(JOINTS)
    ranks = [copy.deepcopy(prior) for _ in range(2)]
    for rank, on_rank in enumerate(ranks):
        torch.manual_seed(rank)
        on_rank.fit_statistics(make_poses(256))
    for (key, first), second in zip(ranks[0].state_dict().items(), ranks[1].state_dict().values(), strict=True):
        assert torch.isfinite(first).all(), key
        assert torch.equal(first, second), key


@every_prior
def test_parameters_stay_finite_and_a_broken_one_is_noticed(name: str) -> None:
    prior = copy.deepcopy(_prior(name))
    prior.check_finite()
    next(prior.parameters()).data.view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        prior.check_finite()


@every_prior
def test_copies_are_independent(name: str) -> None:
    prior, poses = _prior(name), make_poses(128, shift=0.1)[:10]  # those it was trained on
    before = prior.energy(poses)
    copied = copy.deepcopy(prior)
    assert torch.equal(copied.energy(poses), before)
    shake(copied)
    assert not torch.equal(copied.energy(poses), before)
    assert torch.equal(prior.energy(poses), before)


@every_prior
def test_reconstruction_is_a_canonical_pose(name: str) -> None:
    prior, poses = _prior(name), make_poses(20, seed=10)
    back = prior.reconstruct(poses)
    assert back.shape == poses.shape
    assert back.norm(dim=-1).max() <= math.pi + 1e-5
    others = [i for i in range(NUM_JOINTS) if i not in prior.joint_indices]
    assert torch.equal(back[:, others], prior.default_pose[others].expand(20, -1, -1))


@every_likelihood
def test_reconstruction_of_a_density_is_exact(name: str) -> None:
    prior = _prior(name)
    double = copy.deepcopy(prior).double()
    # far out, where directions that never moved stand at hundreds of standard deviations, single precision alone would not do
    for model, poses in ((prior, make_poses(50, seed=10)), (double, random_rotations(50).double())):
        there, back = (roma.rotvec_to_rotmat(model.select(p)) for p in (poses, model.reconstruct(poses)))
        assert roma.rotmat_geodesic_distance(there.double(), back.double()).max() < 2e-3


@every_density
def test_log_prob_in_double_precision(name: str) -> None:
    prior, poses = _prior(name), make_poses(20, seed=11)
    double = copy.deepcopy(prior).double().log_prob(poses.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), prior.log_prob(poses), rtol=1e-3, atol=1e-2)


@every_density
def test_energy_is_the_negative_log_density_exactly_where_it_says_so(name: str) -> None:
    prior, poses = _prior(name), make_poses(20, seed=11)
    assert isinstance(prior, DensityPrior)
    assert torch.equal(prior.energy(poses), -prior.log_prob(poses)) == prior.energy_is_nll


@every_density
def test_conditional_densities_are_there_where_it_says_so(name: str) -> None:
    prior, poses = _prior(name), make_poses(5, seed=11)
    assert isinstance(prior, DensityPrior)
    visible = torch.rand(5, NUM_JOINTS, generator=torch.Generator().manual_seed(0)) < 0.5
    if prior.has_conditional_density:
        assert prior.completes
        assert torch.isfinite(prior.log_prob_given(poses, visible)).all()
    else:
        with pytest.raises(ValueError, match="conditional"):
            prior.log_prob_given(poses, visible)


# Densities against Monte-Carlo integrals, where they are cheap enough; flow matching's are in its own tests. The proposal is written down here, from its definition, and shares no code with the priors.


def _log_wrapped_normal(rotvec: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-density against normalised Haar measure of exp(w), w normal with diagonal covariance: (N, J, 3) -> (N,).

    The sum over the vectors of one rotation, w (1 + 2 pi k / |w|), of N(w_k) 8 pi^2 |w_k|^2 / (2 - 2 cos |w_k|).
    """
    angle = rotvec.norm(dim=-1)
    terms = []
    for k in (-1, 0, 1):
        longer = angle + 2 * math.pi * k
        vector = rotvec * (longer / angle).unsqueeze(-1)
        log_normal = torch.distributions.Normal(mean, std).log_prob(vector).sum(-1)
        terms.append(log_normal + torch.log(8 * math.pi**2 * longer**2 / (2 - 2 * torch.cos(angle))))
    return torch.logsumexp(torch.stack(terms), 0).sum(-1)


def _draw(num: int, mean: Tensor, std: Tensor, seed: int) -> Tensor:
    """Canonical rotation vectors (num, J, 3) of the wrapped normal, through scipy's own conversion."""
    from scipy.spatial.transform import Rotation

    noise = torch.randn(num, *mean.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    vectors = Rotation.from_rotvec((mean + std * noise).view(-1, 3).numpy()).as_rotvec()
    return torch.from_numpy(vectors).view(num, *mean.shape)


def _as_poses(rotvec: Tensor, joints: tuple[int, ...]) -> Tensor:
    poses = torch.zeros(len(rotvec), NUM_JOINTS, 3)
    poses[:, 0] = torch.tensor([0.1, 0.2, -0.3])  # a root for those that condition on it
    poses[:, list(joints)] = rotvec.float()
    return poses


@every_likelihood
@pytest.mark.parametrize("joints", [(16,), (16, 20)], ids=["one", "two"])
def test_density_integrates_to_one(name: str, joints: tuple[int, ...]) -> None:
    """What flows and Gaussians put beyond pi is lost by design, hence a little less than one is allowed, but not more."""
    prior, num = _small_density(name, joints), 8000
    data = make_poses(2000, spread=0.35)[:, list(joints)].double()
    mean, std = data.mean(0), (1.3 * data.std(0)).clamp_min(0.02)
    wide = [_draw(num, mean, factor * std, seed=seed) for seed, factor in enumerate((1, 2))]
    uniform = random_rotations(num)[:, list(joints)].double()
    # equal thirds of a proposal fitted to the data, a broader one and the uniform distribution, weighted by the balance heuristic
    drawn = torch.cat([*wide, uniform])
    log_proposals = torch.stack(
        [_log_wrapped_normal(drawn, mean, std), _log_wrapped_normal(drawn, mean, 2 * std), torch.zeros(len(drawn), dtype=torch.float64)]
    )
    log_proposal = torch.logsumexp(log_proposals, 0) - math.log(3)
    with torch.no_grad():
        weights = (prior.log_prob(_as_poses(drawn, joints)).double() - log_proposal).exp()
    error = weights.std() / math.sqrt(len(weights))
    assert error < 0.04
    assert 0.95 - 3 * error < weights.mean() < 1 + 3 * error


@every_likelihood
@pytest.mark.parametrize("joints", [(16,), (16, 20)], ids=["one", "two"])
def test_samples_follow_the_density(name: str, joints: tuple[int, ...]) -> None:
    """The mean of g / p over samples of p is the integral of g, one, for any density g that lies within p."""
    prior = _small_density(name, joints)
    samples = prior.sample(8000, torch.Generator().manual_seed(0))
    if conditioned_on_root(prior):
        # given a root unlike any in the data, the flow puts mass beyond pi, which samples fold back and the density leaves out
        root = samples[:, 0]
        samples = samples[(root - root.median(0).values).norm(dim=-1) < 0.8]
    typical = prior.select(samples).double()
    mean, std = typical.median(0).values, 0.6 * typical.std(0)
    with torch.no_grad():
        log_prob = prior.log_prob(samples).double()
    weights = (_log_wrapped_normal(typical, mean, std) - log_prob).exp()
    error = float(weights.std() / math.sqrt(len(weights)))
    assert error < 0.06
    np.testing.assert_allclose(float(weights.mean()), 1, atol=3.5 * error)


@every_prior
def test_a_prior_learns_what_there_is_or_says_what_it_lacks(name: str) -> None:
    if not name.startswith("hand_vae"):
        assert CASES[name].build((1, 2)).joints == ("left_hip", "right_hip")
    else:
        with pytest.raises(UserError, match="hand") as caught:
            CASES[name].build((1, 2))
        assert "\n" not in str(caught.value)
