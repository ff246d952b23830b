"""Motions without a camera, before and after they were cleaned, as a recording draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from pose_priors.refinement.show import recording_shapes as shapes
from pose_priors.refinement.show import recording_style as style


@dataclass(frozen=True)
class ShownMotion:
    """One person.

    Attributes:
        before, after: (T, 22, 3) metres, z up.
        faults: name -> (T,) bool, the frames that had it.
    """

    before: np.ndarray
    after: np.ndarray
    faults: Mapping[str, np.ndarray]


def draw_motions(rr: ModuleType, stream: Any, people: Sequence[ShownMotion], fps: float) -> None:
    """Draws people, thin and grey before, thick and coloured after, and the faults of each frame as curves of 0 and 1.

    Args:
        rr: rerun, which enters through `show.record`; stream: of it.
    """
    stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    for place, person in enumerate(people):
        frames = np.arange(len(person.before))
        times = [rr.TimeColumn("frame", sequence=frames), rr.TimeColumn("time", duration=frames / fps)]
        entity = f"world/person_{place:03d}"
        looks = {"before": (style.BEFORE, style.BEFORE_M), "after": (style.person_colour(place), style.AFTER_M)}
        for name, (colour, radius) in looks.items():
            lines = shapes.bones(getattr(person, name)).astype(np.float32)
            strips = rr.LineStrips3D.columns(strips=lines.reshape(-1, 2, 3)).partition([lines.shape[1]] * len(lines))
            colours = np.tile(np.array(colour, dtype=np.uint8), (len(lines), 1))
            look = rr.LineStrips3D.columns(colors=colours, radii=np.full(len(lines), radius))
            stream.send_columns(f"{entity}/{name}/bones", times, [*strips, *look])
        for fault, marked in person.faults.items():
            stream.send_columns(f"faults/person_{place:03d}/{fault}", times, rr.Scalars.columns(scalars=marked.astype(float)))
