"""What a scene of a family is made of: who does what, how they are filmed, and what is wrong with what is seen of them.

Everything in time is in seconds, so that a family is the same at any frame rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Span = tuple[float, float]
"""From when to when, in seconds from the first frame."""
Does = Literal["walk", "stroll", "turn", "reach", "squat", "sit", "lie", "handstand", "plank", "cartwheel"]
Keypoints = Literal["white", "correlated", "heavy", "projected", "none"]
"""How keypoints err: independently; slowly; slowly, with heavy tails and runs of confident jumps; not at all from stage 3's body; or there
are none."""
Path = Literal["arc", "walk", "pan", "static"]


@dataclass(frozen=True)
class Actor:
    """One person.

    Attributes:
        does: what.
        stature: true size as a share of a usual adult's; None to draw it.
        on_m: metres that what the person stands on rises above the floor.
        slope: by how much what the person walks on rises for each metre of the way.
        stage3_size: the size that stage 3 gives the body, as a share of the true one.
        depth: what the depth maps show of the person, as a share of the true depth.
        hidden: when the person is not seen.
        legs_swapped: when the legs of the keypoints are exchanged.
    """

    does: Does = "walk"
    stature: float | None = None
    on_m: float = 0.0
    slope: float = 0.0
    stage3_size: float = 1.0
    depth: float = 1.0
    hidden: tuple[Span, ...] = ()
    legs_swapped: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Filming:
    """The camera, and what it looks at.

    Attributes:
        path: an arc round the people, a walk past them, a pan from one place, or standing still.
        distance_m: from the middle of the people.
        looks_above_m: by how much it looks above their middle, so that legs are out of view.
        spacing_m: between neighbours.
    """

    path: Path = "arc"
    distance_m: float = 5.0
    looks_above_m: float = 0.0
    spacing_m: float = 1.2


@dataclass(frozen=True)
class Faults:
    """What is wrong with what the upstream stages found.

    Attributes:
        pose: stage 3's rotation errors as a share of the usual ones (0.012 rad white, 0.08 rad slow, of a limb).
        pose_slow_s: over how long their slow part changes.
        joint_bias: rotation vectors in radians by which joints are off throughout, by SMPL's index.
        lean_rad: by which all bodies are pitched.
        range_slow: slow error of stage 3's distances, as a share.
        keypoints: how they err.
        keypoint_px: by how much.
        keypoint_jumps: chance in a third of a second that a keypoint jumps elsewhere for 0.2 to 0.5 s, with full confidence.
        swapped_bodies: whether stage 3's legs are exchanged when those of the keypoints are.
        camera_wander: random walk of the cameras' rotation in radians and of their place in metres, over the clip.
        camera_bend_rad: pitch that grows to this along the clip.
        focal: the focal length that stage 1 gives, as a share of the true one; stage 3's distances follow.
        scale_drift: by how much stage 1's unit grows along the clip, as a share.
        has_depth: whether there are depth maps.
        ids_swapped_s: when the tracker exchanges the first two people; None for never.
    """

    pose: float = 1.0
    pose_slow_s: float = 0.2
    joint_bias: Mapping[int, tuple[float, float, float]] = field(default_factory=dict)
    lean_rad: float = 0.0
    range_slow: float = 0.025
    keypoints: Keypoints = "white"
    keypoint_px: float = 3.0
    keypoint_jumps: float = 0.0
    swapped_bodies: bool = False
    camera_wander: float = 0.0
    camera_bend_rad: float = 0.0
    focal: float = 1.0
    scale_drift: float = 0.0
    has_depth: bool = True
    ids_swapped_s: float | None = None


@dataclass(frozen=True)
class Recipe:
    """One family.

    Attributes:
        about: what is unlike the reference, in a few words.
        alpha: metric = alpha * stage 1.
        fps: frames a second.
        seconds: of the clip.
    """

    about: str
    people: tuple[Actor, ...] = (Actor(), Actor("stroll"))
    filming: Filming = Filming()
    faults: Faults = Faults()
    alpha: float = 1.03
    fps: float = 30.0
    seconds: float = 2.0

    @property
    def num_frames(self) -> int:
        """Of the clip."""
        return round(self.seconds * self.fps)
