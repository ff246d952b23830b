"""The people of one tool before the cameras of another program: matched frame by frame, in one image, in one unit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.body import conversions
from pose_priors.body.interpolation import lerp_missing, slerp_missing
from pose_priors.body.pinhole import camera_centres, project
from pose_priors.body.rotations import between
from pose_priors.configs.base import UserError, counted
from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT, BodyTrack
from pose_priors.refinement.formats.camera_files import read_camera_file
from pose_priors.refinement.formats.camera_files.poses import CameraFile, Renumbered
from pose_priors.refinement.formats.cameras import USUAL_FPS, CameraTrack
from pose_priors.refinement.formats.clip import NoPictures, UpstreamClip
from pose_priors.refinement.formats.keypoints import correspondences
from pose_priors.refinement.formats.tracks import Tracks
from pose_priors.refinement.given.beside.unit import Found, between_worlds, by_feet, by_own_path
from pose_priors.refinement.given.observed import keypoints_of, placed_by
from pose_priors.refinement.given.problem import Bodies
from pose_priors.refinement.given.sampling import sample_depth
from pose_priors.refinement.given.scale import from_bodies
from pose_priors.refinement.given.start import arranged

_FEET = [7, 8, 10, 11]  # ankles and balls of the feet, the same in every layout
_STILL_M = 0.05  # a camera that moves less tells nothing of its unit
_MOST_HELD = 0.1  # of the frames, before the first pose and after the last
_SAME_FOCAL = 0.01
_LOOKS = 12  # frames on which depth is looked at for the unit
_MARGIN = 0.06  # of a body's height in the image, around its joints
_APART_DEG = 20.0


def with_cameras(
    clip: UpstreamClip, bodies: Bodies, path: Path, fps: float | None, warnings: list[str], told: list[str], *, cut: bool
) -> UpstreamClip:
    """The clip before the cameras of a file, with its depth where it has any.

    People keep their place in the image: with another focal length they are as much nearer or farther. Where their own cameras say which
    way is up, that is carried over. The unit of the path is found by the depth on the people, by the clip's own path, or by feet that
    stand.

    Args:
        clip: with people in the axes of their cameras.
        bodies: their skeletons.
        path: see `formats.camera_files`.
        fps: frames a second, None for what the clip says.
        warnings: takes a line for each thing that may be wrong.
        told: takes the lines that say what was read, and the unit.
        cut: whether the clip is the first frames of one that the file may know whole.
    Raises:
        UserError: if the file is none such, is of another clip, or nothing tells its unit.
    """
    own = clip.cameras
    file = read_camera_file(path, own.image_size, warnings)
    w2c, intrinsics, depth_of = _on_frames(file, own, warnings, cut=cut)
    cameras = replace(own, source=file.source, w2c=w2c, intrinsics=intrinsics)
    has_depth = not isinstance(file.depth, NoPictures)
    told.append(
        f"{file.source}: {file.tool}'s cameras stand in the place of those of {own.source}" + (", with its depth" if has_depth else "")
    )
    people = {person: _before(body, own, cameras) for person, body in clip.camera_bodies.items()}
    ratio = float(np.median(_focal(cameras.intrinsics) / _focal(own.intrinsics)))
    if abs(np.log(ratio)) > _SAME_FOCAL:
        told.append(f"{file.source}: its focal length is {ratio:.3g} times that of {own.source}; people are as much farther away")
    moved = replace(
        clip,
        cameras=cameras,
        camera_bodies=people,
        world_bodies={},
        cloud=np.zeros((0, 3)),
        up=_up(clip, own, cameras, warnings),
        depth=Renumbered(file.depth, depth_of) if has_depth else NoPictures(),
    )
    moved = _with_boxes(moved, bodies) if has_depth else moved
    return _in_one_unit(moved, clip, file, bodies, fps, warnings, told)


def _on_frames(file: CameraFile, own: CameraTrack, warnings: list[str], *, cut: bool) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """w2c (T, 4, 4) and intrinsics (T, 3, 3) on the clip's frames, and the file's frame of each of them that it has."""
    wanted, frames = own.frame_ids, file.frames
    if file.counted and not np.isin(wanted, frames).all() and len(frames) == len(wanted):
        frames = wanted  # the file counts its own images, which are those of the clip
    if file.counted and len(frames) != len(wanted) and not (cut and len(frames) > len(wanted)) and not _covers_video(own, frames):
        raise UserError(
            f"{file.source}: {len(frames)} poses, but the clip has {len(wanted)} frames; one for each is expected, or 'frame_ids' beside "
            "them that says which frame each is of"
        )
    at = np.searchsorted(frames, wanted).clip(0, len(frames) - 1)
    has = frames[at] == wanted
    outside = (wanted < frames[0]) | (wanted > frames[-1])
    if not has.any() or outside.mean() > _MOST_HELD:
        raise UserError(
            f"{file.source}: poses of frames {frames[0]} to {frames[-1]}, and the clip has {wanted[0]} to {wanted[-1]}; is it of this "
            "video, and of every frame (of DROID-SLAM: --stride 1)?"
        )
    if not has.all():
        warnings.append(
            f"{file.source}: poses of {int(has.sum())} of the clip's {len(wanted)} frames; those between are interpolated, without depth"
        )
    rows = at[has]
    turns = np.zeros((len(wanted), 3))
    turns[has] = Rotation.from_matrix(file.w2c[rows, :3, :3]).as_rotvec()
    places, known = np.zeros((len(wanted), 3)), np.zeros((len(wanted), 3, 3))
    places[has] = camera_centres(file.w2c[rows])
    w2c = np.tile(np.eye(4), (len(wanted), 1, 1))
    w2c[:, :3, :3] = Rotation.from_rotvec(slerp_missing(turns, has)).as_matrix()
    w2c[has, :3, :3] = file.w2c[rows, :3, :3]
    w2c[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], lerp_missing(places, has))
    intrinsics = own.intrinsics
    if file.intrinsics is not None:
        known[has] = file.intrinsics[rows]
        intrinsics = lerp_missing(known.reshape(-1, 9), has).reshape(-1, 3, 3)
    return w2c, intrinsics, dict(zip(wanted[has].tolist(), file.frames[rows].tolist(), strict=True))


def _covers_video(own: CameraTrack, frames: np.ndarray) -> bool:
    """Whether frames that count from 0 are those of a video of which the clip is a part that says its numbers."""
    return bool(own.numbered and own.frame_ids[0] > 0 and own.frame_ids[-1] < len(frames))


def _focal(intrinsics: np.ndarray) -> np.ndarray:
    focal: np.ndarray = np.sqrt(intrinsics[:, 0, 0] * intrinsics[:, 1, 1])
    return focal


def _before(body: BodyTrack, own: CameraTrack, cameras: CameraTrack) -> BodyTrack:
    """A person before another lens: where it is in the image, as large there, and seen from the same side."""
    at = body.frames - own.frame_ids[0]
    before, after = own.intrinsics[at], cameras.intrinsics[at]
    if np.allclose(before, after, rtol=1e-6, atol=1e-6):
        return body
    root = np.zeros(3) if body.joints is not None or body.transl_is_pelvis else np.array(TEMPLATE_ROOT[body.pose.shape[1]])
    pelvis = (body.transl if body.joints is None else body.joints[:, 0]) + root
    pixels = project(pelvis[:, None], before)[:, 0]
    depth = pelvis[:, 2] * _focal(after) / _focal(before)
    rays = (pixels - after[:, :2, 2]) / after[:, [0, 1], [0, 1]]
    there = depth[:, None] * np.concatenate([rays, np.ones((len(rays), 1))], 1)
    ways = (torch.from_numpy(way / np.linalg.norm(way, axis=1, keepdims=True)) for way in (pelvis, there))
    turn = Rotation.from_rotvec(conversions.rotmat_to_rotvec(between(*ways)).numpy())  # NaN stays in its row
    pose = body.pose.copy()
    pose[:, 0] = (turn * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    joints = body.joints
    if joints is not None:
        joints = np.einsum("nij,nkj->nki", turn.as_matrix(), joints - pelvis[:, None]) + there[:, None]
    return replace(body, pose=pose, transl=there - root if body.joints is None else body.transl + there - pelvis, joints=joints)


def _up(clip: UpstreamClip, own: CameraTrack, cameras: CameraTrack, warnings: list[str]) -> np.ndarray | None:
    """Which way is up in the new world by what the clip's tool says in each camera."""
    if clip.up is None:
        return None
    each = np.einsum("tji,tjk,k->ti", cameras.w2c[:, :3, :3], own.w2c[:, :3, :3], clip.up)
    middle = np.median(each, 0)
    if not np.linalg.norm(middle) > 0.1:
        middle = each[0]
    up: np.ndarray = middle / np.linalg.norm(middle)
    off = float(np.degrees(np.median(np.arccos(np.clip(each @ up, -1, 1)))))
    if off > _APART_DEG:
        warnings.append(
            f"{cameras.source}: its cameras turn otherwise than those of {own.source}: what these call up is {off:.0f} degrees apart in "
            "them (median), so up is found anew; is it of this video?"
        )
        return None
    return up


def _with_boxes(clip: UpstreamClip, bodies: Bodies) -> UpstreamClip:
    """Boxes around the bodies for people who have neither boxes nor masks, since depth is looked up within these."""
    boxes = dict(clip.tracks.boxes)
    people = tuple(clip.camera_bodies)
    posed = arranged(clip.camera_bodies, people, clip.cameras.frame_ids, bodies)
    pixels = project(posed.joints(bodies), clip.cameras.intrinsics)
    for p, person in enumerate(people):
        frames = clip.cameras.frame_ids[posed.seen[p]].tolist()
        if boxes.get(person) or any(clip.masks.read(person, frame) is not None for frame in frames[:_LOOKS]):
            continue
        boxes[person] = {}
        for frame, points in zip(frames, pixels[p, posed.seen[p]], strict=True):
            if np.isfinite(points).all():
                low, high = points.min(0), points.max(0)
                boxes[person][frame] = np.concatenate([low, high]) + _MARGIN * (high - low).max() * np.array([-1, -1, 1, 1])
    return replace(clip, tracks=Tracks(boxes, clip.tracks.keypoints, clip.tracks.format_name))


def _in_one_unit(
    clip: UpstreamClip, before: UpstreamClip, file: CameraFile, bodies: Bodies, fps: float | None, warnings: list[str], told: list[str]
) -> UpstreamClip:
    """The clip with the unit of its cameras' path found. Raises `UserError` if nothing tells it."""
    own, cameras = before.cameras, clip.cameras
    posed = arranged(clip.camera_bodies, tuple(clip.camera_bodies), cameras.frame_ids, bodies)
    of = correspondences(clip.tracks.format_name, len(bodies.parents)) if clip.tracks.format_name else ()
    joints = placed_by(posed.joints(bodies), keypoints_of(clip, of, 0.0, 0), of, cameras.intrinsics)
    spread = float(np.ptp(camera_centres(cameras.w2c), axis=0).max())
    if file.unit == "none":
        told.append(f"{file.source}: the steps of the camera's path have no common unit of length; its turns alone are taken")
        return _turns_alone(clip, before)
    found = _by_depth(clip, joints, posed.seen, bodies)
    if found is not None:
        told.append(f"{file.source}: the unit of path and depth is {found.alpha:.4g} m by {found.by}")
        return replace(clip, alpha=None)
    if spread == 0 or (file.unit != "free" and spread < _STILL_M):
        told.append(f"{file.source}: the camera moves by less than {_STILL_M} m, so it tells no scale")
        return _turns_alone(clip, before)
    if before.alpha is not None and float(np.ptp(camera_centres(own.w2c), axis=0).max()) * before.alpha > _STILL_M:
        found = by_own_path(own.w2c, cameras.w2c)
        found = None if found is None else Found(found.alpha * before.alpha, found.by)
    if found is None:
        found = by_feet(joints[:, :, _FEET], posed.seen, cameras.w2c, fps or own.fps or USUAL_FPS)
    if found is None and file.unit != "free":
        found = Found(1.0, f"what {file.tool} says; nothing else tells it")
    if found is None:
        raise UserError(
            f"input.cameras={file.source}: nothing tells how many metres the unit of {file.tool}'s path has: there is no depth on the "
            "people, the clip's own cameras stand still or move otherwise, and no foot stands long enough; give a file with depth maps"
        )
    if found.alpha * spread < _STILL_M:
        told.append(f"{file.source}: by {found.by}, the camera's path is shorter than {_STILL_M} m; its turns alone are taken")
        return _turns_alone(clip, before)
    told.append(f"{file.source}: the unit of the camera's path is {found.alpha:.4g} m by {found.by}; the scale starts there")
    return replace(clip, alpha=found.alpha, depth=NoPictures() if isinstance(file.depth, NoPictures) else clip.depth)


def _by_depth(clip: UpstreamClip, joints: np.ndarray, seen: np.ndarray, bodies: Bodies) -> Found | None:
    """The unit by the depth on the people on some frames."""
    if isinstance(clip.depth, NoPictures):
        return None
    frames = [t for t, frame in enumerate(clip.cameras.frame_ids.tolist()) if seen[:, t].any() and clip.depth.read(frame) is not None]
    some = np.array(frames)[np.unique(np.linspace(0, len(frames) - 1, _LOOKS).round().astype(int))] if frames else np.zeros(0, int)
    cut = {name: getattr(clip.cameras, name)[some] for name in ("w2c", "intrinsics", "confidence", "frame_ids")}
    looked = replace(clip, cameras=replace(clip.cameras, **cut))
    pixels = project(joints[:, some], clip.cameras.intrinsics[some])
    samples = sample_depth(looked, tuple(clip.camera_bodies), pixels, seen[:, some])
    scale = from_bodies(joints[:, some][..., 2], samples.depth, samples.confidence, bodies.thickness.numpy())
    if not np.isfinite(scale.alpha) or not scale.alpha > 0:
        return None
    return Found(scale.alpha, f"the depth maps on the people, on {counted(len(some), 'frame')}")


def _turns_alone(clip: UpstreamClip, before: UpstreamClip) -> UpstreamClip:
    """The clip with the turns of its cameras, and the places that its own tool has, in metres."""
    own, w2c = before.cameras, clip.cameras.w2c.copy()
    places = camera_centres(own.w2c) * (before.alpha or 1.0)
    there = (places - places[0]) @ between_worlds(own.w2c, w2c)
    w2c[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], there)
    return replace(clip, cameras=replace(clip.cameras, w2c=w2c), alpha=1.0, depth=NoPictures())
