"""Hands put onto bodies."""

from __future__ import annotations

import math
from typing import Any

import pytest
import roma
import torch
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.rotations import geodesic_angle, to_rotmat
from pose_priors.body.skeleton import PARTS, index_of
from pose_priors.datamodules.synthetic import synthetic_poses
from pose_priors.priors.base import Prior
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.stitching import Hand, stitch

ARMS = {side: [index_of(f"{side}_{name}") for name in ("shoulder", "elbow", "wrist")] for side in ("left", "right")}
BODY = list(range(1, 22))


@pytest.fixture(scope="module")
def prior() -> Prior:
    """Of the built-in poses, whose wrists turn little."""
    found = GaussianConfig(kind="gaussian", covariance="full").build(BODY)
    found.fit_statistics(torch.as_tensor(synthetic_poses(3000, seed=0)).float())
    return found.eval()


def _turned(rotvec: Tensor, std: float, seed: int) -> Tensor:
    noise = std * torch.randn(rotvec.shape, generator=torch.Generator().manual_seed(seed), dtype=rotvec.dtype)
    turned: Tensor = roma.unitquat_to_rotvec(roma.quat_product(roma.rotvec_to_unitquat(rotvec), roma.rotvec_to_unitquat(noise)))
    return turned


def _hands(pose: Tensor, std: float = 0.0) -> dict[str, Hand]:
    """Those of poses, whose orientation errs by so much."""
    _, facing = forward_kinematics(pose, rest_joints())
    return {
        side: Hand(_turned(roma.rotmat_to_rotvec(facing[..., arm[2], :, :]), std, 5), pose[..., list(PARTS[f"{side}_hand"]), :])
        for side, arm in ARMS.items()
    }


def _copied(body: Tensor, hands: dict[str, Hand]) -> Tensor:
    """What most tools do: the wrist takes all that forearm and hand disagree about."""
    _, facing = forward_kinematics(body, rest_joints())
    found = body.clone()
    for side, arm in ARMS.items():
        found[:, arm[2]] = roma.rotmat_to_rotvec(facing[:, arm[1]].mT @ to_rotmat(hands[side].wrist))
    return found


def _off(pose: Tensor, truth: Tensor, joints: list[int]) -> float:
    return float(torch.rad2deg(geodesic_angle(to_rotmat(pose[:, joints]), to_rotmat(truth[:, joints]))).mean())


def test_arms_are_nearer_to_the_truth_than_copied_ones(prior: Prior) -> None:
    truth = torch.as_tensor(synthetic_poses(40, seed=1)).double()
    body = truth.clone()
    arms = ARMS["left"] + ARMS["right"]
    body[:, arms] = _turned(truth[:, arms], 0.2, 3)
    hands = _hands(truth, 0.05)
    found, copied = stitch(prior, body, **hands), _copied(body, hands)
    for number, share in enumerate((0.85, 0.75, 0.75)):
        joints = [arm[number] for arm in ARMS.values()]
        assert _off(found, truth, joints) < share * _off(copied, truth, joints), joints
    assert (prior.energy(found.float()) < prior.energy(copied.float())).all()
    _, facing = forward_kinematics(found, rest_joints())
    for side, arm in ARMS.items():
        apart = torch.rad2deg(geodesic_angle(facing[:, arm[2]], to_rotmat(hands[side].wrist)))
        assert apart.mean() < 3
        torch.testing.assert_close(found[:, list(PARTS[f"{side}_hand"])], hands[side].fingers)
    still = [joint for joint in range(25) if joint not in arms]
    assert torch.equal(found[:, still], body[:, still])


def test_a_forearm_turned_about_its_axis_does_not_twist_the_wrist(prior: Prior) -> None:
    truth = torch.as_tensor(synthetic_poses(1, seed=2)).double()
    elbow, wrist = ARMS["right"][1:]
    bone = rest_joints()[wrist] - rest_joints()[elbow]
    body = truth.clone()
    body[:, elbow] = roma.rotmat_to_rotvec(to_rotmat(truth[:, elbow]) @ to_rotmat(math.radians(60) * bone / bone.norm())[None])
    hand = _hands(truth)["right"]
    copied = _copied(body, _hands(truth))
    found = stitch(prior, body, right=hand, body_std=0.5)
    assert _off(copied, truth, [wrist]) > 55
    assert _off(found, truth, [wrist]) < 25
    assert torch.equal(found[:, ARMS["left"]], body[:, ARMS["left"]])


def test_what_agrees_and_is_sure_stays(prior: Prior) -> None:
    truth = torch.as_tensor(synthetic_poses(3, seed=4)).double()
    found = stitch(prior, truth, **_hands(truth), body_std=1e-3, hand_std=1e-3, place_std=1e-3)
    torch.testing.assert_close(to_rotmat(found), to_rotmat(truth), atol=2e-3, rtol=0)


def test_the_result_is_a_minimum_of_what_it_says(prior: Prior) -> None:
    """Independently, by central differences of the sum with squared geodesic angles at small ones."""
    truth = torch.as_tensor(synthetic_poses(1, seed=6)).double()
    body = truth.clone()
    body[:, ARMS["left"]] = _turned(truth[:, ARMS["left"]], 0.05, 3)
    hand, stds = _hands(truth, 0.02)["left"], {"body_std": 0.1, "hand_std": 0.05, "place_std": 0.05}
    found = stitch(prior, body, left=hand, **stds)
    start, _ = forward_kinematics(body, rest_joints())

    @torch.no_grad()
    def total(pose: Tensor) -> float:
        there, facing = forward_kinematics(pose, rest_joints())
        of_hand = geodesic_angle(facing[:, 20], to_rotmat(hand.wrist)).square().sum() / stds["hand_std"] ** 2
        arm = ARMS["left"][:2]
        of_body = geodesic_angle(to_rotmat(pose[:, arm]), to_rotmat(body[:, arm])).square().sum() / stds["body_std"] ** 2
        of_place = (there[:, 20] - start[:, 20]).square().sum() / stds["place_std"] ** 2
        return float(prior.double().energy(pose).sum() + (of_hand + of_body + of_place) / 2)

    lowest = total(found)
    for joint in ARMS["left"]:
        for axis in range(3):
            for sign in (-1, 1):
                moved = found.clone()
                moved[:, joint, axis] += sign * 0.02
                assert total(moved) > lowest - 2e-3, (joint, axis)
    prior.float()


def test_batches_types_and_one_pose_at_a_time(prior: Prior) -> None:
    truth = torch.as_tensor(synthetic_poses(6, seed=7)).float().view(2, 3, 55, 3)
    body = _turned(truth, 0.1, 8)
    hands = _hands(truth.double())
    together = stitch(prior, body, **hands)
    assert together.shape == body.shape
    assert together.dtype == body.dtype
    alone = stitch(prior, body[1, 2], **{side: Hand(hand.wrist[1, 2], hand.fingers[1, 2]) for side, hand in hands.items()})
    torch.testing.assert_close(to_rotmat(alone), to_rotmat(together[1, 2]), atol=0.02, rtol=0)
    assert torch.equal(stitch(prior, body), body)
    assert stitch(prior, body[:0], Hand(torch.zeros(0, 3, 3), torch.zeros(0, 3, 15, 3))).shape == (0, 3, 55, 3)


def test_hands_turned_by_half_a_turn_leave_all_finite(prior: Prior) -> None:
    wrists = torch.tensor([[math.pi, 0, 0], [0, math.pi, 0], [0, 0, 3.2], [10.0, 0, 0]])
    found = stitch(prior, torch.zeros(4, 55, 3), Hand(wrists, torch.zeros(4, 15, 3)))
    _, facing = forward_kinematics(found.double(), rest_joints())
    assert (torch.rad2deg(geodesic_angle(facing[:, 20], to_rotmat(wrists.double()))) < 20).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"body": torch.zeros(2, 54, 3)}, "body is of shape"),
        ({"left": Hand(torch.zeros(3), torch.zeros(2, 15, 3))}, "left.wrist is of shape"),
        ({"left": Hand(torch.zeros(2, 3), torch.zeros(2, 45))}, "left.fingers is of shape"),
        ({"left": Hand(torch.full((2, 3), math.nan), torch.zeros(2, 15, 3))}, "left.wrist is not finite"),
        ({"hand_std": 0.0}, "hand_std is 0.0"),
        ({"hand_std": 1e-200}, "hand_std is 1e-200"),
        ({"body_std": 1e200}, "body_std is 1e\\+200"),
        ({"body": torch.zeros(2, 55, 3, dtype=torch.long)}, "body is of torch.int64"),
        ({"rest": torch.zeros(24, 3)}, "rest is of shape"),
        ({"rest": torch.full((55, 3), math.nan)}, "rest is not finite"),
        ({"place_std": math.nan}, "place_std is nan"),
    ],
)
def test_what_is_refused(prior: Prior, change: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"body": torch.zeros(2, 55, 3), "left": Hand(torch.zeros(2, 3), torch.zeros(2, 15, 3)), **change}
    with pytest.raises(ValueError, match=told):
        stitch(prior, **given)


def test_a_prior_without_wrists_is_refused() -> None:
    legs = GaussianConfig(kind="gaussian").build([1, 2, 4, 5])
    with pytest.raises(ValueError, match="no left_wrist"):
        stitch(legs, torch.zeros(2, 55, 3), Hand(torch.zeros(2, 3), torch.zeros(2, 15, 3)))


@pytest.mark.parametrize("stds", [{"hand_std": 0.001}, {"place_std": 0.0005}])
def test_sure_hands_and_places_are_met_to_the_end(prior: Prior, stds: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    truth = torch.as_tensor(synthetic_poses(8, seed=9)).double()
    body = truth.clone()
    arms = ARMS["left"][:2]
    body[:, arms] = _turned(truth[:, arms], 0.4, 3)
    found = stitch(prior, body, left=_hands(truth)["left"], **stds)
    monkeypatch.setattr("pose_priors.priors.stitching._MAX_STEPS", 2000)
    longer = stitch(prior, body, left=_hands(truth)["left"], **stds)
    with torch.no_grad():
        assert float((prior.energy(found.float()) - prior.energy(longer.float())).abs().max()) < 1.0


def test_it_works_where_nothing_is_learnt(prior: Prior) -> None:
    truth = torch.as_tensor(synthetic_poses(2, seed=9)).float()
    hands = _hands(truth.double())
    expected = stitch(prior, truth, **hands)
    rest = rest_joints().requires_grad_()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(stitch(prior, truth + 0, **_hands(truth.double()), rest=rest), expected)
