"""Bodies against points that depth maps show of people whom nobody tracked, of which no point says what part of the body it is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pose_priors.body.skeleton import PARTS
from pose_priors.refinement.given.problem import NUM_SKIN_POINTS, Problem
from pose_priors.refinement.solve.once import once
from pose_priors.refinement.solve.scene import MIN_DEPTH, Scene

TINY = 1e-8
"""Square metres, so that roots have gradients."""
_ROUNDS = 3  # of measuring the thickness, which says which skin is first
_FAR_M = 0.15  # beyond which a point is no farther off
_STEADY_S = 0.1  # standard deviation of the window over which shifts are averaged
_FEW = 20.0  # points of a bone at which its own thickness counts as much as that of all bones


class Shown(NamedTuple):
    """F people and frames whose surface depth maps show.

    Attributes:
        people, frames: (F,) which.
        points: (F, N, 3) metres at the start's scale, in the camera: `NUM_SKIN_POINTS` of the skin first.
    """

    people: Tensor
    frames: Tensor
    points: Tensor


@once
def untracked(problem: Problem) -> Shown:
    """On frames on which nobody saw them."""
    return _shown(problem, untracked_frames(problem))


def untracked_frames(problem: Problem) -> Tensor:
    """(P, T) bool, which these are."""
    return problem.alive & ~problem.visible & problem.observations.surface


@once
def beside(problem: Problem) -> Shown:
    """Of these people, on frames beside, on which they were seen."""
    return _shown(problem, problem.visible)


def _shown(problem: Problem, among: Tensor) -> Shown:
    seen = problem.observations
    people, frames = (among & seen.surface).nonzero(as_tuple=True)
    points = seen.surface_points.expand(*among.shape, -1, -1)[people, frames]
    return Shown(people, frames, problem.start.alpha0 * points)


@once
def body_joints(problem: Problem) -> list[int]:
    """The joints that a body is counted by: without hands' stubs and fingers."""
    return [j for j, smplx in enumerate(problem.bodies.smplx_index) if smplx == 0 or smplx in PARTS["body"]]


class OnBones(NamedTuple):
    """What rays through points (F, N, 3) of the skin meet first of a body.

    Attributes:
        meets: (F, N) bool, whether it meets skin.
        off: (F, N) metres along the ray that the point is behind the skin that its ray meets; across the ray to the nearest skin where it
            meets none.
        bone: (F, N) the joint in which the bone ends that it meets, or that is nearest.
        root: (F, N) the joint in which that bone begins, and which turns it.
        place: (F, N, 3) the point of its axis that is nearest to the ray.
        slope: (F, N, 3) what `off` changes by with that point.
    """

    meets: Tensor
    off: Tensor
    bone: Tensor
    root: Tensor
    place: Tensor
    slope: Tensor


def on_bones(points: Tensor, joints: Tensor, shown: Shown, problem: Problem, extra: Tensor) -> OnBones:
    """Which skin of people whose joints are at (F, J, 3) points (F, N, 3) belong to, all in the camera: the first along each point's ray,
    of bones as thick as the body is at its joints, between joints linearly so.

    Args:
        extra: (P, J) metres that the bone which ends in a joint is thicker than that.
    """
    bodies = problem.bodies
    known = torch.isfinite(bodies.thickness).all(0).tolist()
    bones = [(j, parent) for j, parent in enumerate(bodies.parents) if parent >= 0 and known[j] and known[parent]]
    child, parent = torch.tensor(bones, device=joints.device).T
    radius, more = torch.nan_to_num(bodies.thickness)[shown.people], extra[shown.people]
    far = points.norm(dim=-1).clamp_min(TINY)
    ray = points / far[..., None]
    with torch.no_grad():
        # across the rays, by products of numbers and not of vectors: points times bones are many
        root, along = joints[:, parent], joints[:, child] - joints[:, parent]
        root_ahead, along_ahead = ray @ root.mT, ray @ along.mT
        mixed = (root * along).sum(-1)[:, None] - root_ahead * along_ahead
        length = (along.square().sum(-1)[:, None] - along_ahead.square()).clamp_min(TINY)
        share = (-mixed / length).clamp(0, 1)
        off = root.square().sum(-1)[:, None] - root_ahead.square() + share * (2 * mixed + share * length)
        thick = radius[:, None, parent] + share * (radius[:, child] - radius[:, parent])[:, None] + more[:, None, child]
        deep = thick.square() - off
        skin = torch.where(deep > 0, root_ahead + share * along_ahead - deep.clamp_min(0).sqrt(), torch.inf)
        met = deep.amax(-1) > 0
        best = torch.where(met, skin.argmin(-1), (off.clamp_min(0).sqrt() - thick).argmin(-1))[..., None]
        share, thick, deep = (value.gather(-1, best) for value in (share, thick, deep.clamp_min(0).sqrt()))
        first, second = (ends[best].expand(*best.shape[:2], 3) for ends in (parent, child))
    start, end = joints.gather(1, first), joints.gather(1, second)
    place = start + share * (end - start)
    place_ahead = (place * ray).sum(-1)
    apart = ray * place_ahead[..., None] - place
    distance = (apart.square().sum(-1) + TINY).sqrt()
    gap = torch.where(met, far - place_ahead + deep[..., 0], distance - thick[..., 0])
    slope = torch.where(met[..., None], -ray, -apart / distance[..., None])
    return OnBones(met, gap, second[..., 0], first[..., 0], place, slope.detach())


def skin_of(shown: Shown, scene: Scene) -> tuple[Tensor, Tensor]:
    """Points (F, N, 3) and joints (F, J, 3) in the camera, metres at the start's scale, as the depths of each person are believed."""
    bias = torch.exp(-scene.depth_bias)[shown.people, None, None]
    return shown.points * bias, scene.camera_joints[shown.people, shown.frames] / scene.growth


def across(joints: Tensor, points: Tensor) -> Tensor:
    """(F, B) metres from joints (F, B, 3) across the view to the nearest of points (F, N, 3), all in the camera."""
    depth = joints[..., 2:].clamp_min(MIN_DEPTH)
    place, shown = joints[..., :2] / depth, points[..., :2] / points[..., 2:].clamp_min(MIN_DEPTH)
    with torch.no_grad():
        nearest = torch.cdist(place, shown).argmin(-1)
    apart = place - shown.gather(1, nearest[..., None].expand(*nearest.shape, 2))
    return (apart.square().sum(-1) + TINY).sqrt() * depth[..., 0].detach()


@torch.no_grad()
def thicker(scene: Scene, problem: Problem) -> Tensor:
    """(P, J) metres that the bone which ends in a joint is thicker than the body is said to be at its joints, by the frames on which people
    were seen: clothes, and what their depths are off by."""
    shown = beside(problem)
    extra = torch.zeros_like(scene.rest_joints[..., 0])
    if not len(shown.people):
        return extra
    points, joints = skin_of(shown, scene)
    skin = points[:, :NUM_SKIN_POINTS]
    for _ in range(_ROUNDS):
        found = on_bones(skin, joints, shown, problem, extra)
        for p in shown.people.unique().tolist():
            met = (shown.people == p)[:, None] & found.meets
            of, mine = -found.off[met], found.bone[met]
            usual = of.median()
            for bone in mine.unique().tolist():
                own = of[mine == bone]
                extra[p, bone] += (own.median() * len(own) + usual * _FEW) / (len(own) + _FEW)
    return extra


@torch.no_grad()
def distance(scene: Scene, problem: Problem, extra: Tensor) -> Tensor:
    """(P,) metres, the mean over the points of people who are not tracked of how far they are off the skin, at most 15 cm each; 0 for
    others."""
    shown = untracked(problem)
    points, joints = skin_of(shown, scene)
    found = on_bones(points[:, :NUM_SKIN_POINTS], joints, shown, problem, extra)
    off = found.off.abs().clamp_max(_FAR_M).mean(1)
    count = torch.zeros_like(extra[:, 0]).index_add(0, shown.people, torch.ones_like(off))
    return torch.zeros_like(count).index_add(0, shown.people, off) / count.clamp_min(1)


@torch.no_grad()
def surface_shift(scene: Scene, problem: Problem) -> Tensor:
    """(P, T, 3) metres, world, by which people who are not tracked are to be shifted onto what depth maps show of them, to where the
    medians of points and joints are as far apart as on the frames beside. Zero for others."""
    shown, aside, shift = untracked(problem), beside(problem), torch.zeros_like(scene.joints[:, :, 0])
    apart, usual = (_middles(*skin_of(each, scene), body_joints(problem)) for each in (shown, aside))
    for p in shown.people.unique().tolist():
        if (aside.people == p).any():
            apart[shown.people == p] -= usual[aside.people == p].median(0).values
    shift[shown.people, shown.frames] = (apart[:, None] @ problem.cameras.w2c[shown.frames, :3, :3])[:, 0] * scene.growth
    return shift


@torch.no_grad()
def steady(shift: Tensor, problem: Problem) -> Tensor:
    """Shifts (P, T, 3) of people who are not tracked, each the mean of those around it weighed by a Gaussian of 0.1 s: medians
    of points jump from frame to frame, and people do not. Zero for others."""
    of = untracked_frames(problem).to(shift)
    frames = torch.arange(shift.shape[1], device=shift.device)
    weight = torch.exp(-0.5 * ((frames - frames[:, None]) / (_STEADY_S * problem.fps)).square()).to(shift)
    total = torch.einsum("st,pt->ps", weight, of).clamp_min(TINY)
    return torch.einsum("st,pt,ptx->psx", weight, of, shift) / total[..., None] * of[..., None]


def _middles(points: Tensor, joints: Tensor, body: list[int]) -> Tensor:
    """(F, 3) from the median of the body's joints to that of the points of its skin."""
    return points[:, :NUM_SKIN_POINTS].median(1).values - joints[:, body].median(1).values
