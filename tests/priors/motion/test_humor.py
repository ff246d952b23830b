"""HuMoR's checkpoints: every tensor of a file with the published names and shapes lands, and the numbers that come out are those of a slow
reference written from the publication, in double precision, which shares nothing with the code under test."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pose_priors.configs.base import UserError
from pose_priors.priors import load_prior
from pose_priors.priors.motion.cvae import MotionCVAE
from pose_priors.priors.motion.initial_state import InitialStatePrior

Array = np.ndarray
State = dict[str, Array]

# published: the linear layers of each network, (out, in); a GroupNorm of 16 groups after each but the last
LINEAR = {
    "encoder": [(1024, 678), (1024, 1024), (1024, 1024), (1024, 1024), (96, 1024)],
    "prior_net": [(1024, 339), (1024, 1024), (1024, 1024), (1024, 1024), (96, 1024)],
    "decoder": [(1024, 387), (1024, 1072), (512, 1072), (216, 560)],
}
NUM_PARAMETERS = {"encoder": 3_950_688, "decoder": 2_171_736, "prior_net": 3_603_552}
LAYOUT = {"trans": 3, "trans_vel": 3, "root_orient": 9, "root_orient_vel": 3, "pose_body": 189, "joints": 66, "joints_vel": 66}
OUTPUT = {
    "trans": 3,
    "trans_vel": 3,
    "root_orient": 3,
    "root_orient_vel": 3,
    "pose_body": 63,
    "joints": 66,
    "joints_vel": 66,
    "contacts": 9,
}
PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
PELVIS = np.array([-0.0018, -0.2233, 0.0282])  # of SMPL's mean shape, where its translation is zero
LATENT, COMPONENTS, GMM_DIM = 48, 12, 138


def _weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for network, layers in LINEAR.items():
        for i, (size_out, size_in) in enumerate(layers):
            tensors[f"{network}.net.{3 * i}.weight"] = torch.randn(size_out, size_in, generator=generator) / math.sqrt(size_in)
            tensors[f"{network}.net.{3 * i}.bias"] = 0.3 * torch.randn(size_out, generator=generator)
            if i < len(layers) - 1:
                tensors[f"{network}.net.{3 * i + 1}.weight"] = 1 + 0.2 * torch.randn(size_out, generator=generator)
                tensors[f"{network}.net.{3 * i + 1}.bias"] = 0.2 * torch.randn(size_out, generator=generator)
    return tensors


def _checkpoint(tensors: dict[str, Tensor], prefix: str = "module.") -> dict[str, Any]:
    """As HuMoR's training saves it: copies of SMPL among the weights, the losses as numpy's numbers."""
    bodies = {
        f"{bm}.{name}": torch.zeros(4, 3) for bm in ("male_bm", "female_bm", "neutral_bm") for name in ("v_template", "bm.J_regressor")
    }
    return {
        "model": {prefix + name: value for name, value in (bodies | tensors).items()},
        "optim": {"state": {0: {"step": 7, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "epoch": 199,
        "min_val_loss": np.float64(-1.5),
        "min_train_loss": np.float32(-1.25),
    }


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return _weights()


@pytest.fixture(scope="module")
def published(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "humor" / "best_model.pth"
    path.parent.mkdir()
    torch.save(_checkpoint(weights), path)
    return path


@pytest.fixture(scope="module")
def prior(published: Path) -> MotionCVAE:
    loaded = load_prior(published)
    assert isinstance(loaded, MotionCVAE)
    return loaded


@pytest.fixture
def precise(prior: MotionCVAE) -> Iterator[MotionCVAE]:
    """The same prior in double precision, for the time of a test."""
    yield prior.double()
    prior.float()


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
    torch.save(_checkpoint(weights, prefix="") | {"min_val_loss": 1.0, "min_train_loss": 2.0}, path)
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
    torch.save(_checkpoint(shared), path)
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
    torch.save(_checkpoint({}) | {"min_val_loss": _Evil(marker)}, path)
    assert "safely" in _refused(path)
    assert not marker.exists()


def test_objects_of_numpys_are_refused(tmp_path: Path) -> None:
    """Numbers are let through; arrays, which may hold objects, are not."""
    path = tmp_path / "best_model.pth"
    torch.save(_checkpoint({}) | {"min_val_loss": np.array([{}], dtype=object)}, path)
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


# --- the forward pass, slowly


def _mlp(weights: dict[str, Tensor], network: str, x: Array, joined: Array | None = None) -> Array:
    """One vector through one network; `joined` is appended to the input of every layer."""
    last = len(LINEAR[network]) - 1
    for i in range(last + 1):
        at = {kind: weights[f"{network}.net.{3 * i}.{kind}"].double().numpy() for kind in ("weight", "bias")}
        x = at["weight"] @ (x if joined is None else np.concatenate([x, joined])) + at["bias"]
        if i < last:
            groups = x.reshape(16, -1)
            x = ((groups - groups.mean(1, keepdims=True)) / np.sqrt(groups.var(1, keepdims=True) + 1e-5)).ravel()
            norm = {kind: weights[f"{network}.net.{3 * i + 1}.{kind}"].double().numpy() for kind in ("weight", "bias")}
            x = np.maximum(x * norm["weight"] + norm["bias"], 0)
    return x


def _split(values: Array, layout: dict[str, int]) -> State:
    return dict(zip(layout, np.split(values, np.cumsum(list(layout.values()))[:-1]), strict=True))


def _joined(state: State) -> Array:
    return np.concatenate([state[name].ravel() for name in LAYOUT])


def _aligning(state: State) -> tuple[Array, Array]:
    """The turn about z that brings the right, minus the root's first column, to +x, and the shift that brings the translation over 0."""
    right = -state["root_orient"].reshape(3, 3)[:, 0]
    angle = -math.atan2(right[1], right[0])
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    return turn, np.array([-state["trans"][0], -state["trans"][1], 0.0])


def _transformed(state: State, turn: Array, shift: Array, trans2joint: Array, invert: bool = False) -> State:
    def point(p: Array, of_joint: Array) -> Array:
        return turn.T @ (p + of_joint) - of_joint - shift if invert else turn @ (p + shift + of_joint) - of_joint

    turning = turn.T if invert else turn
    out = dict(state)
    out["trans"] = point(state["trans"], np.zeros(3))
    out["root_orient"] = (turning @ state["root_orient"].reshape(3, 3)).ravel()
    for name in ("trans_vel", "root_orient_vel", "joints_vel"):
        out[name] = np.concatenate([turning @ v for v in state[name].reshape(-1, 3)])
    out["joints"] = np.concatenate([point(p, trans2joint) for p in state["joints"].reshape(-1, 3)])
    return out


def _trans2joint(state: State) -> Array:
    """Minus where the pelvis is over the floor as seen from the translation."""
    return -np.array([*(state["joints"][:2] - state["trans"][:2]), 0.0])


def _decoded(weights: dict[str, Tensor], state: State, z: Array) -> tuple[State, Array, Array]:
    """The next state, the decoder's output as it is, and the logits of contacts."""
    out = _mlp(weights, "decoder", _joined(state), z)
    parts = _split(out, OUTPUT)
    after = {}
    for name in LAYOUT:
        if name in ("root_orient", "pose_body"):
            turns = Rotation.from_rotvec(parts[name].reshape(-1, 3)).as_matrix()
            after[name] = (turns @ state[name].reshape(-1, 3, 3)).ravel()
        else:
            after[name] = state[name] + parts[name]
    return after, out, parts["contacts"]


def _rolled_out(weights: dict[str, Tensor], first: State, num_steps: int, keep_bones: bool) -> tuple[list[State], list[Array]]:
    """Each step in the frame of the state before it, with the prior's mean, the world's frame kept beside it."""
    trans2joint = _trans2joint(first)
    turn, shift = _aligning(first)
    state = _transformed(first, turn, shift, trans2joint)
    bones = _bones(state)
    states, logits = [], []
    for _ in range(num_steps):
        z = _mlp(weights, "prior_net", _joined(state))[:LATENT]
        state, _, contacts = _decoded(weights, state, z)
        if keep_bones:
            state = _posed(state, bones)
        in_world = _transformed(state, turn, shift, trans2joint, invert=True)
        states.append(in_world)
        logits.append(contacts)
        local_turn, local_shift = _aligning(state)
        state = _transformed(state, local_turn, local_shift, trans2joint)
        turn, shift = local_turn @ turn, np.array([-in_world["trans"][0], -in_world["trans"][1], 0.0])
    return states, logits


def _globals(state: State) -> list[Array]:
    turns = [state["root_orient"].reshape(3, 3)]
    for joint, local in enumerate(state["pose_body"].reshape(21, 3, 3), start=1):
        turns.append(turns[PARENTS[joint]] @ local)
    return turns


def _bones(state: State) -> list[Array]:
    turns, joints = _globals(state), state["joints"].reshape(22, 3)
    return [turns[PARENTS[j]].T @ (joints[j] - joints[PARENTS[j]]) for j in range(1, 22)]


def _posed(state: State, bones: list[Array]) -> State:
    """The state with the body's own joints in place of those that the network tells, but for the pelvis."""
    turns, joints = _globals(state), [state["joints"][:3]]
    for j in range(1, 22):
        joints.append(joints[PARENTS[j]] + turns[PARENTS[j]] @ bones[j - 1])
    return state | {"joints": np.concatenate(joints)}


def _motion(num_frames: int, seed: int = 2) -> Array:
    """States (T, 339) of a body somewhere in the world that turns, walks and wriggles at random."""
    rng = np.random.default_rng(seed)
    rows = []
    trans, turns = np.array([3.0, -2.0, 1.0]), Rotation.from_rotvec(rng.normal(size=(22, 3)))
    offsets = 0.2 * rng.normal(size=(21, 3))
    for _ in range(num_frames):
        trans = trans + 0.05 * rng.normal(size=3)
        turns = Rotation.from_rotvec(0.2 * rng.normal(size=(22, 3))) * turns
        matrices = turns.as_matrix()
        state = {
            "trans": trans,
            "trans_vel": rng.normal(size=3),
            "root_orient": matrices[0].ravel(),
            "root_orient_vel": rng.normal(size=3),
            "pose_body": matrices[1:].ravel(),
            "joints": np.zeros(66),
            "joints_vel": rng.normal(size=66),
        }
        state["joints"][:3] = trans + PELVIS
        rows.append(_joined(_posed(state, list(offsets))))
    return np.stack(rows)


def _normal_log_prob(z: Array, mean: Array, log_variance: Array) -> float:
    return float((-log_variance / 2 - math.log(2 * math.pi) / 2 - (z - mean) ** 2 / (2 * np.exp(log_variance))).sum())


def test_posterior_prior_and_decoder(precise: MotionCVAE, weights: dict[str, Tensor]) -> None:
    states = _motion(4)
    found = precise.transition(torch.from_numpy(states[:-1]), torch.from_numpy(states[1:]))
    z = np.random.default_rng(3).normal(size=(3, LATENT))
    output, logits = precise.decode(found.inputs, torch.from_numpy(z))
    for t in range(3):
        before, after = _split(states[t], LAYOUT), _split(states[t + 1], LAYOUT)
        frame = (*_aligning(before), _trans2joint(before))
        own, seen = _transformed(before, *frame), _transformed(after, *frame)
        q, p = _mlp(weights, "encoder", np.concatenate([_joined(own), _joined(seen)])), _mlp(weights, "prior_net", _joined(own))
        np.testing.assert_allclose(found.inputs[t], _joined(own), atol=1e-12)
        for moments, expected in ((found.posterior, q), (found.prior, p)):
            np.testing.assert_allclose(moments[0][t], expected[:LATENT], atol=1e-9)
            np.testing.assert_allclose(moments[1][t], expected[LATENT:], atol=1e-9)
        _, decoded, contacts = _decoded(weights, own, z[t])
        np.testing.assert_allclose(output[t], decoded[:-9], atol=1e-9)
        np.testing.assert_allclose(logits[t], contacts, atol=1e-9)


def test_likelihood_of_the_latent(precise: MotionCVAE, weights: dict[str, Tensor]) -> None:
    """log p(z | before) at the mean of q(z | before, after), of two people at once."""
    people = np.stack([_motion(4, seed) for seed in (2, 5)])
    found = precise.transition_log_prob(torch.from_numpy(people))
    assert found.shape == (2, 3)
    for p in range(2):
        for t in range(3):
            before, after = _split(people[p, t], LAYOUT), _split(people[p, t + 1], LAYOUT)
            frame = (*_aligning(before), _trans2joint(before))
            own, seen = (_joined(_transformed(state, *frame)) for state in (before, after))
            z = _mlp(weights, "encoder", np.concatenate([own, seen]))[:LATENT]
            mean, log_variance = np.split(_mlp(weights, "prior_net", own), 2)
            assert float(found[p, t]) == pytest.approx(_normal_log_prob(z, mean, log_variance), rel=1e-9)


def test_steps_in_the_world(precise: MotionCVAE, weights: dict[str, Tensor]) -> None:
    """Three steps of what the network says, residuals composed, each from the frame of the one before."""
    first = _motion(1)[0]
    expected, contacts = _rolled_out(weights, _split(first, LAYOUT), 3, keep_bones=False)
    state = torch.from_numpy(first)[None]
    turned = 0.0
    for t in range(3):
        before = state
        state, logits = precise.step(state)
        np.testing.assert_allclose(state[0], _joined(expected[t]), atol=1e-8)
        np.testing.assert_allclose(logits[0], contacts[t], atol=1e-8)
        turned += float((state - before).abs().max())
    assert turned > 0.3  # else every frame would have been the first


def test_rollout_in_the_world(precise: MotionCVAE, weights: dict[str, Tensor]) -> None:
    """The same with the body's own joints fed back, as HuMoR does with those of SMPL when it fits motions."""
    first = _motion(1)[0]
    expected, contacts = _rolled_out(weights, _split(first, LAYOUT), 3, keep_bones=True)
    states, probabilities = precise.rollout(torch.from_numpy(first)[None], 3)
    np.testing.assert_array_equal(states[0, 0], first)
    for t in range(3):
        np.testing.assert_allclose(states[0, t + 1], _joined(expected[t]), atol=1e-8)
        np.testing.assert_allclose(probabilities[0, t], 1 / (1 + np.exp(-contacts[t])), atol=1e-9)


def test_single_precision_is_close(prior: MotionCVAE, weights: dict[str, Tensor]) -> None:
    first = _motion(1)[0]
    expected, _ = _rolled_out(weights, _split(first, LAYOUT), 1, keep_bones=False)
    np.testing.assert_allclose(prior.step(torch.from_numpy(first).float()[None])[0][0], _joined(expected[0]), atol=1e-3)
