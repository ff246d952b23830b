"""The motions that a motion prior learns from: where they come from, how they are split, and the windows that training sees."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pydantic import Field

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import FPS
from pose_priors.configs.base import UserError, counted
from pose_priors.datamodules.base import SPLITS, SplitName
from pose_priors.datamodules.clips import SMPL_STATURE, Clip, UnusableClipError, UpAxis, make_clip, read_clip, y_up_to_z_up
from pose_priors.datamodules.files import find_files
from pose_priors.datamodules.motion_loader import CONFIGURED, MotionLoader, WindowArrays
from pose_priors.datamodules.plausibility import MAX_FPS, MIN_FPS
from pose_priors.datamodules.split_config import SplitConfig
from pose_priors.datamodules.splits import assign

log = logging.getLogger(__name__)

_EVAL_BATCH = 512


class MotionDataConfig(SplitConfig):
    """Where motions come from, how they are read and how they are split.

    `path`, or `train`, is the pool; `val` and `test`, where they are given, are used as they are, and what is not given is cut out of the
    pool, whole clips at a time. `path=built_in`, or none of them, are the built-in motions.

    Args:
        path, train, val, test: a file, a folder or a glob each, of AMASS's layout: poses, translations and a frame rate.
        fps: frames a second of files that do not say.
        up_axis: which axis of the files points up; `auto` finds it for each file by how bodies stand.
        trim: whether to keep only the middle 80 % of each motion.
        stature: metres; of the skeleton that the files' motions are put on. At the default its legs are as long as those of SMPL's mean
            shape, for which the translations of such files are made: with other legs, feet would slide.
        val_fraction, test_fraction: shares of the pool's frames.
        mirror: whether training sees the mirror image of a window as often as the window.
        vary_skeleton: standard deviation of the factors by which training makes bones of trunk, arms and head longer or shorter.
        vary_axes: radians; the most of the standard deviation by which training turns the axes of joints about each of their own, all of
            them but the root's: makers of motions differ in where a joint's zero is.
        vary_speed: factor by which training plays clips slower or faster at most.
        mix_bodies: share of the windows to which training gives trunk, arms and head of another window.
        num_clips: size of the built-in source.
    """

    fps: float | None = Field(None, ge=MIN_FPS, le=MAX_FPS)
    up_axis: UpAxis = "auto"
    trim: bool = False
    stature: float = Field(SMPL_STATURE, gt=0.3, lt=2.6)
    mirror: bool = True
    vary_skeleton: float = Field(0.03, ge=0, le=0.2)
    vary_axes: float = Field(0.0, ge=0, le=0.5)
    vary_speed: float = Field(1.0, ge=1, le=2)
    mix_bodies: float = Field(0.0, ge=0, le=1)
    num_clips: int = Field(200, gt=0, le=100_000)


@dataclass(frozen=True)
class ClipSet:
    """The clips of one source.

    Attributes:
        clips: distinct ones, in the order of the files.
        known_by: for each clip, what tells it from all others.
        counts: `files`, `skipped_files` that hold no motion, `duplicates`, and for each reason why clips were `dropped_...` how many.
    """

    clips: list[Clip]
    known_by: list[bytes]
    counts: Counter[str]


def load_clips(path: str, config: MotionDataConfig | None = None) -> list[Clip]:
    """All distinct motions of a file, folder or glob that can be used.

    Args:
        path: where they are.
        config: how to read them; its own paths are not looked at.
    Raises:
        UserError: if there are none.
    """
    found = _read(path, config or MotionDataConfig())
    if not found.clips:
        counted = _counted(found.counts)
        raise UserError(f"'{path}' holds no motion that can be used ({counted}); give clips of a second or more, in metres")
    return found.clips


class MotionDataModule(pl.LightningDataModule):
    """Motions split into training, validation and test by whole clips, and batches of windows of each.

    A clip that comes twice is used once; where splits are given, validation loses what test holds, and training what either holds.
    All clips are held in memory: an hour takes 30 MB.

    Args:
        config: the data.
        batch_size: training windows a batch and rank.
        seed: of the built-in source, the split, the order, the mirroring and the skeletons.
        num_frames: of a window.

    Attributes:
        batch_size, batches_an_epoch, most_validated: as `PoseDataModule`'s, of windows.
    """

    def __init__(self, config: MotionDataConfig, batch_size: int, seed: int, num_frames: int) -> None:
        super().__init__()
        self.config, self.batch_size, self.seed, self.num_frames = config, batch_size, seed, num_frames
        self.batches_an_epoch: int | None = None
        self.most_validated: int | None = None
        self._windows: dict[SplitName, WindowArrays] = {}

    def setup(self, stage: str | None = None) -> None:
        """Reads the motions and splits them; the second time does nothing.

        Raises:
            UserError: if there are no motions, or a split is empty.
        """
        if self._windows:
            return
        config = self.config
        sets: dict[str, ClipSet] = {"pool": self._built_in() if config.pool is None else _read(config.pool, config)}
        sets |= {split: _read(path, config) for split, path in config.held_out.items()}
        sets = {name: self._long_enough(found) for name, found in sets.items()}
        splits = self._split(sets)
        before = sum(map(len, splits.values()))
        splits["val"] = {key: clip for key, clip in splits["val"].items() if key not in splits["test"]}
        splits["train"] = {key: clip for key, clip in splits["train"].items() if key not in {**splits["val"], **splits["test"]}}
        for split in SPLITS:
            if not splits[split]:
                raise UserError(self._why_empty(split, sets))
        counts = sum((found.counts for found in sets.values()), Counter())
        self._summary = {"files": counts.pop("files", 0), "skipped_files": counts.pop("skipped_files", 0), **counts}
        self._summary["duplicates_across_splits"] = before - sum(map(len, splits.values()))
        for split in SPLITS:
            self._windows[split] = WindowArrays(list(splits[split].values()), self.num_frames, 1 if split == "train" else self.num_frames)
            self._summary |= {f"{split}_clips": len(splits[split]), f"{split}_windows": len(self._windows[split])}
        digest = hashlib.blake2b(digest_size=8)
        for split in SPLITS:
            digest.update(b"".join([split.encode(), *splits[split]]))
        self._fingerprint = digest.hexdigest()
        if self.trainer is None or self.trainer.global_rank == 0:
            log.info("motions: %s", _counted(self._summary))

    @property
    def train_clips(self) -> list[Clip]:
        """The clips of the training split."""
        return self._windows["train"].clips

    @property
    def val_clips(self) -> list[Clip]:
        """The clips of the validation split."""
        return self._windows["val"].clips

    @property
    def test_clips(self) -> list[Clip]:
        """The clips of the test split."""
        return self._windows["test"].clips

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the content of the three splits."""
        return self._fingerprint

    def summary(self) -> dict[str, int]:
        """Counts: files read and skipped, clips dropped for each reason, clips and windows of each split."""
        return dict(self._summary)

    def training_sample(self, n: int = 2000) -> MotionWindows:
        """Windows as training sees them, drawn without replacement, the same on every rank: m <= n of them. Their speeds and bodies are the
        clips' own: at mixed speeds what is learnt of them in closed form is farther off for all clips."""
        first: MotionWindows = next(iter(self._training_loader(n, 0, 1, vary_speed=1, mix_bodies=0)))
        return first

    def train_dataloader(self) -> MotionLoader:
        self._check_shareable("train")
        return self._training_loader(self.batch_size, *self._process, self.batches_an_epoch)

    def val_dataloader(self) -> MotionLoader:
        return self._evaluation_loader("val", self.most_validated)

    def test_dataloader(self) -> MotionLoader:
        return self._evaluation_loader("test", None)

    @property
    def num_rows(self) -> tuple[int, int]:
        """How many windows there are to learn from, and to validate on."""
        return len(self._windows["train"]), len(self._windows["val"])

    @property
    def _process(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _training_loader(self, size: int, rank: int, world_size: int, batches_an_epoch: int | None = None, **options: Any) -> MotionLoader:
        return MotionLoader(
            self._windows["train"],
            size,
            seed=self.seed,
            shuffle=True,
            drop_last=True,
            rank=rank,
            world_size=world_size,
            batches_an_epoch=batches_an_epoch,
            **self.config.model_dump(include=CONFIGURED) | options,
        )

    def _evaluation_loader(self, split: SplitName, most: int | None) -> MotionLoader:
        self._check_shareable(split)
        rank, world_size = self._process
        windows, size = self._windows[split], max(self.batch_size, _EVAL_BATCH)
        return MotionLoader(windows, size, seed=self.seed, rank=rank, world_size=world_size, most_rows=most)

    def _check_shareable(self, split: SplitName) -> None:
        num_windows, world_size = len(self._windows[split]), self._process[1]
        if num_windows < world_size:
            raise UserError(f"the {split} split has {num_windows} windows for {world_size} processes; give more data or fewer devices")

    def _built_in(self) -> ClipSet:
        from pose_priors.datamodules.synthetic.motions import synthetic_motions

        motions = synthetic_motions(self.config.num_clips, FPS, self.seed)
        clips = [make_clip(f"{m.kind}_{i:04d}", *y_up_to_z_up(m.pose, m.pelvis), m.stature) for i, m in enumerate(motions)]
        # Known by seed and number, not by their bits: threaded arithmetic may round differently, and a run has to find its own data again.
        return ClipSet(clips, [f"built-in {self.seed} {i}".encode() for i in range(len(clips))], Counter())

    def _long_enough(self, found: ClipSet) -> ClipSet:
        kept = [i for i, clip in enumerate(found.clips) if len(clip) >= self.num_frames]
        counts = found.counts + Counter({"dropped_shorter_than_a_window": len(found.clips) - len(kept)})
        return ClipSet([found.clips[i] for i in kept], [found.known_by[i] for i in kept], counts)

    def _split(self, sets: dict[str, ClipSet]) -> dict[SplitName, dict[bytes, Clip]]:
        """For each split its clips by what they are known by."""
        pool, config = sets["pool"], self.config
        val_fraction = 0.0 if "val" in sets else config.val_fraction
        test_fraction = 0.0 if "test" in sets else config.test_fraction
        lengths = [len(clip) for clip in pool.clips]
        assigned = assign(lengths, val_fraction, test_fraction, np.random.default_rng(self.seed))
        splits: dict[SplitName, dict[bytes, Clip]] = {}
        for number, split in enumerate(SPLITS):
            found, own = sets.get(split, pool), split in sets
            splits[split] = {
                key: clip for i, (key, clip) in enumerate(zip(found.known_by, found.clips, strict=True)) if own or assigned[i] == number
            }
        return splits

    def _why_empty(self, split: SplitName, sets: dict[str, ClipSet]) -> str:
        own = split in sets
        path = getattr(self.config, split) if own else self.config.pool
        found = sets[split if own else "pool"]
        source = f"{path!r}" if path else "the built-in source"
        if own and found.clips:
            clips = counted(len(found.clips), "clip")
            return f"the {split} split is empty: what {source} gives ({clips}) is also in another; give splits of different clips"
        return (
            f"the {split} split is empty: {source} gives {counted(len(found.clips), 'clip')} ({_counted(found.counts)}), never cut; give "
            f"more clips, data.{split}, or other data.val_fraction and data.test_fraction"
        )


def _read(path: str, config: MotionDataConfig) -> ClipSet:
    clips: dict[bytes, Clip] = {}
    counts: Counter[str] = Counter()
    refusals: list[UserError] = []
    for file in find_files(path):
        try:
            clip = read_clip(file, fps=config.fps, up_axis=config.up_axis, trim=config.trim, stature=config.stature)
        except UserError as error:
            refusals.append(error)
            continue
        except UnusableClipError as error:
            counts["files"] += 1
            counts[f"dropped_{error}".replace(" ", "_")] += 1
            continue
        counts["files"] += 1
        if clip.unit != "metres":
            counts[f"in_{clip.unit}"] += 1
        digest = hashlib.blake2b(clip.pose.numpy().tobytes() + clip.pelvis.numpy().tobytes(), digest_size=16).digest()
        counts["duplicates"] += digest in clips
        clips.setdefault(digest, clip)
    if refusals and not counts["files"]:
        raise refusals[0]
    for refusal in refusals:
        log.warning("skipped: %s", refusal)
    for name in ("in_centimetres", "in_millimetres", "dropped_faster_than_people_move"):
        if counts[name]:
            log.warning("%s: %d of %d files %s, by how pelvis and feet move", path, counts[name], counts["files"], name.replace("_", " "))
    counts["skipped_files"] += len(refusals)
    return ClipSet(list(clips.values()), list(clips), counts)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items()) or "nothing read"
