"""Stage 4 on its own: the people of stage 3, who stand in the axes of each frame's camera, carried into the world of stage 1.

The world is that of stage 1 as it is: its axes are those of the first camera, and its cameras' places keep stage 1's unit, since
the metric scale is found by stage 5. Bodies are metric. What the released code of Multi-TRAM does otherwise: it inverts the cameras
twice, and it moves smplx's `transl` as if it were the pelvis. Here a body turns about its pelvis, `transl' = R (J0 + transl) + t - J0`
with R, t of the camera to world, so that the world's joints project to where stage 3 saw them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.body.layout import layout
from pose_priors.body.model import forward_kinematics
from pose_priors.body.pinhole import to_world
from pose_priors.body.smplx_files import load_joint_model
from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import written_folder
from pose_priors.refinement.formats.bodies import BodyTrack, read_bodies
from pose_priors.refinement.formats.cameras import CameraTrack, read_cameras
from pose_priors.refinement.formats.files import existing_folder
from pose_priors.refinement.formats.tools.multi_tram import read_clip
from pose_priors.refinement.given.checks import check_cameras
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.skeletons import recover
from pose_priors.refinement.given.units import in_metres

METADATA = "metadata.json"
_EVERYONE = "all_people_world.npz"
# SMPL-X's joints as smplx names them, where a body has fingers
_FINGERS = {"jaw_pose": slice(22, 23), "left_hand_pose": slice(25, 40), "right_hand_pose": slice(40, 55)}


@dataclass(frozen=True)
class WorldBody:
    """One person in the world, a row for each row of stage 3.

    Attributes:
        frames: (n,) frame numbers.
        pose: (n, J, 3) rotation vectors, joint 0 relative to the world.
        betas: (B,).
        transl: (n, 3) metres, smplx's: the pelvis less J0.
        joints: (n, J, 3) metres; joint 0 is the pelvis.
    """

    frames: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    transl: np.ndarray
    joints: np.ndarray


def to_world_space(
    stage1_dir: Path,
    stage3_dir: Path,
    stage4_dir: Path,
    *,
    stage2_dir: Path | None = None,
    options: LoadOptions | None = None,
    digest: str = "",
) -> dict[str, Any]:
    """Carries the people of stage 3 into the world and writes the folder of stage 4, which `load_problem` reads.

    Written are `person_<id>/smpl_params_world.npz`, `trajectory_world.npy` (the pelvis) and `joints_world.npy`, `all_people_world.npz`
    (`person_ids` (P,), `frame_ids` (T,), `visible` (P, T), `trans`, `root_orient` and `pose_body` (P, T, ...), zero where not seen),
    `cameras_world.npz` (`c2w` (T, 4, 4), `intrinsics`, `frame_ids`) and `metadata.json`. The folder is exchanged as a whole.

    Args:
        stage2_dir: masks, with which the depth maps can prove the direction of the cameras; None to take it as stage 1 says.
        options: who is carried, and on how many frames; `body_model` in it is for bodies that come without joints.
        digest: kept in the metadata, see `batch.digest`.
    Returns:
        The content of `metadata.json`.
    Raises:
        UserError: if a stage is missing or wrong, the cameras contradict the depth maps, or the folder cannot be written to.
    """
    options, warnings = options or LoadOptions(), list[str]()
    cameras, bodies = _read(Path(stage1_dir), stage2_dir, Path(stage3_dir), options.max_frames, warnings)
    people = {person: carried(bodies[person], cameras, options.body_model, warnings) for person in options.who.choose(bodies)}
    about = {
        "status": "success",
        "num_people": len(people),
        "people": list(people),
        "num_frames": len(cameras.frame_ids),
        "world_origin": [0.0, 0.0, 0.0],
        "unit": "cameras: stage 1's; bodies: metres",
        "warnings": warnings,
        "digest": digest,
    }
    _write(Path(stage4_dir), people, cameras, about)
    return about


def world_file(folder: Path, person: int) -> Path:
    """One person's parameters in the folder of stage 4."""
    return folder / f"person_{person:03d}" / "smpl_params_world.npz"


def carried(body: BodyTrack, cameras: CameraTrack, body_model: Path | None, warnings: list[str]) -> WorldBody:
    """One person in the world of the cameras. Joints are those of stage 3, or posed from `body_model` where it has none."""
    w2c = cameras.w2c[np.searchsorted(cameras.frame_ids, body.frames)]
    rotation = w2c[:, :3, :3].transpose(0, 2, 1)
    joints = body.joints if body.joints is not None else _posed(body, body_model, warnings)
    pose = body.pose.copy()
    pose[:, 0] = (Rotation.from_matrix(rotation) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    there = to_world(joints, w2c)
    # J0 as each row of stage 3 has it: an exact file stays exact
    transl = there[:, 0] - (joints[:, 0] - body.transl)
    return WorldBody(body.frames, pose, body.betas, transl, there)


def _read(
    stage1_dir: Path, stage2_dir: Path | None, stage3_dir: Path, max_frames: int | None, warnings: list[str]
) -> tuple[CameraTrack, dict[int, BodyTrack]]:
    if stage2_dir is not None:
        clip = read_clip(stage1_dir, Path(stage2_dir), stage3_dir, None, max_frames, warnings)
        clip, _ = check_cameras(in_metres(clip, warnings), warnings)
        return clip.cameras, clip.camera_bodies
    cameras = read_cameras(stage1_dir, warnings)
    existing_folder(stage3_dir, "pose estimation (stage 3)")
    faults: list[str] = []
    bodies, _ = read_bodies(stage3_dir, "camera", cameras.frame_ids, faults, {})
    if not bodies:
        raise UserError(f"{stage3_dir}: no person could be read; {faults[0] if faults else 'there are no folders person_<id>'}")
    warnings += faults
    cameras = cameras.first(max_frames)
    cut = {person: body.rows(np.isin(body.frames, cameras.frame_ids)) for person, body in bodies.items()}
    return cameras, {person: body for person, body in cut.items() if len(body.frames)}


def _posed(body: BodyTrack, body_model: Path | None, warnings: list[str]) -> np.ndarray:
    """(n, J, 3) metres in the camera's axes."""
    of = layout(body.pose.shape[1])
    kinds = ("smpl", "smplx", "smplh") if of.num_joints == 24 else ("smplx", "smplh", "smpl")
    model = None if body_model is None else load_joint_model(Path(body_model), len(body.betas), kinds)
    skeleton = recover(body, of, model, warnings)
    posed, _ = forward_kinematics(torch.from_numpy(body.pose), torch.from_numpy(skeleton.rest), of.parents)
    joints: np.ndarray = posed.numpy() + (body.transl + skeleton.root)[:, None]
    return joints


def _write(folder: Path, people: Mapping[int, WorldBody], cameras: CameraTrack, about: Mapping[str, Any]) -> None:
    try:
        with written_folder(folder) as new:
            for person, body in people.items():
                _write_person(world_file(new, person), body)
            np.savez(new / _EVERYONE, allow_pickle=False, **_together(people, cameras.frame_ids))
            c2w = np.linalg.inv(cameras.w2c)
            np.savez(new / "cameras_world.npz", c2w=c2w, intrinsics=cameras.intrinsics, frame_ids=cameras.frame_ids)
            (new / METADATA).write_text(json.dumps(about, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); give a folder that can be in output.path") from error


def _write_person(path: Path, body: WorldBody) -> None:
    path.parent.mkdir()
    num_joints = body.pose.shape[1]
    flat = len(body.pose), -1
    parameters = {"poses": body.pose[:, 1 : 24 if num_joints == 24 else 22]}
    if num_joints == 55:
        parameters |= {name: body.pose[:, part].reshape(flat) for name, part in _FINGERS.items()}
    parameters |= {"global_orient": body.pose[:, 0], "transl": body.transl, "betas": body.betas, "frame_ids": body.frames}
    np.savez(path, allow_pickle=False, **parameters)
    np.save(path.with_name("trajectory_world.npy"), body.joints[:, 0])
    np.save(path.with_name("joints_world.npy"), body.joints)


def _together(people: Mapping[int, WorldBody], frame_ids: np.ndarray) -> dict[str, np.ndarray]:
    shape = (len(people), len(frame_ids))
    width = max(21 if body.pose.shape[1] != 24 else 23 for body in people.values())
    visible, trans, root, pose = np.zeros(shape, bool), np.zeros((*shape, 3)), np.zeros((*shape, 3)), np.zeros((*shape, width, 3))
    for p, body in enumerate(people.values()):
        at = np.searchsorted(frame_ids, body.frames)
        rows = body.pose[:, 1 : 24 if body.pose.shape[1] == 24 else 22]
        visible[p, at], trans[p, at], root[p, at] = True, body.transl, body.pose[:, 0]
        pose[p, at, : rows.shape[1]] = rows
    return {
        "person_ids": np.array(list(people)),
        "frame_ids": frame_ids,
        "visible": visible,
        "trans": trans,
        "root_orient": root,
        "pose_body": pose.reshape(*shape, -1),
    }
