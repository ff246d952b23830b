"""The module under the Trainer: convergence, limits, failures, and going on after a kill."""

from __future__ import annotations

import io
import logging
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from problems import error_mm, make_problem

from pose_priors.body.pinhole import to_camera
from pose_priors.refinement.alone import run_alone
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.scene import project
from pose_priors.refinement.solve.terms import KeypointReprojection

QUIET: dict[str, Any] = {"enable_progress_bar": False}
SHORT = RefinementConfig(
    root_fitting_iterations=4,
    smpl_fitting_iterations=6,
    motion_prior_iterations=3,
    environmental_iterations=4,
    scale_iterations=3,
    final_iterations=3,
    convergence_threshold=0.0,
)


def refine(config: RefinementConfig, checkpoint_dir: Path | None = None, trainer: dict[str, Any] = QUIET) -> RefinementOutput:
    problem, _ = make_problem(frames=12)
    return Stage5Refiner(config, trainer=trainer, checkpoint_dir=checkpoint_dir).refine(RefinementInput(problem))


def iterations(output: RefinementOutput) -> dict[str, int]:
    return {name: report["iterations"] for name, report in output.metrics["sub_stages"].items()}


def test_every_stage_lowers_its_loss_and_is_logged() -> None:
    output = refine(SHORT)
    assert iterations(output) == {"root": 4, "smpl": 6, "motion": 3, "environmental": 4, "scale": 3, "final": 3}
    for report in output.metrics["sub_stages"].values():
        total = report["losses"]["total"]
        assert len(total) == report["iterations"] + 1
        assert total[-1] < total[0]
        assert all(b <= a + 1e-4 * abs(a) for a, b in pairwise(total))
        assert {"keypoints", "depth", "smooth"} <= set(report["losses"])
        assert not report["converged"]
    assert output.results["metrics"]["total_loss_history"].keys() == output.metrics["sub_stages"].keys()


def test_the_sum_of_iterations_is_bounded() -> None:
    output = refine(SHORT.model_copy(update={"max_total_iterations": 12}))
    assert output.metrics["total_iterations"] == 12
    assert iterations(output) == {"root": 4, "smpl": 6, "motion": 2}


def test_a_generous_threshold_ends_early_and_says_so() -> None:
    output = refine(RefinementConfig(convergence_threshold=0.5))
    assert output.results["convergence_achieved"]
    counts = iterations(output)
    # the last one, which is solved exactly, makes good what the others have left
    assert counts.pop("final") < 25
    assert all(count < 10 for count in counts.values())


def test_a_loss_that_is_not_finite_costs_a_step_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, truth = make_problem(frames=12)
    call, calls = KeypointReprojection.__call__, 0

    def sometimes_nan(self, scene, problem):
        nonlocal calls
        calls += 1
        return call(self, scene, problem) * (math.nan if 6 <= calls < 9 else 1)

    monkeypatch.setattr(KeypointReprojection, "__call__", sometimes_nan)
    output = Stage5Refiner(SHORT.model_copy(update={"smpl_fitting_iterations": 40}), trainer=QUIET).refine(RefinementInput(problem))
    reports = output.metrics["sub_stages"]
    assert sum(report["failures"] for report in reports.values()) >= 1
    assert any("not finite" in warning for warning in output.results["warnings"])
    assert torch.isfinite(output.joints).all()
    assert error_mm(output.joints, truth, problem.visible) < 0.5 * error_mm(problem.start.joints(problem.bodies), truth, problem.visible)


def test_a_loss_that_is_never_finite_gives_up_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = make_problem(frames=12)
    monkeypatch.setattr(KeypointReprojection, "__call__", lambda self, scene, problem: scene.alpha * math.nan)
    output = Stage5Refiner(SHORT, trainer=QUIET).refine(RefinementInput(problem))
    torch.testing.assert_close(output.joints.double(), problem.start.joints(problem.bodies), atol=1e-4, rtol=0)


def kill(monkeypatch: pytest.MonkeyPatch, folder: Path, epoch: int, trainer: dict[str, Any] = QUIET) -> None:
    """Leaves a run in `folder` that died at the start of that sub-stage."""
    begin = RefinementModule.begin_stage

    def killed(self: RefinementModule) -> None:
        if self.number == epoch:
            raise RuntimeError("killed")
        begin(self)

    with monkeypatch.context() as patch:
        patch.setattr(RefinementModule, "begin_stage", killed)
        with pytest.raises(RuntimeError, match="killed"):
            refine(SHORT, folder, trainer)


def test_a_killed_run_goes_on_to_the_same_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = refine(SHORT)
    begin = RefinementModule.begin_stage
    kill(monkeypatch, tmp_path, epoch=3)
    assert [path.name for path in tmp_path.rglob("*.ckpt")] == ["last.ckpt"]
    started: list[int] = []

    def counted(self: RefinementModule) -> None:
        started.append(self.number)
        begin(self)

    monkeypatch.setattr(RefinementModule, "begin_stage", counted)
    resumed = refine(SHORT, tmp_path)
    assert started == [3, 4, 5]
    assert torch.equal(resumed.joints, whole.joints)
    assert iterations(resumed) == iterations(whole)
    assert not list(tmp_path.iterdir())


def test_a_run_killed_where_it_tries_another_unit_goes_on_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    problem, _ = make_problem(frames=24, alpha=2.5, alpha0=1.0)
    nothing = torch.zeros_like(problem.observations.joint_depth_confidence)
    unseen = replace(problem.observations, joint_depth_confidence=nothing, floor_points=problem.observations.floor_points[:0])
    given = RefinementInput(replace(problem, observations=unseen))
    config = SHORT.model_copy(update={"scale_iterations": 12})
    whole = Stage5Refiner(config, trainer=QUIET).refine(given)
    assert whole.scale_alpha > 2
    begin, started, dies_at = RefinementModule.begin_stage, list[int](), 9

    def counted(self: RefinementModule) -> None:
        if len(started) == dies_at:
            raise RuntimeError("killed")
        started.append(self.number)
        begin(self)

    monkeypatch.setattr(RefinementModule, "begin_stage", counted)
    with pytest.raises(RuntimeError, match="killed"):
        Stage5Refiner(config, trainer=QUIET, checkpoint_dir=tmp_path).refine(given)
    assert started == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    started, dies_at = [], 99
    resumed = Stage5Refiner(config, trainer=QUIET, checkpoint_dir=tmp_path).refine(given)
    assert started == [3, 4, 5]
    assert torch.equal(resumed.joints, whole.joints)
    assert resumed.scale_delta == whole.scale_delta
    assert not list(tmp_path.iterdir())


def test_what_lightning_has_kept_is_gone_on_with_by_whoever_finds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Lightning itself, and, under the name that it had while Lightning ran all, a refinement without it."""
    caplog.set_level(logging.INFO)
    whole, lightning = refine(SHORT), QUIET | {"accelerator": "cpu"}
    for name, trainer in (("{}-lightning", lightning), ("{}", QUIET)):
        kill(monkeypatch, tmp_path, 4, lightning)
        (kept,) = (tmp_path / ".unfinished").iterdir()
        kept.rename(kept.with_name(name.format(kept.name.removesuffix("-lightning"))))
        caplog.clear()
        resumed = refine(SHORT, tmp_path, trainer)
        assert "goes on with the unfinished run" in caplog.text
        assert torch.equal(resumed.joints, whole.joints)
        assert not list(tmp_path.iterdir())


def test_a_terminal_gets_a_bar_or_lines_and_not_both(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for is_terminal in (True, False):
        shown = io.StringIO()
        monkeypatch.setattr(shown, "isatty", lambda told=is_terminal: told)
        monkeypatch.setattr("sys.stderr", shown)
        caplog.clear()
        refine(SHORT.model_copy(update={"max_total_iterations": 3}), trainer={})
        assert ("root" in shown.getvalue()) == is_terminal
        assert ("root, sub-stage 1" in caplog.text) != is_terminal


def test_a_checkpoint_of_another_run_is_not_resumed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kill(monkeypatch, tmp_path, epoch=2)
    other = SHORT.model_copy(update={"lambda_depth": 2.0})
    assert iterations(refine(other, tmp_path)) == iterations(refine(other))


def test_a_problem_without_a_floor_is_refused() -> None:
    problem, _ = make_problem(frames=3)
    nowhere = replace(problem.start, ground_plane=torch.full((4,), math.nan, dtype=torch.float64))
    with pytest.raises(ValueError, match="with_floor"):
        RefinementModule(replace(problem, start=nowhere), RefinementConfig())


@pytest.mark.parametrize("held", [False, True])
def test_a_floor_that_nothing_tells_pushes_nobody(held: bool) -> None:
    """People who sink through the floor of the start at 1 m/s, and so touch none; one that is given for good holds them."""
    problem, _ = make_problem(noise=0.3)
    start, seen = problem.start, problem.observations
    sunk = torch.arange(24, dtype=torch.float64)[:, None] / problem.fps * start.ground_plane[:3]
    start = replace(start, pelvis=start.pelvis - sunk)
    there = project(to_camera(start.joints(problem.bodies), problem.cameras.w2c, start.alpha0), problem.cameras)
    nothing = torch.zeros_like(seen.joint_depth_confidence)
    seen = replace(seen, keypoints=there, floor_points=seen.floor_points[:0], joint_depth_confidence=nothing)
    problem = replace(problem, start=start, observations=seen, scale_width=0.0)
    module = RefinementModule(problem, SHORT.model_copy(update={"optimize_ground_plane": not held}))
    run_alone(module, None, shown=False)
    moved = float((module.scene().joints - start.joints(problem.bodies)).norm(dim=-1).mean())
    assert moved > 0.1 if held else moved < 0.01
