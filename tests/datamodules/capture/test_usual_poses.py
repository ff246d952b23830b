"""Girdles take a third of how arms are lowered, and arms stay where they are."""

from __future__ import annotations

import math

import roma
import torch

from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.capture.usual_poses import usual_poses, with_girdles
from pose_priors.datamodules.synthetic.poses import synthetic_poses

COLLARS = [index_of(f"{side}_collar") for side in ("left", "right")]
SHOULDERS = [index_of(f"{side}_shoulder") for side in ("left", "right")]


def test_girdles_sink_by_a_third_of_how_far_arms_are_lowered() -> None:
    lowered = torch.tensor([0.0, 30.0, 90.0, -40.0], dtype=torch.float64).deg2rad()
    pose = torch.zeros(4, 22, 3, dtype=torch.float64)
    pose[:, SHOULDERS[0], 2], pose[:, SHOULDERS[1], 2] = -lowered, lowered
    found = with_girdles(pose)
    sunk = lowered.clamp_min(0) / 3  # girdles are up while arms are level or above
    torch.testing.assert_close(found[:, COLLARS[0], 2], -sunk)
    torch.testing.assert_close(found[:, COLLARS[1], 2], sunk)
    torch.testing.assert_close(found[:, SHOULDERS[0], 2], sunk - lowered)
    assert found[:, [*COLLARS, *SHOULDERS], :2].abs().max() < 1e-9
    # an arm that points forward is neither up nor down
    pose[:, SHOULDERS[0]] = torch.tensor([0.0, -math.pi / 2, 0.0], dtype=torch.float64)
    assert with_girdles(pose)[:, COLLARS[0]].abs().max() < 1e-9


def test_arms_point_where_they_did() -> None:
    pose = synthetic_poses(200, seed=1)[:, :22].double()
    before, after = (roma.rotvec_to_rotmat(x[:, COLLARS]) @ roma.rotvec_to_rotmat(x[:, SHOULDERS]) for x in (pose, with_girdles(pose)))
    torch.testing.assert_close(after, before)
    usual = usual_poses(22).mean
    assert usual[COLLARS[0], 2] < -0.2
    torch.testing.assert_close(usual[COLLARS[0], 2], -usual[COLLARS[1], 2], rtol=0, atol=0.03)
