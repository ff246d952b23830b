"""What a detector of keypoints would find, wrong in the ways that a recipe says."""

from __future__ import annotations

import math

import numpy as np

from pose_priors.body.pinhole import project, to_camera
from pose_priors.body.skeleton import MIRROR
from pose_priors.datamodules.synthetic.scenes.degradation import TrueScene
from pose_priors.datamodules.synthetic.scenes.stress.filming import within
from pose_priors.datamodules.synthetic.scenes.stress.performances import NUM_JOINTS
from pose_priors.datamodules.synthetic.scenes.stress.recipes import Recipe

_LEGS = (1, 2, 4, 5, 7, 8, 10, 11)
LEG_PAIRS = [MIRROR[joint] if joint in _LEGS else joint for joint in range(NUM_JOINTS)]
"""SMPL's joints with left and right legs exchanged."""

_CONFIDENCE = 0.9
_CORRELATION = 0.95, 0.9  # from one thirtieth of a second to the next, of slow and of heavy errors
_WHITE_PX, _HEAVY_FREEDOM, _HEAVY = 1.0, 1.8, 0.7
_JUMP_PX, _JUMP_S, _CHANCE_S = 70.0, (0.17, 0.53), 1 / 3
_USUAL_FPS = 30.0


def keypoints_seen(recipe: Recipe, scene: TrueScene, rng: np.random.Generator) -> np.ndarray:
    """(P, T, 24, 3) pixels and confidence, 0 outside the image, or everywhere where there are no keypoints."""
    pixels = project(to_camera(scene.joints(), scene.w2c), scene.intrinsics)
    off = np.stack([_errors(recipe, rng) for _ in recipe.people])
    seen = pixels + off
    for p, actor in enumerate(recipe.people):
        at = within(actor.legs_swapped, recipe.num_frames, recipe.fps)
        seen[p, at] = seen[p, at][:, LEG_PAIRS]
    inside = ((pixels > 0) & (pixels < scene.image_size)).all(-1) & (recipe.faults.keypoints != "none")
    return np.concatenate([seen, np.where(inside, _CONFIDENCE, 0)[..., None]], -1)


def projected_bodies(joints: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(P, T, 24, 3): what some tools call their keypoints, stage 3's own joints (P, T, 24, 3) in the image."""
    pixels = project(joints, intrinsics)
    return np.concatenate([pixels, np.full((*pixels.shape[:-1], 1), _CONFIDENCE)], -1)


def _errors(recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """(T, 24, 2) pixels, of one person."""
    faults, shape = recipe.faults, (recipe.num_frames, NUM_JOINTS, 2)
    if faults.keypoints == "correlated":
        off = faults.keypoint_px * _chained(rng, shape, _CORRELATION[0] ** (_USUAL_FPS / recipe.fps)) + _WHITE_PX * rng.normal(size=shape)
    elif faults.keypoints == "heavy":
        tails = _HEAVY * rng.standard_t(_HEAVY_FREEDOM, shape)
        off = faults.keypoint_px * (tails + _chained(rng, shape, _CORRELATION[1] ** (_USUAL_FPS / recipe.fps)))
    else:
        off = faults.keypoint_px * rng.normal(size=shape)
    seen: np.ndarray = off + _jumps(recipe, rng)
    return seen


def _jumps(recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """(T, 24, 2): joints that jump onto another place and stay there for a while."""
    off = np.zeros((recipe.num_frames, NUM_JOINTS, 2))
    if not recipe.faults.keypoint_jumps:
        return off
    chance_frames = max(1, round(_CHANCE_S * recipe.fps))
    for joint in range(NUM_JOINTS):
        t = 0
        while t < recipe.num_frames:
            if rng.random() < recipe.faults.keypoint_jumps:
                stays = round(rng.uniform(*_JUMP_S) * recipe.fps)
                off[t : t + stays, joint] += rng.normal(0, _JUMP_PX, 2)
                t += stays
            t += chance_frames
    return off


def _chained(rng: np.random.Generator, shape: tuple[int, ...], correlation: float) -> np.ndarray:
    """Noise of unit variance, correlated so from one frame to the next (an autoregressive process of first order)."""
    out = rng.normal(size=shape)
    for t in range(1, len(out)):
        out[t] = correlation * out[t - 1] + math.sqrt(1 - correlation**2) * out[t]
    return out
