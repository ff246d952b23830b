"""Two folders of results are compared number by number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pose_priors.benchmarks.same_results import main
from pose_priors.configs.base import UserError


def write(folder: Path, *, value: float = 1.0, name: str = "fill", status: str = "success", seconds: float = 1.0) -> Path:
    folder.mkdir()
    torch.save({"state_dict": {name: torch.tensor([value, 100.0])}}, folder / "best.ckpt")
    np.savez(folder / "person.npz", joints=np.array([[np.nan, value]]))
    (folder / "results.json").write_text(json.dumps({"status": status, "losses": [value], "seconds": seconds}))
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write(tmp_path / "old")


def compared(old: Path, new: Path, *options: str) -> dict[str, float]:
    return main([str(old), str(new), *options])


def test_the_same_and_rounding_pass_and_times_do_not_count(old: Path, tmp_path: Path) -> None:
    assert compared(old, write(tmp_path / "same", seconds=7.0)) == {"best.ckpt": 0.0, "person.npz": 0.0, "results.json": 0.0}
    near = compared(old, write(tmp_path / "near", value=1 + 1e-7))
    assert near["person.npz"] == pytest.approx(1e-7, rel=1e-3)
    assert near["best.ckpt"] == pytest.approx(1e-9, rel=0.3)


@pytest.mark.parametrize(
    ("change", "files"), [({"value": 1.1}, 3), ({"name": "other"}, 1), ({"status": "failed"}, 1), ({"value": np.nan}, 3)]
)
def test_what_differs_is_refused(change: dict[str, object], files: int, old: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{files} of 3 files differ"):
        compared(old, write(tmp_path / "new", **change))


def test_names_may_change_and_values_be_left_out(old: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new", name="default_pose", value=2.0)
    with pytest.raises(UserError, match="2 of 3 files differ"):
        compared(old, new, "--renamed", "fill=default_pose", "--ignore", "default_pose")
    assert compared(old, new, "--renamed", "fill=default_pose", "--tolerance", "2")["results.json"] == 1.0


def test_nothing_in_common_is_no_success(old: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no file of"):
        compared(old, tmp_path / "empty")
