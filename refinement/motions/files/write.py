"""Motions written in the layout that they were read in: arrays that changed, and every other byte of the file as it was. Recorded skeletons
and files of tools, which nest motions, are written as AMASS has motions."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.configs.writing import written_aside
from pose_priors.datamodules.arrays import is_of_romp, open_arrays
from pose_priors.datamodules.capture.as_poses import READERS
from pose_priors.datamodules.containers.zips import Zip
from pose_priors.datamodules.formats import frame_rate
from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT
from pose_priors.refinement.motions.files.read import NESTED

_WRITTEN = ("bool", "int", "uint", "float", "complex", "str", "bytes", "datetime", "timedelta")  # kinds of arrays
_LONGEST_NAME = 200


def written_name(name: str) -> str:
    """What a file of this name is written as."""
    path = Path(name)
    return path.with_suffix(".npz").as_posix() if path.suffix in (*READERS, *NESTED) else name


def write_motions(output: Path, name: str, source: Path, arrays: Mapping[str, np.ndarray], fps: float) -> list[str]:
    """A file's motions, in a folder under `written_name(name)`; appears whole or not at all.

    Args:
        source: the file, of which all else is taken as it is.
        arrays: name -> array, of all that its layout names; one of any name for a `.npy`.
        fps: frames a second, for a source that does not say.
    Returns:
        what of a tool's file has no place in an npz, each with what it is.
    Raises:
        UserError: if the source cannot be read any more, or the disk is full.
    """
    path = output / written_name(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    left_out: list[str] = []
    with written_aside(path) as aside:
        if source.suffix in READERS:
            _save(aside, _recorded(arrays, fps))
        elif source.suffix in NESTED or is_of_romp(source):
            named, left_out = _nested(source, arrays, fps)
            _save(aside, named)
        elif source.suffix == ".npy":
            (array,) = arrays.values()
            np.save(aside, array, allow_pickle=False)
        else:
            _copy(aside, source, arrays)
    return left_out


def _recorded(arrays: Mapping[str, np.ndarray], fps: float) -> dict[str, np.ndarray]:
    """A recorded skeleton as AMASS has motions of SMPL-X's mean body.

    Args:
        arrays: `poses` (T, 165), and `trans` (T, 3), where the pelvis is, in metres, z up. The file's `trans` is smplx's translation.
    """
    return {
        "poses": arrays["poses"],
        "trans": arrays["trans"] - np.array(TEMPLATE_ROOT[NUM_JOINTS]),
        "betas": np.zeros(10),
        "gender": np.array("neutral"),
        "surface_model_type": np.array("smplx"),
        "mocap_frame_rate": np.asarray(fps, dtype=float),
    }


def _nested(source: Path, arrays: Mapping[str, np.ndarray], fps: float) -> tuple[dict[str, np.ndarray], list[str]]:
    """A tool's motion under AMASS's names, in the tool's axes and units, with all other arrays of numbers or text that the file holds; and
    what else it holds."""
    entries = open_arrays(source)
    others = {name: entry for name, entry in entries.items() if name not in arrays}
    kept = {name: np.asarray(entry.load()) for name, entry in others.items() if _is_name(name) and entry.kind.startswith(_WRITTEN)}
    rate = {} if frame_rate(entries)[0] is not None else {"mocap_framerate": np.asarray(fps)}
    return kept | rate | dict(arrays), [f"{name} ({entry.kind})" for name, entry in others.items() if name not in kept]


def _is_name(name: str) -> bool:
    """Whether an array in a zip file may be called so, wherever that is unpacked."""
    return 0 < len(name) <= _LONGEST_NAME and name.isprintable() and not {"/", "\\"} & set(name) and name.strip(".") != ""


def _save(aside: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """As `np.savez`, which takes some names for its own arguments."""
    with zipfile.ZipFile(aside, "w") as new:
        for name, array in arrays.items():
            new.writestr(zipfile.ZipInfo(f"{name}.npy"), _npy(array))


def _copy(aside: Path, source: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An `.npz` with other arrays in place of those of the same names."""
    old = Zip(source)
    with zipfile.ZipFile(aside, "w") as new:
        for member in old.names:
            packed = zipfile.ZIP_DEFLATED if old.is_packed(member) else zipfile.ZIP_STORED
            about = zipfile.ZipInfo(member)  # of 1980: the same input gives the same bytes
            changed = arrays.get(member.removesuffix(".npy"))
            new.writestr(about, old.read(member) if changed is None else _npy(changed), compress_type=packed)


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()
