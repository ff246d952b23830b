"""A person's second reading, as the camera of each frame sees it, beside the one in the world: GVHMR's, as ComfyUI's nodes write it.

What the two readings differ by is the camera: `p_camera = R (p - c)`. Local rotations are one array for both. What is made up or smoothed
of the reading in the world is seen by that camera again. What is mended of the path against the floor is not: the picture tells where the
person is before the camera, and nothing of the floor, so that the camera's own path in the world takes that up.
"""

from __future__ import annotations

import logging

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.interpolation import lerp_missing, slerp_missing
from pose_priors.configs.base import counted, listed, one_line
from pose_priors.datamodules.plausibility import are_places, are_turns
from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT
from pose_priors.refinement.motions.files.layouts import IN_CAMERA, FoundLayout, rows_of
from pose_priors.refinement.motions.files.read import MotionFile, brought_back
from pose_priors.refinement.motions.motion import NUM_JOINTS
from pose_priors.refinement.motions.restore import Restored

log = logging.getLogger("motions")

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
    world = brought_back(file, person, restored.off_floor) if layout.in_camera or layout.left_in_camera else {}
    notes = _of_left(file, person, world)
    if layout.in_camera is None or layout.path is None:
        return {}, notes
    names, root = " and ".join(layout.in_camera), _root_of(layout)
    if (restored.motion.pelvis != restored.off_floor.pelvis).any():
        notes.append(f"{names}: {_BY_FLOOR}")
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
        told = f"{names} stay as they are on {counted(int(wanted.sum()), 'frame')} that were cleaned or have none"
        notes.append(f"{told}: both readings tell the camera on {int(paired.sum())} of {len(paired)} frames only")
        _warn(file, person, notes[-1])
        return {}, notes
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
    told = f"{names}: {counted(int(wanted.sum()), 'frame is', 'frames are')} as the camera sees the cleaned motion"
    told += f", {between} of them by a camera between those of other frames" if between else ""
    told += f", {int(held.sum())} at the ends by the nearest camera, which is held: nothing tells how it moved there" if held.any() else ""
    return found, [*notes, told]


def _of_left(file: MotionFile, person: int, world: dict[str, np.ndarray]) -> list[str]:
    """A line on a reading in the camera that cannot follow what was cleaned in the world, if there is one and something was."""
    layout = file.layout
    left = [*layout.left_in_camera, *((layout.in_camera or ()) if layout.path is None else ())]
    if not left:
        return []
    columns = [(_root_of(layout), 3), *([(layout.path, 3)] if layout.path is not None else [])]
    changed = ~file.people[person].known
    for name, width in columns:
        before, after = (rows_of(arrays[name], layout, person)[:, :width] for arrays in (file.arrays, world))
        changed |= (before != after).any(1)
    if not changed.any():
        return []
    lead = (layout.num_frames,) if layout.num_people is None else (layout.num_people, layout.num_frames)
    stay = "stays as it is" if len(left) == 1 else "stay as they are"
    told = f"{listed(left)} {stay} on {counted(int(changed.sum()), 'frame')} of which the root or the path in the world was cleaned"
    told += f": {' and '.join(IN_CAMERA)} follow, both float {(*lead, 3)}, beside a path in the world"
    _warn(file, person, told)
    return [told]


def _root_of(layout: FoundLayout) -> str:
    return next(column.name for column in layout.columns if column.first_joint == 0)


def _warn(file: MotionFile, person: int, told: str) -> None:
    whose = "" if file.layout.num_people is None else f"person {person}: "
    log.warning("%s: %s%s", one_line(str(file.path)), whose, told)
