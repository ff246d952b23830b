"""What a checkpoint says of the prior in it, and how a prior comes back out of one."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from pose_priors import __version__
from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.base import BUILT_IN, UserError, reason_of
from pose_priors.configs.plugins import PluginError
from pose_priors.priors.base import Prior, PriorConfigBase, TrainablePrior
from pose_priors.priors.description import Description, in_words
from pose_priors.priors.foreign import PRIORS
from pose_priors.priors.motion.flow.regression.model import take_flow
from pose_priors.priors.motion.humor import NUMPY_SCALARS, is_humor, load_humor
from pose_priors.priors.registry import KINDS, AnyPriorConfig
from pose_priors.priors.weights.folder import as_used, is_folder, read_folder
from pose_priors.priors.weights.published import PUBLISHED
from pose_priors.priors.weights.source import located

CHECKPOINT_FORMAT = 1

_ENTRY = "prior"
_PREFIX = "prior."


def describe(prior: TrainablePrior, experiment: dict[str, Any], fingerprint: str) -> dict[str, Any]:
    """What is saved beside the weights, as plain types only, so that `torch.load(weights_only=True)` reads it.

    Args:
        experiment: the whole configuration as a plain dict.
        fingerprint: names the content of the training data.
    """
    return {
        "format": CHECKPOINT_FORMAT,
        "code_version": __version__,
        "experiment": experiment,
        "joints": list(prior.joints) if isinstance(prior, Prior) else [],  # a motion prior has all of the body's
        "data_fingerprint": fingerprint,
    }


def _read(path: Path) -> Any:
    if not os.path.isfile(path):
        raise UserError(
            f"{path}: no such checkpoint; train one with `python train.py --config NAME`, it leaves checkpoints/NAME/best.ckpt. "
            f"What comes with this goes by its name: {', '.join(PUBLISHED)}"
        )
    try:
        with torch.serialization.safe_globals(NUMPY_SCALARS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of pickles that it did not write is of no use to whoever has one
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose text advises to run what is in it
        raise UserError(
            f"{path}: not a checkpoint that can be read safely (it holds other things than tensors and plain values, or is damaged); "
            "expected one written by train.py"
        ) from error
    except Exception as error:  # what unpickling makes of bytes that are no pickle can be any error
        raise UserError(
            f"{path}: not a checkpoint that can be read safely ({_in_one_line(error)}); expected one written by train.py"
        ) from error


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of this project as it was saved, on the CPU; of a folder of weights, what it keeps of one.

    Args:
        path: see `load_prior`.
    Raises:
        UserError: if it is not one, or of another version.
    """
    place = located(path)
    return read_folder(place) if is_folder(place) else _checked(_read(place), path)


def _checked(content: Any, path: str | Path) -> dict[str, Any]:
    if not isinstance(content, dict) or not isinstance(content.get(_ENTRY), dict) or "state_dict" not in content:
        keys = ", ".join(sorted(map(str, content))) if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path}: a file without a prior (it holds: {keys}); expected a checkpoint written by train.py")
    found = content[_ENTRY].get("format")
    if found != CHECKPOINT_FORMAT or type(found) is not int:
        raise UserError(
            f"{path}: checkpoint format {found}, this code reads {CHECKPOINT_FORMAT}; train it again, or use the code that wrote it"
        )
    try:
        Description.model_validate(content[_ENTRY])
    except ValidationError as error:
        raise UserError(f"{path}: the checkpoint does not fit its own description ({in_words(error)}); train it again") from error
    return content


@torch.inference_mode(False)
def load_prior(path: str | Path, device: str | torch.device = "cpu", *, allow: str | Collection[str] = ()) -> TrainablePrior:
    """The prior in a checkpoint, frozen and in evaluation mode: a `Prior` over poses, or a `MotionCVAE` or `MotionFlow` over motions. Its
    `repr` begins with the data that it was trained on.

    Args:
        path: a checkpoint written by `train.py`, such as `checkpoints/joint_flow/best.ckpt`, or one of HuMoR's, such as
            `humor/best_model.pth`, told apart by content; a folder that `export-model --format safetensors` has written, or the
            `model.safetensors` in it; an address of such a folder on the hub, `hf://owner/name[@revision][/folder]`; or a name of weights
            that come with this package, `motion_flow_cmu`.
        device: where to put it.
        allow: packages that may be imported because the checkpoint names one of their priors by `module:Class`. Those that bring a prior by
            an entry point, and those that are imported already, need not be named. Nothing is ever imported from the checkpoint's folder.
    Raises:
        UserError: if there is no such file, it is no checkpoint, is of another version, does not fit its own description, or its prior is
            of a package that is not installed or not allowed.
    """
    place = located(path)
    content = read_folder(place) if is_folder(place) else _read(place)
    prior = load_humor(place, content) if is_humor(content) else _described(_checked(content, path), path, allow)
    check_device(device)
    return prior.to(device).eval().requires_grad_(False)


def check_device(device: str | torch.device) -> None:
    """Checks that something can be computed on a device.

    Raises:
        UserError: if it is unknown, torch was not built for it, the machine has none, or it holds no numbers, as `meta`.
    """
    try:
        torch.ones(2, device=device).sum().item()
    except (RuntimeError, AssertionError, ImportError, ValueError) as error:
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        allowed = f"{there[0]} is" if len(there) == 1 else f"{', '.join(there[:-1])} and {there[-1]} are"
        raise UserError(f"the device {device} is not to be had ({_in_one_line(error)}); {allowed}") from error


def take_flow_from(prior: TrainablePrior, path: str) -> None:
    """Gives a prior of clips, before it is trained, the flow of the one at a path. Raises `UserError` if kind or size are others."""
    try:
        take_flow(prior, load_prior(path))
    except ValueError as error:
        raise UserError(f"{path} {error}") from error


def _described(content: dict[str, Any], path: str | Path, allow: str | Collection[str]) -> TrainablePrior:
    """The prior in a checkpoint of this project."""
    entry = content[_ENTRY]
    try:
        prior = build_prior(entry["experiment"]["model"], entry["joints"], [allow] if isinstance(allow, str) else allow)
        weights = {name.removeprefix(_PREFIX): value for name, value in content["state_dict"].items() if name.startswith(_PREFIX)}
        prior.load_state_dict(as_used(prior, weights, content["stored"]) if "stored" in content else weights)
        prior.check_finite()
        prior.trained_on = _data_of(entry["experiment"].get("data") or {})
        return prior
    except PluginError as error:
        raise UserError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError, UserError) as error:
        todo = "fetch or export it anew" if "stored" in content else "train it again"
        raise UserError(f"{path}: the checkpoint does not fit its own description ({_in_one_line(error)}); {todo}") from error


def _data_of(data: dict[str, Any]) -> str:
    """The data of an experiment in words: the files, or that they are synthetic."""
    pool = data["path"] if data.get("path") is not None else data.get("train")
    return "synthetic data of the built-in source" if pool in (None, BUILT_IN) else str(pool)


def build_prior(model: dict[str, Any], joints: list[str], allow: Collection[str] = ()) -> TrainablePrior:
    """A prior, not yet trained, from its config as a plain dict and the names of its joints, which only pose priors look at.

    Raises `PluginError` if it is of another package that cannot or may not be imported, see `load_prior`."""
    foreign = model["kind"] not in KINDS  # what we call by a name is ours, whatever is installed
    adapter: TypeAdapter[Any] = TypeAdapter(PRIORS.find(str(model["kind"]), KINDS, allow) if foreign else AnyPriorConfig)
    config = adapter.validate_python(model)
    if not isinstance(config, PriorConfigBase):
        of_motions: TrainablePrior = config.build()
        return of_motions
    return config.build([JOINT_NAMES.index(name) for name in joints])


def _in_one_line(error: BaseException) -> str:
    # the text of pydantic's begins with the names of all priors
    return in_words(error) if isinstance(error, ValidationError) else reason_of(error)
