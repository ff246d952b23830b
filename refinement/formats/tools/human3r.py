"""Human3R: a folder `smpl/` with `%06d.npz` for each frame (Chen et al., "Human3R", 2025).

Frames: the files' numbers, from 0. Person ids: `smpl_id`. Camera: `cam2world`, `intrinsics` of the resized image. Scale: metric. Up: read
off the people. Bodies: SMPL-X in the camera's axes, 53 joints (root, body, jaw, hands; no eyes) as `rotvec`; `transl` is where the head
stands, not smplx's translation and not the pelvis, which follows by the bones of the built-in adult. No keypoints, no frame rate; masks are
left.
"""

from __future__ import annotations

import numpy as np
import torch

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import NUM_JOINTS, POSE53_TO_SMPLX, index_of
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.assembly import camera_track, is_nobodys, people_of, person_id, tell_nobodys, usual_betas
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.files import numbered_files
from pose_priors.refinement.formats.source import Fields, Source
from pose_priors.refinement.formats.tracks import Tracks

NAME = "Human3R"
FILES: tuple[str, ...] = ("smpl/*.npz",)
BESIDE: tuple[str, ...] = ("smpl/*.npz",)
_KEYS = ("rotvec", "transl", "smpl_id", "cam2world")


def detect(source: Source) -> bool:
    """Whether it is a folder with one of frames, each with its people and its camera."""
    return source.path.is_dir() and source.holds(source.file(*FILES), *_KEYS)


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the folder. Raises `UserError` if a file holds something else than Human3R writes."""
    folder = source.path / "smpl"
    files = numbered_files(folder, (".npz",))
    numbers = np.array(sorted(files))
    if not np.array_equal(numbers, np.arange(numbers[0], numbers[-1] + 1)):
        raise UserError(f"{folder}: frames {numbers[0]} to {numbers[-1]} without some between; a file for each is expected")
    poses, intrinsics = np.zeros((len(numbers), 4, 4)), np.zeros((len(numbers), 3, 3))
    rows: dict[int, list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]] = {}
    nobodys = 0
    for at, number in enumerate(numbers.tolist()):
        fields = Fields(source.load(files[number]), str(files[number]))
        poses[at], intrinsics[at] = fields.array("cam2world", 4, 4), fields.array("intrinsics", 3, 3)
        if not np.size(fields.raw("smpl_id")):  # nobody is seen on this frame
            continue
        turns, places = fields.array("rotvec", "n", len(POSE53_TO_SMPLX), 3), fields.array("transl", "n", 3)
        betas, ids = fields.array("shape", "n", None), fields.array("smpl_id", "n")
        for turn, place, shape, value in zip(turns, places, betas, ids, strict=True):
            if is_nobodys(int(value)):
                nobodys += 1
                continue
            rows.setdefault(person_id(int(value), fields.source), []).append((number, turn, place, shape))
    tell_nobodys(nobodys, folder, warnings)
    source_of = f"{folder}: 'cam2world'"
    cameras = camera_track(source_of, poses[:, :3, :3], poses[:, :3, 3], intrinsics, inverted=True, first_frame=int(numbers[0]))
    bodies = []
    for person, seen in rows.items():
        frames, turns, heads, betas = (np.array(column) for column in zip(*seen, strict=True))
        pose = np.zeros((len(frames), NUM_JOINTS, 3))
        pose[:, list(POSE53_TO_SMPLX)] = turns
        pelvis = heads - _head_from_pelvis(pose)
        bodies.append(
            BodyTrack(person, f"{folder}: person {person}", frames, pose, usual_betas(betas), pelvis, None, transl_is_pelvis=True)
        )
    warnings.append(
        f"{folder}: Human3R's cameras are metric, so the scale starts at 1; it says where heads are, and pelves follow by the bones of the "
        "built-in adult; it writes no keypoints"
    )
    known = people_of(bodies, cameras.frame_ids, str(folder), warnings)
    return UpstreamClip(cameras=cameras, tracks=Tracks(), camera_bodies=known, alpha=1.0)


def _head_from_pelvis(pose: np.ndarray) -> np.ndarray:
    """(n, 3) metres in the axes in which the poses' (n, 55, 3) roots are."""
    joints, _ = forward_kinematics(torch.from_numpy(np.nan_to_num(pose)), rest_joints())
    head: np.ndarray = (joints[:, index_of("head")] - joints[:, 0]).numpy()
    return head
