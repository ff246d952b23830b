"""Pose files of the field, recognised by their keys and shapes, read as SMPL-X poses.

| layout | keys and numbers a row |
|---|---|
| AMASS SMPL-H | `poses` 156: root, body, left hand, right hand |
| AMASS SMPL-X stage II | `poses` 165, or `root_orient` 3, `pose_body` 63, `pose_hand` 90, `pose_jaw` 3, `pose_eye` 6 |
| 53 joints | `global_orient` 3, `body_pose` 63, `jaw_pose` 3, `lhand_pose` 45, `rhand_pose` 45 (or smplx's own field names) |
| SMPL | `poses` 72, or `global_orient` 3, `body_pose` 69; the two stubs for the hands are dropped |
| sign language | `smplx` 182: root, body, left hand, right hand, jaw, then shape, expression and camera; `left_valid`, `right_valid` |
| several people | `poses`, or one array, (P, T, N) of those numbers: the poses of one person after the other's |
| one array | 45 a right hand, 63 body, 66 root and body, 69 SMPL's body, 72 SMPL, 90 both hands, 156 SMPL-H, 159 53 joints, 165 SMPL-X |

A row may also be (J, 3) instead of flat. Joints that a layout lacks are zero.
A single hand is in MANO's right-hand convention and fills the right hand.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import torch

from pose_priors.body.hands import mean_hands
from pose_priors.body.pose_vectors import POSE_VECTORS
from pose_priors.body.rotations import canonicalize
from pose_priors.body.skeleton import NUM_JOINTS, PARTS
from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import UNNAMED, Entry, describe, open_arrays
from pose_priors.datamodules.plausibility import MAX_ANGLE, MAX_FPS, MIN_FPS, refuse_degrees

HandConvention = Literal["absolute", "relative_to_mean"]

_ROOT, _BODY, _JAW, _EYES = PARTS["root"], PARTS["body"], PARTS["jaw"], PARTS["eyes"]
_LEFT, _RIGHT = PARTS["left_hand"], PARTS["right_hand"]
_HANDS = (*_LEFT, *_RIGHT)
_MARGIN = 1e-3
"""Radians below pi from which on an angle is looked at more closely; far more than float32 rounds."""

_SIGN = {182: ("sign language", (*_ROOT, *_BODY, *_LEFT, *_RIGHT, *_JAW))}

FIELDS: dict[tuple[str, ...], dict[int, tuple[int, ...]]] = {
    ("global_orient", "root_orient", "smplx_root_pose"): {3: _ROOT},
    ("body_pose", "pose_body", "smplx_body_pose"): {63: _BODY, 69: _BODY},
    ("jaw_pose", "pose_jaw", "smplx_jaw_pose"): {3: _JAW},
    ("pose_eye",): {6: _EYES},
    ("leye_pose",): {3: _EYES[:1]},
    ("reye_pose",): {3: _EYES[1:]},
    ("lhand_pose", "left_hand_pose", "smplx_lhand_pose"): {45: _LEFT},
    ("rhand_pose", "right_hand_pose", "smplx_rhand_pose"): {45: _RIGHT},
    ("pose_hand",): {90: _HANDS},
}
"""Names that a field goes by -> numbers of a row that it may have -> the joints that these are of."""
_RATES = ("mocap_framerate", "mocap_frame_rate", "fps")


@dataclass(frozen=True)
class PoseFile:
    """The poses of one file.

    Args:
        poses: (T, 55, 3) float32 canonical rotation vectors in SMPL-X order.
        fps: frames a second, or None if the file does not say.
        is_sequence: whether rows are the frames of a motion in order, so that neighbours resemble each other.
        layout: name of the layout.
        num_nan_rows: rows dropped because a number in them was not finite.
        num_invalid_rows: rows dropped because the file marks a hand in them as not tracked, or a rotation vector is no joint's: longer
            than `MAX_ANGLE`.
    """

    poses: np.ndarray
    fps: float | None
    is_sequence: bool
    layout: str
    num_nan_rows: int
    num_invalid_rows: int


class PoseSource:
    """A recognised pose file whose rows can be read part by part, by several threads at once. Arguments and errors as `read_poses`;
    with `drawn` poses of recorded skeletons are drawn from those that they may have been, see `capture.as_poses`.

    Attributes:
        fps: frames a second, or None if the file does not say or says what is none.
        wrong_rate: in the latter case, what it says, in words.
    """

    def __init__(self, path: str | Path, *, hand_convention: HandConvention, drawn: bool = False) -> None:
        self.path = Path(path)
        entries = open_arrays(self.path, drawn=drawn)
        self.layout, self._columns = _recognize(self.path, entries)
        self.num_rows = next(iter(self._columns.values()))[0].shape[0]
        filled = {joint for _, joints in self._columns.values() for joint in joints}
        self._relative_hands = [joint for joint in _HANDS if joint in filled] if hand_convention == "relative_to_mean" else []
        if unequal := {name: entry.shape for name, (entry, _) in self._columns.items() if entry.shape[0] != self.num_rows}:
            raise UserError(f"{self.path}: arrays of {self.num_rows} rows beside {unequal}; all parts of a pose need as many rows")
        # an array alone says nothing about its order, unless it goes by the name that motion files use
        self.is_sequence = len(entries) > 1 or not {"poses", "smplx"}.isdisjoint(entries)
        self.fps, self.wrong_rate = frame_rate(entries)
        flags = [entries[name] for name in ("left_valid", "right_valid") if name in entries and "smplx" in self._columns]
        if wrong := [flag.kind for flag in flags if not flag.kind.startswith(("bool", "int", "uint", "float"))]:
            raise UserError(f"{self.path}: left_valid and right_valid hold {wrong[0]}; truth values, one for each row, are expected")
        valid = [np.asarray(flag.load(), dtype=bool).reshape(-1) for flag in flags]
        if unequal_flags := [len(flag) for flag in valid if len(flag) != self.num_rows]:
            raise UserError(f"{self.path}: left_valid and right_valid have {unequal_flags[0]} entries for {self.num_rows} rows of smplx")
        self._valid = np.logical_and.reduce(valid) if valid else None
        self._arrays: dict[str, np.ndarray] = {}
        self._loading = Lock()

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, int, int]:
        """The poses of some rows, without those that are not finite or not valid.

        Args:
            rows: (M,) row numbers.
        Returns:
            poses (M', 55, 3) float32 canonical; how many rows were dropped as not finite, and how many as not valid.
        Raises:
            UserError: if they seem to be in degrees.
        """
        poses = np.zeros((len(rows), NUM_JOINTS, 3))
        for name, (entry, joints) in self._columns.items():
            with self._loading:
                if name not in self._arrays:
                    self._arrays[name] = entry.load()
            values = np.asarray(self._arrays[name][rows], dtype=np.float64)
            flat = values.reshape(len(rows), int(np.prod(values.shape[1:])))  # not -1, which no rows leave open
            poses[:, list(joints)] = flat[:, : 3 * len(joints)].reshape(len(rows), len(joints), 3)
        if self._relative_hands:
            means = mean_hands()[[_HANDS.index(joint) for joint in self._relative_hands]]
            poses[:, self._relative_hands] += means.numpy()
        refuse_degrees(poses[:, 1:], str(self.path))
        finite = np.isfinite(poses).all((1, 2))
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("...i,...i->...", poses, poses)
        valid = finite & (squares <= MAX_ANGLE**2).all(1)
        if self._valid is not None:
            valid &= self._valid[rows]
        kept = _canonical(poses[valid], squares[valid])
        return kept, int((~finite).sum()), int((finite & ~valid).sum())


def _canonical(poses: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """(N, 55, 3) float64 rotation vectors, with their squares (N, 55) -> float32 canonical ones. Few angles are near pi or beyond: only
    these are looked at."""
    kept = poses.astype(np.float32)
    near = squares > (math.pi - _MARGIN) ** 2
    # twice, because rounding to float32 can lift an angle just above pi
    kept[near] = canonicalize(canonicalize(torch.from_numpy(poses[near])).float()).numpy()
    return kept


def read_poses(path: str | Path, *, hand_convention: HandConvention = "absolute") -> PoseFile:
    """All poses of a file, recognised by keys and shapes.

    Rows with numbers that are not finite are dropped and counted. So are rows with rotation vectors longer than `MAX_ANGLE`, and, in
    sign-language files, rows in which a hand was not tracked: what such a row holds for the hand is extrapolated, and a pose with one real
    hand is no sample of whole-body poses.

    Args:
        path: a `.npz`, `.npy`, `.pt` or `.pkl` file.
        hand_convention: `absolute` if the zero pose is the flat hand, `relative_to_mean` if it is MANO's mean hand, which is then added.
    Raises:
        UserError: if the file cannot be read safely, seems to be in degrees, or is of an unknown layout; the latter lists its keys and
            shapes.
    """
    source = PoseSource(path, hand_convention=hand_convention)
    poses, num_nan, num_invalid = source.read(np.arange(source.num_rows))
    return PoseFile(poses, source.fps, source.is_sequence, source.layout, num_nan, num_invalid)


def _row_length(entry: Entry) -> int:
    """Numbers a row if the entry is a table of rows of rotation vectors, else 0."""
    if entry.kind.startswith(("float", "int")) and (len(entry.shape) == 2 or (len(entry.shape) == 3 and entry.shape[2] == 3)):
        return int(np.prod(entry.shape[1:]))
    return 0


def _in_rows(entry: Entry, layouts: Collection[int]) -> Entry:
    """An array of several people, (P, T, N) with N numbers a pose, as the rows of one after the other; any other as it is."""
    if len(entry.shape) != 3 or entry.shape[2] == 3 or entry.shape[2] not in layouts:
        return entry
    people, frames, numbers = entry.shape
    return replace(entry, shape=(people * frames, numbers), load=lambda: entry.load().reshape(-1, numbers))


def _recognize(path: Path, entries: Mapping[str, Entry]) -> tuple[str, dict[str, tuple[Entry, tuple[int, ...]]]]:
    """The name of the layout, and for each array that holds joints the joints that it fills."""
    whole = [(name, _SIGN if name == "smplx" else POSE_VECTORS) for name in ("poses", "pose", "smplx") if name in entries]
    if len(entries) == 1:
        whole = [(name, POSE_VECTORS | _SIGN) for name in entries]
    for name, layouts in whole:
        entry = _in_rows(entries[name], layouts)
        if found := layouts.get(_row_length(entry)):
            label = found[0] if name == UNNAMED or name == "smplx" else f"{found[0]} ({name})"
            return label, {name: (entry, found[1])}
    columns = {}
    for names, shapes in FIELDS.items():
        for name in names:
            if name in entries:
                if (length := _row_length(entries[name])) not in shapes:
                    allowed = " or ".join(f"(N, {n})" for n in shapes)
                    hint = "; hands as PCA coefficients have to be saved as full poses (use_pca=False)" if "hand" in name else ""
                    raise UserError(f"{path}: {name} is {entries[name].shape}, not {allowed}{hint}; the file holds {describe(entries)}")
                columns[name] = (entries[name], shapes[length])
                break
    if not any(set(joints) & {*_BODY, *_HANDS} for _, joints in columns.values()):
        raise UserError(
            f"{path}: unknown layout, it holds {describe(entries)}; known are poses (T, 72 | 156 | 165), global_orient with body_pose and "
            f"hands, smplx (T, 182), and single arrays of {', '.join(map(str, POSE_VECTORS))} numbers a row or (N, J, 3)"
        )
    return " + ".join(columns), columns


def frame_rate(entries: Mapping[str, Entry]) -> tuple[float | None, str | None]:
    """The frame rate that a file states, as a number or as text, or what is wrong with it; neither if it states none."""
    stated: dict[str, float] = {}
    for name in _RATES:
        if name in entries:
            found = _one_value(entries[name])
            try:
                rate = float(found)
            except (TypeError, ValueError, OverflowError):
                rate = float("nan")
            if isinstance(found, bool) or not MIN_FPS <= rate <= MAX_FPS:
                given = "no single number" if found is None else f"{found!r:.40}"
                return None, f"{name} is {given}; a frame rate is a number from {MIN_FPS:g} to {MAX_FPS:g}"
            stated[name] = rate
    if stated and max(stated.values()) > 1.01 * min(stated.values()):
        return None, f"its frame rates differ, {', '.join(f'{name} {rate:g}' for name, rate in stated.items())}; leave the right one in it"
    return next(iter(stated.values()), None), None


def _one_value(entry: Entry) -> Any:
    """The number or text that an entry holds; None if it holds more or something else."""
    if np.prod(entry.shape) != 1 or not entry.kind.startswith(("float", "int", "uint", "bool", "str", "bytes", "object")):
        return None
    value = entry.load()
    found = value.reshape(-1)[0] if value.size == 1 else None
    found = found.item() if isinstance(found, np.generic) else found
    return found if isinstance(found, bool | int | float | str | bytes) else None
