"""Which of Anny's bones move with which of the 55 joints of SMPL-X, and where these joints stand in its body."""

from __future__ import annotations

from collections.abc import Sequence

from pose_priors.body.skeleton import JOINT_NAMES

# By the joint that moves them, of the left side or the middle. Bones that are not named move with the bone above them: toes, the face.
_MOVED_BY = {
    "pelvis": ("root", "pelvis.L", "spine05", "spine04"),
    "spine1": ("spine03",),
    "spine2": ("spine02",),
    "spine3": ("spine01", "breast.L"),
    "neck": ("neck01", "neck02", "neck03"),
    "head": ("head",),
    "jaw": ("jaw",),
    "left_eye_smplhf": ("eye.L",),
    "left_hip": ("upperleg01.L", "upperleg02.L"),
    "left_knee": ("lowerleg01.L", "lowerleg02.L"),
    "left_ankle": ("foot.L",),
    "left_foot": ("toe1-1.L", "toe2-1.L", "toe3-1.L", "toe4-1.L", "toe5-1.L"),
    "left_collar": ("clavicle.L", "shoulder01.L"),
    "left_shoulder": ("upperarm01.L", "upperarm02.L"),
    "left_elbow": ("lowerarm01.L", "lowerarm02.L"),
    "left_wrist": ("wrist.L", "metacarpal1.L", "metacarpal2.L", "metacarpal3.L", "metacarpal4.L"),
} | {
    f"left_{finger}{i}": (f"finger{number}-{i}.L",)
    for number, finger in enumerate(("thumb", "index", "middle", "ring", "pinky"), start=1)
    for i in (1, 2, 3)
}
# Where a joint stands: the mean of the heads of these bones; of joints that are not named, the head of the first bone that they move.
_STANDS_AT: dict[str, tuple[str, ...]] = {"spine2": ("spine02", "spine01"), "left_foot": ("toe2-1.L", "toe3-1.L")}
_BY_CONVENTION = ("pelvis", "spine1", "spine2", "spine3", "neck", "left_hip", "left_collar", "left_foot", "left_thumb1")


def _other_side(name: str) -> str:
    return name[:-2] + ".R" if name.endswith(".L") else name


def _both_sides(of_left: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    right = {name.replace("left_", "right_"): tuple(map(_other_side, bones)) for name, bones in of_left.items() if name.startswith("left_")}
    middle = {
        name: (*bones, *(b for b in map(_other_side, bones) if b not in bones)) for name, bones in of_left.items() if "left_" not in name
    }
    return {name: bones for name, bones in of_left.items() if "left_" in name} | middle | right


MOVED_BY: dict[str, tuple[str, ...]] = _both_sides(_MOVED_BY)
"""By the name of a joint, the bones that it moves."""
STANDS_AT: dict[str, tuple[str, ...]] = {**{name: bones[:1] for name, bones in MOVED_BY.items()}, **_both_sides(_STANDS_AT)}
"""By the name of a joint, the bones at the mean of whose heads it stands, or near which, for those in `BY_CONVENTION`."""
BY_CONVENTION: frozenset[str] = frozenset((*_BY_CONVENTION, *(name.replace("left_", "right_") for name in _BY_CONVENTION)))
"""Joints that SMPL-X and Anny have in different places of the body: they stand where the mean adult of SMPL-X has them in that of Anny."""


def owners(bones: Sequence[str], parents: Sequence[int]) -> list[int]:
    """For each bone, parents before their children, the joint that moves it. Raises `ValueError` if one that is named is not there."""
    of_bone = {bone: JOINT_NAMES.index(joint) for joint, names in MOVED_BY.items() for bone in names}
    if missing := sorted(set(of_bone) - set(bones)):
        raise ValueError(f"no bone is named {', '.join(missing)}")
    found: list[int] = []
    for bone, parent in zip(bones, parents, strict=True):
        found.append(of_bone[bone] if bone in of_bone else found[parent])
    return found
