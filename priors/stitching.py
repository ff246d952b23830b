"""Hands put onto a body: both estimated apart, as most tools do, joined where the arm is most plausible.

Who copies a hand's orientation onto the wrist leaves to the wrist whatever forearm and hand disagree about (as Rong et al., "FrankMocap",
ICCV Workshops 2021, by copying do): a forearm that a body network turned wrongly about its axis twists the wrist by as much. Here shoulder,
elbow and wrist share it as a prior of the whole arm has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.rotations import canonicalize, to_rotmat
from pose_priors.body.skeleton import NUM_JOINTS, PARTS, index_of
from pose_priors.priors.base import Prior

_ARM = ("shoulder", "elbow", "wrist")
# steps at most; nats and radians, and nats a radian, below which there is nothing left to gain
_MAX_STEPS, _ENOUGH, _FLAT = 200, 1e-9, 1e-3
_LEAST_STD, _MOST_STD = 1e-4, 1e4
_COARSE = 0.02, 0.005, 0.001  # radians and metres, by which what is surer is first taken to err: else steps along it are short
_CHUNK = 64  # poses that are solved together


@dataclass(frozen=True)
class Hand:
    """A hand as it was estimated, apart from the body.

    Attributes:
        wrist: (*batch, 3) rotation vector of the whole hand, in the axes in which the body's root is given: MANO's `global_orient`.
        fingers: (*batch, 15, 3) rotation vectors in SMPL-X's order, zero for the flat hand (`body.hands` adds MANO's mean).
    """

    wrist: Tensor
    fingers: Tensor


def stitch(
    prior: Prior,
    body: Tensor,
    left: Hand | None = None,
    right: Hand | None = None,
    *,
    rest: Tensor | None = None,
    body_std: float = 0.2,
    hand_std: float = 0.05,
    place_std: float = 0.05,
) -> Tensor:
    """Poses with those hands, shoulders, elbows and wrists turned so that arms are as probable as they can be, given what was estimated.

    What is minimised is the prior's energy, and how far shoulders and elbows are from the body's estimate, hands from theirs (both as
    rotations of a matrix Fisher distribution: Downs, Biometrika 59, 1972), and wrists from where the body's estimate has them. What the
    body's estimate says of the wrists' own rotation is not looked at.

    Args:
        prior: of bodies; the better it knows how wrists go with elbows, the better.
        body: (*batch, 55, 3) rotation vectors in radians, of whose fingers those that are given here take the place.
        left: the left hand; None leaves that arm as it is.
        right: the right hand, likewise.
        rest: (55, 3) metres, the person's joints at rest; the built-in skeleton's by default.
        body_std: radians about each axis by which the body's shoulders and elbows err.
        hand_std: the same of the hands' orientation.
        place_std: metres by which the body's wrists err along each axis.
    Returns:
        (*batch, 55, 3), of `body`'s type; all joints but those of the arms and hands that were given are as they were.
    Raises:
        ValueError: if shapes differ, something is not finite, a standard deviation is not from 1e-4 to 1e4, or the prior
            knows no wrist that is to be turned.
    """
    joints = rest_joints().to(body.device) if rest is None else rest
    hands = {side: hand for side, hand in (("left", left), ("right", right)) if hand is not None}
    _check(prior, body, joints, hands, {"body_std": body_std, "hand_std": hand_std, "place_std": place_std})
    if not hands or not body.numel():
        return body.clone()
    with torch.inference_mode(False), torch.enable_grad():
        return _stitched(prior, body, hands, joints, (body_std, hand_std, place_std))


def _stitched(prior: Prior, body: Tensor, hands: Mapping[str, Hand], rest: Tensor, stds: tuple[float, float, float]) -> Tensor:
    whole = body.detach().reshape(-1, NUM_JOINTS, 3).double().clone()
    for side, hand in hands.items():
        whole[:, list(PARTS[f"{side}_hand"])] = hand.fingers.detach().reshape(-1, 15, 3).to(whole)
    wrists = torch.stack([hand.wrist.detach().reshape(-1, 3) for hand in hands.values()], 1).to(whole)
    skeleton = rest.detach().clone().to(whole)
    found = [
        _solved(prior, part, seen, list(hands), skeleton, stds)
        for part, seen in zip(whole.split(_CHUNK), to_rotmat(wrists).split(_CHUNK), strict=True)
    ]
    return torch.cat(found).to(body).view(body.shape)


def _check(prior: Prior, body: Tensor, rest: Tensor, hands: Mapping[str, Hand], stds: Mapping[str, float]) -> None:
    batch = body.shape[:-2]
    expected: dict[str, tuple[Tensor, tuple[int, ...]]] = {"body": (body, (*batch, NUM_JOINTS, 3)), "rest": (rest, (NUM_JOINTS, 3))}
    for side, hand in hands.items():
        expected |= {f"{side}.wrist": (hand.wrist, (*batch, 3)), f"{side}.fingers": (hand.fingers, (*batch, 15, 3))}
    for name, (value, shape) in expected.items():
        if value.shape != shape:
            raise ValueError(f"{name} is of shape {tuple(value.shape)}; {shape} is expected, as of a body {tuple(body.shape)}")
        if not value.is_floating_point():
            raise ValueError(f"{name} is of {value.dtype}, which holds no rotations; a type of floating point is expected")
        if not torch.isfinite(value).all():
            raise ValueError(f"{name} is not finite")
    for name, std in stds.items():
        if not _LEAST_STD <= std <= _MOST_STD:
            raise ValueError(f"{name} is {std}; {_LEAST_STD:g} to {_MOST_STD:g} is expected")
    if unknown := [side for side in hands if f"{side}_wrist" not in prior.joints]:
        raise ValueError(f"the prior knows {', '.join(prior.joints)}, and no {unknown[0]}_wrist")


def _solved(prior: Prior, body: Tensor, wrists: Tensor, sides: list[str], rest: Tensor, stds: tuple[float, float, float]) -> Tensor:
    """Poses (N, 55, 3) of bodies, with hands whose orientations (N, H, 3, 3) are given, side by side."""
    body_std, hand_std, place_std = stds
    arms = [[index_of(f"{side}_{name}") for name in _ARM] for side in sides]
    moving = [joint for arm in arms for joint in arm]
    ends, held = [arm[2] for arm in arms], [joint for arm in arms for joint in arm[:2]]
    places, turned = forward_kinematics(body, rest)
    known = to_rotmat(body[:, held])
    start = body[:, moving].clone()
    # a wrist begins where copying puts it
    for number, arm in enumerate(arms):
        start[:, 3 * number + 2] = conversions.rotmat_to_rotvec(turned[:, arm[1]].mT @ wrists[:, number])

    def posed(point: Tensor) -> Tensor:
        return body.index_copy(1, torch.tensor(moving, device=body.device), point)

    def energy(point: Tensor, least_std: float) -> Tensor:
        of_hand, of_place = max(hand_std, least_std), max(place_std, least_std)
        pose = posed(point)
        there, facing = forward_kinematics(pose, rest)
        apart = _squared(facing[:, ends] - wrists) / of_hand**2 + _squared(to_rotmat(pose[:, held]) - known) / body_std**2
        moved = (there[:, ends] - places[:, ends]).square().sum((-1, -2)) / (2 * of_place**2)
        return (prior.energy(pose.to(prior.default_pose)).double() + apart + moved).sum()

    for least_std in (*(std for std in _COARSE if std > min(hand_std, place_std)), 0.0):
        start = _minimised(partial(energy, least_std=least_std), start)
    return canonicalize(posed(start))


def _squared(apart: Tensor) -> Tensor:
    """Half of the squared angles between rotations whose matrices (N, K, 3, 3) differ by so much, for small ones: (N,)."""
    return apart.square().sum((-1, -2, -3)) / 4


def _minimised(energy: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    point = start.detach().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [point], max_iter=_MAX_STEPS, tolerance_grad=_FLAT, tolerance_change=_ENOUGH, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = energy(point)
        (point.grad,) = torch.autograd.grad(value, point)
        return value

    optimizer.step(closure)
    return point.detach()
