"""How a recording looks: colours that are told apart without red and green, sizes that say the same, and the words beside the pictures."""

from __future__ import annotations

import numpy as np

from pose_priors.refinement.show.recording_data import RecordingData
from pose_priors.refinement.show.recording_shapes import joint_names
from pose_priors.refinement.show.review_scene import ShownPerson

PEOPLE = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (213, 94, 0), (0, 114, 178))
"""Okabe and Ito, "Color Universal Design" (2008), by person, in turn; numbers above the heads say the same."""
BACKGROUND, BEFORE, CONTACT, FLOOR, DEPTH, CAMERA, ROBOT = (
    (24, 28, 36),
    (190, 190, 190),
    (255, 255, 255),
    (85, 95, 110),
    (105, 105, 105),
    (240, 228, 66),
    (165, 165, 175),
)
WORDS = (255, 255, 255)
HIDDEN_ALPHA, SKIN_ALPHA = 90, 150
"""Opacity, of 255, of whom nobody sees, and of skin."""
BEFORE_M, AFTER_M, HIDDEN_M, JOINT_M, CONTACT_M, POINT_M = 0.006, 0.014, 0.005, 0.024, 0.05, 0.012
"""Radii in metres."""
FRUSTUM_M = 0.7
"""How far from the camera its picture is drawn."""
CURVES = {"before": 1.0, "after": 2.5}
"""Widths of curves in points of the screen."""
SURE = 0.5
"""A contact is shown from this probability on."""
LOW_NATS, HIGH_NATS = -10.0, 4.0
"""Of a joint given the others: as dark, or as light, as it gets; a uniform rotation has 0."""
_LARGEST = 2.5
# "Optimizing colormaps with consideration for color vision deficiency", Nunez et al., PLoS ONE 2018, at five places
_CIVIDIS = ((0, 34, 78), (65, 77, 107), (124, 123, 120), (187, 175, 113), (254, 232, 56))


def person_colour(place: int) -> tuple[int, int, int]:
    """Of the person at a place in the sequence's order."""
    return PEOPLE[place % len(PEOPLE)]


def bone_look(person: ShownPerson, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Colours (n, 4) uint8 with opacity and radii (n,) in metres, a row for each frame: thin and pale where nobody sees the person."""
    opacity = np.where(person.seen, 255, HIDDEN_ALPHA)
    return np.column_stack([np.tile(colour, (len(opacity), 1)), opacity]).astype(np.uint8), np.where(person.seen, AFTER_M, HIDDEN_M)


def joint_look(person: ShownPerson, nll: np.ndarray | None, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Colours (n, J, 4) uint8, radii (n, J) in metres and n J labels that say the same of the joints: dark blue and small where a joint is
    plausible, yellow and large where it is not. Joints without a judgement have the person's colour."""
    shape = person.after.joints.shape[:2]
    nll = np.full(shape, np.nan) if nll is None else nll
    known = np.isfinite(nll)
    share = np.where(known, (nll - LOW_NATS) / (HIGH_NATS - LOW_NATS), 0).clip(0, 1)
    at = np.linspace(0, 1, len(_CIVIDIS))
    judged = np.stack([np.interp(share, at, channel) for channel in zip(*_CIVIDIS, strict=True)], -1)
    opacity = np.broadcast_to(np.where(person.seen, 255, HIDDEN_ALPHA)[:, None, None], (*shape, 1))
    colours = np.concatenate([np.where(known[..., None], judged, colour), opacity], -1).astype(np.uint8)
    radii = np.where(person.seen[:, None], JOINT_M * (1 + (_LARGEST - 1) * share), HIDDEN_M)
    labels = []
    for row in nll:
        for name, value in zip(joint_names(shape[1]), row, strict=True):
            labels.append(f"{name} {value:+.1f} nats" if np.isfinite(value) else name)
    return colours, radii, labels


def legend(data: RecordingData) -> str:
    """What is shown and how the refinement went, as Markdown."""
    scene, results = data.scene, data.results
    judged = (
        "- **small balls**: joints; the lighter and larger, the less plausible to the prior given the other joints "
        f"({LOW_NATS:g} to {HIGH_NATS:g} nats, a random rotation has 0)"
        if data.nll
        else "- no body prior was given: joints have their person's colour"
    )
    lines = [
        f"# {data.name}",
        f"{len(scene.people)} people, frames {scene.frames[0]} to {scene.frames[1]}, {scene.fps:g} a second; "
        f"refinement: **{scene.status}**, 1 unit of the cameras = {scene.alpha:.4f} m",
        "",
        *scene.told.markdown(),
        "",
        "- **thin grey lines**: before, on the frames on which the input sees the person",
        "- **thick coloured lines**, numbered: after; thin and pale on frames on which nobody sees them",
        judged,
        "- **large white balls**: joints that rest on the floor",
        "- **grid**: the floor, 1 m apart; **dots**: depth; **pyramid**: the camera",
        "- **shake**: mean acceleration of the joints; **loss**: choose the timeline `iteration`",
        "",
        "| | log-likelihood, nats per frame |",
        "|---|---|",
        *(f"| person {person} | {value:.2f} |" for person, value in results.get("per_person_likelihoods", {}).items()),
        "",
        *([f"- left out: {scene.missing}"] if scene.missing else []),
        *(f"- warning: {warning}" for warning in results.get("warnings", [])),
    ]
    return "\n".join(lines)
