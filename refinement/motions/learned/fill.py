"""Frames that are not to be believed, from what a prior of whole clips expects there."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.interpolation import runs
from pose_priors.body.skeleton import PARENTS
from pose_priors.priors import MotionFlow
from pose_priors.priors.motion.flow.skeletons import bones_of_rest
from pose_priors.priors.motion.flow.view import Motion as Seen
from pose_priors.priors.motion.flow.view import Noise
from pose_priors.refinement.motions.learned.sampled import Sampled, sampled
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion, continuous
from pose_priors.refinement.motions.repair.fill import filled

_LEAST_LOST = 5  # frames: on validation clips curves left 2.7, 3.3 and 5.2 mm in gaps of 2, 3 and 5 frames, the prior 2.9, 3.8 and 5.0
_LEAST_SEEN = 5  # frames of a window beside a gap, without which the prior would only guess
_BATCH = 32
_IDENTITY = np.array([0, 0, 0, 1.0])


class FilledByPrior:
    """What `repair.fill.filled` does, by a prior: what is marked, given all that is not marked within a window about it.

    The prior sees 30 frames a second. By how much it differs from the curves of `filled` is carried over to the motion's own frames by
    monotone cubics (Fritsch and Carlson, SIAM J. Numerical Analysis 17, 1980) that are zero where a gap ends. Gaps of less than five of
    these frames, where curves are as good, gaps of nearly a window or longer, and motions without a path stay as the curves have them.
    """

    def __init__(self, prior: MotionFlow) -> None:
        self._prior = prior

    def __call__(self, motion: Motion, joints: np.ndarray, path: np.ndarray) -> Motion:
        """See `repair.fill.filled`."""
        base = filled(motion, joints, path)
        if not motion.has_path or len(motion) < 2:
            return base
        seen = sampled(base)
        left, right = seen.between
        lost, lost_path = joints[left] | joints[right], path[left] | path[right]
        turn, shift = self._differences(seen, lost, lost_path, motion.rest)
        quat, pelvis = base.quat.copy(), base.pelvis
        for joint in np.flatnonzero(joints.any(0)):
            by = _carried(continuous(turn[:, joint]), seen.at, joints[:, joint], _IDENTITY)
            quat[:, joint] = (Rotation.from_quat(base.quat[:, joint]) * Rotation.from_quat(by)).as_quat()
            quat[~joints[:, joint], joint] = base.quat[~joints[:, joint], joint]
        if path.any():
            pelvis = pelvis + _carried(shift, seen.at, path, np.zeros(3))
        return base.changed(quat, pelvis)

    def reaches(self, motion: Motion, path: np.ndarray) -> np.ndarray:
        """Of frames (T,) that are marked as a whole, path and all joints, those that the prior fills; curves fill the others."""
        frames = np.zeros(len(motion), dtype=bool)
        if not motion.has_path or len(motion) < 2:
            return frames
        seen = sampled(motion)
        left, right = seen.between
        filled_at = np.concatenate([seen.at[begin:end] for begin, end, _ in self._windows(path[left] | path[right])] or [np.zeros(0)])
        for begin, end in runs(path):
            frames[begin:end] = ((filled_at > begin - 1) & (filled_at < end)).any()
        return frames

    def _windows(self, lost: np.ndarray) -> list[tuple[int, int, int]]:
        """First frame, end, and first frame of the window about it, of each gap that the prior fills."""
        num = len(lost)
        length = min(self._prior.config.num_frames, num)
        gaps = []
        for begin, end in runs(lost):
            sides = (begin > 0) + (end < num)
            if sides and _LEAST_LOST <= end - begin <= length - 2 * _LEAST_SEEN and (sides == 2 or 2 * (end - begin) <= length):
                gaps.append((begin, end, min(max((begin + end - length) // 2, 0), num - length)))
        return gaps

    def _differences(self, seen: Sampled, lost: np.ndarray, lost_path: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quaternions (N, 22, 4) from the curves' rotations to the prior's, and metres (N, 3) between their paths."""
        num = len(seen.at)
        turn, shift = np.tile(_IDENTITY, (num, NUM_JOINTS, 1)), np.zeros((num, 3))
        length = min(self._prior.config.num_frames, num)
        gaps = self._windows(lost.any(1) | lost_path)
        turned = conversions.rotvec_to_rotmat(seen.rotvec)
        for first in range(0, len(gaps), _BATCH):
            some = gaps[first : first + _BATCH]
            frames = torch.tensor([start for *_, start in some])[:, None] + torch.arange(length)
            found, pelvis = self._expected(seen, turned, frames, lost, lost_path, rest)
            for row, (begin, end, start) in enumerate(some):
                inside, here = slice(begin, end), slice(begin - start, end - start)
                by = conversions.rotmat_to_unitquat(turned[inside].mT @ found[row, here]).numpy()
                apart = (pelvis[row, here] - seen.joints[inside, 0]).numpy()
                if np.isfinite(by).all() and np.isfinite(apart).all():
                    turn[inside], shift[inside] = by, apart
        return turn, shift

    @torch.no_grad()
    def _expected(
        self, seen: Sampled, turned: Tensor, frames: Tensor, lost: np.ndarray, lost_path: np.ndarray, rest: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Rotations (B, L, 22, 3, 3) and pelvis (B, L, 3) of windows of frames (B, L), float64."""
        like = self._prior.rest
        hidden = torch.from_numpy(lost)[frames]
        placed = torch.zeros_like(hidden)  # joints whose place a lost rotation above them makes unknown
        for joint in range(1, NUM_JOINTS):
            placed[..., joint] = placed[..., PARENTS[joint]] | hidden[..., PARENTS[joint]]
        noise = Noise.of(*(torch.where(where, torch.inf, 0.0).to(like) for where in (hidden, placed)))
        noise.path = torch.where(torch.from_numpy(lost_path)[frames], torch.inf, 0.0).to(like)
        bones = bones_of_rest(torch.from_numpy(rest)).to(like).expand(len(frames), -1, -1)
        found = self._prior.restore(Seen(turned[frames].to(like), seen.joints[frames].to(like)), noise, bones).motion
        return found.rotations.double().cpu(), found.joints[..., 0, :].double().cpu()


def _carried(values: np.ndarray, at: np.ndarray, marked: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    """Values (N, C) at some places among the frames of a motion, on all its frames (T, C); `nothing` where these are not marked."""
    from scipy.interpolate import PchipInterpolator  # brings much that every command would wait for

    out = np.tile(nothing, (len(marked), 1))
    for begin, end in runs(marked):
        inside = (at > begin - 1) & (at < end)
        if not inside.any():
            continue
        places, knots = [at[inside]], [values[inside]]
        sign = 1.0 if nothing @ knots[0][0] >= 0 else -1.0  # of quaternions, which are two for each rotation
        if begin > 0:
            places.insert(0, np.array([begin - 1.0]))
            knots.insert(0, sign * nothing[None])
        if end < len(marked):
            last = -nothing if nothing @ knots[-1][-1] < 0 else nothing
            places.append(np.array([float(end)]))
            knots.append(last[None])
        x, y = np.concatenate(places), np.concatenate(knots)
        frames = np.arange(begin, end).clip(x[0], x[-1])
        out[begin:end] = PchipInterpolator(x, y)(frames) if len(x) > 1 else y
    return out
