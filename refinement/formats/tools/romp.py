"""ROMP and BEV, of the package `simple_romp`: `<image>.npz` of each image, or `video_results.npz` of a video (Sun et al., "Monocular,
One-stage, Regression of Multiple 3D People", ICCV 2021; "Putting People in their Place", CVPR 2022).

Frames: the number in the image's name, else the order, from 0. Person ids: `track_ids` where all frames have them (`--temporal_optimize`);
else people are followed by place and box, and numbered from 1. Camera: one that stands still; focal length and centre are those by which
`pj2d_org` are the 3D joints (BEV), or, as ROMP projects without perspective, those that come nearest. Scale: metric as far as body size
tells. Up: read off the people. Bodies: SMPL, 24 rotation vectors, joints in the camera `joints` + `cam_trans`. Boxes: around `pj2d_org`,
which are the body's own points and no observation. No frame rate, no depth maps, no masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.datamodules.capture.images import in_order, is_of_nobody
from pose_priors.refinement.formats.assembly import (
    camera_track,
    intrinsics_of,
    is_nobodys,
    left_out,
    people_of,
    person_id,
    still_cameras,
    tell_nobodys,
    usual_betas,
)
from pose_priors.refinement.formats.association import Sighting, followed
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.numbering import num_frames_of
from pose_priors.refinement.formats.source import Fields, Source
from pose_priors.refinement.formats.tracks import Tracks

NAME = "ROMP, BEV"
FILES: tuple[str, ...] = ("video_results.npz", "*.npz")
BESIDE: tuple[str, ...] = FILES
_KEYS = ("smpl_thetas", "cam_trans", "joints", "pj2d_org")
_NUM, _POINTS, _BETAS = 24, 71, 10
_MOST_OFF_PX = 2.0  # of points from where a camera, or none with perspective, has them


@dataclass(frozen=True)
class _Image:
    """The n people of one image.

    Attributes:
        frame: its number.
        source: for messages.
        pose: (n, 24, 3); betas: (n, 10); joints: (n, 71, 3) metres in the camera; pixels: (n, 71, 2).
        flat: (n, 71, 2) the points as ROMP projects them, without perspective, of an image from -1 to 1.
        ids: (n,) the tracker's, None where the file has none.
    """

    frame: int
    source: str
    pose: np.ndarray
    betas: np.ndarray
    joints: np.ndarray
    pixels: np.ndarray
    flat: np.ndarray
    ids: np.ndarray | None

    @property
    def boxes(self) -> np.ndarray:
        """(n, 4) corners around the points."""
        return np.concatenate([self.pixels.min(1), self.pixels.max(1)], 1)


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder of files, of people by image as ROMP has them."""
    file = source.file(*FILES)
    results = source.load(file).get("results") if file is not None else None
    return any(_is_image(value) for value in _images(results).values())


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the files. Raises `UserError` if one holds something else than ROMP or BEV writes."""
    images = _read_images(source)
    first = images[0].frame
    num_frames = num_frames_of(first, images[-1].frame, str(source.path))
    intrinsics = _intrinsics(images, str(source.path), warnings)
    cameras = camera_track(str(source.path), *still_cameras(num_frames), intrinsics, inverted=False, first_frame=first)
    rows: dict[int, list[tuple[_Image, int]]] = {}
    for image, ids in zip(images, _ids(images, warnings), strict=True):
        for row, person in enumerate(ids):
            if person is not None:
                rows.setdefault(person, []).append((image, row))
    tracks, bodies = Tracks(), []
    for person, seen in rows.items():
        with left_out(person, warnings):
            bodies.append(_body(person, seen, str(source.path)))
        tracks.boxes[person] = {image.frame: image.boxes[row] for image, row in seen}
    warnings.append(
        f"{source.path}: ROMP and BEV look at single images: the camera is taken to stand still unless input.cameras says otherwise, and "
        "distances are as good as body sizes; they write no keypoints but their own body's, and no depth maps"
    )
    return UpstreamClip(
        cameras=cameras,
        tracks=tracks,
        camera_bodies=people_of(bodies, cameras.frame_ids, str(source.path), warnings),
        alpha=1.0,
    )


def _is_image(value: Any) -> bool:
    return isinstance(value, Mapping) and "smpl_thetas" in value and "cam_trans" in value


def _images(results: Any) -> dict[str, Any]:
    """What a file says of each of its images, by name; of one image by itself under no name."""
    results = results.item() if isinstance(results, np.ndarray) and results.shape == () else results
    if not isinstance(results, Mapping):
        return {}
    return {"": results} if _is_image(results) else {str(name): value for name, value in results.items()}


def _read_images(source: Source) -> list[_Image]:
    """The images on which somebody is, in order of their numbers."""
    main = source.existing(source.file(*FILES), NAME)
    files = [main] if source.path.is_file() or main.name == FILES[0] else sorted(source.path.glob("*.npz"))
    found = {}
    for file in files:
        for name, value in _images(Fields(source.load(file), str(file)).raw("results")).items():
            found[name or file.stem] = (value, f"{file}: {name}" if name else str(file))
    images = [_image(frame, value, where) for frame, _, (value, where) in in_order(found) if not is_of_nobody(value)]
    if not images:
        raise UserError(f"{source.path}: {len(found)} images, and nobody is seen on any")
    return images


def _image(frame: int, content: Any, where: str) -> _Image:
    fields = Fields(content, where)
    if missing := [name for name in _KEYS if name not in fields]:
        raise UserError(f"{where}: no '{missing[0]}', which ROMP and BEV write unless --calc_smpl keeps them from it")
    pose, place = fields.array("smpl_thetas", "n", 3 * _NUM), fields.array("cam_trans", "n", 3)
    joints, pixels = fields.array("joints", "n", _POINTS, 3), fields.array("pj2d_org", "n", _POINTS, 2)
    betas = fields.array("smpl_betas", "n", None) if "smpl_betas" in fields else np.zeros((len(pose), _BETAS))
    # BEV's eleventh is how much of a child somebody is
    betas = np.pad(betas[:, :_BETAS], ((0, 0), (0, max(0, _BETAS - betas.shape[1]))))
    flat = np.full_like(pixels, np.nan)
    if "cam" in fields:
        cam = fields.array("cam", "n", 3)
        flat = cam[:, None, :1] * joints[..., :2] + cam[:, None, 1:]
    given = np.nan_to_num(fields.array("track_ids", "n"), nan=-1) if "track_ids" in fields else None
    ids = None if given is None else np.where(given < 0, -1, np.rint(given)).astype(int)
    return _Image(frame, where, pose.reshape(-1, _NUM, 3), betas, joints + place[:, None], pixels, flat, ids)


def _intrinsics(images: list[_Image], source: str, warnings: list[str]) -> np.ndarray:
    """(3, 3) of the one camera of all images."""
    points, pixels, flat = (np.concatenate([getattr(image, name).reshape(-1, size) for image in images]) for name, size in _PARTS)
    usable = np.isfinite(points).all(1) & np.isfinite(pixels).all(1) & (points[:, 2] > 0.01)
    if usable.sum() < _POINTS:
        raise UserError(f"{source}: hardly a point of 'joints' and 'pj2d_org' is finite and before the camera")
    points, pixels, flat = points[usable], pixels[usable], flat[usable]
    ray = points[:, :2] / points[:, 2:]
    focal, centre, off = _affine(ray, pixels)
    if off > _MOST_OFF_PX and np.isfinite(flat).all():
        # the padded square's half, and its middle, which is the image's
        half, centre, off = _affine(flat, pixels)
        focal = float((ray * (pixels - centre)).sum() / np.square(ray).sum())
        if off <= _MOST_OFF_PX:
            err = float(np.median(np.linalg.norm(focal * ray + centre - pixels, axis=1)))
            warnings.append(
                f"{source}: projected without perspective; of cameras one of {focal:.0f} px focal length, {focal / (2 * half):.2f} of the "
                f"longer side, comes nearest ({err:.1f} px, median)"
            )
    if focal <= 0 or off > _MOST_OFF_PX:
        raise UserError(f"{source}: pj2d_org are not joints + cam_trans in a camera, nor ROMP's projection by 'cam' (off by {off:.0f} px)")
    return intrinsics_of(focal, centre)


_PARTS = (("joints", 3), ("pixels", 2), ("flat", 2))


def _affine(flat: np.ndarray, pixels: np.ndarray) -> tuple[float, np.ndarray, float]:
    """The factor and the middle (2,) by which points (N, 2) are pixels (N, 2), least squares, and by how much the worst is off."""
    design = np.zeros((2 * len(flat), 3))
    design[::2, 0], design[::2, 1] = flat[:, 0], 1
    design[1::2, 0], design[1::2, 2] = flat[:, 1], 1
    found, *_ = np.linalg.lstsq(design, pixels.ravel(), rcond=None)
    return float(found[0]), found[1:], float(np.abs(design @ found - pixels.ravel()).max())


def _ids(images: list[_Image], warnings: list[str]) -> list[list[int | None]]:
    """The person of each row of each image, None where it is nobody's."""
    given = [(image.source, image.ids.tolist()) for image in images if image.ids is not None and len(image.ids) == len(image.pose)]
    named = [[value for value in ids if not is_nobodys(value)] for _, ids in given]
    if len(given) == len(images) and any(named) and all(len(set(ids)) == len(ids) for ids in named):
        tell_nobodys(sum(len(ids) for _, ids in given) - sum(map(len, named)), NAME, warnings)
        return [[None if is_nobodys(value) else person_id(value, source) for value in ids] for source, ids in given]
    warnings.append("ROMP's and BEV's files have no ids, or one twice: people are followed from image to image by box and place")
    seen = [
        (image.frame, [Sighting(joints[:3].mean(0), box) for joints, box in zip(image.joints, image.boxes, strict=True)])
        for image in images
    ]
    return [[person + 1 for person in row] for row in followed(seen)]


def _body(person: int, rows: list[tuple[_Image, int]], source: str) -> BodyTrack:
    frames = np.array([image.frame for image, _ in rows])
    pose, joints = (np.stack(part) for part in zip(*((image.pose[row], image.joints[row, :_NUM]) for image, row in rows), strict=True))
    betas = usual_betas(np.stack([image.betas[row] for image, row in rows]))
    return BodyTrack(person, f"{source}: person {person}", frames, pose, betas, joints[:, 0], joints, transl_is_pelvis=True)
