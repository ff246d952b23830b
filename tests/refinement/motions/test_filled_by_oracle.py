"""What `clean --prior` makes of a prior that knows the truth, and what it tells the prior."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import roma
import torch
from walking_files import walker

from pose_priors.body.builtin import rest_joints
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.priors import MotionFlow
from pose_priors.refinement.motions.learned.fill import FilledByPrior
from pose_priors.refinement.motions.learned.sampled import sampled
from pose_priors.refinement.motions.motion import Motion, angles, quat_of
from pose_priors.refinement.motions.repair.fill import filled

REST = rest_joints(SMPL_STATURE)[:22].numpy()


class Oracle:
    """Restores a window of the one motion that it knows: that whose frames are as those that are said to be seen."""

    def __init__(self, truth: Motion) -> None:
        self.config, self.rest = SimpleNamespace(num_frames=40), torch.zeros(1, dtype=torch.float64)
        known = sampled(truth)
        self._joints, self._turns = known.joints, roma.rotvec_to_rotmat(known.rotvec)
        self.lost = list[torch.Tensor]()

    def restore(self, seen: Any, noise: Any, bones: torch.Tensor) -> Any:
        """As `MotionFlow.restore`, of one window."""
        (path,), (pelvis,) = noise.path, seen.joints[:, :, 0]
        told = torch.isfinite(path)
        assert told.any()
        fits = [
            start
            for start in range(len(self._joints) - len(path) + 1)
            if torch.allclose(self._joints[start : start + len(path), 0][told], pelvis[told], atol=1e-9)
        ]
        assert len(fits) == 1  # nothing is said to be seen that is not
        span = slice(fits[0], fits[0] + len(path))
        as_seen = noise.rotations[0] == 0
        assert as_seen.any()
        torch.testing.assert_close(seen.rotations[0][as_seen], self._turns[span][as_seen], atol=1e-9, rtol=0)
        self.lost.append(torch.arange(span.start, span.stop)[~told])
        return SimpleNamespace(motion=SimpleNamespace(rotations=self._turns[None, span], joints=self._joints[None, span]))


# at 50 frames a second those at 30 on the rims, 76 2/3 and 106 2/3, are between one that is lost and one that is not
@pytest.mark.parametrize(("fps", "gap"), [(30.0, (45, 64)), (50.0, (77, 107)), (60.0, (91, 128)), (120.0, (181, 256))])
def test_a_gap_becomes_what_the_prior_expects(fps: float, gap: tuple[int, int]) -> None:
    """Somebody who hurries, turns and rises meanwhile, which no curve between the ends of a gap has."""
    pose, pelvis = walker(4.0, fps, 0.75)
    time = np.arange(len(pose)) / fps
    pelvis = pelvis + np.stack([0.3 * np.sin(3 * time), 0.4 * np.sin(5 * time), 0.1 * np.sin(7 * time)], 1)
    truth = Motion(quat_of(pose[:, :22]), pelvis, REST, SMPL_STATURE, fps, np.ones(len(pose), dtype=bool))
    lost = np.zeros(len(truth), dtype=bool)
    lost[slice(*gap)] = True
    joints = np.repeat(lost[:, None], 22, 1)
    at = np.maximum.accumulate(np.where(lost, 0, np.arange(len(truth))))
    before = truth.changed(truth.quat[at], truth.pelvis[at])
    oracle = Oracle(truth)
    after, curves = FilledByPrior(cast(MotionFlow, oracle))(before, joints, lost), filled(before, joints, lost)
    (found,) = oracle.lost
    left, right = np.floor(found.numpy() * fps / 30 + 1e-6).astype(int), np.ceil(found.numpy() * fps / 30 - 1e-6).astype(int)
    assert (lost[left] | lost[right]).all()
    errors = [np.linalg.norm(motion.pelvis - truth.pelvis, axis=-1)[lost].max() for motion in (after, curves)]
    assert errors[0] < 0.012
    assert errors[0] < 0.2 * errors[1]
    turns = [angles(motion.quat, truth.quat)[lost].mean() for motion in (after, curves)]
    assert turns[0] < 0.2 * turns[1]
    assert np.array_equal(after.pelvis[~lost], before.pelvis[~lost])
