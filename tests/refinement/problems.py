"""Generated problems: people who move under a moving camera, and what the stages would make of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import roma
import torch
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.pinhole import to_camera
from pose_priors.body.skeleton import PARENTS, PARTS, index_of
from pose_priors.refinement.given.problem import Bodies, Cameras, Estimate, Observations, Problem
from pose_priors.refinement.solve.scene import project

NUM_JOINTS = 22
_ANKLES_AND_FEET = [index_of(f"{side}_{name}") for side in ("left", "right") for name in ("ankle", "foot")]
_THICKNESS = 0.06


@dataclass(frozen=True)
class Truth:
    """What a refinement should find: joints (P, T, J, 3) in metres, the scale, the floor (4,)."""

    joints: Tensor
    alpha: float
    plane: Tensor


def make_problem(
    people: int = 2,
    frames: int = 24,
    *,
    noise: float = 1.0,
    alpha: float = 1.02,
    alpha0: float | None = None,
    hidden: slice | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Problem, Truth]:
    """People who stand with both feet on a floor and move all above the hips.

    Args:
        noise: 0 for perfect input, 1 for keypoints that miss by 3 px, joints by 0.05 rad, pelvis depths by 2.5 %.
        alpha: of the truth; alpha0: at the start, by default the truth's.
        hidden: frames on which the last person is not seen.
    """
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    time = torch.arange(frames, dtype=torch.float64) / 30
    parents = PARENTS[:NUM_JOINTS]
    rest = rest_joints()[:NUM_JOINTS] * (1 + 0.05 * torch.linspace(-1, 1, people, dtype=torch.float64))[:, None, None]
    phase = torch.rand(people, 1, 1, generator=draw, dtype=torch.float64)
    sway = torch.sin(2 * math.pi * (0.7 * time[:, None] + phase))
    pose = torch.zeros(people, frames, NUM_JOINTS, 3, dtype=torch.float64)
    above_hips = [j for j in range(1, NUM_JOINTS) if j not in (1, 2, 4, 5, 7, 8, 10, 11)]
    pose[:, :, above_hips] = 0.25 * sway[..., None] * normal(people, 1, len(above_hips), 3)
    # OpenCV: y down; the people face the camera, each turned a little
    upright = torch.tensor([math.pi, 0.0, 0.0], dtype=torch.float64).expand(people, 3)
    turned = torch.zeros(people, 3, dtype=torch.float64)
    turned[:, 1] = 0.4 * normal(people)
    pose[:, :, 0] = roma.rotvec_composition([upright, turned])[:, None]
    floor = 1.2
    sole = rest[:, _ANKLES_AND_FEET, 1].amin(1) - 0.01
    places = 1.3 * (torch.arange(people, dtype=torch.float64) - (people - 1) / 2)
    pelvis = torch.stack([places, floor + sole, torch.full_like(places, 4.5)], -1)
    pelvis = pelvis[:, None].expand(people, frames, 3)
    joints = _pose(pose, rest, pelvis)

    angle = 0.15 * (time / time[-1].clamp_min(1e-9) - 0.5)
    w2c = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    w2c[:, :3, :3] = roma.rotvec_to_rotmat(torch.stack([angle * 0, angle, angle * 0], -1))
    w2c[:, :3, 3] = torch.stack([4 * angle, 0 * angle, 0 * angle], -1) / alpha
    first = torch.linalg.inv(w2c[0])
    w2c = w2c @ first
    joints = _through(first, joints, alpha)
    pelvis = joints[:, :, 0]
    root = roma.rotmat_to_rotvec(torch.linalg.inv(first)[:3, :3] @ roma.rotvec_to_rotmat(pose[:, :, 0]))
    up = torch.linalg.inv(first)[:3, :3] @ torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    soles = joints[:, 0, _ANKLES_AND_FEET].flatten(0, 1) @ up
    plane = torch.cat([up, -(soles.min() - 0.01)[None]])
    intrinsics = torch.tensor([[1000.0, 0, 640], [0, 1000, 360], [0, 0, 1]], dtype=torch.float64).expand(frames, 3, 3)
    cameras = Cameras(w2c, intrinsics, (1280, 720), torch.ones(frames, dtype=torch.float64))

    visible = torch.ones(people, frames, dtype=torch.bool)
    if hidden is not None:
        visible[-1, hidden] = False
    seen = visible[..., None].to(torch.float64).expand(people, frames, NUM_JOINTS)
    in_camera = to_camera(joints, cameras.w2c, alpha)
    keypoints = project(in_camera, cameras) + 3 * noise * normal(people, frames, NUM_JOINTS, 2)
    depth = (in_camera[..., 2] - _THICKNESS) / alpha * (1 + 0.005 * noise * normal(people, frames, NUM_JOINTS))
    height = torch.full((people, NUM_JOINTS), math.nan, dtype=torch.float64)
    height[:, _ANKLES_AND_FEET] = joints[:, 0, _ANKLES_AND_FEET] @ plane[:3] + plane[3]
    grid = (
        torch.stack(torch.meshgrid(torch.linspace(-2, 2, 12), torch.linspace(3, 6, 12), indexing="ij"), -1).flatten(0, 1).to(torch.float64)
    )
    floor_points = torch.stack([grid[:, 0], -(plane[3] + grid[:, 0] * plane[0] + grid[:, 1] * plane[2]) / plane[1], grid[:, 1]], -1)

    start_alpha = alpha if alpha0 is None else alpha0
    turn = noise * (0.01 * normal(people, frames, NUM_JOINTS, 3) + 0.05 * normal(people, 1, NUM_JOINTS, 3))
    rotvec = torch.cat([root[:, :, None], pose[:, :, 1:]], 2)
    rotvec = roma.rotvec_composition([rotvec, turn])
    near = 1 + noise * (0.003 * normal(people, frames, 1) + 0.025 * normal(people, 1, 1))
    start_pelvis = _through_frames(w2c, to_camera(pelvis[:, :, None], cameras.w2c, alpha)[:, :, 0] * near, start_alpha)
    start = Estimate(rotvec[:, :, 0], rotvec[:, :, 1:], start_pelvis, start_alpha, plane)
    problem = Problem(
        person_ids=tuple(range(1, people + 1)),
        frame_ids=tuple(range(frames)),
        fps=30.0,
        alive=torch.ones_like(visible),
        visible=visible,
        cameras=cameras,
        bodies=Bodies(
            parents,
            rest,
            torch.zeros(people, NUM_JOINTS, 3, 0, dtype=torch.float64),
            torch.zeros(people, 10, dtype=torch.float64),
            tuple(range(NUM_JOINTS)),
            height,
            torch.full_like(height, _THICKNESS),
        ),
        observations=Observations(
            keypoints, seen, tuple((j,) for j in range(NUM_JOINTS)), depth * seen, seen.clone(), floor_points / alpha
        ),
        start=start,
    )
    return problem.to(dtype), Truth(joints, alpha, plane)


def error_mm(joints: Tensor, truth: Truth, mask: Tensor) -> float:
    """Mean distance of joints (P, T, J, 3) from the truth on the frames of a mask (P, T)."""
    return float(1000 * torch.linalg.vector_norm(joints.double() - truth.joints, dim=-1)[mask].mean())


def _pose(rotvec: Tensor, rest: Tensor, pelvis: Tensor) -> Tensor:
    joints, _ = forward_kinematics(rotvec, rest[:, None], PARENTS[:NUM_JOINTS])
    return joints + (pelvis - rest[:, None, 0])[:, :, None]


def _through(first: Tensor, points: Tensor, alpha: float) -> Tensor:
    """Points (..., 3) in the axes of the first camera, whose inverse is `first`."""
    into = torch.linalg.inv(first)
    return points @ into[:3, :3].T + alpha * into[:3, 3]


def _through_frames(w2c: Tensor, points: Tensor, alpha: float) -> Tensor:
    """Points (P, T, 3) of each frame's camera in the world."""
    return ((points - alpha * w2c[:, :3, 3])[:, :, None] @ w2c[:, :3, :3])[:, :, 0]


def with_hands(problem: Problem, noise_rad: float, seed: int = 0) -> Problem:
    """The same people with thirty fingers, flat but for white noise, that nothing observes."""
    draw = torch.Generator().manual_seed(seed)
    people, frames = problem.visible.shape
    bodies, seen, start = problem.bodies, problem.observations, problem.start
    fingers = [*PARTS["left_hand"], *PARTS["right_hand"]]
    built_in = rest_joints().to(bodies.rest_joints)

    def padded(value: Tensor, fill: float = 0.0) -> Tensor:
        return torch.cat([value, torch.full_like(value[..., :1], fill).expand(*value.shape[:-1], len(fingers))], -1)

    pose = noise_rad * torch.randn(people, frames, len(fingers), 3, generator=draw, dtype=torch.float64).to(start.body_pose)
    hands = (built_in[fingers] - built_in[0]).expand(people, -1, -1) + bodies.rest_joints[:, :1]
    return replace(
        problem,
        bodies=replace(
            bodies,
            parents=(*bodies.parents, *(PARENTS[j] if PARENTS[j] < NUM_JOINTS else PARENTS[j] - fingers[0] + NUM_JOINTS for j in fingers)),
            rest_joints=torch.cat([bodies.rest_joints, hands], 1),
            shape_directions=torch.zeros(people, NUM_JOINTS + len(fingers), 3, 0).to(bodies.rest_joints),
            smplx_index=(*bodies.smplx_index, *fingers),
            height=padded(bodies.height, math.nan),
            thickness=padded(bodies.thickness, math.nan),
        ),
        observations=replace(seen, joint_depth=padded(seen.joint_depth), joint_depth_confidence=padded(seen.joint_depth_confidence)),
        start=replace(start, body_pose=torch.cat([start.body_pose, pose], 2)),
    )
