"""The people of the review page with Anny's surface, which the browser bends by itself: what goes there on a frame are their joints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.anny.model import AnnyBody
from pose_priors.refinement.show.review_scene import ReviewScene, ShownPerson
from pose_priors.refinement.show.skins import anny_of


class DrawnSurfaces:
    """The refined people of a sequence, in viser's scene: hidden and shown, and moved to a frame.

    Args:
        draw: the scene of viser's server.
        scene: the sequence.
        body: what they wear.
        colours: (r, g, b) of each person.
    """

    def __init__(self, draw: Any, scene: ReviewScene, body: AnnyBody, colours: list[tuple[int, int, int]]) -> None:
        self._people: list[tuple[ShownPerson, np.ndarray, Any]] = []
        for person, colour in zip(scene.people, colours, strict=True):
            if person.pose is None:
                continue
            skin, turns = anny_of(body, person.after, person.pose, scene.ground_plane)
            weights = np.zeros((len(skin.vertices), len(skin.bind)))
            np.add.at(weights, (np.arange(len(weights))[:, None], skin.joints), skin.weights)
            at_rest = np.linalg.inv(skin.bind)
            node = draw.add_mesh_skinned(
                f"/person_{person.person:03d}/surface",
                skin.vertices,
                skin.faces,
                bone_wxyzs=Rotation.from_matrix(at_rest[:, :3, :3]).as_quat(scalar_first=True),
                bone_positions=at_rest[:, :3, 3],
                skin_weights=weights,
                color=colour,
                visible=False,
            )
            self._people.append(
                (person, Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_quat(scalar_first=True).reshape(*turns.shape[:2], 4), node)
            )

    def show(self, frame: int, people: Mapping[int, bool], wanted: bool) -> None:
        """Shows those who are there on a frame, and are wanted."""
        for person, wxyz, node in self._people:
            row = person.after.row(frame) if wanted and people.get(person.person, False) else None
            if row is not None:
                for bone, turn, place in zip(node.bones, wxyz[row], person.after.joints[row], strict=True):
                    bone.wxyz, bone.position = turn, place
            node.visible = row is not None

    def remove(self) -> None:
        """Takes all of it away."""
        for _, _, node in self._people:
            node.remove()
