"""Generation: do samples look like the data, and do they look like all of it?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import roma
import scipy.linalg
import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData, spread
from pose_priors.benchmarks.priors.tables import ResultTable
from pose_priors.body.builtin import rest_joints
from pose_priors.body.limits import limit_violations
from pose_priors.body.model import forward_kinematics
from pose_priors.body.rotations import geodesic_angle
from pose_priors.body.skeleton import SMPL_TO_SMPLX
from pose_priors.priors.evaluation.comparison import NUM_NEIGHBOURS, neighbour_radii

_NUM_SAMPLES = 10_000
_NUM_PAIRED = 500
_NUM_MATCHED = 1000
_CHUNK = 1000
_SEED = 0
_HELD_OUT = "test poses"


def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Samples of each candidate, and the test poses, against the rows of the data."""
    num = min(_NUM_SAMPLES, len(data.reference))
    compared = list(data.compared_joints)
    reference = data.reference[:, compared].flatten(1)
    radii = neighbour_radii(reference.float())
    rows: dict[str, dict[str, float | None]] = {}
    for candidate in candidates:
        samples = candidate.sample(num, torch.Generator().manual_seed(_SEED))
        flat = samples[:, compared].flatten(1)
        rows[candidate.name] = {
            **prdc(flat.float(), reference.float(), radii),
            "Frechet": frechet_distance(flat, reference),
            **_without_reference(samples, data),
        }
    # being among the rows that samples are compared with, they have no such scores
    rows[_HELD_OUT] = {**_without_reference(data.test, data)}
    title = f"Generation: {num} samples against the data's {len(reference)} rows"
    notes = (
        f"Precision to Frechet: {len(compared)} joints' rotation vectors, k = {NUM_NEIGHBOURS}. Diversity: average pairwise distance "
        f"in cm of {_NUM_PAIRED} samples on the built-in skeleton. Nearest: from {_NUM_MATCHED} samples to training poses, sum of "
        f"{len(data.joints)} joints' angles in rad. Outside limits: share of joints; excess: by how many degrees these are, on average.",
    )
    return [ResultTable("generation", title, rows, ("Frechet",), ("precision", "recall", "density", "coverage"), notes)]


def _without_reference(poses: Tensor, data: BenchmarkData) -> dict[str, float]:
    scored = list(data.joint_indices)
    beyond = limit_violations(poses)[:, scored]
    nearest = nearest_rad(spread(poses, _NUM_MATCHED)[:, scored], spread(data.train, _NUM_SAMPLES)[:, scored])
    return {
        "diversity": diversity_cm(spread(poses, _NUM_PAIRED)),
        "nearest": float(nearest.mean()),
        "outside limits %": 100 * float((beyond > 0).double().mean()),
        "excess deg": float(beyond[beyond > 0].mean().rad2deg()) if (beyond > 0).any() else 0.0,
    }


def prdc(samples: Tensor, rows: Tensor, radii_of_rows: Tensor) -> dict[str, float]:
    """Precision and recall (Kynkaanniemi et al., "Improved Precision and Recall Metric", NeurIPS 2019), density and coverage (Naeem et al.,
    "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020), by the 3 nearest neighbours of each point on its own side.

    Args:
        samples, rows: (N, D) and (M, D).
        radii_of_rows: (M,) the `neighbour_radii` of the rows.
    """
    radii_of_samples = neighbour_radii(samples)
    recalled, covered = (torch.zeros(len(rows), dtype=torch.bool) for _ in range(2))
    num_balls = []
    for chunk, radii in zip(samples.split(_CHUNK), radii_of_samples.split(_CHUNK), strict=True):
        distance = torch.cdist(chunk, rows)
        inside = distance < radii_of_rows
        num_balls.append(inside.sum(1))
        covered |= inside.any(0)
        recalled |= (distance < radii[:, None]).any(0)
    balls = torch.cat(num_balls).double()
    return {
        "precision": float((balls > 0).double().mean()),
        "recall": float(recalled.double().mean()),
        "density": float(balls.mean()) / NUM_NEIGHBOURS,
        "coverage": float(covered.double().mean()),
    }


def frechet_distance(samples: Tensor, rows: Tensor) -> float:
    """Frechet distance between the Gaussians that have the moments of points (N, D) and (M, D) (Dowson & Landau, "The Frechet distance
    between multivariate normal distributions", J. Multivariate Analysis 12, 1982)."""
    (mean, covariance), (other_mean, other_covariance) = ((p.mean(0).numpy(), np.cov(p.numpy(), rowvar=False)) for p in (samples, rows))
    # the trace of the product's root by its eigenvalues, which exist where joints that never move make a covariance singular
    roots = np.sqrt(scipy.linalg.eigvals(covariance @ other_covariance).real.clip(0))
    return float(np.square(mean - other_mean).sum() + np.trace(covariance + other_covariance) - 2 * roots.sum())


def diversity_cm(poses: Tensor) -> float:
    """Average pairwise distance: mean over all pairs of poses (N, 55, 3), and over the body's 22 joints, of the distance between the joints
    on the built-in skeleton, whose root does not turn, in centimetres."""
    posed = poses.clone()
    posed[:, 0] = 0
    joints = forward_kinematics(posed, rest_joints())[0][:, list(SMPL_TO_SMPLX)].transpose(0, 1)
    return 100 * float(torch.cdist(joints, joints).mean(0).sum()) / (len(poses) * (len(poses) - 1))


def nearest_rad(poses: Tensor, rows: Tensor) -> Tensor:
    """Angle to the nearest row, summed over the joints: rotation vectors (N, J, 3) and (M, J, 3) float64 -> (N,) radians."""
    ours, theirs = (roma.rotvec_to_unitquat(rotvec).float().transpose(0, 1) for rotvec in (poses, rows))
    nearest = []
    for chunk in ours.split(_CHUNK // 4, 1):  # which row is nearest bears the rounding that its angle would not
        half_angles = sum((a @ b.T).abs().clamp(max=1).acos() for a, b in zip(chunk, theirs, strict=True))
        nearest.append(half_angles.argmin(1))
    there = roma.rotvec_to_rotmat(rows[torch.cat(nearest)])
    return geodesic_angle(roma.rotvec_to_rotmat(poses), there).sum(-1)
