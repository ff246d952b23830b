"""The built-in poses: deterministic, anatomical on the built-in skeleton, and with structure that a joint alone does not show."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pose_priors.body.builtin import ANKLE_HEIGHT, STATURE, rest_joints
from pose_priors.body.limits import JOINT_LIMITS, limit_violations
from pose_priors.body.model import forward_kinematics
from pose_priors.body.rotations import mirror_pose
from pose_priors.body.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS, PARTS, index_of
from pose_priors.datamodules.synthetic import synthetic_poses
from pose_priors.datamodules.synthetic.body import body_poses
from pose_priors.datamodules.synthetic.draw import Draw
from pose_priors.datamodules.synthetic.gait import gait
from pose_priors.datamodules.synthetic.legs import sit, squat


@pytest.fixture(scope="module")
def poses() -> Tensor:
    return synthetic_poses(8000, seed=3)


def test_shape_and_seed(poses: Tensor) -> None:
    assert poses.shape == (8000, NUM_JOINTS, 3)
    assert poses.dtype == torch.float32
    assert torch.equal(poses, synthetic_poses(8000, seed=3))
    assert not torch.isclose(poses, synthetic_poses(8000, seed=4)).all(-1).any()
    assert synthetic_poses(1, seed=0).shape == (1, NUM_JOINTS, 3)
    with pytest.raises(ValueError, match="num_poses"):
        synthetic_poses(0, seed=0)


def test_does_not_touch_the_global_generator() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    synthetic_poses(10, seed=1)
    assert torch.equal(state, torch.get_rng_state())


def test_canonical_and_finite(poses: Tensor) -> None:
    assert poses.isfinite().all()
    assert (poses.norm(dim=-1) <= math.pi + 1e-6).all()
    # no joint but the root comes near the cut at pi, where its density would be torn apart
    assert poses[:, 1:].norm(dim=-1).max() < 0.95 * math.pi


def test_ranges_of_motion_hold_without_piling_up_at_their_ends(poses: Tensor) -> None:
    assert limit_violations(poses).max() == 0
    lower, upper = JOINT_LIMITS[1:].float().unbind(-1)
    place = (poses[:, 1:] - lower) / (upper - lower)
    near = ((place < 0.02) | (place > 0.98)).float().mean(0)
    assert near.max() < 0.01


def test_no_component_is_degenerate_and_no_value_repeats(poses: Tensor) -> None:
    assert (poses.std(0).rad2deg() > 0.8).all()
    for component in poses.reshape(len(poses), -1).T[::7]:
        assert component.unique().numel() > 0.99 * len(component)


def test_left_and_right_are_equally_likely(poses: Tensor) -> None:
    """Means and spreads of the poses and of their mirror images agree within sampling error."""
    mirrored = mirror_pose(poses)
    error = 5 * poses[:, 1:].std(0) * math.sqrt(2 / len(poses))
    assert ((poses[:, 1:].mean(0) - mirrored[:, 1:].mean(0)).abs() < error).all()
    assert ((poses[:, 1:].std(0) / mirrored[:, 1:].std(0)).log().abs() < 0.15).all()


def test_headings_are_uniform_and_people_upright(poses: Tensor) -> None:
    joints, rotations = forward_kinematics(poses.double(), rest_joints())
    forward = rotations[:, 0, :, 2]
    heading = torch.atan2(forward[:, 0], forward[:, 2])
    counts = torch.histc(heading, 8, -math.pi, math.pi)
    assert (counts - 1000).abs().max() < 5 * math.sqrt(1000)
    assert ((joints[:, index_of("neck"), 1] - joints[:, 0, 1]) > 0).float().mean() > 0.97
    feet = torch.minimum(joints[:, index_of("left_ankle"), 1], joints[:, index_of("right_ankle"), 1])
    assert (feet < joints[:, 0, 1] - 0.1).float().mean() > 0.99


def test_people_are_balanced_over_their_feet(poses: Tensor) -> None:
    """The centre of mass (segment masses of Winter, 2009) is above the feet, but for those who sit."""
    joints, _ = forward_kinematics(poses.double(), rest_joints())
    at = {name: joints[:, i] for i, name in enumerate(JOINT_NAMES)}
    masses = {("pelvis", "spine1"): 0.142, ("spine1", "spine3"): 0.200, ("spine3", "neck"): 0.155, ("head", "head"): 0.081}
    limbs = {("hip", "knee"): 0.1, ("knee", "ankle"): 0.0465, ("shoulder", "elbow"): 0.028, ("elbow", "wrist"): 0.022}
    masses |= {(f"{side}_{a}", f"{side}_{b}"): m for (a, b), m in limbs.items() for side in ("left", "right")}
    centre = sum(m * (at[a] + at[b]) / 2 for (a, b), m in masses.items()) / sum(masses.values())
    feet = torch.stack([at[f"{side}_{joint}"] for side in ("left", "right") for joint in ("ankle", "foot")]).mean(0)
    away = (centre - feet)[:, [0, 2]].norm(dim=-1)
    assert away.median() < 0.1
    assert (away < 0.2).float().mean() > 0.75


def _posed(bodies_pose: Tensor) -> dict[str, Tensor]:
    rest = rest_joints()[:22]
    joints, _ = forward_kinematics(bodies_pose, rest, PARENTS[:22])
    return {name: joints[:, i] for i, name in enumerate(JOINT_NAMES[:22])}


def test_signs_of_single_joints() -> None:
    """The conventions that the generators rely on, seen on the skeleton."""
    rest = rest_joints()

    def moved(name: str, axis: int, degrees: float, watched: str) -> Tensor:
        pose = torch.zeros(NUM_JOINTS, 3, dtype=torch.float64)
        pose[index_of(name), axis] = math.radians(degrees)
        return (forward_kinematics(pose, rest)[0] - rest)[index_of(watched)]

    assert moved("left_knee", 0, 60, "left_ankle")[2] < -0.2
    assert moved("left_hip", 0, -60, "left_knee")[2] > 0.2
    assert moved("left_hip", 2, 30, "left_knee")[0] > 0.1
    assert moved("left_shoulder", 2, -80, "left_wrist")[1] < -0.4
    assert moved("right_shoulder", 2, 80, "right_wrist")[1] < -0.4
    assert moved("left_elbow", 1, -60, "left_wrist")[2] > 0.1
    assert moved("right_elbow", 1, 60, "right_wrist")[2] > 0.1
    assert moved("spine1", 0, 30, "head")[2] > 0.1
    assert moved("left_index1", 2, -60, "left_index3")[1] < -0.02
    assert moved("left_ankle", 0, -20, "left_foot")[1] > 0.02


def test_hanging_arms_bring_the_wrists_to_the_hips(poses: Tensor) -> None:
    joints, rotations = forward_kinematics(poses.double(), rest_joints())
    local = (rotations[:, :1].transpose(-1, -2) @ (joints - joints[:, :1])[..., None])[..., 0]
    for side, sign in (("left", 1), ("right", -1)):
        wrist, hip = local[:, index_of(f"{side}_wrist")], local[:, index_of(f"{side}_hip")]
        low = (wrist[:, 1] < 0.05) & (local[:, index_of("neck"), 2].abs() < 0.15)
        assert low.float().mean() > 0.1
        assert ((wrist - hip)[low].norm(dim=-1) < 0.45).float().mean() > 0.95
        assert ((wrist[low, 0] * sign) > 0).float().mean() > 0.95


def test_sitting_and_squatting_fold_the_legs() -> None:
    draw = Draw(500, torch.Generator().manual_seed(0))
    seated, low = sit(draw), squat(draw)
    for legs in (seated, low):
        assert legs.hip_flexion.isfinite().all()
    # thighs near level and soles near the floor: pelvis, hip, knee and ankle add up to a level foot
    thigh = seated.hip_flexion - seated.pelvis_tilt[:, None]
    assert ((thigh > 60) & (thigh < 130)).float().mean() > 0.97
    sole = seated.pelvis_tilt[:, None] - seated.hip_flexion + seated.knee_flexion - seated.dorsiflexion
    assert sole.abs().median() < 12
    together = torch.corrcoef(torch.stack([low.hip_flexion[:, 0], low.knee_flexion[:, 0], low.pelvis_tilt]))
    assert together[0, 1] > 0.95


def _walking(phase: Tensor, running: float) -> dict[str, Tensor]:
    at = gait(phase, torch.full_like(phase, running))
    pose = torch.zeros(len(phase), 22, 3, dtype=torch.float64)
    pose[:, 0, 0] = at.pelvis_tilt
    for i, side in enumerate(("left", "right")):
        pose[:, index_of(f"{side}_hip"), 0] = -at.hip_flexion[:, i] - at.pelvis_tilt
        pose[:, index_of(f"{side}_knee"), 0] = at.knee_flexion[:, i]
        pose[:, index_of(f"{side}_ankle"), 0] = -at.dorsiflexion[:, i]
        pose[:, index_of(f"{side}_foot"), 0] = -at.toe_extension[:, i]
    return _posed(pose.deg2rad())


def test_walking_feet_stay_near_the_ground() -> None:
    """Over a cycle the lower foot is at one height but for the few centimetres by which the pelvis rises and falls, and the stance foot
    travels backwards under the body."""
    phase = torch.linspace(0, 1, 101, dtype=torch.float64)[:-1]
    at = _walking(phase, running=0.0)
    sole = {side: torch.minimum(at[f"{side}_ankle"][:, 1] - ANKLE_HEIGHT * STATURE, at[f"{side}_foot"][:, 1]) for side in ("left", "right")}
    lowest = torch.minimum(sole["left"], sole["right"])
    assert lowest.max() - lowest.min() < 0.06
    assert (sole["left"][10:50] - lowest[10:50]).max() < 0.03
    assert (at["left_ankle"][10:50, 2].diff() < 0).all()
    assert (sole["left"] - lowest).max() > 0.03
    assert 0.45 < (at["left_ankle"][:, 2].max() - at["left_ankle"][:, 2].min()) < 0.95


def test_gait_is_periodic_and_its_sides_half_a_cycle_apart() -> None:
    phase = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    running = torch.linspace(0, 1, 50, dtype=torch.float64)
    now, half, whole = (gait(phase + shift, running) for shift in (0.0, 0.5, 1.0))
    for name in ("hip_flexion", "knee_flexion", "dorsiflexion", "toe_extension", "shoulder_flexion", "elbow_flexion"):
        torch.testing.assert_close(getattr(now, name), getattr(whole, name), rtol=0, atol=1e-9)
        torch.testing.assert_close(getattr(now, name)[:, 0], getattr(half, name)[:, 1], rtol=0, atol=1e-9)
    torch.testing.assert_close(now.pelvis_turn, -half.pelvis_turn, rtol=0, atol=1e-9)
    # the arm swings with the opposite leg
    walk = gait(phase, torch.zeros_like(phase))
    assert torch.corrcoef(torch.stack([walk.shoulder_flexion[:, 0], walk.hip_flexion[:, 1]]))[0, 1] > 0.7


def test_fingers_close_together_and_last_joints_follow(poses: Tensor) -> None:
    index, pinky = poses[:, index_of("left_index2"), 2], poses[:, index_of("left_pinky2"), 2]
    middle, last = poses[:, index_of("left_middle2"), 2], poses[:, index_of("left_middle3"), 2]
    assert torch.corrcoef(torch.stack([index, pinky]))[0, 1] > 0.5
    slope = torch.linalg.lstsq(torch.stack([middle, torch.ones_like(middle)], -1), last[:, None]).solution[0]
    assert slope.item() == pytest.approx(2 / 3, abs=0.1)


def test_eyes_move_together(poses: Tensor) -> None:
    left, right = poses[:, index_of("left_eye_smplhf")], poses[:, index_of("right_eye_smplhf")]
    for axis in (0, 1):
        assert torch.corrcoef(torch.stack([left[:, axis], right[:, axis]]))[0, 1] > 0.8


def test_structure_beyond_single_joints_and_pairs(poses: Tensor) -> None:
    """Held out, in nats: the whole pose < each joint given its parent < independent joints < independent components."""
    # The root's heading tells nothing and is left out.
    train, test = (x[:, 1:].reshape(len(x), -1).double().numpy() for x in (poses, synthetic_poses(2000, seed=5)))
    mean, std = train.mean(0), train.std(0)
    train, test = (train - mean) / std, (test - mean) / std
    columns = [list(range(3 * i, 3 * i + 3)) for i in range(NUM_JOINTS - 1)]

    def gaussian(columns_of: list[int]) -> float:
        """Mean NLL of the test rows under a full-covariance Gaussian over some columns."""
        cov = np.cov(train[:, columns_of].T)
        white = np.linalg.solve(np.linalg.cholesky(cov), test[:, columns_of].T)
        return 0.5 * float((white**2).sum(0).mean() + np.linalg.slogdet(2 * np.pi * cov)[1])

    diagonal = 0.5 * float((test**2).sum(1).mean()) + 0.5 * test.shape[1] * math.log(2 * math.pi)
    joint = sum(gaussian(c) for c in columns)
    parents = [columns[p - 1] if p > 0 else [] for p in PARENTS[1:]]
    given_parent = sum(gaussian(p + c) - (gaussian(p) if p else 0.0) for c, p in zip(columns, parents, strict=True))
    whole = gaussian(list(range(train.shape[1])))
    body = [column for i in PARTS["body"] for column in columns[i - 1]]
    mixture = GaussianMixture(6, max_iter=40, tol=0.1, reg_covar=1e-3, random_state=0).fit(train[::2, body])
    assert diagonal > joint + 10
    assert joint > given_parent + 20
    assert given_parent > whole + 15
    # and not all of it is linear
    assert gaussian(body) > -mixture.score(test[:, body]) + 3


def test_bodies_couple_arms_to_trunk() -> None:
    """Hanging arms follow gravity: people who bend have their arms forward of the trunk."""
    bodies = body_poses(4000, torch.Generator().manual_seed(0))
    lean = bodies.pose[:, [0, 3, 6, 9], 0].sum(1)
    forward = bodies.pose[:, index_of("right_shoulder"), 1]
    assert forward[lean > 1.0].mean() > forward[lean < 0.3].mean() + 0.2
