"""HuMoR's own weights (Rempe et al., ICCV 2021, github.com/davrempe/humor), by the names and shapes in which they are published.

A file is what their training saved with torch: a dict of `model`, `optim`, `epoch`, `min_val_loss` and `min_train_loss`. Only `model` is of
use: the networks, perhaps with copies of SMPL, which are dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose_priors.configs.base import UserError, reason_of
from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig
from pose_priors.priors.motion.initial_state import InitialStatePrior

CONFIG = MotionCVAEConfig(
    kind="motion_cvae", variant="humor", latent_dim=48, hidden=1024, num_layers=4, dropout=0.0, input_noise=0.0, critic_hidden=0
)
"""The published network."""

NUMPY_SCALARS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *(
        (
            np._core.multiarray.scalar,  # type: ignore[attr-defined]
            f"{module}.multiarray.scalar",
        )
        for module in ("numpy.core", "numpy._core")
    ),
    np.dtype,
    *(type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8")),
]
"""What the files may name beside tensors, since their losses are numpy's numbers: for `torch.serialization.safe_globals`."""

_NETWORKS = ("encoder.", "prior_net.", "decoder.")
_DROPPED = ("male_bm", "female_bm", "neutral_bm")
_PARALLEL = "module."
_GMM, _GMM_FOLDER = "prior_gmm.npz", "init_state_prior_gmm"


def is_humor(content: object) -> bool:
    """Whether what `torch.load` gives has the layout of HuMoR's checkpoints: networks of its names in `model`."""
    model = content.get("model") if isinstance(content, dict) else None
    return isinstance(model, dict) and any(str(name).removeprefix(_PARALLEL).startswith(_NETWORKS) for name in model)


def load_humor(path: Path, content: dict[str, Any]) -> MotionCVAE:
    """The motion prior in a checkpoint of HuMoR's, with the mixture over initial states that lies beside it, if one does.

    Args:
        path: of the checkpoint. The mixture is `prior_gmm.npz` beside it, or in `init_state_prior_gmm/` beside it or beside its folder.
        content: the checkpoint, as `torch.load` gives it.
    Raises:
        UserError: if the tensors are not those published, or the mixture is none.
    """
    tensors = {str(name).removeprefix(_PARALLEL): value for name, value in content["model"].items()}
    tensors = {name: value for name, value in tensors.items() if not name.startswith(_DROPPED)}
    prior = MotionCVAE(CONFIG)
    expected = {name: value for name, value in prior.state_dict().items() if name.startswith(_NETWORKS)}
    if faults := _faults(tensors, expected):
        raise UserError(
            f"{path}: not the network that HuMoR published ({faults}); expected the {len(expected)} tensors of encoder.net, prior_net.net "
            "and decoder.net with latent 48, such as humor/best_model.pth, or a checkpoint written by train.py"
        )
    prior.load_state_dict(tensors, strict=False)
    try:
        prior.check_finite()
    except ValueError as error:
        raise UserError(f"{path}: {error}; the file is damaged, download it again") from error
    prior.initial_state = _initial_state(path)
    return prior


def _faults(tensors: dict[str, Any], expected: dict[str, Tensor]) -> str:
    """The first few of each kind of what does not fit; empty if all fits."""
    misshapen = [
        f"{name} {tuple(getattr(value, 'shape', ()))} for {tuple(expected[name].shape)}"
        for name, value in tensors.items()
        if name in expected and not (isinstance(value, Tensor) and value.is_floating_point() and value.shape == expected[name].shape)
    ]
    kinds = {
        "missing": [name for name in expected if name not in tensors],
        "unexpected": [name for name in tensors if name not in expected],
        "misshapen": misshapen,
    }
    return "; ".join(f"{kind}: {_first(names)}" for kind, names in kinds.items() if names)


def _first(names: list[str], most: int = 3) -> str:
    return ", ".join(name[:80] for name in names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _initial_state(checkpoint: Path) -> InitialStatePrior | None:
    beside = checkpoint.absolute().parent
    places = (beside / _GMM, beside / _GMM_FOLDER / _GMM, beside.parent / _GMM_FOLDER / _GMM)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return InitialStatePrior(*(torch.from_numpy(np.asarray(arrays[name])) for name in ("weights", "means", "covariances")))
    except Exception as error:  # what numpy makes of bytes that are no archive can be any error
        raise UserError(
            f"{path}: not HuMoR's prior of initial states ({reason_of(error)}); expected weights (K,), means (K, 138) and "
            "covariances (K, 138, 138), or no such file"
        ) from error
