"""Trains as `train.py` does, and writes down the rows that this process draws: `recorded_training.py FOLDER ARGUMENTS...`.

One line of JSON for each batch: the epoch, and the numbers of the rows in the training set.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

import train
from pose_priors.configs.cli import run
from pose_priors.datamodules.base import PoseDataModule
from pose_priors.datamodules.loader import PoseLoader


class Recorded:
    """Poses that remember in a file which of them were asked for."""

    def __init__(self, loader: PoseLoader, path: Path) -> None:
        self.loader, self.poses, self.path = loader, loader.poses, path

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        with self.path.open("a") as file:
            file.write(json.dumps([self.loader.epoch, rows.tolist()]) + "\n")
        return self.poses[rows]


def main() -> None:
    folder, *arguments = sys.argv[1:]
    make = PoseDataModule.train_dataloader

    def recorded(self: PoseDataModule) -> PoseLoader:
        loader = make(self)
        loader.poses = Recorded(loader, Path(folder) / f"rank_{os.environ.get('SLURM_PROCID', '0')}.jsonl")
        return loader

    PoseDataModule.train_dataloader = recorded
    train.main(arguments)


if __name__ == "__main__":
    run(main)
