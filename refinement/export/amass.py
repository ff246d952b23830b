"""SMPL-X motions in the layout of AMASS (Mahmood et al., "AMASS: Archive of Motion Capture as Surface Shapes", ICCV 2019), stage II."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pose_priors.body import conversions
from pose_priors.body.rotations import canonicalize
from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.configs.writing import written_aside
from pose_priors.refinement.export.people import AnimatedSkeleton
from pose_priors.refinement.export.rate import whole_rate
from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT


def write_amass(path: Path, person: AnimatedSkeleton, fps: float, num_betas: int | None = None) -> None:
    """One person as an npz that the SMPL-X Blender add-on opens: `poses` (T, 165) and its parts, `trans` (smplx's transl, not the pelvis),
    `betas`, `gender`, the rate, a whole one where it stands for that; z up, metres, radians, the zero pose of a hand is the flat hand.

    A file is one uninterrupted life, `frame_ids` says which frames of the clip; on frames that are not `visible` poses are the
    refinement's guess. Bodies of SMPL keep their poses and places: the joints that they lack are at rest, and since their betas mean
    nothing to SMPL-X, `betas` are those of the mean shape, zero. With `num_betas`, there are so many, the missing ones zero.
    `joint_sigma_mm` (T, 55) is how far joints may be off, nan where that is not known.
    """
    num_joints = len(person.parents)
    rotvec = canonicalize(conversions.rotmat_to_rotvec(torch.from_numpy(person.rotmat))).numpy()
    pose = np.zeros((len(rotvec), NUM_JOINTS, 3))
    known = NUM_JOINTS if num_joints == NUM_JOINTS else 22
    pose[:, :known] = rotvec[:, :known]
    sigma = np.full(pose.shape[:2], np.nan, np.float32)
    if person.joint_sigma_mm is not None:
        sigma[:, :known] = person.joint_sigma_mm[:, :known]
    is_smplx = num_joints != 24
    betas = person.betas if is_smplx else np.zeros(10)
    if num_betas is not None:
        betas = np.pad(betas[:num_betas], (0, max(0, num_betas - len(betas))))
    trans = person.pelvis - (person.root_offset if is_smplx else np.array(TEMPLATE_ROOT[NUM_JOINTS]))
    flat = pose.reshape(len(pose), -1).astype(np.float32)
    parts = {"root_orient": (0, 3), "pose_body": (3, 66), "pose_jaw": (66, 69), "pose_eye": (69, 75), "pose_hand": (75, 165)}
    with written_aside(path) as aside, aside.open("wb") as stream:
        np.savez(
            stream,
            allow_pickle=False,
            gender="neutral",
            surface_model_type="smplx",
            mocap_frame_rate=np.float64(whole_rate(fps)),
            mocap_framerate=np.float64(whole_rate(fps)),
            mocap_time_length=np.float64(len(pose) / fps),
            betas=betas.astype(np.float32),
            num_betas=np.int64(len(betas)),
            trans=trans.astype(np.float32),
            poses=flat,
            **{name: flat[:, first:last] for name, (first, last) in parts.items()},
            frame_ids=person.frames,
            visible=person.visible,
            joint_sigma_mm=sigma,
        )
