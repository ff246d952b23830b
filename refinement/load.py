"""From the folders of the upstream stages to the `Problem` that the refinement solves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from body.smplx_files import load_joint_model
from configs.base import UserError
from refinement.checks import check_cameras
from refinement.floor import FloorMethod, floor_candidates, ground_plane, ransac_plane, soles, up_direction
from refinement.formats.keypoints import Link, links, observed
from refinement.formats.multi_tram import Recording, read_recording
from refinement.geometry import project, to_world
from refinement.problem import Bodies, Cameras, Observations, Problem
from refinement.sampling import DepthSamples, sample_depth
from refinement.scale import combined, from_bodies, from_floor, place_by_keypoints
from refinement.skeletons import assemble, layout, recover
from refinement.start import checked_start, scaled, world_start

_FPS = 30.0
_SURE = 0.3
_ROUNDS = 3
_FLOOR_POINTS = 4096
_FLOOR_BAND, _FLOOR_INLIER = 0.25, 0.06  # metres from the feet, and from the plane
_DISAGREEMENT = 0.1


def load_problem(
    stage1_dir: Path,
    stage2_dir: Path,
    stage3_dir: Path,
    stage4_dir: Path | None,
    *,
    fps: float | None = None,
    body_model: Path | None = None,
    ground_plane_init: FloorMethod = "median",
    keypoint_dropout: float = 0.0,
    seed: int = 0,
    max_frames: int | None = None,
) -> Problem:
    """Reads a clip, checks its stages against each other, and finds where the refinement starts. All tensors are float64 on the CPU.

    Args:
        stage1_dir: cameras and depth maps; stage2_dir: tracks and masks; stage3_dir: bodies in the camera's axes; stage4_dir: bodies in the
            world, rebuilt where they do not fit the others, or None.
        fps: frames a second; by default what stage 1 says, else 30.
        body_model: file or folder in smplx's format.
        ground_plane_init: how the floor is found, see `refinement.floor.ground_plane`.
        keypoint_dropout: share of the keypoints of each person and frame that is dropped, drawn from `seed`, to see how much rests on them.
        seed: of the dropout and of RANSAC.
        max_frames: only the first so many frames are used.
    Raises:
        UserError: if something is missing or wrong that nothing can replace; lesser faults are mended and told in `Problem.warnings`.
    """
    warnings: list[str] = []
    folders = [Path(folder) for folder in (stage1_dir, stage2_dir, stage3_dir)]
    recording = read_recording(*folders, None if stage4_dir is None else Path(stage4_dir), max_frames, warnings)
    proven = check_cameras(recording)
    cameras, people = recording.cameras, tuple(recording.camera_bodies)
    bodies = _bodies(recording, body_model, warnings)
    of = links(recording.tracks.format_name, len(bodies.parents)) if recording.tracks.format_name else ()
    keypoints = _keypoints(recording, of, keypoint_dropout, seed)
    start, votes = checked_start(recording, bodies, keypoints, of, proven, warnings)
    keypoints[..., 2] *= start.seen[..., None]

    placed = _placed(start.joints(bodies), keypoints, of, cameras.intrinsics)
    depth = sample_depth(recording, people, _pixels(placed, keypoints, of, cameras.intrinsics), start.seen)
    depth = DepthSamples(depth.depth, depth.confidence, np.concatenate([depth.scene, recording.cloud]))
    anchor = _anchored(recording, bodies, placed, start.seen & votes[:, None], depth, ground_plane_init, seed, warnings)
    estimate, alive = world_start(start, cameras.w2c, anchor.alpha, anchor.plane)
    if fps is None and cameras.fps is None:
        warnings.append(f"{stage1_dir}: neither cameras.npz nor metadata.json has 'fps'; {_FPS:g} frames a second are assumed")
    # a frame whose camera is trusted less says less; a clip of equal trust is taken as it is
    trust = cameras.confidence / max(cameras.confidence.max(), np.finfo(float).tiny)
    return Problem(
        person_ids=people,
        frame_ids=tuple(cameras.frame_ids.tolist()),
        fps=fps or cameras.fps or _FPS,
        alive=torch.from_numpy(alive),
        visible=torch.from_numpy(start.seen),
        cameras=Cameras(
            *map(torch.from_numpy, (cameras.w2c, cameras.intrinsics)), cameras.image_size, torch.from_numpy(cameras.confidence)
        ),
        bodies=bodies,
        observations=Observations(
            keypoints=torch.from_numpy(keypoints[..., :2].copy()),
            keypoint_confidence=torch.from_numpy(keypoints[..., 2] * trust[:, None]),
            keypoint_joints=tuple(link.joints for link in of),
            joint_depth=torch.from_numpy(depth.depth),
            joint_depth_confidence=torch.from_numpy(np.where(anchor.consistent, depth.confidence * trust[:, None], 0)),
            floor_points=torch.from_numpy(anchor.floor_points[:: -(-len(anchor.floor_points) // _FLOOR_POINTS) or 1].copy()),
        ),
        start=estimate,
        warnings=tuple(warnings),
    )


def _bodies(recording: Recording, body_model: Path | None, warnings: list[str]) -> Bodies:
    tracks = recording.camera_bodies.values()
    of = layout(max((track.pose.shape[1] for track in tracks), key=(22, 24, 55).index))
    model = None
    if body_model is not None:
        kinds = ("smpl", "smplx", "smplh") if of.num_joints == 24 else ("smplx", "smplh", "smpl")
        model = load_joint_model(Path(body_model), max(len(track.betas) for track in tracks), kinds)
    return assemble([recover(track, of, model, warnings) for track in tracks], [track.betas for track in tracks], of)


def _keypoints(recording: Recording, of: tuple[Link, ...], dropout: float, seed: int) -> np.ndarray:
    """(P, T, K, 3) pixels and confidence of what is observed, a share of each frame dropped."""
    if not 0 <= dropout < 1:
        raise UserError(f"keypoint_dropout is {dropout}; a share of at least 0 and below 1 is expected")
    frames, people = recording.cameras.frame_ids, tuple(recording.camera_bodies)
    points = np.zeros((len(people), len(frames), len(of), 3))
    for p, person in enumerate(people):
        for frame, row in recording.tracks.keypoints.get(person, {}).items():
            if frames[0] <= frame <= frames[-1]:
                points[p, frame - frames[0]] = observed(row, of)
    if dropout and len(of):
        order = np.random.default_rng(seed).random(points.shape[:3]).argsort(-1)
        points[..., 2][order < round(dropout * len(of))] = 0
    return points


def _placed(joints: np.ndarray, keypoints: np.ndarray, of: tuple[Link, ...], intrinsics: np.ndarray) -> np.ndarray:
    """The joints moved to where they project to their keypoints."""
    if not of:
        return joints
    linked = np.stack([joints[:, :, list(link.joints)].mean(2) for link in of], 2)
    shift, _ = place_by_keypoints(linked, keypoints[..., :2], keypoints[..., 2], np.broadcast_to(intrinsics, (*linked.shape[:2], 3, 3)))
    return joints + shift[:, :, None]


def _pixels(joints: np.ndarray, keypoints: np.ndarray, of: tuple[Link, ...], intrinsics: np.ndarray) -> np.ndarray:
    """(P, T, J, 2) where each joint is in the image: its keypoint where that is sure, else its projection."""
    pixels = project(joints, intrinsics)
    for k, link in enumerate(of):
        if len(link.joints) == 1:
            sure = keypoints[:, :, k, 2] >= _SURE
            pixels[:, :, link.joints[0]][sure] = keypoints[:, :, k, :2][sure]
    return pixels


@dataclass(frozen=True)
class _Anchor:
    """alpha; the floor (4,), metric; samples (P, T, J) bool that belong to their joint; floor points (M, 3) in stage 1's unit."""

    alpha: float
    plane: np.ndarray
    consistent: np.ndarray
    floor_points: np.ndarray


def _anchored(
    recording: Recording,
    bodies: Bodies,
    placed: np.ndarray,
    seen: np.ndarray,
    depth: DepthSamples,
    method: FloorMethod,
    seed: int,
    warnings: list[str],
) -> _Anchor:
    """The metric scale and the floor, which need each other: the floor's points are found about feet that stand at the scale.

    People and frames that are not in `seen` (P, T) have no say in either, and no sample of theirs is consistent.
    """
    w2c, heights = recording.cameras.w2c, bodies.height.numpy()
    by_bodies = from_bodies(placed[..., 2], depth.depth, depth.confidence * seen[..., None], bodies.thickness.numpy())
    alpha, by_floor = by_bodies.alpha, (np.nan, np.inf)
    source = recording.cameras.source
    if not np.isfinite(alpha):
        warnings.append(f"{source}: no depth inside any person's mask; stage 1 is taken to be metric")
        alpha = 1.0
    for _ in range(_ROUNDS):
        world = to_world(placed, scaled(w2c, alpha))
        up = up_direction(world, seen)
        feet = soles(world, heights, up, seen)
        points = floor_candidates(depth.scene * alpha, feet, up, _FLOOR_BAND)
        plane = ransac_plane(points, up, _FLOOR_INLIER, seed)
        if plane is not None and np.isfinite(by_bodies.alpha):
            by_floor = from_floor(placed, seen, heights, w2c, plane / [1, 1, 1, alpha])
            alpha = combined([(by_bodies.alpha, by_bodies.error), by_floor])
    if np.isfinite(by_floor[0]) and abs(np.log(by_floor[0] / by_bodies.alpha)) > _DISAGREEMENT:
        warnings.append(
            f"{source}: the bodies say that stage 1's unit is {by_bodies.alpha:.3f} m, the floor says {by_floor[0]:.3f} m; "
            "the scale is uncertain"
        )
    floor = ground_plane(method, feet, points, up, _FLOOR_INLIER, seed)
    return _Anchor(alpha, floor, by_bodies.consistent, points / alpha)
