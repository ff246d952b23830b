"""The files of SMPL, SMPL-H and SMPL-X, read through the `smplx` package. The one module that imports it.

`smplx` is free for non-commercial use only; nothing else in this project needs it.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.skeleton import NUM_JOINTS, SMPL_TO_SMPLX, SMPLH_TO_SMPLX
from pose_priors.body.surface import Surface
from pose_priors.configs.base import UserError

_SMPLX_INDEX = {"smpl": (*SMPL_TO_SMPLX, -1, -1), "smplh": SMPLH_TO_SMPLX, "smplx": tuple(range(NUM_JOINTS))}
_NAME = re.compile(r"(smplx?|smplh)_(.*)", re.IGNORECASE)
_SUFFIXES = (".npz", ".pkl")
_GENDERS = ("neutral", "male", "female")
_SPARSE = [f"scipy.sparse.{module}.{kind}_matrix" for kind in ("csc", "csr", "coo") for module in (kind, f"_{kind}")]
_ALLOWED = {
    *(f"{core}.multiarray.{name}" for core in ("numpy.core", "numpy._core") for name in ("_reconstruct", "scalar")),
    *("numpy.ndarray", "numpy.dtype", "_codecs.encode", "collections.OrderedDict", "copy_reg._reconstructor", "copyreg._reconstructor"),
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in ("object", "set", "list", "dict", "int", "float", "bytearray")
    ),
    *_SPARSE,
}


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
        UserError: if there is no such file, smplx cannot read it, or its pickles name anything but arrays and plain containers.
    """
    path = _model_file(Path(path).expanduser(), kinds)
    about = path.stat()
    return _read_joint_model(path, num_betas, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=4)  # many sequences share a file that takes seconds to read; nobody writes to the tensors
def _read_joint_model(path: Path, num_betas: int, *_version: int) -> JointModel:
    model, regressor, index = _created(path, num_betas)
    vertices = model.v_template.double()
    return JointModel(
        smplx_index=index,
        template=(regressor @ vertices).detach(),
        directions=torch.einsum("jv,vcb->jcb", regressor, model.shapedirs.double()).detach(),
        sole=float(vertices[:, 1].min()),
    )


def load_surface(path: Path, num_betas: int, kinds: Sequence[str] = ("smplx", "smplh", "smpl")) -> Surface:
    """The skin of a body model.

    Args, Raises: as of `load_joint_model`.
    """
    model, regressor, index = _created(_model_file(Path(path).expanduser(), kinds), num_betas)
    return Surface(
        smplx_index=index,
        parents=(-1, *model.parents.tolist()[1:]),
        template=model.v_template.float(),
        shape_directions=model.shapedirs.float(),
        pose_directions=model.posedirs.float(),
        regressor=regressor.float(),
        weights=model.lbs_weights.float(),
        faces=model.faces.astype("uint32"),
    )


def _created(path: Path, num_betas: int) -> tuple[Any, Tensor, tuple[int, ...]]:
    """smplx's model, its joint regressor (N, V) in float64, and the SMPL-X joint of each joint."""
    kind = _NAME.fullmatch(path.stem)[1].lower()
    _refuse_unsafe(path)
    import smplx  # here, because importing it costs a second that runs without a model file need not spend

    options: dict[str, Any] = {"ext": path.suffix[1:], "num_betas": num_betas, "dtype": torch.float64}
    if kind != "smpl":
        options |= {"use_pca": False, "flat_hand_mean": True}
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints how many coefficients a file has
            model = smplx.create(str(path), kind, **options)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}: smplx cannot read it as {kind.upper()} ({reason})") from error
    regressor, index = model.J_regressor.double(), _SMPLX_INDEX[kind]
    if len(regressor) != len(index):
        raise UserError(f"{path}: a model of {len(regressor)} joints; {kind.upper()} has {len(index)}")
    return model, regressor, index


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


class _NamesOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ALLOWED:
            raise UserError(f"{module}.{name}")
        return super().find_class(module, name)


def _refuse_unsafe(path: Path) -> None:
    """smplx unpickles whatever a file holds, so what the file names is looked at before."""
    try:
        if path.suffix == ".pkl":
            with path.open("rb") as stream:
                _NamesOnly(stream, encoding="latin1").load()
            return
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as stream:
                    if _holds_objects(stream):
                        _NamesOnly(stream, encoding="latin1").load()
    except UserError as error:
        advice = "; smplx's tools/clean_ch.py removes chumpy" if "chumpy" in str(error) else ""
        raise UserError(f"{path}: refused to unpickle {error}; only arrays and plain containers are allowed{advice}") from None
    except Exception as error:
        raise UserError(f"{path}: not a readable body model ({' '.join(f'{type(error).__name__}: {error}'.split())})") from error


def _holds_objects(stream: IO[bytes]) -> bool:
    """Whether an array member of an npz is pickled; leaves the stream at the pickle."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)[2].hasobject
