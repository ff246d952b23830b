"""What is observed of each person in the image, and where its joints are by that."""

from __future__ import annotations

import numpy as np

from pose_priors.body.pinhole import project
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.keypoints import Correspondence, observed
from pose_priors.refinement.given.checks import MIN_CONFIDENCE
from pose_priors.refinement.given.scale import place_by_keypoints


def keypoints_of(clip: UpstreamClip, of: tuple[Correspondence, ...], dropout: float, seed: int) -> np.ndarray:
    """(P, T, K, 3) pixels and confidence of what is observed, a share of each frame dropped."""
    frames, people = clip.cameras.frame_ids, tuple(clip.camera_bodies)
    points = np.zeros((len(people), len(frames), len(of), 3))
    for p, person in enumerate(people):
        rows = {frame - frames[0]: row for frame, row in clip.tracks.keypoints.get(person, {}).items() if frames[0] <= frame <= frames[-1]}
        if rows:
            points[p, list(rows)] = observed(np.stack(list(rows.values())), of)
    if dropout and len(of):
        order = np.random.default_rng(seed).random(points.shape[:3]).argsort(-1)
        points[..., 2][order < round(dropout * len(of))] = 0
    return points


def placed_by(joints: np.ndarray, keypoints: np.ndarray, of: tuple[Correspondence, ...], intrinsics: np.ndarray) -> np.ndarray:
    """The joints moved to where they project to their keypoints."""
    if not of:
        return joints
    linked = np.stack([joints[:, :, list(pair.joints)].mean(2) for pair in of], 2)
    shift, _ = place_by_keypoints(linked, keypoints[..., :2], keypoints[..., 2], np.broadcast_to(intrinsics, (*linked.shape[:2], 3, 3)))
    placed: np.ndarray = joints + shift[:, :, None]
    return placed


def pixels_of(joints: np.ndarray, keypoints: np.ndarray, of: tuple[Correspondence, ...], intrinsics: np.ndarray) -> np.ndarray:
    """(P, T, J, 2) where each joint is in the image: its keypoint where that is sure, else its projection."""
    pixels = project(joints, intrinsics)
    for k, pair in enumerate(of):
        if len(pair.joints) == 1:
            sure = keypoints[:, :, k, 2] >= MIN_CONFIDENCE
            pixels[:, :, pair.joints[0]][sure] = keypoints[:, :, k, :2][sure]
    return pixels
