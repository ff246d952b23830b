"""A prior as safetensors and JSON: every kind comes back bit for bit, by every way of naming it, and no pickle is on the way."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from prior_cases import make_poses
from safetensors.torch import load_file
from weight_cases import NAMES, checkpoint_of, content_of, prior_of

from pose_priors import load_prior
from pose_priors.configs import command
from pose_priors.configs.base import UserError
from pose_priors.priors import MotionFlow, Prior, prior_files
from pose_priors.priors.checkpoint import read_checkpoint
from pose_priors.priors.evaluation import card
from pose_priors.priors.exporting.__main__ import export_weights
from pose_priors.priors.weights.folder import CARD, CONFIG, WEIGHTS, write_folder


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two priors have the same tensors, to the last bit and in the same order."""
    return list(a) == list(b) and all(a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets whoever reads a pickle fail."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle is read")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)


@pytest.mark.usefixtures("no_pickle")
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    prior = prior_of(name)
    write_folder(prior, content_of(name), tmp_path)
    for given in (tmp_path, str(tmp_path / WEIGHTS)):
        found = load_prior(given)
        assert type(found) is type(prior)
        assert same(found.state_dict(), prior.state_dict())
        assert not any(parameter.requires_grad for parameter in found.parameters())
        assert not any(module.training for module in found.modules())
        assert found.trained_on == "synthetic data of the built-in source"
    if isinstance(prior, Prior):
        poses = make_poses(3, seed=5)
        assert isinstance(found, Prior)
        assert found.joints == prior.joints
        assert torch.equal(found.energy(poses), prior.energy(poses))


def test_the_command_writes_what_others_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, folder = checkpoint_of("joint_flow-affine-parent", tmp_path), tmp_path / "mine"
    command._dispatch(["export-model", str(checkpoint), "--format", "safetensors", "--output", str(folder)])
    assert {path.name for path in folder.iterdir()} == {CONFIG, WEIGHTS, CARD}
    before, after = load_prior(checkpoint), load_prior(folder)
    assert same(before.state_dict(), after.state_dict())
    assert same(dict(sorted(before.state_dict().items())), dict(sorted(load_file(folder / WEIGHTS).items())))  # the library's own reader
    about = json.loads((folder / CONFIG).read_text())
    entry = read_checkpoint(checkpoint)["prior"]
    assert about["model"] == entry["experiment"]["model"]
    assert (about["format"], about["code_version"], about["data_fingerprint"]) == (1, entry["code_version"], "0123456789abcdef")
    assert about["joints"] == list(before.joints)  # type: ignore[attr-defined]
    text = (folder / CARD).read_text()
    assert text.startswith("---\nlibrary_name: pose-priors\n---\n\n# JointFlow\n")
    for words in (
        'load_prior("mine")',
        "| licence of the data | CC0 |",
        "-12.500 nats",
        "| changed at step 12 | `training.max_epochs` 4 -> 3 |",
        "`0123456789abcdef`",
        "`python train.py",
    ):
        assert words in text, words
    capsys.readouterr()
    card.main([str(folder)])
    assert text.endswith(capsys.readouterr().out)
    assert prior_files(folder) == prior_files(folder / WEIGHTS) == (folder / CONFIG, folder / WEIGHTS)
    assert prior_files(checkpoint) == (checkpoint,)


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_half_of_the_bits_are_those_of_the_parameters_alone(stored: Any, tmp_path: Path) -> None:
    checkpoint = checkpoint_of("motion_flow", tmp_path)
    export_weights(checkpoint, tmp_path / "half", stored)
    before, after = load_prior(checkpoint), load_prior(tmp_path / "half")
    assert isinstance(after, MotionFlow)
    parameters = dict(before.named_parameters())
    of_file = load_file(tmp_path / "half" / WEIGHTS)
    for name, value in before.state_dict().items():
        found = after.state_dict()[name]
        assert found.dtype == value.dtype
        assert torch.equal(found, value.to(getattr(torch, stored)).to(value.dtype) if name in parameters else value)
        assert of_file[name].dtype == (getattr(torch, stored) if name in parameters else value.dtype)
    assert f"| parameters stored as | {stored}, half of their bits |" in (tmp_path / "half" / CARD).read_text()
    with pytest.raises(UserError, match=f"stored in {stored} already"):
        export_weights(tmp_path / "half", tmp_path / "whole")
    export_weights(tmp_path / "half", tmp_path / "again", stored)
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (tmp_path / "half" / WEIGHTS).read_bytes()


def test_what_float16_cannot_hold_is_refused_and_bfloat16_holds_it(tmp_path: Path) -> None:
    content = content_of("motion_flow")
    (name,) = [name for name, p in prior_of("motion_flow").named_parameters()][:1]
    content["state_dict"][f"prior.{name}"] = torch.full_like(content["state_dict"][f"prior.{name}"], 1e6)
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=f"{name} is beyond what float16 can hold"):
        export_weights(tmp_path / "best.ckpt", tmp_path / "half", "float16")
    assert not (tmp_path / "half" / WEIGHTS).exists()
    export_weights(tmp_path / "best.ckpt", tmp_path / "half", "bfloat16")
    assert load_prior(tmp_path / "half").get_parameter(name).flatten()[0] == pytest.approx(1e6, rel=1e-2)


@pytest.mark.parametrize(("words", "said"), [("--format safetensors --std 0.1", "--std"), ("--format onnx --dtype float16", "--dtype")])
def test_options_of_another_format_are_refused(words: str, said: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of("gaussian-full", tmp_path)
    with pytest.raises(UserError, match=f"{said} says nothing of --format"):
        command._dispatch(["export-model", str(checkpoint), *words.split(), "--output", str(tmp_path / "out")])
