"""The surface of Anny on a skeleton of ours: as large, with its bones, bound to its joints."""

from __future__ import annotations

import numpy as np

from pose_priors.body.anny.joints import fit_phenotypes, joints_in
from pose_priors.body.anny.model import AnnyBody
from pose_priors.body.anny.turns import turns_to_rest
from pose_priors.body.anny.warp import warped
from pose_priors.body.anthropometry import heights, stature
from pose_priors.body.builtin import rest_joints
from pose_priors.body.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS, PARTS, index_of
from pose_priors.body.skin import Skin, strongest
from pose_priors.configs.base import UserError

_NUM_BODY, _SMPL = 22, 24
# SMPL's joint of a whole hand by the wrist that carries it; it moves what else the fingers do
_STUBS = {index_of("left_wrist"): 22, index_of("right_wrist"): 23}
_LIKE = {stub: wrist for wrist, stub in _STUBS.items()}
_FEET = ((index_of("left_ankle"), index_of("left_foot")), (index_of("right_ankle"), index_of("right_foot")))
_HEEL, _TOES = 0.4, 1.1  # parts of the way from the ankle to the ball of the foot at which the heel ends, and toes begin
_SHORTEST_M = 1e-4
_FOOT = 0.5  # a vertex that moves with ankle and foot by so much is of the foot
# Feet are as thick as the frames say on which somebody stands: whose lowest vertex is so near to the floor.
_STANDING_M, _MOST_RAISED_M, _FEWEST, _ROUNDS = 0.03, 0.015, 5, 2


def fitted_skin(body: AnnyBody, offsets: np.ndarray, turns: np.ndarray, joints: np.ndarray, floor: np.ndarray) -> Skin:
    """`anny_skin` for a person in motion, whose soles are on the floor on half of the frames on which they stand.

    How thick a foot is, the bones do not say, and on refined frames feet are some degrees from level: on average that digs them in.

    Args:
        turns: (T, J, 3, 3) of each joint relative to the world; joints: (T, J, 3) metres.
        floor: (4,) up-facing unit normal n and d with n.x + d = 0.
    """
    raised = 0.0
    for _ in range(_ROUNDS):
        skin = anny_skin(body, offsets, raised)
        feet = skin.part(body.weights[:, [joint for foot in _FEET for joint in foot]].sum(1) > _FOOT)
        lowest = np.array([(feet.posed(turn, at)[0] @ floor[:3]).min() + floor[3] for turn, at in zip(turns, joints, strict=True)])
        standing = lowest[np.abs(lowest) < _STANDING_M]
        if len(standing) < _FEWEST:
            break
        raised = float(np.clip(raised - np.median(standing), -_MOST_RAISED_M, _MOST_RAISED_M))
    return anny_skin(body, offsets, raised)


def anny_skin(body: AnnyBody, offsets: np.ndarray, raised: float = 0.0) -> Skin:
    """Anny with the proportions of a skeleton, bound to its joints.

    The phenotype whose lengths are nearest to the skeleton's is warped, in Anny's own rest pose, so that its joints are where the
    skeleton's are in that pose, and its soles level and as far below its ankles as `anthropometry.heights` has them. From there a vertex
    is moved once, by the joints that it hangs on: turned to the skeleton's rest pose (`turns`) and on by the skeleton's rotations.

    Args:
        offsets: (J, 3) metres of each joint from its parent at rest (x to the body's left, y up, z forward), the root's 0; J is 22, 24 or
            55. Fingers that a body lacks stay as Anny has them, half bent, and move with the hand.
        raised: metres by which the soles are nearer to the ankles.
    Raises:
        UserError: if a bone has no length: it has no direction either.
    """
    num = len(offsets)
    turned = [*range(1, _NUM_BODY), *(PARTS["left_hand"] + PARTS["right_hand"] if num == NUM_JOINTS else ())]
    if without := [JOINT_NAMES[joint] for joint in turned if not np.linalg.norm(offsets[joint]) > _SHORTEST_M]:
        raise UserError(
            f"a skeleton without a bone to {', '.join(without[:3])}: Anny cannot be put on it; take capsules, by --surface capsules"
        )
    rest = _whole(offsets)
    phenotypes = fit_phenotypes(body, rest)
    vertices, standing = body.vertices(phenotypes), joints_in(body, phenotypes, rest)
    turns = turns_to_rest(standing, rest)
    wanted = _in_pose_of_anny(rest, turns, standing)
    soles, level = _soles(vertices, body.weights, standing, wanted, heights(rest, None) - raised)
    vertices = warped(vertices, np.concatenate([standing, soles]), np.concatenate([wanted, level]))
    weights = np.zeros((len(vertices), num))
    np.add.at(weights.T, _own_joints(num), body.weights.T)
    bind = np.tile(np.eye(4), (num, 1, 1))
    for joint in range(num):
        like = _LIKE.get(joint, joint) if num == _SMPL else joint
        place = wanted[like] if like == joint else wanted[like] + turns[like].T @ offsets[joint]
        bind[joint, :3, :3], bind[joint, :3, 3] = turns[like], -turns[like] @ place
    return Skin(vertices, body.faces, *strongest(weights), bind)


def _whole(offsets: np.ndarray) -> np.ndarray:
    """(55, 3) joints at rest from the pelvis; what the skeleton lacks is the built-in one's, as large."""
    known = NUM_JOINTS if len(offsets) == NUM_JOINTS else _NUM_BODY
    rest = np.zeros((NUM_JOINTS, 3))
    for joint in range(1, known):
        rest[joint] = rest[PARENTS[joint]] + offsets[joint]
    built_in = rest_joints(stature(rest)).numpy()
    for joint in range(known, NUM_JOINTS):
        rest[joint] = rest[PARENTS[joint]] + built_in[joint] - built_in[PARENTS[joint]]
    return rest


def _in_pose_of_anny(rest: np.ndarray, turns: np.ndarray, standing: np.ndarray) -> np.ndarray:
    """(55, 3) the joints of a skeleton in Anny's rest pose, over those of Anny."""
    wanted = np.zeros_like(rest)
    for joint, parent in enumerate(PARENTS[1:], start=1):
        wanted[joint] = wanted[parent] + turns[parent].T @ (rest[joint] - rest[parent])
    over: np.ndarray = wanted + (standing - wanted)[:_NUM_BODY].mean(0)
    return over


def _soles(
    vertices: np.ndarray, weights: np.ndarray, standing: np.ndarray, wanted: np.ndarray, height: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places (K, 3) under both sides of heels, balls and toes, as they are, and level below the ankles by the height (J,) of these."""
    before, after = [], []
    for ankle, ball in _FEET:
        foot = vertices[weights[:, [ankle, ball]].sum(1) > _FOOT]
        along = (standing[ball] - standing[ankle]) * [1, 0, 1]
        at = (foot - standing[ankle]) @ along / (along @ along)
        aside = (foot - standing[ankle]) @ np.cross(along, [0, 1, 0])
        for behind, ahead, joint in ((-np.inf, _HEEL, ankle), (_HEEL, _TOES, ball), (_TOES, np.inf, ball)):
            for side in (aside >= 0, aside < 0):
                part = foot[(at >= behind) & (at < ahead) & side]
                lowest = part[part[:, 1].argmin()]
                moved = lowest + wanted[joint] - standing[joint]
                before.append(lowest)
                after.append([moved[0], wanted[ankle, 1] - height[ankle], moved[2]])
    return np.array(before), np.array(after)


def _own_joints(num: int) -> list[int]:
    """For each of the 55 joints that of a body of 22, 24 or 55 which moves what it moves."""
    own: list[int] = []
    for joint, parent in enumerate(PARENTS):
        if joint < (num if num == NUM_JOINTS else _NUM_BODY):
            own.append(joint)
        else:
            own.append(_STUBS.get(parent, own[parent]) if num == _SMPL else own[parent])
    return own
