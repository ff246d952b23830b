"""A person's second reading, as the camera of each frame sees it, beside the one in the world: GVHMR's, as ComfyUI's nodes write it.

What the two readings differ by is the camera: `p_camera = R (p - c)`. Local rotations are one array for both. What is made up or smoothed
of the reading in the world is seen by that camera again. What is mended of the path against the floor is not: the picture tells where the
person is before the camera, and nothing of the floor, so that the camera's own path in the world takes that up.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.interpolation import lerp_missing, slerp_missing
from pose_priors.datamodules.plausibility import are_places, are_turns
from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT
from pose_priors.refinement.motions.files.layouts import rows_of
from pose_priors.refinement.motions.files.read import MotionFile, brought_back
from pose_priors.refinement.motions.motion import NUM_JOINTS
from pose_priors.refinement.motions.restore import Restored

_MADE_UP = ("missing", "frozen", "pop")  # of frames whose own reading in the world is wrong, and tells no camera where it was replaced
_BY_FLOOR = "what the floor says of the path in the world changes no picture, so that the camera by both readings moves along with it"
_PAIRED = 0.5  # of all frames, on which both readings have to tell the camera: between fewer its path is a guess


def seen_again(file: MotionFile, person: int, restored: Restored) -> tuple[dict[str, np.ndarray], list[str]]:
    """The reading in the camera of a motion that was cleaned in the world.

    Args:
        file: one whose layout has no such reading gives nothing.
        restored: what became of the person.
    Returns:
        name -> array of the file's shape, of those that changed, single precision where the file has half; and what is to be said of it.
    """
    layout = file.layout
    if layout.in_camera is None or layout.path is None:
        return {}, []
    names, root = " and ".join(layout.in_camera), next(column.name for column in layout.columns if column.first_joint == 0)
    world = brought_back(file, person, restored.off_floor)
    moved = bool((restored.motion.pelvis != restored.off_floor.pelvis).any())
    notes = [f"{names}: {_BY_FLOOR}"] if moved else []
    (turn, place), (new_turn, new_place) = (
        (rows_of(arrays[root], layout, person)[:, :3].astype(float), rows_of(arrays[layout.path], layout, person).astype(float))
        for arrays in (file.arrays, world)
    )
    orient, transl = (rows_of(file.arrays[name], layout, person).astype(float) for name in layout.in_camera)
    known, there = file.people[person].known, are_turns(orient) & are_places(transl)
    changed = ~known | (new_turn != turn).any(1) | (new_place != place).any(1)
    made_up = np.any([restored.marked[fault] for fault in _MADE_UP], axis=0)
    paired, wanted = known & there & ~(made_up & changed), changed | ~there
    if not wanted.any():
        return {}, notes
    if paired.mean() < _PAIRED:
        told = f"{names} stay as they are on {int(wanted.sum())} frames that were cleaned or have none: both readings tell the camera on"
        return {}, [*notes, f"{told} {int(paired.sum())} of {len(paired)} frames only"]
    pelvis = np.array(TEMPLATE_ROOT[NUM_JOINTS]) / file.metres  # of a body at rest: it cancels where both readings are the frame's own
    rotvec, centre = np.zeros((len(known), 3)), np.zeros((len(known), 3))
    camera = Rotation.from_rotvec(orient[paired]) * Rotation.from_rotvec(turn[paired]).inv()
    rotvec[paired] = camera.as_rotvec()
    centre[paired] = place[paired] + pelvis - camera.apply(transl[paired] + pelvis, inverse=True)
    camera, centre = Rotation.from_rotvec(slerp_missing(rotvec, paired)[wanted]), lerp_missing(centre, paired)[wanted]
    new = (
        (camera * Rotation.from_rotvec(new_turn[wanted])).as_rotvec(),
        camera.apply(new_place[wanted] + pelvis - centre) - pelvis,
    )
    found = {name: file.arrays[name].astype(np.result_type(file.arrays[name], np.float32)) for name in layout.in_camera}
    for array, rows in zip(found.values(), new, strict=True):
        rows_of(array, layout, person)[wanted] = rows
    at = np.arange(len(paired))
    held = wanted & ~paired & ((at < paired.argmax()) | (at >= len(paired) - paired[::-1].argmax()))
    between = int((wanted & ~paired & ~held).sum())
    told = f"{names}: {int(wanted.sum())} frames are as the camera sees the cleaned motion"
    told += f", {between} of them by a camera between those of other frames" if between else ""
    told += f", {int(held.sum())} at the ends by the nearest camera, which is held: nothing tells how it moved there" if held.any() else ""
    return found, [*notes, told]
