"""What there is to show of a refinement in a recording, in numpy: nothing here knows how it is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose_priors.body.anny.model import AnnyBody
from pose_priors.body.layout import layout
from pose_priors.body.pinhole import project, to_camera
from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.body.smplx_files import load_surface
from pose_priors.configs.base import UserError
from pose_priors.priors import Prior
from pose_priors.priors.evaluation.attribution import nll_per_joint
from pose_priors.refinement.formats.files import read_json
from pose_priors.refinement.result.found import RefinedSequence
from pose_priors.refinement.result.metrics import Track
from pose_priors.refinement.result.people import read_person
from pose_priors.refinement.result.write import METRICS, RESULTS
from pose_priors.refinement.show.camera_path import CameraPath
from pose_priors.refinement.show.points import EVERY_POINT, PointFilter
from pose_priors.refinement.show.recording_pictures import find_images, greys, read_picture, shown_depths
from pose_priors.refinement.show.review_scene import ReviewScene, ShownPerson, load_scene
from pose_priors.refinement.show.skins import Wear, dressed, in_smplx_order

_NLL_RATE = 3.0  # poses a second that the prior judges; those between are like them
_NLL_DRAWS = 12


@dataclass(frozen=True)
class View:
    """What the camera saw on one frame.

    Attributes:
        frame: its number.
        picture: (h, w, 3) uint8: the image, or depth in greys where there are no images; None where there is neither.
        points: (N, 3) metres, world: the depth map, thinned.
        colours: (N, 3) uint8, of the image at the points; None where there is no image.
    """

    frame: int
    picture: np.ndarray | None
    points: np.ndarray
    colours: np.ndarray | None


@dataclass(frozen=True)
class RecordingData:
    """One refined sequence.

    Attributes:
        name: of the sequence.
        scene: its people before and after, floor and scale.
        poses: by person, (n, 55, 3) rotation vectors in SMPL-X order on each row of `after`.
        betas: by person, (B,).
        nll: by person, (n, J) nats of each joint given the others on each row of `after`, nan for joints that the prior does not know;
            empty without a prior.
        cameras: of the sequence.
        wear: the skin of all people; None where neither a body model nor Anny is given.
        images: the file of each frame, may be empty.
        losses: by sub-stage and term, the iterations (counted over all sub-stages) and the values.
        results: content of `refinement_results.json`.
    """

    name: str
    scene: ReviewScene
    poses: dict[int, np.ndarray]
    betas: dict[int, np.ndarray]
    nll: dict[int, np.ndarray]
    cameras: CameraPath
    wear: Wear | None
    images: dict[int, Path]
    losses: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]
    results: dict[str, Any]

    def views(self, num_points: int, wanted: PointFilter = EVERY_POINT) -> Iterator[View]:
        """What the camera saw, frame by frame; of each depth map at most `num_points` points, evenly spread, as far as they are wanted."""
        clip, shown = self.scene.clip, None
        for at, frame in enumerate(self.cameras.frames.tolist()):
            found = None if clip is None else clip.depth.read(frame)
            picture, points, colours = read_picture(self.images.get(frame)), np.zeros((0, 3)), None
            if found is not None:
                points = self.scene.depth_points(frame, max(1, math.ceil(math.sqrt(found[0].size / num_points))), wanted)
                if picture is not None:
                    colours = _colours_at(points, picture, self.cameras, at)
                elif not self.images:
                    shown = shown_depths(found[0]) if shown is None else shown
                    picture = greys(found[0], shown)
            if picture is not None or len(points):
                yield View(frame, picture, points, colours)

    def skin(self, person: ShownPerson, before: bool = False) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Vertices, metres, world, and their normals, (m, V, 3) both, of a person on the rows of `after`, or of `before`, some rows at a
        time; nothing where nothing is worn."""
        motion, pose = (person.before, person.pose_before) if before else (person.after, person.pose)
        if self.wear is not None and motion is not None and pose is not None:
            yield from dressed(self.wear, motion, pose, self.betas[person.person], self.scene.ground_plane)

    def cloud(self, num_points: int) -> np.ndarray:
        """(N, 3) metres, world: at most `num_points` of the points that stage 1 has of the whole scene; N may be 0."""
        if self.scene.clip is None:
            return np.zeros((0, 3))
        points = self.scene.clip.cloud * self.scene.alpha
        return points[:: max(1, -(-len(points) // num_points))]


def read_recording_data(
    result: RefinedSequence,
    prior: Prior | None = None,
    images: Path | None = None,
    body_model: Path | None = None,
    anny: AnnyBody | None = None,
) -> RecordingData:
    """Reads what is small of a result and of its input; pictures and depth maps are read when they are asked for.

    Args:
        prior: a body prior that judges the joints, or None.
        images: a folder of images, see `recording_pictures.find_images`.
        body_model: a file or folder in smplx's format, or None.
        anny: what people wear where there is no body model, or None.
    Raises:
        UserError: if the result or the body model cannot be read, or `images` holds none.
    """
    scene = _within_result(load_scene(result))
    people = [read_person(result.refined, person.person) for person in scene.people]
    poses = {person.person: in_smplx_order(person.pose) for person in people}
    betas = {person.person: person.betas for person in people}
    kinds = ("smpl", "smplx", "smplh") if scene.people[0].after.joints.shape[1] == 24 else ("smplx", "smplh", "smpl")
    frames = range(scene.frames[0], scene.frames[1] + 1) if scene.clip is None else scene.clip.cameras.frame_ids.tolist()
    return RecordingData(
        name=result.name,
        scene=scene,
        poses=poses,
        betas=betas,
        nll={} if prior is None else _nll(poses, scene, prior),
        cameras=scene.cameras,
        wear=anny if body_model is None else load_surface(body_model, max(map(len, betas.values())), kinds),
        images=find_images(images, result.source(), list(frames)),
        losses=_losses(result.refined / METRICS),
        results=read_json(result.refined / RESULTS),
    )


def _within_result(scene: ReviewScene) -> ReviewScene:
    """Without what the input has before and after the frames that were refined."""

    def cut(person: ShownPerson) -> ShownPerson:
        if (motion := person.before) is None:
            return person
        kept = (motion.frames >= scene.frames[0]) & (motion.frames <= scene.frames[1])
        if not kept.any():
            return replace(person, before=None, pose_before=None)
        pose = None if person.pose_before is None else person.pose_before[kept]
        return replace(person, before=Track(motion.frames[kept], motion.joints[kept]), pose_before=pose)

    return replace(scene, people=tuple(cut(person) for person in scene.people))


def _nll(poses: Mapping[int, np.ndarray], scene: ReviewScene, prior: Prior) -> dict[int, np.ndarray]:
    """By person, (n, J) for the J joints of the motion."""
    every = max(1, round(scene.fps / _NLL_RATE))
    rows = {person: np.arange(min(every // 2, len(pose) - 1), len(pose), every) for person, pose in poses.items()}
    # all at once: the prior is sampled once for each call
    scored = nll_per_joint(prior, torch.from_numpy(np.concatenate([poses[person][at] for person, at in rows.items()])), _NLL_DRAWS)
    found, start = {}, 0
    for person in scene.people:
        at, (n, num_joints) = rows[person.person], person.after.joints.shape[:2]
        of_smplx = np.full((len(at), NUM_JOINTS), np.nan)
        of_smplx[:, list(prior.joint_indices)] = scored[start : start + len(at)].double().cpu().numpy()
        index = np.array(layout(num_joints).smplx_index)
        known = np.where(index >= 0, of_smplx[:, np.maximum(index, 0)], np.nan)
        found[person.person] = known[np.abs(np.arange(n)[:, None] - at).argmin(1)]
        start += len(at)
    return found


def _losses(path: Path) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    losses, done = {}, 0
    try:
        for stage, report in read_json(path).get("sub_stages", {}).items():
            for term, history in report["losses"].items():
                values = np.array([np.nan if value is None else float(value) for value in history])
                losses[stage, term] = done + np.arange(len(values)), values
            done += int(report["iterations"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not the losses of a refinement ({type(error).__name__}: {error}); refine the sequence again") from error
    return losses


def _colours_at(points: np.ndarray, picture: np.ndarray, cameras: CameraPath, at: int) -> np.ndarray:
    height, width = picture.shape[:2]
    pixels = project(to_camera(points, np.linalg.inv(cameras.T_world_camera[at])), cameras.intrinsics[at])
    cell = np.floor(np.nan_to_num(pixels) * [width / cameras.image_size[0], height / cameras.image_size[1]]).astype(int)
    colours: np.ndarray = picture[cell[:, 1].clip(0, height - 1), cell[:, 0].clip(0, width - 1)]
    return colours
