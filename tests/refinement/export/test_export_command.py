"""The command that exports: where files go, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from export_results import exported, make_result

from pose_priors.configs.base import UserError
from pose_priors.refinement.export.__main__ import main
from pose_priors.refinement.result.write import RESULTS, person_file


def test_exports_stand_beside_the_result_unless_told_otherwise(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_result(tmp_path / name / "5_refinement", 22)
    files = main([str(tmp_path), "--format", "glb"])
    assert files == [tmp_path / name / "5_refinement" / "exports" / f"{name}.glb" for name in ("one", "two")]
    assert all(path.is_file() for path in files)
    assert [path.name for path in (tmp_path / "one" / "5_refinement" / "exports").iterdir()] == ["one.glb"]
    with pytest.raises(UserError, match="one is there more than once"):
        main([str(tmp_path), str(tmp_path / "one"), "--format", "bvh", "--output", str(tmp_path / "out")])
    with pytest.raises(UserError, match="amass holds no surface"):
        main([str(tmp_path), "--format", "amass", "--body-model", "SMPLX_NEUTRAL.npz"])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        main([str(tmp_path / "one"), "--format", "bvh", "--output", str(tmp_path / "file" / "out")])


def test_a_result_that_does_not_say_its_rate_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = make_result(tmp_path / "old", 22)
    (result.folder / RESULTS).write_text("{}")
    with caplog.at_level(logging.WARNING):
        (path, *_) = exported(result, "amass", tmp_path / "out")
    assert "30 are assumed" in caplog.text
    with np.load(path) as data:
        assert float(data["mocap_frame_rate"]) == 30


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    result = make_result(tmp_path / "clip", 55)
    path = person_file(result.folder, 2)
    with np.load(path) as data:
        good = dict(data)

    def refused(message: str, **changes: np.ndarray) -> None:
        np.savez(path, **good | changes)
        with pytest.raises(UserError, match=message):
            exported(result, "bvh", tmp_path / "out")

    gap = good["frame_ids"].copy()
    gap[10:] += 2
    refused("frame 116 follows frame 113", frame_ids=gap)
    refused("do not follow from its poses", body_pose=good["body_pose"] * 0.5)
    refused("finite", joints=good["joints"] * np.nan)
    refused("hold 54 joints", jaw_pose=good["jaw_pose"][:, :0])
    assert not (tmp_path / "out").exists()
    np.savez(path, **{name: value for name, value in good.items() if name != "betas"})
    with pytest.raises(UserError, match="betas"):
        exported(result, "bvh", tmp_path / "out")
