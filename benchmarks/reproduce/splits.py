"""The two splits of DPoser-X's reference batch that published numbers are of, as files of 8,000, 1,000 and 1,000 rows.

`random` is a random permutation cut twice. `far` keeps all rows within half a radian of each other on one side: the groups that are
connected so, in random order, fill the validation rows, then the test rows; the rest is for training.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import roma
import torch

from pose_priors.benchmarks.reproduce.stated import Split
from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import written_folder
from pose_priors.datamodules.arrays import open_arrays
from pose_priors.datamodules.splits import radius_components

_NUM_ROWS, _NUM_HELD_OUT = 10_000, 1_000
_NUM_JOINTS, _FEET = 21, (9, 10)  # of the body without the root; feet are zero in nearly all rows
_RADIUS = 0.5


def read_batch(path: Path, sha256: str) -> np.ndarray:
    """(10000, 63) float32 rotation vectors of `reference_batch.pt`. Raises `UserError` if it is another file."""
    entries = open_arrays(path)
    found = {name: entry.shape for name, entry in entries.items()}
    wanted = (_NUM_ROWS, 3 * _NUM_JOINTS)
    if list(found.values()) != [wanted]:
        raise UserError(f"{path}: one array {wanted} is expected, DPoser-X's data/body_data/version1/reference_batch.pt; found {found}")
    rows: np.ndarray = np.ascontiguousarray(next(iter(entries.values())).load(), "<f4")
    if hashlib.sha256(rows.tobytes()).hexdigest() != sha256:
        raise UserError(f"{path}: has the shape of DPoser-X's reference batch and other numbers; what is stated is of that file alone")
    return rows


def rows_of(rows: np.ndarray, split: Split) -> dict[str, np.ndarray]:
    """Which rows (N, 63) are in `train`, `val` and `test`; a tenth of them, a tenth of them, and the rest."""
    held_out = len(rows) * _NUM_HELD_OUT // _NUM_ROWS
    if split == "random":
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).numpy()
        train, val, test = np.split(order, [len(rows) - 2 * held_out, len(rows) - held_out])
        return {"train": train, "val": val, "test": test}
    poses = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(torch.from_numpy(rows).double().reshape(-1, _NUM_JOINTS, 3)))
    moving = [joint for joint in range(_NUM_JOINTS) if joint not in _FEET]
    groups = radius_components(poses[:, moving].flatten(1).numpy(), _RADIUS)
    sizes = np.bincount(groups)
    filled = dict.fromkeys(("val", "test"), 0)
    chosen = np.full(len(sizes), "train", object)
    for group in np.random.default_rng(0).permutation(len(sizes)):
        part = next((part for part, size in filled.items() if size + sizes[group] <= held_out), None)
        if part is not None:
            chosen[group] = part
            filled[part] += sizes[group]
    return {part: np.flatnonzero(chosen[groups] == part) for part in ("train", "val", "test")}


def write_split(rows: np.ndarray, split: Split, folder: Path) -> None:
    """Writes `train.npy`, `val.npy` and `test.npy` into a folder, which appears whole or not at all."""
    with written_folder(folder) as new:
        for part, chosen in rows_of(rows, split).items():
            np.save(new / f"{part}.npy", rows[chosen])
