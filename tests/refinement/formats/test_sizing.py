"""People without joints and body model are as large as their keypoints say at their distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from upstream_truth import make_truth
from upstream_writers import write_gvhmr

from pose_priors.body.pinhole import project
from pose_priors.refinement.formats.keypoints import FORMATS, correspondences, observed, placement_error
from pose_priors.refinement.given.load import load_sequence
from pose_priors.refinement.given.sizes.sizing import size_by_keypoints
from pose_priors.refinement.solve.noise import estimate_noise

TRUTH = make_truth()
OF = correspondences("coco17", 24)
JOINTS = TRUTH.camera_joints[0]
K = np.tile(TRUTH.intrinsics, (len(JOINTS), 1, 1))


def points_of(size: float, shift: np.ndarray) -> np.ndarray:
    """(T, K, 3) keypoints of a person of another size whose pelvis stands elsewhere."""
    moved = JOINTS[:, :1] + shift + size * (JOINTS - JOINTS[:, :1])
    pixels = project(moved, K)
    points = np.zeros((*pixels.shape[:1], 17, 3))
    for link in OF:
        points[:, list(link.points), :2] = pixels[:, list(link.joints)].mean(1, keepdims=True)
        points[:, list(link.points), 2] = 0.9
    return observed(points, OF)


@pytest.mark.parametrize("size", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("movable", [True, False])
def test_size_and_shift_are_found(size: float, movable: bool) -> None:
    shift = np.array([0.02, -0.06, 0.0]) * movable
    points = points_of(size, shift)
    points[3, :5, :2] += 200  # slips of the detector
    points[7, :, 2] = 0
    found = size_by_keypoints(JOINTS, points, OF, K, movable=movable)
    assert found.size == pytest.approx(size, abs=0.004)
    np.testing.assert_allclose(found.shift, shift, atol=0.003)


def test_sizes_that_no_person_has_are_not_taken() -> None:
    assert size_by_keypoints(JOINTS, points_of(1.6, np.zeros(3)), OF, K, movable=True) is None


def test_few_keypoints_tell_no_size() -> None:
    points = points_of(1.1, np.zeros(3))
    points[5:, :, 2] = 0
    assert size_by_keypoints(JOINTS, points, OF, K, movable=True) is None
    assert size_by_keypoints(JOINTS, np.zeros((len(JOINTS), 0, 3)), (), K, movable=True) is None


def test_a_tall_person_in_a_file_without_joints_is_tall(tmp_path: Path) -> None:
    truth = make_truth(still=True)
    path = write_gvhmr(tmp_path / "walk", truth)
    usual = load_sequence(path)
    # half as far away, a person of half the size would look the same: seen at its distance through a longer lens, it is larger
    longer = make_truth(still=True, focal=1.1 * truth.intrinsics[0, 0])
    torch.save(torch.from_numpy(longer.keypoints("coco17")[0]).float(), path / "preprocess" / "vitpose.pt")
    tall = load_sequence(path)
    ratio = np.linalg.norm(tall.bodies.rest_joints[0], axis=-1)[1:] / np.linalg.norm(usual.bodies.rest_joints[0], axis=-1)[1:]
    assert np.ptp(ratio) < 1e-9
    assert 1.05 < ratio[0] < 1.15
    feet = np.isfinite(usual.bodies.height[0].numpy())
    np.testing.assert_allclose(tall.bodies.height[0].numpy()[feet], ratio[0] * usual.bodies.height[0].numpy()[feet])
    assert any("m tall" in warning for warning in tall.warnings)


def test_detected_points_are_never_trusted_beyond_where_joints_lie(tmp_path: Path) -> None:
    problem = load_sequence(write_gvhmr(tmp_path / "walk", make_truth(still=True)))
    # free of noise, and yet COCO's points are not SMPL's joints
    assert problem.observations.keypoint_error == placement_error("coco17") > 0
    height = 1.7 * 500 / 5
    noise = estimate_noise(problem)
    assert noise.projected  # since nothing but bodies is that free of noise
    assert noise.keypoint_px > 0.8 * placement_error("coco17") * height
    assert {name for name in FORMATS if placement_error(name) == 0} == {"smpl24"}
