"""A person whom the tracker lost for a while, and whom depth maps show all the same."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from infill_cases import FRAMES, GAP, walkers, with_gap
from torch import Tensor

from pose_priors.body.pinhole import to_camera
from pose_priors.refinement.given.problem import NUM_SKIN_POINTS, Problem

FAT = 0.02
BESIDE = 5
SHOWN = slice(GAP.start - BESIDE, GAP.stop + BESIDE)


def skin_points(joints: Tensor, radius: Tensor, parents: tuple[int, ...]) -> Tensor:
    """(N, 3) where rays at random joints' surroundings meet bodies (J, 3) of capsules first: by marching along, not in closed form."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(1, len(joints), (NUM_SKIN_POINTS,), generator=generator)
    share = torch.rand(NUM_SKIN_POINTS, 1, generator=generator, dtype=torch.float64)
    parent = torch.tensor(parents)[chosen]
    ray = torch.nn.functional.normalize(joints[parent] + share * (joints[chosen] - joints[parent]), dim=-1)
    along = torch.zeros(NUM_SKIN_POINTS, 1, dtype=torch.float64)
    bones = torch.arange(1, len(joints))
    first, last = joints[torch.tensor(parents)[bones]], joints[bones]
    thick, thin = radius[torch.tensor(parents)[bones]], radius[bones]
    for _ in range(300):
        place = (along * ray)[:, None]
        part = ((place - first) * (last - first)).sum(-1) / (last - first).square().sum(-1)
        part = part.clamp(0, 1)[..., None]
        off = (place - first - part * (last - first)).norm(dim=-1) - (thick + part[..., 0] * (thin - thick))
        along = along + 0.7 * off.amin(1, keepdim=True)
    return along * ray


@lru_cache
def shown(aside: float = 0.0) -> Problem:
    """One of two people is lost for a while, in the depth maps all the same: a little thicker than bodies are said to be.

    Args:
        aside: metres from the straight way that the person goes meanwhile.
    """
    truth = walkers()
    share = torch.linspace(0, 1, GAP.stop - GAP.start + 2, dtype=torch.float64)[1:-1]
    pelvis = truth.start.pelvis.clone()
    pelvis[1, GAP, 0] += aside * (4 * share * (1 - share)).square()
    truth = replace(truth, start=replace(truth.start, pelvis=pelvis))
    joints = to_camera(truth.start.joints(truth.bodies), truth.cameras.w2c, truth.start.alpha0)
    points, there = torch.zeros(2, FRAMES, NUM_SKIN_POINTS + 4, 3, dtype=torch.float64), torch.zeros(2, FRAMES, dtype=torch.bool)
    for frame in range(SHOWN.start, SHOWN.stop):
        skin = skin_points(joints[1, frame], truth.bodies.thickness[1] + FAT, truth.bodies.parents)
        points[1, frame] = torch.cat([skin, skin[:4]]) / truth.start.alpha0
        there[1, frame] = True
    return replace(truth, observations=replace(truth.observations, surface=there, surface_points=points))


def lost(problem: Problem) -> Problem:
    return with_gap(problem, GAP)
