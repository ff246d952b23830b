"""Refined people, read back from the files of stage 5."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from review_results import refine_to_truth, spoil
from scenes import Clip

from pose_priors.configs.base import UserError
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.result.people import people_in, read_person
from pose_priors.refinement.result.write import person_file, write_result


@pytest.fixture
def written(clips: dict[str, Clip], tmp_path: Path) -> tuple[Path, RefinementOutput]:
    """A folder of stage 5, not of a clip that others see, and what was written to it."""
    problem, output = refine_to_truth(clips["released"])
    write_result(tmp_path, problem, output)
    return tmp_path, output


def test_what_was_written_is_read(written: tuple[Path, RefinementOutput], clips: dict[str, Clip]) -> None:
    folder, output = written
    assert people_in(folder) == [1, 2]
    for p, number in enumerate(people_in(folder)):
        person = read_person(folder, number)
        pose = torch.cat([output.global_orient[p][:, None], output.body_pose[p]], 1)
        np.testing.assert_array_equal(person.track.frames, np.arange(12))
        np.testing.assert_allclose(person.track.joints, output.joints[p], atol=1e-6)
        np.testing.assert_allclose(person.pose, pose, atol=1e-6)
        np.testing.assert_allclose(person.contacts, output.contacts[p], atol=1e-6)
        np.testing.assert_allclose(person.betas, output.betas[p], atol=1e-6)
        np.testing.assert_array_equal(person.visible, clips["released"].seen[p])
        np.testing.assert_allclose(person.ground_plane, output.ground_plane, atol=1e-6)
        assert (person.scale_alpha, person.scale_delta) == (output.scale_alpha, output.scale_delta)
        assert (person.w2c.shape, person.intrinsics.shape, person.transl.shape) == ((12, 4, 4), (12, 3, 3), (12, 3))
        assert person.track.body.joints.shape == (12, 22, 3)


@pytest.mark.parametrize("num_joints", [22, 55])
def test_poses_of_other_bodies(clips: dict[str, Clip], tmp_path: Path, num_joints: int) -> None:
    problem, output = refine_to_truth(clips["released"])
    poses = 0.01 * torch.arange(2 * 12 * (num_joints - 1) * 3.0).view(2, 12, num_joints - 1, 3)
    write_result(tmp_path, problem, replace(output, body_pose=poses, joints=torch.zeros(2, 12, num_joints, 3)))
    np.testing.assert_allclose(read_person(tmp_path, 2).pose[:, 1:], poses[1])


def read_whole(folder: Path, number: int) -> list[object]:
    person = read_person(folder, number)
    return [getattr(person, part) for part in ("pose", "visible", "contacts", "w2c", "ground_plane", "scale_alpha", "transl")]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ground_plane", np.zeros(4), "a unit normal and an offset are expected"),
        ("transl", np.full((12, 3), 1e300), "finite, is expected"),
        ("joints", np.full((12, 24, 3), 1e30), "finite, is expected"),
        ("frame_ids", np.arange(3), r"'joints' has shape \(12, 24, 3\) for 3 frames"),
        ("frame_ids", np.arange(12) + 0.5, r"'frame_ids' is 0\.5, 1\.5, 2\.5, \.\.\. \(12 in all\); whole numbers"),
        ("frame_ids", np.full(12, np.nan), "'frame_ids' is nan"),
        ("frame_ids", np.full(12, 1e300), "'frame_ids' is 1e"),
        ("joints", np.zeros((12, 23, 3)), r"22 \| 24 \| 55"),
        ("joints", np.full((12, 24, 3), np.nan), "finite"),
        ("global_orient", np.zeros((4, 3)), r"'global_orient' has shape \(4, 3\)"),
        ("body_pose", np.zeros((12, 70)), "3 for each joint"),
        ("global_orient", np.full((12, 3), "text"), "'global_orient'"),
        ("body_pose", np.zeros((12, 66)), "hold 23 joints; 24 are expected"),
        ("visible", np.ones(3, bool), r"'visible' has shape \(3,\); \(12\)"),
        ("contacts", np.zeros(12), r"'contacts' has shape \(12,\); \(12, any\)"),
        ("camera_w2c", np.full((12, 4, 4), np.inf), "'camera_w2c'.* finite"),
        ("ground_plane", np.zeros(3), "'ground_plane'"),
        ("scale_alpha", np.zeros(2), "'scale_alpha'"),
        ("transl", np.array(["text"] * 36).reshape(12, 3), "'transl'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(written: tuple[Path, RefinementOutput], name: str, value: np.ndarray, told: str) -> None:
    path = person_file(written[0], 2)
    spoil(path, **{name: value})
    with pytest.raises(UserError, match=told) as caught:
        read_whole(written[0], 2)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_person_counts_once_and_only_by_a_number(written: tuple[Path, RefinementOutput]) -> None:
    """As `person_2` beside `person_002`, and `person_²`, which is a digit and no number, may be called."""
    for name in ("person_2", "person_²", "person_٣", "person_001.bak"):
        (written[0] / name).mkdir()
    assert people_in(written[0]) == [1, 2]
