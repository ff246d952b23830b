"""Commands of the refinement, killed before every rename: all of the old or all of the new, and the same again goes on."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kills import CHANGES, kills
from scenes import Clip

import evaluate
import refine
from pose_priors.refinement.export.__main__ import main as export
from pose_priors.refinement.show import record

STAGES = ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
SHORT = [*(f"refinement.{name}_iterations=2" for name in STAGES), "trainer.enable_progress_bar=false"]


def refined(folder: Path, output: Path, *overrides: str) -> None:
    refine.main(["--config", "refinement", "--override", f"input.path={folder}", f"output.path={output}", *overrides, *SHORT])


def result(output: Path) -> tuple[dict[str, bytes], float]:
    """The people's files, and the scale that the results tell."""
    arrays = {str(path.relative_to(output)): path.read_bytes() for path in sorted(output.glob("person_*/*.npz"))}
    return arrays, json.loads((output / "refinement_results.json").read_text())["scale_alpha"]


@pytest.fixture
def results(clip: Callable[[str], Clip], one_thread: None) -> Path:
    """A folder of one sequence's stages, with its result."""
    folder = clip("released").folder
    refined(folder, folder / "5_refinement")
    return folder


@pytest.mark.slow
def test_refine(results: Path, tmp_path: Path) -> None:
    before, out, other = results / "5_refinement", tmp_path / "out", "refinement.lambda_depth=7.0"
    refined(results, tmp_path / "new", other)
    old, new = result(before), result(tmp_path / "new")
    assert old[0].keys() == new[0].keys()
    assert old != new
    shutil.copytree(before, out)
    for _ in kills(lambda: refined(results, out, other), 7):
        assert result(out) in (old, new)
        refined(results, out, other)
        assert result(out) == new
        assert not list(tmp_path.rglob(".writing-*"))
        shutil.rmtree(out)
        shutil.copytree(before, out)


@pytest.mark.slow
def test_many(results: Path, tmp_path: Path) -> None:
    root, table = tmp_path / "many", tmp_path / "many" / "summary.csv"
    for name in ("a", "b"):
        shutil.copytree(results, root / name)
        shutil.rmtree(root / name / "5_refinement")
    command = ["--config", "refinement", "--override", f"input.path={root}", "input.skip_existing=true", *SHORT]
    rows: list[str] = []
    for _ in kills(lambda: refine.main(command), 6):
        rows = [row["sequence"] for row in csv.DictReader(table.open())] if table.exists() else []
        assert rows in ([], ["a"], ["a", "b"])
        for name in ("a", "b"):
            output = root / name / "5_refinement"
            assert (output / "refinement_results.json").is_file() == bool(list(output.glob("person_*")))
    assert rows == ["a", "b"]
    assert not list(tmp_path.rglob(".writing-*"))
    whole = result(results / "5_refinement")
    assert all(result(root / name / "5_refinement") == whole for name in rows)


@pytest.mark.parametrize("to", ["amass", "bvh", "glb", "scene", "coco"])
def test_export(to: str, results: Path, tmp_path: Path) -> None:
    command = [str(results), "--format", to, "--output", str(tmp_path / "out")]
    expected = {path.name for path in export(command)}
    for _ in kills(lambda: export(command), 14, CHANGES):
        files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
        assert files.keys() == expected
        assert len({content == b"old" for content in files.values()}) == 1
        for name in expected:
            (tmp_path / "out" / name).write_bytes(b"old")
    assert not list(tmp_path.rglob(".writing-*"))


def test_record(results: Path, tmp_path: Path) -> None:
    names = ["clip.rrd", "clip_person_001.rrd", "clip_person_002.rrd"]
    out = tmp_path / "out"
    out.mkdir()
    for name in [*names, "clip_person_009.rrd"]:
        (out / name).write_bytes(b"old")
    files: dict[str, bool] = {}
    for _ in kills(lambda: record.main([str(results), "--output", str(out)]), 1):
        files = {path.name: path.read_bytes() == b"old" for path in out.iterdir() if path.is_file()}
        assert files in (dict.fromkeys([*names, "clip_person_009.rrd"], True), dict.fromkeys(names, False))
    assert files == dict.fromkeys(names, False)
    assert not list(tmp_path.rglob(".writing-*"))


def test_evaluate_scene(results: Path, tmp_path: Path) -> None:
    people = [dict(np.load(path)) for path in sorted((results / "5_refinement").glob("person_*/*.npz"))]
    joints = np.stack([person["joints"][:, :22] for person in people])
    truth = {
        "joints": joints,
        "visible": np.ones(joints.shape[:2], bool),
        "ground_plane": people[0]["ground_plane"],
        "alpha": 1.0,
        "fps": 30.0,
    }
    np.savez(tmp_path / "truth.npz", **truth)
    command = ["--scene", str(results), "--gt", str(tmp_path / "truth.npz"), "--output", str(tmp_path / "out")]
    evaluate.main(command)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    for name in names:
        (tmp_path / "out" / name).write_bytes(b"old")
    found: dict[str, bool] = {}
    for _ in kills(lambda: evaluate.main(command), 2):
        found = {path.name: path.read_bytes() == b"old" for path in (tmp_path / "out").iterdir()}
        assert found in (dict.fromkeys(names, True), dict.fromkeys(names, False))
    assert found == dict.fromkeys(names, False)
    assert not list(tmp_path.rglob(".writing-*"))
