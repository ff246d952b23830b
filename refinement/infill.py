"""Frames on which nobody saw a person, by a prior of whole clips: what it expects there, where it is right about frames that were seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.interpolation import runs
from pose_priors.body.motion_state import CONTACT_JOINTS, NUM_JOINTS, make_states
from pose_priors.body.rotations import between
from pose_priors.configs.base import counted
from pose_priors.priors import MotionFlow
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.motions.learned.fill import FilledByPrior
from pose_priors.refinement.motions.learned.sampled import sampled
from pose_priors.refinement.motions.motion import Motion, continuous, rotvec_of
from pose_priors.refinement.motions.repair.fill import filled
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.gaps import Filling
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.surface import untracked_frames

_BESIDE_S = 1 / 6  # of what was seen on both sides of a trial
_MOST_TRIALS, _ENOUGH = 6, 3  # of each person; with fewer than enough of their own those of the others count, too
_WORSE = 1.1  # on validation clips curves were right where the prior's trials were off by this much more than theirs


class GapFiller:
    """Fills gaps by what a prior expects there, given what was seen on both sides.

    Whether it is to be believed is tried on the clip itself: gaps of the same length are cut into what was seen, of the same person or, if
    that is not enough, of all, and filled by the prior and by curves through place and speed on both sides. Where the prior is off by more
    than a tenth more than curves are, the person stays as the refinement has it. Where no gap as long fits, the longest that do are tried,
    and the prior has to be better than curves there; where none can be tried, nothing says that it is right, and the person stays, too.

    Args:
        prior: frozen, on the CPU.
    """

    def __init__(self, prior: MotionFlow) -> None:
        self._prior, self._fill = prior, FilledByPrior(prior)

    @torch.no_grad()
    def __call__(self, scene: Scene, problem: Problem) -> Filling:
        """See `solve.gaps.FillGaps`."""
        people = {p: _Person.of(scene, problem, p) for p in range(len(problem.person_ids)) if bool(problem.visible[p].any())}
        frames = torch.zeros_like(problem.alive)
        rotvec, pelvis = scene.rotvec.clone(), scene.joints[:, :, 0].clone()
        feet = contact_joints(problem.bodies)
        contacts = scene.joints.new_zeros(*problem.alive.shape, len(feet))
        columns = [CONTACT_JOINTS.index(problem.bodies.smplx_index[joint]) for joint in feet]
        told = []
        for p, person in people.items():
            inside = self._fill.reaches(person.motion, person.hidden)
            if not inside.any():
                continue
            tried = self._tried([person, *(other for q, other in people.items() if q != p)], inside)
            name = f"person {problem.person_ids[p]}: {counted(int(inside.sum()), 'frame')} on which nobody was seen"
            if not tried.believed:
                told.append(f"{name}, left without the motion prior: {tried}")
                continue
            told.append(f"{name}, filled by the motion prior: {tried}")
            # whose depth maps show where they went keep their path
            shown = (untracked_frames(problem)[p, problem.alive[p]]).cpu().numpy()
            motion = self._fill(person.motion, np.repeat(person.hidden[:, None], NUM_JOINTS, 1), person.hidden & ~shown)
            at = torch.from_numpy(person.first + np.flatnonzero(inside)).to(frames.device)
            turned, place = person.into_scene(motion, inside)
            frames[p, at] = True
            rotvec[p, at[:, None], person.places.to(at)] = turned.to(rotvec)
            pelvis[p, at] = place.to(pelvis)
            contacts[p, at] = self._contacts(motion)[inside][:, columns].to(contacts)
        return Filling(frames, rotvec, pelvis, contacts, tuple(told))

    def _tried(self, people: list[_Person], inside: np.ndarray) -> _Tried:
        """What trials say of some gaps of the first person, who comes before all others."""
        lengths = sorted({end - begin for begin, end in runs(inside)})
        found = self._trials(people, lengths)
        if found:
            return _Tried.of(found, 0)
        # the longest that fit into what was seen of anybody
        longest = max(min(lengths[0] - 1, person.longest) for person in people)
        return _Tried.of(self._trials(people, [longest]), longest)

    def _trials(self, people: list[_Person], lengths: list[int]) -> list[tuple[float, float]]:
        """Of gaps of some lengths, cut into what was seen, what is left by the prior and by curves: millimetres."""
        found: list[tuple[float, float]] = []
        for some in (people[:1], people[1:]):
            if len(found) < _ENOUGH:
                all_of_them = (self._trial(each, at) for each in some for length in lengths for at in each.trials(length))
                found += [trial for trial in all_of_them if trial is not None]
        return found

    def _trial(self, person: _Person, at: slice) -> tuple[float, float] | None:
        """None of a gap that curves fill in both ways."""
        lost = person.hidden.copy()
        lost[at] = True
        if not self._fill.reaches(person.motion, lost)[at].any():
            return None
        joints = np.repeat(lost[:, None], NUM_JOINTS, 1)
        both = (fill(person.motion, joints, lost).joints for fill in (self._fill, filled))
        prior, curves = (float(1000 * np.linalg.norm(found - person.motion.joints, axis=-1)[at].mean()) for found in both)
        return prior, curves

    def _contacts(self, motion: Motion) -> Tensor:
        """(T, 9) that joints touch, as the prior sees the motion."""
        seen = sampled(motion)
        states = make_states(seen.rotvec, seen.joints).to(self._prior.rest)
        found = self._prior.contact_probabilities(states[None])[0].double().cpu().numpy()
        at = np.arange(len(motion))
        return torch.from_numpy(np.stack([np.interp(at, seen.at, column) for column in found.T], 1))


@dataclass(frozen=True)
class _Tried:
    """What was found on trials.

    Attributes:
        by_prior, by_curves: millimetres that are left.
        count: of trials.
        shorter: frames of their gaps where none as long as those that are asked about fitted; 0 where they did.
    """

    by_prior: float
    by_curves: float
    count: int
    shorter: int

    @staticmethod
    def of(found: list[tuple[float, float]], shorter: int) -> _Tried:
        prior, curves = np.mean(found, 0).tolist() if found else (0.0, 0.0)
        return _Tried(prior, curves, len(found), shorter)

    @property
    def believed(self) -> bool:
        """Whether the prior is to be believed: of longer gaps than those that could be tried only where it was better."""
        return self.count > 0 and self.by_prior <= self.by_curves * (1 if self.shorter else _WORSE)

    def __str__(self) -> str:
        if not self.count:
            return "too little was seen beside them for it to be tried"
        gaps = counted(self.count, "gap")
        gaps += f" of {counted(self.shorter, 'frame')}, the longest that fit," if self.shorter else " as long"
        return f"on {gaps} among what was seen it was off by {self.by_prior:.1f} mm, curves by {self.by_curves:.1f} mm"


@dataclass(frozen=True)
class _Person:
    """One person from the first to the last frame on which anybody saw them.

    Attributes:
        motion: z up, over the floor.
        hidden: (n,) bool.
        first: its first frame in the clip.
        places: (22,) of its joints among the bodies'.
        up: (3, 3) from the scene's axes to z up; offset: metres, of the floor.
    """

    motion: Motion
    hidden: np.ndarray
    first: int
    places: Tensor
    up: Tensor
    offset: Tensor

    @staticmethod
    def of(scene: Scene, problem: Problem, p: int) -> _Person:
        index = problem.bodies.smplx_index
        places = torch.tensor([index.index(joint) for joint in range(NUM_JOINTS)])
        alive = problem.alive[p].nonzero()[:, 0].cpu()
        normal, offset = scene.normal.cpu().double(), scene.offset.cpu().double()
        up = between(normal, normal.new_tensor([0.0, 0.0, 1.0]))
        rotvec, joints, rest = (value.cpu().double() for value in (scene.rotvec[p], scene.joints[p], scene.rest_joints[p]))
        quat = conversions.rotvec_to_unitquat(rotvec[alive][:, places])
        quat[:, 0] = conversions.quat_product(conversions.rotmat_to_unitquat(up).expand(len(quat), 4), quat[:, 0])
        pelvis = joints[alive, 0] @ up.T + offset * up.new_tensor([0.0, 0.0, 1.0])
        rest = rest[places] - rest[0]
        motion = Motion(
            continuous(quat.numpy()),
            pelvis.numpy(),
            rest.numpy(),
            float(rest[:, 1].max() - rest[:, 1].min()),
            problem.fps,
            np.ones(len(alive), bool),
        )
        return _Person(motion, ~problem.visible[p, alive].cpu().numpy(), int(alive[0]), places, up, offset)

    def into_scene(self, motion: Motion, frames: np.ndarray) -> tuple[Tensor, Tensor]:
        """Rotation vectors (n, 22, 3) and pelvis (n, 3) of some frames of a motion, in the scene's axes."""
        turned = conversions.rotvec_to_rotmat(torch.from_numpy(rotvec_of(motion.quat[frames])))
        turned[:, 0] = self.up.T @ turned[:, 0]
        pelvis = torch.from_numpy(motion.pelvis[frames]) - self.offset * self.up.new_tensor([0.0, 0.0, 1.0])
        return conversions.rotmat_to_rotvec(turned), pelvis @ self.up

    @property
    def longest(self) -> int:
        """Frames of the longest gap that fits into what was seen; 0 or less if none does."""
        return max((end - begin for begin, end in runs(~self.hidden)), default=0) - 2 * self._beside

    @property
    def _beside(self) -> int:
        return max(1, round(_BESIDE_S * self.motion.fps))

    def trials(self, length: int) -> Iterator[slice]:
        """Gaps of so many frames, spread evenly over what was seen, with enough seen on both sides."""
        if length < 1:
            return
        beside = self._beside
        starts = [
            start for begin, end in runs(~self.hidden) for start in range(begin + beside, end - beside - length + 1, max(1, length // 2))
        ]
        for chosen in np.unique(np.linspace(0, len(starts) - 1, min(_MOST_TRIALS, len(starts))).round().astype(int)):
            yield slice(starts[chosen], starts[chosen] + length)
