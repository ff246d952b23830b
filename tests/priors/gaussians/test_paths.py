"""Velocities of paths to a kernel mixture: against posterior means, weighted draws and Jacobians."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pose_priors.priors.gaussians.kernels import KernelMixture
from pose_priors.priors.gaussians.paths import KernelPaths
from pose_priors.priors.gaussians.selection import Candidates, fit_kernels

SIZE = 5
NOTHING = torch.zeros(SIZE, dtype=torch.bool)
PATTERNS = [NOTHING, torch.tensor([True, False, False, True, False]), torch.tensor([True, True, True, True, False])]
TIMES = [1e-3, 0.3, 0.7, 0.999]


@pytest.fixture(scope="module")
def rows() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    turned = torch.randn(200, SIZE, generator=draw).double() @ torch.randn(SIZE, SIZE, generator=draw).double()
    return turned + 3 * (torch.arange(200) % 2)[:, None]


@pytest.fixture(scope="module")
def kernels(rows: Tensor) -> KernelMixture:
    return _fitted(rows, [0.8, 1.5, 0.5, 1.0])


def _fitted(rows: Tensor, widths: list[float]) -> KernelMixture:
    kernels = KernelMixture(SIZE, 2, widths).double().requires_grad_(False)
    fit_kernels(kernels, rows, Candidates([3, 2], [1e-3], 5.0))
    kernels.shift.fill_(0.1)
    kernels.log_share.copy_(torch.arange(2.0 * len(widths)).view(2, -1) / 4)  # that of each width another
    return kernels


def _on_paths(rows: Tensor, known: Tensor, time: float) -> tuple[Tensor, Tensor]:
    start = torch.randn(len(rows), SIZE, generator=torch.Generator().manual_seed(1)).to(rows)
    return torch.where(known, rows, (1 - time) * start + time * rows), rows.new_full((len(rows),), time)


@pytest.mark.parametrize("known", PATTERNS)
@pytest.mark.parametrize("time", TIMES)
def test_velocities_are_those_of_posterior_means(kernels: KernelMixture, rows: Tensor, known: Tensor, time: float) -> None:
    _check_posterior_means(kernels, rows, known, time)


@pytest.mark.parametrize("widths", [[1.0, 2.0], [0.7, 0.4]])
def test_so_they_are_of_gaussians_alone_and_of_kernels_alone(rows: Tensor, widths: list[float]) -> None:
    _check_posterior_means(_fitted(rows, widths), rows, PATTERNS[1], 0.6)


def _check_posterior_means(kernels: KernelMixture, rows: Tensor, known: Tensor, time: float) -> None:
    """x_t / t is the end seen with noise of (1 - t) / t, and what is known is seen without."""
    x, times = _on_paths(rows[:9], known, time)
    noise = torch.where(known, 0.0, ((1 - time) / time) ** 2).double()
    log_share, means = kernels.posterior_means(torch.where(known, x, x / time), kernels.observation(noise=noise))
    end = torch.einsum("bc,bcd->bd", log_share.exp(), means)
    expected = torch.where(known, 0.0, (end - x) / (1 - time))
    torch.testing.assert_close(KernelPaths(kernels, known).velocity(x, times), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("known", PATTERNS)
@pytest.mark.parametrize("time", [0.0, *TIMES, 1.0])
def test_divergences_are_traces_of_jacobians(kernels: KernelMixture, rows: Tensor, known: Tensor, time: float) -> None:
    paths = KernelPaths(kernels, known)
    x, times = _on_paths(rows[:9], known, time)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda at, when: paths.velocity(at[None], when[None])[0]))(x, times)
    expected = (jacobian.diagonal(dim1=-2, dim2=-1) * ~known).sum(-1)
    torch.testing.assert_close(paths.divergence(x, times), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("time", [0.2, 0.6])
def test_velocities_are_means_over_paths_that_come_by(kernels: KernelMixture, rows: Tensor, time: float) -> None:
    x, times = _on_paths(rows[:4], NOTHING, time)
    draw = torch.Generator().manual_seed(2)
    ends = kernels.draw(rows.new_zeros(400_000, 0), kernels.observation(torch.zeros(0, dtype=torch.long)), draw)
    starts = (x[:, None] - time * ends) / (1 - time)
    weights = (-starts.square().sum(-1) / 2).softmax(-1)
    mean = torch.einsum("bn,bnd->bd", weights, ends - starts)
    error = torch.einsum("bn,bnd->bd", weights.square(), (ends - starts - mean[:, None]).square()).sqrt()
    off = (KernelPaths(kernels, NOTHING).velocity(x, times) - mean) / error
    assert off.abs().max() < 4.5
    assert error.max() < 0.2


def test_a_row_is_its_own_affair(kernels: KernelMixture, rows: Tensor) -> None:
    paths = KernelPaths(kernels, NOTHING)
    x, _ = _on_paths(rows[:6], NOTHING, 0.5)
    times = torch.linspace(0, 1, 6).double()
    for question in (paths.velocity, paths.divergence):
        torch.testing.assert_close(question(x, times), torch.cat([question(x[i : i + 1], times[i : i + 1]) for i in range(6)]))


def test_rows_far_away_stay_finite(kernels: KernelMixture) -> None:
    x = 1e3 * torch.eye(SIZE).double().requires_grad_()
    paths = KernelPaths(kernels, NOTHING)
    for time in (0.0, 0.5, 0.98, 1.0):
        times = torch.full((SIZE,), time).double()
        value = paths.velocity(x, times).sum() + paths.divergence(x, times).sum()
        (slope,) = torch.autograd.grad(value, x)
        assert torch.isfinite(value)
        assert torch.isfinite(slope).all()


def test_they_are_worked_out_once_and_anew_when_the_mixture_changes(kernels: KernelMixture, rows: Tensor) -> None:
    first = KernelPaths.of(kernels, NOTHING)
    assert KernelPaths.of(kernels, NOTHING) is first
    assert KernelPaths.of(kernels, PATTERNS[1]) is not first
    kernels.load_state_dict(kernels.state_dict())
    assert KernelPaths.of(kernels, NOTHING) is not first


@pytest.mark.parametrize("known", PATTERNS)
@pytest.mark.parametrize("time", TIMES)
def test_one_time_for_all_rows_is_that_time_for_each(kernels: KernelMixture, rows: Tensor, known: Tensor, time: float) -> None:
    paths, (x, times) = KernelPaths(kernels, known), _on_paths(rows, known, time)
    torch.testing.assert_close(paths.velocity(x, times[:1]), paths.velocity(x, times))
    torch.testing.assert_close(paths.divergence(x, times[:1]), paths.divergence(x, times))


def test_they_follow_from_shares_and_the_shift_as_they_are(rows: Tensor) -> None:
    kernels, (x, times) = _fitted(rows, [0.8, 1.5]), _on_paths(rows, NOTHING, 0.6)
    for changed in (kernels.shift, kernels.log_share):
        before = KernelPaths.of(kernels, NOTHING).velocity(x, times)
        with torch.no_grad():
            changed.view(-1)[0] += 1
        after = KernelPaths.of(kernels, NOTHING).velocity(x, times)
        torch.testing.assert_close(after, KernelPaths(kernels, NOTHING).velocity(x, times))
        assert (after - before).abs().max() > 1e-2
