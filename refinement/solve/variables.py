"""What is optimised, in coordinates in which every direction is about equally steep.

Rotations are increments in each joint's own frame, so that they start at zero and never come near a singularity. Increments over time are
filtered: a unit of the variable moves a joint by as much as data and smoothness allow at that frequency (the inverse square root of the
Gauss-Newton Hessian of one person standing still, diagonal in the Fourier basis), which spares L-BFGS the stiffness of second differences.
What the scale moves is what no image can tell, so that this one soft direction stands by itself: where depth maps tie people to its
unit, the whole world and the people in it; elsewhere the cameras alone, and people, whose sizes are known, with them. So it is with
somebody whose depths are off by an unknown factor: the bias moves the person along the cameras' rays, as depths do, and the size moves
both, as neither image nor depth tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pose_priors.body import conversions
from pose_priors.body.exponential import turned
from pose_priors.body.model import joints_and_arms
from pose_priors.body.pinhole import to_camera
from pose_priors.refinement.given.problem import Bodies, Problem
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.curvature.composite import carried
from pose_priors.refinement.solve.noise import NoiseLevels, depth_bias_width
from pose_priors.refinement.solve.rates import beyond_usual
from pose_priors.refinement.solve.scene import Scene, arm_directions, camera_centres

# Steps of the variables that have no time: shape in betas or log-size, the scale as a fraction of alpha0, the floor in radians and metres,
# the bias of depth maps as a fraction of the depth.
_BETA_STEP, _SIZE_STEP, _SCALE_STEP, _ANGLE_STEP, _OFFSET_STEP, _BIAS_STEP = 0.1, 0.003, 0.003, 0.005, 0.005, 0.003
# Frames up to which a clip is filtered by products with the cosine basis, which take as long as Fourier transforms at about 400.
_LONGEST_BY_PRODUCTS = 300
# What the filter assumes: a bias of stage 3 of 0.1 rad, joints that accelerate by 2 m/s^2 up to 30 frames a second, and by more beyond.
_BIAS_RAD, _ACCELERATION = 0.1, 2.0


class Variables(nn.Module):
    """The unknowns of one problem, all zero at the start.

    Args:
        problem: what is given.
        noise: of the input, for the filter.
        alpha_bound: largest |delta| of alpha = alpha0 (1 + delta); None for any alpha above 0.
        free_joints: joints whose rotations may change.
    """

    start_quat: Tensor
    start_pelvis: Tensor
    arm: Tensor
    free: Tensor
    rest: Tensor
    shape_directions: Tensor
    growth: Tensor
    bias_step: Tensor
    log_size: Tensor
    centres: Tensor
    centre: Tensor
    start_plane: Tensor
    plane_axes: Tensor
    contacts: Tensor
    facing: Tensor
    basis: Tensor
    filter: Tensor

    def __init__(self, problem: Problem, noise: NoiseLevels, alpha_bound: float | None, free_joints: Sequence[int]) -> None:
        super().__init__()
        start, bodies = problem.start, problem.bodies
        people, frames = problem.visible.shape
        self.parents, self.alpha0, self.alpha_bound = bodies.parents, start.alpha0, alpha_bound
        self.num_betas = bodies.shape_directions.shape[-1]
        self.held: Scene | None = None
        self.held_ground: tuple[Tensor, Tensor] | None = None
        self.grows = problem.tied

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(start.pelvis.new_zeros(shape))

        self.global_orient = zeros(people, frames, 1, 3)
        self.body_pose = zeros(people, frames, len(free_joints), 3)
        self.pelvis = zeros(people, frames, 3)
        self.shape = zeros(people, self.num_betas or 1)
        self.scale = zeros(1)
        self.plane = zeros(3)
        self.depth_bias = zeros(people)

        def keep(name: str, value: Tensor, persistent: bool = False) -> None:
            self.register_buffer(name, value.clone().contiguous(), persistent)

        rotvec = torch.cat([start.global_orient[:, :, None], start.body_pose], 2)
        keep("start_quat", conversions.rotvec_to_unitquat(rotvec))
        keep("start_pelvis", start.pelvis)
        keep("arm", arm_directions(bodies).to(start.pelvis))
        keep("free", torch.tensor([0, *free_joints], device=start.pelvis.device))
        keep("rest", bodies.rest_joints)
        keep("shape_directions", bodies.shape_directions)
        keep("growth", _growth(bodies))
        keep("bias_step", depth_bias_width(problem).clamp_max(_BIAS_STEP))
        keep("log_size", _log_size(bodies) * (self.bias_step > 0)[:, None])
        centres = camera_centres(problem.cameras)
        keep("centres", centres)
        keep("centre", centres[problem.typical.any(0)].mean(0))
        keep("start_plane", start.ground_plane)
        keep("plane_axes", _plane_axes(start.ground_plane))
        keep("contacts", start.pelvis.new_zeros(people, frames, len(contact_joints(bodies))), persistent=True)
        keep("facing", torch.ones_like(rotvec[..., 0]), persistent=True)
        keep("basis", _cosines(problem.num_frames, start.pelvis, problem.padding))
        keep("filter", torch.cat(_filters(problem, noise, [0, *free_joints]), 1))

    def delta(self) -> Tensor:
        """() the change of scale as a fraction of alpha0, within the bound."""
        if self.alpha_bound is None:
            return torch.expm1(self.scale[0] * _SCALE_STEP)
        return self.alpha_bound * torch.tanh(self.scale[0] * (_SCALE_STEP / self.alpha_bound))

    def forward(self, problem: Problem) -> Scene:
        """The scene at the present values."""
        shift, moved = self.moved().tensor_split([1], 2)
        still = self.start_quat[..., :3]
        turn = moved if moved.shape == still.shape else torch.zeros_like(still).index_copy(2, self.free, moved)
        rotvec = turned(self.start_quat, turn)
        rest = self.rest_joints()
        alpha = self.alpha0 * (1 + self.delta())
        growth = alpha / self.alpha0 if self.grows else torch.ones_like(alpha)
        carried = 0 if self.grows else (alpha - self.alpha0) * self.centres
        depth_bias = self.bias()
        cameras = alpha * self.centres
        pelvis = self.start_pelvis * growth + carried + shift[:, :, 0]
        pelvis = cameras + (pelvis - cameras) * torch.exp(-depth_bias)[:, None, None]
        joints, arms = joints_and_arms(rotvec, rest[:, None], self.arm, self.parents)
        joints = joints + (pelvis - rest[:, None, 0])[:, :, None]
        normal, offset = self.ground()
        # the floor stays under people who are carried along with the cameras
        still_normal, still_offset = (normal.detach(), offset.detach()) if self.held_ground is None else self.held_ground
        by_scale = still_offset * growth if self.grows else (self.alpha0 - alpha) * (still_normal @ self.centre)
        offset = offset * growth if self.grows else offset + (self.alpha0 - alpha) * (normal @ self.centre)
        return Scene(
            rotvec=rotvec,
            turn=turn,
            free=self.free,
            arms=arms,
            joints=joints,
            camera_joints=to_camera(joints, problem.cameras.w2c, alpha),
            shape=self.shape_change(),
            rest_joints=rest,
            depth_bias=depth_bias,
            alpha=alpha,
            growth=growth,
            normal=normal,
            offset=offset,
            offset_by_scale=by_scale,
            contacts=self.contacts,
            facing=self.facing,
            held=self.held,
        )

    @torch.no_grad()
    def hold(self, problem: Problem) -> None:
        """Holds the scene as it stands still, for the terms that look at the scale alone: a value that changed with what their gradient
        leaves out would mislead line searches."""
        self.release()
        self.held_ground = self.ground()
        self.held = self(problem)

    def release(self) -> None:
        """Holds nothing still any more."""
        self.held = self.held_ground = None

    def moved(self) -> Tensor:
        """(P, T, 1 + F, 3) what pelvis and free joints have moved by: metres, then radians in each joint's own frame, the root first."""
        return _filtered(torch.cat([self.pelvis[:, :, None], self.global_orient, self.body_pose], 2), self.filter[..., None], self.basis)

    @torch.no_grad()
    def add_increments(self, moved: Tensor) -> None:
        """Moves pelvis and free joints by (P, T, 1 + F, 3): metres, then radians in each joint's own frame, the root first."""
        increments = _filtered(moved, self._unfiltered(), self.basis)
        self.pelvis.add_(increments[:, :, 0])
        self.global_orient.add_(increments[:, :, 1:2])
        self.body_pose.add_(increments[:, :, 2:])

    @torch.no_grad()
    def by_increments(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """(P, T, 1 + F, 3) the gradient by metres and radians, of that by the variables. The filter is a symmetric matrix."""
        own = torch.cat([gradients["pelvis"][:, :, None], gradients["global_orient"], gradients["body_pose"]], 2)
        return _filtered(own, self._unfiltered(), self.basis)

    def _unfiltered(self) -> Tensor:
        return torch.where(self.filter > 0, 1 / self.filter, 0)[..., None]

    def bias(self) -> Tensor:
        """(P,) the bias of each person's depths in the logarithm; where it is free, who turns out to be larger is as much farther away."""
        return self.depth_bias * self.bias_step - (self.shape * self._shape_step() * self.log_size).sum(1)

    def shape_change(self) -> Tensor:
        """(P, B) change of betas, or (P, 1) log of the change in size."""
        change = self.shape * self._shape_step()
        return change + torch.log1p(self.delta()) * self.growth if self.grows else change

    def _shape_step(self) -> float:
        return _BETA_STEP if self.num_betas else _SIZE_STEP

    def rest_joints(self) -> Tensor:
        """(P, J, 3) metres at the present shape."""
        change = self.shape_change()
        if self.num_betas:
            return self.rest + (self.shape_directions @ change[:, None, :, None])[..., 0]
        return self.rest * change.exp()[..., None]

    def ground(self) -> tuple[Tensor, Tensor]:
        """The floor's unit normal (3,) and offset () in metres."""
        tilt = self.plane[:2] * _ANGLE_STEP
        normal = self.plane_axes[0] + tilt @ self.plane_axes[1:]
        return normal / torch.linalg.vector_norm(normal), self.start_plane[3] + self.plane[2] * _OFFSET_STEP


def _plane_axes(plane: Tensor) -> Tensor:
    """(3, 3): the normal, and two directions across it about which it may tilt."""
    normal = plane[:3] / torch.linalg.vector_norm(plane[:3])
    helper = torch.zeros_like(normal)
    helper[normal.abs().argmin()] = 1
    first = torch.linalg.cross(normal, helper)
    first = first / torch.linalg.vector_norm(first)
    return torch.stack([normal, first, torch.linalg.cross(normal, first)])


def _growth(bodies: Bodies) -> Tensor:
    """(P, B) the change of betas that comes nearest to making a body larger, per unit of log-size; ones (P, 1) where sizes are free."""
    directions = bodies.shape_directions
    if directions.shape[-1] == 0:
        return directions.new_ones(len(directions), 1)
    bones = bodies.rest_joints - bodies.rest_joints[:, :1]
    growth: Tensor = torch.linalg.lstsq(directions.flatten(1, 2), bones.flatten(1)[..., None]).solution[..., 0]
    return growth


def _log_size(bodies: Bodies) -> Tensor:
    """(P, B) the change of a body's log-size per unit of each beta, by bones along themselves; ones (P, 1) where sizes are free."""
    directions = bodies.shape_directions
    if directions.shape[-1] == 0:
        return directions.new_ones(len(directions), 1)
    bones = (bodies.rest_joints - bodies.rest_joints[:, :1]).flatten(1)
    along: Tensor = (bones[..., None] * directions.flatten(1, 2)).sum(1) / bones.square().sum(1, keepdim=True)
    return along


def _filtered(values: Tensor, response: Tensor, basis: Tensor) -> Tensor:
    """Filters (P, T, ...) along time by a real frequency response (T + 1, ...).

    The clip is followed by its mirror image, so that its two ends do not meet as they would in the Fourier series of the clip alone. In the
    cosine basis that this mirroring implies (`_cosines`) two products do it, which costs T^2, but less than the Fourier transform of a clip
    that is not long; and a padded clip is filtered as the clip without its padding would be, at the shapes of the padded clip.
    """
    if basis.numel():
        spectrum = (basis @ values.flatten(2)).view_as(values) * response[:-1]
        return (basis.T @ spectrum.flatten(2)).view_as(values)
    mirrored = torch.cat([values, values.flip(1)], 1)
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(mirrored, dim=1) * response, n=mirrored.shape[1], dim=1)
    return filtered[:, : values.shape[1]]


def _cosines(frames: int, like: Tensor, padding: int) -> Tensor:
    """The orthonormal cosine transform of so many frames (DCT-II, Ahmed, Natarajan & Rao, "Discrete Cosine Transform", IEEE Trans. Comput.,
    1974), frequencies by frames, followed by zeros for the padding; empty for long clips without padding."""
    if not padding and frames > _LONGEST_BY_PRODUCTS:
        return like.new_zeros(0, 0)
    frequency = torch.arange(frames, dtype=torch.float64, device=like.device)[:, None]
    basis = torch.cos(torch.pi * frequency * (frequency.T + 0.5) / frames) * (2 / frames) ** 0.5
    basis[0] *= 0.5**0.5
    return torch.nn.functional.pad(basis, (0, padding, 0, padding)).to(like.dtype)


def _filters(problem: Problem, noise: NoiseLevels, joints: list[int]) -> tuple[Tensor, Tensor]:
    """Frequency responses (T + 1, 1) of the pelvis in metres and (T + 1, len(joints)) of rotations in radians.

    Those of a padded clip are the clip's own, followed by what never enters.
    """
    bodies, start = problem.bodies, problem.start
    rest = bodies.rest_joints
    frames = problem.num_frames
    depth = to_camera(start.pelvis[:, :, None], problem.cameras.w2c, start.alpha0)[..., 2]
    metres = noise.keypoint_px * float(depth[problem.typical].median() / problem.cameras.intrinsics[:frames, 0, 0].median())
    acceleration = _ACCELERATION * beyond_usual(problem.fps) / problem.fps**2
    omega = 2 * torch.pi * torch.fft.rfftfreq(2 * frames, device=rest.device, dtype=rest.dtype)
    roughness = (2 - 2 * torch.cos(omega)).square()[:, None]

    below = carried(bodies.parents)
    lever = torch.stack([(rest[:, below[j]] - rest[:, j, None]).square().sum((-1, -2)).mean() for j in joints])
    # about a random axis, two thirds of a lever's square count
    hessian = lever * 2 / 3 * (metres**-2 + roughness * acceleration**-2) + _BIAS_RAD**-2 * (1 + roughness)
    pelvis = float(rest.shape[1]) * (metres**-2 + roughness * acceleration**-2)

    def padded(response: Tensor) -> Tensor:
        """The last frequency of a padded clip's response is dropped with the padding."""
        return torch.nn.functional.pad(response, (0, 0, 0, problem.padding))

    return padded(pelvis.rsqrt()), padded(hessian.rsqrt())
