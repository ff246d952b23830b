"""Frame rates of exports: those that the SMPL-X Blender add-on takes, and others than the clip's."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from export_results import FPS, LIVES, Result, exported, make_result

from pose_priors.configs.base import UserError
from pose_priors.refinement.export.people import read_people
from pose_priors.refinement.export.rate import resampled, whole_rate
from pose_priors.refinement.result.write import RESULTS


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return make_result(tmp_path_factory.mktemp("rate") / "clip", 22)


@pytest.mark.parametrize(
    ("fps", "written"), [(30000 / 1001, 30), (60000 / 1001, 60), (24000 / 1001, 24), (29.97, 30), (25, 25), (12.5, 12.5), (1, 1)]
)
def test_rates_of_broadcasts_are_written_as_the_whole_ones_that_they_stand_for(fps: float, written: float) -> None:
    assert whole_rate(fps) == written


@pytest.mark.parametrize(("fps", "told"), [(30000 / 1001, "written as 30"), (25.0, "set Target framerate to 25"), (60.0, ""), (30.0, "")])
def test_what_the_add_on_needs_is_told(result: Result, tmp_path: Path, fps: float, told: str, caplog: pytest.LogCaptureFixture) -> None:
    (result.folder / RESULTS).write_text(json.dumps({"fps": fps}))
    with caplog.at_level(logging.WARNING):
        (path, *_) = exported(result, "amass", tmp_path)
    assert caplog.text == "" if not told else told in caplog.text
    with np.load(path) as data:
        assert float(data["mocap_frame_rate"]) == float(data["mocap_framerate"]) == round(fps)
        assert float(data["mocap_time_length"]) == pytest.approx(len(data["poses"]) / fps)
    (result.folder / RESULTS).write_text(json.dumps({"fps": FPS}))


@pytest.mark.parametrize("fps", [-1, 0, 1e9, "fast", True])
def test_a_rate_that_is_none_is_refused(result: Result, tmp_path: Path, fps: object) -> None:
    (result.folder / RESULTS).write_text(json.dumps({"fps": fps}))
    with pytest.raises(UserError, match=r"'fps' is .* 1 to 1000 frames a second are expected"):
        exported(result, "bvh", tmp_path)
    (result.folder / RESULTS).write_text(json.dumps({"fps": FPS}))
    with pytest.raises(UserError, match="--fps: 0; 1 to 1000"):
        exported(result, "bvh", tmp_path, "--fps", "0")


def test_another_rate_keeps_times_and_passes_through_the_frames(result: Result) -> None:
    clip = read_people("clip", result.folder)
    twice = resampled(clip, 2 * FPS)
    for old, new in zip(clip.people, twice.people, strict=True):
        np.testing.assert_array_equal(new.frames, np.arange(2 * old.frames[0], 2 * old.frames[-1] + 1))
        np.testing.assert_allclose(new.rotmat[::2], old.rotmat, atol=1e-9)
        np.testing.assert_allclose(new.pelvis[::2], old.pelvis, atol=1e-9)
        np.testing.assert_allclose(new.pelvis[1::2], (old.pelvis[1:] + old.pelvis[:-1]) / 2, atol=1e-9)
        np.testing.assert_array_equal(new.visible[::2], old.visible)
        np.testing.assert_allclose(np.linalg.det(new.rotmat), 1, atol=1e-9)
        halfway = old.rotmat[:-1].swapaxes(-1, -2) @ new.rotmat[1::2]
        np.testing.assert_allclose(halfway @ halfway, old.rotmat[:-1].swapaxes(-1, -2) @ old.rotmat[1:], atol=1e-6)
    back = resampled(twice, FPS)
    for old, new in zip(clip.people, back.people, strict=True):
        np.testing.assert_array_equal(new.frames, old.frames)
        np.testing.assert_allclose(new.rotmat, old.rotmat, atol=1e-9)


@pytest.mark.parametrize("to", ["amass", "bvh", "glb"])
def test_every_format_is_written_at_another_rate(result: Result, tmp_path: Path, to: str) -> None:
    files = exported(result, to, tmp_path, "--fps", "30")
    if to == "amass":
        for path, (begin, end) in zip(files, LIVES.values(), strict=True):
            with np.load(path) as data:
                assert float(data["mocap_frame_rate"]) == 30
                seconds = data["frame_ids"] / 30
                assert 0 <= seconds[0] - (100 + begin) / FPS < 1 / 30
                assert 0 <= (100 + end - 1) / FPS - seconds[-1] < 1 / 30
                assert data["joint_sigma_mm"].shape == (len(seconds), 55)
    if to == "bvh":
        assert "Frame Time: 0.03333333" in files[0].read_text()
