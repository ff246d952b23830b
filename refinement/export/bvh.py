"""BVH: a skeleton and its motion as text (Meredith and Maddock, "Motion Capture File Formats Explained", University of Sheffield, 2001)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.configs.writing import written_aside
from pose_priors.refinement.export.people import AnimatedSkeleton

_CM = 100.0
_CHANNELS = "Zrotation Xrotation Yrotation"
# From z up to y up: the x axis stays, what was away from the camera is -z.
TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""(3, 3) from z up to y up; x stays."""


def write_bvh(path: Path, person: AnimatedSkeleton, fps: float) -> None:
    """One person's motion in centimetres, y up; a row for each frame of the person's life.

    Rotations are `Zrotation Xrotation Yrotation`, R = Rz Rx Ry, in degrees; of the two triples that give a rotation, and their whole turns,
    each frame has the one that is nearest to the frame before, so that what reads between frames does not spin. At +-90 degrees of
    X, where Z and Y turn about one axis, Y takes none of it, and the rotation is still exact.
    """
    children = {joint: [c for c, parent in enumerate(person.parents) if parent == joint] for joint in range(len(person.parents))}
    order: list[int] = []
    lines = ["HIERARCHY", *_joint(person, 0, children, order, "")]
    rotmat = person.rotmat.copy()
    rotmat[:, 0] = TO_Y_UP @ rotmat[:, 0]
    angles = _euler(rotmat)[:, order]
    rows = np.concatenate([_CM * person.pelvis @ TO_Y_UP.T, angles.reshape(len(angles), -1)], 1)
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / fps:.8f}"]
    with written_aside(path) as aside, aside.open("w") as stream:
        stream.write("\n".join(lines) + "\n")
        np.savetxt(stream, rows, "%.5f")


def _joint(person: AnimatedSkeleton, joint: int, children: dict[int, list[int]], order: list[int], indent: str) -> list[str]:
    """The block of a joint and all below it; notes the order in which joints come, which is that of their channels."""
    order.append(joint)
    inside = indent + "\t"
    offset = person.offsets[joint]
    channels = f"CHANNELS 3 {_CHANNELS}" if joint else f"CHANNELS 6 Xposition Yposition Zposition {_CHANNELS}"
    lines = [f"{indent}{'JOINT' if joint else 'ROOT'} {person.names[joint]}", indent + "{", inside + _offset(offset), inside + channels]
    for child in children[joint]:
        lines += _joint(person, child, children, order, inside)
    if not children[joint]:
        lines += [inside + "End Site", inside + "{", inside + "\t" + _offset(offset / 2), inside + "}"]
    return [*lines, indent + "}"]


def _offset(metres: np.ndarray) -> str:
    return "OFFSET " + " ".join(f"{value:.5f}" for value in _CM * metres)


def _euler(rotmat: np.ndarray) -> np.ndarray:
    """(T, J, 3) degrees about Z, X and Y of rotations (T, J, 3, 3), with as small steps from frame to frame as there are."""
    flat = Rotation.from_matrix(rotmat.reshape(-1, 3, 3)).as_euler("ZXY", degrees=True, suppress_warnings=True)
    angles: np.ndarray = flat.reshape(*rotmat.shape[:2], 3)
    other = angles * [1, -1, 1] + 180  # the same rotation: Z and Y half a turn on, X mirrored
    for row in range(1, len(angles)):
        near = [option + 360 * np.round((angles[row - 1] - option) / 360) for option in (angles[row], other[row])]
        steps = [np.abs(option - angles[row - 1]).sum(-1, keepdims=True) for option in near]
        angles[row] = np.where(steps[0] <= steps[1], near[0], near[1])
    return angles
