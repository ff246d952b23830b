"""`evaluate.py --scene`: the table, the files, and what it says when something is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import evaluate
import refine
from pose_priors.configs.base import UserError
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene
from pose_priors.refinement.result.metrics import abs_mpjpe
from pose_priors.refinement.result.report import read_before, read_truth

SHIFT = np.array([0.0, 0.03, 0.04])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The built-in sequence with a refinement that is the truth, moved by 50 mm, at a scale 2 % too large."""
    folder, truth_path = write_builtin_scene(tmp_path_factory.mktemp("results") / "built_in", 2)
    with np.load(truth_path) as truth:
        for p, joints in enumerate(truth["joints"]):
            person = folder / "5_refinement" / f"person_{p + 1:03d}"
            person.mkdir(parents=True)
            arrays = {"joints": joints + SHIFT, "frame_ids": np.arange(len(joints)), "scale_alpha": truth["alpha"] * 1.02}
            np.savez(person / "smpl_params_refined.npz", **arrays)
    return folder, truth_path


@pytest.fixture
def spoilt(scene: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of what is read, to spoil."""
    for name in (STAGES[1], STAGES[3], "5_refinement"):
        shutil.copytree(scene[0] / name, tmp_path / "scene" / name, ignore=shutil.ignore_patterns("depth_maps"))
    return tmp_path / "scene", Path(shutil.copy(scene[1], tmp_path))


def scored(scene: tuple[Path, Path], *more: str) -> dict[str, dict[str, float | None]]:
    return evaluate.main(["--scene", str(scene[0]), "--gt", str(scene[1]), *more])


def test_before_and_after_are_scored_printed_and_drawn(
    scene: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = scored(scene, "--output", str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    after, before = metrics["after"], metrics["before"]
    assert [after["abs_mpjpe_mm"], after["infilled_abs_mpjpe_mm"]] == pytest.approx([50, 50])
    for name in ("mpjpe_mm", "pa_mpjpe_mm", "w_mpjpe_mm", "wa_mpjpe_mm", "rte_percent", "accel_error", "distance_error_mm"):
        assert after[name] == pytest.approx(0, abs=1e-6)
        assert before[name] > 1
    assert after["jitter"] == pytest.approx(after["jitter_truth"])
    assert before["jitter"] > 10 * before["jitter_truth"]
    assert after["scale_error_percent"] == pytest.approx(2)
    assert before["infilled_abs_mpjpe_mm"] is None
    assert (before["coverage_percent"], after["coverage_percent"]) == (pytest.approx(100 * (1 - 12 / 168)), 100)
    assert [set(person) for person in metrics["people"]] == [{"before", "after"}] * 2
    printed = capsys.readouterr().out
    assert all(name in printed for name in after)
    with Image.open(tmp_path / "out" / "scene.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    with Image.open(tmp_path / "out" / "figure_paths.png") as picture:
        assert (picture.format, picture.width) == ("PNG", 1380)
        greys = np.asarray(picture.convert("RGB")).astype(int)
    assert greys.std() > 8
    assert np.ptp(greys, axis=-1).max() <= 2  # no colour
    # red and blue lines, both
    for low, high in ((2, 0), (0, 2)):
        assert (colours[:, high] > colours[:, low] + 60).sum() > 300


def test_before_is_stage_3_in_the_world_of_stage_1_at_scale_1(scene: tuple[Path, Path]) -> None:
    truth, tracks = read_truth(scene[1]), read_before(scene[0], [])
    with np.load(scene[0] / STAGES[1] / "cameras.npz") as cameras:
        for p, track in enumerate(tracks):
            np.testing.assert_array_equal(track.frames, np.flatnonzero(truth.visible[p]))
            joints = np.load(scene[0] / STAGES[3] / f"person_{p + 1:03d}" / "joints_camera.npy")[:, :22]
            for row, frame in enumerate(track.frames):
                c2w = np.linalg.inv(cameras["poses"][frame])
                np.testing.assert_allclose(track.joints[row], joints[row] @ c2w[:3, :3].T + c2w[:3, 3], atol=1e-6)
    assert abs_mpjpe(tracks[0].joints, truth.joints[0, tracks[0].frames]) > 50


def test_another_folder_of_refinements(scene: tuple[Path, Path], spoilt: tuple[Path, Path], tmp_path: Path) -> None:
    (spoilt[0] / "5_refinement").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="5_refinement: no such folder"):
        scored(spoilt)
    assert scored(spoilt, "--refined", str(tmp_path / "elsewhere")) == scored(scene)


def test_what_does_not_belong_together_is_refused(spoilt: tuple[Path, Path]) -> None:
    folder, truth_path = spoilt
    with np.load(truth_path) as arrays:
        truth = dict(arrays)
    for change, message in (
        ({"joints": truth["joints"][:, :50], "visible": truth["visible"][:, :50]}, "ends with frame 49"),
        ({"joints": truth["joints"][:1], "visible": truth["visible"][:1]}, "2 people, but .* has 1"),
        ({"joints": truth["joints"][:, :, :10]}, "22 or more"),
        ({"visible": truth["visible"][:, :10]}, "'visible'"),
    ):
        np.savez(truth_path, **truth | change)
        with pytest.raises(UserError, match=message):
            scored(spoilt)
    np.savez(truth_path, **{key: value for key, value in truth.items() if key != "alpha"})
    with pytest.raises(UserError, match="alpha"):
        scored(spoilt)
    np.savez(truth_path, **truth)
    person = folder / "5_refinement" / "person_002" / "smpl_params_refined.npz"
    with np.load(person) as arrays:
        refined = dict(arrays)
    np.savez(person, **refined | {"joints": refined["joints"] * np.nan})
    with pytest.raises(UserError, match="finite"):
        scored(spoilt)
    person.unlink()
    with pytest.raises(UserError, match="no such file"):
        scored(spoilt)
    (folder / STAGES[3] / "person_001" / "joints_camera.npy").unlink()
    with pytest.raises(UserError, match=r"no joints_camera\.npy"):
        scored(spoilt)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither is given"),
        (["--scene", "a", "--checkpoint", "b"], "both are given"),
        (["--scene", "a"], "needs --gt"),
        (["--checkpoint", "a"], "needs --output"),
        (["--scene", "a", "--gt", "b", "--data", "c"], "--data says nothing beside --scene"),
        (["--scene"], "expected one argument"),
        (["--what"], "unrecognized"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate.main(arguments)


def test_wrong_usage_is_one_line_and_exit_code_2() -> None:
    root = Path(evaluate.__file__).parent
    result = subprocess.run([sys.executable, "evaluate.py"], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.strip().count("\n") == 0


def test_without_an_input_the_built_in_sequence_is_refined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few iterations already bring the people nearer to the truth."""
    monkeypatch.chdir(tmp_path)
    names = ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
    short = [f"refinement.{name}_iterations={4 if name in names[:2] else 0}" for name in names]
    results = refine.main(["--config", "refinement", "--override", "input.path=null", "trainer.enable_progress_bar=false", *short])
    assert list(results) == ["built_in"]
    metrics = scored((Path("results/built_in"), Path("results/built_in_gt.npz")))
    assert metrics["after"]["abs_mpjpe_mm"] < 0.4 * metrics["before"]["abs_mpjpe_mm"]
    assert metrics["after"]["scale_error_percent"] < 3


def test_frames_that_are_counted_from_1_are_those_of_the_truth(scene: tuple[Path, Path], spoilt: tuple[Path, Path]) -> None:
    expected, folder = scored(scene), spoilt[0]
    for path in folder.rglob("metadata.json"):
        about = json.loads(path.read_text())
        if "frames" in about:
            about |= {"frames": [frame + 1 for frame in about["frames"]], "start_frame": 1 + about["start_frame"]}
            path.write_text(json.dumps(about | {"end_frame": about["end_frame"] + 1}))
    for path in folder.rglob("smpl_params_refined.npz"):
        with np.load(path) as arrays:
            np.savez(path, **(dict(arrays) | {"frame_ids": arrays["frame_ids"] + 1}))
    assert scored(spoilt) == expected
