"""People and cameras that are written as newer tools write them are the same people and cameras when they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from romp_writer import write_romp
from upstream_checks import EXACT, SINGLE, TURNED, camera_joints, check, check_keypoints, told
from upstream_truth import SIZE, Truth, make_truth
from upstream_world_writers import FEW, write_comotion, write_gvhmr_spellings, write_human3r, write_josh, write_sam3d_body

from pose_priors.configs.base import UserError
from pose_priors.datamodules.capture.images import numbers_in
from pose_priors.refinement.formats import read_upstream, recognize
from pose_priors.refinement.formats.association import Sighting, followed
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.numbering import num_frames_of
from pose_priors.refinement.formats.source import Source
from pose_priors.refinement.formats.tools import sam3d_body
from pose_priors.refinement.given.load import load_sequence


@pytest.mark.parametrize("spelling", ["comfyui", "pypi", "gem"])
def test_gvhmr_by_other_names(tmp_path: Path, spelling: str) -> None:
    truth = make_truth(still=True)
    path = write_gvhmr_spellings(tmp_path / "walk", truth, spelling=spelling)
    assert recognize(path) == "GVHMR (ComfyUI, PyPI, GEM-SMPL)"
    problem = load_sequence(path)
    check(problem, truth, SINGLE, people=(1,), joints=22)
    assert problem.fps == 30
    assert problem.cameras.image_size == SIZE
    if spelling == "pypi":
        check_keypoints(problem, truth)


def test_comfyui_without_intrinsics_has_gvhmrs_guess(tmp_path: Path) -> None:
    path = write_gvhmr_spellings(tmp_path / "walk", make_truth(still=True), lambda content: content.pop("K_fullimg"))
    problem = load_sequence(path)
    assert problem.cameras.intrinsics[0, 0, 0].item() == pytest.approx(np.hypot(*SIZE), rel=1e-6)
    told(problem, "GVHMR's guess, a focal length of 734 px at 640 x 360")


def test_gvhmrs_keypoints_lie_beside_a_file_that_has_boxes_alone(tmp_path: Path) -> None:
    truth = make_truth(still=True)

    def change(content: dict[str, np.ndarray]) -> None:
        del content["kp2d"]
        content["intrinsics"] = content["intrinsics"][:1]  # of all frames

    path = write_gvhmr_spellings(tmp_path / "walk", truth, change, spelling="pypi")
    told(load_sequence(path), "vitpose.pt: no such file")
    torch.save(torch.from_numpy(truth.keypoints("coco17")[0]), path.parent / "vitpose.pt")
    check_keypoints(load_sequence(path), truth)


def test_comotion(tmp_path: Path) -> None:
    truth = make_truth(still=True, focal=2.0 * max(SIZE))
    path = write_comotion(tmp_path / "walk", truth)
    assert recognize(path) == recognize(path / "walk.pt") == "CoMotion"
    problem = load_sequence(path)
    check(problem, truth, SINGLE, world=False)
    assert problem.cameras.image_size == SIZE
    clip = read_upstream(path, [])
    assert sorted(clip.tracks.boxes[7]) == truth.rows(1).tolist()


def test_comotion_without_boxes(tmp_path: Path) -> None:
    problem = load_sequence(write_comotion(tmp_path / "walk", make_truth(still=True, focal=3840.0), boxes=False))
    assert problem.cameras.image_size == (1920, 1080)
    told(problem, "nothing tells the image's size; 1920 x 1080 is taken")


def test_human3r_says_where_heads_are(tmp_path: Path) -> None:
    truth = make_truth().turned(TURNED)
    path = write_human3r(tmp_path / "walk", truth)
    assert recognize(path) == "Human3R"
    problem = load_sequence(path)
    seen = truth.seen
    np.testing.assert_array_equal(problem.visible, seen)
    np.testing.assert_allclose(camera_joints(problem)[seen][:, :22], truth.camera_joints[seen][:, :22], atol=1e-4)
    assert problem.start.alpha0 == 1


def test_frames_of_human3r_on_which_nobody_is_have_a_camera_alone(tmp_path: Path) -> None:
    truth = make_truth()
    truth.seen[:, 4] = False
    clip = read_upstream(write_human3r(tmp_path / "walk", truth), [])
    assert len(clip.cameras.w2c) == truth.seen.shape[1]
    for body, seen in zip(clip.camera_bodies.values(), truth.seen, strict=True):
        assert body.frames.tolist() == np.flatnonzero(seen).tolist()


@pytest.mark.parametrize("layout", ["files", "video"])
def test_bev(tmp_path: Path, layout: str) -> None:
    truth = make_truth(still=True)
    path = write_romp(tmp_path / "walk", truth, layout=layout)
    assert recognize(path) == "ROMP, BEV"
    problem = load_sequence(path)
    check(problem, truth, EXACT, world=False)
    assert problem.cameras.image_size == SIZE
    np.testing.assert_allclose(problem.cameras.intrinsics[0].numpy(), truth.intrinsics, atol=1e-2)


def test_romp_projects_without_perspective(tmp_path: Path) -> None:
    """The camera is then the nearest, its centre the image's; who is who is told by nothing but place and box."""
    truth = make_truth(still=True)
    path = write_romp(tmp_path / "walk", truth, flat=True, ids=False)
    problem = load_sequence(path)
    told(problem, "projected without perspective; of cameras one of 499 px focal length")
    assert problem.cameras.image_size == SIZE
    np.testing.assert_allclose(problem.cameras.intrinsics[0, :2, 2].numpy(), np.array(SIZE) / 2, atol=1e-3)
    assert problem.cameras.intrinsics[0, 0, 0].item() == pytest.approx(truth.intrinsics[0, 0], rel=0.03)
    assert problem.person_ids == (1, 2)
    np.testing.assert_array_equal(problem.visible, truth.seen)
    np.testing.assert_allclose(camera_joints(problem)[truth.seen], truth.camera_joints[truth.seen], atol=EXACT)
    told(problem, "people are followed from image to image by box and place")


def test_one_image_of_romp(tmp_path: Path) -> None:
    truth = make_truth(still=True)
    path = write_romp(tmp_path / "walk", truth) / "00000004.npz"
    assert recognize(path) == "ROMP, BEV"
    clip = read_upstream(path, [])
    assert clip.cameras.frame_ids.tolist() == [0]
    for p, (person, track) in enumerate(clip.camera_bodies.items()):
        assert track.person == person
        np.testing.assert_allclose(track.joints[0], truth.camera_joints[p, 4], atol=EXACT)


def test_josh(tmp_path: Path) -> None:
    truth = make_truth().turned(TURNED)
    path = write_josh(tmp_path / "walk", truth)
    assert recognize(path) == "JOSH"
    problem = load_sequence(path)
    check(problem, truth, SINGLE)
    clip = read_upstream(path, [])
    assert clip.depth.read(1) is None
    found = clip.depth.read(8)
    assert found is not None
    depth, weight = found
    assert np.isnan(depth[0, 0])
    assert weight[0, 0] == 0
    assert depth[1, 1] == 3
    assert sorted(clip.tracks.boxes) == [3, 7]


def test_other_files_with_the_number_of_somebody_of_josh_are_nobody(tmp_path: Path) -> None:
    path = write_josh(tmp_path / "walk", make_truth())
    np.save(path / "josh" / "mask_7.npy", np.zeros((2, 2)))
    assert sorted(read_upstream(path, []).camera_bodies) == [3, 7]


def test_josh_without_key_frames_has_no_depth(tmp_path: Path) -> None:
    def change(scene: dict[str, np.ndarray]) -> None:
        scene.update({name: scene[name][:0] for name in ("img_idx", "depth_hw", "conf_hw")})

    assert read_upstream(write_josh(tmp_path / "walk", make_truth(), change), []).depth.read(0) is None


def few() -> Truth:
    """The first images, on the third of which the second person is hidden."""
    truth = make_truth(still=True)
    truth.seen[1] = np.arange(len(truth.seen[1])) != 2
    truth.seen[:, FEW:] = False
    return truth


def test_sam3d_body(tmp_path: Path) -> None:
    truth = few()
    path = write_sam3d_body(tmp_path / "walk", truth, ids=True, layout="list")
    assert recognize(path) == "SAM 3D Body"
    problem = load_sequence(path)
    assert problem.person_ids == (3, 7)
    assert problem.cameras.image_size == SIZE
    assert problem.cameras.intrinsics[0, 0, 0].item() == pytest.approx(500, rel=1e-4)
    told(problem, "MHR's 70 keypoints are")
    seen = truth.seen[:, :FEW]
    np.testing.assert_array_equal(problem.visible, seen)
    true = truth.camera_joints[:, :FEW, :22]
    error = np.linalg.norm(camera_joints(problem)[:, :, :22] - true, axis=-1)[seen]
    assert error.mean() < 0.012
    assert error.max() < 0.04
    # left and right are not swapped
    for left, right in ((1, 2), (4, 5), (7, 8), (16, 17), (18, 19), (20, 21)):
        swapped = np.linalg.norm(camera_joints(problem)[:, :, [left, right]] - true[:, :, [right, left]], axis=-1)[seen]
        assert error[:, [left, right]].mean() < 0.5 * swapped.mean()


@pytest.mark.parametrize("layout", ["files", "dict"])
def test_sam3d_body_without_ids_follows_people(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[int, list[int]] = {}

    def body(person: int, rows: list, *_: object) -> BodyTrack:
        given[person] = [number for number, _ in rows]
        places = np.stack([row.array("pred_cam_t") for _, row in rows])
        return BodyTrack(person, "a", np.array(given[person]), np.zeros((len(rows), 55, 3)), np.zeros(10), places, None, True)

    monkeypatch.setattr(sam3d_body, "_body", body)
    truth = few()
    path = write_sam3d_body(tmp_path / "walk", truth, layout=layout, swap=True)
    assert recognize(path) == "SAM 3D Body"
    warnings: list[str] = []
    clip = read_upstream(path, warnings)
    for person, track in clip.camera_bodies.items():
        np.testing.assert_allclose(track.transl, truth.camera_pelvis[person - 1, track.frames], atol=1e-6)
        assert given[person] == truth.rows(person - 1).tolist()
    assert sorted(clip.camera_bodies) == [1, 2]
    assert any("no ids: people are followed" in line for line in warnings)


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (("clip_0001", "clip_0002"), [1, 2]),
        (("step3", "step4"), [3, 4]),
        (("00010_subj00", "00010_subj01", "00011_subj00"), [10, 10, 11]),
        (("a_7_p1", "a_8_obj_1"), [7, 8]),
        (("a7person1", "a7person2"), [7, 7]),
    ],
)
def test_which_image_a_file_of_sam3d_body_is_of(names: tuple[str, ...], images: list[int], tmp_path: Path) -> None:
    for name in names:
        np.savez(tmp_path / f"{name}.npz", pred_keypoints_3d=np.zeros((70, 3)), pred_cam_t=np.ones(3))
    assert [number for number, rows in sam3d_body._frames(Source(tmp_path)) for _ in rows] == images


def test_who_comes_back_is_known_and_who_is_far_is_somebody_else() -> None:
    def at(x: float, box: float | None = None) -> Sighting:
        return Sighting(np.array([x, 0.0, 5.0]), None if box is None else np.array([box, 0, box + 10, 20]))

    frames = [(0, [at(0), at(2)]), (1, [at(2.1), at(0.1)]), (2, [at(0.2)]), (9, [at(2.3), at(0.3), at(6)]), (60, [at(0.3)])]
    assert followed(frames) == [[0, 1], [1, 0], [0], [1, 0, 2], [3]]
    # equally near, the box tells
    assert followed([(0, [at(0, 0), at(0.6, 50)]), (1, [at(0.3, 50), at(0.3, 0)])]) == [[0, 1], [1, 0]]
    assert followed([(0, []), (1, [at(1)])]) == [[], [0]]


def test_names_of_images_number_frames_unless_they_cannot() -> None:
    assert numbers_in(["a_07", "clip2_0012", "9"]) == [7, 12, 9]
    assert numbers_in(["a_7", "b_7"]) == [0, 1]
    assert numbers_in(["first", "2"]) == [0, 1]
    assert num_frames_of(5, 5, "x") == 1
    assert num_frames_of(0, 999_999, "x") == 1_000_000
    with pytest.raises(UserError, match="x: images from 7 to 1000007; are their numbers those of frames"):
        num_frames_of(7, 1_000_007, "x")


@pytest.mark.parametrize("spoilt", ["nobody", "nan", "inf", "few betas"])
def test_one_image_of_romp_costs_no_more_than_itself(tmp_path: Path, spoilt: str) -> None:
    number = 0

    def change(people: dict[str, np.ndarray]) -> None:
        nonlocal number
        number += 1
        if number == 5 and spoilt == "nobody":
            people.update({name: value[:0] for name, value in people.items()})
        elif number == 5 and spoilt == "few betas":
            people["smpl_betas"] = people["smpl_betas"][:, :3]
        elif number == 5:
            people["cam_trans"] = np.full_like(people["cam_trans"], float(spoilt))

    truth = make_truth(still=True)
    clip = read_upstream(write_romp(tmp_path / "walk", truth, change, layout="video", ids=False), []).first(None)
    long = [body for body in clip.camera_bodies.values() if len(body.frames) > 2]
    whole = read_upstream(write_romp(tmp_path / "whole", truth, layout="video", ids=False), []).first(None)
    seen = sum(len(body.frames) for body in whole.camera_bodies.values())
    lost = 0 if spoilt == "few betas" else truth.seen[:, 4].sum()
    assert sum(len(body.frames) for body in long) == seen - lost


def test_who_is_at_no_place_is_nobody_seen_before() -> None:
    here, lost = Sighting(np.array([0, 0, 5.0])), Sighting(np.full(3, np.nan))
    assert followed([(0, [here]), (1, [lost]), (2, [here]), (3, [lost, here])]) == [[0], [1], [0], [2, 0]]
