"""What is learnt from where no file is named: the pose files of the current folder that have the usual names, or the built-in source."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

from pose_priors.configs.base import BUILT_IN
from pose_priors.datamodules.arrays import SUFFIXES
from pose_priors.datamodules.split_config import SplitConfig

USUAL_NAMES = {"train": "train_poses.npz", "val": "val_poses.npz", "test": "test_poses.npz"}
"""By the split that it holds, the name of a file that is taken from the current folder."""
_MOST_NAMED = 5

AnySplit = TypeVar("AnySplit", bound=SplitConfig)


def located(config: AnySplit, folder: Path, of: Literal["poses", "motions"]) -> tuple[AnySplit, str | None]:
    """The data of an experiment with a source, and one line that says which it is where the configuration names none.

    Args:
        folder: the current one. Of poses, files of the usual names in it are taken, if one to learn from
            is among them; others are named.
    """
    if config.path is not None or config.train is not None:
        return config, None
    here = sorted(path.name for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    usual = {split: name for split, name in USUAL_NAMES.items() if name in here}
    if of == "poses" and "train" in usual:
        others = [name for name in here if name not in usual.values()]
        left = f"; left alone: {_some(others)}" if others else ""
        return config.model_copy(update=usual), f"no data.path: {', '.join(usual.values())} of the current folder are the data{left}"
    left = f"; left alone: {_some(here)}, of which data.path takes one" if here else ""
    line = f"no data.path: the {of} are synthetic, as data.path={BUILT_IN} says by name{left}"
    return config.model_copy(update={"path": BUILT_IN}), line


def _some(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
