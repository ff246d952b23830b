"""Out of distribution: can a prior tell a real pose from one that was made wrong?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import roma
import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.parts import LEFT_ARM, LEGS
from pose_priors.benchmarks.priors.significance import auroc_by_pose
from pose_priors.benchmarks.priors.tables import ResultTable, table_of_scores
from pose_priors.body.rotations import mirror_pose
from pose_priors.body.skeleton import MIRROR

_SEED = 7
_NOISE_DEG = (2, 5, 10)


def run(candidates: Sequence[Candidate], data: BenchmarkData) -> list[ResultTable]:
    """Area under the ROC curve of the surprisal, the test poses against each kind of wrong ones."""
    corrupted = corruptions(data.test, data)
    scores: dict[str, dict[str, Tensor | None]] = {}
    for candidate in candidates:
        real = candidate.surprisal(data.test)
        scores[candidate.name] = {name: auroc_by_pose(real, candidate.surprisal(poses)) for name, poses in corrupted.items()}
    title = f"Out of distribution: AUROC of the surprisal, {len(data.test)} real poses against as many wrong ones (0.5 is chance)"
    note = "Surprisal: the negative log-likelihood, the energy where there is none."
    return [table_of_scores("ood", title, scores, note, higher_is_better=True)]


def corruptions(poses: Tensor, data: BenchmarkData) -> dict[str, Tensor]:
    """Poses made wrong, each kind (N, 55, 3) of the same type as `poses`.

    - `1 joint`, `3 joints`: so many joints of each pose, picked at random, take the rotation that they have in another pose;
    - `all joints`: every joint does, each from a pose of its own;
    - `left arm`, `legs`: all joints of the limb are those of one other pose;
    - `2 deg` and so on: each joint is turned by a rotation vector whose components are normal with so many degrees;
    - `arm mirrored`: the left arm is the mirror image of the right one;
    - `sides not swapped`: each rotation is reflected as in a mirror, but left stays left;
    - `not reflected`: left and right are swapped, but nothing is reflected.

    Kinds that touch no joint that is scored are left out.
    """
    generator = torch.Generator().manual_seed(_SEED)
    scored = torch.tensor(data.joint_indices)
    num, rows = len(poses), torch.arange(len(poses))

    def another() -> Tensor:
        return torch.randperm(num, generator=generator)

    def with_limb(limb: Sequence[int], other: Tensor) -> Tensor:
        changed = poses.clone()
        changed[:, list(limb)] = other[:, list(limb)]
        return changed

    corrupted = {"1 joint": poses.clone()}
    joint = scored[torch.randint(len(scored), (num,), generator=generator)]
    corrupted["1 joint"][rows, joint] = poses[another(), joint]
    swapped = {"left arm": with_limb(LEFT_ARM, poses[another()])}
    below_root = list(data.compared_joints)
    noisy = {f"{degrees} deg": _turned(poses, below_root, degrees, generator) for degrees in _NOISE_DEG}
    if len(scored) > 3:
        corrupted["3 joints"] = poses.clone()
        for place in torch.rand(num, len(scored), generator=generator).argsort(1)[:, :3].T:
            corrupted["3 joints"][rows, scored[place]] = poses[another(), scored[place]]
    corrupted["all joints"] = poses.clone()
    for joint in scored.tolist():
        corrupted["all joints"][:, joint] = poses[another(), joint]
    swapped["legs"] = with_limb(LEGS, poses[another()])
    mirrored = {
        "arm mirrored": with_limb(LEFT_ARM, mirror_pose(poses)),
        "sides not swapped": mirror_pose(poses)[:, list(MIRROR)],
        "not reflected": poses[:, list(MIRROR)],
    }
    every = corrupted | swapped | noisy | mirrored
    return {name: changed for name, changed in every.items() if not torch.equal(changed[:, scored], poses[:, scored])}


def _turned(poses: Tensor, joints: Sequence[int], degrees: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(len(poses), len(joints), 3, generator=generator, dtype=poses.dtype) * math.radians(degrees)
    turned = poses.clone()
    turned[:, joints] = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(poses[:, joints]) @ roma.rotvec_to_rotmat(noise))
    return turned
