"""The benchmark of steps by rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pose_priors.benchmarks import rows as benchmark
from pose_priors.datamodules.synthetic import synthetic_poses


def test_every_array_has_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = benchmark.main(["--output", str(tmp_path / "out"), "--rows", "40", "90", "--turns", "2", "--batch-size", "16"])
    assert [row["rows"] for row in found] == [40, 90]
    assert all(row["step"] >= 0.9 * (row["gathering"] + row["learning"]) > 0 for row in found)
    assert json.loads((tmp_path / "out" / "rows.json").read_text()) == found
    assert capsys.readouterr().out.count("| x ") == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["rows.json", "rows.md"]


def test_rows_are_as_many_and_distinct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_CHUNK", 30)
    poses = synthetic_poses(20, seed=0)
    array = benchmark.write_poses(tmp_path / "a.npy", poses, 70).poses
    assert isinstance(array, np.memmap)
    assert len(np.unique(array.reshape(70, -1), axis=0)) == 70
    assert np.abs(array - poses.numpy()[np.arange(70) % 20]).max() < 1e-2


def test_the_first_is_what_others_are_held_against() -> None:
    rows = [{"rows": n, "step": s, "gathering": s / 4, "learning": s / 2, "pass": s / 4} for n, s in ((10, 0.1), (1000, 0.2))]
    assert "| 10 | 10.00 | x 1.000 | 25.00 | 50.00 | 25.00 |" in benchmark.table(rows)
    assert "| 1,000 | 5.00 | x 0.500 |" in benchmark.table(rows)
