"""A prior as a folder without pickles: `config.json` says what it is, `model.safetensors` holds its tensors, `README.md` is its card."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from pose_priors.configs.base import Config, UserError, reason_of
from pose_priors.datamodules.containers.json_files import load_json
from pose_priors.datamodules.containers.regular import read_regular
from pose_priors.datamodules.containers.safetensors import bytes_of, tensors_of
from pose_priors.priors.base import TrainablePrior
from pose_priors.priors.description import Joints, ModelSection, Sections, Trained, in_words

FORMAT = 1
"""Of `config.json`."""
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"

Stored = Literal["as they are", "float16", "bfloat16"]
"""In what the parameters of a network are stored; statistics of the data are always as they are."""
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
"""Those of `Stored` that lose something."""


class _WeightsConfig(Config):
    """The file of tensors."""

    file: Literal["model.safetensors"]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of its bytes."""
    parameters: Stored
    """What they are stored in; they are float32 when they are used."""


class _FolderConfig(Config):
    """What `config.json` holds."""

    format: Literal[1]
    code_version: str
    """Of the pose-priors that trained it."""
    model: ModelSection
    joints: Joints
    data_fingerprint: str
    weights: _WeightsConfig
    experiment: Sections
    """The rest of the configuration that it was trained by: data, training, seed, ..."""
    trained: Trained


def is_folder(path: Path) -> bool:
    """Whether a path means such a folder, by itself or by its file of tensors, and not a checkpoint."""
    return path.suffix == ".safetensors" or os.path.isdir(path)  # which knows no names that cannot be


def files_of(path: Path) -> tuple[Path, Path]:
    """`config.json` and the file of tensors. Raises `UserError` if the path is that of neither."""
    if os.path.isdir(path):
        if not (path / CONFIG).is_file():
            best = path / "best.ckpt"
            hint = f"give {best}" if best.is_file() else "expected what export-model --format safetensors writes, or a file of train.py's"
            raise UserError(f"{path}: no such checkpoint: a folder without {CONFIG}; {hint}")
        return path / CONFIG, path / WEIGHTS
    if path.name != WEIGHTS or not os.path.isfile(path.with_name(CONFIG)):
        raise UserError(f"{path}: tensors without what they are of; keep them as {WEIGHTS}, with {CONFIG} beside it")
    return path.with_name(CONFIG), path


def read_folder(path: Path) -> dict[str, Any]:
    """What a checkpoint holds of a prior: `prior` as `checkpoint.describe` makes it, `state_dict` with parameters as they are stored,
    `stored`, and how training ended.

    Args:
        path: the folder, or the file of tensors in it.
    Raises:
        UserError: if a file is missing, damaged, of a later version, or the two do not belong together.
    """
    described, weights = files_of(path)
    content = load_json(described)
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT or type(version) is not int:
        newer = isinstance(version, int) and version > FORMAT
        todo = f"written by pose-priors {content.get('code_version')}: update this one" if newer else "it is none of pose-priors'"
        raise UserError(f"{described}: format {version}, this code reads {FORMAT}; {todo}")
    try:
        config = _FolderConfig.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{described}: does not describe a prior ({in_words(error)}); fetch or export it anew") from error
    data = read_regular(weights)
    if hashlib.sha256(data).hexdigest() != config.weights.sha256:
        raise UserError(f"{weights}: other bytes than {CONFIG} says (sha256); it is damaged, or of another prior: fetch or export it anew")
    try:
        tensors = tensors_of(data)
    except ValueError as error:
        raise UserError(f"{weights}: cannot be read ({reason_of(error)}); fetch or export it anew") from error
    entry = {
        "format": config.format,
        "code_version": config.code_version,
        "experiment": {"model": content["model"], **content["experiment"]},
        "joints": config.joints,
        "data_fingerprint": config.data_fingerprint,
    }
    return {
        "prior": entry,
        "state_dict": {f"prior.{name}": value for name, value in tensors.items()},
        "stored": config.weights.parameters,
        **config.trained.model_dump(),
    }


def as_used(prior: TrainablePrior, tensors: Mapping[str, Tensor], stored: Stored) -> dict[str, Tensor]:
    """Tensors of a file as a prior has them: parameters that are stored in half precision in their own.

    Raises:
        ValueError: if one is of another type than the prior has there.
    """
    own, parameters = prior.state_dict(), {name for name, _ in prior.named_parameters()}
    half, found = HALVES.get(stored), {}
    for name, tensor in tensors.items():
        expected = own[name].dtype if name in own else tensor.dtype  # load_state_dict says what is too much
        is_half = half is not None and name in parameters and expected == torch.float32
        if tensor.dtype != (half if is_half else expected):
            raise ValueError(f"{name} is of type {tensor.dtype}, where {half if is_half else expected} is expected")
        found[name] = tensor.to(expected)
    return found


def write_folder(prior: TrainablePrior, content: Mapping[str, Any], folder: Path, stored: Stored = "as they are") -> None:
    """Writes what a prior is and its tensors into a folder that is there.

    Args:
        content: of its checkpoint, see `read_checkpoint`.
        stored: what the float32 parameters are stored in.
    Raises:
        UserError: if a parameter is beyond what `stored` can hold, or the checkpoint says something that JSON cannot.
    """
    parameters = {name for name, _ in prior.named_parameters()}
    tensors = prior.state_dict()
    if (half := HALVES.get(stored)) is not None:
        for name in sorted(parameters):
            if tensors[name].dtype == torch.float32:
                tensors[name] = tensors[name].to(half)
                if not tensors[name].isfinite().all():
                    raise UserError(f"{name} is beyond what {stored} can hold; store the parameters as they are")
    data, entry = bytes_of(tensors), content["prior"]
    model, rest = entry["experiment"]["model"], {name: value for name, value in entry["experiment"].items() if name != "model"}
    described = {
        "format": FORMAT,
        "code_version": entry["code_version"],
        "model": model,
        "joints": entry["joints"],
        "data_fingerprint": entry["data_fingerprint"],
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(data).hexdigest(), "parameters": stored},
        "experiment": rest,
        "trained": Trained.said(content),
    }
    try:
        _FolderConfig.model_validate(described)
        text = json.dumps(described, indent=1, allow_nan=False)
    except ValueError as error:  # pydantic's, and json's of NaN
        raise UserError(f"what the checkpoint says of itself cannot be written as JSON ({reason_of(error)})") from error
    (folder / CONFIG).write_text(text + "\n")
    (folder / WEIGHTS).write_bytes(data)
