"""What the upstream stages would find of a filmed recipe, wrong in the ways that the recipe says."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import project, to_camera
from pose_priors.datamodules.stage_folders import PosedBodies, Stages, boxes_around
from pose_priors.datamodules.synthetic.scenes.degradation import TrueScene, carried, pose_error, posed, rendered, slow_noise, turned
from pose_priors.datamodules.synthetic.scenes.stress.filming import within
from pose_priors.datamodules.synthetic.scenes.stress.keypoints import LEG_PAIRS, keypoints_seen, projected_bodies
from pose_priors.datamodules.synthetic.scenes.stress.recipes import Recipe

_RANGE_WHITE, _RANGE_BIAS, _RANGE_S = 0.002, 0.01, 0.27
_ASIDE_M, _SIZE = 0.003, 0.004
_CAMERA_RAD, _CAMERA_UNITS, _CAMERA_S = 0.0015, 0.004, 0.13
_DEPTH_NOISE, _DEPTH_WRONG, _FARTHEST_WRONG = 0.01, 0.01, (0.5, 1.5)
_BOX_MARGIN_PX = 25.0


def found(recipe: Recipe, scene: TrueScene, seed: int) -> Stages:
    """The stages' view of a scene. Each stage draws from a seed of its own, so that families differ by their faults alone."""
    rngs = [np.random.default_rng([seed, stage]) for stage in (2, 3, 4, 5)]
    w2c, unit = _cameras(recipe, scene, rngs[0])
    camera, body_pose = _bodies(recipe, scene, rngs[1])
    intrinsics = scene.intrinsics @ np.diag([recipe.faults.focal, recipe.faults.focal, 1.0])
    depth, who = _depth(recipe, scene, unit, rngs[2])
    if recipe.faults.keypoints == "projected":
        keypoints = projected_bodies(camera.joints, intrinsics)
    else:
        keypoints = keypoints_seen(recipe, scene, rngs[3])
    boxes = boxes_around(project(to_camera(scene.joints(), scene.w2c), scene.intrinsics), _BOX_MARGIN_PX)
    if recipe.faults.ids_swapped_s is not None:
        since = np.arange(recipe.num_frames) >= recipe.faults.ids_swapped_s * recipe.fps
        camera = PosedBodies(*(_exchanged(value, since) for value in (camera.global_orient, camera.transl, camera.joints)))
        body_pose, keypoints, boxes = (_exchanged(value, since) for value in (body_pose, keypoints, boxes))
        other = np.where(who == 0, 1, np.where(who == 1, 0, who))
        who = np.where(since[:, None, None], other, who)
    return Stages(
        w2c=w2c,
        intrinsics=intrinsics,
        image_size=scene.image_size,
        fps=scene.fps,
        depth=depth,
        who=who,
        keypoints=keypoints,
        boxes=boxes,
        seen=scene.seen,
        body_pose=body_pose,
        camera=camera,
        world=carried(camera, w2c),
    )


def followed(recipe: Recipe, scene: TrueScene) -> dict[str, np.ndarray]:
    """What is true of each id of the tracker: `TrueScene.truth`, with its joints exchanged from where the tracker exchanges people."""
    truth = scene.truth()
    if recipe.faults.ids_swapped_s is not None:
        since = np.arange(recipe.num_frames) >= recipe.faults.ids_swapped_s * recipe.fps
        for name in ("joints", "pelvis", "global_orient", "body_pose"):
            truth[name] = _exchanged(truth[name], since)
    return truth


def _exchanged(values: np.ndarray, since: np.ndarray) -> np.ndarray:
    """Values (P, T, ...) of which the first two people's rows are exchanged on some frames."""
    out = values.copy()
    out[0, since], out[1, since] = values[1, since], values[0, since]
    return out


def _cameras(recipe: Recipe, scene: TrueScene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(T, 4, 4) in stage 1's unit, the first the world, and (T,) how large that unit has become."""
    faults, num_frames = recipe.faults, recipe.num_frames
    part = np.linspace(0, 1, num_frames)
    unit = 1 + faults.scale_drift * part
    centres = np.linalg.inv(scene.w2c)[:, :3, 3]
    centres = np.concatenate([centres[:1], centres[:1] + np.cumsum(np.diff(centres, axis=0) * unit[1:, None], 0)])
    turn = Rotation.from_matrix(scene.w2c[:, :3, :3])
    turn = Rotation.from_rotvec(_CAMERA_RAD * slow_noise(rng, (num_frames, 3), _CAMERA_S * recipe.fps, axis=0)) * turn
    step = faults.camera_wander / math.sqrt(num_frames)
    wander = np.cumsum(step * rng.normal(size=(2, num_frames, 3)), 1)
    turn = Rotation.from_rotvec(wander[0]) * turn * Rotation.from_rotvec(np.outer(part * faults.camera_bend_rad, [1.0, 0, 0]))
    w2c = np.tile(np.eye(4), (num_frames, 1, 1))
    w2c[:, :3, :3] = turn.as_matrix()
    w2c[:, :3, 3] = -turn.apply(centres + wander[1]) / scene.alpha
    w2c[:, :3, 3] += _CAMERA_UNITS * slow_noise(rng, (num_frames, 3), _CAMERA_S * recipe.fps, axis=0)
    return w2c @ np.linalg.inv(w2c[0]), unit


def _depth(recipe: Recipe, scene: TrueScene, unit: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray | None, np.ndarray]:
    """Depth maps (T, h, w) in stage 1's unit, and who is where (T, h, w)."""
    depth, who = rendered(scene)
    if not recipe.faults.has_depth:
        return None, who
    depth = depth / scene.alpha * unit[:, None, None] * (1 + _DEPTH_NOISE * rng.normal(size=depth.shape))
    for p, actor in enumerate(recipe.people):
        depth[who == p] *= actor.depth
    depth *= np.where(rng.random(depth.shape) < _DEPTH_WRONG, rng.uniform(*_FARTHEST_WRONG, depth.shape), 1)
    return np.where(np.isfinite(depth), depth, 0), who


def _bodies(recipe: Recipe, scene: TrueScene, rng: np.random.Generator) -> tuple[PosedBodies, np.ndarray]:
    """Stage 3's bodies, and their poses (P, T, 23, 3)."""
    faults, fps = recipe.faults, recipe.fps
    pose = _after(scene.pose, faults.pose * pose_error(rng, scene.pose.shape, faults.pose_slow_s * fps))
    for joint, off in faults.joint_bias.items():
        pose[:, :, joint] = _after(pose[:, :, joint], np.broadcast_to(off, pose[:, :, joint].shape))
    pose[:, :, 0] = _after(pose[:, :, 0], np.broadcast_to((faults.lean_rad, 0, 0), pose[:, :, 0].shape))
    if faults.swapped_bodies:
        for p, actor in enumerate(recipe.people):
            at = within(actor.legs_swapped, recipe.num_frames, fps)
            pose[p, at] = pose[p, at][:, LEG_PAIRS]
    pose[:, :, 0] = turned(scene.w2c[:, :3, :3], pose[:, :, 0])

    per_frame, size = _sizes(recipe, rng)
    distance: np.ndarray = faults.range_slow * slow_noise(rng, per_frame, _RANGE_S * fps) + _RANGE_BIAS * rng.normal(size=(per_frame[0], 1))
    as_large = np.array([actor.stage3_size for actor in recipe.people])[:, None]
    distance = (1 + distance + _RANGE_WHITE * rng.normal(size=per_frame)) * as_large
    pelvis: np.ndarray = to_camera(scene.pelvis[:, :, None], scene.w2c)[:, :, 0] * distance[..., None] * (1, 1, faults.focal)
    pelvis[..., :2] += _ASIDE_M * rng.normal(size=(*per_frame, 2))
    found = posed(pose, pelvis, scene.rest * size[:, None, None], scene.parents)
    return PosedBodies(pose[:, :, 0], pelvis - (scene.root_offset * size[:, None])[:, None], found), pose[:, :, 1:]


def _sizes(recipe: Recipe, rng: np.random.Generator) -> tuple[tuple[int, int], np.ndarray]:
    """(P, T), and (P,) stage 3's sizes as shares of the true ones."""
    count = len(recipe.people)
    return (count, recipe.num_frames), (1 + _SIZE * rng.normal(size=count)) * [actor.stage3_size for actor in recipe.people]


def _after(rotvec: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Rotations (..., 3) with others in their own axes after them."""
    both = Rotation.from_rotvec(rotvec.reshape(-1, 3)) * Rotation.from_rotvec(np.array(more).reshape(-1, 3))
    out: np.ndarray = both.as_rotvec().reshape(rotvec.shape)
    return out
