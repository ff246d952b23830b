"""Flow matching before it is trained: its density against an autograd Jacobian, and its energy against its density."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from prior_cases import log_volume, make_poses, shake, with_tails
from scipy.stats import chi2, kstest
from scipy.stats import f as fisher
from torch import Tensor, nn

from pose_priors.priors.flow_matching import FlowMatching, FlowMatchingConfig
from pose_priors.priors.networks.velocity import integrate, times_to_data

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
    expected = with_tails(flow, (x - data.mean(0)) / spread, prior.config.defensive_weight)
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
        expected = with_tails(flow, noise_of(rotvec)[None], prior.config.defensive_weight)[0]
        torch.testing.assert_close(prior.log_prob(pose), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("seen", [(), (1,)])
def test_the_broad_share_of_draws_is_from_students_noise_about_all_joints_that_are_drawn(seen: tuple[int, ...]) -> None:
    prior, poses = _gaussian(defensive_weight=0.5), make_poses(4000, seed=1).double()
    generator, visible = torch.Generator().manual_seed(0), torch.zeros(55, dtype=torch.bool)
    visible[list(seen)] = True
    drawn = prior.complete(poses, visible, generator, defensive=True) if seen else prior.sample(4000, generator, defensive=True)
    x, _ = prior._features(prior.select(drawn))
    noise = prior._to_noise(x, visible[prior.joint_index].expand(4000, -1))[0][:, 3 * len(seen) :]
    number, within = noise.shape[1], 60.0  # nobody there is drawn again for a joint beyond pi

    def share_below(squares: np.ndarray | float) -> np.ndarray:
        below: np.ndarray = 0.5 * chi2(number).cdf(squares) + 0.5 * fisher(number, 4).cdf(np.divide(squares, number))
        return below

    squares = noise.square().sum(-1).detach().numpy()
    squares = squares[squares < within]
    assert len(squares) == pytest.approx(4000 * share_below(within) / share_below(np.inf), rel=0.05)
    assert kstest(squares, lambda value: share_below(value) / share_below(within)).pvalue > 0.01


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
    assert float(gap.std()) < 0.1


def test_few_draws_do_as_well_for_what_is_normal() -> None:
    """Noise and minus it, and less what it adds by chance: of 16 passes nothing is left but the rule over noise levels."""
    prior = _gaussian(num_draws=16)
    poses = prior.sample(300, torch.Generator().manual_seed(0))
    with torch.no_grad():
        gap = prior.energy(poses) + prior.log_prob(poses)
    assert float(gap.std()) < 0.15
    assert abs(float(gap.mean())) < 0.5


def test_draws_ask_the_networks_in_turn() -> None:
    prior = _started(num_draws=6, num_networks=3)
    asked: list[int] = []
    for number, network in enumerate(prior.networks):
        network.register_forward_hook(lambda *_, number=number: asked.append(number))
    prior.energy(make_poses(2).double())
    assert asked == [0, 0, 1, 1, 2, 2]  # with noise and with minus it


def test_without_conditioning_it_completes_nothing() -> None:
    prior, pose = _started(use_conditioning=False), make_poses(2).double()
    assert not prior.completes
    for call in (prior.complete, prior.log_prob_given):
        with pytest.raises(ValueError, match=r"model\.use_conditioning=true"):
            call(pose, torch.ones(2, 55, dtype=torch.bool))


def test_validation_repeats_and_training_does_not() -> None:
    prior, poses = _started(), make_poses(64, seed=2).double()
    held_out = [float(prior.loss(poses)["loss"].detach()) for _ in range(2)]
    assert held_out[0] == held_out[1]
    state = torch.get_rng_state()
    prior.loss(poses)
    assert torch.equal(torch.get_rng_state(), state)
    prior.train()
    assert not torch.equal(prior.loss(poses)["loss"], prior.loss(poses)["loss"])
