"""Likelihoods that are none, and draws that cannot be made: told in one line, on each way to a posterior."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from contract_cases import CASES
from prior_cases import make_poses, trained
from torch import Tensor

from pose_priors.priors.base import Prior

JOINTS = (1, 2, 4)
TARGET = make_poses(3, seed=9)
# in closed form, annealed from the prior, and led by a mixture
WAYS = ["gaussian-full", "mixture", "joint_flow-affine-parent", "global_flow-denoiser"]
every_way = pytest.mark.parametrize("name", WAYS)


@cache
def _prior(name: str) -> Prior:
    return trained(CASES[name], JOINTS, 2, make_poses(64), started_on=make_poses(256))


def _fit(pose: Tensor) -> Tensor:
    apart = (pose - TARGET[: pose.shape[1]].to(pose))[:, :, list(JOINTS)]
    return -apart.square().sum((-1, -2)) / 0.1


def _refused(name: str, of: Callable[[Tensor], Any], num_observations: Any = 3, num_samples: Any = 4) -> str:
    with pytest.raises(ValueError, match=r"observation|differentiable|integer") as caught:
        _prior(name).posterior(of, num_observations, num_samples, torch.Generator().manual_seed(0))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@every_way
def test_nats_are_one_number_for_each_draw_and_observation(name: str) -> None:
    for of, got in (
        (lambda pose: _fit(pose).sum(), "got ()"),
        (lambda pose: _fit(pose).sum(0), "got (3,)"),
        (lambda pose: _fit(pose).T, "got (3, 4)"),
        (lambda pose: _fit(pose)[..., None], "got (4, 3, 1)"),
        (lambda pose: _fit(pose).detach().numpy(), "got ndarray"),
        (lambda pose: None, "got NoneType"),
    ):
        assert got in _refused(name, of)


@every_way
def test_nats_have_a_gradient(name: str) -> None:
    assert "no gradient" in _refused(name, lambda pose: _fit(pose).detach())
    assert "no gradient" in _refused(name, lambda pose: torch.zeros(pose.shape[:2]))


@every_way
@pytest.mark.parametrize("nats", [-math.inf, math.nan, math.inf])
def test_what_rules_everything_out_is_named(name: str, nats: float) -> None:
    def of(pose: Tensor) -> Tensor:
        return torch.where(torch.tensor([False, True, False]), nats, _fit(pose))

    assert "observation 1 is not finite" in _refused(name, of)


@every_way
def test_draws_and_observations_are_counted(name: str) -> None:
    for num in (0, -1, 2.0):
        assert f"num_samples is an integer of at least 1; got {num}" in _refused(name, _fit, num_samples=num)
        assert f"num_observations is an integer of at least 1; got {num}" in _refused(name, _fit, num_observations=num)


def test_one_draw_of_what_is_known_to_the_last_digit() -> None:
    found = _prior("mixture").posterior(lambda pose: 1e7 * _fit(pose), 1, 1, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found[0, 0, list(JOINTS)], TARGET[0, list(JOINTS)], rtol=0, atol=1e-3)
