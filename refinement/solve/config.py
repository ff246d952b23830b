"""What the refinement can be told: switches, iterations, weights."""

from __future__ import annotations

from pydantic import Field

from pose_priors.configs.base import Config
from pose_priors.refinement.given.problem import FloorMethod
from pose_priors.refinement.solve.extra import ExtraTerm


class RefinementConfig(Config):
    """Sub-stages, their lengths, and multipliers on the loss terms.

    Every lambda multiplies its term on top of that term's natural weight (`refinement.solve.weights`); the defaults are those at which it
    was measured, the same for all scenes. Doubling one doubles that term; zero leaves it out.
    """

    enable_root_fitting: bool = True
    enable_smpl_fitting: bool = True
    enable_motion_prior: bool = True
    enable_environmental_constraints: bool = True
    enable_scale_optimization: bool = True
    enable_final_refinement: bool = True

    root_fitting_iterations: int = Field(30, ge=0)
    smpl_fitting_iterations: int = Field(60, ge=0)
    motion_prior_iterations: int = Field(10, ge=0)
    environmental_iterations: int = Field(100, ge=0)
    scale_iterations: int = Field(50, ge=0)
    final_iterations: int = Field(50, ge=0)

    lambda_data: float = Field(1.0, ge=0)
    """Keypoints, and staying near stage 3."""
    lambda_beta: float = Field(0.01, ge=0)
    """Shape."""
    lambda_pose: float = Field(0.1, ge=0)
    """Pose prior of body and hands."""
    lambda_cvae: float = Field(0.1, ge=0)
    """Motion prior."""
    lambda_skate: float = Field(100.0, ge=0)
    """Speed of feet that carry."""
    lambda_contact: float = Field(10.0, ge=0)
    """Height of feet that carry, feet below the floor, and the floor of the scene."""
    lambda_depth: float = Field(1.0, ge=0)
    """Bodies against the depth maps."""
    lambda_multi_scale: float = Field(0.5, ge=0)
    """How likely all people's motions are, as a function of the scale."""
    lambda_smooth: float = Field(0.001, ge=0)
    """Acceleration."""
    extra_terms: list[ExtraTerm] = Field(default_factory=list)
    """Terms beside those above, ours or another package's."""

    optimize_delta_alpha: bool = True
    """Whether the scale moves by a bounded fraction `delta` of its initial value, as where the cameras' unit is nearly right; with
    false the whole scale is free. Without `enable_scale_optimization` it keeps its value."""
    alpha_change_threshold: float = Field(0.05, gt=0, lt=1)
    """Bound of |delta|, where there is one."""
    motion_prior_chunk_size: int = Field(10, ge=1)
    """Frames of a chunk of transitions for the motion prior. Chunks of all people run side by side, each from its own first state, as many
    at once as memory allows: the result does not depend on it."""
    humor_horizon_max: int | None = Field(None, ge=1)
    """Frames from the first one on that the motion prior looks at; null for the whole clip. After them there is smoothness only."""
    optimize_ground_plane: bool = True
    ground_plane_init: FloorMethod = "median"
    """How the floor is found before it is optimised, see `refinement.given.floor.ground_plane`."""
    convergence_threshold: float = Field(1e-4, ge=0)
    """A sub-stage ends when an iteration changes the loss by less than this fraction."""
    max_total_iterations: int = Field(500, ge=0)
    """Iterations over all sub-stages."""
    pad_frames: int | None = Field(None, ge=1)
    """Clips run at the next multiple of so many frames, so that their shapes are shared; null for their own length."""
