"""The refinement of one problem, sub-stage by sub-stage; who runs it: `refinement.alone`, or Lightning by `refinement.in_lightning`."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from typing import Any

import torch
from torch import Tensor, nn

from pose_priors.priors import MotionPrior, Prior
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.contacts import detect_contacts
from pose_priors.refinement.solve.curvature.rounds import Round
from pose_priors.refinement.solve.curvature.white import WhiteLBFGS
from pose_priors.refinement.solve.curvature.window import Part, part_of
from pose_priors.refinement.solve.gaps import ExpectedInGaps, FillGaps, Filling
from pose_priors.refinement.solve.motion_states import ClipMotionPrior, scale_shows
from pose_priors.refinement.solve.noise import NoiseLevels, estimate_noise, with_slow_keypoints
from pose_priors.refinement.solve.objective import NotFiniteError, Objective
from pose_priors.refinement.solve.occlusion import facing_joints
from pose_priors.refinement.solve.presmoothing import presmooth
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.stages import StageReport, SubStage, free_joints, make_stages, with_extra_terms, with_keypoint_noise
from pose_priors.refinement.solve.terms.depth import at_their_depths
from pose_priors.refinement.solve.variables import Variables

log = logging.getLogger("refine")

_HISTORY = 20
# of the objective in one line search; without it torch allows 1.25 for one iteration, which leaves no room for a search
_MAX_EVALUATIONS = 26
# A sub-stage has converged when the loss changed by less than the threshold, on average over so many iterations.
_WINDOW = 5
_SURE_CONTACT = 0.5
# How many times the threshold it is for sub-stages that only lead to where one is solved exactly.
_BEFORE_EXACT = 100
# After this many returns from a loss that is not finite a sub-stage is given up.
_MAX_FAILURES = 5


class RefinementModule(nn.Module):
    """Owns the variables of one problem and minimises its terms, sub-stage by sub-stage: `begin_stage`, `step` until it is `over`, and
    `end_stage`.

    Args:
        problem: of one float type, on one device, with a floor.
        config: what to do.
        body_prior, hand_prior, motion_prior: frozen, or None.
        fill_gaps: what a prior of whole clips expects on frames on which nobody was seen, or None.
    Raises:
        ValueError: if the problem has no floor.
    """

    def __init__(
        self,
        problem: Problem,
        config: RefinementConfig,
        body_prior: Prior | None = None,
        hand_prior: Prior | None = None,
        motion_prior: MotionPrior | None = None,
        fill_gaps: FillGaps | None = None,
    ) -> None:
        super().__init__()
        if not torch.isfinite(problem.start.ground_plane).all():
            raise ValueError("the problem has no floor to start from; give it one by `refinement.given.floor.with_floor`")
        if not config.lambda_depth:  # what depth maps show of people is nothing to go by
            unseen = torch.zeros_like(problem.observations.surface)
            problem = dataclasses.replace(problem, observations=dataclasses.replace(problem.observations, surface=unseen))
        self.problem, self.config, self.usual_dtype = problem, config, problem.start.pelvis.dtype
        self.noise = self._given_noise = estimate_noise(problem)
        self.body_prior, self.hand_prior, self.motion_prior = body_prior, hand_prior, motion_prior
        self.motion = None if motion_prior is None else ClipMotionPrior(problem, motion_prior, config.humor_horizon_max)
        gaps = ExpectedInGaps(problem, fill_gaps) if config.enable_motion_prior else None
        self.gaps = gaps if gaps is not None and (fill_gaps is not None or gaps.follows) else None
        bound = config.alpha_change_threshold if config.optimize_delta_alpha else None
        self.variables = Variables(problem, self.noise, bound, free_joints(problem, hand_prior is not None))
        held = config if problem.floor_known else config.model_copy(update={"enable_environmental_constraints": False})
        # a guess that does not show in anything stays what it is
        untold = problem.scale_guessed and not scale_shows(problem)
        widths = {"scale_width": 0.0 if untold else problem.scale_width, "floor_tilt": problem.floor_tilt}
        stages = make_stages(held, self.noise, body_prior, hand_prior, self.motion, problem.fps, self.gaps, **widths)
        self.stages = with_extra_terms(stages, config.extra_terms)
        if self.stages:
            presmooth(self.variables, problem.fps, problem.num_frames)
        self.reports: dict[str, StageReport] = {}
        self.total_iterations = 0
        self.fingerprint = ""
        self.lbfgs = WhiteLBFGS(
            self.variables.parameters(),
            max_iter=1,
            max_eval=_MAX_EVALUATIONS,
            tolerance_grad=0,
            tolerance_change=0,
            history_size=_HISTORY,
            line_search_fn="strong_wolfe",
        )
        self._number = 0
        self._ended = False
        self._round: Round | None = None
        self._part: Part | None = None

    @property
    def searches(self) -> bool:
        """Whether anything is searched: there are sub-stages, with iterations, and somebody is seen."""
        return bool(self.stages) and self.config.max_total_iterations > 0 and bool(self.problem.visible.any())

    @property
    def number(self) -> int:
        """That of the sub-stage that is running, from 0."""
        return self._number

    @property
    def stage(self) -> SubStage:
        """The sub-stage that is running."""
        return self.stages[self.number]

    @property
    def over(self) -> bool:
        """Whether the sub-stage that is running takes no more steps."""
        return self._ended or self.spent

    @property
    def spent(self) -> bool:
        """Whether all iterations that a run may take are taken."""
        return self.total_iterations >= self.config.max_total_iterations

    @torch.no_grad()
    def scene(self) -> Scene:
        """The scene as it stands."""
        found: Scene = self.variables(self.problem)
        return found

    def turn_to(self, number: int) -> None:
        """The sub-stage of that number, from 0, is the next to begin."""
        self._number = number

    def begin_stage(self) -> None:
        """Makes the present sub-stage ready for its first step."""
        stage = self.stage
        exact = stage.exact and all(prior is None for prior in (self.body_prior, self.hand_prior, self.motion_prior))
        precision = torch.float64 if exact else self.usual_dtype
        self._go_on_in(precision)
        filling = self.gaps.begin(self.variables, self.problem) if self.gaps is not None and stage.fill_gaps else None
        self._look_around(filling)
        # with no contact and no point of the scene's floor nothing says where it is: feet may not push it away, nor it push them
        floor_seen = len(self.problem.observations.floor_points) > 0 or bool((self.variables.contacts > _SURE_CONTACT).any())
        for name, parameter in self.variables.named_parameters():
            parameter.requires_grad_(name in stage.free and (name != "plane" or floor_seen))
        self.lbfgs.param_groups[0]["lr"] = 1.0
        if stage.exact and at_their_depths(scene := self.scene(), self.problem, self.noise.depth_ratio):
            self.noise = with_slow_keypoints(self.noise, self.problem, scene.camera_joints)
        terms = stage.terms_on_floor(floor_seen or not self.config.optimize_ground_plane)
        self.terms = with_keypoint_noise(terms, self._given_noise, self.noise)
        gaps = self.gaps if stage.exact and stage.fill_gaps else None
        self._part = None if gaps is None else part_of(self.variables, self.problem, self.terms, gaps, self.noise)
        at = self._part or self
        self.objective = Objective(at.variables, at.terms, at.problem)
        self.lbfgs.of(at.variables.parameters())
        nothing = filling is not None and self.gaps is not None and not (filling.frames.any() or self.gaps.follows)
        self.reports[stage.name] = StageReport(converged=nothing)
        self._best, self._ended, self._began = self.objective.state(), nothing, time.perf_counter()
        self._best_loss, self._round = math.inf, None

    def _go_on_in(self, precision: torch.dtype) -> None:
        if self.problem.start.pelvis.dtype != precision:
            self.problem = self.problem.to(precision)
            self.variables.to(precision)
            if self.gaps is not None:
                self.gaps.to(precision)

    @torch.no_grad()
    def _look_around(self, filling: Filling | None = None) -> None:
        """Finds what a sub-stage holds still: contacts, what faces the cameras, the scene of the terms that look at the scale alone."""
        at = self._part or self
        variables, problem = at.variables, at.problem
        variables.release()
        scene: Scene = variables(problem)
        if self.stage.find_contacts:
            found = detect_contacts(scene, problem, self.motion)
            if filling is not None:
                found = torch.where(filling.frames[..., None], torch.maximum(found, filling.contacts), found)
            variables.contacts.copy_(found)
        variables.facing.copy_(facing_joints(scene, problem))
        variables.hold(problem)
        if at.gaps is not None and self.stage.fill_gaps:
            at.gaps.hold(scene, problem)

    def _begin_round(self) -> Round:
        """Goes on where the last round ended, with what is held still found anew there."""
        self._look_around()
        self.objective.forget()
        self._best, self._best_loss = self.objective.state(), math.inf
        at = self._part or self
        moving = at.gaps.around(at.problem) if at.gaps is not None and self.stage.fill_gaps else at.problem.alive
        self.lbfgs.forget()
        return Round(self.lbfgs, self.objective, moving, self._round)

    def step(self) -> dict[str, float]:
        """One iteration; the loss, and the unweighted terms as `terms/<name>`, where it began, none if they are not finite there."""
        report = self.reports[self.stage.name]
        if self.stage.exact:
            if self._round is None or self._round.over:
                self._round = self._begin_round()
            self._round.prepare()
        self.objective.begin_step()
        # the loss, terms and state are those that the step began with
        self.total_iterations += 1
        report.iterations += 1
        try:
            loss = float(self._descend()) / self.objective.weight
        except NotFiniteError:
            self._return_to_best(report)
            return {}
        values = self.objective.values_before
        if loss < self._best_loss:
            self._best_loss, self._best = loss, self.objective.state_before
        self._record(report, values, loss)
        self._ended = report.converged = self._has_converged(report)
        return {f"terms/{name}": value for name, value in values.items()} | {"loss": loss}

    def _descend(self) -> Tensor:
        return self.lbfgs.step(self.objective)

    def end_stage(self) -> None:
        """Leaves the variables at the best that the sub-stage has found."""
        report = self.reports[self.stage.name]
        loss, values = self.objective.evaluate()
        if not loss <= self._best_loss:
            self.objective.restore(self._best)
            loss, values = self.objective.evaluate()
        self._record(report, values, loss)
        if self._part is not None:
            self._part.give_back()
        self.variables.release()
        report.seconds = time.perf_counter() - self._began
        self.lbfgs.of(self.variables.parameters())
        self._round = self._part = None

    def _record(self, report: StageReport, values: dict[str, float], loss: float) -> None:
        for name, value in {**values, "total": loss}.items():
            report.losses.setdefault(name, []).append(value)

    def _has_converged(self, report: StageReport) -> bool:
        if self._round is not None:
            converged = self._round.ended(self.config.convergence_threshold, report.losses["total"][-1])
            if self.lbfgs.white is not None:
                return converged
        recent = report.losses["total"][-_WINDOW - 1 :]
        change = (recent[0] - recent[-1]) / _WINDOW
        leads = any(stage.exact for stage in self.stages[self.number + 1 :])
        threshold = self.config.convergence_threshold * (_BEFORE_EXACT if leads else 1)
        return len(recent) > _WINDOW and abs(change) < threshold * max(abs(recent[-1]), 1.0)

    def _return_to_best(self, report: StageReport) -> None:
        report.failures += 1
        self.objective.restore(self._best)
        self.lbfgs.state.clear()
        self.lbfgs.param_groups[0]["lr"] *= 0.5
        self._ended = report.failures >= _MAX_FAILURES
        log.warning(
            "sub-stage %s, iteration %d: the loss is not finite; back to the best state, %s",
            self.stage.name,
            report.iterations,
            "the sub-stage ends here" if self._ended else "with half the step",
        )

    def kept(self) -> dict[str, Any]:
        """What it takes to go on with the next sub-stage, in plain containers and tensors; priors come from their own checkpoints."""
        return {
            "state_dict": {name: value for name, value in self.state_dict().items() if name.startswith("variables.")},
            "refinement": {
                "fingerprint": self.fingerprint,
                "total_iterations": self.total_iterations,
                "noise": dataclasses.asdict(self.noise),
                "told": [] if self.gaps is None else list(self.gaps.told),
                "reports": {name: dataclasses.asdict(report) for name, report in self.reports.items()},
            },
        }

    def take_up(self, kept: dict[str, Any]) -> None:
        """Goes back to where `kept` was made."""
        saved = kept["refinement"]
        self._go_on_in(kept["state_dict"]["variables.pelvis"].dtype)
        self.load_state_dict(kept["state_dict"], strict=False)
        self.total_iterations = saved["total_iterations"]
        self.noise = NoiseLevels(**saved["noise"])
        if self.gaps is not None:
            self.gaps.told = tuple(saved["told"])
        self.reports = {name: StageReport(**report) for name, report in saved["reports"].items()}
