"""Each person's skeleton: from a body-model file, from stage 3's joints, or from the built-in adult, and mixed where one lacks joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.anthropometry import heights, thickness
from pose_priors.body.builtin import STATURE, rest_joints
from pose_priors.body.layout import Layout
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import index_of
from pose_priors.body.smplx_files import JointModel
from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT, BodyTrack, with_joints
from pose_priors.refinement.given.problem import Bodies

_STUBS = (index_of("left_middle1"), index_of("right_middle1"))  # where SMPL's hand joints stand
_DISAGREEMENT = 0.01


@dataclass(frozen=True)
class Skeleton:
    """One person's.

    Attributes:
        rest: (J, 3) metres from the pelvis, nothing rotated.
        root: (3,) metres, smplx's J0.
        directions: (J, 3, B) metres per unit of beta, relative to the pelvis.
        root_directions: (3, B).
        sole: height of the sole on the axis of `rest`; None where no model file says.
    """

    rest: np.ndarray
    root: np.ndarray
    directions: np.ndarray
    root_directions: np.ndarray
    sole: float | None


def bone_offsets(body: BodyTrack, of: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Bones from posed joints: R_parent^T (J_child - J_parent), the median over the frames.

    Args:
        body: with joints.
    Returns:
        offsets (J, 3) metres, nan for joints that the track does not show and for the root; and the spread over frames (J,), the median
        distance from the offset: 0 where poses and joints belong together.
    """
    assert body.joints is not None
    # joints from 22 on mean different things on different bodies, so they count only where both are of this layout
    shown = of.num_joints if body.joints.shape[1] == of.num_joints else 22
    turned = of.num_joints if body.pose.shape[1] == of.num_joints else 22
    pose = torch.from_numpy(with_joints(body.pose, of.num_joints))
    _, rotations = forward_kinematics(pose, torch.zeros(of.num_joints, 3, dtype=torch.float64), of.parents)
    child = np.array([joint for joint in range(1, shown) if of.parents[joint] < turned])
    parent = np.asarray(of.parents)[child]
    bones = np.einsum("njba,njb->nja", rotations.numpy()[:, parent], body.joints[:, child] - body.joints[:, parent])
    offsets, spread = np.full((of.num_joints, 3), np.nan), np.zeros(of.num_joints)
    offsets[child] = np.median(bones, 0)
    spread[child] = np.median(np.linalg.norm(bones - offsets[child], axis=-1), 0)
    return offsets, spread


def recover(body: BodyTrack, of: Layout, model: JointModel | None, warnings: list[str]) -> Skeleton:
    """One person's skeleton: from the model file if there is one, else from the joints of stage 3, else the built-in one."""
    offsets, root = np.full((of.num_joints, 3), np.nan), np.array(TEMPLATE_ROOT[of.num_joints])
    directions, root_directions, sole = np.zeros((of.num_joints, 3, 0)), np.zeros((3, 0)), None
    if body.joints is not None:
        offsets, spread = bone_offsets(body, of)
        root = root if body.transl_is_pelvis else np.median(body.joints[:, 0] - body.transl, 0)
        if spread.max() > _DISAGREEMENT:
            warnings.append(
                f"{body.source}: its joints do not follow from its poses (bones differ by {1e3 * spread.max():.0f} mm between frames); "
                "are they another model's, or posed before a later change? Their median is used"
            )
    elif model is None:
        warnings.append(
            f"{body.source}: neither joints nor body_model.path; the built-in skeleton of {STATURE:.2f} m is used, so sizes, "
            "and with them the metric scale, are those of an average adult"
        )
    if model is not None:
        offsets, root, directions, root_directions, sole = _from_model(body, of, model, offsets, warnings)
    return Skeleton(_completed(offsets, of), root, directions, root_directions, sole)


def _from_model(
    body: BodyTrack, of: Layout, model: JointModel, seen: np.ndarray, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    num_betas = min(len(body.betas), model.directions.shape[-1])
    betas = body.betas[:num_betas]
    basis = model.directions.numpy()[..., :num_betas]
    shaped = model.template.numpy() + basis @ betas
    where = {index: at for at, index in enumerate(model.smplx_index) if index >= 0}
    source = [where.get(index) for index in of.smplx_index]
    if of.num_joints == 24:
        source[22:] = (22, 23) if model.smplx_index[-1] == -1 else tuple(where[stub] for stub in _STUBS)
    offsets, directions = np.full((of.num_joints, 3), np.nan), np.zeros((of.num_joints, 3, num_betas))
    for joint, at in enumerate(source):
        parent = of.parents[joint]
        if joint and at is not None and source[parent] is not None:
            offsets[joint] = shaped[at] - shaped[source[parent]]
        if joint:
            directions[joint] = basis[at] - basis[0] if at is not None else directions[parent]
    gap = np.nanmedian(np.linalg.norm(offsets - seen, axis=-1)) if np.isfinite(seen).any() else 0.0
    if gap > _DISAGREEMENT:
        warnings.append(
            f"{body.source}: its joints' bones differ from those of body_model.path by {1e3 * gap:.0f} mm; is it the model and the gender "
            "that stage 3 used? The model's are taken"
        )
    return offsets, shaped[0], directions, basis[0], model.sole - shaped[0, 1]


def _completed(offsets: np.ndarray, of: Layout) -> np.ndarray:
    """Rest joints from offsets; missing bones are the built-in skeleton's, at the person's size."""
    places = rest_joints().numpy()
    index = np.array([i if i >= 0 else _STUBS[joint - 22] for joint, i in enumerate(of.smplx_index)])
    parents = np.array(of.parents[1:])
    built_in = np.zeros_like(offsets)
    built_in[1:] = places[index[1:]] - places[index[parents]]
    known = np.isfinite(offsets).all(-1)
    ratio = 1.0
    if known.any():
        ratio = np.linalg.norm(offsets[known], axis=-1).sum() / np.linalg.norm(built_in[known], axis=-1).sum()
    bones = np.where(known[:, None], offsets, built_in * ratio)
    bones[0] = 0
    rest = np.zeros_like(bones)
    for joint, parent in enumerate(of.parents[1:], start=1):
        rest[joint] = rest[parent] + bones[joint]
    return rest


def assemble(skeletons: list[Skeleton], betas: list[np.ndarray], of: Layout) -> Bodies:
    """All people's skeletons as tensors, float64."""
    width = max(len(row) for row in betas)

    def stack(rows: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(rows))

    return Bodies(
        parents=of.parents,
        rest_joints=stack([s.rest for s in skeletons]),
        shape_directions=stack([s.directions for s in skeletons]),
        betas=stack([np.pad(row, (0, width - len(row))) for row in betas]),
        smplx_index=of.smplx_index,
        height=stack([heights(s.rest, s.sole) for s in skeletons]),
        thickness=stack([thickness(s.rest) for s in skeletons]),
        root_offset=stack([s.root for s in skeletons]),
        root_shape_directions=stack([s.root_directions for s in skeletons]),
    )
