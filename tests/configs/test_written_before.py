"""An output that cannot be written is refused before the work, and nothing is made by asking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import clean
import evaluate
import score
from pose_priors.benchmarks.motion import __main__ as motion
from pose_priors.benchmarks.motions import __main__ as motions
from pose_priors.benchmarks.priors import __main__ as priors
from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import check_writable
from pose_priors.priors.exporting import __main__ as exporting


def test_nothing_is_left_where_one_can_write(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone" / "below")
    for path in (tmp_path / "file", tmp_path / "file" / "a", tmp_path / "nowhere" / "a", Path("/proc/out")):
        with pytest.raises(UserError, match=r"cannot be written \(.*give another folder"):
            check_writable(path)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (evaluate.main, ["--checkpoint", "{gone}"]),
        (evaluate.main, ["--scene", "{gone}", "--gt", "{gone}"]),
        (exporting.main, ["{gone}", "--format", "torch"]),
        (clean.main, ["{poses}"]),
        (score.main, ["{poses}"]),
        (priors.main, ["--checkpoints", "{gone}"]),
        (motion.main, ["--checkpoint", "{gone}", "--data", "{gone}", "--train", "{gone}"]),
        (motions.main, ["--data", "{gone}"]),
    ],
)
def test_commands_refuse_before_they_look_at_anything_else(
    command: Callable[[list[str]], object], arguments: list[str], tmp_path: Path
) -> None:
    np.savez(tmp_path / "poses.npz", poses=np.zeros((30, 72)), trans=np.zeros((30, 3)), mocap_framerate=30.0)
    (tmp_path / "file").touch()
    given = [word.format(gone=tmp_path / "gone", poses=tmp_path / "poses.npz") for word in arguments]
    with pytest.raises(UserError, match=r"out: cannot be written \(Not a directory\)"):
        command([*given, "--output", str(tmp_path / "file" / "out")])
