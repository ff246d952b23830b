"""Fits from random starts by searches from coarse to fine and by posterior means."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from test_prior_tasks import ARM, Known, arm_mixture, body_data
from torch import Tensor

from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.fitting import NO_PRIOR, fit, searches
from pose_priors.benchmarks.priors.gmm import Mixture
from pose_priors.benchmarks.priors.skeleton import Skeleton
from pose_priors.benchmarks.priors.tasks import TASKS, random_starts, regulariser


class Pulling(Known):
    """An energy that pulls each noise's poses to a pose of its own, all others to none."""

    def __init__(self, mixture: Mixture, to: dict[float, Tensor]) -> None:
        super().__init__(mixture)
        self._to = {math.radians(noise): self.select(pose) for noise, pose in to.items()}

    def energy(self, pose: Tensor) -> Tensor:
        return self._pull(0.0)(pose)

    def smoothed(self, noise: float) -> Callable[[Tensor], Tensor]:
        return self._pull(noise)

    def _pull(self, noise: float) -> Callable[[Tensor], Tensor]:
        at = self._to.get(noise, torch.zeros(len(ARM), 3, dtype=torch.float64))
        return lambda pose: 1e7 * (pose[..., list(self.joint_indices), :].double() - at).square().sum((-1, -2))


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regulariser, "_NUM_STARTS", 42)
    monkeypatch.setattr(random_starts, "_MAX_STEPS", 150)
    monkeypatch.setattr(random_starts, "_NUM_DRAWS", 24)


def _data(mixture: Mixture) -> BenchmarkData:
    poses = mixture.sample(30, torch.Generator().manual_seed(0))
    return BenchmarkData(*poses.split(10), mixture.joint_indices, "0" * 16)


def test_validation_chooses_where_the_search_ends() -> None:
    """Validation poses are those that one smoothed energy pulls to, test poses those of another, finer one."""
    arm = arm_mixture(1)
    of_val, of_test = arm.sample(2, torch.Generator().manual_seed(3))
    data = replace(_data(arm), val=of_val.expand(10, -1, -1), test=of_test.expand(10, -1, -1))
    (table,) = random_starts.run([Pulling(arm, {8: of_val, 4: of_test, 0: of_test})], data)
    row = table.rows["known"]
    assert "known 8." in table.notes[0]
    expected = Skeleton(data).mpjpe(of_val, of_test)
    assert row["coarse to fine"] == pytest.approx(float(expected), abs=0.1)
    assert row["coarse to fine: median"] == pytest.approx(float(expected), abs=0.1)
    assert row["one search"] < 0.1 < row["coarse to fine"]


def test_better_estimates_than_the_nearest_mode() -> None:
    """Among narrow components a search from anywhere ends at a wrong one, one from coarse to fine or the posterior mean does not."""
    many = replace_covariances(arm_mixture(12, spread=0.05), 1e-3)
    (table,) = TASKS["random_starts"]([many, Known(arm_mixture(1))], _data(many))
    row = table.rows["arm"]
    assert row["one search: failed"] == row["coarse to fine: failed"] == 0
    assert row["coarse to fine"] < 0.8 * row["one search"]
    assert row["posterior mean"] < 0.8 * row["one search"]
    assert table.rows[NO_PRIOR]["one search"] > row["posterior mean"]
    # one that knows neither its energy under noise nor its posterior
    assert set(table.rows["known"]) == {"one search", "posterior mean", "one search: failed", "one search: median"}
    assert table.rows["known"]["posterior mean"] is None


def replace_covariances(of: Mixture, variance: float) -> Mixture:
    covariances = variance * torch.eye(3 * len(ARM), dtype=torch.float64).expand(len(of.means), -1, -1)
    return Mixture(of.name, of.joint_indices, of.default_pose, of.weights, of.means, covariances)


def test_searches_end_where_a_fit_ends_and_some_problems_are_what_they_were() -> None:
    arm = arm_mixture(2)
    data, rows = _data(arm), torch.tensor([2, 7, 11])
    skeleton = Skeleton(body_data(joints=ARM))
    whole = regulariser.from_random_starts(data.test, skeleton, 5)
    some = whole.of(rows)
    torch.testing.assert_close(some.truth, data.test[rows % 10])
    torch.testing.assert_close(some.data_energy(data.test[:3], torch.arange(3)), whole.data_energy(data.test[:3], rows))
    in_turn = list(searches(some, [arm.smoothed(0.3), arm.energy], skeleton, 60))
    assert len(in_turn) == 2
    found, fits = fit(some, arm, skeleton, 60, noises=(0.3,))
    torch.testing.assert_close(in_turn[-1][0], found)
    torch.testing.assert_close(in_turn[-1][1].start_energy, fits.start_energy)
    assert (in_turn[-1][1].start_energy < whole.data_energy(some.start, rows) + arm.energy(some.start)).all()
    torch.testing.assert_close(in_turn[0][0], fit(some, Smoothed(arm), skeleton, 60)[0])


class Smoothed(Known):
    """A mixture under noise of 0.3 rad."""

    def energy(self, pose: Tensor) -> Tensor:
        return self.mixture.smoothed(0.3)(pose)
