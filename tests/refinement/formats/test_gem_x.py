"""A person who is written as GEM-X writes them, on SOMA's 77 joints, is that person on SMPL-X's when they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gem_x_writer import SOMA_SIZE, in_camera, joints_of, write_gem_x
from upstream_checks import camera_joints, told
from upstream_truth import SIZE, make_truth

from pose_priors.configs.base import UserError
from pose_priors.datamodules.capture.soma77 import NAMES
from pose_priors.refinement.formats import read_upstream, recognize
from pose_priors.refinement.given.load import load_sequence

# SMPL-X's joint: SOMA's
SAME = {1: "LeftLeg", 2: "RightLeg", 4: "LeftShin", 5: "RightShin", 7: "LeftFoot", 8: "RightFoot", 16: "LeftArm", 17: "RightArm"} | {
    18: "LeftForeArm",
    19: "RightForeArm",
    20: "LeftHand",
    21: "RightHand",
    28: "LeftHandMiddle2",
    53: "RightHandThumb2",
}


@pytest.mark.parametrize("up", ["y", "z"])
def test_somas_joints_are_smplx_joints(tmp_path: Path, up: str) -> None:
    path, joints = write_gem_x(tmp_path / "walk", make_truth(), up=up), joints_of(*in_camera(), SOMA_SIZE)
    assert recognize(path) == recognize(path / "preprocess" / "hpe_results.pt") == "GEM-X"
    problem = load_sequence(path)
    assert problem.person_ids == (1,)
    assert problem.cameras.image_size == SIZE
    assert problem.start.alpha0 == 1
    found = camera_joints(problem)[0]
    off = np.array([np.linalg.norm(found[:, ours] - joints[:, NAMES.index(theirs)], axis=-1) for ours, theirs in SAME.items()])
    # SOMA's hips lie 5 cm wide of SMPL-X's
    assert off[:2].max() < 0.045
    assert off[2:].mean() < 0.009
    assert off[2:].max() < 0.03
    upright = read_upstream(path, []).up
    assert upright is not None
    np.testing.assert_allclose(upright, [0, 1, 0] if up == "y" else [0, 0, 1], atol=1e-9)
    if up == "y":
        np.testing.assert_allclose(problem.cameras.w2c.numpy()[:, :3], np.tile(make_truth(still=True).w2c[0, :3], (5, 1, 1)), atol=1e-4)
    told(problem, "SOMA's joints are", "at 0.90 of their size")
    # the keypoints lie at the joints of the body that was found
    seen = problem.observations.keypoint_confidence.numpy()[0] > 0
    assert seen.all()
    pixels = found @ problem.cameras.intrinsics[0].numpy().T
    pixels = pixels[..., :2] / pixels[..., 2:]
    there = np.stack([pixels[:, list(of)].mean(1) for of in problem.observations.keypoint_joints], 1)
    assert np.linalg.norm(there - problem.observations.keypoints.numpy()[0], axis=-1).mean() < 1.5


def put(part: str, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[part].update({name: change(content[part][name])})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("body_params_global", "body_pose", lambda a: a[:, :63]), r"'body_pose' has shape \(5, 63\); \(5, 228\) is expected"),
        (put("body_params_global", "transl", lambda a: a[:-1]), "'transl' has shape"),
        (put("body_params_incam", "scale_params", lambda a: 100 * a), "begins with a size of 90"),
        (lambda content: content.pop("body_params_global"), "body_params_global: holds"),
        (lambda content: content.pop("K_fullimg"), "no 'K_fullimg'"),
        (lambda content: content.update(K_fullimg=content["K_fullimg"][:2]), "5 frames in the camera, 5 in the world and 2 K_fullimg"),
    ],
)
def test_changed_layouts_are_refused_in_one_line(change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path) -> None:
    path = write_gem_x(tmp_path / "walk", make_truth(), change)
    with pytest.raises(UserError, match=said) as error:
        load_sequence(path)
    assert "\n" not in str(error.value)
