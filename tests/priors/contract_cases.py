"""The priors that the contract is checked on: every variant of every member of the registry, started and trained for a few steps."""

from __future__ import annotations

from functools import cache

import pytest
from prior_cases import JOINTS, cases, make_poses, trained

from pose_priors.priors.base import DensityPrior, Prior

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
def prior_of(name: str) -> Prior:
    """Started on one set of poses and trained for some steps on a shifted one; the tests leave it as it is."""
    return trained(CASES[name], JOINTS, STEPS, make_poses(128, shift=0.1), started_on=make_poses(256))
