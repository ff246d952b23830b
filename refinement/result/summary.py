"""From the module of a refinement, once it is done, to what comes out."""

from __future__ import annotations

import dataclasses
import math

import torch

from pose_priors.priors.base import Prior
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.result.plausible import doubts
from pose_priors.refinement.result.quality import NOTHING_SEARCHED, quality
from pose_priors.refinement.result.scale import by_motion, change, is_searched, stuck_at
from pose_priors.refinement.result.uncertainty import distance_doubts, joint_sigmas
from pose_priors.refinement.solve.contacts import detect_contacts
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.motion_states import ClipMotionPrior
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.terms import PosePrior, Smoothness


def summarize(module: RefinementModule, seconds: float) -> RefinementOutput:
    """The outcome of a module as it stands, on the CPU.

    Args:
        seconds: wall time that it took.
    """
    problem, scene, bound = module.problem, module.scene(), module.variables.alpha_bound
    alpha, delta = float(scene.alpha), change(module)
    warnings = list(problem.warnings)
    if (stuck := stuck_at(module)) is not None and not by_motion(module):
        delta = stuck
        warnings.append(
            f"the scale is stuck at its bound ({delta:+.3f}): the scale at the start is probably wrong, "
            f"or alpha_change_threshold ({bound}) too small; optimize_delta_alpha=false leaves the scale free"
        )
    if module.motion is not None and is_searched(module) and not module.motion.scale_is_observable:
        warnings.append(
            f"the cameras move by {100 * module.motion.movement:.1f} % of the scene's depth: too little for motions to tell the scale, "
            "which depth alone decides"
        )
    warnings += [f"sub-stage {name}: the loss was not finite {r.failures} times" for name, r in module.reports.items() if r.failures]
    warnings += doubts(problem, scene.joints.detach().cpu().double().numpy(), alpha)
    betas = problem.bodies.betas.clone()
    num_betas = problem.bodies.shape_directions.shape[-1]
    if num_betas:
        betas[:, :num_betas] += scene.shape
    contacts = detect_contacts(scene, problem, module.motion)  # those that the last sub-stage held still are older than its outcome
    told = quality(module, scene, contacts)
    warnings += [line for line in told["reasons"] if line == NOTHING_SEARCHED]  # is said while it runs, too
    sigma = joint_sigmas(module, scene, contacts.cpu().double().numpy(), distance_doubts(told, problem.person_ids))
    results = {
        "status": "success" if all(math.isfinite(report.losses["total"][-1]) for report in module.reports.values()) else "failed",
        "num_people": len(problem.person_ids),
        "num_frames": problem.num_frames,
        "fps": problem.fps,
        "convergence_achieved": bool(module.reports) and list(module.reports.values())[-1].converged,
        "scale_alpha": alpha,
        "scale_delta": delta,
        "metrics": {
            "total_loss_history": {name: report.losses["total"][-1] for name, report in module.reports.items()},
            "scale_delta": delta,
            "scale_alpha": alpha,
        },
        "per_person_likelihoods": likelihoods(scene, problem, module.body_prior, module.motion),
        "quality": told,
        "told": [*problem.told, *(() if module.gaps is None else module.gaps.told)],
        "warnings": warnings,
    }
    metrics = {
        "noise": dataclasses.asdict(module.noise),
        "total_iterations": module.total_iterations,
        "seconds": seconds,
        "sub_stages": {name: dataclasses.asdict(report) for name, report in module.reports.items()},
    }
    return RefinementOutput(
        global_orient=scene.rotvec[:, :, 0],
        body_pose=scene.rotvec[:, :, 1:],
        pelvis=scene.joints[:, :, 0],
        betas=betas,
        joints=scene.joints,
        contacts=contacts,
        ground_plane=torch.cat([scene.normal, scene.offset[None]]),
        scale_alpha=alpha,
        scale_delta=delta,
        results=results,
        metrics=metrics,
        joint_sigma=torch.from_numpy(sigma),
    )


@torch.no_grad()
def likelihoods(scene: Scene, problem: Problem, prior: Prior | None, motion: ClipMotionPrior | None = None) -> dict[str, float]:
    """By person, plausibility in nats per frame, which can be compared between results alone: minus the energy of the poses where there is
    a prior, and of the motion, which the critic of the motion prior judges, or its smoothness where there is none."""
    if motion is not None:
        plausibility, valid = motion.prior.transition_plausibility(motion.view.states(scene)), motion.view.valid
        of_motion = [float(row[seen].mean()) if seen.any() else 0.0 for row, seen in zip(plausibility, valid, strict=True)]
    terms = [*([Smoothness()] if motion is None else []), *([PosePrior(prior=prior)] if prior is not None else [])]
    found = {}
    for p, person in enumerate(problem.person_ids):
        alive = torch.zeros_like(problem.alive)
        alive[p] = problem.alive[p]
        alone = dataclasses.replace(problem, alive=alive)
        found[str(person)] = -sum(float(term(scene, alone)) for term in terms) + (0.0 if motion is None else of_motion[p])
    return found
