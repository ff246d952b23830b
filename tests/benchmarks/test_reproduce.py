"""Numbers of README made again: the splits, the commands, and when a number agrees."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from pose_priors.benchmarks.reproduce import __main__ as reproduce
from pose_priors.benchmarks.reproduce.running import _SCALED_TRAINING, Found
from pose_priors.benchmarks.reproduce.splits import read_batch, rows_of
from pose_priors.benchmarks.reproduce.stated import SPLITS, Stated
from pose_priors.configs import command
from pose_priors.configs.base import UserError
from pose_priors.configs.load import load_config
from pose_priors.configs.schema import load_experiment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stated() -> Stated:
    return load_config(Stated, str(reproduce.FILE))


def in_this_process(words: list[str], folder: Path) -> None:
    """Runs a command without the seconds of a process of its own."""
    table, rest = (command._BENCHMARKS, words[1:]) if words[0] == "benchmark" else (command._COMMANDS, words)
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        importlib.import_module(table[rest[0]]).main(rest[1:])


@pytest.mark.parametrize("split", SPLITS)
def test_splits_hold_every_row_once_and_the_same_again(split: str) -> None:
    rows = np.random.default_rng(0).normal(0, 0.05, (300, 63)).astype(np.float32)
    rows[:, 9 * 3 : 11 * 3] = np.random.default_rng(1).normal(0, 9, (300, 6))  # feet, which do not count
    parts = rows_of(rows, split)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(300))
    assert len(parts["val"]) == len(parts["test"]) == 30 or split == "far"
    assert all(np.array_equal(parts[name], again) for name, again in rows_of(rows, split).items())


def test_far_keeps_near_twins_on_one_side() -> None:
    generator = np.random.default_rng(2)
    rows = np.repeat(generator.normal(0, 0.6, (150, 63)), 2, 0) + generator.normal(0, 0.02, (300, 63))
    parts = rows_of(rows.astype(np.float32), "far")
    assert len(parts["val"]) == len(parts["test"]) == 30
    moving = np.delete(rows.reshape(-1, 21, 3), (9, 10), 1).reshape(300, -1)
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        apart = np.linalg.norm(moving[parts[one]][:, None] - moving[parts[other]][None], axis=-1)
        assert apart.min() > 0.5
    at_random = rows_of(rows.astype(np.float32), "random")
    apart = np.linalg.norm(moving[at_random["train"]][:, None] - moving[at_random["test"]][None], axis=-1)
    assert apart.min() < 0.5


def test_another_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((10_000, 63), np.float32))
    with pytest.raises(UserError, match="other numbers"):
        read_batch(tmp_path / "a.npy", "0" * 64)
    np.save(tmp_path / "b.npy", np.zeros((10, 63), np.float32))
    with pytest.raises(UserError, match="one array"):
        read_batch(tmp_path / "b.npy", "0" * 64)
    with pytest.raises(UserError, match="--data: give DPoser-X's"):
        reproduce.main(["gaussian", "--output", str(tmp_path)])
    with pytest.raises(UserError, match="no such row; there are: gaussian"):
        reproduce.main(["gausian"])


def test_every_row_of_priors_is_a_configuration(stated: Stated) -> None:
    for row in stated.poses.values():
        if row.train is not None:
            load_experiment(row.train, row.override)
            load_experiment(row.train, [*row.override, *_SCALED_TRAINING[row.train]])


def test_rows_are_made_by_the_commands_of_the_project(tmp_path: Path, stated: Stated) -> None:
    lines = reproduce.main(["gaussian", "gmm_8", "refinement", "--scaled-down", "--output", str(tmp_path)], command=in_this_process)
    named = {line.what: line for line in lines}
    assert {"gaussian, random", "gaussian, far", "gmm_8, far", "refinement, abs_mpjpe_mm"} <= named.keys()
    assert all(np.isfinite([line.found, line.error]).all() and line.error > 0 for line in lines if "before" not in line.what)
    # what is read is what was written
    scores = json.loads((tmp_path / "far" / "gaussian" / "scores" / "metrics.json").read_text())
    assert next(iter(scores.values()))["nll"] == named["gaussian, far"].found
    seeds = [json.loads((tmp_path / "refinement" / f"seed_{seed}" / "scores" / "metrics.json").read_text()) for seed in (0, 1)]
    values = [seed["after"]["abs_mpjpe_mm"] for seed in seeds]
    assert named["refinement, abs_mpjpe_mm"].found == pytest.approx(np.mean(values))
    assert named["refinement, abs_mpjpe_mm"].error == pytest.approx(np.std(values, ddof=1) / np.sqrt(2))
    assert named["refinement, abs_mpjpe_mm before"].found == pytest.approx(np.mean([seed["before"]["abs_mpjpe_mm"] for seed in seeds]))
    written = json.loads((tmp_path / "reproduced.json").read_text())
    assert [number["found"] for number in written["numbers"]] == [line.found for line in lines]


@pytest.mark.parametrize(("off", "agrees"), [(0.9, True), (-0.9, True), (1.1, False), (-1.1, False)])
def test_a_number_agrees_within_the_stated_error(
    off: float, agrees: bool, tmp_path: Path, stated: Stated, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = stated.poses["gaussian"]
    monkeypatch.setattr(reproduce, "_lay_out", lambda *_: None)
    monkeypatch.setattr(
        reproduce,
        "likelihood",
        lambda name, row, split, *_: Found(getattr(row, split).nll + off * getattr(row, split).error, 1.0, 0.0),
    )
    arguments = ["gaussian", "--data", str(tmp_path), "--output", str(tmp_path)]
    if agrees:
        assert len(reproduce.main(arguments)) == 2
    else:
        with pytest.raises(SystemExit) as ended:
            reproduce.main(arguments)
        assert ended.value.code == 1
    assert row.far.error > 0


def test_pages_state_what_the_configuration_states(stated: Stated) -> None:
    readme = (ROOT / "README.md").read_text()
    page = (ROOT / "docs" / "reproduce.md").read_text()
    for name, row in stated.poses.items():
        (line,) = re.findall(rf"^\|.*\| `{name}` \|.*$", readme, re.MULTILINE)
        (whole,) = re.findall(rf"^\| `{name}` \|.*$", page, re.MULTILINE)
        for known in filter(None, (row.random, row.far)):
            assert f"{known.nll:.1f}" in line, name
            assert f"{known.nll:.1f} ± {known.error:.1f}" in whole, name
    for name, scene in stated.scenes.items():
        (whole,) = re.findall(rf"^\| `{name}` \|.*$", page, re.MULTILINE)
        for metrics in (scene.before, scene.after):
            assert f"{metrics['abs_mpjpe_mm'].mean:.0f} ± {metrics['abs_mpjpe_mm'].error:.0f}" in whole
            assert f"{metrics['abs_mpjpe_mm'].mean:.0f} mm" in readme
