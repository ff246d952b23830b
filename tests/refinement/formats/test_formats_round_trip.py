"""People and cameras that are written as a tool writes them are the same people and cameras when they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import write_model
from scipy.spatial.transform import Rotation
from upstream_checks import EXACT, SINGLE, TURNED, Y_DOWN, Z_UP, camera_joints, check, check_keypoints, told, world_joints
from upstream_truth import NUM_FRAMES, SIZE, Truth, make_truth
from upstream_world_writers import write_glamr, write_megahunter, write_slahmr
from upstream_writers import FOCAL_OF_DIAGONAL, as_first_release, write_gvhmr, write_phalp, write_prompthmr, write_tram, write_wham

from pose_priors.body.pinhole import to_camera
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats import files_of, recognize
from pose_priors.refinement.formats.tools import tram
from pose_priors.refinement.given.load import load_sequence
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.noise import estimate_noise


def test_tram(tmp_path: Path) -> None:
    truth = make_truth().turned(TURNED)
    truth.seen[0, -1] = False
    path = write_tram(tmp_path / "walk", truth)
    assert recognize(path) == "TRAM"
    problem = load_sequence(path, LoadOptions(fps=25))
    check(problem, truth, SINGLE)
    assert problem.start.alpha0 == 1
    told(problem, "metric", "no depth maps, keypoints")


def test_tram_reads_the_level_world_where_there_is_one(tmp_path: Path) -> None:
    truth = make_truth()

    def level(camera: dict) -> None:
        camera["world_cam_R"], camera["world_cam_T"] = camera["pred_cam_R"].copy(), camera["pred_cam_T"].copy()
        camera["pred_cam_R"] = (TURNED.as_matrix() @ camera["pred_cam_R"]).astype(np.float32)

    truth.seen[0, -1] = False
    problem = load_sequence(write_tram(tmp_path / "walk", truth, level))
    check(problem, truth, SINGLE)
    np.testing.assert_allclose(problem.start.ground_plane[:3], truth.up, atol=1e-12)


def test_the_first_release_of_tram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its k passes over those of whom there is no segment that is long enough, however long they were tracked."""
    monkeypatch.setattr(tram, "_SHORTEST", 5)
    truth = make_truth().turned(TURNED)
    truth.seen[0, -1] = False
    path = as_first_release(write_tram(tmp_path / "walk", truth), truth, scale=0.4)
    assert recognize(path) == "TRAM"
    problem = load_sequence(path)
    check(problem, truth, SINGLE)
    assert problem.start.alpha0 == 1
    monkeypatch.setattr(tram, "_SHORTEST", 17)
    with pytest.raises(UserError, match=r"tracks\.npy has only 0 people that TRAM reconstructs"):
        load_sequence(path)

    with np.load(path / "masked_droid_slam.npz") as slam:
        unfinished = {name: slam[name] for name in slam.files if name != "scale"}
    np.savez(path / "masked_droid_slam.npz", **unfinished)
    with pytest.raises(UserError, match=r"masked_droid_slam\.npz: no 'scale'; TRAM adds it last"):
        load_sequence(path)


@pytest.mark.parametrize("as_folder", [True, False])
def test_phalp(tmp_path: Path, as_folder: bool) -> None:
    truth = make_truth(still=True, focal=sum(SIZE) / 2)
    file = write_phalp(tmp_path / "outputs", truth)
    path = tmp_path / "outputs" if as_folder else file
    assert recognize(path) == "4DHumans / PHALP"
    problem = load_sequence(path)
    check(problem, truth, SINGLE, world=False)
    assert problem.cameras.image_size == SIZE
    told(problem, "stands still", "5 rows where the tracker only predicted")


@pytest.mark.parametrize("unit", [0.4, 12.0])
def test_wham_with_odometry(tmp_path: Path, unit: float) -> None:
    truth = make_truth(focal=FOCAL_OF_DIAGONAL)
    path = write_wham(tmp_path / "walk", truth, unit=unit)
    assert recognize(path) == recognize(path.parent) == "WHAM"
    assert files_of(path) == [path, path.parent / "slam_results.pth", path.parent / "tracking_results.pth"]
    problem = load_sequence(path)
    # the whole clip is in the world of the first person, who is seen longest; the second has lost the world of its own
    check(problem, truth, 1e-3)
    assert problem.start.alpha0 == pytest.approx(1 / unit, rel=1e-3)
    assert problem.cameras.image_size == SIZE
    check_keypoints(problem, truth)
    told(problem, "unit of the camera's path", f"{SIZE[0]} x {SIZE[1]}", "world of their own")


def test_wham_alone_has_the_camera_that_its_people_imply(tmp_path: Path) -> None:
    truth = make_truth(focal=FOCAL_OF_DIAGONAL)
    problem = load_sequence(write_wham(tmp_path / "walk", truth, slam=False, tracking=False))
    # smoothing moves the camera, and with it the world, where it turns
    assert np.abs(world_joints(problem) - truth.joints)[truth.seen].max() < 0.1
    check(problem, truth, SINGLE, world=False)
    told(problem, "no camera path", "smoothed", "no such file; without 2D keypoints")


@pytest.mark.parametrize("slam", ["dpvo", "own"])
def test_gvhmr_with_odometry(tmp_path: Path, slam: str) -> None:
    truth = make_truth()
    path = write_gvhmr(tmp_path / "walk", truth, slam=slam)
    assert recognize(path) == recognize(path / "hmr4d_results.pt") == "GVHMR"
    problem = load_sequence(path)
    if slam == "dpvo":
        check(problem, truth, SINGLE, people=(1,), joints=22)
        assert problem.start.alpha0 == pytest.approx(1 / 2.5, rel=1e-3)
    else:  # its turns alone are taken; where the camera stands is told by where the person is, or it stands still
        check(problem, truth, SINGLE, people=(1,), joints=22, world=False)
        assert problem.start.alpha0 == 1
        told(problem, "no common unit of length")
    assert problem.fps == 30
    assert problem.cameras.image_size == SIZE
    check_keypoints(problem, truth)


def test_gvhmr_without_odometry_before_a_still_camera(tmp_path: Path) -> None:
    truth = make_truth(still=True)
    path = write_gvhmr(tmp_path / "walk", truth)
    assert files_of(path) == [path / "hmr4d_results.pt", path / "bbx.pt", path / "preprocess" / "vitpose.pt"]
    problem = load_sequence(path)
    check(problem, truth, SINGLE, people=(1,), joints=22)
    assert np.ptp(problem.cameras.w2c.numpy(), axis=0).max() == 0
    told(problem, "one camera that stands still is taken")


def test_rows_that_are_not_finite_count_as_not_seen(tmp_path: Path) -> None:
    truth = make_truth(focal=FOCAL_OF_DIAGONAL)

    def spoil(content: dict) -> None:
        content[3]["trans"][4] = np.nan
        content[3]["pose_world"][5] = np.nan

    problem = load_sequence(write_wham(tmp_path / "walk", truth, spoil))
    truth.seen[0, 4] = False
    check(problem, truth, 1e-3)
    told(problem, "places can be, were left out: frames 4")
    still = make_truth(still=True)
    path = write_gvhmr(tmp_path / "tennis", still, lambda content: content["smpl_params_incam"]["transl"].__setitem__(2, torch.nan))
    still.seen[0, 2] = False
    check(load_sequence(path), still, SINGLE, people=(1,), joints=22)


def test_gvhmr_without_keypoints(tmp_path: Path) -> None:
    truth = make_truth(still=True)
    problem = load_sequence(write_gvhmr(tmp_path / "walk", truth, observed=False))
    check(problem, truth, SINGLE, people=(1,), joints=22)
    assert problem.observations.keypoints.shape[2] == 0
    told(problem, "without keypoints the person stays near")


@pytest.mark.parametrize("tensors", [False, True])
def test_prompthmr(tmp_path: Path, tensors: bool) -> None:
    truth = make_truth()
    path = write_prompthmr(tmp_path / "walk", truth, tensors=tensors)
    assert recognize(path) == recognize(path / "results.pkl") == "PromptHMR"
    problem = load_sequence(path)
    check(problem, truth, EXACT, joints=22)
    check_keypoints(problem, truth)
    np.testing.assert_allclose(problem.start.ground_plane[:3], truth.up, atol=1e-12)


@pytest.mark.parametrize("tensors", [False, True])
def test_prompthmr_before_its_step_into_the_world(tmp_path: Path, tensors: bool) -> None:
    truth = make_truth()
    problem = load_sequence(write_prompthmr(tmp_path / "walk", truth, world=False, essential=True, tensors=tensors))
    check(problem, truth.turned(Rotation.from_matrix(truth.w2c[0, :3, :3])), SINGLE, joints=22)
    told(problem, "read in the camera alone", "no 'keypoints_2d'")


@pytest.mark.parametrize("info", [True, False])
def test_slahmr(tmp_path: Path, info: bool) -> None:
    truth = make_truth().turned(Y_DOWN, (0.3, 0.8, 0.1))
    path = write_slahmr(tmp_path / "walk", truth, info=info)
    result = path / "motion_chunks" / "walk_000080_world_results.npz"
    assert recognize(path) == recognize(result) == "SLAHMR"
    assert files_of(result)[0] == files_of(path)[0] == result
    for given in (path, result):
        problem = load_sequence(given)
        if info:
            check(problem, truth, EXACT)
        else:
            assert problem.person_ids == (1, 2)
            told(problem, "numbered from 1")
            np.testing.assert_allclose(world_joints(problem)[::-1][truth.seen], truth.joints[truth.seen], atol=EXACT)
        assert problem.start.alpha0 == 1
        np.testing.assert_allclose(problem.start.ground_plane[:3], truth.up, atol=1e-12)


def test_bodies_of_the_world_turn_about_the_pelvis_of_their_own_model(tmp_path: Path) -> None:
    truth = make_truth().turned(TURNED)
    model, joints, _ = write_model(tmp_path / "models", "smpl")

    def of_that_model(content: dict) -> None:
        content["trans"] = truth.pelvis[[1, 0]] - joints[0]

    problem = load_sequence(write_slahmr(tmp_path / "walk", truth, of_that_model), LoadOptions(body_model=model))
    # in the cameras the pelvis is where the world has it, though the axes are turned
    there = to_camera(truth.pelvis[:, :, None], truth.w2c)[:, :, 0]
    np.testing.assert_allclose(camera_joints(problem)[:, :, 0][truth.seen], there[truth.seen], atol=EXACT)
    np.testing.assert_allclose(problem.start.pelvis[truth.seen], truth.pelvis[truth.seen], atol=EXACT)


@pytest.mark.parametrize("names_at", ["file", "group", "dataset"])
def test_megahunter(tmp_path: Path, names_at: str) -> None:
    truth = make_truth().turned(TURNED, (1.0, 2.0, 3.0))
    path = write_megahunter(tmp_path / "walk", truth, names_at=names_at)
    assert recognize(path) == recognize(path.parent) == "VideoMimic MegaHunter"
    problem = load_sequence(path)
    check(problem, truth, SINGLE)
    assert problem.frame_ids == tuple(range(4, 4 + NUM_FRAMES))
    assert problem.fps == 30
    # points of the floor, in metres although 'depths' are not
    plane = problem.start.ground_plane.numpy()
    offset = -float(truth.up @ truth.ground)
    np.testing.assert_allclose(plane, [*truth.up, offset], atol=0.02)
    heights = problem.observations.floor_points.numpy() @ truth.up + offset
    assert len(heights) > 100
    assert np.abs(heights).max() < 0.02


def test_megahunter_of_every_other_frame(tmp_path: Path) -> None:
    truth = make_truth().turned(TURNED)
    problem = load_sequence(write_megahunter(tmp_path / "walk", truth, step=2))
    check(problem, truth, SINGLE)
    assert problem.frame_ids == tuple(range(NUM_FRAMES))
    assert problem.fps == 15
    told(problem, "every 2th frame")


def test_glamr(tmp_path: Path) -> None:
    truth = make_truth().turned(Z_UP)
    path = write_glamr(tmp_path / "walk", truth)
    assert recognize(path) == recognize(tmp_path / "walk") == "GLAMR"
    problem = load_sequence(path)
    check(problem, truth, EXACT)
    check_keypoints(problem, truth)
    np.testing.assert_allclose(truth.up, [0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("name", ["TRAM", "PromptHMR", "GLAMR"])
def test_what_is_right_stays_right(tmp_path: Path, name: str) -> None:
    truth = make_truth()
    problem = load_sequence(WRITERS[name](tmp_path / "walk", truth))
    out = Stage5Refiner(RefinementConfig(), trainer={"enable_progress_bar": False}).refine(RefinementInput(problem))
    if name == "TRAM":
        truth = replace(truth, seen=problem.visible.numpy())
    moved = np.linalg.norm(out.joints.numpy() - truth.joints[:, :, : out.joints.shape[2]], axis=-1)[truth.seen]
    with_keypoints = problem.observations.keypoints.shape[2] > 0
    # keypoints without any noise are taken for bodies that were projected, and then say less
    sure = with_keypoints and not estimate_noise(problem).projected
    assert moved.mean() < (0.008 if sure else 0.025)
    # where nothing that was seen tells the scale, it stays what the tool says
    assert problem.scale_known is not with_keypoints
    assert abs(out.results["scale_delta"]) < (0.001 if sure else 0.003 if with_keypoints else 1e-12)


WRITERS: dict[str, Callable[[Path, Truth], Path]] = {
    "TRAM": write_tram,
    "4DHumans / PHALP": write_phalp,
    "WHAM": write_wham,
    "GVHMR": write_gvhmr,
    "PromptHMR": write_prompthmr,
    "SLAHMR": write_slahmr,
    "VideoMimic MegaHunter": write_megahunter,
    "GLAMR": write_glamr,
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_are_known_by_content_not_by_name(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / "walk", make_truth())
    assert recognize(path) == name
    if path.is_file():
        renamed = path.rename(path.with_name(f"other{path.suffix}"))
        assert recognize(renamed) == name


@pytest.mark.parametrize("name", WRITERS)
def test_the_first_frames_alone(tmp_path: Path, name: str) -> None:
    problem = load_sequence(WRITERS[name](tmp_path / "walk", make_truth()), LoadOptions(max_frames=7))
    assert len(problem.frame_ids) == 7
    assert problem.visible.shape[1] == 7
