"""The families: each breaks one assumption that scenes with white noise keep."""

from __future__ import annotations

from dataclasses import replace

from pose_priors.datamodules.synthetic.scenes.stress.recipes import Actor, Faults, Filming, Recipe, Span

_FIRST, _SECOND = Actor(), Actor("stroll")
_BENT_KNEES = {4: (0.30, 0.0, 0.0), 5: (0.30, 0.0, 0.0), 1: (-0.12, 0.0, 0.0), 2: (-0.12, 0.0, 0.0)}
_SWAPS: tuple[tuple[Span, ...], tuple[Span, ...]] = ((0.4, 0.73), (1.5, 1.73)), ((1.0, 1.4),)
_EIGHT = tuple(Actor(does) for does in ("walk", "stroll", "walk", "turn", "reach", "squat", "sit", "reach"))


def _two(first: Actor = _FIRST, second: Actor = _SECOND) -> tuple[Actor, Actor]:
    return first, second


def _depths(first: float, second: float) -> tuple[Actor, Actor]:
    return replace(_FIRST, depth=first), replace(_SECOND, depth=second)


def _swapped() -> tuple[Actor, Actor]:
    return replace(_FIRST, legs_swapped=_SWAPS[0]), replace(_SECOND, legs_swapped=_SWAPS[1])


FAMILIES: dict[str, Recipe] = {
    "reference": Recipe("the errors that the refinement expects"),
    "bent_knee": Recipe("stage 3's knees are 17 degrees too bent", faults=Faults(joint_bias=_BENT_KNEES)),
    "lean": Recipe("bodies pitched by 9 degrees", faults=Faults(lean_rad=0.15)),
    "slow_drift": Recipe("poses twice as wrong, for longer", faults=Faults(pose=2.0, pose_slow_s=0.6, range_slow=0.06)),
    "keypoints_correlated": Recipe("keypoints err by 8 px, slowly", faults=Faults(keypoints="correlated", keypoint_px=8.0)),
    "keypoints_heavy": Recipe("heavy tails and confident jumps", faults=Faults(keypoints="heavy", keypoint_px=4.0, keypoint_jumps=0.15)),
    "keypoints_of_stage3": Recipe("keypoints are projected bodies", faults=Faults(keypoints="projected")),
    "legs_swapped": Recipe("legs of keypoints exchanged at times", people=_swapped()),
    "legs_swapped_both": Recipe("and those of stage 3 with them", people=_swapped(), faults=Faults(swapped_bodies=True)),
    "size_10": Recipe("one body 10 % too large", people=_two(replace(_FIRST, stage3_size=1.1))),
    "child_as_adult": Recipe("a child with an adult's body", people=_two(second=Actor("stroll", 0.65, stage3_size=1 / 0.65))),
    "camera_walk": Recipe("cameras wander by 3.4 degrees and 6 cm", faults=Faults(camera_wander=0.06)),
    "camera_tilt": Recipe("cameras pitch by 6 degrees along the clip", faults=Faults(camera_bend_rad=0.10)),
    "focal_20": Recipe("focal length 20 % too long", faults=Faults(focal=1.2)),
    "rolling_10": Recipe("stage 1's unit shrinks by 10 %", faults=Faults(scale_drift=-0.1)),
    "rolling_30": Recipe("stage 1's unit shrinks by 30 %", faults=Faults(scale_drift=-0.3)),
    "depth_3": Recipe("people's depths off by +3 and -3 %", people=_depths(1.03, 0.97)),
    "depth_8": Recipe("people's depths off by +8 and -8 %", people=_depths(1.08, 0.92)),
    "depth_8_same": Recipe("all people's depths off by +8 %", people=_depths(1.08, 1.08)),
    "no_depth": Recipe("no depth maps", faults=Faults(has_depth=False)),
    "no_depth_2.5": Recipe("no depth maps, another unit", faults=Faults(has_depth=False), alpha=2.5),
    "static_no_depth": Recipe("neither depth nor movement", filming=Filming("static"), faults=Faults(has_depth=False), alpha=1.6),
    "sit": Recipe("one person sits down", people=(Actor("sit"),)),
    "platform": Recipe("one of two on a stage of 0.5 m", people=_two(second=Actor("stroll", on_m=0.5))),
    "ramp": Recipe("one of two walks up a ramp of 1 : 2", people=_two(Actor(slope=0.5))),
    "slope_15": Recipe("both walk up by 15 %", people=_two(Actor(slope=0.15), Actor("stroll", slope=0.15))),
    "lying": Recipe("one lies, one walks", people=_two(Actor("lie"))),
    "lying_alone": Recipe("one lies, alone", people=(Actor("lie"),)),
    "cartwheel": Recipe("a cartwheel", people=(Actor("cartwheel"),)),
    "half_in_view": Recipe("legs out of view", filming=Filming(looks_above_m=1.0)),
    "id_switch": Recipe("the tracker exchanges the people", faults=Faults(ids_swapped_s=1.0)),
    "five_frames": Recipe("one is seen on five frames", people=_two(second=Actor("stroll", hidden=((0.16, 99.0),)))),
    "occluded_40": Recipe("one is hidden for two thirds", people=_two(second=Actor("stroll", hidden=((0.33, 1.66),)))),
    "eight": Recipe("eight people", people=_EIGHT, filming=Filming(distance_m=8.0, spacing_m=0.9), seconds=1.67),
    "static": Recipe("a camera that stands still", filming=Filming("static")),
    "pan": Recipe("a camera that only turns", filming=Filming("pan")),
    "far": Recipe("people 15 m away", filming=Filming(distance_m=15.0)),
    "no_keypoints": Recipe("no keypoints", faults=Faults(keypoints="none")),
    "fps_15": Recipe("15 frames a second", fps=15.0),
    "fps_24": Recipe("24 frames a second", fps=24.0),
    "fps_60": Recipe("60 frames a second", fps=60.0),
    "fps_120": Recipe("120 frames a second", fps=120.0),
    "handstand": Recipe("a handstand", people=(Actor("handstand"),)),
    "plank": Recipe("a plank", people=(Actor("plank"),)),
}
"""By name."""
ORDINARY = ("reference", "sit", "eight", "static", "pan", "fps_24")
"""Families that break nothing: of them nothing is to be said."""
