"""Anny on the review page: what the browser makes of the bones that it is sent is the surface that films show."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from recorded_files import HIDDEN, LAST, output
from scenes import Clip
from scipy.spatial.transform import Rotation

from pose_priors.body.anny import model as anny_model
from pose_priors.body.anny.model import AnnyBody
from pose_priors.configs.base import UserError
from pose_priors.refinement.result.found import find_results
from pose_priors.refinement.show.page.controls import Start
from pose_priors.refinement.show.page.surfaces import DrawnSurfaces
from pose_priors.refinement.show.review import main, serve
from pose_priors.refinement.show.review_scene import load_scene
from pose_priors.refinement.show.skins import dressed


@dataclass
class Canvas:
    """What is asked of viser's scene, kept."""

    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    nodes: dict[str, Any] = field(default_factory=dict)

    def add_mesh_skinned(self, name: str, vertices: np.ndarray, faces: np.ndarray, **more: Any) -> Any:
        bones = [SimpleNamespace(wxyz=turn, position=place) for turn, place in zip(more["bone_wxyzs"], more["bone_positions"], strict=True)]
        self.asked[name] = {"vertices": vertices, "faces": faces, **more}
        self.nodes[name] = SimpleNamespace(bones=bones, visible=more["visible"], removed=False)
        self.nodes[name].remove = lambda: setattr(self.nodes[name], "removed", True)
        return self.nodes[name]

    def bent(self, name: str) -> np.ndarray:
        """The vertices as three.js skins them: by the bones now, after those at rest are undone."""
        asked = self.asked[name]

        def matrices(wxyzs: Any, places: Any) -> np.ndarray:
            out = np.tile(np.eye(4), (len(places), 1, 1))
            out[:, :3, :3] = Rotation.from_quat(np.asarray(wxyzs), scalar_first=True).as_matrix()
            out[:, :3, 3] = places
            return out

        bones = self.nodes[name].bones
        now = matrices([bone.wxyz for bone in bones], [bone.position for bone in bones])
        moved = now @ np.linalg.inv(matrices(asked["bone_wxyzs"], asked["bone_positions"]))
        points = np.concatenate([asked["vertices"], np.ones((len(asked["vertices"]), 1))], 1)
        return np.einsum("vj,jab,vb->va", asked["skin_weights"], moved, points)[:, :3]


def test_the_browser_bends_the_surface_that_films_show(recorded: Clip, anny_stand_in: AnnyBody) -> None:
    scene, canvas = load_scene(find_results(recorded.folder)[0]), Canvas()
    drawn = DrawnSurfaces(canvas, scene, anny_stand_in, [(1, 2, 3), (4, 5, 6)])
    name = "/person_001/surface"
    assert not canvas.nodes[name].visible
    np.testing.assert_allclose(canvas.bent(name), canvas.asked[name]["vertices"], atol=1e-9)
    person = scene.people[0]
    assert person.pose is not None
    films = np.concatenate([v for v, _ in dressed(anny_stand_in, person.after, person.pose, np.zeros(10), scene.ground_plane)])
    for frame in (0, LAST):
        drawn.show(frame, {1: True, 2: False}, wanted=True)
        np.testing.assert_allclose(canvas.bent(name), films[frame], atol=1e-5)
        assert [canvas.nodes[f"/person_00{number}/surface"].visible for number in (1, 2)] == [True, False]
    drawn.show(LAST + 1, {1: True, 2: True}, wanted=True)
    assert not canvas.nodes[name].visible
    drawn.show(HIDDEN[0], {1: True, 2: True}, wanted=False)
    assert not canvas.nodes[name].visible
    drawn.remove()
    assert all(node.removed for node in canvas.nodes.values())


def test_the_page_has_the_surface_and_a_box_for_it(recorded: Clip, anny_stand_in: AnnyBody) -> None:
    for anny in (anny_stand_in, None):
        server, page = serve(output(recorded).parent, "127.0.0.1", 8990, start=Start(anny=anny))
        try:
            box, surfaces = page._controls._surface, page._drawing._surfaces
            assert (box.value, box.disabled) == (anny is not None, anny is None)
            assert (surfaces is not None) == (anny is not None)
            if surfaces is not None:
                assert [node.visible for _, _, node in surfaces._people] == [True, True]
                box.value = False
                page._draw()
                assert [node.visible for _, _, node in surfaces._people] == [False, False]
        finally:
            server.stop()


def test_a_page_that_is_to_have_anny_needs_it(recorded: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> AnnyBody:
        raise UserError("no anny")

    monkeypatch.setattr(anny_model, "load_anny", missing)
    monkeypatch.setattr("pose_priors.refinement.show.review.load_anny", missing)
    with pytest.raises(UserError, match="no anny"):
        main([str(output(recorded).parent), "--surface", "anny"])
