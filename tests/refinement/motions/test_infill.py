"""Gaps in the refinement, filled by a prior of whole clips: started from what it expects, held near it, and not where it is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from infill_cases import FRAMES, GAP, scene_of, variables_of, walkers, with_gap, wrong
from learned_cases import saved, small_motion_prior
from motion_cases import NOISE, PLACED

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import CONTACT_JOINTS
from pose_priors.datamodules.clips import make_clip, y_up_to_z_up
from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene
from pose_priors.datamodules.synthetic.scenes.walk import walk_on_arc
from pose_priors.priors import MotionFlow, MotionFlowConfig
from pose_priors.refinement.given.priors import Priors
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.infill import GapFiller
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.gaps import ExpectedInGaps, Filling
from pose_priors.refinement.solve.stages import make_stages
from pose_priors.refinement.solve.terms import GapEnergy
from refine import main as refine


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_gaps_start_where_the_prior_expects_people(fps: float) -> None:
    truth = walkers(fps)
    at = slice(round(1.5 * fps), round(2.0 * fps))
    problem = with_gap(truth, at)
    variables, expected = variables_of(problem), ExpectedInGaps(problem, GapFiller(small_motion_prior()))
    before = variables(problem).joints.detach()
    expected.begin(variables, problem)
    with torch.no_grad():
        scene = variables(problem)
    assert wrong(before, truth, at) > 0.1
    assert wrong(scene.joints, truth, at) < 0.035
    assert torch.equal(expected.frames, ~problem.visible & problem.alive)
    torch.testing.assert_close(scene.joints[problem.visible], before[problem.visible], atol=1e-9, rtol=0)
    steps, true = (torch.diff(joints[1], dim=0).norm(dim=-1).max() for joints in (scene.joints, truth.start.joints(truth.bodies)))
    assert steps < 1.5 * true
    assert expected.apart(scene).abs().max() < 1e-9
    (told,) = expected.told
    assert told.startswith(f"person {problem.person_ids[1]}: {at.stop - at.start} frames on which nobody was seen, filled")
    assert "on 4 gaps as long among what was seen" in told  # all of this person's own


def test_what_is_expected_has_the_scenes_axes_and_contacts() -> None:
    filling = GapFiller(small_motion_prior())(scene_of(with_gap(walkers())), with_gap(walkers()))
    start = walkers().start
    away = filling.pelvis[1, GAP] - start.pelvis[1, GAP]
    assert away.norm(dim=-1).max() < 0.05
    up = torch.from_numpy(PLACED.plane[:3])
    assert (away @ up).abs().max() < 0.02
    assert filling.contacts.shape == (2, FRAMES, 4)
    assert filling.contacts[1, GAP].max() <= 1
    assert filling.contacts.min() >= 0
    assert not filling.contacts[0].any()
    assert not filling.frames[0].any()


def test_contacts_in_gaps_are_those_that_the_prior_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = small_motion_prior()
    of_joints = torch.arange(len(CONTACT_JOINTS)) / 10
    monkeypatch.setattr(prior, "contact_probabilities", lambda states: of_joints.expand(*states.shape[:2], -1))
    problem = with_gap(walkers())
    contacts = GapFiller(prior)(scene_of(problem), problem).contacts
    feet = [float(of_joints[CONTACT_JOINTS.index(joint)]) for joint in (7, 8, 10, 11)]
    torch.testing.assert_close(contacts[1, GAP], torch.tensor(feet, dtype=torch.float64).expand(15, 4), atol=1e-6, rtol=0)
    assert not contacts[1, : GAP.start].any()


def filled_with(problem: Problem) -> ExpectedInGaps:
    """Held to where the scene stands, in the gap."""
    scene = scene_of(problem)
    frames = ~problem.visible
    contacts = torch.zeros(*frames.shape, 4, dtype=torch.float64)
    expected = ExpectedInGaps(problem, lambda *_: Filling(frames, scene.rotvec, scene.joints[:, :, 0], contacts, ()))
    expected.begin(variables_of(problem), problem)
    return expected


def test_the_energy_of_gaps_is_that_of_a_normal_about_what_is_expected() -> None:
    problem = with_gap(walkers())
    term, scene = GapEnergy(expected=filled_with(problem)), scene_of(problem)
    assert float(term(scene, problem)) == pytest.approx(0, abs=1e-12)
    moved = replace(scene, joints=scene.joints + 0.01)
    # 44 points, a joint each and one off it, each a centimetre off along three axes
    nats = 0.5 * 44 * 3 * (0.01 / 0.02) ** 2 * (GAP.stop - GAP.start) / float(problem.visible.sum())
    assert float(term(moved, problem)) == pytest.approx(nats, rel=1e-9)
    twisted = replace(scene, arms=-scene.arms)
    nats = 0.5 * 22 * (0.2 / 0.02) ** 2 * (GAP.stop - GAP.start) / float(problem.visible.sum())
    assert float(term(twisted, problem)) == pytest.approx(nats, rel=1e-6)
    grown = replace(scene, joints=1.01 * scene.joints, arms=1.01 * scene.arms, growth=1.01 * scene.growth)
    assert float(term(grown, problem)) == pytest.approx(0, abs=1e-12)


def test_gaps_have_a_sub_stage_of_their_own_which_moves_people_alone() -> None:
    gaps = filled_with(with_gap(walkers()))
    without = make_stages(RefinementConfig(), NOISE)
    *others, last = make_stages(RefinementConfig(), NOISE, gaps=gaps)
    assert others == without
    assert (last.name, last.fill_gaps, last.iterations) == ("gaps", True, RefinementConfig().motion_prior_iterations)
    assert set(last.free) == {"global_orient", "pelvis", "body_pose"}
    assert [term.name for term, _ in last.terms] == [*(term.name for term, _ in without[-1].terms), "gaps"]
    for fields in ({"enable_motion_prior": False}, {"motion_prior_iterations": 0}):
        assert not any(stage.fill_gaps for stage in make_stages(RefinementConfig(**fields), NOISE, gaps=gaps))
    unheld = make_stages(RefinementConfig(lambda_cvae=0.0), NOISE, gaps=gaps)[-1]
    assert unheld.fill_gaps
    assert not any(isinstance(term, GapEnergy) for term, _ in unheld.terms)


SHORT = RefinementConfig(
    root_fitting_iterations=5,
    smpl_fitting_iterations=5,
    motion_prior_iterations=5,
    environmental_iterations=5,
    scale_iterations=0,
    final_iterations=5,
    enable_scale_optimization=False,
)


def test_the_refinement_ends_nearer_to_the_truth_and_says_why(tmp_path: Path) -> None:
    truth = walkers()
    problem = with_gap(truth)
    # as the start of a refinement has it: people go straight on through a gap
    share = torch.linspace(0, 1, GAP.stop - GAP.start + 2, dtype=torch.float64)[1:-1, None]
    pelvis = problem.start.pelvis.clone()
    pelvis[1, GAP] = pelvis[1, GAP.start - 1] * (1 - share) + pelvis[1, GAP.stop] * share
    camera = replace(problem.observations, keypoint_confidence=torch.zeros_like(problem.observations.keypoint_confidence))
    dark = replace(camera, joint_depth_confidence=torch.zeros_like(camera.joint_depth_confidence))
    problem = replace(problem, start=replace(problem.start, pelvis=pelvis), observations=dark)

    def refined(config: RefinementConfig, motion: bool = True):  # type: ignore[no-untyped-def]
        priors = Priors(motion=small_motion_prior() if motion else None)
        refiner = Stage5Refiner(config, priors=priors, trainer={"enable_progress_bar": False})
        return refiner.refine(RefinementInput(problem))

    without, found = refined(SHORT, motion=False), refined(SHORT)
    off, plain = (refined(SHORT.model_copy(update={"enable_motion_prior": False}), motion) for motion in (True, False))
    assert wrong(found.joints.double(), truth) < 0.8 * wrong(without.joints.double(), truth)
    assert torch.equal(off.joints, plain.joints)
    (told,) = found.results["told"]
    assert "nobody was seen, filled by the motion prior" in told
    assert without.results["told"] == off.results["told"] == []
    seen = np.linalg.norm((found.joints - without.joints).numpy(), axis=-1)[problem.visible.numpy()]
    assert 0 < seen.mean() < 0.003
    assert found.scale_alpha == without.scale_alpha
    assert torch.equal(found.ground_plane, without.ground_plane)


def prior_of_walks() -> MotionFlow:
    """The Gaussian process of people who walk on arcs, as those of the built-in sequence do; nothing is learnt."""
    walks = [(cycle_s, turn) for cycle_s in (1.05, 1.15, 1.25, 1.35) for turn in (-60.0, -30.0, 0.0, 30.0, 60.0)]
    motions = [walk_on_arc(84, 30.0, cycle_s, turn, 1.7, i % 2 == 1, 100 + i) for i, (cycle_s, turn) in enumerate(walks)]
    clips = [make_clip("walk", *y_up_to_z_up(motion.pose, motion.pelvis), 1.7) for motion in motions]
    starts = [(clip, first) for clip in clips for first in (0, 11, 22, 34)]
    pose, pelvis, contacts = (
        torch.stack([getattr(clip, name)[first : first + 50] for clip, first in starts]) for name in ("pose", "pelvis", "contacts")
    )
    prior = MotionFlow(MotionFlowConfig(kind="motion_flow", num_frames=50, hidden=16, num_blocks=1, num_heads=2, num_steps=2, dropout=0.0))
    prior.fit_statistics(MotionWindows(pose.float(), pelvis.float(), torch.stack([clip.rest for clip, _ in starts]).float(), contacts))
    return prior.eval().requires_grad_(False)


def test_the_built_in_sequence_takes_a_checkpoint_of_whole_clips(tmp_path: Path) -> None:
    """Of which the hidden frames end nearer to the truth, and those that were seen where they are without."""
    folder, truth = write_builtin_scene(tmp_path / "scene", 2)
    checkpoint = saved(prior_of_walks(), tmp_path / "best.ckpt")
    with np.load(truth) as arrays:
        joints, seen = arrays["joints"][1, :, :22], arrays["visible"][1]
    errors, told = [], []
    for name, options in (("without", []), ("with", [f"motion_prior.path={checkpoint}"])):
        path = [f"input.path={folder}", f"output.path={tmp_path / name}", "trainer.enable_progress_bar=false"]
        results = refine(["--config", "refinement", "--override", *path, *options])
        told.append(results[folder.name]["told"])
        with np.load(tmp_path / name / "person_002" / "smpl_params_refined.npz") as arrays:
            apart = np.linalg.norm(arrays["joints"][:, :22] - joints[arrays["frame_ids"]], axis=-1).mean(1)
            errors.append([float(apart[seen[arrays["frame_ids"]] == there].mean()) for there in (True, False)])
    shown = "person 2: 6 frames on which nobody tracked them, but depth maps show them"
    assert told[0] == [shown]
    assert told[1][0] == shown
    assert len(told[1]) == 2
    assert "12 frames on which nobody was seen, filled by the motion prior" in told[1][1]
    assert errors[1][1] < errors[0][1]
    assert errors[1][0] < 1.01 * errors[0][0]
