"""Bodies against points that depth maps show of people whom nobody tracked, of which no point says what part of the body it is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pose_priors.body.skeleton import PARTS
from pose_priors.refinement.given.problem import NUM_SKIN_POINTS, Bodies, Problem
from pose_priors.refinement.solve.once import once
from pose_priors.refinement.solve.scene import MIN_DEPTH, Scene

TINY = 1e-8
"""Square metres, so that roots have gradients."""
_ROUNDS = 3  # of measuring the thickness, which says which skin is first
_FAR_M = 0.15  # beyond which a point is no farther off
_STEADY_S = 0.1  # standard deviation of the window over which shifts are averaged
_LOW_M = 0.12  # joints below are on the floor, as far as points tell
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
    return problem.alive & ~problem.visible & _showing(problem)


@once
def beside(problem: Problem) -> Shown:
    """Of these people, on frames beside, on which they were seen."""
    return _shown(problem, problem.visible & _showing(problem))


def _shown(problem: Problem, among: Tensor) -> Shown:
    people, frames = among.nonzero(as_tuple=True)
    points = problem.observations.surface_points.expand(*among.shape, -1, -1)[people, frames]
    return Shown(people, frames, problem.start.alpha0 * points)


def _showing(problem: Problem) -> Tensor:
    """Whether depth maps show people's surface, (P, T) or what broadcasts to it; nobody's where no bone's thickness is known."""
    return problem.observations.surface & bool(_bones(problem.bodies))


@once
def _bones(bodies: Bodies) -> list[tuple[int, int]]:
    """The joints in which bones end and begin whose thickness is known of everybody."""
    known = torch.isfinite(bodies.thickness).all(0).tolist()
    return [(j, parent) for j, parent in enumerate(bodies.parents) if parent >= 0 and known[j] and known[parent]]


@once
def body_joints(problem: Problem) -> list[int]:
    """The joints that a body is counted by: without hands' stubs and fingers."""
    return [j for j, smplx in enumerate(problem.bodies.smplx_index) if smplx == 0 or smplx in PARTS["body"]]


class Met(NamedTuple):
    """Which skin rays through points (F, N, 3) meet first of a body: of one of its bones, beside a point of the bone's axis.

    Attributes:
        meets: (F, N) bool, whether a ray meets skin; the nearest bone counts where it does not.
        bone: (F, N) the joint in which the bone ends.
        root: (F, N) the joint in which it begins, and which turns it.
        share: (F, N) where on the axis the point is that is nearest to the ray, 0 at its begin and 1 at its end.
        thick: (F, N) metres, the body there.
        deep: (F, N) metres that the skin is before that point, along the ray; 0 where it meets none.
    """

    meets: Tensor
    bone: Tensor
    root: Tensor
    share: Tensor
    thick: Tensor
    deep: Tensor


class Off(NamedTuple):
    """How far points (F, N, 3) are off the skin that their rays meet.

    Attributes:
        metres: (F, N) along the ray that the point is behind the skin; across it to the nearest skin where it meets none.
        place: (F, N, 3) the point of the bone's axis.
        slope: (F, N, 3) what `metres` changes by with that point.
    """

    metres: Tensor
    place: Tensor
    slope: Tensor


class Held(NamedTuple):
    """What a round of the search holds still of bodies before points, as ICP does, so that how far they are off is smooth.

    Attributes:
        met: of the points of the skin.
        nearest: (F, B) the point that is nearest across the view to each of the body's joints.
        depth: (F, B) metres, of these joints.
        tells: (F, B) whether the surface would show these joints.
    """

    met: Met
    nearest: Tensor
    depth: Tensor
    tells: Tensor


@torch.no_grad()
def met_by_rays(points: Tensor, joints: Tensor, shown: Shown, problem: Problem, extra: Tensor) -> Met:
    """Which skin of people whose joints are at (F, J, 3) points (F, N, 3) belong to, all in the camera: the first along each point's ray,
    of bones as thick as the body is at its joints, between joints linearly so.

    Args:
        extra: (P, J) metres that the bone which ends in a joint is thicker than that.
    """
    bodies = problem.bodies
    child, parent = torch.tensor(_bones(bodies), device=joints.device).T
    radius, more = torch.nan_to_num(bodies.thickness)[shown.people], extra[shown.people]
    ray = points / points.norm(dim=-1, keepdim=True).clamp_min(TINY)
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
    share, thick, deep = (value.gather(-1, best)[..., 0] for value in (share, thick, deep.clamp_min(0).sqrt()))
    return Met(met, child[best[..., 0]], parent[best[..., 0]], share, thick, deep)


def off_skin(points: Tensor, joints: Tensor, met: Met) -> Off:
    """How far points (F, N, 3) are off people whose joints are at (F, J, 3), all in the camera, by what their rays met."""
    far = points.norm(dim=-1).clamp_min(TINY)
    ray = points / far[..., None]
    start, end = (joints.gather(1, joint[..., None].expand(*joint.shape, 3)) for joint in (met.root, met.bone))
    place = start + met.share[..., None] * (end - start)
    place_ahead = (place * ray).sum(-1)
    apart = ray * place_ahead[..., None] - place
    distance = (apart.square().sum(-1) + TINY).sqrt()
    gap = torch.where(met.meets, far - place_ahead + met.deep, distance - met.thick)
    slope = torch.where(met.meets[..., None], -ray, -apart / distance[..., None])
    return Off(gap, place, slope.detach())


@torch.no_grad()
def held(scene: Scene, problem: Problem, extra: Tensor) -> Held:
    """Of people whom nobody tracked, as they stand."""
    shown, body = untracked(problem), body_joints(problem)
    points, joints = skin_of(shown, scene)
    place, depth = _across(joints[:, body])
    nearest = torch.cdist(place, _across(points)[0]).argmin(-1)
    return Held(
        met_by_rays(points[:, :NUM_SKIN_POINTS], joints, shown, problem, extra),
        nearest,
        depth[..., 0],
        _tells(joints[:, body], shown, scene, problem),
    )


def beside_points(joints: Tensor, points: Tensor, nearest: Tensor, depth: Tensor) -> Tensor:
    """(F, B) metres from joints (F, B, 3) across the view to those of points (F, N, 3) that are said to be nearest, all in the camera, at
    a depth (F, B)."""
    apart = _across(joints)[0] - _across(points)[0].gather(1, nearest[..., None].expand(*nearest.shape, 2))
    return (apart.square().sum(-1) + TINY).sqrt() * depth


def _across(points: Tensor) -> tuple[Tensor, Tensor]:
    """Where points (..., 3) are across the view, (..., 2), at a depth of one; and their depths (..., 1)."""
    depth = points[..., 2:].clamp_min(MIN_DEPTH)
    return points[..., :2] / depth, depth


def _tells(joints: Tensor, shown: Shown, scene: Scene, problem: Problem) -> Tensor:
    """(F, B) bool, which of the body's joints the surface would show: in the image, and not so low that the floor begins there."""
    cameras = problem.cameras
    intrinsics = cameras.intrinsics[shown.frames]
    pixels = _across(joints)[0] @ intrinsics[:, :2, :2].mT + intrinsics[:, None, :2, 2]
    high = (scene.joints[shown.people, shown.frames][:, body_joints(problem)] @ scene.normal + scene.offset) > _LOW_M
    inside = (pixels > 0) & (pixels < pixels.new_tensor(cameras.image_size))
    return inside.all(-1) & (joints[..., 2] > MIN_DEPTH) & high


def skin_of(shown: Shown, scene: Scene) -> tuple[Tensor, Tensor]:
    """Points (F, N, 3) and joints (F, J, 3) in the camera, metres at the start's scale, as the depths of each person are believed."""
    bias = torch.exp(-scene.depth_bias)[shown.people, None, None]
    return shown.points * bias, scene.camera_joints[shown.people, shown.frames] / scene.growth


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
        found = met_by_rays(skin, joints, shown, problem, extra)
        off = off_skin(skin, joints, found).metres
        for p in shown.people.unique().tolist():
            met = (shown.people == p)[:, None] & found.meets
            of, mine = -off[met], found.bone[met]
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
    skin = points[:, :NUM_SKIN_POINTS]
    off = off_skin(skin, joints, met_by_rays(skin, joints, shown, problem, extra)).metres.abs().clamp_max(_FAR_M).mean(1)
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
