"""Points to be tracked on an instance: drawn inside its masks, and lifted into the world where depth maps and cameras are there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy.ndimage import distance_transform_edt

from pose_priors.body.pinhole import to_world, unproject
from pose_priors.configs.base import Config, UserError
from pose_priors.refinement.instances.archive import InstanceArchive, camera_masks
from pose_priors.refinement.instances.split import MASK_KEY

log = logging.getLogger("instances")


class QueryConfig(Config):
    """Which pixels of a mask become query points."""

    max_points_per_frame: int | None = Field(256, ge=1)
    """Of each camera and frame, drawn at random; null for all pixels."""
    border: float = Field(2.0, ge=0)
    """Pixels from the rim of the mask that are left out, where depth maps mix the instance and what is behind it. Of an instance that is
    thinner than that, the middle is taken."""
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class QueryPoints:
    """Points to be tracked.

    Attributes:
        points: (N, 4) float32, frame and x, y, z in the world and the unit of the cameras; or, without depth or cameras, (N, 3), frame and
            x, y in pixels of the mask. Frames count from 0, pixels from the centre of the first one, x to the right.
        cameras: (N,) the number of the camera that each was seen by.
    """

    points: np.ndarray
    cameras: np.ndarray


@dataclass(frozen=True)
class _Geometry:
    """For each camera and frame: depth (T, h, w), intrinsics (T, 3, 3) of the depth maps' pixels, world to camera (T, 4, 4)."""

    depth: Sequence[np.ndarray]
    intrinsics: np.ndarray
    w2c: np.ndarray


def create_query_npz(
    instance_npz: Path,
    output_npz: Path,
    mask_key: str = MASK_KEY,
    *,
    frames_before: int = 3,
    frames_after: int = 10,
    use_first_frame: bool = False,
    config: QueryConfig | None = None,
) -> QueryPoints:
    """Writes a copy of an instance's npz with `query_points` and `query_cameras` added, see `query_points`."""
    found = query_points(
        instance_npz, mask_key, frames_before=frames_before, frames_after=frames_after, use_first_frame=use_first_frame, config=config
    )
    InstanceArchive(instance_npz, mask_key).copy(output_npz, {"query_points": found.points, "query_cameras": found.cameras})
    return found


def query_points(
    npz: Path,
    mask_key: str = MASK_KEY,
    *,
    frames_before: int = 3,
    frames_after: int = 10,
    use_first_frame: bool = False,
    config: QueryConfig | None = None,
) -> QueryPoints:
    """Draws points on the one instance of an npz; the same each time.

    Of each camera those frames are taken that lie around the one on which the instance is touched, `<...>_contact_frames[instance][camera]`
    in the file; of an instance without such an entry, the first frame of each camera that has a mask. Frames without a mask have no points.

    Args:
        npz: of one instance, with `depths` (V, T, h, w), `intrs` (V, 3, 3) or (V, T, 3, 3) for the pixels of the depth maps, and `extrs`,
            world to camera, (V, 3 or 4, 4) or (V, T, 3 or 4, 4); of one camera the V may be missing. Without one of the three, points are
            pixels.
        frames_before, frames_after: around the contact.
        use_first_frame: whether contacts are left aside.
    Raises:
        UserError: if an array has another shape, or there is no pixel to take.
    """
    config = config or QueryConfig()
    archive = InstanceArchive(npz, mask_key)
    if len(archive.masks) != 1:
        raise UserError(f"{npz}: holds {', '.join(archive.instance_ids)}; one instance alone is expected: split it first")
    instance = archive.instance_ids[0]
    views = camera_masks(next(iter(archive.masks.values())), f"{npz}: {instance}")
    geometry = _geometry(archive, len(views), len(views[0]))
    contacts = {} if use_first_frame else _contacts(archive, instance, views)
    if not use_first_frame and not contacts:
        log.info("%s: no contact frames of %s; the first frame with a mask is taken", npz, instance)
    points, cameras = [np.zeros((0, 3 if geometry is None else 4))], []
    for camera, view in enumerate(views):
        if contacts:
            contact = contacts.get(camera)
            frames = [] if contact is None else range(max(0, contact - frames_before), min(len(view), contact + frames_after + 1))
        else:
            frames = np.flatnonzero(view.any((1, 2)))[:1].tolist()
        for frame in frames:
            rng = np.random.default_rng((config.seed, camera, frame))
            found = _of_frame(view[frame], geometry, camera, frame, config, rng)
            points.append(np.column_stack([np.full(len(found), frame), found]))
            cameras += [camera] * len(found)
    if not cameras:
        place = "around its contact frames" if contacts else "on any frame"
        raise UserError(
            f"{npz}: {instance} has no mask{'' if geometry is None else ' with depth inside'} {place}; there is nothing to track"
        )
    return QueryPoints(np.concatenate(points).astype(np.float32), np.array(cameras))


def _of_frame(
    mask: np.ndarray, geometry: _Geometry | None, camera: int, frame: int, config: QueryConfig, rng: np.random.Generator
) -> np.ndarray:
    """(n, 2) pixels, or (n, 3) points of the world."""
    rows, columns = np.nonzero(_inside(mask, config.border))
    pixels = np.stack([columns, rows], 1).astype(float)
    if geometry is None:
        drawn: np.ndarray = pixels[_drawn(len(pixels), config, rng)]
        return drawn
    depth = geometry.depth[camera][frame]
    ratio = np.array(depth.shape) / mask.shape
    values = depth[((rows + 0.5) * ratio[0]).astype(int), ((columns + 0.5) * ratio[1]).astype(int)].astype(float)
    there = np.isfinite(values) & (values > 0)
    pixels, values = (pixels[there] + 0.5) * ratio[::-1] - 0.5, values[there]
    kept = _drawn(len(pixels), config, rng)
    return to_world(unproject(pixels[kept], values[kept], geometry.intrinsics[camera, frame]), geometry.w2c[camera, frame])


def _inside(mask: np.ndarray, border: float) -> np.ndarray:
    """The mask without its rim; where that is all of it, the half that is farthest from the rim. The image's edge is no rim."""
    if mask.all() or not mask.any():
        return mask
    distance: np.ndarray = distance_transform_edt(mask)
    inside: np.ndarray = distance > min(border, distance.max() / 2)
    return inside


def _drawn(count: int, config: QueryConfig, rng: np.random.Generator) -> np.ndarray:
    """Which of so many are taken, in order."""
    most = config.max_points_per_frame
    return np.arange(count) if most is None or count <= most else np.sort(rng.choice(count, most, replace=False))


def _contacts(archive: InstanceArchive, instance: str, views: Sequence[np.ndarray]) -> dict[int, int]:
    """The frame of contact by the number of the camera; empty where the file says nothing of this instance."""
    key = archive.mask_key.replace("_masks", "_contact_frames")
    everybody = archive.first(*(name for name in (key, "contact_frames") if name != archive.mask_key))
    by_name = {str(name): value for name, value in everybody.items()} if isinstance(everybody, Mapping) else {}
    found = by_name.get(instance)
    names = [str(name) for name in np.ravel(archive.first("camera_ids"))] if "camera_ids" in archive else []
    names = names or [str(camera) for camera in range(len(views))]
    of_camera: dict[str, Any] = (
        {} if found is None else {str(k): v for k, v in found.items()} if isinstance(found, Mapping) else dict.fromkeys(names, found)
    )
    contacts = {}
    for name, frame in of_camera.items():
        if frame is None:
            continue
        if name not in names or not isinstance(frame, int | np.integer) or not frame < len(views[0]):
            raise UserError(
                f"{archive.path}: contact of {instance} at camera {name}, frame {frame!r}; there are cameras {', '.join(names)} and "
                f"{len(views[0])} frames, counted from 0"
            )
        if frame >= 0:  # below 0: never
            contacts[names.index(name)] = int(frame)
    return contacts


def _geometry(archive: InstanceArchive, num_cameras: int, num_frames: int) -> _Geometry | None:
    """None where depth or cameras are missing."""
    depth, intrinsics, extrinsics = (
        archive.first(*names) for names in (("depths", "depth"), ("intrs", "intrinsics"), ("extrs", "extrinsics"))
    )
    missing = [name for name, value in (("depths", depth), ("intrs", intrinsics), ("extrs", extrinsics)) if value is None]
    if missing:
        log.info("%s: no %s; query points are pixels", archive.path, ", ".join(missing))
        return None
    per_frame = num_cameras, num_frames
    depth = depth[None] if depth.ndim == 3 and num_cameras == 1 else depth
    depth = depth[:, :, 0] if depth.ndim == 5 and depth.shape[2] == 1 else depth
    if depth.ndim != 4 or depth.shape[:2] != per_frame:
        raise UserError(f"{archive.path}: depth has shape {depth.shape}; {per_frame} maps are expected, as many as masks")
    w2c = np.zeros((*per_frame, 4, 4))
    w2c[..., 3, 3] = 1
    w2c[..., :3, :] = _of_frames(extrinsics, "extrinsics", per_frame, archive.path)[..., :3, :]
    return _Geometry(depth, _of_frames(intrinsics, "intrinsics", per_frame, archive.path), w2c)


def _of_frames(matrices: np.ndarray, name: str, per_frame: tuple[int, int], path: Path) -> np.ndarray:
    """Matrices of each camera and frame, (V, T, ...), of one for each, for each camera, or for each frame of the only camera."""
    matrices = np.asarray(matrices, float)
    sizes = ((3, 3),) if name == "intrinsics" else ((3, 4), (4, 4))
    leading = matrices.shape[:-2]
    if matrices.shape[-2:] in sizes and np.isfinite(matrices).all():
        if leading == per_frame:
            return matrices
        if leading == per_frame[:1]:
            return np.repeat(matrices[:, None], per_frame[1], 1)
        if per_frame[0] == 1 and leading in ((), per_frame[1:]):
            return np.broadcast_to(matrices, (*per_frame, *matrices.shape[-2:]))
    raise UserError(
        f"{path}: {name} have shape {matrices.shape}; {per_frame[:1]} or {per_frame} finite matrices of {sizes[-1]} are expected"
    )
