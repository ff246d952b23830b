"""Motions as tools and data sets nest and name them, turned into the arrays of AMASS: `poses`, `trans`, `mocap_framerate`.

| file | keys | becomes |
|---|---|---|
| AIST++ | `smpl_poses` (F, 72), `smpl_trans` (F, 3), `smpl_scaling` | poses, trans / scaling in metres, 60 frames a second |
| GVHMR, `hmr4d_results.pt` | `smpl_params_global` {`body_pose`, `global_orient`, `transl`} | that reading, 30 frames a second |
| WHAM, `wham_output.pkl` | a person each: `pose_world`, `trans_world` | of one person a motion, of several their poses alone |
| ROMP | `results` {`smpl_thetas` or `thetas` (N, 72), ...} | poses alone |
| PHC | a clip each: `pose_aa` (F, 72), `trans_orig` or `root_trans_offset`, `fps` | of one clip a motion, of several poses |
| ProtoMotions, `.motion` | `dof_pos` (F, 69) or (F, 153), `rigid_body_pos`, `rigid_body_rot` x, y, z, w (F, B, ...), `fps` | as OMOMO's |
| OMOMO, InterMimic | one array (F, 591) | MuJoCo's joints in SMPL-X's order and axes, 30 frames a second |

PBHC's and others' files of robots hold joints of robots: they are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError

_AIST_FPS, _USUAL_FPS = 60.0, 30.0
_SMPL = 72
_OMOMO_WIDTH = 591
# MuJoCo's bodies of the humanoid, pelvis first, at SMPL-X's 22 joints and its fingers, index, middle, pinky, ring, thumb
_MUJOCO_OF_BODY = (0, 1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12, 14, 33, 13, 15, 34, 16, 35, 17, 36)
_MUJOCO_OF_HANDS = (*range(18, 33), *range(37, 52))
# of its 24 bodies at SMPL's 24 joints, hands last
_MUJOCO_OF_SMPL = (0, 1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12, 14, 19, 13, 15, 20, 16, 21, 17, 22, 18, 23)
_PROTOMOTIONS = ("dof_pos", "rigid_body_pos", "rigid_body_rot")
_ROBOT = ("dof", "root_rot")


def _protomotions(content: Mapping[str, Any], source: str) -> dict[str, np.ndarray]:
    """Joints of SMPL's humanoid (24 bodies) or SMPL-X's (52), each but the root's a rotation vector of three degrees of freedom."""
    dof, places, turns = (_array(content[name]) for name in _PROTOMOTIONS)
    bodies = {69: 24, 153: 52}.get(dof.shape[1] if dof.ndim == 2 else 0)
    if bodies is None or places.shape != (len(dof), bodies, 3) or turns.shape != (len(dof), bodies, 4):
        raise UserError(
            f"{source}: 'dof_pos' {dof.shape}, 'rigid_body_pos' {places.shape} and 'rigid_body_rot' {turns.shape}: joints of a robot or of "
            "no body that is known; (F, 69) with 24 bodies or (F, 153) with 52 are people's: give the motion from before it was retargeted"
        )
    if not (np.abs(np.linalg.norm(turns[:, 0], axis=1) - 1) < 0.01).all():
        raise UserError(f"{source}: 'rigid_body_rot' holds no unit quaternions x, y, z, w")
    rate = content.get("fps")
    fps = _USUAL_FPS if rate is None else float(_array(rate).reshape(-1)[0])
    order = (*_MUJOCO_OF_BODY, *_MUJOCO_OF_HANDS) if bodies == 52 else _MUJOCO_OF_SMPL
    return _humanoid(dof, places[:, 0], turns[:, 0], order, fps)


def as_amass(content: Any, source: str) -> Any:
    """The content under AMASS's names where it is one of the above, else as it is.

    Raises:
        UserError: if it is the motion of a robot, or nothing that a file of its kind holds.
    """
    if isinstance(content, np.ndarray) and content.dtype == object and content.shape == ():
        content = content.item()
    if _width(content) == _OMOMO_WIDTH:
        return _omomo(_array(content))
    if not isinstance(content, Mapping):
        return content
    if all(name in content for name in _PROTOMOTIONS):
        return _protomotions(content, source)
    if "smpl_poses" in content and "smpl_trans" in content:
        scaling = float(_array(content.get("smpl_scaling", 1.0)).reshape(-1)[0])
        if not np.isfinite(scaling) or scaling <= 0:
            raise UserError(f"{source}: 'smpl_scaling' is {scaling:g}; a positive number is expected")
        return _motion(_array(content["smpl_poses"]), _array(content["smpl_trans"]) / scaling, _AIST_FPS)
    if isinstance(content.get("smpl_params_global"), Mapping):
        world = content["smpl_params_global"]
        pose = np.concatenate([_array(world["global_orient"]), _array(world["body_pose"])], 1)
        return _motion(pose, _array(world["transl"]), _USUAL_FPS)
    results = content.get("results")
    results = results.item() if isinstance(results, np.ndarray) and results.shape == () else results
    for name in ("smpl_thetas", "thetas"):
        if isinstance(results, Mapping) and _width(results.get(name)) == _SMPL:
            return {"pose": _array(results[name])}
    people = [value for value in content.values() if isinstance(value, Mapping)]
    if people and len(people) == len(content):
        return _several(people, content, source)
    return content


def _several(people: list[Mapping[str, Any]], content: Mapping[str, Any], source: str) -> Any:
    """WHAM's people, or PHC's clips."""
    if all(_width(person.get("pose_world")) == _SMPL and "trans_world" in person for person in people):
        if len(people) == 1:
            return _motion(_array(people[0]["pose_world"]), _array(people[0]["trans_world"]), None)
        return {"pose": np.concatenate([_array(person["pose_world"]) for person in people])}
    if all("pose_aa" in person for person in people):
        poses = [_array(person["pose_aa"]) for person in people]
        flat = [pose.reshape(len(pose), -1) for pose in poses]
        if any(pose.shape[1] not in (_SMPL, 156, 165) for pose in flat):
            shape, robot = poses[0].shape, any(name in people[0] for name in _ROBOT)
            raise UserError(
                f"{source}: 'pose_aa' of shape {shape}: {'joints of a robot' if robot else 'joints of no body that is known'}; people have "
                "24, 52 or 55 joints: give the motion from before it was retargeted"
            )
        if len(people) == 1:
            places = next((people[0][name] for name in ("trans_orig", "root_trans_offset", "trans") if name in people[0]), None)
            rate = people[0].get("fps")
            return _motion(flat[0], None if places is None else _array(places), None if rate is None else float(_array(rate)))
        if len({pose.shape[1] for pose in flat}) == 1:
            return {"pose": np.concatenate(flat)}
    return content


def _motion(poses: np.ndarray, trans: np.ndarray | None, fps: float | None) -> dict[str, np.ndarray]:
    arrays = {"poses": poses}
    if trans is not None:
        arrays["trans"] = trans
    return arrays if fps is None else arrays | {"mocap_framerate": np.asarray(fps)}


def _omomo(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Root's place 0:3, its quaternion x, y, z, w 3:7, 51 joints' rotation vectors 9:162 in axes of the upright body."""
    return _humanoid(rows[:, 9:162], rows[:, :3], rows[:, 3:7], (*_MUJOCO_OF_BODY, *_MUJOCO_OF_HANDS), _USUAL_FPS)


def _humanoid(dof: np.ndarray, place: np.ndarray, quaternion: np.ndarray, order: tuple[int, ...], fps: float) -> dict[str, np.ndarray]:
    """MuJoCo's humanoid: rotation vectors (F, 3 N) of all joints but the root, in axes of the upright body, in SMPL's order and axes."""
    turns = np.zeros((len(dof), 1 + dof.shape[1] // 3, 3))
    # (x, y, z) of the humanoid are (z, x, y) of SMPL's
    turns[:, 1:] = dof.reshape(len(dof), -1, 3)[..., [1, 2, 0]]
    pose = turns[:, list(order)]
    upright = Rotation.from_matrix(np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]))
    pose[:, 0] = (Rotation.from_quat(quaternion) * upright).as_rotvec()
    return _motion(pose.reshape(len(dof), -1), place, fps)


def _width(value: Any) -> int:
    """Numbers a row of a table; 0 if it is none."""
    return int(value.shape[1]) if isinstance(value, np.ndarray | torch.Tensor) and value.ndim == 2 else 0


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu().float() if isinstance(value, torch.Tensor) else value, dtype=np.float64)
