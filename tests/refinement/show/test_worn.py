"""What people wear in films and recordings: meshes as a camera sees them, and whose they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from model_files import write_model
from recorded_files import LAST, Rrd, refined
from scenes import SIZE, Clip
from scipy.spatial.transform import Rotation

from pose_priors.body.anny.model import AnnyBody
from pose_priors.body.layout import layout
from pose_priors.body.model import chained
from pose_priors.body.skin import normals_of
from pose_priors.configs.base import UserError
from pose_priors.refinement.result.found import RefinedSequence, find_results
from pose_priors.refinement.result.people import rest_offsets
from pose_priors.refinement.show import recording_style as style
from pose_priors.refinement.show.record import main, write_recordings
from pose_priors.refinement.show.recording_data import read_recording_data
from pose_priors.refinement.show.review_scene import load_scene
from pose_priors.refinement.show.skins import anny_of, dressed
from pose_priors.refinement.show.video.capsules import Capsules
from pose_priors.refinement.show.video.film import Film, Frames, _sides
from pose_priors.refinement.show.video.painter import Painter
from pose_priors.refinement.show.video.triangles import draw_mesh

LENS = np.array([[150.0, 0, 80], [0, 140, 60], [0, 0, 1]])
DIRECT = [4, 5, 7, 8, 18, 19]  # knees, ankles, elbows: a stand-in's vertices are about them


def _ball(centre: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    vertices = np.asarray(ball.vertices) + centre
    return vertices, normals_of(vertices, np.asarray(ball.faces)), np.asarray(ball.faces)


@pytest.mark.parametrize("centre", [[0.1, -0.2, 2.5], [0.9, 0.5, 2.0], [-0.2, 0.3, 0.9]])
def test_a_ball_of_triangles_looks_as_a_ball(centre: list[float]) -> None:
    """Against the rays of the capsules' painter; one ball reaches over the picture's edge."""
    smooth, meshed = Painter((160, 120), LENS), Painter((160, 120), LENS)
    smooth.draw(np.array([[centre, centre]]), np.full((1, 2), 0.4), 3)
    draw_mesh(meshed, *_ball(np.array(centre), 0.4), 3)
    assert ((smooth.owner == 3) != (meshed.owner == 3)).sum() < 0.03 * (smooth.owner == 3).sum()
    both = (smooth.owner == 3) & (meshed.owner == 3)
    assert both.sum() > 500
    off = np.abs(smooth.depth[both] - meshed.depth[both])
    assert np.median(off) < 0.001
    assert np.percentile(off, 99) < 0.02  # at its edge
    assert np.abs(smooth.shade - meshed.shade)[both].mean() < 0.01


def test_the_nearer_hides_the_farther_whoever_is_drawn_first_and_what_is_behind_the_camera_is_left_out() -> None:
    near, far = _ball(np.array([0, 0, 1.5]), 0.2), _ball(np.array([0, 0, 3.0]), 0.8)
    drawn = []
    for order in ((near, far), (far, near)):
        painter = Painter((160, 120), LENS)
        for mesh in order:
            draw_mesh(painter, *mesh, 1 if mesh is near else 2)
        draw_mesh(painter, *_ball(np.array([0, 0, -2.0]), 1.0), 4)
        draw_mesh(painter, *_ball(np.array([40.0, 0, 3.0]), 1.0), 4)
        drawn.append(painter.owner.copy())
    np.testing.assert_array_equal(*drawn)
    assert drawn[0][60, 80] == 1
    assert set(np.unique(drawn[0])) == {-1, 1, 2}
    # seen from inside there is nothing
    inside = Painter((160, 120), LENS)
    vertices, normals, faces = near
    draw_mesh(inside, vertices, normals, faces[:, ::-1], 1)
    assert np.median(inside.depth[inside.owner == 1]) > 1.5


def test_of_one_mesh_the_nearer_part_is_seen_and_large_triangles_lie_in_their_plane() -> None:
    (far, far_normals, faces), (near, near_normals, _) = _ball(np.array([0, 0, 3.0]), 0.3), _ball(np.array([0, 0, 1.5]), 0.2)
    for first, second in (((far, far_normals), (near, near_normals)), ((near, near_normals), (far, far_normals))):
        painter = Painter((160, 120), LENS)
        both = [np.concatenate([a, b]) for a, b in zip(first, second, strict=True)]
        draw_mesh(painter, *both, np.concatenate([faces, faces + len(far)]), 0)
        assert painter.depth[60, 80] == pytest.approx(1.3, abs=0.002)
    # a floor that goes away from the camera, against the rays through the pixels
    corners = np.array([[-2.0, 0.5, 1.0], [2.0, 0.5, 1.0], [2.0, 0.5, 9.0], [-2.0, 0.5, 9.0]])
    painter = Painter((160, 120), LENS)
    draw_mesh(painter, corners, np.tile([0, -1.0, 0], (4, 1)), np.array([[0, 1, 2], [0, 2, 3]]), 0)
    rows, columns = np.nonzero(painter.owner == 0)
    assert len(rows) > 2000
    np.testing.assert_allclose(painter.depth[rows, columns], 0.5 / ((rows + 0.5 - 60) / 140), rtol=1e-4)


def test_frames_are_handed_out_in_order_some_at_a_time() -> None:
    rows = np.arange(7.0)[:, None, None] * np.ones((1, 2, 3))
    frames = Frames(((rows[start : start + 3], -rows[start : start + 3]) for start in (0, 3, 6)), np.zeros((1, 3), int))
    assert [(int(frames.at(row)[0][0, 0]), int(frames.at(row)[1][0, 0])) for row in (0, 2, 2, 5, 6)] == [
        (0, 0),
        (2, -2),
        (2, -2),
        (5, -5),
        (6, -6),
    ]


def test_in_a_film_bodies_are_anny_s_where_the_joints_are_before_and_after(recorded: Clip, anny_stand_in: AnnyBody) -> None:
    """The stand-in has a ball about each bone; the mesh on the side of the truth is posed by the input's own rotations."""
    result = find_results(recorded.folder)[0]
    data = read_recording_data(result, anny=anny_stand_in)
    for person in data.scene.people:
        for before, motion in ((False, person.after), (True, person.before)):
            assert motion is not None
            vertices = np.concatenate([placed for placed, _ in data.skin(person, before=before)])
            assert vertices.shape == (len(motion.frames), len(anny_stand_in.weights), 3)
            for joint in DIRECT:
                ball = np.flatnonzero(anny_stand_in._model.dense_vertex_bone_weights[:, list(anny_stand_in.owner).index(joint)])[:6]
                assert np.linalg.norm(vertices[:, ball].mean(1) - motion.joints[:, joint], axis=1).max() < 0.006
        for motion, pose in ((person.before, person.pose_before), (person.after, person.pose)):
            assert motion is not None
            assert pose is not None
            parents = layout(motion.joints.shape[1]).parents
            _, turns = anny_of(anny_stand_in, motion, pose, data.scene.ground_plane)
            bones = torch.from_numpy(rest_offsets(turns, motion.joints, parents))
            follows, _ = chained(
                torch.from_numpy(Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(turns.shape)), bones, parents
            )
            # the joints of every frame follow from its pose: the rotations are in the axes of the world
            assert np.abs(follows.numpy() + motion.joints[:, :1] - motion.joints).max() < 5e-4
    film = Film(data)
    drawn = next(film.pictures()).astype(float)
    after = refined(recorded, 1)
    pixels = (after["joints"][0, DIRECT] @ after["camera_w2c"][0][:3, :3].T + after["camera_w2c"][0][:3, 3]) @ after["intrinsics"][0].T
    x, y = np.floor(pixels[:, :2] / pixels[:, 2:]).astype(int).T
    colour = np.array(style.person_colour(0)) / np.linalg.norm(style.person_colour(0))
    found = drawn[y, x + SIZE[0]]
    assert np.median(found @ colour / np.linalg.norm(found, axis=1)) > 0.97


def test_a_film_wears_the_model_that_is_given_then_anny_then_capsules(
    recorded: Clip, tmp_path: Path, anny_stand_in: AnnyBody, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, joints, _ = write_model(tmp_path / "model", "smpl")
    worn = []

    def looked_at(path: Path, pictures: object, *_: object) -> None:
        worn.append(film[-1])

    film: list[object] = []
    monkeypatch.setattr("pose_priors.refinement.show.video.film.write_mp4", looked_at)
    whole = Film.__init__

    def begun(self: Film, data: object) -> None:
        whole(self, data)  # type: ignore[arg-type]
        body = _sides(self.data)[-1].people[0].body
        film.append(Capsules if isinstance(body, Capsules) else len(body.at(0)[0]))

    monkeypatch.setattr(Film, "__init__", begun)
    for more in (["--body-model", str(model)], [], ["--surface", "anny"], ["--surface", "capsules"]):
        main([str(recorded.folder), "--video", str(tmp_path / "film.mp4"), *more])
    anny = len(anny_stand_in.weights)
    assert worn == [6 * len(joints), anny, anny, Capsules]
    with pytest.raises(UserError, match="--surface: people wear the surface of --body-model"):
        main([str(recorded.folder), "--video", str(tmp_path / "film.mp4"), "--surface", "anny", "--body-model", str(model)])


def test_recordings_wear_anny_where_it_is_asked_for(own: Path, anny_stand_in: AnnyBody) -> None:
    result = RefinedSequence("clip", own / "5_refinement", (own,))
    write_recordings(result)
    assert "/world/person_001/after/skin" not in Rrd(own / "5_refinement" / "clip.rrd").entities
    main([str(own), "--surface", "anny"])
    vertices = Rrd(own / "5_refinement" / "clip.rrd").column("/world/person_001/after/skin", "vertex_positions")
    assert list(vertices) == list(range(LAST + 1))
    person = load_scene(result).people[0]
    assert person.pose is not None
    expected = np.concatenate(
        [placed for placed, _ in dressed(anny_stand_in, person.after, person.pose, np.zeros(10), load_scene(result).ground_plane)]
    )
    np.testing.assert_allclose(vertices[LAST], expected[LAST], atol=1e-5)
