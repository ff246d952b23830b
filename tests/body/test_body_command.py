"""`pose-priors body --compare`: the built-in skeleton against a model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pose_priors.body.__main__ import compared, main
from pose_priors.body.builtin import rest_joints
from pose_priors.body.skeleton import index_of
from pose_priors.configs.base import UserError


def write_joints(path: Path, joints: np.ndarray) -> Path:
    """A model file of one vertex at each joint."""
    parents = np.arange(-1, 54)
    num = len(joints)
    content = {"v_template": joints, "shapedirs": np.zeros((num, 3, 20)), "posedirs": np.zeros((num, 3, 9 * 54)), "weights": np.eye(num)}
    content |= {"J_regressor": np.eye(num), "kintree_table": np.stack([parents, np.arange(num)]), "f": np.zeros((1, 3), np.uint32)}
    np.savez(path, **content)
    return path


def test_what_differs_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = rest_joints().numpy() + np.array([0.3, 1.0, -2.0])
    moved[index_of("left_knee")] += [0, 0.03, 0]
    main(["--compare", str(write_joints(tmp_path / "SMPLX_NEUTRAL.npz", moved))])
    said = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert said["left_knee"][0] == "30.0"
    assert said["right_knee"] == ["0.0", "0.0"]
    assert float(said["mean"][3]) == pytest.approx(30 / 22, abs=0.05)


def test_distance_and_angle_of_bones() -> None:
    ours = rest_joints()[:22]
    theirs = ours.clone()
    knee, ankle, foot = (index_of(f"left_{name}") for name in ("knee", "ankle", "foot"))
    bone = ours[ankle] - ours[knee]
    turn = torch.tensor([[1.0, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]], dtype=torch.float64)
    theirs[[ankle, foot]] += turn @ bone - bone
    off, angle = compared(ours, theirs)
    assert off[ankle].item() == pytest.approx(float((turn @ bone - bone).norm()))
    cosine = float(bone @ turn @ bone / (bone @ bone))
    assert angle[ankle].item() == pytest.approx(np.degrees(np.arccos(cosine)))
    assert angle[foot] < 1e-6
    assert off[knee] == 0
    assert angle[knee] < 1e-6


def test_no_model() -> None:
    with pytest.raises(UserError, match="no file or folder"):
        main(["--compare", "/nowhere"])
