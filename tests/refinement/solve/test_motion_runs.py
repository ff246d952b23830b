"""What becomes of a refinement with a motion prior, in memory and through its doors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from motion_cases import (
    alive_from,
    clips,
    save_motion_prior,
    save_pose_prior,
    scene_of,
    small_pose_prior,
    small_prior,
)
from problems import make_problem
from scenes import Clip
from term_cases import permuted
from torch import Tensor

from pose_priors.configs.base import UserError
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.priors import MotionCVAE
from pose_priors.refinement.given.priors import Priors, load_priors
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner, run_refinement
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.result.summary import likelihoods
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.motion_states import ClipMotionPrior, MotionView
from pose_priors.refinement.solve.resume import fingerprint
from pose_priors.refinement.solve.terms import PosePrior
from refine import main

QUIET = {"enable_progress_bar": False}
SHORT = RefinementConfig(
    root_fitting_iterations=2,
    smpl_fitting_iterations=2,
    motion_prior_iterations=3,
    environmental_iterations=3,
    scale_iterations=3,
    final_iterations=2,
    convergence_threshold=0.0,
)

# --- the outcome


def test_each_persons_likelihood_is_that_of_her_transitions(prior: MotionCVAE, people: Problem) -> None:
    people = alive_from(people, 2, slice(0, 3))  # too short to say anything
    motion, scene = ClipMotionPrior(people, prior, None), scene_of(people, 1.0)
    log_prob = prior.transition_plausibility(motion.view.states(scene))
    found = likelihoods(scene, people, None, motion)
    assert list(found) == ["1", "2", "3"]
    assert found["1"] == pytest.approx(float(log_prob[0].mean()), rel=1e-9)
    assert found["2"] == pytest.approx(float(log_prob[1, 3:7].mean()), rel=1e-9)
    assert found["3"] == 0
    poses = small_pose_prior().double()
    with_pose = likelihoods(scene, people, poses, motion)
    for number, person in enumerate(found):
        alone = torch.zeros_like(people.alive)
        alone[number] = people.alive[number]
        of_pose = float(PosePrior(prior=poses)(scene, dataclasses.replace(people, alive=alone)))
        assert abs(of_pose) > 1
        assert with_pose[person] == pytest.approx(found[person] - of_pose, rel=1e-9)


def refine(problem: Problem, folder: Path | None = None, prior: MotionCVAE | None = None) -> RefinementOutput:
    prior = prior or small_prior(torch.float32)
    return Stage5Refiner(SHORT, priors=Priors(motion=prior), trainer=QUIET, checkpoint_dir=folder).refine(RefinementInput(problem))


def same(one: RefinementOutput, other: RefinementOutput) -> None:
    for field in dataclasses.fields(one):
        if field.name == "metrics":  # holds times
            continue
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b, field.name
    assert one.results == other.results


@pytest.fixture(scope="module")
def refined() -> tuple[Problem, RefinementOutput]:
    problem, _ = make_problem(frames=10)
    return problem, refine(problem)


def test_a_run_has_its_terms_and_lowers_them(refined: tuple[Problem, RefinementOutput]) -> None:
    problem, output = refined
    assert output.results["status"] == "success"
    stages = output.metrics["sub_stages"]
    assert [name for name, report in stages.items() if "cvae" in report["losses"]] == ["motion", "environmental", "scale", "final"]
    assert [name for name, report in stages.items() if "multi_scale" in report["losses"]] == ["scale", "final"]
    assert all(report["failures"] == 0 for report in stages.values())
    assert stages["motion"]["losses"]["cvae"][-1] < stages["motion"]["losses"]["cvae"][0]
    for report in stages.values():
        assert report["losses"]["total"][-1] < report["losses"]["total"][0]
    assert torch.isfinite(output.joints).all()
    without = Stage5Refiner(SHORT, trainer=QUIET).refine(RefinementInput(problem))
    assert not torch.equal(without.joints, output.joints)
    assert without.results["per_person_likelihoods"] != output.results["per_person_likelihoods"]
    assert not any("cvae" in report["losses"] for report in without.metrics["sub_stages"].values())


def test_a_run_is_reproducible_and_goes_on_after_a_kill(
    refined: tuple[Problem, RefinementOutput], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, whole = refined
    begin, started = RefinementModule.begin_stage, []

    def killed(self: RefinementModule) -> None:
        if self.number == 4:
            raise RuntimeError("killed")
        begin(self)

    def counted(self: RefinementModule) -> None:
        started.append(self.number)
        begin(self)

    for folder in (tmp_path / "same", tmp_path / "other"):
        monkeypatch.setattr(RefinementModule, "begin_stage", killed)
        with pytest.raises(RuntimeError, match="killed"):
            refine(problem, folder)
        (unfinished,) = folder.rglob("last.ckpt")
        kept = torch.load(unfinished, weights_only=True)
        assert all(name.startswith("variables.") for name in kept["state_dict"])  # the prior comes from its own checkpoint
        monkeypatch.setattr(RefinementModule, "begin_stage", counted)
    same(refine(problem, tmp_path / "same"), whole)
    assert started == [4, 5]
    # with another prior it is another run
    started.clear()
    other = small_prior(torch.float32)
    other.density.log_scale.data += 0.1
    refine(problem, tmp_path / "other", other)
    assert started == [0, 1, 2, 3, 4, 5]


def test_the_fingerprint_of_a_run_names_its_motion_prior() -> None:
    problem, _ = make_problem(frames=4)
    one, other = small_prior(torch.float32), small_prior(torch.float32)
    other.critic.get_parameter(next(name for name, _ in other.critic.named_parameters())).data += 1e-3
    names = [fingerprint(problem, SHORT, (None, None, prior)) for prior in (None, one, other, small_prior(torch.float32))]
    assert len(set(names)) == 3
    assert names[1] == names[3]


def test_the_order_of_people_does_not_matter_to_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """In double precision: line searches carry the rounding of single precision far."""
    monkeypatch.setattr("pose_priors.refinement.refiner._DTYPE", torch.float64)
    problem, _ = make_problem(people=3, frames=10, hidden=slice(4, 7))
    order = [2, 0, 1]
    one, other = (
        Stage5Refiner(SHORT, priors=Priors(motion=small_prior()), trainer=QUIET).refine(RefinementInput(p))
        for p in (problem, permuted(problem, order))
    )
    for name in ("joints", "global_orient", "body_pose", "contacts"):
        torch.testing.assert_close(getattr(other, name), getattr(one, name)[order], rtol=0, atol=1e-5)
    assert other.results["scale_alpha"] == pytest.approx(one.results["scale_alpha"], abs=1e-7)
    ids = list(one.results["per_person_likelihoods"])
    for place, person in enumerate(order):
        mine, theirs = one.results["per_person_likelihoods"][ids[person]], other.results["per_person_likelihoods"][ids[place]]
        assert theirs == pytest.approx(mine, rel=1e-4)


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_a_run_on_a_few_frames_comes_through(frames: int) -> None:
    output = refine(make_problem(people=1, frames=frames)[0])
    assert output.results["status"] == "success"
    assert not any("not finite" in warning for warning in output.results["warnings"])
    assert torch.isfinite(output.joints).all()


def test_bodies_without_the_joints_are_refused() -> None:
    problem, _ = make_problem(frames=4)
    bodies = dataclasses.replace(problem.bodies, smplx_index=(*range(21), -1))
    with pytest.raises(UserError, match=r"motion_prior\.path: .*22 joints") as caught:
        refine(dataclasses.replace(problem, bodies=bodies))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="lack joints"):
        MotionView(dataclasses.replace(problem, bodies=bodies), small_prior())


# --- through the doors


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("priors")
    return {"motion": save_motion_prior(folder / "motion.ckpt"), "pose": save_pose_prior(folder / "pose.ckpt")}


def test_priors_come_from_their_checkpoints(checkpoints: dict[str, Path]) -> None:
    found = load_priors(checkpoints["pose"], None, checkpoints["motion"])
    assert found.hands is None
    assert isinstance(found.motion, MotionCVAE)
    assert not found.motion.training
    assert not any(parameter.requires_grad for parameter in found.motion.parameters())
    states = clips(2, 6).to(torch.float32).states()
    assert torch.equal(found.motion.transition_plausibility(states), small_prior(torch.float32).transition_plausibility(states))


@pytest.mark.parametrize(
    ("place", "kind", "told"),
    [
        (2, "pose", r"motion_prior\.path=.*pose\.ckpt: a pose prior .*where a motion prior is needed"),
        (0, "motion", r"prior\.body=.*motion\.ckpt: a motion prior .*where a pose prior is needed"),
        (1, "motion", r"prior\.hands=.*motion\.ckpt: a motion prior .*where a pose prior is needed"),
    ],
)
def test_a_prior_of_the_other_kind_is_refused(checkpoints: dict[str, Path], place: int, kind: str, told: str) -> None:
    paths: list[Path | None] = [None, None, None]
    paths[place] = checkpoints[kind]
    with pytest.raises(UserError, match=told) as caught:
        load_priors(*paths)
    assert "\n" not in str(caught.value)


def test_a_sequence_is_refined_with_a_motion_prior(clip: Callable[[str], Clip], checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = clip("released").folder
    lengths = [name for name in RefinementConfig.model_fields if name.endswith("_iterations") and name != "max_total_iterations"]
    few = [f"refinement.{name}=2" for name in lengths]
    results = main(
        [
            *("--config", "refinement", "--override", f"input.path={folder}", f"output.path={tmp_path / 'out'}"),
            *(f"motion_prior.path={checkpoints['motion']}", "refinement.humor_horizon_max=9", "trainer.enable_progress_bar=false", *few),
        ]
    )[folder.name]
    assert results["status"] == "success"
    assert set(results["per_person_likelihoods"]) == {"1", "2"}
    metrics = (tmp_path / "out" / "optimization_metrics.json").read_text()
    assert '"cvae"' in metrics
    assert '"multi_scale"' in metrics
    again = run_refinement(
        *(folder / STAGES[number] for number in (4, 1, 2, 3)),
        tmp_path / "again",
        SHORT,
        priors=load_priors(motion=checkpoints["motion"]),
        trainer=QUIET,
    )
    assert again["per_person_likelihoods"].keys() == results["per_person_likelihoods"].keys()
    with pytest.raises(UserError, match=r"motion_prior\.path=.*where a motion prior is needed"):
        main(["--config", "refinement", "--override", f"input.path={folder}", f"motion_prior.path={checkpoints['pose']}"])
