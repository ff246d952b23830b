from __future__ import annotations

import numpy as np
import pytest

from pose_priors.body.skeleton import index_of
from pose_priors.configs.base import UserError
from pose_priors.datamodules.joints import describe, find_joints


@pytest.fixture
def poses() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.3, (2000, 55, 3)).astype(np.float32)


def test_joints_without_density_are_left_out_by_name(poses: np.ndarray) -> None:
    generator = np.random.default_rng(1)
    eye, thumb, foot, knee, neck = map(index_of, ("left_eye_smplhf", "right_thumb3", "left_foot", "left_knee", "neck"))
    poses[:, eye] = 0  # padded
    poses[:, thumb] = [0.5, -0.1, 0.2]  # constant
    poses[generator.random(2000) < 0.97, foot] = 0  # a point mass
    poses[:, knee] = [[0.6, 0.0, 0.8]] * poses[:, knee, :1]  # a hinge whose axis is none of the coordinate axes
    poses[:, neck] = 1.0 + 1e-6 * poses[:, neck]
    indices, left_out = find_joints(poses, include_root=False)
    assert set(left_out) == {"pelvis", "left_eye_smplhf", "right_thumb3", "left_foot", "left_knee", "neck"}
    assert indices == tuple(j for j in range(55) if j not in (0, eye, thumb, foot, knee, neck))
    assert left_out["left_eye_smplhf"] == left_out["right_thumb3"] == "constant"
    assert "97%" in left_out["left_foot"]
    assert "fewer than three directions" in left_out["left_knee"]
    assert left_out["neck"] == "no spread"
    line = describe(left_out)
    assert "constant: left_eye_smplhf, right_thumb3" in line
    assert "\n" not in line


def test_the_root_counts_when_asked_for(poses: np.ndarray) -> None:
    assert find_joints(poses, include_root=True) == (tuple(range(55)), {})


@pytest.mark.parametrize(("share", "learnt"), [(0.04, True), (0.06, False)])
def test_a_point_mass_counts_from_a_share_of_the_rows(poses: np.ndarray, share: float, learnt: bool) -> None:
    poses[: int(share * 2000), 5] = 0.25
    assert (5 in find_joints(poses, False)[0]) == learnt


def test_zeros_of_either_sign_are_one_value(poses: np.ndarray) -> None:
    poses[:200, 5] = 0.0
    poses[:100, 5] = -0.0
    assert "10%" in find_joints(poses, False)[1]["right_knee"]


def test_a_repeated_component_is_no_point_mass(poses: np.ndarray) -> None:
    poses[:600, 5, 1] = 0.0
    assert 5 in find_joints(poses, False)[0]


def test_few_rows_are_not_mistaken_for_repetition(poses: np.ndarray) -> None:
    assert find_joints(poses[:8], False)[0] == tuple(range(1, 55))


def test_nothing_to_learn_is_an_error() -> None:
    with pytest.raises(UserError, match="none of the 55 joints"):
        find_joints(np.zeros((100, 55, 3), dtype=np.float32), include_root=True)
