"""A recipe's people, placed on one floor and filmed: what is true of a scene."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.anthropometry import thickness
from pose_priors.body.builtin import STATURE
from pose_priors.body.layout import layout
from pose_priors.body.pinhole import plane_in_camera
from pose_priors.datamodules.synthetic.scenes.degradation import TrueScene, posed, slow_noise
from pose_priors.datamodules.synthetic.scenes.stress.performances import NUM_JOINTS, performed, rest_of
from pose_priors.datamodules.synthetic.scenes.stress.recipes import Actor, Filming, Recipe, Span

_IMAGE_SIZE, _GRID, _FOCAL = (1280, 720), (90, 160), 1.05  # the focal length as a fraction of the width
_STATURE_SPREAD, _DEPTH_SPREAD_M, _ROW_M, _LONG_ROW = 0.06, 0.3, 1.2, 4
_ROOT_OFFSET = np.array([0.0, -0.22, 0.03])  # about SMPL's J0, for a person of the built-in stature
_LOOKS_AT_M, _HEIGHT_M, _ARC_RAD, _WALK_M, _PAN_M, _WALL_M = 0.95, 1.35, 0.5, 2.2, 1.0, 4.0
_SHAKE_M, _SHAKE_RAD, _SHAKE_S = 0.015, 0.01, 0.1
_UP = np.array([0.0, 1.0, 0.0])


def filmed(recipe: Recipe, seed: int) -> TrueScene:
    """What is true: people, floor, camera; the seed draws statures, places, motions and the camera's shake, alike for all families."""
    rng = np.random.default_rng([seed, 0])
    people = [_placed(recipe, p, actor, rng) for p, actor in enumerate(recipe.people)]
    pose, pelvis, rest = (np.stack(part) for part in zip(*people, strict=True))
    middle = posed(pose, pelvis, rest, layout(NUM_JOINTS).parents).mean((0, 1, 2)) * (1, 0, 1)
    w2c = _camera(recipe.filming, middle, recipe.num_frames, recipe.fps, np.random.default_rng([seed, 1]))
    planes = np.array([*_UP, 0.0]), np.array([0.0, 0.0, 1.0, _WALL_M - middle[2]])
    # into the axes of the first camera
    turn, shift = w2c[0, :3, :3], w2c[0, :3, 3]
    pose[:, :, 0] = (Rotation.from_matrix(turn) * Rotation.from_rotvec(pose[:, :, 0].reshape(-1, 3))).as_rotvec().reshape(pelvis.shape)
    width, height = _IMAGE_SIZE
    focal = _FOCAL * width
    size = rest[:, 15, 1] / rest_of(STATURE)[15, 1]
    return TrueScene(
        pose=pose,
        pelvis=pelvis @ turn.T + shift,
        rest=rest,
        root_offset=_ROOT_OFFSET * size[:, None],
        radii=np.stack([thickness(joints) for joints in rest]),
        parents=layout(NUM_JOINTS).parents,
        seen=np.stack([~within(actor.hidden, recipe.num_frames, recipe.fps) for actor in recipe.people]),
        w2c=w2c @ np.linalg.inv(w2c[0]),
        intrinsics=np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]),
        image_size=_IMAGE_SIZE,
        grid=_GRID,
        planes=tuple(plane_in_camera(plane, w2c[0]) for plane in planes),
        alpha=recipe.alpha,
        fps=recipe.fps,
    )


def within(spans: tuple[Span, ...], num_frames: int, fps: float) -> np.ndarray:
    """(T,) bool, frames within any of the spans."""
    at = np.arange(num_frames) / fps
    return np.any([(at >= begin) & (at < end) for begin, end in spans], axis=0) if spans else np.zeros(num_frames, bool)


def _placed(recipe: Recipe, p: int, actor: Actor, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose (T, 24, 3), pelvis (T, 3), z to the camera, and rest joints (24, 3) of one person."""
    drawn = 1 + rng.uniform(-_STATURE_SPREAD, _STATURE_SPREAD)
    stature = STATURE * (drawn if actor.stature is None else actor.stature)
    heading, aside = Rotation.from_rotvec(rng.uniform(-math.pi, math.pi) * _UP), rng.uniform(-_DEPTH_SPREAD_M, _DEPTH_SPREAD_M)
    pose, pelvis = performed(actor, recipe.num_frames, recipe.fps, stature, np.random.default_rng(int(rng.integers(2**31))))
    pose[:, 0] = (heading * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    way = heading.apply(pelvis)
    way[:, [0, 2]] -= way[:, [0, 2]].mean(0)
    along = way - way[0]
    went = along[-1] / max(float(np.linalg.norm(along[-1])), 1e-6)
    way[:, 1] += actor.on_m + actor.slope * (along @ (went * (1, 0, 1)))
    count = len(recipe.people)
    row = _ROW_M * (p % 2) if count > _LONG_ROW else 0.0
    place = np.array([(p - (count - 1) / 2) * recipe.filming.spacing_m, 0, aside - row])
    return pose, way + place, rest_of(stature)


def _camera(filming: Filming, middle: np.ndarray, num_frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """(T, 4, 4) world to camera, OpenCV axes."""
    part = np.linspace(0, 1, num_frames)
    none = np.zeros(num_frames)
    away = filming.distance_m
    if filming.path == "arc":
        angle = _ARC_RAD * (part - 0.5)
        eye = np.stack([away * np.sin(angle), none + _HEIGHT_M, away * np.cos(angle)], 1)
    elif filming.path == "walk":
        eye = np.stack([_WALK_M * (part - 0.5), none + _HEIGHT_M, none + away], 1)
    else:
        eye = np.stack([none, none + _HEIGHT_M, none + away], 1)
    at = np.stack([none, none + _LOOKS_AT_M + filming.looks_above_m, none], 1)
    if filming.path == "pan":
        at[:, 0] += _PAN_M * np.sin(2 * np.pi * part)
    held = filming.path in ("arc", "walk")
    shake = [slow_noise(rng, (num_frames, 3), _SHAKE_S * fps, axis=0) for _ in range(2)]
    eye = eye + held * _SHAKE_M * shake[0] + middle
    forward = at + middle - eye
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, _UP)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    w2c = np.tile(np.eye(4), (num_frames, 1, 1))
    level = np.stack([right, np.cross(forward, right), forward], 1)
    w2c[:, :3, :3] = Rotation.from_rotvec(held * _SHAKE_RAD * shake[1]).as_matrix() @ level
    w2c[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], eye)
    return w2c
