"""The files of SMPL, SMPL-H and SMPL-X, as the `smplx` package reads them, without it: it unpickles whatever a file holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.skeleton import NUM_JOINTS, SMPL_TO_SMPLX, SMPLH_TO_SMPLX
from pose_priors.body.surface import Surface
from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import open_arrays
from pose_priors.datamodules.safe_pickle import load_pickle

_SMPLX_INDEX = {"smpl": (*SMPL_TO_SMPLX, -1, -1), "smplh": SMPLH_TO_SMPLX, "smplx": tuple(range(NUM_JOINTS))}
_NAME = re.compile(r"(smplx?|smplh)_(.*)", re.IGNORECASE)
_SUFFIXES = (".npz", ".pkl")
_GENDERS = ("neutral", "male", "female")
_MOST_SHAPES, _FEW_SHAPES = 300, 10


@dataclass(frozen=True)
class JointModel:
    """The joints of a body model, linear in its shape coefficients.

    Attributes:
        smplx_index: (N,) the SMPL-X joint of each joint, -1 for SMPL's hands.
        template: (N, 3) float64 metres, the joints of the mean shape; x to the body's left, y up, z forward.
        directions: (N, 3, B) float64 metres per unit of beta.
        sole: height in metres of the lowest vertex of the mean shape, on the template's y axis.
    """

    smplx_index: tuple[int, ...]
    template: Tensor
    directions: Tensor
    sole: float


def load_joint_model(path: Path, num_betas: int, kinds: Sequence[str] = ("smpl", "smplx", "smplh")) -> JointModel:
    """The joints that a model file implies: its regressor applied to the mean shape and to each shape direction.

    Args:
        path: a file named as smplx expects, `SMPL_NEUTRAL.pkl`, `SMPLX_MALE.npz` and so on, or a folder that holds such files.
        num_betas: how many shape coefficients are wanted; fewer are given where the file has fewer.
        kinds: in a folder, which kinds to look for, the best first; neutral before male before female.
    Raises:
        UserError: if there is no such file, it is none of these models, or its pickles name anything but arrays and plain containers.
    """
    path = _model_file(Path(path).expanduser(), kinds)
    about = path.stat()
    return _read_joint_model(path, num_betas, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=4)  # many sequences share a file that takes seconds to read; nobody writes to the tensors
def _read_joint_model(path: Path, num_betas: int, *_version: int) -> JointModel:
    model, index = _read(path, num_betas)
    regressor, vertices = model["J_regressor"], model["v_template"]
    return JointModel(
        smplx_index=index,
        template=regressor @ vertices,
        directions=torch.einsum("jv,vcb->jcb", regressor, model["shapedirs"]),
        sole=float(vertices[:, 1].min()),
    )


def load_surface(path: Path, num_betas: int, kinds: Sequence[str] = ("smplx", "smplh", "smpl")) -> Surface:
    """The skin of a body model.

    Args, Raises: as of `load_joint_model`.
    """
    model, index = _read(_model_file(Path(path).expanduser(), kinds), num_betas)
    return Surface(
        smplx_index=index,
        parents=tuple(model["parents"].tolist()),
        template=model["v_template"].float(),
        shape_directions=model["shapedirs"].float(),
        pose_directions=model["posedirs"].flatten(0, 1).T.float(),
        regressor=model["J_regressor"].float(),
        weights=model["weights"].float(),
        faces=model["faces"].numpy().astype("uint32"),
    )


def _read(path: Path, num_betas: int) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """The arrays of a model by smplx's names, float32's values in float64 as in smplx, and the SMPL-X joint of each joint."""
    match = _NAME.fullmatch(path.stem)
    assert match is not None  # `_model_file` gives no others
    kind = match[1].lower()
    index = _SMPLX_INDEX[kind]
    arrays = _arrays(path)
    shapes: dict[str, tuple[str | int, ...]] = {
        "v_template": ("vertices", 3),
        "shapedirs": ("vertices", 3, "shapes"),
        "posedirs": ("vertices", 3, 9 * (len(index) - 1)),
        "J_regressor": (len(index), "vertices"),
        "weights": ("vertices", len(index)),
        "kintree_table": (2, len(index)),
        "f": ("faces", 3),
    }
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        found = arrays.get(name)
        if found is None:
            raise UserError(f"{path}: no {kind.upper()} model: no '{name}' in it; it holds {', '.join(list(arrays)[:12]) or 'nothing'}")
        if name == "J_regressor" and found.ndim == 2 and len(found) != len(index):
            raise UserError(f"{path}: a model of {len(found)} joints; {kind.upper()} has {len(index)}")
        if found.dtype.kind not in "iuf" or found.ndim != len(shape) or not np.isfinite(found).all() or not found.size:
            raise UserError(
                f"{path}: no {kind.upper()} model: '{name}' is {found.dtype} of shape {found.shape}; {shape}, finite, is expected"
            )
        for size, wanted in zip(found.shape, shape, strict=True):
            if size != (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted):
                raise UserError(f"{path}: no {kind.upper()} model: '{name}' has shape {found.shape}; {shape} is expected, with {sizes}")
    parents, faces = (arrays[name].astype(np.int64) for name in ("kintree_table", "f"))
    parents = parents[0]
    parents[0] = -1
    if (parents[1:] < 0).any() or (parents >= np.arange(len(parents))).any() or faces.min() < 0 or faces.max() >= sizes["vertices"]:
        raise UserError(f"{path}: no {kind.upper()} model: joints without a parent before them, or faces without their corners")
    # of a file with few directions, the first ten are of the shape and others of the face
    most = _MOST_SHAPES if sizes["shapes"] >= _MOST_SHAPES else _FEW_SHAPES
    model = {
        name: torch.from_numpy(arrays[name].astype(np.float32).astype(np.float64)) for name in shapes if name not in ("kintree_table", "f")
    }
    model["shapedirs"] = model["shapedirs"][..., : min(num_betas, most)]
    return model | {"parents": torch.from_numpy(parents), "faces": torch.from_numpy(faces)}, index


def _model_file(path: Path, kinds: Sequence[str]) -> Path:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES)
        for kind in kinds:
            for gender in _GENDERS:
                for file in files:
                    if file.stem.lower() == f"{kind}_{gender}":
                        return file
        raise UserError(f"{path}: no body model; looked for {'|'.join(k.upper() for k in kinds)}_NEUTRAL|MALE|FEMALE.npz|pkl")
    if not path.is_file():
        raise UserError(f"body_model.path: no file or folder {path}")
    if path.suffix not in _SUFFIXES or not _NAME.fullmatch(path.stem):
        raise UserError(f"{path}: smplx tells models by their names; call it SMPL_<gender>.pkl, SMPLH_<gender>.pkl or SMPLX_<gender>.npz")
    return path


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        content = load_pickle(path) if path.suffix == ".pkl" else {name: entry.load() for name, entry in open_arrays(path).items()}
    except UserError as error:
        advice = "; smplx's tools/clean_ch.py removes chumpy" if "chumpy" in str(error) else ""
        raise UserError(f"{error}{advice}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a readable body model (a {type(content).__name__}; named arrays are expected)")
    arrays = {str(name): value.item() if _holds_one(value) else value for name, value in content.items()}
    return {name: value for name, value in arrays.items() if isinstance(value, np.ndarray)}


def _holds_one(value: object) -> bool:
    """Whether it is an array around one object, as `np.savez` wraps what is no array."""
    return isinstance(value, np.ndarray) and value.dtype == object and value.shape == ()
