"""The poses of a benchmark: rows to fit on, rows to choose by, rows to score, and the joints that are scored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.base import UserError
from pose_priors.datamodules.base import SPLITS, DataConfig, PoseDataModule, load_poses
from pose_priors.datamodules.view import PoseView
from pose_priors.priors.default_pose import default_pose

log = logging.getLogger("benchmark")

_MAX_FITTED = 100_000
_MAX_SCORED = 10_000
_MAX_FOREIGN = 150
_SEED = 0


@dataclass(frozen=True)
class BenchmarkData:
    """Poses (N, 55, 3) float64, canonical rotation vectors in radians in SMPL-X order.

    Args:
        train: what baselines are fitted on.
        val: what their settings are chosen by.
        test: what is scored, and what no candidate has seen.
        joint_indices: SMPL-X indices of the J joints that all candidates score, ascending.
        fingerprint: 16 hexadecimal digits of the content of the three sides.
        motions: motion files to be denoised; None for built-in motions.
        foreign: poses of other sources, by their names, that nothing was fitted to or chosen by.
    """

    train: Tensor
    val: Tensor
    test: Tensor
    joint_indices: tuple[int, ...]
    fingerprint: str
    motions: str | None = None
    foreign: Mapping[str, Tensor] = field(default_factory=dict, hash=False)

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints that are scored."""
        return tuple(JOINT_NAMES[joint] for joint in self.joint_indices)

    @cached_property
    def default_pose(self) -> Tensor:
        """(55, 3) what joints that are not scored are drawn as, and where fits to observations begin: the mean rotations of the training
        poses, and a root that is not scored upright."""
        return default_pose(self.train, self.joint_indices)

    @cached_property
    def reference(self) -> Tensor:
        """(M, 55, 3) the rows of all three sides, at most 10,000 of them: what samples are compared with."""
        return spread(torch.cat([self.train, self.val, self.test]), _MAX_SCORED)

    @property
    def compared_joints(self) -> range:
        """Joints up to the last one scored, without the root unless that is scored: as published comparisons of samples take them, which
        count feet that hardly ever move."""
        return range(min(self.joint_indices[0], 1), self.joint_indices[-1] + 1)


def load_data(path: str | None, split_radius: float | None, joint_indices: Sequence[int] | None = None) -> BenchmarkData:
    """The poses of a benchmark.

    Args:
        path: a folder that holds one `train`, one `val` and one `test` file, which are used as they are; any other file, folder or glob of
            poses, which the project's data module splits; or None, the built-in poses.
        split_radius: as `data.split_radius`, for what has to be split.
        joint_indices: the joints to score; without them those that a density can be learnt of.
    Raises:
        UserError: if there are no such poses, or a joint that is to be scored never moves in the held-out ones.
    """
    sides = _sides(path)
    where: dict[str, Any] = sides or {"path": path}
    if sides and split_radius is not None:
        raise UserError(f"--split-radius says nothing about '{path}', which is split into train, val and test already; leave it out")
    module = PoseDataModule(DataConfig(**where, split_radius=split_radius), batch_size=1, seed=_SEED)
    module.prepare_data()
    module.setup()
    test = _rows(module.test_poses, _MAX_SCORED)
    joints = tuple(joint_indices or module.joint_indices)
    still = [JOINT_NAMES[joint] for joint in joints if (test[:, joint] == test[:1, joint]).all()]
    if still:
        raise UserError(f"'{path or 'the built-in data'}' does not move {len(still)} joints that the checkpoints score "
                        f"({', '.join(still[:6])}{', ...' if len(still) > 6 else ''}); give --data in which they move")  # fmt: skip
    return BenchmarkData(
        module.training_sample(_MAX_FITTED).double(), _rows(module.val_poses, _MAX_SCORED), test, joints, module.fingerprint
    )


def load_foreign(paths: Sequence[str], joint_indices: Sequence[int]) -> dict[str, Tensor]:
    """Poses of other sources by short names, each thinned evenly so that none dominates: (n, 55, 3) float64, n <= 150.

    Args:
        paths: for each source a file, a folder or a glob of poses.
        joint_indices: that are scored.
    Raises:
        UserError: if a source holds no poses, does not move a joint that is scored, or has the name of another.
    """
    found: dict[str, Tensor] = {}
    for path in paths:
        poses = _rows(load_poses(path), _MAX_FOREIGN)
        name = Path(path).stem if "*" not in Path(path).name else Path(path).parent.name
        if name in found:
            raise UserError(f"--foreign: two sources are called '{name}'; give files or folders of different names")
        still = [JOINT_NAMES[joint] for joint in joint_indices if len(poses) < 2 or (poses[:, joint] == poses[:1, joint]).all()]
        if still:
            raise UserError(f"--foreign: '{path}' does not move {len(still)} joints that are scored "
                            f"({', '.join(still[:6])}{', ...' if len(still) > 6 else ''}); leave it out")  # fmt: skip
        found[name] = poses
    return found


def _sides(path: str | None) -> dict[str, str]:
    """The files of a folder that is split already, or nothing."""
    if path is None or not Path(path).is_dir():
        return {}
    found = {side: sorted(Path(path).glob(f"{side}.*")) for side in SPLITS}
    return {side: str(files[0]) for side, files in found.items()} if all(len(files) == 1 for files in found.values()) else {}


def _rows(view: PoseView, most: int) -> Tensor:
    return torch.from_numpy(view[np.unique(np.linspace(0, len(view) - 1, most).astype(int))]).double()


def spread(rows: Tensor, most: int) -> Tensor:
    """At most so many rows, evenly spaced from the first to the last."""
    return rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).round().long()]
