"""The data of an experiment: where the poses come from, how they are split, and the batches that training sees."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from pydantic import Field
from torch import Tensor

from pose_priors.body.rotations import mirror_pose
from pose_priors.configs.base import UserError, counted
from pose_priors.datamodules.built_in import MOST_AT_ONCE, built_in_poses
from pose_priors.datamodules.cache.conversion import Conversion
from pose_priors.datamodules.cache.entry import PoseSet
from pose_priors.datamodules.cache.store import open_poses
from pose_priors.datamodules.files import find_files
from pose_priors.datamodules.formats import HandConvention
from pose_priors.datamodules.joints import describe, find_joints
from pose_priors.datamodules.loader import PoseLoader
from pose_priors.datamodules.plausibility import MAX_FPS
from pose_priors.datamodules.split_config import SplitConfig
from pose_priors.datamodules.splits import MAX_RADIUS_ROWS, split_by_radius, split_rows
from pose_priors.datamodules.view import PoseView

log = logging.getLogger(__name__)

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
_EVAL_BATCH = 1024  # rows; without gradients larger batches cost nothing but save overhead


class DataConfig(SplitConfig):
    """Where the poses come from and how they are split.

    `path`, or `train`, is the pool; `val` and `test`, where they are given, are used as they are, and what is not given is cut out of the
    pool. `path=built_in`, or none of them, are the built-in synthetic poses.

    Args:
        path, train, val, test: a file, a folder or a glob each.
        include_root: whether the root's orientation is learnt.
        hand_convention: `absolute` (zero is the flat hand) or `relative_to_mean` (zero is MANO's mean hand), of all files.
        split_radius: radians; poses closer than this, by the Euclidean distance of all rotation vectors that are learnt, stay in
            one split. None splits by file or block for motions, by row for shuffled frames.
        subsample_fps: frames a second to keep of motions that have more.
        trim: whether to keep only the middle 80 % of each motion.
        val_fraction, test_fraction: shares of the pool.
        mirror: whether training sees the mirror image of a pose as often as the pose.
        cache_dir: folder of the converted poses; None for `$XDG_CACHE_HOME/pose-priors` or `~/.cache/pose-priors`.
        num_poses: size of the built-in source.
    """

    include_root: bool = False
    hand_convention: HandConvention = "absolute"
    split_radius: float | None = Field(None, gt=0)
    subsample_fps: float | None = Field(None, ge=0.01, le=MAX_FPS)
    trim: bool = False
    mirror: bool = False
    cache_dir: str | None = None
    num_poses: int = Field(20_000, gt=0, le=10_000_000)


def load_poses(path: str, config: DataConfig | None = None) -> PoseView:
    """All poses of a file, folder or glob, exact duplicates removed: (N, 55, 3) float32, memory-mapped.

    Args:
        path: where they are.
        config: how to read them (hand convention, subsampling, trimming, cache); its own paths are not looked at.
    Raises:
        UserError: if there are none, or none that can be read.
    """
    pose_set = _open(path, config or DataConfig())
    if not len(pose_set.poses):
        raise UserError(f"'{path}' holds no poses ({_dropped(pose_set) or 'no rows'}); give files with poses")
    return PoseView(pose_set, np.arange(len(pose_set.poses)))


class PoseDataModule(pl.LightningDataModule):
    """Poses split into training, validation and test, and batches (B, 55, 3) of each.

    Exact duplicates are dropped within each source, and across the splits from validation what test holds, from training what either holds:
    the held-out sets stay as they were given, so that scores stay comparable.

    Args:
        config: the data.
        batch_size: training rows a batch and rank.
        seed: of the built-in source, the split, the order and the mirroring.

    Attributes:
        batch_size: as above; may be set when the number of rows is known.
        batches_an_epoch: of training; None for one pass over the rows.
        most_validated: validation rows a validation sees, drawn by the seed where there are more; None for all.
    """

    def __init__(self, config: DataConfig, batch_size: int, seed: int) -> None:
        super().__init__()
        self.config, self.batch_size, self.seed = config, batch_size, seed
        self.batches_an_epoch: int | None = None
        self.most_validated: int | None = None
        self._views: dict[SplitName, PoseView] = {}

    def prepare_data(self) -> None:
        """Fills the cache, on one process a node."""
        for path in (self.config.pool, *self.config.held_out.values()):
            if path is not None:
                _open(path, self.config)
        if self.config.pool is None and self.config.num_poses > MOST_AT_ONCE:
            self._pool()

    def setup(self, stage: str | None = None) -> None:
        """Opens the poses, splits them and finds the joints to learn; the second time does nothing.

        Raises:
            UserError: if there are no poses, a split is empty, or no joint can be learnt.
        """
        if self._views:
            return
        config = self.config
        sets: dict[str, PoseSet] = {"pool": self._pool()}
        sets |= {split: _open(path, config) for split, path in config.held_out.items()}
        views = self._split(sets)
        counts = {split: len(view) for split, view in views.items()}
        unplaced = len(sets["pool"].poses) - sum(counts[split] for split in SPLITS if split not in sets)
        if len(sets) > 1:
            views["val"] = views["val"].without(views["test"].hashes)
            views["train"] = views["train"].without(np.concatenate([views["val"].hashes, views["test"].hashes]))
        for split in SPLITS:
            if not len(views[split]):
                raise UserError(self._why_empty(split, sets, counts[split]))
        self._summary: dict[str, int] = {name: sum(pose_set.counts[name] for pose_set in sets.values()) for name in sets["pool"].counts}
        num_poses = sum(map(len, views.values()))
        self._summary |= {"duplicates_across_splits": sum(counts.values()) - num_poses, "gap_rows": unplaced, "poses": num_poses}
        self._summary |= {str(split): len(views[split]) for split in SPLITS}
        self._views = views
        self.joint_indices, self.left_out = find_joints(self.training_sample().numpy(), config.include_root)
        digest = hashlib.blake2b(digest_size=8)
        for split in SPLITS:
            digest.update(views[split].hashes.tobytes())
        self._fingerprint = digest.hexdigest()
        if self._rank == 0:
            log.info("data: %s", ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in self._summary.items() if count))
            log.info("%d joints learnt; left out: %s", len(self.joint_indices), describe(self.left_out) or "none")

    joint_indices: tuple[int, ...]
    """SMPL-X indices of the joints that carry a density."""
    left_out: dict[str, str]
    """Name of each other joint, and why."""

    @property
    def train_poses(self) -> PoseView:
        """(N, 55, 3) float32 canonical rotation vectors, memory-mapped."""
        return self._views["train"]

    @property
    def val_poses(self) -> PoseView:
        """As `train_poses`."""
        return self._views["val"]

    @property
    def test_poses(self) -> PoseView:
        """As `train_poses`."""
        return self._views["test"]

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the content of the three splits."""
        return self._fingerprint

    def summary(self) -> dict[str, int]:
        """Counts: files read and skipped, rows dropped (NaN, invalid, duplicates within a source and across splits, gaps), poses kept."""
        return dict(self._summary)

    def training_sample(self, n: int = 100_000) -> Tensor:
        """Training poses drawn without replacement, the same on every rank: (m, 55, 3), m <= n. With `mirror`, half of them mirrored."""
        train = self.train_poses
        num_rows = min(n // 2 if self.config.mirror else n, len(train))
        rows = np.random.default_rng(self.seed).choice(len(train), num_rows, replace=False)
        poses = torch.from_numpy(train[np.sort(rows)])
        return torch.cat([poses, mirror_pose(poses)]) if self.config.mirror else poses

    def validation_sample(self, n: int = 512) -> Tensor:
        """Validation poses from all over the set: (m, 55, 3), m <= n."""
        poses = self.val_poses
        return torch.as_tensor(poses[np.unique(np.linspace(0, len(poses) - 1, n).astype(int))])

    @property
    def num_rows(self) -> tuple[int, int]:
        """How many rows there are to learn from, and to validate on."""
        return len(self.train_poses), len(self.val_poses)

    def train_dataloader(self) -> PoseLoader:
        order: dict[str, Any] = {"shuffle": True, "drop_last": True, "mirror": self.config.mirror}
        return self._loader("train", self.batch_size, batches_an_epoch=self.batches_an_epoch, **order)

    def val_dataloader(self) -> PoseLoader:
        return self._loader("val", max(self.batch_size, _EVAL_BATCH), most_rows=self.most_validated)

    def test_dataloader(self) -> PoseLoader:
        return self._loader("test", max(self.batch_size, _EVAL_BATCH))

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _loader(self, split: SplitName, batch_size: int, **options: Any) -> PoseLoader:
        poses, world_size = self._views[split], self.trainer.world_size if self.trainer else 1
        if len(poses) < world_size:
            raise UserError(f"the {split} split has {len(poses)} poses for {world_size} processes; give more data or fewer devices")
        pinned = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return PoseLoader(poses, batch_size, seed=self.seed, rank=self._rank, world_size=world_size, pinned=pinned, **options)

    def _pool(self) -> PoseSet:
        if self.config.pool is not None:
            return _open(self.config.pool, self.config)
        return built_in_poses(self.config.num_poses, self.seed, _cache_dir(self.config))

    def _why_empty(self, split: SplitName, sets: dict[str, PoseSet], num_before: int) -> str:
        config, pose_set = self.config, sets.get(split, sets["pool"])
        path = getattr(config, split) if split in sets else config.pool
        found = f"{f'{path!r}' if path else 'the built-in source'} gives {counted(len(pose_set.poses), 'distinct pose')}"
        if dropped := _dropped(pose_set):
            found += f", {dropped}"
        advice = f"give more data, data.{split} or other data.val_fraction and data.test_fraction"
        if num_before:
            found += f", all {num_before} of this split are also in another"
            advice = "give splits that do not hold the same poses"
        elif config.split_radius is not None:
            advice = "lower data.split_radius: so many poses are closer than that that none is left for this split"
        return f"the {split} split is empty: {found}; {advice}"

    def _split(self, sets: dict[str, PoseSet]) -> dict[SplitName, PoseView]:
        config, pool = self.config, sets["pool"]
        val_fraction = 0.0 if "val" in sets else config.val_fraction
        test_fraction = 0.0 if "test" in sets else config.test_fraction
        if config.split_radius is None or not (val_fraction or test_fraction):
            rows = split_rows(pool.segments, val_fraction, test_fraction, self.seed)
        else:
            # a joint that is left out could not tell two poses apart for the model
            joints, _ = find_joints(pool.poses[:MAX_RADIUS_ROWS], config.include_root)
            rows = split_by_radius(pool.poses, joints, config.split_radius, val_fraction, test_fraction, self.seed)
        return {
            split: PoseView(sets[split], np.arange(len(sets[split].poses))) if split in sets else PoseView(pool, getattr(rows, split))
            for split in SPLITS
        }


def _dropped(pose_set: PoseSet) -> str:
    """How many rows are not among the poses, in words; empty where all are."""
    words = {"nan_rows": "rows with NaN dropped", "invalid_rows": "rows that are no pose dropped"}
    return ", ".join(f"{count} {said}" for name, said in words.items() if (count := pose_set.counts[name]))


def _open(path: str, config: DataConfig) -> PoseSet:
    conversion = Conversion(config.hand_convention, config.subsample_fps, config.trim)
    return open_poses(find_files(path), conversion, _cache_dir(config))


def _cache_dir(config: DataConfig) -> Path | None:
    return Path(os.path.expanduser(config.cache_dir)) if config.cache_dir else None
