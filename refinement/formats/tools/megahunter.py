"""VideoMimic's MegaHunter: `megahunter_<sfm>_reconstruction_results_<video>_cam<c>_frame_<s>_<e>_subsample_<k>.h5` (Allshire et al.,
"Visual Imitation Enables Contextual Humanoid Control", CoRL 2025).

Frames: the names of the groups, which count from 1, become numbers from 0; of a clip that was thinned out, its frames are counted instead,
at 30 / k frames a second. Person ids: the names of the groups; the frames of their rows stand in `person_frame_info_list`. Camera:
`cam2world`. Scale: cameras and `pts3d` were scaled by MegaHunter, so they are metric; `depths` were not, so depth is read off `pts3d`. Up:
read off the people. Intrinsics: `intrinsic`, of the grid that the reconstruction worked on, which stands for the image. Bodies: SMPL, 1 +
23 rotation matrices in the world; `root_transl` is where the pelvis stands, not smplx's translation. Depth: of what `dynamic_msk` leaves.
No keypoints, no masks of single people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pose_priors.configs.base import UserError, counted, listed, reason_of
from pose_priors.datamodules.containers.regular import open_regular
from pose_priors.refinement.formats.assembly import camera_track, left_out, people_of, person_id, usual_betas
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import USUAL_FPS
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.depth import thinned
from pose_priors.refinement.formats.source import Fields, Source, rotvecs
from pose_priors.refinement.formats.tracks import Tracks

if TYPE_CHECKING:
    import h5py

NAME = "VideoMimic MegaHunter"
FILES: tuple[str, ...] = ("megahunter_*.h5", "gravity_calibrated_megahunter.h5")
BESIDE: tuple[str, ...] = ()
_SCENE, _PEOPLE, _FRAMES = "our_pred_world_cameras_and_structure", "our_pred_humans_smplx_params", "person_frame_info_list"
_LEAST_ROOM, _MOST_RATIO = 1 << 20, 500


class PointDepth:
    """Depth maps made of MegaHunter's points in the world, read one frame at a time.

    Args:
        path: the file.
        groups: frame -> the name of its group.
        w2c: (T, 4, 4) cameras of the frames in order.
        warnings: `close` adds the frames that could not be read.
    """

    def __init__(self, path: Path, groups: dict[int, str], w2c: np.ndarray, warnings: list[str]) -> None:
        self._path, self._groups, self._warnings = path, groups, warnings
        self._unread: dict[str, None] = {}  # in order, each once however often it is asked for
        self._w2c = dict(zip(groups, w2c, strict=True))

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Depth (h, w) in metres, nan where people and what else moves is, and its weight (h, w), one; None for other frames."""
        if frame not in self._groups:
            return None
        try:
            return self._depth(frame)
        except UserError as error:
            self._unread[str(error)] = None
            return None

    def _depth(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        with _opened(self._path) as file:
            group = _own(_group(self._path, file, _SCENE), self._groups[frame])
            found = _datasets(group, ("pts3d", "dynamic_msk"))
        if "pts3d" not in found or isinstance(found["pts3d"], str):
            return None
        fields = Fields(found, f"{self._path}: {_SCENE}/{self._groups[frame]}")
        points = fields.array("pts3d", "h", "w", 3)
        moving = fields.array("dynamic_msk") > 0 if "dynamic_msk" in fields else np.zeros(points.shape[:2], bool)
        if moving.size != points.shape[0] * points.shape[1]:
            raise UserError(f"{fields.source}: 'dynamic_msk' has shape {moving.shape} beside points of shape {points.shape}")
        w2c = self._w2c[frame]
        depth = (points @ w2c[2, :3] + w2c[2, 3]).astype(np.float32)
        depth[~(np.isfinite(depth) & (depth > 0)) | moving.reshape(depth.shape)] = np.nan
        depth = thinned(depth)
        return depth, np.ones_like(depth)

    def close(self) -> None:
        """Says which frames could not be read."""
        if self._unread:
            self._warnings.append(f"{counted(len(self._unread), 'frame')} of points could not be used: {listed([*self._unread], 2)}")
            self._unread = {}


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one such, of a scene and people of MegaHunter's; a folder of several is many clips."""
    path = source.only(*FILES)
    if path is None:
        return False
    with _opened(path) as file:
        return _SCENE in file and _PEOPLE in file


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the file. Raises `UserError` if it holds something else than MegaHunter writes."""
    path = source.existing(source.only(*FILES), NAME)
    with _opened(path) as file:
        return _clip(path, file, warnings)


def _clip(path: Path, file: h5py.File, warnings: list[str]) -> UpstreamClip:
    scene, people = _group(path, file, _SCENE), _group(path, file, _PEOPLE)
    frames, fps = _numbered(path, list(scene), warnings)
    at = [Fields(_datasets(_own(scene, name), ("cam2world", "intrinsic")), f"{path}: {_SCENE}/{name}") for name in frames.values()]
    c2w = np.stack([fields.array("cam2world", 4, 4) for fields in at])
    intrinsics = np.stack([fields.array("intrinsic", 3, 3) for fields in at])
    first = _own(scene, next(iter(frames.values())))
    shapes: Iterator[tuple[int, ...]] = (getattr(_own(first, name), "shape", ()) for name in ("rgbimg", "pts3d", "depths") if name in first)
    shape = next((shape for shape in shapes if len(shape) >= 2), None)
    size = None if shape is None else (int(shape[1]), int(shape[0]))
    cameras = camera_track(
        f"{path}: 'cam2world'", c2w[:, :3, :3], c2w[:, :3, 3], intrinsics, inverted=True, fps=fps, image_size=size, first_frame=min(frames)
    )
    number = {name: frame for frame, name in frames.items()}
    bodies = []
    for name in people:
        with left_out(name, warnings), _told(path):
            bodies.append(_body(path, file, name, number))
    warnings.append(
        f"{path}: MegaHunter's cameras and points are metric, the scale starts at 1; it writes neither keypoints nor masks of each person"
    )
    return UpstreamClip(
        cameras=cameras,
        depth=PointDepth(path, frames, cameras.w2c, warnings),
        tracks=Tracks(),
        camera_bodies={},
        world_bodies=people_of(bodies, cameras.frame_ids, str(path), warnings),
        alpha=1.0,
    )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file; what HDF5 says of damage in it, now or later, becomes a `UserError`."""
    import h5py  # which only readers of this tool need

    with open_regular(path) as stream, _told(path), h5py.File(stream, "r") as file:
        yield file


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What libhdf5 and h5py raise becomes a `UserError`."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise UserError(f"{path}: not a readable HDF5 file of MegaHunter's ({reason_of(error)}); is the file complete?") from error


def _own(group: h5py.Group, name: str) -> Any:
    """What bears that name in a group, if it lies in this file. Raises `ValueError` for links, which may lead anywhere."""
    import h5py  # which only readers of this tool need

    if not isinstance(group, h5py.Group) or not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"'{name}' is missing, or a link to elsewhere")
    return group[name]


def _values(dataset: Any) -> np.ndarray:
    """A dataset's numbers or text. Raises `ValueError` if they lie in another file, or are many more than the file has bytes for."""
    import h5py  # which only readers of this tool need

    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise ValueError("a dataset that is none, or lies in another file")
    if dataset.nbytes > max(_LEAST_ROOM, _MOST_RATIO * dataset.id.get_storage_size()):
        raise ValueError(f"a dataset of {dataset.nbytes:,} bytes that {dataset.id.get_storage_size():,} stand for")
    return np.asarray(dataset)


def _group(path: Path, file: h5py.File, name: str) -> h5py.Group:
    import h5py  # which only readers of this tool need

    if name not in file or not isinstance(group := _own(file, name), h5py.Group) or not len(group):
        raise UserError(f"{path}: no groups in '{name}'; it holds {listed(list(file))}")
    return group


def _datasets(group: object, names: tuple[str, ...]) -> Mapping[str, np.ndarray | str]:
    """The arrays of some names in a group, and the names of all others for errors."""
    import h5py  # which only readers of this tool need

    if not isinstance(group, h5py.Group):
        return {}
    return {name: _values(_own(group, name)) for name in names if name in group} or dict.fromkeys(group, "")


def _numbered(path: Path, names: list[str], warnings: list[str]) -> tuple[dict[int, str], float]:
    """Frame number -> name of its group, consecutive; and the frames a second."""
    found = {int(digits[-1]) - 1: name for name in names if (digits := re.findall(r"[0-9]{1,18}", name))}
    if len(found) != len(names):
        raise UserError(f"{path}: {_SCENE} has the groups {listed(names)}; names that count the frames are expected")
    found = dict(sorted(found.items()))
    steps = set(np.diff(list(found)).tolist())
    if steps <= {1}:
        return found, USUAL_FPS
    if len(steps) > 1:
        raise UserError(f"{path}: {_SCENE} has frames at uneven steps of {sorted(steps)}; a clip without holes is expected")
    (step,) = steps
    warnings.append(f"{path}: every {step}th frame alone was reconstructed; frames are counted from 0, at {USUAL_FPS / step:g} a second")
    return dict(enumerate(found.values())), USUAL_FPS / step


def _body(path: Path, file: h5py.File, name: str, number: dict[str, int]) -> BodyTrack:
    fields = Fields(
        _datasets(_own(_group(path, file, _PEOPLE), name), ("body_pose", "global_orient", "root_transl", "betas")),
        f"{path}: {_PEOPLE}/{name}",
    )
    body = fields.array("body_pose", "n", 23, 3, 3)
    pose = rotvecs(np.concatenate([fields.array("global_orient", "n", 1, 3, 3), body], 1), fields.source)
    pelvis = fields.array("root_transl", "n", 1, 3)[:, 0]
    betas = fields.array("betas")
    names = _frame_names(path, file, name)
    if len(names) != len(pose) or set(names) - number.keys():
        raise UserError(
            f"{path}: {_FRAMES}/{name} names {listed(names)} for {len(pose)} rows; one frame of {_SCENE} for each row is expected"
        )
    frames = np.array([number[frame] for frame in names])
    return BodyTrack(person_id(name, fields.source), fields.source, frames, pose, usual_betas(betas), pelvis, None, transl_is_pelvis=True)


def _frame_names(path: Path, file: h5py.File, person: str) -> list[str]:
    """The frames of a person's rows: a list that VideoMimic stores as an attribute of the group, of the file, or as a dataset."""
    import h5py  # which only readers of this tool need

    places = [(file.attrs, f"/{_FRAMES}/{person}"), (file.attrs, f"{_FRAMES}/{person}")]
    group = _own(file, _FRAMES) if _FRAMES in file else None
    if group is not None:
        places.append((group.attrs, person))
    found = next((place[key] for place, key in places if key in place), None)
    if found is None and isinstance(group, h5py.Group) and person in group:
        found = _values(_own(group, person))
    if found is None:
        raise UserError(f"{path}: no '{_FRAMES}/{person}', so nothing says which frames its rows are of")
    return [value.decode() if isinstance(value, bytes) else str(value) for value in np.asarray(found).ravel().tolist()]
