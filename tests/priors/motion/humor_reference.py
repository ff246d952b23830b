"""HuMoR as published: names, shapes and files, and a slow reference in double precision, which shares nothing with the code under test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

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


def random_weights() -> dict[str, Tensor]:
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


def humor_checkpoint(tensors: dict[str, Tensor], prefix: str = "module.") -> dict[str, Any]:
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


# --- the forward pass, slowly


def mlp(weights: dict[str, Tensor], network: str, x: Array, joined: Array | None = None) -> Array:
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


def split_state(values: Array, layout: dict[str, int]) -> State:
    return dict(zip(layout, np.split(values, np.cumsum(list(layout.values()))[:-1]), strict=True))


def joined_state(state: State) -> Array:
    return np.concatenate([state[name].ravel() for name in LAYOUT])


def aligning_transform(state: State) -> tuple[Array, Array]:
    """The turn about z that brings the right, minus the root's first column, to +x, and the shift that brings the translation over 0."""
    right = -state["root_orient"].reshape(3, 3)[:, 0]
    angle = -math.atan2(right[1], right[0])
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    return turn, np.array([-state["trans"][0], -state["trans"][1], 0.0])


def transformed_state(state: State, turn: Array, shift: Array, trans2joint: Array, invert: bool = False) -> State:
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


def trans2joint_of(state: State) -> Array:
    """Minus where the pelvis is over the floor as seen from the translation."""
    return -np.array([*(state["joints"][:2] - state["trans"][:2]), 0.0])


def decoded_state(weights: dict[str, Tensor], state: State, z: Array) -> tuple[State, Array, Array]:
    """The next state, the decoder's output as it is, and the logits of contacts."""
    out = mlp(weights, "decoder", joined_state(state), z)
    parts = split_state(out, OUTPUT)
    after = {}
    for name in LAYOUT:
        if name in ("root_orient", "pose_body"):
            turns = Rotation.from_rotvec(parts[name].reshape(-1, 3)).as_matrix()
            after[name] = (turns @ state[name].reshape(-1, 3, 3)).ravel()
        else:
            after[name] = state[name] + parts[name]
    return after, out, parts["contacts"]


def rolled_out(weights: dict[str, Tensor], first: State, num_steps: int, keep_bones: bool) -> tuple[list[State], list[Array]]:
    """Each step in the frame of the state before it, with the prior's mean, the world's frame kept beside it."""
    trans2joint = trans2joint_of(first)
    turn, shift = aligning_transform(first)
    state = transformed_state(first, turn, shift, trans2joint)
    bones = _bones(state)
    states, logits = [], []
    for _ in range(num_steps):
        z = mlp(weights, "prior_net", joined_state(state))[:LATENT]
        state, _, contacts = decoded_state(weights, state, z)
        if keep_bones:
            state = _posed(state, bones)
        in_world = transformed_state(state, turn, shift, trans2joint, invert=True)
        states.append(in_world)
        logits.append(contacts)
        local_turn, local_shift = aligning_transform(state)
        state = transformed_state(state, local_turn, local_shift, trans2joint)
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


def random_motion(num_frames: int, seed: int = 2) -> Array:
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
        rows.append(joined_state(_posed(state, list(offsets))))
    return np.stack(rows)


def normal_log_prob(z: Array, mean: Array, log_variance: Array) -> float:
    return float((-log_variance / 2 - math.log(2 * math.pi) / 2 - (z - mean) ** 2 / (2 * np.exp(log_variance))).sum())
