"""A folder that is not whole, not its own, or of another time is refused in one line that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from prior_cases import refusal as refused_in
from safetensors.torch import load_file, save_file
from torch import Tensor
from weight_cases import checkpoint_of, content_of, prior_of

import train
from pose_priors import load_prior
from pose_priors.configs.base import UserError
from pose_priors.priors.training.resuming import resumable
from pose_priors.priors.weights.folder import CONFIG, WEIGHTS, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Gaussian's."""
    (tmp_path / "gaussian").mkdir()
    write_folder(prior_of("gaussian-full"), content_of("gaussian-full"), tmp_path / "gaussian")
    return tmp_path / "gaussian"


refusal = partial(refused_in, at_most=900)


def sealed(folder: Path) -> None:
    """Makes the description name the bytes that are there."""
    about = json.loads((folder / CONFIG).read_text())
    about["weights"]["sha256"] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / CONFIG).write_text(json.dumps(about))


def _missing(tensors: dict[str, Tensor]) -> None:
    del tensors["scale"]


def _too_many(tensors: dict[str, Tensor]) -> None:
    tensors["wings"] = torch.zeros(2)


def _another_shape(tensors: dict[str, Tensor]) -> None:
    tensors["centre"] = torch.zeros(7)


def _not_a_number(tensors: dict[str, Tensor]) -> None:
    tensors["shift"][0] = float("nan")


def _infinite(tensors: dict[str, Tensor]) -> None:
    tensors["scale"][0] = float("inf")


def _another_type(tensors: dict[str, Tensor]) -> None:
    tensors["shift"] = tensors["shift"].to(torch.float64)


def _half(tensors: dict[str, Tensor]) -> None:
    tensors["shift"] = tensors["shift"].half()


def _whole_numbers(tensors: dict[str, Tensor]) -> None:
    tensors["centre"] = tensors["centre"].long()


MISFITS = {
    _missing: "scale",
    _too_many: "wings",
    _another_shape: "centre",
    _not_a_number: "shift",
    _infinite: "scale",
    _another_type: "shift is of type torch.float64",
    _half: "shift is of type torch.float16",
    _whole_numbers: "centre is of type torch.int64",
}


@pytest.mark.parametrize("damage", MISFITS, ids=lambda damage: damage.__name__.lstrip("_"))
def test_tensors_that_do_not_fit(damage: Callable[[dict[str, Tensor]], None], folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    damage(tensors)
    save_file(tensors, folder / WEIGHTS)
    assert "sha256" in refusal(folder)
    sealed(folder)
    message = refusal(folder)
    assert MISFITS[damage] in message
    assert message.endswith("fetch or export it anew")


def _set(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(about: dict[str, Any]) -> None:
        inner = about
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to

    return change


DESCRIPTIONS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "later": (lambda about: about.update(format=2, code_version="9.1"), "format 2, this code reads 1; written by pose-priors 9.1: update"),
    "true": (_set("format", to=True), "format True"),
    "without version": (lambda about: about.pop("format"), "format None"),
    "unknown kind": (_set("model", "kind", to="oracle"), "oracle"),
    "unknown option": (_set("model", "wings", to=2), "wings"),
    "without kind": (lambda about: about["model"].pop("kind"), "kind"),
    "of a stranger": (_set("model", "kind", to="os:system"), "os"),
    "no such joint": (_set("joints", to=["left_hip", "tail"]), "tail"),
    "other joints": (_set("joints", to=["left_hip"]), "size mismatch"),
    "another model": (_set("model", "covariance", to="diagonal"), "state_dict"),
    "unknown key": (_set("pages", to=3), "pages"),
    "another file": (_set("weights", "file", to="../x"), "weights.file"),
    "unknown half": (_set("weights", "parameters", to="float8"), "weights.parameters"),
    "a half that is none": (_set("weights", "parameters", to="float16"), "is of type torch.float32, where torch.float16"),
    "no scores": (_set("trained", "best_scores", to={"nll": float("nan")}), "best_scores"),
    "without experiment": (lambda about: about.pop("experiment"), "experiment"),
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_descriptions_that_do_not_fit(kind: str, folder: Path) -> None:
    damage, word = DESCRIPTIONS[kind]
    about = json.loads((folder / CONFIG).read_text())
    damage(about)
    (folder / CONFIG).write_text(json.dumps(about))
    assert word in refusal(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": ' + "[" * 2000 + "}", '"\\ud800"'])
def test_what_is_no_description(text: str, folder: Path) -> None:
    (folder / CONFIG).write_text(text)
    assert CONFIG in refusal(folder)


def test_true_or_false_holds_nothing_else(folder: Path) -> None:
    header = b'{"shift":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}'
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + b"\2")
    sealed(folder)
    assert "true or false" in refusal(folder)


@pytest.mark.parametrize("kind", ["F4", "F8_E4M3", "C64"])
def test_numbers_of_other_kinds(kind: str, folder: Path) -> None:
    header = b'{"shift":{"dtype":"%s","shape":[8],"data_offsets":[0,%d]}}' % (kind.encode(), {"F4": 4, "C64": 64}.get(kind, 8))
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(header[-4] and {"F4": 4, "C64": 64}.get(kind, 8)))
    sealed(folder)
    assert "of the kind" in refusal(folder)


def test_files_that_lack(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder.with_name("alone.safetensors"))
    assert "config.json beside it" in refusal(folder.with_name("alone.safetensors"))
    shutil.copy(folder / WEIGHTS, folder / "other.safetensors")
    assert "model.safetensors" in refusal(folder / "other.safetensors")
    (folder / WEIGHTS).unlink()
    assert "cannot be opened" in refusal(folder)
    (folder / CONFIG).unlink()
    assert "no such checkpoint" in refusal(folder)
    checkpoint_of("gaussian-full", folder)
    assert f"give {folder / 'best.ckpt'}" in refusal(folder)


def test_a_run_does_not_go_on_from_weights_alone(folder: Path) -> None:
    with pytest.raises(UserError, match=r"lacks loops, optimizer_states, .*last\.ckpt of a run has all"):
        resumable(folder, {"seed": 0})
    with pytest.raises(UserError, match="lacks loops"):
        train.main(["--config", "gaussian_prior", "--resume", str(folder)])


@pytest.mark.parametrize(
    "path", ["", "~nobody-of-that-name/best.ckpt", "a" * 300, "a\0b", "\ud800", f"{'a' * 300}.safetensors", "a\0.safetensors"]
)
def test_paths_that_no_file_has(path: str) -> None:
    with pytest.raises(UserError, match=r"no such checkpoint|config\.json beside it") as caught:
        load_prior(path)
    assert "\n" not in str(caught.value)
