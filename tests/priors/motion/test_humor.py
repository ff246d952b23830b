"""HuMoR's checkpoints: every tensor of a file with the published names and shapes lands, and what does not fit is refused."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from humor_reference import COMPONENTS, GMM_DIM, LAYOUT, LINEAR, NUM_PARAMETERS, Array, humor_checkpoint
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pose_priors.configs.base import UserError
from pose_priors.priors import load_prior
from pose_priors.priors.motion.cvae import MotionCVAE
from pose_priors.priors.motion.initial_state import InitialStatePrior

# --- the file


def test_the_network_is_the_published_one(weights: dict[str, Tensor]) -> None:
    for network, count in NUM_PARAMETERS.items():
        assert sum(value.numel() for name, value in weights.items() if name.startswith(network)) == count
    assert sum(NUM_PARAMETERS.values()) == 9_725_976


def test_every_tensor_lands_and_none_is_left_to_chance(prior: MotionCVAE, weights: dict[str, Tensor]) -> None:
    found = {name: value for name, value in prior.named_parameters() if name.split(".")[0] in LINEAR}
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(found[name], value), name


def test_it_comes_frozen_and_without_what_the_file_does_not_give(prior: MotionCVAE) -> None:
    assert prior.is_humor
    assert not prior.training
    assert not any(parameter.requires_grad for parameter in prior.parameters())
    assert prior.initial_state is None
    with pytest.raises(ValueError, match="rollout"):
        prior.sample(1)


def test_names_may_have_no_prefix_and_no_bodies(weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "best_model.pth"
    torch.save(humor_checkpoint(weights, prefix="") | {"min_val_loss": 1.0, "min_train_loss": 2.0}, path)
    assert torch.equal(load_prior(str(path)).decoder.net[9].weight, weights["decoder.net.9.weight"])
    torch.save({"model": weights}, path)
    assert torch.equal(load_prior(path).encoder.net[12].bias, weights["encoder.net.12.bias"])


def _refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_prior(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path.parent) in message
    assert len(message) < 900
    return message


FAULTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "missing": ({"decoder.net.7.bias": None, "encoder.net.0.weight": None}, ["missing: encoder.net.0.weight, decoder.net.7.bias"]),
    "many missing": ({f"prior_net.net.{i}.weight": None for i in (0, 1, 3, 4, 6)}, ["prior_net.net.3.weight and 2 more"]),
    "unexpected": ({"decoder.net.12.weight": torch.zeros(2)}, ["unexpected: decoder.net.12.weight"]),
    "like a body": ({"my_male_bm.v_template": torch.zeros(2)}, ["unexpected: my_male_bm.v_template"]),
    "misshapen": ({"prior_net.net.12.weight": torch.zeros(64, 1024)}, ["misshapen: prior_net.net.12.weight (64, 1024) for (96, 1024)"]),
    "no floats": ({"prior_net.net.12.bias": torch.zeros(96, dtype=torch.long)}, ["misshapen: prior_net.net.12.bias"]),
    "no tensor": ({"prior_net.net.12.bias": [0.0] * 96}, ["misshapen: prior_net.net.12.bias"]),
    "all at once": (
        {"encoder.net.0.bias": None, "critic.weight": torch.zeros(1), "decoder.net.0.weight": torch.zeros(1024, 371)},
        ["missing: encoder.net.0.bias", "unexpected: critic.weight", "misshapen: decoder.net.0.weight (1024, 371) for (1024, 387)"],
    ),
    "not finite": ({"decoder.net.9.bias": torch.full((216,), math.nan)}, ["decoder.net.9.bias", "not finite"]),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_named(fault: str, weights: dict[str, Tensor], tmp_path: Path) -> None:
    changes, said = FAULTS[fault]
    tensors = {name: value for name, value in {**weights, **changes}.items() if value is not None}
    # nothing is looked at but names and shapes: the file stays small
    shared = {name: torch.zeros(()).expand(v.shape) if isinstance(v, Tensor) and v.numel() > 1e4 else v for name, v in tensors.items()}
    path = tmp_path / "best_model.pth"
    torch.save(humor_checkpoint(shared), path)
    message = _refused(path)
    for part in said:
        assert part in message


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "it_ran", tmp_path / "best_model.pth"
    torch.save(humor_checkpoint({}) | {"min_val_loss": _Evil(marker)}, path)
    assert "safely" in _refused(path)
    assert not marker.exists()


def test_objects_of_numpys_are_refused(tmp_path: Path) -> None:
    """Numbers are let through; arrays, which may hold objects, are not."""
    path = tmp_path / "best_model.pth"
    torch.save(humor_checkpoint({}) | {"min_val_loss": np.array([{}], dtype=object)}, path)
    assert "safely" in _refused(path)


# --- the prior of initial states


def _mixture() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    factors = 0.3 * rng.normal(size=(COMPONENTS, GMM_DIM, GMM_DIM)) / math.sqrt(GMM_DIM)
    return {
        "weights": rng.dirichlet(np.ones(COMPONENTS)),
        "means": rng.normal(size=(COMPONENTS, GMM_DIM)),
        "covariances": factors @ factors.transpose(0, 2, 1) + 1e-3 * np.eye(GMM_DIM),
    }


def _initial_states(mixture: dict[str, Array], num: int = 20) -> tuple[Array, Array]:
    """States (N, 339) whose numbers that count are drawn near the means, and these numbers (N, 138)."""
    rng = np.random.default_rng(1)
    values = mixture["means"][rng.integers(COMPONENTS, size=num)] + 0.3 * rng.normal(size=(num, GMM_DIM))
    states = {name: rng.normal(size=(num, size)) for name, size in LAYOUT.items()}
    states |= {
        "joints": values[:, :66],
        "joints_vel": values[:, 66:132],
        "trans_vel": values[:, 132:135],
        "root_orient_vel": values[:, 135:],
    }
    return np.concatenate([states[name] for name in LAYOUT], 1), values


def test_the_mixture_is_that_of_sklearn_and_scipy() -> None:
    mixture = _mixture()
    states, values = _initial_states(mixture)
    found = InitialStatePrior(*map(torch.from_numpy, mixture.values())).log_prob(torch.from_numpy(states).view(4, 5, -1))
    reference = GaussianMixture(COMPONENTS)
    reference.weights_, reference.means_, reference.covariances_ = mixture.values()
    reference.precisions_cholesky_ = np.stack([np.linalg.cholesky(np.linalg.inv(c)) for c in mixture["covariances"]])
    np.testing.assert_allclose(found.flatten(), reference.score_samples(values), rtol=1e-8)
    each = [multivariate_normal(m, c).logpdf(values) for m, c in zip(mixture["means"], mixture["covariances"], strict=True)]
    np.testing.assert_allclose(found.flatten(), logsumexp(np.log(mixture["weights"])[:, None] + each, 0), rtol=1e-8)


def test_the_mixture_has_gradients_and_keeps_the_precision_it_is_given() -> None:
    mixture = _mixture()
    prior = InitialStatePrior(*map(torch.from_numpy, mixture.values()))
    states = torch.from_numpy(_initial_states(mixture, 2)[0]).requires_grad_()
    assert torch.autograd.gradcheck(prior.log_prob, (states,), fast_mode=True)
    single = prior.log_prob(states.detach().float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), prior.log_prob(states.detach()), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("place", ["humor/prior_gmm.npz", "humor/init_state_prior_gmm/prior_gmm.npz", "init_state_prior_gmm/prior_gmm.npz"])
def test_the_mixture_is_found_beside_the_checkpoint(place: str, published: Path, tmp_path: Path) -> None:
    mixture = _mixture()
    (tmp_path / "humor").mkdir()
    (tmp_path / place).parent.mkdir(exist_ok=True)
    os.link(published, tmp_path / "humor" / "best_model.pth")
    np.savez(tmp_path / place, **mixture)
    prior = load_prior(tmp_path / "humor" / "best_model.pth")
    states, _ = _initial_states(mixture, 3)
    expected = InitialStatePrior(*map(torch.from_numpy, mixture.values())).log_prob(torch.from_numpy(states))
    assert torch.equal(prior.initial_state.log_prob(torch.from_numpy(states)), expected)
    assert "initial_state.means" in prior.state_dict()


BAD_MIXTURES: dict[str, tuple[dict[str, Any], str]] = {
    "shape": ({"means": np.zeros((COMPONENTS, 137))}, "means is (12, 137), not (12, 138)"),
    "number": ({"covariances": np.tile(np.eye(GMM_DIM), (11, 1, 1))}, "covariances is (11, 138, 138), not (12, 138, 138)"),
    "weights": ({"weights": np.full(COMPONENTS, 0.5)}, "sum is 6"),
    "not a number": ({"means": np.full((COMPONENTS, GMM_DIM), np.nan)}, "means is not finite"),
    "not definite": ({"covariances": np.tile(np.diag([-1.0] + [1.0] * 137), (COMPONENTS, 1, 1))}, "covariance 0 is not positive definite"),
    "not symmetric": ({"covariances": np.tile(np.triu(np.ones((GMM_DIM, GMM_DIM))), (COMPONENTS, 1, 1))}, "not symmetric"),
    "name": ({"weights": None}, "weights"),
    "objects": ({"weights": np.array([{}] * COMPONENTS, dtype=object)}, "allow_pickle"),
}


@pytest.mark.parametrize("fault", BAD_MIXTURES)
def test_a_mixture_that_is_none_is_refused(fault: str, published: Path, tmp_path: Path) -> None:
    changes, said = BAD_MIXTURES[fault]
    os.link(published, tmp_path / "best_model.pth")
    np.savez(tmp_path / "prior_gmm.npz", **{name: value for name, value in {**_mixture(), **changes}.items() if value is not None})
    message = _refused(tmp_path / "best_model.pth")
    assert str(tmp_path / "prior_gmm.npz") in message
    assert said in message
