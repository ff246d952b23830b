"""Checkpoints: the good one comes back as it was, every other is refused in one line, and none runs code."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from prior_cases import JOINTS, cases, make_poses, refusal, trained

import pose_priors
from pose_priors.configs.base import UserError
from pose_priors.priors import load_prior
from pose_priors.priors.base import Prior
from pose_priors.priors.checkpoint import CHECKPOINT_FORMAT, describe
from pose_priors.priors.gaussian import GaussianConfig

CASES = dict(cases())


def _content(prior: Prior) -> dict[str, Any]:
    """What Lightning saves of a prior: its weights under the module's name beside what describes it."""
    experiment = {"model": prior.config.model_dump(mode="json"), "seed": 0}
    return {
        "state_dict": {f"prior.{name}": value for name, value in prior.state_dict().items()},
        "prior": describe(prior, experiment, "0123456789abcdef"),
        "epoch": 3,
    }


@pytest.fixture(scope="module")
def gaussian() -> Prior:
    poses = make_poses(100)
    return trained(GaussianConfig(kind="gaussian"), (1, 16), 0, poses, started_on=poses)


_refused = partial(refusal, at_most=600)


@pytest.mark.parametrize("name", CASES)
def test_a_good_checkpoint_comes_back_frozen_and_the_same(name: str, tmp_path: Path) -> None:
    poses = make_poses(60)
    prior = trained(CASES[name], JOINTS, 0, poses, started_on=poses)
    path = tmp_path / "best.ckpt"
    torch.save(_content(prior), path)
    for given in (path, str(path)):
        loaded = load_prior(given)
        assert type(loaded) is type(prior)
        assert loaded.joints == prior.joints
        assert not any(module.training for module in loaded.modules())
        assert not any(parameter.requires_grad for parameter in loaded.parameters())
        assert torch.equal(loaded.energy(poses[:5]), prior.energy(poses[:5]))
    with torch.inference_mode():  # whose own tensors have no part in gradients, not in those of poses either
        loaded = load_prior(path)
    pose = poses[:1].clone().requires_grad_()
    loaded.energy(pose).sum().backward()
    assert torch.isfinite(pose.grad).all()
    assert (pose.grad != 0).any()


def test_a_missing_file(tmp_path: Path) -> None:
    assert "train.py" in _refused(tmp_path / "none.ckpt")
    assert "no such" in _refused(tmp_path)


@pytest.mark.parametrize("seed", range(60))
def test_random_bytes(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    start = [b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95", b"\x80\x02}q\x00", b"\x93NUMPY"][seed % 6]
    path.write_bytes(start + random.Random(seed).randbytes(seed**2))
    assert "train.py" in _refused(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99, 0.999])
def test_a_checkpoint_cut_short(share: float, gaussian: Prior, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save(_content(gaussian), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    _refused(path)


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("write", [lambda c, p: torch.save(c, p), lambda c, p: p.write_bytes(pickle.dumps(c))], ids=["torch", "pickle"])
def test_code_in_a_pickle_does_not_run(write: Callable[[Any, Path], Any], gaussian: Prior, tmp_path: Path) -> None:
    marker, path = tmp_path / "it_ran", tmp_path / "best.ckpt"
    write(_content(gaussian) | {"extra": _Evil(marker)}, path)
    _refused(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "content", [[1, 2], torch.zeros(3), {}, {"state_dict": {}}, {"prior": {}}, {"prior": 3, "state_dict": {}}, {"model": {}, "epoch": 1}]
)
def test_a_torch_file_without_a_prior(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save(content, path)
    assert "without a prior" in _refused(path)


@pytest.mark.parametrize("version", [None, 0, CHECKPOINT_FORMAT + 1, "next"])
def test_another_format_version(version: Any, gaussian: Prior, tmp_path: Path) -> None:
    content = _content(gaussian)
    content["prior"]["format"] = version
    torch.save(content, tmp_path / "best.ckpt")
    message = _refused(tmp_path / "best.ckpt")
    assert f"format {version}" in message
    assert str(CHECKPOINT_FORMAT) in message


def _weights_of_another_shape(content: dict[str, Any]) -> None:
    content["state_dict"]["prior.centre"] = torch.zeros(7)


def _weight_missing(content: dict[str, Any]) -> None:
    del content["state_dict"]["prior.scale"]


def _weight_too_many(content: dict[str, Any]) -> None:
    content["state_dict"]["prior.more"] = torch.zeros(1)


def _not_a_number(content: dict[str, Any]) -> None:
    content["state_dict"]["prior.shift"][0] = float("nan")


def _infinite_buffer(content: dict[str, Any]) -> None:
    content["state_dict"]["prior.scale"][0] = float("inf")


def _no_such_joint(content: dict[str, Any]) -> None:
    content["prior"]["joints"] = ["left_hip", "tail"]


def _no_joints(content: dict[str, Any]) -> None:
    del content["prior"]["joints"]


def _joints_of_another_type(content: dict[str, Any]) -> None:
    content["prior"]["joints"] = 3


def _unknown_kind(content: dict[str, Any]) -> None:
    content["prior"]["experiment"]["model"]["kind"] = "oracle"


def _unknown_key(content: dict[str, Any]) -> None:
    content["prior"]["experiment"]["model"]["wings"] = 2


def _no_experiment(content: dict[str, Any]) -> None:
    content["prior"]["experiment"] = None


def _weights_of_another_type(content: dict[str, Any]) -> None:
    content["state_dict"] = [1, 2]


def _weight_that_is_no_tensor(content: dict[str, Any]) -> None:
    content["state_dict"]["prior.scale"] = "wide"


MISFITS = [
    _weights_of_another_shape,
    _weight_missing,
    _weight_too_many,
    _not_a_number,
    _infinite_buffer,
    _no_such_joint,
    _no_joints,
    _joints_of_another_type,
    _unknown_kind,
    _unknown_key,
    _no_experiment,
    _weights_of_another_type,
    _weight_that_is_no_tensor,
]


@pytest.mark.parametrize("damage", MISFITS, ids=lambda damage: damage.__name__.lstrip("_"))
def test_a_checkpoint_that_does_not_fit_its_description(damage: Callable[[dict[str, Any]], None], gaussian: Prior, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save(_content(gaussian), path)
    content = torch.load(path, weights_only=True)
    damage(content)
    torch.save(content, path)
    _refused(path)


def test_what_is_wrong_is_named(gaussian: Prior, tmp_path: Path) -> None:
    named = {_not_a_number: "shift", _weights_of_another_shape: "centre", _no_such_joint: "tail", _unknown_key: "wings"}
    for damage, word in named.items():
        content = _content(gaussian)
        content["state_dict"] = {name: value.clone() for name, value in content["state_dict"].items()}
        damage(content)
        torch.save(content, tmp_path / "best.ckpt")
        assert word in _refused(tmp_path / "best.ckpt"), damage.__name__


def test_checkpoints_name_the_version_of_the_project(gaussian: Prior) -> None:
    assert describe(gaussian, {}, "")["code_version"] == pose_priors.__version__


@pytest.mark.parametrize("device", ["meta", "cuda:97", "no_such", "xpu"])
def test_a_device_that_computes_nothing_is_refused_in_one_line(device: str) -> None:
    with pytest.raises(UserError, match=rf"^the device {device} is not to be had \(.+\); .*cpu.* (is|are)$"):
        load_prior("motion_flow_cmu", device)
