"""The whole command on little data, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from benchmark_cases import poses_of

from pose_priors.benchmarks.priors import kernel_fits, vposer
from pose_priors.benchmarks.priors.__main__ import main
from pose_priors.benchmarks.priors.candidate import ConditionalDensityCandidate
from pose_priors.benchmarks.priors.data import load_data, load_foreign
from pose_priors.benchmarks.priors.gmm import fit_gaussian
from pose_priors.benchmarks.priors.peers import PEERS
from pose_priors.benchmarks.priors.tables import ResultTable
from pose_priors.benchmarks.priors.trained import trained
from pose_priors.body.rotations import mean_rotation
from pose_priors.configs.base import UserError
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.default_pose import default_pose
from pose_priors.priors.flow_matching import FlowMatchingConfig
from pose_priors.priors.gaussian import GaussianConfig

JOINTS = (1, 2, 13, 16, 18)
TASKS = ["likelihood", "generation", "ood"]


def save_checkpoint(path: Path, joints: tuple[int, ...], covariance: str) -> str:
    """A Gaussian prior in a file as training leaves it."""
    config = GaussianConfig(kind="gaussian", covariance=covariance)
    prior = config.build(joints)
    prior.fit_statistics(poses_of(JOINTS, 500).float())
    weights = {f"prior.{name}": value for name, value in prior.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": weights, "prior": describe(prior, {"model": config.model_dump()}, "0" * 16)}, path)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("poses")
    for seed, (side, num) in enumerate({"train": 400, "val": 120, "test": 120}.items()):
        np.save(path / f"{side}.npy", poses_of(JOINTS, num, seed).numpy().astype(np.float32))
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(vposer, "_MAX_EPOCHS", 3)
        yield


def test_the_whole_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_fits, "_RESTARTS", 2)
    checkpoints = [save_checkpoint(tmp_path / kind / "best.ckpt", JOINTS, kind) for kind in ("diagonal", "full")]
    output = tmp_path / "results"
    tables = main(["--data", str(folder), "--checkpoints", *checkpoints, "--output", str(output), "--tasks", *TASKS])
    metrics = json.loads((output / "metrics.json").read_text())
    assert [table.key for table in tables] == list(metrics["tables"]) == ["likelihood", "conditional_likelihood", "generation", "ood"]
    assert metrics["about"]["poses"] == {"train": 400, "val": 120, "test": 120}
    assert metrics["about"]["checkpoints"] == dict(zip(("diagonal", "full"), checkpoints, strict=True))
    rows = metrics["tables"]["likelihood"]["rows"]
    ppca = next(name for name in rows if name.startswith("PPCA-"))
    assert set(rows) == {*PEERS, ppca, "diagonal", "full"} - {"PPCA"}
    # a trained prior is scored like the baseline that it equals
    assert rows["full"]["NLL"] == pytest.approx(rows["Gaussian, full"]["NLL"], abs=0.3)
    assert rows["GMM-8"]["NLL"] < rows["Gaussian, full"]["NLL"] < rows["Gaussian, diagonal"]["NLL"]
    conditional = metrics["tables"]["conditional_likelihood"]["rows"]
    assert conditional["full"]["left arm"] == pytest.approx(conditional["Gaussian, full"]["left arm"], abs=0.3)
    text = (output / "tables.md").read_text()
    assert all(table.title in text for table in tables)
    printed = capsys.readouterr().out
    assert "GMM-16" in printed
    assert "nan" not in printed + text


def test_a_checkpoint_does_not_hide_a_baseline_of_its_name(folder: Path, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "GMM-8.ckpt", JOINTS, "diagonal")
    given = ["--data", str(folder), "--checkpoints", path, "--baselines", "GMM-8"]
    (table, _) = main([*given, "--output", str(tmp_path / "results"), "--tasks", "likelihood"])
    assert table.rows["GMM-8"]["NLL"] < table.rows["GMM-8 (trained)"]["NLL"] - 1


def test_flow_matching_completes_and_scores_by_itself() -> None:
    torch.manual_seed(0)
    poses = poses_of(JOINTS, 300)
    prior = FlowMatchingConfig(kind="flow_matching", hidden=16, num_blocks=1, num_steps=3).build(JOINTS)
    prior.fit_statistics(poses.float())
    for network in prior.networks:
        torch.nn.init.normal_(network.condition_layer.weight)
    candidate, shown, hidden = trained("flow matching", prior.eval().requires_grad_(False)), poses[:4].clone(), (16, 18)
    assert isinstance(candidate, ConditionalDensityCandidate)
    torch.testing.assert_close(candidate.surprisal(shown), -prior.log_prob(shown.float()).detach().double())
    assert candidate.smoothed(0.1) is None  # it was trained without a denoiser
    # the one is a denoising energy, the other of the density
    assert (candidate.energies(shown) - candidate.surprisal(shown)).abs().min() > 1e-3
    drawn = candidate.complete(shown, hidden, 5, torch.Generator().manual_seed(0))
    point = candidate.complete_point(shown, hidden)
    visible = torch.ones(4, 55, dtype=torch.bool)
    visible[:, list(hidden)] = False
    generator = torch.Generator().manual_seed(0)
    for row in drawn:
        torch.testing.assert_close(row, prior.complete(shown.float(), visible, generator).double())
    kept = [joint for joint in range(55) if joint not in hidden]
    assert torch.equal(drawn[:, :, kept], shown[:, kept].expand(5, -1, -1, -1))
    assert torch.equal(point[:, kept], shown[:, kept])
    many = candidate.complete(shown, hidden, 400, torch.Generator().manual_seed(1))[:, :, hidden]
    turn = roma.rotvec_geodesic_distance(point[:, hidden], mean_rotation(many)).rad2deg()
    assert turn.max() < 4 * (roma.rotvec_geodesic_distance(many, mean_rotation(many)).rad2deg().mean() / 32**0.5)
    conditional = candidate.conditional_log_prob(shown, hidden)
    torch.testing.assert_close(conditional, prior.log_prob_given(shown.float(), visible).detach().double())


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    one = save_checkpoint(tmp_path / "one.ckpt", JOINTS, "joint")
    other = save_checkpoint(tmp_path / "other.ckpt", JOINTS[:-1], "joint")
    still = save_checkpoint(tmp_path / "still.ckpt", (*JOINTS, 30), "joint")
    data = ["--data", str(folder)]
    cases = {
        "lacks left_elbow": [*data, "--checkpoints", one, other],
        "given twice": [*data, "--checkpoints", one, one],
        "--split-radius": [*data, "--split-radius", "0.5"],
        "left_middle": [*data, "--checkpoints", still],
        "likelyhood": [*data, "--tasks", "likelyhood"],
        "gmm_08.pkl": [*data, "--baselines", "--smplify-gmm", str(tmp_path / "none.pkl")],
    }
    for told, arguments in cases.items():
        with pytest.raises(UserError, match=told) as caught:
            main([*arguments, "--output", str(tmp_path / "results")])
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_data_that_is_not_split_is_split_by_the_data_module(folder: Path) -> None:
    data = load_data(str(folder / "train.npy"), 0.05)
    assert len(data.train) + len(data.val) + len(data.test) == len(data.reference) == 400
    assert len(data.val) == pytest.approx(40, abs=3)
    assert data.joint_indices == JOINTS
    assert data.compared_joints == range(1, 19)
    split = load_data(str(folder), None)
    assert np.allclose(split.test, np.load(folder / "test.npy"))
    assert torch.equal(split.default_pose, default_pose(split.train, JOINTS))


def test_tables_mark_the_best_and_show_what_is_missing() -> None:
    rows = {"a": {"NLL": -2.0, "recall": 0.5, "n": 3}, "b": {"NLL": -130.0, "recall": None}}
    table = ResultTable("key", "Title", rows, ("NLL",), ("recall",), ("A note.",))
    assert table.cells() == [["a", "-2.000", "**0.500**", "3"], ["b", "**-130.0**", "-", "-"]]
    lines = table.markdown().splitlines()
    assert lines[0] == "### Title"
    assert lines[2] == "| | NLL | recall | n |"
    assert lines[-1] == "A note."


def test_poses_of_other_sources(folder: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("walks", "dances")):
        np.save(tmp_path / f"{name}.npy", poses_of(JOINTS, 170 if name == "walks" else 80, seed + 20).numpy().astype(np.float32))
    paths = [str(tmp_path / "walks.npy"), str(tmp_path / "dances.npy")]
    given = ["--data", str(folder), "--baselines", "Gaussian, full", "KDE", "--output", str(tmp_path / "results")]
    tables = main([*given, "--tasks", "foreign", "--foreign", *paths])
    metrics = json.loads((tmp_path / "results" / "metrics.json").read_text())
    assert metrics["about"]["foreign"] == {"walks": 150, "dances": 80}
    likelihood, told, left = tables
    assert set(likelihood.rows) == {"Gaussian, full", "KDE"}
    poses = load_foreign(paths, JOINTS)
    candidate = fit_gaussian("Gaussian, full", load_data(str(folder), None), "pose")
    nll = {name: float(candidate.energies(rows).mean()) for name, rows in poses.items()}
    row = likelihood.rows["Gaussian, full"]
    assert row == pytest.approx({"mean of sources": (nll["walks"] + nll["dances"]) / 2, **nll})
    # over two sources, not over 230 poses
    assert likelihood.errors["Gaussian, full"]["mean of sources"] == pytest.approx(abs(nll["walks"] - nll["dances"]) / 2)
    assert set(told.rows["KDE"]) == {"1 joint", "left arm", "2 deg"}
    assert 0.5 < told.rows["KDE"]["1 joint"] < 1
    assert left.rows["KDE"]["10 deg"] < left.rows["as seen"]["10 deg"]
    without = main([*given, "--tasks", "ood"])
    assert [table.key for table in without] == ["ood"]


def test_other_sources_that_say_nothing_are_refused(folder: Path, tmp_path: Path) -> None:
    still = poses_of(JOINTS, 30)
    still[:, 16] = 0
    np.save(tmp_path / "still.npy", still.numpy().astype(np.float32))
    good, other = str(folder / "val.npy"), tmp_path / "other" / "val.npy"
    other.parent.mkdir()
    np.save(other, poses_of(JOINTS, 30).numpy().astype(np.float32))
    data = ["--data", str(folder), "--output", str(tmp_path / "results"), "--baselines"]
    cases = {
        "left_shoulder": ["--foreign", str(tmp_path / "still.npy")],
        "two sources are called 'val'": ["--foreign", good, str(other)],
        "--tasks: foreign": ["--tasks", "foreign"],
        "none.npy": ["--foreign", str(tmp_path / "none.npy")],
    }
    for told, arguments in cases.items():
        with pytest.raises(UserError, match=told) as caught:
            main([*data, *arguments])
        assert "\n" not in str(caught.value)
