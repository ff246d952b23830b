"""Where poses come from if no file is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pose_priors.datamodules.base import DataConfig
from pose_priors.datamodules.motion_data import MotionDataConfig
from pose_priors.datamodules.working_folder import located


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


def test_files_of_the_usual_names_are_taken_and_others_named(tmp_path: Path) -> None:
    lay(tmp_path, "train_poses.npz", "val_poses.npz", "test_poses.npz", "other_data.npz", "notes.txt")
    data, line = located(DataConfig(), tmp_path, "poses")
    assert (data.path, data.train, data.val, data.test) == (None, "train_poses.npz", "val_poses.npz", "test_poses.npz")
    assert (
        line
        == "no data.path: train_poses.npz, val_poses.npz, test_poses.npz of the current folder are the data; left alone: other_data.npz"
    )


def test_what_is_missing_is_cut_out_of_the_training_poses(tmp_path: Path) -> None:
    data, line = located(DataConfig(), lay(tmp_path, "train_poses.npz"), "poses")
    assert (data.pool, data.held_out) == ("train_poses.npz", {})
    assert line == "no data.path: train_poses.npz of the current folder are the data"


def test_without_training_poses_the_poses_are_synthetic(tmp_path: Path) -> None:
    data, line = located(DataConfig(), lay(tmp_path, "val_poses.npz", "a.npy"), "poses")
    assert (data.path, data.pool, data.val) == ("built_in", None, None)
    assert line is not None
    assert "the poses are synthetic" in line
    assert line.endswith("left alone: a.npy, val_poses.npz, of which data.path takes one")
    assert located(data, tmp_path, "poses") == (data, None)


def test_poses_are_no_motions(tmp_path: Path) -> None:
    data, line = located(MotionDataConfig(), lay(tmp_path, "train_poses.npz"), "motions")
    assert data.path == "built_in"
    assert line is not None
    assert "the motions are synthetic" in line


@pytest.mark.parametrize("given", [{"path": "built_in"}, {"path": "a.npz"}, {"train": "a.npz"}])
def test_what_is_named_stays(given: dict[str, str], tmp_path: Path) -> None:
    config = DataConfig(**given)
    assert located(config, lay(tmp_path, "train_poses.npz"), "poses") == (config, None)


def test_the_built_in_source_is_a_pool() -> None:
    assert DataConfig(path="built_in", test="real.npz").held_out == {"test": "real.npz"}
    with pytest.raises(ValidationError, match="val is built_in, a source that is split here"):
        DataConfig(path="a.npz", val="built_in")
    with pytest.raises(ValidationError, match="without path or train"):
        DataConfig(val="a.npz")
