"""Where the refinement starts: the people of stages 3 and 4 in the cameras' axes, and from there in the metric world without gaps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.body.interpolation import lerp_missing, slerp_missing
from pose_priors.body.model import forward_kinematics
from pose_priors.body.pinhole import to_camera, to_world
from pose_priors.refinement.formats.bodies import BodyTrack, with_joints
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.keypoints import Correspondence
from pose_priors.refinement.given.checks import Residual, check_camera_bodies, check_world_body, pixel_residuals
from pose_priors.refinement.given.problem import Bodies, Estimate


@dataclass(frozen=True)
class PosedPeople:
    """P people on T frames, in the axes of each frame's camera or of the world.

    Attributes:
        pose: (P, T, J, 3) rotation vectors.
        pelvis: (P, T, 3) metres.
        seen: (P, T) bool; the rest is zero where not seen.
    """

    pose: np.ndarray
    pelvis: np.ndarray
    seen: np.ndarray

    def joints(self, bodies: Bodies) -> np.ndarray:
        """(P, T, J, 3) metres."""
        posed, _ = forward_kinematics(torch.from_numpy(self.pose), bodies.rest_joints[:, None], bodies.parents)
        joints: np.ndarray = posed.numpy() + self.pelvis[:, :, None]
        return joints


def arranged(tracks: dict[int, BodyTrack], people: tuple[int, ...], frame_ids: np.ndarray, bodies: Bodies) -> PosedPeople:
    """Rows of people and frames as one block; people without a track are seen nowhere."""
    shape = (len(people), len(frame_ids))
    pose, pelvis, seen = np.zeros((*shape, len(bodies.parents), 3)), np.zeros((*shape, 3)), np.zeros(shape, bool)
    for p, person in enumerate(people):
        if (body := tracks.get(person)) is None:
            continue
        at = body.frames - frame_ids[0]
        pose[p, at] = with_joints(body.pose, len(bodies.parents))
        pelvis[p, at] = _pelvis(body, bodies.root_offset[p].numpy())
        seen[p, at] = True
    return PosedPeople(pose, pelvis, seen)


def _pelvis(body: BodyTrack, root_offset: np.ndarray) -> np.ndarray:
    """(n, 3) where the pelvis stands."""
    if body.joints is not None:
        return body.joints[:, 0]
    return body.transl if body.transl_is_pelvis else body.transl + root_offset


def carried_into_cameras(clip: UpstreamClip, bodies: Bodies) -> UpstreamClip:
    """A clip of people in the world alone, with the same people in the axes of each frame's camera.

    Args:
        bodies: the skeletons of its people, which say where the pelvis stands that a body turns about.
    """
    cameras, people = clip.cameras, {}
    unit = clip.alpha or 1.0
    for (person, body), root in zip(clip.world_bodies.items(), bodies.root_offset.numpy(), strict=True):
        w2c = scaled(cameras.w2c, unit)[body.frames - cameras.frame_ids[0]]
        pose = body.pose.copy()
        pose[:, 0] = (Rotation.from_matrix(w2c[:, :3, :3]) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
        pelvis = to_camera(_pelvis(body, root)[:, None], w2c)[:, 0]
        joints = None if body.joints is None else to_camera(body.joints, w2c)
        people[person] = replace(body, pose=pose, transl=pelvis, joints=joints, transl_is_pelvis=True)
    return replace(clip, camera_bodies=people, world_bodies={})


def turned(people: PosedPeople, rotation: np.ndarray, pelvis: np.ndarray) -> PosedPeople:
    """The same bodies in axes that are turned by (T, 3, 3), their pelvis at (P, T, 3)."""
    root = Rotation.from_rotvec(people.pose[:, :, 0].reshape(-1, 3))
    turn = Rotation.from_matrix(np.broadcast_to(rotation, (len(people.pose), *rotation.shape)).reshape(-1, 3, 3))
    pose = people.pose.copy()
    pose[:, :, 0] = (turn * root).as_rotvec().reshape(pose[:, :, 0].shape)
    return PosedPeople(pose, pelvis, people.seen)


def checked_start(
    clip: UpstreamClip, bodies: Bodies, keypoints: np.ndarray, of: tuple[Correspondence, ...], proven: bool, warnings: list[str]
) -> tuple[PosedPeople, np.ndarray]:
    """The people in the axes of each frame's camera: as stage 4 has them where it fits what was seen, else as stage 3 has them.

    Args:
        keypoints: (P, T, K, 3) pixels and confidence; of: what each observes.
        proven: whether stage 1's poses are known to be world to camera.
    Returns:
        the people, and (P,) bool: who tells the scale, that is all who land where they were seen, or all if nobody does.
    Raises:
        UserError: as `checks.check_camera_bodies`.
    """
    cameras, people = clip.cameras, tuple(clip.camera_bodies)
    start = arranged(clip.camera_bodies, people, cameras.frame_ids, bodies)
    boxes = _boxes(clip, people)
    residuals = {person: _residual(clip, start.seen[p], keypoints[p], of, boxes[p]) for p, person in enumerate(people)}
    heights = {person: _usual_height(boxes[p], keypoints[p], cameras.image_size) for p, person in enumerate(people)}
    joints = dict(zip(people, start.joints(bodies), strict=True))
    reference, wrong = check_camera_bodies(clip, joints, residuals, heights, warnings)

    world = arranged(clip.world_bodies, people, cameras.frame_ids, bodies)
    carried = turned(world, cameras.w2c[:, :3, :3], to_camera(world.pelvis[:, :, None], cameras.w2c)[:, :, 0])
    pose, pelvis = start.pose.copy(), start.pelvis.copy()
    for p, person in enumerate(people):
        if person not in clip.world_bodies:
            continue
        there = np.where(world.seen[p, :, None, None], world.joints(bodies)[p], np.nan)
        if check_world_body(clip, person, there, residuals[person], reference[person], proven, warnings):
            rows = world.seen[p] & start.seen[p]
            pose[p, rows], pelvis[p, rows] = carried.pose[p, rows], carried.pelvis[p, rows]
    fits = np.array([person not in wrong for person in people])
    return PosedPeople(pose, pelvis, start.seen), fits if fits.any() else ~fits


def world_start(start: PosedPeople, w2c: np.ndarray, alpha: float, plane: np.ndarray) -> tuple[Estimate, np.ndarray]:
    """Carries people into the world by cameras (T, 4, 4) of stage 1's unit at the scale alpha, and fills the frames between.

    Returns:
        the estimate, float64, and (P, T) bool: from each person's first to last seen frame.
    """
    metric = scaled(w2c, alpha)
    world = turned(start, np.swapaxes(metric[:, :3, :3], -1, -2), to_world(start.pelvis[:, :, None], metric)[:, :, 0])
    pose = np.stack([slerp_missing(rows, seen) for rows, seen in zip(world.pose, world.seen, strict=True)])
    pelvis = np.stack([lerp_missing(rows, seen) for rows, seen in zip(world.pelvis, world.seen, strict=True)])
    after = np.maximum.accumulate(start.seen, 1)
    before = np.maximum.accumulate(start.seen[:, ::-1], 1)[:, ::-1]
    estimate = Estimate(
        global_orient=torch.from_numpy(pose[:, :, 0].copy()),
        body_pose=torch.from_numpy(pose[:, :, 1:].copy()),
        pelvis=torch.from_numpy(pelvis),
        alpha0=alpha,
        ground_plane=torch.from_numpy(plane),
    )
    return estimate, after & before


def scaled(w2c: np.ndarray, alpha: float) -> np.ndarray:
    """Cameras (T, 4, 4) with their translation in metres."""
    out = w2c.copy()
    out[:, :3, 3] *= alpha
    return out


def _boxes(clip: UpstreamClip, people: tuple[int, ...]) -> np.ndarray:
    """(P, T, 4) corners, nan where there is no box."""
    frames = clip.cameras.frame_ids.tolist()
    none = np.full(4, np.nan)
    return np.array([[clip.tracks.boxes.get(person, {}).get(frame, none) for frame in frames] for person in people])


def _usual_height(boxes: np.ndarray, keypoints: np.ndarray, image_size: tuple[int, int]) -> float:
    """Median height in pixels of a person's boxes, or of the extent of its keypoints, or of the image."""
    heights = boxes[:, 3] - boxes[:, 1]
    if not np.isfinite(heights).any():
        rows = np.where(keypoints[..., 2] > 0, keypoints[..., 1], np.nan)
        rows = rows[np.isfinite(rows).sum(1) > 1] if rows.size else rows
        heights = np.nanmax(rows, 1) - np.nanmin(rows, 1) if rows.size else np.array([float(image_size[1])])
    return float(np.nanmedian(heights))


def _residual(clip: UpstreamClip, seen: np.ndarray, keypoints: np.ndarray, of: tuple[Correspondence, ...], boxes: np.ndarray) -> Residual:
    def residual(joints: np.ndarray, intrinsics: np.ndarray) -> float:
        rows = seen & np.isfinite(joints).all((1, 2))
        if not rows.any():
            return np.nan
        found = pixel_residuals(joints[rows], intrinsics[rows], keypoints[rows], of, boxes[rows], clip.cameras.image_size)
        return float(np.nanmedian(found)) if np.isfinite(found).any() else np.nan

    return residual
