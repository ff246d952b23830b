"""Flow matching beside a mixture of training poses: the flow of the mixture alone is the mixture, and an average is one density."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from prior_cases import make_poses, shake, with_tails
from pydantic import ValidationError
from torch import Tensor, nn

from pose_priors.priors.flow_matching import FlowMatching, FlowMatchingConfig
from pose_priors.priors.gaussians import paths
from pose_priors.priors.networks.dropout import Dropout
from pose_priors.priors.networks.mixture_velocity import MixtureVelocityConfig, share_of
from pose_priors.priors.networks.velocity import integrate, times_to_data

JOINTS = (1, 16, 18)
Threads = Callable[[int], AbstractContextManager[None]]


def _started(share: float | None, **settings: Any) -> FlowMatching:
    mixture = None if share is None else MixtureVelocityConfig(num_components=[3, 2], share=share)
    torch.manual_seed(0)
    config = FlowMatchingConfig(
        kind="flow_matching", hidden=24, num_blocks=1, dropout=0.0, mixture=mixture, **{"num_steps": 12, **settings}
    )
    prior = config.build(JOINTS).double()
    prior.fit_statistics(make_poses(500).double())
    # networks that say something else
    nn.init.normal_(prior.networks[0].last.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    return prior.eval()


def _features(prior: FlowMatching, poses: Tensor) -> tuple[Tensor, Tensor]:
    return prior._features(prior.select(poses))


def test_the_flow_of_the_mixture_alone_has_its_density() -> None:
    prior, poses = _started(1.0), make_poses(40, seed=1).double()
    x, log_det = _features(prior, poses)
    kernels = prior.mixture.kernels
    exact = kernels.log_prob(x, kernels.observation()) + log_det.sum(-1)
    noise, _ = prior._to_noise(x, torch.zeros(40, 3, dtype=torch.bool))
    expected = with_tails(exact, noise, prior.config.defensive_weight)
    torch.testing.assert_close(prior.log_prob(poses), expected, rtol=0, atol=0.02)


def test_its_conditional_densities_are_the_mixtures() -> None:
    prior, poses = _started(1.0), make_poses(12, seed=1).double()
    visible = torch.zeros(12, 55, dtype=torch.bool)
    visible[:6, 1], visible[6:, [1, 18]] = True, True
    x, log_det = _features(prior, poses)
    kernels, given = prior.mixture.kernels, prior.log_prob_given(poses, visible)
    for rows, known in ((slice(0, 6), [0]), (slice(6, 12), [0, 2])):
        seen = torch.tensor([joint in known for joint in range(3)])
        columns = seen.repeat_interleave(3).nonzero().squeeze(-1)
        of_seen = kernels.log_prob(x[rows][:, columns], kernels.observation(columns))
        exact = kernels.log_prob(x[rows], kernels.observation()) - of_seen + (log_det[rows] * ~seen).sum(-1)
        noise, _ = prior._to_noise(x[rows], seen.expand(6, 3))
        expected = with_tails(exact, noise[:, (~seen).repeat_interleave(3)], prior.config.defensive_weight)
        torch.testing.assert_close(given[rows], expected, rtol=0, atol=0.02)


def test_draws_of_the_mixture_alone_are_its_draws() -> None:
    prior = _started(1.0)
    drawn, _ = _features(prior, prior.sample(4000, torch.Generator().manual_seed(0)))
    kernels = prior.mixture.kernels
    nothing = torch.zeros(0, dtype=torch.long)
    beside = kernels.draw(drawn.new_zeros(4000, 0), kernels.observation(nothing), torch.Generator().manual_seed(1))
    both = torch.stack([drawn.sort(0).values, beside.sort(0).values])
    for one, other in zip(*both.mT.contiguous(), strict=True):  # Kolmogorov and Smirnov, each number by itself
        values = torch.cat([one, other]).sort().values
        gap = (torch.searchsorted(one, values, right=True) - torch.searchsorted(other, values, right=True)).abs().max() / 4000
        assert gap < 2.2 * math.sqrt(2 / 4000)
    torch.testing.assert_close(drawn.T.cov(), beside.T.cov(), rtol=0, atol=0.12)


def test_an_average_is_one_density() -> None:
    """The density is the volume that the averaged field's paths take, by the Jacobian of whole paths."""
    prior = _started(0.4, num_steps=24)
    for pose in make_poses(2, seed=3).double():
        x, log_det = _features(prior, pose[None])

        def noise_of(at: Tensor) -> Tensor:
            return integrate(prior.velocity, at[None], times_to_data(96)[::-1])[0]

        jacobian = torch.autograd.functional.jacobian(noise_of, x[0])
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(noise_of(x[0])).sum()
        flow = normal + torch.linalg.slogdet(jacobian).logabsdet + log_det.sum()
        expected = with_tails(flow, noise_of(x[0])[None], prior.config.defensive_weight)[0]
        torch.testing.assert_close(prior.log_prob(pose), expected, rtol=0, atol=5e-3)


def test_velocities_are_averaged_by_the_share() -> None:
    alone, whole, some = (_started(share) for share in (None, 1.0, 0.3))
    x, time = torch.randn(2, 4, 9).double(), torch.rand(2, 4).double()
    visible = torch.tensor([[False, False, False], [True, False, True]]).repeat(4, 1).view(2, 4, 3)
    for row in range(4):  # each at its own time
        torch.testing.assert_close(whole.velocity(x[:1, row], time[:1, row]), whole.velocity(x, time)[:1, row])
    for seen in (None, visible):
        expected = 0.7 * alone.velocity(x, time, seen) + 0.3 * whole.velocity(x, time, seen)
        torch.testing.assert_close(some.velocity(x, time, seen), expected)
    assert (some.velocity(x, time, visible)[visible.repeat_interleave(3, -1)] == 0).all()
    poses = make_poses(5, seed=2).double()
    torch.testing.assert_close(_started(0.0).log_prob(poses), alone.log_prob(poses))
    assert (some.log_prob(poses) - alone.log_prob(poses)).abs().min() > 1e-3


def test_one_without_a_share_is_neither_fitted_nor_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, poses = _started(0.0), make_poses(5, seed=2).double()
    assert len(prior.mixture.kernels.centres) == 1
    monkeypatch.setattr(paths.KernelPaths, "of", None)
    visible = torch.rand(5, 55, generator=torch.Generator().manual_seed(0)) < 0.5
    assert torch.equal(prior.log_prob(poses), _started(None).log_prob(poses))
    assert prior.complete(poses, visible).shape == poses.shape


def test_networks_are_trained_as_without_it() -> None:
    losses = []
    for share in (None, 0.4):
        prior = shake(_started(share), 0.02).train()
        torch.manual_seed(3)
        losses.append(prior.loss(make_poses(64, seed=4).double())["loss"])
    assert losses[0] == losses[1]
    assert not any(parameter.requires_grad for parameter in _started(0.4).mixture.parameters())


def test_energies_leave_it_out() -> None:
    poses = make_poses(5, seed=2).double()
    torch.testing.assert_close(_started(0.4).energy(poses), _started(None).energy(poses))


def test_densities_have_gradients() -> None:
    prior = _started(0.4, num_steps=2)
    pose = make_poses(1, seed=3).double()

    def log_prob(joint: Tensor) -> Tensor:
        return prior.log_prob(torch.cat([pose[:, :16], joint[None, None], pose[:, 17:]], 1))

    assert torch.autograd.gradcheck(log_prob, pose[0, 16].clone().requires_grad_())


def test_what_was_fitted_is_in_its_state(tmp_path: Path) -> None:
    prior, poses = _started(0.4), make_poses(5, seed=2).double()
    torch.save(prior.state_dict(), tmp_path / "state.pt")
    again = prior.config.build(JOINTS).double().eval()
    again.log_prob(poses)  # what is kept of the unfitted mixture must not stay
    again.load_state_dict(torch.load(tmp_path / "state.pt"))
    torch.testing.assert_close(again.log_prob(poses), prior.log_prob(poses))


def test_rows_of_which_all_is_visible_stay_as_they_are() -> None:
    prior, poses = _started(0.4), make_poses(3, seed=2).double()
    visible = torch.zeros(3, 55, dtype=torch.bool)
    visible[1], visible[2, 16] = True, True
    drawn = prior.complete(poses, visible, torch.Generator().manual_seed(0))
    assert torch.equal(drawn[1], poses[1])
    given = prior.log_prob_given(poses, visible)
    torch.testing.assert_close(given[1], given.new_zeros(()), rtol=0, atol=1e-9)
    for row in range(3):
        torch.testing.assert_close(given[row], prior.log_prob_given(poses[row], visible[row]))


@pytest.mark.parametrize("threads", [1, 8])
def test_patterns_are_not_worked_out_again_and_again(threads: int, monkeypatch: pytest.MonkeyPatch, torch_threads: Threads) -> None:
    prior, poses, made = _started(0.4, num_steps=2).requires_grad_(False), make_poses(14, seed=2).double(), []
    whole = paths._clustered
    monkeypatch.setattr(paths, "_clustered", lambda *given: made.append(given) or whole(*given))
    visible = torch.zeros(14, 55, dtype=torch.bool)
    for number in range(14):  # all seven that leave a joint, in turn
        visible[number, list(JOINTS)] = torch.tensor([(number % 7) >> bit & 1 == 1 for bit in range(3)])
    for asked in (prior.log_prob_given, prior.complete):
        made.clear()
        with torch_threads(threads):
            asked(poses, visible)
        most = 7 * len(prior.mixture.kernels.mean)
        # a thread that the system stops for long finds that others have passed it by, and begins its pattern anew
        assert len(made) <= (most if threads == 1 else 2 * most)


def test_none_of_a_batch_of_nothing() -> None:
    prior = _started(0.4)
    assert prior.log_prob(make_poses(1)[:0].double()).shape == (0,)
    assert prior.complete(make_poses(1)[:0].double(), torch.zeros(0, 55, dtype=torch.bool)).shape == (0, 55, 3)


@pytest.mark.parametrize(("num_poses", "share"), [(10, 0.5), (10_000, 0.5), (54_772, 0.25), (300_000, 0.0), (10_000_000, 0.0)])
def test_the_more_poses_the_less_it_has_to_say(num_poses: int, share: float) -> None:
    assert share_of(num_poses) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"share": -0.1}, {"share": "much"}, {"widths": [0.0]}, {"num_components": []}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MixtureVelocityConfig(**wrong)


def test_what_threads_do_side_by_side_is_what_one_does(torch_threads: Threads) -> None:
    prior, poses = _started(0.4).requires_grad_(False), make_poses(50, seed=1).double()
    visible = torch.zeros(50, 55, dtype=torch.bool)
    for joint, rows in zip((1, 16, 18), torch.randint(2, (3, 50), generator=torch.Generator().manual_seed(0)).bool(), strict=True):
        visible[rows, joint] = True

    def all_of_it() -> list[Tensor]:
        prior.mixture.kernels._kept.forget()
        draw = torch.Generator().manual_seed(1)
        given = prior.log_prob_given(poses, visible)
        return [given, prior.log_prob(poses), prior.complete(poses, visible, draw), prior.sample(300, draw)]

    with torch_threads(1):
        alone = all_of_it()
    with torch_threads(3):
        for found, expected in zip(all_of_it(), alone, strict=True):
            torch.testing.assert_close(found, expected)


def test_masks_of_dropout_come_one_after_the_other(torch_threads: Threads) -> None:
    prior, poses = _started(0.4).requires_grad_(False).train(), make_poses(70, seed=1).double()
    prior.networks[0].dropout = Dropout(0.5)
    found = []
    for threads in (1, 3):
        torch.manual_seed(0)
        with torch_threads(threads):
            found.append(prior.log_prob(poses))
    assert torch.equal(*found)


def test_the_gradient_by_times_that_are_one_is_each_rows_own() -> None:
    prior, x = _started(0.4), torch.randn(6, 9).double()
    slopes = []
    for time in (torch.tensor(0.4).double().expand(6), torch.full((6,), 0.4).double()):
        leaf = time.detach().requires_grad_()
        slopes += torch.autograd.grad((prior.velocity(x, leaf).sum(-1) * torch.arange(6)).sum(), leaf)
        slopes.append(torch.func.grad(lambda at: (prior.velocity(x, at).sum(-1) * torch.arange(6)).sum())(time))
    for slope in slopes[1:]:
        torch.testing.assert_close(slope, slopes[0])
