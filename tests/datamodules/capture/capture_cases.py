"""A walking person of the built-in body, and files in which other makers' skeletons record them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import roma
import torch

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS
from pose_priors.datamodules.synthetic.scenes.walk import walk_on_arc

NUM, FPS = 24, 30.0
MIXAMO = {
    "pelvis": "Hips",
    "spine1": "Spine",
    "spine2": "Spine1",
    "spine3": "Spine2",
    "neck": "Neck",
    "head": "Head",
    **{
        f"{side.lower()}_{ours}": f"{side}{theirs}"
        for side in ("Left", "Right")
        for ours, theirs in {
            "hip": "UpLeg",
            "knee": "Leg",
            "ankle": "Foot",
            "foot": "ToeBase",
            "collar": "Shoulder",
            "shoulder": "Arm",
            "elbow": "ForeArm",
            "wrist": "Hand",
        }.items()
    },
}


@lru_cache(maxsize=1)
def walker() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose (T, 22, 3), pelvis (T, 3) and joints (T, 22, 3) in metres, y up."""
    motion = walk_on_arc(NUM, FPS, 1.1, 30.0, 1.7, False, 2)
    joints, _ = forward_kinematics(motion.pose, rest_joints()[:22], PARENTS[:22])
    return motion.pose.numpy(), motion.pelvis.numpy(), (joints + motion.pelvis[:, None]).numpy()


def own_axes() -> np.ndarray:
    """(22, 3, 3) axes of the maker's joints at rest, which are not SMPL-X's."""
    return roma.random_rotmat(22, generator=torch.Generator().manual_seed(1)).double().numpy()


def write_bvh(path: Path, unit: float = 0.01, prefix: str = "mixamorig:", order: str = "ZXY", positions: bool = False) -> Path:
    """The walker as BVH on a skeleton whose joints have axes of their own; `unit` in metres."""
    pose, pelvis, _ = walker()
    rest, axes = rest_joints()[:22].numpy(), own_axes()
    local = roma.rotvec_to_rotmat(torch.from_numpy(pose)).numpy()
    lines, columns = ["HIERARCHY"], []

    def write(joint: int, depth: int) -> None:
        parent = PARENTS[joint]
        above = np.eye(3) if parent < 0 else axes[parent]
        offset = np.zeros(3) if parent < 0 else above.T @ (rest[joint] - rest[parent]) / unit
        indent = "\t" * depth
        lines.append(f"{indent}{'ROOT' if parent < 0 else 'JOINT'} {prefix}{MIXAMO[JOINT_NAMES[joint]]}")
        lines.append(f"{indent}{{\n{indent}\tOFFSET {' '.join(f'{x:.8f}' for x in offset)}")
        placed = parent < 0 or positions
        names = [f"{axis}position" for axis in "XYZ"] * placed + [f"{axis}rotation" for axis in order]
        lines.append(f"{indent}\tCHANNELS {len(names)} {' '.join(names)}")
        turn = above.T @ local[:, joint] @ axes[joint]
        from scipy.spatial.transform import Rotation

        if placed:
            columns.append(pelvis / unit if parent < 0 else np.tile(offset, (NUM, 1)))
        columns.append(Rotation.from_matrix(turn).as_euler(order, degrees=True))
        children = [child for child in range(22) if PARENTS[child] == joint]
        for child in children:
            write(child, depth + 1)
        if not children:
            lines.append(f"{indent}\tEnd Site\n{indent}\t{{\n{indent}\t\tOFFSET 0 0 0\n{indent}\t}}")
        lines.append(f"{indent}}}")

    write(0, 0)
    lines.append(f"MOTION\nFrames: {NUM}\nFrame Time: {1 / FPS:.8f}")
    lines += [" ".join(f"{x:.7f}" for x in row) for row in np.concatenate(columns, 1)]
    path.write_text("\n".join(lines) + "\n")
    return path
