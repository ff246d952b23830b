"""Skeletons of known makers: which of their joints stands where which of SMPL-X's does."""

from __future__ import annotations

from dataclasses import dataclass

from pose_priors.configs.base import UserError
from pose_priors.datamodules.capture.recorded import END

_PREFIXES = ("mixamorig:", "mixamorig_", "mixamorig", "character1_", "skeleton_", "skel_")
_FINGERS = ("Thumb", "Index", "Middle", "Ring", "Pinky")


@dataclass(frozen=True)
class Skeleton:
    """One maker's skeleton.

    Attributes:
        maker: for messages.
        joints: SMPL-X's joint -> the maker's. Besides, `<joint>_tip` of heads, toes and hands stands for the end of the last bone.
    """

    maker: str
    joints: dict[str, str]


def _sides(middle: dict[str, str], sides: dict[str, str], left: str, right: str) -> dict[str, str]:
    """Both sides of a map in whose names `{}` is the maker's word for the side."""
    both = {f"left_{ours}": theirs.format(left) for ours, theirs in sides.items()}
    return middle | both | {f"right_{ours}": theirs.format(right) for ours, theirs in sides.items()}


def _fingers(pattern: str, *, palm: bool = False) -> dict[str, str]:
    """Joints of fingers by a pattern of finger and number; with `palm` all but the thumb count from a joint in the palm."""
    return {f"{name.lower()}{i}": pattern.format("{}", name, i + (palm and name != "Thumb")) for name in _FINGERS for i in (1, 2, 3)}


_HUMANIK = {
    "hip": "{}UpLeg",
    "knee": "{}Leg",
    "ankle": "{}Foot",
    "shoulder": "{}Arm",
    "elbow": "{}ForeArm",
    "wrist": "{}Hand",
}
_TIPS = {"foot_tip": "{}ToeBase" + END}
SKELETONS: tuple[Skeleton, ...] = (
    Skeleton(
        "CMU",
        _sides(
            {"neck": "Neck", "head": "Head", "head_tip": "Head" + END},
            _HUMANIK | {"foot": "{}ToeBase", "hand": "{0[0]}Fingers", "thumb_tip": "{0[0]}Thumb" + END} | _TIPS,
            "Left",
            "Right",
        ),
    ),
    Skeleton(
        "CMU (Acclaim)",
        _sides(
            {"neck": "lowerneck", "head": "head", "head_tip": "head" + END},
            {
                "hip": "{}femur",
                "knee": "{}tibia",
                "ankle": "{}foot",
                "foot": "{}toes",
                "foot_tip": "{}toes" + END,
                "shoulder": "{}humerus",
                "elbow": "{}radius",
                "wrist": "{}wrist",
                "hand": "{}fingers",
                "thumb_tip": "{}thumb" + END,
            },
            "l",
            "r",
        ),
    ),
    Skeleton(
        "Bandai-Namco",
        _sides(
            {"neck": "Neck", "head": "Head"},
            {
                "hip": "UpperLeg_{}",
                "knee": "LowerLeg_{}",
                "ankle": "Foot_{}",
                "foot": "Toes_{}",
                "shoulder": "UpperArm_{}",
                "elbow": "LowerArm_{}",
                "wrist": "Hand_{}",
            },
            "L",
            "R",
        ),
    ),
    Skeleton(
        "Xsens, 100STYLE",
        _sides(
            {"neck": "Neck", "head": "Head", "head_tip": "Head" + END},
            {
                "hip": "{}Hip",
                "knee": "{}Knee",
                "ankle": "{}Ankle",
                "foot": "{}Toe",
                "foot_tip": "{}Toe" + END,
                "shoulder": "{}Shoulder",
                "elbow": "{}Elbow",
                "wrist": "{}Wrist",
                "hand_tip": "{}Wrist" + END,
            },
            "Left",
            "Right",
        ),
    ),
    Skeleton("LAFAN1", _sides({"neck": "Neck", "head": "Head"}, _HUMANIK | {"foot": "{}Toe"}, "Left", "Right")),
    Skeleton(
        "Mixamo",
        _sides(
            {"neck": "Neck", "head": "Head", "head_tip": "HeadTop_End"},
            _HUMANIK | {"foot": "{}ToeBase", "foot_tip": "{}Toe_End"} | _fingers("{}Hand{}{}"),
            "Left",
            "Right",
        ),
    ),
    Skeleton(
        "SOMA",
        _sides(
            {"neck": "Neck1", "head": "Head", "head_tip": "HeadEnd"},
            {
                "hip": "{}Leg",
                "knee": "{}Shin",
                "ankle": "{}Foot",
                "foot": "{}ToeBase",
                "foot_tip": "{}ToeEnd",
                "shoulder": "{}Arm",
                "elbow": "{}ForeArm",
                "wrist": "{}Hand",
            }
            | _fingers("{}Hand{}{}", palm=True),
            "Left",
            "Right",
        ),
    ),
)
"""The known skeletons, those with more special names first."""

NEEDED = ("neck", "head", *(f"{side}_{name}" for side in ("left", "right") for name in _HUMANIK))
"""Without these, a skeleton is not the maker's; toes, fingers and ends of bones may lack."""
# names by which skeletons are told apart that share the others
_OWN = {"CMU": "LHipJoint", "SOMA": "LeftShin", "Mixamo": "LeftToeBase", "LAFAN1": "LeftToe"}


def recognised(names: tuple[str, ...], source: str) -> tuple[Skeleton, dict[str, int]]:
    """The maker's skeleton, and for each joint of its map that is there its index in `names`.

    Raises:
        UserError: if the names are those of no known skeleton.
    """
    plain = [_plain(name) for name in names]
    for skeleton in SKELETONS:
        found = {ours: plain.index(theirs.lower()) for ours, theirs in skeleton.joints.items() if theirs.lower() in plain}
        if all(name in found for name in NEEDED) and _OWN.get(skeleton.maker, names[0]).lower() in (*plain, names[0].lower()):
            return skeleton, found
    known = ", ".join(skeleton.maker for skeleton in SKELETONS)
    shown = ", ".join(name for name in names if not name.endswith(END))
    raise UserError(f"{source}: a skeleton of no known maker; known are {known}; its joints are {shown[:300]}")


def _plain(name: str) -> str:
    low = name.lower()
    return next((low.removeprefix(prefix) for prefix in _PREFIXES if low.startswith(prefix)), low)
