"""From the folders of the upstream stages to the `Problem` that the refinement solves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pose_priors.body.layout import layout
from pose_priors.body.pinhole import to_world
from pose_priors.body.smplx_files import load_joint_model
from pose_priors.configs.base import UserError
from pose_priors.configs.threads.blas import in_one_thread
from pose_priors.datamodules.plausibility import MAX_FPS, MIN_FPS
from pose_priors.refinement.formats import read_upstream
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import USUAL_FPS
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.jumps import without_jumps
from pose_priors.refinement.formats.keypoints import correspondences, placement_error
from pose_priors.refinement.formats.tools.multi_tram import read_clip
from pose_priors.refinement.given.beside.exchange import with_cameras
from pose_priors.refinement.given.beside.witnesses import contact_log_odds, with_gravity
from pose_priors.refinement.given.checks import check_cameras, check_grid, check_masks
from pose_priors.refinement.given.floor import floor_candidates, ground_plane, skin_depths, soles, thinned
from pose_priors.refinement.given.observed import keypoints_of, pixels_of, placed_by
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.people import exchanged
from pose_priors.refinement.given.planes import ransac_plane, scene_planes
from pose_priors.refinement.given.problem import Bodies, Cameras, Observations, Problem
from pose_priors.refinement.given.sampling import DepthSamples, sample_depth
from pose_priors.refinement.given.scale import combined, depth_biases, from_bodies, from_floor, stands_at, width_of_scale
from pose_priors.refinement.given.sides import on_their_sides
from pose_priors.refinement.given.sizes.sizing import sized
from pose_priors.refinement.given.sizes.statures import resized, size_errors, witnesses
from pose_priors.refinement.given.skeletons import assemble, recover
from pose_priors.refinement.given.start import PosedPeople, carried_into_cameras, checked_start, scaled, world_start
from pose_priors.refinement.given.still.mended import against_still_scene
from pose_priors.refinement.given.units import in_metres
from pose_priors.refinement.given.untracked.following import find_untracked
from pose_priors.refinement.given.upright import Upright, find_up, standing

_ROUNDS = 3
_FLOOR_BAND, _FLOOR_INLIER = 0.25, 0.06  # metres from the feet, and from the plane
# Radians that floors are off level, about each axis, as well as tools and sensors know what is level.
_FLOOR_TILT = 0.04
_DISAGREEMENT = 0.1


@in_one_thread
def load_problem(
    stage1_dir: Path, stage2_dir: Path, stage3_dir: Path, stage4_dir: Path | None, options: LoadOptions | None = None
) -> Problem:
    """Reads a clip, checks its stages against each other, and finds where the refinement starts. All tensors are float64 on the CPU.

    Args:
        stage1_dir: cameras and depth maps; stage2_dir: tracks and masks; stage3_dir: bodies in the camera's axes; stage4_dir: bodies in the
            world, rebuilt where they do not fit the others, or None.
        options: what can be said of the clip beside its files.
    Raises:
        UserError: if something is missing or wrong that nothing can replace; lesser faults are mended and told in `Problem.warnings`.
    """
    options, warnings = options or LoadOptions(), list[str]()
    folders = (Path(stage1_dir), Path(stage2_dir), Path(stage3_dir))
    clip = read_clip(*folders, None if stage4_dir is None else Path(stage4_dir), options.max_frames, warnings)
    with closing(clip.masks):
        return _problem(clip, options, warnings)


@in_one_thread
def load_sequence(path: Path, options: LoadOptions | None = None, format: str | None = None) -> Problem:
    """Reads a clip in any of the formats of `refinement.formats.UPSTREAM`, told apart by content, and finds where the refinement starts.

    Args:
        path: a tool's file, or the folder that it wrote into.
        options: what can be said of the clip beside its files.
        format: the tool, see `refinement.formats.named`; by default it is told by the content.
    Raises:
        UserError: if no tool is known to write such a file, or something is missing or wrong that nothing can replace; lesser faults are
            mended and told in `Problem.warnings`.
    """
    options, warnings = options or LoadOptions(), list[str]()
    clip = read_upstream(Path(path), warnings, format).first(options.max_frames)
    with closing(clip.masks):
        return _problem(clip, options, warnings)


def _problem(clip: UpstreamClip, options: LoadOptions, warnings: list[str]) -> Problem:
    """What `load_problem` and `load_sequence` share, once the files are read."""
    # whoever reads a clip for something else than a problem asks for no mask, and closes none
    clip.masks.decode(clip.camera_bodies, clip.cameras.frame_ids.tolist())
    told, cut = list[str](), options.max_frames is not None
    clip = in_metres(clip, warnings)
    if options.cameras is not None:
        if not clip.camera_bodies:
            clip = carried_into_cameras(clip, _bodies(clip.world_bodies, options.body_model, []))
        skeletons = _bodies(clip.camera_bodies, options.body_model, [])
        clip = with_cameras(clip, skeletons, options.cameras, options.fps, warnings, told, cut=cut)
    clip = check_grid(check_masks(clip, warnings), warnings)
    clip, proven = check_cameras(clip, warnings)
    broken = list[str]()
    if clip.camera_bodies:
        clip = against_still_scene(clip, broken)
    clip = with_gravity(clip, options.gravity, warnings, told, cut=cut)
    if not clip.camera_bodies:
        # whoever has no camera bodies is a body of the world, and turns about the pelvis, which its skeleton tells
        clip = carried_into_cameras(clip, _bodies(clip.world_bodies, options.body_model, []))
    clip = without_jumps(clip, options.fps, warnings)
    everybody = clip.camera_bodies.keys()
    clip = options.who.of(clip)
    cameras, people = clip.cameras, tuple(clip.camera_bodies)
    bodies = _bodies(clip.camera_bodies, options.body_model, warnings)
    of = correspondences(clip.tracks.format_name, len(bodies.parents)) if clip.tracks.format_name else ()
    keypoints = keypoints_of(clip, of, options.keypoint_dropout, options.seed)
    if clip.alpha is not None and options.body_model is None:
        bodies = sized(clip, bodies, keypoints, of, warnings)
    start, tells_scale = checked_start(clip, bodies, keypoints, of, proven, warnings)
    keypoints[..., 2] *= start.seen[..., None]
    start, keypoints = on_their_sides(start, keypoints, bodies, of, cameras, options.fps or cameras.fps or USUAL_FPS, broken)

    placed = placed_by(start.joints(bodies), keypoints, of, cameras.intrinsics)
    pixels = pixels_of(placed, keypoints, of, cameras.intrinsics)
    depth = sample_depth(clip, people, pixels, start.seen, bystanders=everybody - set(people))
    depth = DepthSamples(depth.depth, depth.confidence, np.concatenate([depth.scene, clip.cloud]))
    if clip.alpha is None:
        bodies, start, factor = _sized_by_others(clip, bodies, placed, start, tells_scale, depth, options, broken)
        placed = placed * factor[:, None, None, None]
    found = _scale_and_floor(clip, bodies, placed, start.seen & tells_scale[:, None], depth, options, warnings)
    estimate, alive = world_start(start, cameras.w2c, found.alpha, found.plane)
    fps = options.fps or cameras.fps or USUAL_FPS
    if not MIN_FPS <= fps <= MAX_FPS:
        raise UserError(f"{cameras.source}: {fps:g} frames a second; {MIN_FPS:g} to {MAX_FPS:g} are expected there or in input.fps")
    if options.fps is None and cameras.fps is None:
        warnings.append(f"{cameras.source}: no file says how many frames a second; {USUAL_FPS:g} are assumed, else give input.fps")
    # a frame whose camera is trusted less says less; a clip of equal trust is taken as it is
    trust = cameras.confidence / max(cameras.confidence.max(), np.finfo(float).tiny)
    consistent = np.where(found.consistent, depth.confidence * trust[:, None], 0)
    tied = bool(consistent.any()) or len(found.floor_points) > 0
    width = width_of_scale(metric=clip.alpha is not None, keypoints=bool(keypoints[..., 2].any()), tied=tied)
    if width == 0:
        stays = f"{cameras.source}: no keypoints say how large people are in the image, so the scale stays where it starts"
        if clip.alpha is None and not tied:
            broken.append(f"{stays}: at stage 1's unit, taken for {found.alpha:.3g} m, which nothing tells")
        else:
            warnings.append(stays)
    broken += exchanged(people, cameras.frame_ids, estimate.pelvis.numpy(), start.seen, fps)
    joints = estimate.joints(bodies)
    lost = find_untracked(clip, people, everybody, alive & ~start.seen, found.alpha, found.plane)
    contacts = contact_log_odds(options.contacts, people, cameras.frame_ids, joints, alive, fps, warnings, told, cut=cut)
    return Problem(
        person_ids=people,
        frame_ids=tuple(cameras.frame_ids.tolist()),
        fps=fps,
        alive=torch.from_numpy(alive),
        visible=torch.from_numpy(start.seen),
        cameras=Cameras(
            w2c=torch.from_numpy(cameras.w2c),
            intrinsics=torch.from_numpy(cameras.intrinsics),
            image_size=cameras.image_size,
            confidence=torch.from_numpy(cameras.confidence),
        ),
        bodies=bodies,
        observations=Observations(
            keypoints=torch.from_numpy(keypoints[..., :2].copy()),
            keypoint_confidence=torch.from_numpy(keypoints[..., 2] * trust[:, None]),
            keypoint_joints=tuple(pair.joints for pair in of),
            keypoint_error=placement_error(clip.tracks.format_name),
            joint_depth=torch.from_numpy(depth.depth),
            joint_depth_confidence=torch.from_numpy(consistent),
            depth_bias=torch.from_numpy(found.depth_bias),
            floor_points=torch.from_numpy(thinned(found.floor_points).copy()),
            contact_log_odds=contacts,
            surface=torch.from_numpy(lost.there),
            surface_points=torch.from_numpy(lost.points),
        ),
        start=estimate,
        warnings=(*warnings, *broken),
        broken=tuple(broken),
        told=tuple(told),
        scale_width=width,
        floor_known=found.floor_known,
        floor_tilt=found.floor_tilt,
    )


def _bodies(people: Mapping[int, BodyTrack], body_model: Path | None, warnings: list[str]) -> Bodies:
    tracks = people.values()
    of = layout(max((track.pose.shape[1] for track in tracks), key=(22, 24, 55).index))
    model = None
    if body_model is not None:
        kinds = ("smpl", "smplx", "smplh") if of.num_joints == 24 else ("smplx", "smplh", "smpl")
        model = load_joint_model(Path(body_model), max(len(track.betas) for track in tracks), kinds)
    return assemble([recover(track, of, model, warnings) for track in tracks], [track.betas for track in tracks], of)


def _sized_by_others(
    clip: UpstreamClip,
    bodies: Bodies,
    placed: np.ndarray,
    start: PosedPeople,
    tells_scale: np.ndarray,
    depth: DepthSamples,
    options: LoadOptions,
    broken: list[str],
) -> tuple[Bodies, PosedPeople, np.ndarray]:
    """Bodies and people whose sizes in stage 3 depth, floor and the others contradict, at those that they say, and the change (P,)."""
    seen = start.seen & tells_scale[:, None]
    given = from_bodies(placed[..., 2], depth.depth, depth.confidence * seen[..., None], bodies.thickness.numpy())
    if not np.isfinite(given.alpha):
        return bodies, start, np.ones(len(placed))
    world = to_world(placed, scaled(clip.cameras.w2c, given.alpha))
    planes = scene_planes(depth.scene * given.alpha, _FLOOR_INLIER, options.seed)
    planes = [(plane / [1, 1, 1, given.alpha], share) for plane, share in planes]
    of_each = witnesses(bodies, placed, world, seen, depth.depth, given.consistent, clip.cameras.w2c, planes)
    names = [f"{body.source}: person {person}" for person, body in clip.camera_bodies.items()]
    return resized(bodies, start, size_errors(of_each), names, broken)


@dataclass(frozen=True)
class _ScaleAndFloor:
    """alpha; the floor (4,), metric; samples (P, T, J) bool that belong to their joint; floor points (M, 3) in stage 1's unit; whether the
    floor is one to hold people to; by how much the depth maps show each person (P,) too far away, in the logarithm; see
    `Problem.floor_tilt`."""

    alpha: float
    plane: np.ndarray
    consistent: np.ndarray
    floor_points: np.ndarray
    floor_known: bool
    depth_bias: np.ndarray
    floor_tilt: float


def _scale_and_floor(
    clip: UpstreamClip,
    bodies: Bodies,
    placed: np.ndarray,
    seen: np.ndarray,
    depth: DepthSamples,
    options: LoadOptions,
    warnings: list[str],
) -> _ScaleAndFloor:
    """The metric scale and the floor, which need each other: the floor's points are found about feet that stand at the scale.

    People and frames that are not in `seen` (P, T) have no say in either, and no sample of theirs is consistent.
    """
    w2c, heights = clip.cameras.w2c, bodies.height.numpy()
    by_bodies = from_bodies(placed[..., 2], depth.depth, depth.confidence * seen[..., None], bodies.thickness.numpy())
    alpha, by_floor = by_bodies.alpha, (np.nan, np.inf)
    source = clip.cameras.source
    if clip.alpha is not None:
        alpha = clip.alpha
    elif not np.isfinite(alpha):
        warnings.append(f"{source}: no depth inside any person's mask; stage 1 is taken to be metric")
        alpha = 1.0
    skin = skin_depths(heights, bodies.thickness.numpy())
    planes = [(plane / [1, 1, 1, alpha], share) for plane, share in scene_planes(depth.scene * alpha, _FLOOR_INLIER, options.seed)]
    for _ in range(_ROUNDS):
        world = to_world(placed, scaled(w2c, alpha))
        upright = find_up(world, skin, seen, scaled(w2c, alpha), [(plane * [1, 1, 1, alpha], share) for plane, share in planes], clip.up)
        up = upright.up
        feet = soles(world, skin, up, upright.on_floor)
        points = floor_candidates(depth.scene * alpha, feet, up, _FLOOR_BAND)
        plane = ransac_plane(points, up, _FLOOR_INLIER, options.seed)
        if clip.alpha is None and plane is not None and np.isfinite(by_bodies.alpha):
            on_feet = upright.on_floor & standing(world, up)
            by_floor = from_floor(placed, on_feet, heights, w2c, plane / [1, 1, 1, alpha])
            alpha = combined([(by_bodies.alpha, by_bodies.error), by_floor])
    if np.isfinite(by_floor[0]) and abs(np.log(by_floor[0] / by_bodies.alpha)) > _DISAGREEMENT:
        warnings.append(
            f"{source}: the bodies say that stage 1's unit is {by_bodies.alpha:.3f} m, the floor says {by_floor[0]:.3f} m; "
            "the scale is uncertain"
        )
    floor = ground_plane(options.ground_plane_init, feet, points, up, _FLOOR_INLIER, options.seed)
    if plane is not None:  # what lies a step above or below it is no part of it
        points = points[np.abs(points @ floor[:3] + floor[3]) < 2 * _FLOOR_INLIER]
    warnings += [f"{options.gravity or source}: floor: {doubt}; nothing is held to the floor" for doubt in upright.doubts]
    warnings += _elsewhere(world, skin, seen, floor, tuple(clip.camera_bodies), upright)
    alone = stands_at(placed, upright.on_floor & standing(world, up), heights, w2c, floor / [1, 1, 1, alpha])
    consistent = by_bodies.consistent
    biases = depth_biases(placed[..., 2], depth.depth, consistent, bodies.thickness.numpy(), alone if plane is not None else alone * np.nan)
    is_level = clip.up is not None and plane is None and options.ground_plane_init != "fixed"
    return _ScaleAndFloor(alpha, floor, consistent, points / alpha, upright.known, biases, _FLOOR_TILT if is_level else np.inf)


def _elsewhere(
    joints: np.ndarray, skin: np.ndarray, seen: np.ndarray, floor: np.ndarray, people: tuple[int, ...], by: Upright
) -> list[str]:
    """A line for each person who is mostly not at the floor's height."""
    lowest = (joints @ floor[:3] + floor[3] - skin[:, None]).min(-1)
    return [
        f"floor: person {person} is {np.median(lowest[p][seen[p]]):+.2f} m from the floor that others touch, on a step or a stage"
        for p, person in enumerate(people)
        if seen[p].any() and by.on_floor[p].sum() < seen[p].sum() / 2
    ]
