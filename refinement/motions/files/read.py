"""A file's people as motions, upright and in metres, and how to bring them back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.body.builtin import rest_joints
from pose_priors.body.motion import posed_joints
from pose_priors.body.motion_state import FPS
from pose_priors.configs.base import UserError, one_line
from pose_priors.datamodules.arrays import is_of_romp, open_arrays
from pose_priors.datamodules.capture.as_poses import READERS
from pose_priors.datamodules.clips import SMPL_STATURE, UpAxis, to_z_up
from pose_priors.datamodules.formats import frame_rate
from pose_priors.datamodules.plausibility import UNITS, are_places, are_turns, find_unit, is_too_fast, refuse_degrees
from pose_priors.refinement.motions.faults.pops import LEAST_FRAMES
from pose_priors.refinement.motions.files.beside import Completed
from pose_priors.refinement.motions.files.layouts import FoundLayout, find_layout, rows_of
from pose_priors.refinement.motions.files.placeholders import absent_frames, told_of
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion, quat_of, rotvec_of
from pose_priors.refinement.motions.sizing import sized

log = logging.getLogger("motions")

NESTED = (".pkl", ".motion", ".pt")
"""Of files of tools, which nest and name motions their own way: AIST++, GVHMR, WHAM, PHC, ProtoMotions (`datamodules.capture.dialects`)."""
SUFFIXES = (".npz", ".npy", *NESTED, *READERS)
"""Of files that are read. Recorded skeletons (BVH, Acclaim) are brought onto SMPL-X's joints, and written as npz, as files of tools are;
others as they came."""
_MOTIONS_OF_TORCH = ("hmr4d_results.pt",)  # what else a tool leaves in .pt is of pictures and networks
_CLEARLY_UP = 0.6
_COARSE_M = 0.1  # steps of a path that would be taken for jumps and glides


@dataclass(frozen=True)
class MotionFile:
    """A file of motions.

    Attributes:
        path: of the file.
        layout: where its arrays hold what.
        arrays: name -> array, of all that the layout names; as the file has them.
        people: one motion for each.
        absent: for each (T,) bool, frames whose numbers are placeholders: nobody was seen there.
        up: which of the file's axes points up, `z` say.
        turn: (3, 3) rotation from the file's axes to z up.
        metres: in each of the file's units.
        notes: what was not in the file and was taken to be so, one line each.
    """

    path: Path
    layout: FoundLayout
    arrays: dict[str, np.ndarray]
    people: tuple[Motion, ...]
    absent: tuple[np.ndarray, ...]
    up: str
    turn: np.ndarray
    metres: float
    notes: tuple[str, ...]


def is_looked_for(path: Path) -> bool:
    """Whether a file in a folder is taken to be of motions, by its name."""
    return path.suffix in SUFFIXES and (path.suffix != ".pt" or path.name in _MOTIONS_OF_TORCH)


def read_motions(path: Path, fps: float | None = None, up: UpAxis = "auto") -> MotionFile:
    """The people of a file in one of the layouts of `layouts`.

    Args:
        fps: frames a second of a file that does not say; 30 if not given.
        up: which axis of the file points up; `auto` finds it by how bodies stand, and takes z where they lie.
    Raises:
        UserError: if the file cannot be read, is no motion, or holds no finite frame.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: unknown kind of file; motions are read from {', '.join(SUFFIXES)}")
    entries = open_arrays(path)
    layout = find_layout(path, entries)
    of_pictures = layout.columns[0].name == "pose" and is_of_romp(path)
    if layout.path is None and (path.suffix in NESTED or of_pictures):
        raise UserError(
            f"{path}: poses without a path, as of pictures, or of several clips one after the other; motions with their path are expected: "
            "give each as AMASS's npz (poses, trans, mocap_framerate)"
        )
    stated, wrong = frame_rate(entries)
    if wrong is not None:
        raise UserError(f"{path}: {wrong}")
    notes = []
    rate = stated or fps
    if rate is None:
        rate = FPS
        notes.append(f"no frame rate (mocap_framerate, mocap_frame_rate or fps) in the file: {FPS:g} frames a second are taken")
    if layout.path is None:
        notes.append("no trans or transl in the file: nothing is said about the path, sliding and floating")
    if path.suffix in NESTED and layout.num_people is not None:
        notes.append(
            "several people in a tool's file: each may have a world of its own, as WHAM's have, so that distances between them say nothing"
        )
    if not layout.num_frames or layout.num_people == 0:
        raise UserError(f"{path}: a motion without {'people' if layout.num_people == 0 else 'frames'}")
    if layout.num_frames < LEAST_FRAMES:
        notes.append(f"{layout.num_frames} frames: too few to tell jumps from fast motion, so that nothing is said about these")
    single = [name for name in (layout.path, layout.seen, *(layout.in_camera or ())) if name is not None]
    wanted = [*(column.name for column in layout.columns), *single, *(part.name for part in layout.beside)]
    arrays = {name: np.array(entries[name].load(), order="C") for name in dict.fromkeys(wanted)}
    raw = [_person(arrays, layout, person) for person in range(1 if layout.num_people is None else layout.num_people)]
    at_rest = [absent_frames(arrays, layout, person, *raw[person]) for person in range(len(raw))]
    raw = [_held(pose, points, known & ~found.absent) for (pose, points, known), found in zip(raw, at_rest, strict=True)]
    if layout.seen is None:
        notes += told_of(at_rest)
    if not any(known.any() for _, _, known in raw):
        raise UserError(f"{path}: no frame of it is finite and holds what rotations and places can be")
    for pose, _, known in raw:  # of two people, one in degrees would be no more than half of all poses
        refuse_degrees(pose[known, 1:], str(path))
    axis = _up_axis([pose[known, 0] for pose, _, known in raw]) if up == "auto" else up
    if axis is None:
        axis = "z"
        notes.append("bodies stand along no axis: z is taken to be up; give up_axis if it is not")
    turn = to_z_up(axis).numpy()
    metres = _metres(raw, turn)
    if layout.path is not None and (step := metres * _step(arrays[layout.path], raw)) > _COARSE_M:
        kind = arrays.pop(layout.path).dtype.name
        notes.append(f"{layout.path} as {kind} tells places apart by {step:.2g} m only: left as it is, and nothing is said about the path")
        log.warning("%s: %s", one_line(str(path)), notes[-1])
        layout = replace(layout, path=None)
        raw = [(pose, np.zeros_like(points), known) for pose, points, known in raw]
    people = tuple(_motion(pose, points * metres, known, turn, rate, layout.path is not None) for pose, points, known in raw)
    if any(_is_too_fast(person) for person in people):
        notes.append(
            "the path is faster than people move: its unit is not metres, centimetres or millimetres, or the frame rate is another"
        )
        log.warning("%s: %s", one_line(str(path)), notes[-1])
    return MotionFile(path, layout, arrays, people, tuple(found.absent for found in at_rest), axis, turn, metres, tuple(notes))


def _step(path: np.ndarray, raw: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """By how much the numbers that a path's type has lie apart, where they are farthest from the origin."""
    farthest = max(float(np.abs(points[known]).max(initial=0)) for _, points, known in raw)
    return float(np.spacing(path.dtype.type(farthest)))


def _is_too_fast(person: Motion) -> bool:
    """Whether nobody has run like this, looked at 30 times a second, or as often as frames are known."""
    step = max(round(person.fps / FPS), 1)
    points = torch.from_numpy(person.pelvis[person.known][::step])
    return person.has_path and is_too_fast(points * (person.fps / step / FPS))


def _person(arrays: dict[str, np.ndarray], layout: FoundLayout, person: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotation vectors (T, 22, 3), places (T, 3) and which frames are some."""
    pose = np.zeros((layout.num_frames, NUM_JOINTS, 3))
    for column in reversed(layout.columns):  # the first one has the last word
        rows = rows_of(arrays[column.name], layout, person)[:, : 3 * column.num_joints].astype(float)
        pose[:, column.first_joint : column.first_joint + column.num_joints] = rows.reshape(layout.num_frames, -1, 3)
    points = np.zeros((layout.num_frames, 3)) if layout.path is None else rows_of(arrays[layout.path], layout, person).astype(float)
    return pose, points, are_turns(pose).all(1) & are_places(points)


def _held(pose: np.ndarray, points: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same, with what the nearest known frame has on frames that are none."""
    if not known.any():
        return np.zeros_like(pose), np.zeros_like(points), known
    at = np.flatnonzero(known)
    nearest = at[np.searchsorted(at, np.arange(len(known))).clip(max=len(at) - 1)]
    return pose[nearest], points[nearest], known


def _up_axis(roots: list[np.ndarray]) -> UpAxis | None:
    """The axis that the trunk's own y points to on average: people stand, walk and sit far more than they lie."""
    mean = Rotation.from_rotvec(np.concatenate(roots)).as_matrix()[..., 1].mean(0)
    axis = int(np.abs(mean).argmax())
    if abs(mean[axis]) < _CLEARLY_UP:
        return None
    names: tuple[UpAxis, ...] = ("-x", "-y", "-z") if mean[axis] < 0 else ("x", "y", "z")
    return names[axis]


def _metres(raw: list[tuple[np.ndarray, np.ndarray, np.ndarray]], turn: np.ndarray) -> float:
    """Metres in each of a file's units, by the person with the most frames; all are in one."""
    pose, points, known = max(raw, key=lambda person: int(person[2].sum()))
    rotvec = torch.from_numpy(_turned(pose[known], turn))
    rest = rest_joints(SMPL_STATURE)[:NUM_JOINTS]
    joints = posed_joints(rotvec, torch.zeros(int(known.sum()), 3, dtype=torch.float64), rest)
    return UNITS[find_unit(joints, torch.from_numpy(points[known] @ turn.T))]


def _turned(pose: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Rotation vectors (T, 22, 3) whose root is turned."""
    root = (Rotation.from_matrix(turn) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    return np.concatenate([root[:, None], pose[:, 1:]], 1)


def _motion(pose: np.ndarray, points: np.ndarray, known: np.ndarray, turn: np.ndarray, fps: float, has_path: bool) -> Motion:
    return sized(quat_of(_turned(pose, turn)), points @ turn.T, fps, known, has_path)


def brought_back(file: MotionFile, person: int, motion: Motion, beside: Sequence[Completed] = ()) -> dict[str, np.ndarray]:
    """The file's arrays with another motion of one person, and what they hold beside it; numbers that did not change are the file's, to the
    last bit.

    Args:
        motion: with as many frames as the file's, on the same floor.
        beside: what becomes of the person's numbers beside the 22 joints.
    Returns:
        name -> array of the file's shape and type, single precision where the file has half and something changed: 100 metres away
        half precision knows a path to a sixteenth of a metre. Those of other people are as in `file.arrays`.
    """
    before = file.people[person]
    arrays = {name: array.astype(np.result_type(array, np.float32)) for name, array in file.arrays.items()}
    dot = np.abs((before.quat * motion.quat).sum(-1))
    turned = (dot < 1 - 1e-15) | ~before.known[:, None]
    moved = np.any(before.pelvis != motion.pelvis, axis=-1) | ~before.known
    rotvec = rotvec_of(motion.quat)
    rotvec[:, 0] = (Rotation.from_matrix(file.turn.T) * Rotation.from_quat(motion.quat[:, 0])).as_rotvec()
    for column in file.layout.columns:
        rows = rows_of(arrays[column.name], file.layout, person)
        part = slice(column.first_joint, column.first_joint + column.num_joints)
        old = rows[:, : 3 * column.num_joints].reshape(len(motion), -1, 3)
        new = np.where(turned[:, part, None], _nearest(rotvec[:, part], old), old)
        rows[:, : 3 * column.num_joints] = new.reshape(len(motion), -1)
    for complete in beside:
        rows_of(arrays[complete.part.name], file.layout, person)[:, complete.part.first :] = complete.rows
    if file.layout.path is not None:
        rows = rows_of(arrays[file.layout.path], file.layout, person)
        change = (motion.pelvis - before.pelvis) @ file.turn / file.metres
        start = ((before.pelvis + np.array([0, 0, before.floor])) @ file.turn) / file.metres
        rows[:] = np.where(moved[:, None], start + change, rows)
    return {name: kept if np.array_equal(array, kept := file.arrays[name], equal_nan=True) else array for name, array in arrays.items()}


def _nearest(rotvec: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Canonical rotation vectors (..., 3), or the same rotations the other way about where that is nearer to what the file had: one whose
    angles go beyond pi keeps them in one piece."""
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    other = rotvec * (1 - 2 * np.pi / np.maximum(angle, 1e-9))
    old = np.where(are_turns(old)[..., None], old, rotvec)
    nearer = (np.linalg.norm(other - old, axis=-1, keepdims=True) < np.linalg.norm(rotvec - old, axis=-1, keepdims=True)) & (angle > 0.5)
    chosen: np.ndarray = np.where(nearer, other, rotvec)
    return chosen
