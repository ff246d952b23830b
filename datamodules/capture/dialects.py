"""Motions as tools and data sets nest and name them, turned into the arrays of AMASS: `poses`, `trans`, `mocap_framerate`.

| file | keys | becomes |
|---|---|---|
| AIST++ | `smpl_poses` (F, 72), `smpl_trans` (F, 3), `smpl_scaling` | poses, trans / scaling in metres, 60 frames a second |
| GVHMR, `hmr4d_results.pt` | `smpl_params_global` {`body_pose`, `global_orient`, `transl`} | that reading, 30 frames a second |
| WHAM, `wham_output.pkl` | a person each: `pose_world`, `trans_world`, `frame_ids` | a motion; of several people, people first |
| CoMotion, `<video>.pt` | a row for each person and frame: `id`, `frame_idx` (N,), `pose` (N, 72), `trans` | as WHAM's, in the camera |
| ROMP, an image | `results` {`smpl_thetas` or `thetas` (N, 72), ...} | poses alone |
| ROMP, a video | `results` {image: `smpl_thetas`, `track_ids` (N,), ...} | a motion; of several people, people first; without ids poses |
| PHC | a clip each: `pose_aa` (F, 72), `trans_orig` or `root_trans_offset`, `fps` | of one clip a motion, of several poses |
| ProtoMotions, `.motion` | `dof_pos` (F, 69) or (F, 153), `rigid_body_pos`, `rigid_body_rot` x, y, z, w (F, B, ...), `fps` | as OMOMO's |
| OMOMO, InterMimic | one array (F, 591) | MuJoCo's joints in SMPL-X's order and axes, 30 frames a second |

Of several people, and of frames that a tool numbers, `person_ids` and `frame_ids` say which they are.
PBHC's and others' files of robots hold joints of robots: they are refused. So is what has a tool's names and is not as the tool writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError, reason_of
from pose_priors.datamodules.capture.images import is_of_nobody, on_frames
from pose_priors.datamodules.containers.fields import Fields
from pose_priors.datamodules.plausibility import MAX_FPS, MIN_FPS

_AIST_FPS, _USUAL_FPS = 60.0, 30.0
_AIST_SCALING = 1e-3, 1e4  # of the file's unit to a metre; AIST++'s own are near 90
_SMPL = 72
_BODIES = {_SMPL: "24", 156: "52", 165: "55"}  # numbers a pose, and its joints
_OMOMO_WIDTH = 591
_UNIT = 0.01  # by which the length of a quaternion may be off
_MOST_CELLS, _LEAST_SEEN = 500_000, 0.01  # of people's frames together; of all people's frames, those with a person on them
_FEW_CELLS = 10_000
# MuJoCo's bodies of the humanoid, pelvis first, at SMPL-X's 22 joints and its fingers, index, middle, pinky, ring, thumb
_MUJOCO_OF_BODY = (0, 1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12, 14, 33, 13, 15, 34, 16, 35, 17, 36)
_MUJOCO_OF_HANDS = (*range(18, 33), *range(37, 52))
# of its 24 bodies at SMPL's 24 joints, hands last
_MUJOCO_OF_SMPL = (0, 1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12, 14, 19, 13, 15, 20, 16, 21, 17, 22, 18, 23)
_PROTOMOTIONS = ("dof_pos", "rigid_body_pos", "rigid_body_rot")
_COMOTION = ("id", "frame_idx", "pose", "trans")
_ROBOT = ("dof", "root_rot")


def as_amass(content: Any, source: str) -> Any:
    """The content under AMASS's names where it is one of the above, else as it is.

    Raises:
        UserError: if it is the motion of a robot, or has a tool's names and not what the tool writes under them.
    """
    if isinstance(content, np.ndarray) and content.dtype == object and content.shape == ():
        content = content.item()
    if isinstance(content, np.ndarray | torch.Tensor) and content.ndim == 2 and content.shape[1] == _OMOMO_WIDTH:
        return _omomo(Fields({"rows": content}, source).array("rows", "n", _OMOMO_WIDTH), source)
    if not isinstance(content, Mapping):
        return content
    if all(name in content for name in _PROTOMOTIONS):
        return _protomotions(Fields(content, source))
    if "smpl_poses" in content and "smpl_trans" in content:
        return _aist(Fields(content, source))
    if all(name in content for name in _COMOTION):
        return _comotion(Fields(content, source))
    if "smpl_params_global" in content:
        return _gvhmr(Fields(content, source).within("smpl_params_global"))
    results = content.get("results")
    results = results.item() if isinstance(results, np.ndarray) and results.shape == () else results
    for name in ("smpl_thetas", "thetas"):
        if isinstance(results, Mapping) and name in results:
            return {"pose": Fields(results, f"{source}: 'results'").array(name, "n", _SMPL)}
    if isinstance(results, Mapping) and any(isinstance(value, Mapping) and "smpl_thetas" in value for value in results.values()):
        return _romp(results, source)
    inner = [value for value in content.values() if isinstance(value, Mapping)]
    for name, read in (("pose_world", _wham), ("pose_aa", _phc)):
        if any(name in value for value in inner):
            return read([Fields(value, f"{source}: '{reason_of(key)}'") for key, value in content.items()], [*content], source)
    return content


def _aist(fields: Fields) -> dict[str, np.ndarray]:
    scaling = fields.number("smpl_scaling") if "smpl_scaling" in fields else 1.0
    least, most = _AIST_SCALING
    if not least <= scaling <= most:
        raise UserError(f"{fields.source}: 'smpl_scaling' is {scaling:g}; a number from {least:g} to {most:g} is expected")
    return _motion(fields.array("smpl_poses", "n", _SMPL), fields.array("smpl_trans", "n", 3) / scaling, _AIST_FPS)


def _gvhmr(world: Fields) -> dict[str, np.ndarray]:
    root, body = world.array("global_orient", "n", 3), world.array("body_pose", "n", None)
    if body.shape[1] not in (63, 69):
        raise UserError(f"{world.source}: 'body_pose' has shape {body.shape}; (n, 63) or (n, 69) is expected")
    return _motion(np.concatenate([root, body], 1), world.array("transl", "n", 3), _USUAL_FPS)


def _wham(people: list[Fields], names: list[Any], source: str) -> dict[str, np.ndarray]:
    """Everybody on the frames from the first to the last that has somebody; one person alone without the dimension of people."""
    read = []
    for person in people:
        pose, place = person.array("pose_world", "n", _SMPL), person.array("trans_world", "n", 3)
        frames = person.whole("frame_ids", "n") if "frame_ids" in person else np.arange(len(pose))
        if (np.diff(frames) <= 0).any():
            raise UserError(f"{person.source}: 'frame_ids' do not rise from row to row; each frame once, in their order, is expected")
        read.append((frames, np.concatenate([pose, place], 1)))
    return _together(read, names, source)


def _comotion(rows: Fields) -> dict[str, np.ndarray]:
    """Everybody by the tracker's ids, which the rows are of in any order, on the frames from the first to the last that has somebody."""
    values = np.concatenate([rows.array("pose", "n", _SMPL), rows.array("trans", "n", 3)], 1)
    ids, frames = rows.whole("id", "n"), rows.whole("frame_idx", "n")
    read, people = [], np.unique(ids).tolist()
    for person in people:
        own = np.flatnonzero(ids == person)
        own = own[frames[own].argsort()]
        if (np.diff(frames[own]) == 0).any():
            raise UserError(f"{rows.source}: 'frame_idx' has a frame twice for 'id' {person}; each frame of a person once is expected")
        read.append((frames[own], values[own]))
    return _together(read, people, rows.source)


def _romp(images: Mapping[Any, Any], source: str) -> dict[str, np.ndarray]:
    """Everybody of a video's images, on the frames that these are, by the tracker's ids. Without ids people are one where no image has
    two."""
    rows: list[tuple[int, np.ndarray, np.ndarray | None]] = []
    for frame, name, people in on_frames(images):
        if is_of_nobody(people):
            continue
        fields = Fields(people, f"{source}: '{reason_of(name)}'")
        poses = fields.array("smpl_thetas", "n", _SMPL)
        rows.append((frame, poses, fields.whole("track_ids", "n") if "track_ids" in fields else None))
    if not rows:
        raise UserError(f"{source}: {len(images)} images, and nobody is seen on any")
    known = all(ids is not None and len(np.unique(ids)) == len(ids) for _, _, ids in rows)
    if not known and any(len(poses) > 1 for _, poses, _ in rows):
        return {"pose": np.concatenate([poses for _, poses, _ in rows])}
    of_person: dict[int, list[tuple[int, np.ndarray]]] = {}
    for frame, poses, ids in rows:
        for person, pose in zip(ids.tolist() if known and ids is not None else [0], poses, strict=True):
            of_person.setdefault(person, []).append((frame, pose))
    read = [(np.array(frames), np.stack(poses)) for frames, poses in (zip(*seen, strict=True) for seen in of_person.values())]
    return _together(read, [*of_person] if known else None, source)


def _together(read: list[tuple[np.ndarray, np.ndarray]], names: list[Any] | None, source: str) -> dict[str, np.ndarray]:
    """People on all frames from the first to the last that has somebody, NaN where a person is not; one person alone without the dimension
    of people. With `frame_ids` (T,) and `person_ids` (P,), as the tool has them.

    Args:
        read: frames (n,) and rows (n, 72), or (n, 75) with places, of each person.
        names: the tool's ids; None where it has none.
    """
    first = min(int(frames[0]) for frames, _ in read)
    num_frames = max(int(frames[-1]) for frames, _ in read) - first + 1
    cells, seen = len(read) * num_frames, sum(len(frames) for frames, _ in read)
    if cells > _MOST_CELLS or (cells > _FEW_CELLS and seen < _LEAST_SEEN * cells):
        raise UserError(
            f"{source}: {len(read)} people on {num_frames} frames, of which {seen} of {cells} have one; at most {_MOST_CELLS} are read at "
            f"once, and somebody on {_LEAST_SEEN:.0%} of them: give a file with fewer people or frames"
        )
    rows = np.full((len(read), num_frames, read[0][1].shape[1]), np.nan)
    for person_rows, (frames, values) in zip(rows, read, strict=True):
        person_rows[frames - first] = values
    found = rows[0] if len(read) == 1 else rows
    motion = _motion(found[..., :_SMPL], found[..., _SMPL:] if found.shape[-1] > _SMPL else None, None)
    if names is not None:
        motion["person_ids"] = np.array(names if all(isinstance(name, int | np.integer) for name in names) else [*map(str, names)])
    return motion | {"frame_ids": np.arange(first, first + num_frames)}


def _phc(clips: list[Fields], _: list[Any], source: str) -> dict[str, np.ndarray]:
    """Of one clip its motion; of several, which are no people of one file, the poses one after the other."""
    poses = [_poses_of_phc(clip) for clip in clips]
    if len(clips) == 1:
        (clip,) = clips
        place = next((name for name in ("trans_orig", "root_trans_offset", "trans") if name in clip), None)
        clip.sizes["n"] = len(poses[0])
        return _motion(poses[0], None if place is None else clip.array(place, "n", 3), _rate(clip, None))
    if len(widths := sorted({pose.shape[1] for pose in poses})) > 1:
        raise UserError(f"{source}: clips whose poses have {' and '.join(map(str, widths))} numbers; clips of one body are expected")
    return {"pose": np.concatenate(poses)}


def _poses_of_phc(clip: Fields) -> np.ndarray:
    pose = clip.array("pose_aa")
    flat = pose.reshape(len(pose), -1) if pose.ndim == 2 or (pose.ndim == 3 and pose.shape[2] == 3) else None
    if flat is None or flat.shape[1] not in _BODIES:
        robot = any(name in clip for name in _ROBOT)
        raise UserError(
            f"{clip.source}: 'pose_aa' of shape {pose.shape}: {'joints of a robot' if robot else 'joints of no body that is known'}; "
            f"people have {', '.join(_BODIES.values())} joints: give the motion from before it was retargeted"
        )
    return flat


def _protomotions(fields: Fields) -> dict[str, np.ndarray]:
    """Joints of SMPL's humanoid (24 bodies) or SMPL-X's (52), each but the root's a rotation vector of three degrees of freedom."""
    dof, places, turns = (fields.array(name) for name in _PROTOMOTIONS)
    bodies = {69: 24, 153: 52}.get(dof.shape[1] if dof.ndim == 2 else 0)
    if bodies is None or places.shape != (len(dof), bodies, 3) or turns.shape != (len(dof), bodies, 4):
        raise UserError(
            f"{fields.source}: 'dof_pos' {dof.shape}, 'rigid_body_pos' {places.shape} and 'rigid_body_rot' {turns.shape}: joints of a "
            "robot or of no body that is known; (F, 69) with 24 bodies or (F, 153) with 52 are people's: give the motion from before it "
            "was retargeted"
        )
    order = (*_MUJOCO_OF_BODY, *_MUJOCO_OF_HANDS) if bodies == 52 else _MUJOCO_OF_SMPL
    root = _turns(turns[:, 0], f"{fields.source}: 'rigid_body_rot'")
    return _humanoid(dof, places[:, 0], root, order, _rate(fields, _USUAL_FPS))


def _rate(fields: Fields, usual: float | None) -> float | None:
    """Frames a second, as a number or as text; `usual` where nothing is said."""
    if "fps" not in fields:
        return usual
    stated = fields.content["fps"]
    try:
        rate = float(stated) if isinstance(stated, str) else fields.number("fps")
    except ValueError:
        rate = float("nan")
    if not MIN_FPS <= rate <= MAX_FPS:
        said = f"{stated!r:.40}" if isinstance(stated, str) else f"{rate:g}"
        raise UserError(f"{fields.source}: 'fps' is {said}; a frame rate is a number from {MIN_FPS:g} to {MAX_FPS:g}")
    return rate


def _turns(quaternion: np.ndarray, where: str) -> np.ndarray:
    """Rotation vectors (F, 3) of unit quaternions x, y, z, w (F, 4), NaN where one is not finite. Raises `UserError` if one is not unit."""
    finite = np.isfinite(quaternion).all(1)
    if (wrong := np.abs(np.linalg.norm(quaternion[finite], axis=1) - 1) > _UNIT).any():
        raise UserError(f"{where} holds quaternions x, y, z, w that are not of length 1, on {int(wrong.sum())} of {len(wrong)} frames")
    upright = Rotation.from_matrix(np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]))
    turns = np.full((len(quaternion), 3), np.nan)
    if finite.any():
        turns[finite] = (Rotation.from_quat(quaternion[finite]) * upright).as_rotvec()
    return turns


def _motion(poses: np.ndarray, trans: np.ndarray | None, fps: float | None) -> dict[str, np.ndarray]:
    arrays = {"poses": poses}
    if trans is not None:
        arrays["trans"] = trans
    return arrays if fps is None else arrays | {"mocap_framerate": np.asarray(fps)}


def _omomo(rows: np.ndarray, source: str) -> dict[str, np.ndarray]:
    """Root's place 0:3, its quaternion x, y, z, w 3:7, 51 joints' rotation vectors 9:162 in axes of the upright body."""
    root = _turns(rows[:, 3:7], f"{source}: columns 3 to 6")
    return _humanoid(rows[:, 9:162], rows[:, :3], root, (*_MUJOCO_OF_BODY, *_MUJOCO_OF_HANDS), _USUAL_FPS)


def _humanoid(dof: np.ndarray, place: np.ndarray, root: np.ndarray, order: tuple[int, ...], fps: float | None) -> dict[str, np.ndarray]:
    """MuJoCo's humanoid: rotation vectors (F, 3 N) of all joints but the root, in axes of the upright body, in SMPL's order and axes; the
    root's (F, 3) in SMPL's axes already."""
    turns = np.zeros((len(dof), 1 + dof.shape[1] // 3, 3))
    # (x, y, z) of the humanoid are (z, x, y) of SMPL's
    turns[:, 1:] = dof.reshape(len(dof), -1, 3)[..., [1, 2, 0]]
    pose = turns[:, list(order)]
    pose[:, 0] = root
    return _motion(pose.reshape(len(dof), -1), place, fps)
