"""How large people are whose files hold neither joints nor a body model: so large that they fit their keypoints at their distance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from pose_priors.body.anthropometry import heights, thickness
from pose_priors.body.builtin import STATURE
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.keypoints import Correspondence
from pose_priors.refinement.given.problem import Bodies
from pose_priors.refinement.given.rays import fitted, rays_through
from pose_priors.refinement.given.start import arranged

_ROWS = 60  # keypoints that a size needs, a few frames of a whole body
_SMALLEST, _LARGEST = 0.75, 1.3  # of the built-in adult; beyond, the distance or the focal length is wrong rather than the size


@dataclass(frozen=True)
class Sizing:
    """What to make of the built-in skeleton.

    Attributes:
        size: its bones are multiplied by this.
        shift: (3,) metres to add to where the pelvis stands from `transl`, in the camera's axes; smplx's J0 does not turn with the body.
    """

    size: float
    shift: np.ndarray


def sized(clip: UpstreamClip, bodies: Bodies, keypoints: np.ndarray, of: tuple[Correspondence, ...], warnings: list[str]) -> Bodies:
    """The skeletons of a tool's people who come without joints, as large as their keypoints say at the distances that the tool says.

    Args:
        clip: of a tool whose scale is known, and with it how far away people are.
        bodies: the skeletons of its camera bodies, built-in ones where a body has no joints.
        keypoints: (P, T, K, 3) pixels and confidence; of: what each observes.
        warnings: takes a line for each person who was sized.
    """
    people, cameras = clip.camera_bodies, clip.cameras
    start = arranged(people, tuple(people), cameras.frame_ids, bodies)
    joints = start.joints(bodies)
    rest, root = bodies.rest_joints.numpy().copy(), bodies.root_offset.numpy().copy()
    for p, (person, body) in enumerate(people.items()):
        points, movable = keypoints[p] * start.seen[p, :, None, None], not body.transl_is_pelvis
        found = size_by_keypoints(joints[p], points, of, cameras.intrinsics, movable=movable) if body.joints is None else None
        if found is not None:
            rest[p] *= found.size
            root[p] += found.shift
            moved = f", the pelvis {100 * np.linalg.norm(found.shift):.0f} cm from where an average adult's is" if movable else ""
            warnings.append(f"{body.source}: by its keypoints person {person} is {found.size * STATURE:.2f} m tall{moved}")
    return replace(
        bodies,
        rest_joints=torch.from_numpy(rest),
        root_offset=torch.from_numpy(root),
        height=torch.from_numpy(np.stack([heights(person, None) for person in rest])),
        thickness=torch.from_numpy(np.stack([thickness(person) for person in rest])),
    )


def size_by_keypoints(
    joints: np.ndarray, points: np.ndarray, of: tuple[Correspondence, ...], intrinsics: np.ndarray, *, movable: bool
) -> Sizing | None:
    """The size, and the shift across the view, at which a person's joints lie on the rays through its keypoints, under Huber's weights.

    Of size and distance an image tells the ratio alone; the distance is taken as it is.

    Args:
        joints: (T, J, 3) metres of the built-in skeleton in the camera's axes.
        points: (T, K, 3) pixels and confidence, 0 where not seen.
        of: what each keypoint observes.
        intrinsics: (T, 3, 3).
        movable: whether the pelvis may be shifted.
    Returns:
        None where there are too few keypoints, or the size is none of a person's.
    """
    root = joints[:, None, 0]
    bones = np.stack([joints[:, list(pair.joints)].mean(1) for pair in of], 1) - root if of else np.zeros((len(joints), 0, 3))
    rays = rays_through(points[..., :2], intrinsics)
    use = (points[..., 2] > 0) & (root[..., 2] > 0)
    if use.sum() < _ROWS:
        return None
    # how far a joint is from its ray is linear in size and shift
    rows = np.zeros((int(use.sum()), 2, 3))
    rows[..., 0] = (bones[..., :2] - rays * bones[..., 2:])[use]
    rows[:, 0, 1] = rows[:, 1, 2] = 1
    rows = rows if movable else rows[..., :1]
    distance = (root[..., :2] - rays * root[..., 2:])[use]
    found, solved = fitted(rows, distance, points[..., 2][use], np.array(True))
    if not solved or not _SMALLEST < found[0] < _LARGEST:
        return None
    return Sizing(float(found[0]), np.array([*found[1:], 0.0]) if movable else np.zeros(3))
