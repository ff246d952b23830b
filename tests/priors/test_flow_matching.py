"""Flow matching: its paths against closed forms, its density against an autograd Jacobian, and its energy against its density."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from prior_cases import log_volume, make_poses, random_rotations, shake, trained
from torch import Tensor, nn

from pose_priors.priors import flow_matching
from pose_priors.priors.angular_central_gaussian import defend
from pose_priors.priors.evaluation.scores import evaluate
from pose_priors.priors.flow_matching import FlowMatching, FlowMatchingConfig
from pose_priors.priors.networks.velocity import VelocityField, integrate, nodes_from_data, times_to_data

JOINTS = (1, 16, 18)


def _config(**settings: Any) -> FlowMatchingConfig:
    return FlowMatchingConfig(kind="flow_matching", **{"hidden": 32, "num_blocks": 2, "num_steps": 20, "dropout": 0.0, **settings})


def _started(**settings: Any) -> FlowMatching:
    torch.manual_seed(0)
    prior = _config(**settings).build(JOINTS).double()
    prior.fit_statistics(make_poses(500).double())
    return prior.eval()


def _gaussian(**settings: Any) -> FlowMatching:
    """Without what the network adds: independent Gaussians of the features, exactly."""
    prior = _started(**settings)
    for network in prior.networks:
        nn.init.zeros_(network.last.weight)
        nn.init.zeros_(network.last.bias)
    return prior


def test_integration_of_a_linear_field_is_of_fourth_order_and_knows_its_volume() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    exact = x @ torch.linalg.matrix_exp(0.6 * matrix).T

    def field(at: Tensor, time: Tensor) -> Tensor:
        assert time.shape == at.shape[:-1]
        return at @ matrix.T

    errors = [float((integrate(field, x, torch.linspace(0.2, 0.8, steps + 1).tolist()) - exact).abs().max()) for steps in (4, 8)]
    assert errors[1] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)


def test_integration_meets_the_field_at_its_time() -> None:
    end = integrate(lambda x, time: (3 * time**2).unsqueeze(-1).expand_as(x), torch.zeros(2, 1).double(), [1.0, 0.5, 0.4, 0.0])
    torch.testing.assert_close(end, torch.full((2, 1), -1.0).double())


def test_the_nodes_integrate_and_run_from_data_to_noise() -> None:
    nodes = nodes_from_data(6)
    times = [time for time, _ in nodes]
    assert times == sorted(times, reverse=True)
    for power in range(6):  # a polynomial of degree 2 power + 1 in s, with the slope of t: exact up to degree 11
        assert sum(weight * time**power for time, weight in nodes) == pytest.approx(1 / (power + 1), rel=1e-12)
    assert sum(weight / math.sqrt(1 - time) for time, weight in nodes) == pytest.approx(2, rel=1e-12)  # constant in s


@pytest.mark.parametrize("num_blocks", [1, 3])
def test_the_slopes_are_the_jacobians_diagonal(num_blocks: int) -> None:
    torch.manual_seed(0)
    field = shake(VelocityField(5, 16, num_blocks, 0.3, 2), 0.2).double().eval()
    x, time, given = torch.randn(20, 5).double(), torch.rand(20).double(), torch.rand(20, 2).double()
    slopes = field.slopes(x, time, given)
    for row in range(20):
        jacobian = torch.autograd.functional.jacobian(lambda at, row=row: field(at, time[row], given[row]), x[row])
        torch.testing.assert_close(slopes[row], jacobian.diagonal())
    torch.testing.assert_close(field.slopes(x, time), field.slopes(x, time, torch.zeros_like(given)))


def test_the_density_has_a_gradient() -> None:
    prior = shake(_started(num_steps=2), 0.02)
    pose = make_poses(1, seed=3).double()

    def log_prob(joint: Tensor) -> Tensor:
        return prior.log_prob(torch.cat([pose[:, :16], joint[None, None], pose[:, 17:]], 1))

    assert torch.autograd.gradcheck(log_prob, pose[0, 16].clone().requires_grad_())


def test_it_starts_with_independent_gaussians_of_the_data() -> None:
    prior, poses = _gaussian(), make_poses(60, seed=1).double()
    data, _ = prior._features(prior.select(make_poses(500).double()))
    x, log_det = prior._features(prior.select(poses))
    log_det = log_det.sum(-1)
    spread = data.std(0).clamp_min(0.1)  # that of a hinge's other axes
    flow = torch.distributions.Normal(data.mean(0), spread).log_prob(x).sum(-1) + log_det
    expected = defend(flow, prior.defensive.log_prob(prior.select(poses)).sum(-1), 0.01)
    torch.testing.assert_close(prior.log_prob(poses), expected, rtol=0, atol=1e-2)
    drawn, _ = prior._features(prior.select(prior.sample(4000, torch.Generator().manual_seed(0))))
    quartiles = torch.tensor([0.25, 0.75]).double()
    torch.testing.assert_close(drawn.median(0).values, data.mean(0), rtol=0, atol=0.08)
    widths = drawn.quantile(quartiles, 0).diff(dim=0)[0] / (2 * 0.6745 * spread)
    torch.testing.assert_close(widths, torch.ones_like(widths), rtol=0, atol=0.08)


def test_density_against_the_jacobian() -> None:
    prior = shake(_started(num_steps=48), 0.02)
    nn.init.normal_(prior.networks[0].last.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    for pose in make_poses(2, seed=3).double():
        rotvec = prior.select(pose)

        def noise_of(w: Tensor) -> Tensor:
            x, _ = prior._features(w)
            return integrate(prior.velocity, x[None], times_to_data(96)[::-1])[0]

        jacobian = torch.autograd.functional.jacobian(noise_of, rotvec).flatten(1)
        flow = torch.distributions.Normal(0.0, 1.0).log_prob(noise_of(rotvec)).sum() + torch.linalg.slogdet(jacobian).logabsdet
        for w in rotvec:
            flow = flow - log_volume(w)
        expected = defend(flow, prior.defensive.log_prob(rotvec).sum(), prior.config.defensive_weight)
        torch.testing.assert_close(prior.log_prob(pose), expected, rtol=0, atol=1e-3)


def test_density_takes_any_batch_shape() -> None:
    prior, poses = _started(num_steps=3), make_poses(6, seed=1).double()
    alone = torch.stack([prior.log_prob(pose) for pose in poses])
    torch.testing.assert_close(prior.log_prob(poses.view(2, 3, 55, 3)), alone.view(2, 3))


def test_the_energy_of_a_perfect_denoiser_is_tight() -> None:
    prior = _gaussian(num_draws=256)
    poses = prior.sample(300, torch.Generator().manual_seed(0))
    with torch.no_grad():
        gap = prior.energy(poses) + prior.log_prob(poses)
    # what is left is the noise at the last time, a fiftieth of a spread of one, a fifth of a hinge's
    assert -0.1 < float(gap.mean()) < 0.3


def test_draws_ask_the_networks_in_turn() -> None:
    prior = _started(num_draws=6, num_networks=3)
    asked: list[int] = []
    for number, network in enumerate(prior.networks):
        network.register_forward_hook(lambda *_, number=number: asked.append(number))
    prior.energy(make_poses(2).double())
    assert asked == [0, 1, 2, 0, 1, 2]


@pytest.fixture(scope="module")
def of_a_chain() -> tuple[FlowMatching, Tensor]:
    """Trained on shoulders that tell the elbow, and the poses."""
    generator = torch.Generator().manual_seed(0)
    poses = torch.zeros(1500, 55, 3)
    poses[:, [1, 16]] = 0.3 * torch.randn(1500, 2, 3, generator=generator)
    poses[:, 18] = poses[:, 16].flip(-1) + 0.06 * torch.randn(1500, 3, generator=generator)
    return trained(_config(num_draws=64, num_steps=8, num_networks=2), JOINTS, 400, poses[:1000], started_on=poses[:1000], lr=5e-3), poses


def test_several_networks_are_one_field(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, (x, time) = of_a_chain[0], (torch.randn(7, 9), torch.rand(7))
    assert len(prior.networks) == 2
    mean = (prior.networks[0](x, time) + prior.networks[1](x, time)) / 2
    torch.testing.assert_close(prior.velocity(x, time), mean)
    assert (prior.networks[0](x, time) - prior.networks[1](x, time)).abs().max() > 1e-2  # each has learnt for itself


def test_it_completes_what_depends_on_what(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = of_a_chain
    pose, visible = poses[1000:].clone(), torch.ones(500, 55, dtype=torch.bool)
    visible[:, 18] = False
    pose[:, 18] = 1.0  # what hidden joints hold does not matter
    drawn = prior.complete(pose, visible, torch.Generator().manual_seed(0))
    kept = [joint for joint in range(55) if joint != 18]
    assert torch.equal(drawn[:, kept], pose[:, kept])
    miss = drawn[:, 18] - pose[:, 16].flip(-1)
    assert miss.abs().median() < 0.08  # 0.04 if it were perfect, 0.28 if the shoulder told nothing
    assert miss.mean(0).abs().max() < 0.03
    visible[:, 16] = False  # nothing tells the arm now
    drawn = prior.complete(pose, visible, torch.Generator().manual_seed(0))
    assert drawn[:, 16].std() == pytest.approx(0.3, rel=0.15)
    assert (drawn[:, 18] - drawn[:, 16].flip(-1)).abs().median() < 0.08


def test_the_density_of_what_is_hidden(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = of_a_chain[0], of_a_chain[1][1000:1300]
    none = torch.zeros(300, 55, dtype=torch.bool)
    visible = torch.ones_like(none)
    visible[:, 18] = False
    with torch.no_grad():
        torch.testing.assert_close(prior.log_prob_given(poses, none), prior.log_prob(poses), rtol=0, atol=1e-4)
        nll = -prior.log_prob_given(poses, visible)
        moved = poses.clone()
        moved[:, 18] = poses[:, 18].roll(1, 0)
        assert (-prior.log_prob_given(moved, visible) > nll + 3).double().mean() > 0.8
    per_axis = 0.5 * math.log(2 * math.pi * math.e)
    truth, independent = (3 * (per_axis + math.log(std)) - math.log(8 * math.pi**2) for std in (0.06, math.hypot(0.3, 0.06)))
    assert truth - 0.3 < float(nll.mean()) < truth + 0.35 * (independent - truth)


def test_the_density_of_what_is_hidden_integrates_to_one(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    """The mean of p over uniform rotations of the hidden joint, drawn near the data where nearly all of it lies."""
    prior, poses = of_a_chain
    pose = poses[1000].expand(4000, 55, 3).clone()
    half_width = 0.24  # four standard deviations
    pose[:, 18] = pose[:, 16].flip(-1) + half_width * (2 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) - 1)
    visible = torch.ones(4000, 55, dtype=torch.bool)
    visible[:, 18] = False
    with torch.no_grad():
        density = prior.log_prob_given(pose, visible).exp()
    of_haar = torch.sinc(pose[:, 18].norm(dim=-1) / (2 * math.pi)).square() / (8 * math.pi**2)
    inside = density * of_haar * (2 * half_width) ** 3
    error = float(inside.std() / math.sqrt(len(inside)))
    assert error < 0.08
    # 0.01 of it is the broad component's
    assert float(inside.mean()) == pytest.approx(0.99, abs=3.5 * error + 0.02)


def test_without_conditioning_it_completes_nothing() -> None:
    prior, pose = _started(use_conditioning=False), make_poses(2).double()
    assert not prior.completes
    for call in (prior.complete, prior.log_prob_given):
        with pytest.raises(ValueError, match=r"model\.use_conditioning=true"):
            call(pose, torch.ones(2, 55, dtype=torch.bool))


def test_it_learns_what_depends_on_what(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = of_a_chain
    with torch.no_grad():
        nll, bound = -prior.log_prob(poses[1000:]), prior.energy(poses[1000:])
    per_axis = 0.5 * math.log(2 * math.pi * math.e)
    # the exponential map's Jacobian, left out here, is worth less than 0.1
    truth = sum(3 * (per_axis + math.log(std)) - math.log(8 * math.pi**2) for std in (0.3, 0.3, 0.06))
    independent = truth + 3 * math.log(math.hypot(0.3, 0.06) / 0.06)
    assert truth - 0.3 < float(nll.mean()) < truth + 0.35 * (independent - truth)
    assert float(nll.mean()) < float(bound.mean()) < float(nll.mean()) + 3
    samples = prior.sample(2000, torch.Generator().manual_seed(0))
    assert samples[:, 16].std() == pytest.approx(0.3, rel=0.1)
    assert (samples[:, 18] - samples[:, 16].flip(-1)).abs().median() < 0.08


def test_samples_follow_the_density(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    """The mean of g / p over samples of p is the integral of g, one, for a density g that lies within p."""
    prior = of_a_chain[0]
    rotvec = prior.select(prior.sample(2500, torch.Generator().manual_seed(1)))
    flat = rotvec.flatten(1).double()
    covariance = 0.36 * torch.cov(flat[rotvec.norm(dim=-1).amax(-1) < 1.5].T)
    inside = torch.distributions.MultivariateNormal(flat.median(0).values, covariance)
    of_volume = 2 * torch.log(torch.sinc(rotvec.double().norm(dim=-1) / (2 * math.pi))) - math.log(8 * math.pi**2)
    with torch.no_grad():
        weights = (inside.log_prob(flat) - of_volume.sum(-1) - prior.log_prob(prior.expand(rotvec)).double()).exp()
    error = float(weights.std() / math.sqrt(len(weights)))
    assert error < 0.06
    assert float(weights.mean()) == pytest.approx(1, abs=3.5 * error)


def test_the_energy_leads_back_to_the_data(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = of_a_chain
    pose = poses[1000:1100].clone()
    pose[:, 18] += 0.5  # an elbow that no shoulder tells
    broken = (pose[:, 18] - pose[:, 16].flip(-1)).norm(dim=-1).mean()
    pose.requires_grad_()
    optimizer = torch.optim.Adam([pose], 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        prior.energy(pose).sum().backward()
        optimizer.step()
    assert (pose[:, 18] - pose[:, 16].flip(-1)).norm(dim=-1).mean() < 0.4 * broken


def test_the_energy_of_many_poses_has_the_same_gradient(of_a_chain: tuple[FlowMatching, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    prior, found = copy.deepcopy(of_a_chain[0]).requires_grad_(False), []
    for most in (1000, 10):
        monkeypatch.setattr(flow_matching, "_MAX_KEPT", most)
        pose = of_a_chain[1][:40].clone().requires_grad_()
        energy = prior.energy(pose)
        found.append((energy.detach(), *torch.autograd.grad(energy.sum(), pose, retain_graph=True)))
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.autograd.grad(energy.sum(), pose, create_graph=True)
    for kept, again in zip(*found, strict=True):
        torch.testing.assert_close(kept, again)


def test_far_from_the_data_the_density_is_the_broad_ones(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = copy.deepcopy(of_a_chain[0]).double(), random_rotations(100).double()
    with torch.no_grad():
        log_prob = prior.log_prob(poses)
        broad = prior.defensive.log_prob(prior.select(poses)).sum(-1) + math.log(prior.config.defensive_weight)
    assert (log_prob >= broad - 1e-9).all()
    assert float((log_prob - broad).median()) < 1


def test_validation_repeats_and_training_does_not() -> None:
    prior, poses = _started(), make_poses(64, seed=2).double()
    held_out = [float(prior.loss(poses)["loss"].detach()) for _ in range(2)]
    assert held_out[0] == held_out[1]
    state = torch.get_rng_state()
    prior.loss(poses)
    assert torch.equal(torch.get_rng_state(), state)
    prior.train()
    assert not torch.equal(prior.loss(poses)["loss"], prior.loss(poses)["loss"])


def test_it_reports_its_likelihood_beside_its_energy(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = of_a_chain[0], of_a_chain[1][1000:1050]
    scores = evaluate(prior, poses)
    with torch.no_grad():
        nll = -prior.log_prob(poses)
        energy = prior.energy(poses)
    assert scores["nll"] == pytest.approx(float(nll.mean()), abs=1e-3)
    assert scores["nll_worst"] == pytest.approx(float(nll.max()), abs=1e-3)
    assert scores["bits_per_dof"] == pytest.approx(scores["nll"] / (9 * math.log(2)))
    assert scores["energy"] == pytest.approx(float(energy.mean()), abs=1e-3)
