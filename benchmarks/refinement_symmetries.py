"""Whether a result depends on what it must not: `python -m benchmarks.refinement_symmetries`.

A clip of a family of `benchmarks.refinement_stress` is refined as it is and as others would have it: in a world that is turned, with stage
1's unit a thousandth, with the people's ids exchanged, filmed backwards or in a mirror, with keypoints that are off by a hundred-thousandth
of a pixel. What comes out is turned back and compared.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.benchmarks.quiet import quiet
from pose_priors.body.skeleton import MIRROR
from pose_priors.configs.cli import Parser, at_least, run
from pose_priors.datamodules.stage_folders import STAGES, PosedBodies, Stages, write_stages
from pose_priors.datamodules.synthetic.scenes.degradation import carried
from pose_priors.datamodules.synthetic.scenes.stress.families import FAMILIES
from pose_priors.datamodules.synthetic.scenes.stress.faults import found
from pose_priors.datamodules.synthetic.scenes.stress.filming import filmed
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig

_ACROSS = np.array([-1.0, 1.0, 1.0])
_TURN = Rotation.from_euler("xyz", [0.4, -0.9, 1.3]).as_matrix()
_UNIT = 1000.0
_NUDGE_PX = 1e-5
# SMPL's joints; the hand stubs are the last two
_SIDES = np.array([*MIRROR[:22], 23, 22])


@dataclass(frozen=True)
class Image:
    """The same clip as somebody else would have it.

    Attributes:
        of: what the stages found to what they would have found.
        back: joints (P, T, J, 3) in metres and stage 1's axes, of the image, to those of the clip.
    """

    of: Callable[[Stages], Stages]
    back: Callable[[np.ndarray], np.ndarray]


def _nudged(stages: Stages) -> Stages:
    off = np.random.default_rng(0).normal(size=stages.keypoints.shape) * [_NUDGE_PX, _NUDGE_PX, 0]
    return replace(stages, keypoints=stages.keypoints + off)


def _turned(stages: Stages) -> Stages:
    w2c = stages.w2c.copy()
    w2c[:, :3, :3] = w2c[:, :3, :3] @ _TURN.T
    return replace(stages, w2c=w2c, world=carried(stages.camera, w2c))


def _in_another_unit(stages: Stages) -> Stages:
    w2c = stages.w2c.copy()
    w2c[:, :3, 3] *= _UNIT
    depth = None if stages.depth is None else stages.depth * _UNIT
    return replace(stages, w2c=w2c, depth=depth, world=carried(stages.camera, w2c))


def _of_people(stages: Stages, change: Callable[[np.ndarray], np.ndarray]) -> Stages:
    """With everything that has a row for each person changed alike."""
    camera, world = (
        PosedBodies(*(change(getattr(bodies, each.name)) for each in fields(bodies))) for bodies in (stages.camera, stages.world)
    )
    return replace(
        stages,
        camera=camera,
        world=world,
        keypoints=change(stages.keypoints),
        boxes=change(stages.boxes),
        seen=change(stages.seen),
        body_pose=change(stages.body_pose),
    )


def _exchanged(stages: Stages) -> Stages:
    """The people in the opposite order."""
    last = len(stages.seen) - 1
    who = None if stages.who is None else np.where(stages.who < 0, -1, last - stages.who)
    return replace(_of_people(stages, lambda value: value[::-1]), who=who)


def _backwards(stages: Stages) -> Stages:
    depth, who = (None if value is None else value[::-1] for value in (stages.depth, stages.who))
    return replace(_of_people(stages, lambda value: value[:, ::-1]), w2c=stages.w2c[::-1], depth=depth, who=who)


def _mirrored(stages: Stages) -> Stages:
    width, across = stages.image_size[0], np.diag(_ACROSS)
    intrinsics, w2c = stages.intrinsics.copy(), stages.w2c.copy()
    intrinsics[0, 2] = width - intrinsics[0, 2]
    w2c[:, :3, :3] = across @ w2c[:, :3, :3] @ across
    w2c[:, :3, 3] *= _ACROSS
    depth, who = (None if value is None else value[..., ::-1] for value in (stages.depth, stages.who))
    keypoints, boxes = stages.keypoints[:, :, _SIDES].copy(), stages.boxes.copy()
    keypoints[..., 0], boxes[..., 0] = width - keypoints[..., 0], width - boxes[..., 0]
    was = stages.camera
    camera = PosedBodies(was.global_orient * -_ACROSS, was.transl * _ACROSS, (was.joints * _ACROSS)[:, :, _SIDES])
    body_pose = stages.body_pose[:, :, _SIDES[1:] - 1] * -_ACROSS
    return replace(
        stages,
        intrinsics=intrinsics,
        w2c=w2c,
        depth=depth,
        who=who,
        keypoints=keypoints,
        boxes=boxes,
        body_pose=body_pose,
        camera=camera,
        world=carried(camera, w2c),
    )


IMAGES: dict[str, Image] = {
    "keypoints nudged": Image(_nudged, lambda joints: joints),
    "world turned": Image(_turned, lambda joints: joints @ _TURN),
    "another unit": Image(_in_another_unit, lambda joints: joints),
    "people exchanged": Image(_exchanged, lambda joints: joints[::-1]),
    "backwards": Image(_backwards, lambda joints: joints[:, ::-1]),
    "in a mirror": Image(_mirrored, lambda joints: joints[:, :, _SIDES] * _ACROSS),
}
"""All of them, by what they are."""


def problem_of(stages: Stages) -> Problem:
    """What the refinement makes of the stages' folders."""
    with tempfile.TemporaryDirectory() as aside:
        write_stages(folder := Path(aside) / "clip", stages)
        return load_problem(folder / STAGES[1], folder / STAGES[2], folder / STAGES[3], None)


def refined(stages: Stages) -> np.ndarray:
    """Joints (P, T, J, 3) in metres and stage 1's axes."""
    with quiet("pytorch_lightning", "lightning.pytorch", "refine"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = Stage5Refiner(RefinementConfig(), trainer={"enable_progress_bar": False}).refine(RefinementInput(problem_of(stages)))
    joints: np.ndarray = output.joints.double().numpy()
    return joints


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints, for each family and image, the mean over all joints and frames, and the largest, distance in mm."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", default=["reference"], help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--seed", type=at_least(0), default=1)
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.families) - set(FAMILIES)):
        parser.error(f"no family is called {', '.join(unknown)}; there are {', '.join(FAMILIES)}")
    torch.set_num_threads(1)
    print(f"| | {' | '.join(IMAGES)} |\n|{'---|' * (len(IMAGES) + 1)}")
    for family in options.families:
        recipe = FAMILIES[family]
        stages = found(recipe, filmed(recipe, options.seed), options.seed)
        before = refined(stages)
        off = [1e3 * np.linalg.norm(image.back(refined(image.of(stages))) - before, axis=-1) for image in IMAGES.values()]
        print(f"| {family} | {' | '.join(f'{each.mean():.3f} ({each.max():.2f})' for each in off)} |", flush=True)


if __name__ == "__main__":
    run(main)
