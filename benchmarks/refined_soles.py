"""How the soles of refined people stand: `python -m benchmarks.refined_soles --scenes DIR [DIR ...]`.

Each scene is the folder of a sequence with its truth beside it, in `<DIR>_gt.npz`; how feet truly are rolled is known where that has poses.
A row is a person, before soles are laid towards the floor and after: what feet that stand with ankle and ball are rolled by, about the line
from one to the other, less what they truly are; the most that a joint moves; and on how many of the frames with a contact the lowest point
of Anny's surface is within 10 mm of the floor. Nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import roma
import torch
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from pose_priors.benchmarks.quiet import quiet
from pose_priors.benchmarks.refinement_ablation import Case
from pose_priors.body.anny.dressing import fitted_skin
from pose_priors.body.anny.model import SURFACES, AnnyBody, chosen_anny
from pose_priors.body.model import chained
from pose_priors.body.skeleton import index_of
from pose_priors.configs.cli import Parser, run
from pose_priors.refinement.formats.files import Arrays
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.people import rest_offsets
from pose_priors.refinement.result.soles import roll_of
from pose_priors.refinement.solve.module import RefinementModule

_ANKLES, _BALLS = ([index_of(f"{side}_{joint}") for side in ("left", "right")] for joint in ("ankle", "foot"))
_CARRIES, _NEAR_M = 0.5, 0.01


class BeforeSoles(Callback):
    """Keeps the rotations (P, T, J, 3) that the search found."""

    rotvec: Tensor

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RefinementModule)
        self.rotvec = pl_module.scene().rotvec.cpu().double()


def rows_of(case: Case, body: AnnyBody | None) -> Iterator[list[str]]:
    """A row for each person of a scene."""
    before, problem = BeforeSoles(), case.problem()
    found = Stage5Refiner(trainer={"enable_progress_bar": False}, callbacks=[before]).refine(RefinementInput(problem))
    parents, rest, plane = problem.bodies.parents, problem.bodies.rest_joints.double(), found.ground_plane.double()
    after = torch.cat([found.global_orient[:, :, None], found.body_pose], 2).double()
    turns = [_turns(rotvec, parents) for rotvec in (before.rotvec[:, : after.shape[1]], after)]
    contacts = found.contacts.unflatten(-1, (2, 2)) > _CARRIES  # ankles and balls of the left and right foot
    flat, touches, true = contacts.all(-2), contacts.any(-1).any(-1), _true_rolls(case, rest, parents)
    for p, person in enumerate(problem.person_ids):
        joints, errors, near = found.joints[p].double(), [], []
        for turned in turns:
            roll = _rolls(turned, rest, plane[:3])[p]
            off = None if true is None else (roll - true[p, : len(roll)])[flat[p]].square().mean().sqrt()
            errors.append("-" if off is None else f"{torch.rad2deg(off):.1f}")
            near.append("-" if body is None else f"{100 * _near(body, turned[p], joints, plane, parents)[touches[p]].mean():.0f}")
        bones = torch.from_numpy(rest_offsets(turns[1][p].numpy(), joints.numpy(), parents))
        moved = 1000 * (_posed(turns[0][p], bones, parents) - _posed(turns[1][p], bones, parents)).abs().max()
        yield [f"{case.folder.name}, {person}", str(int(flat[p].sum())), " -> ".join(errors), f"{moved:.3f}", " -> ".join(near)]


def _turns(rotvec: Tensor, parents: Sequence[int]) -> Tensor:
    """(P, T, J, 3, 3) of each joint relative to the world."""
    return chained(roma.rotvec_to_rotmat(rotvec), rotvec.new_zeros(len(parents), 3), parents)[1]


def _posed(turned: Tensor, bones: Tensor, parents: Sequence[int]) -> Tensor:
    """(T, J, 3) joints from the pelvis, of rotations (T, J, 3, 3) relative to the world and bones (J, 3) at rest."""
    joints = [torch.zeros_like(turned[:, 0, 0])]
    for joint, parent in enumerate(parents[1:], start=1):
        joints.append(joints[parent] + turned[:, parent] @ bones[joint])
    return torch.stack(joints, 1)


def _rolls(turned: Tensor, rest: Tensor, up: Tensor) -> Tensor:
    """(P, T, 2) of the left and right foot, radians."""
    bones = functional.normalize(rest[:, _BALLS] - rest[:, _ANKLES], dim=-1)
    return torch.stack([roll_of(turned[:, :, ankle], bones[:, side], up) for side, ankle in enumerate(_ANKLES)], -1)


def _true_rolls(case: Case, rest: Tensor, parents: Sequence[int]) -> Tensor | None:
    truth = Arrays(case.folder.parent / f"{case.folder.name}_gt.npz")
    if "body_pose" not in truth:
        return None
    rotvec = np.concatenate([truth.need("global_orient")[:, :, None], truth.need("body_pose")], 2).astype(float)
    return _rolls(_turns(torch.from_numpy(rotvec), parents), rest, torch.from_numpy(case.truth.ground_plane[:3]))


def _near(body: AnnyBody, turned: Tensor, joints: Tensor, plane: Tensor, parents: Sequence[int]) -> np.ndarray:
    """(T,) bool, whether the lowest point of the surface is near the floor."""
    turns, at, floor = turned.numpy(), joints.numpy(), plane.numpy()
    skin = fitted_skin(body, rest_offsets(turns, at, parents), turns, at, floor)
    lowest = [(skin.posed(turn, place)[0] @ floor[:3]).min() + floor[3] for turn, place in zip(turns, at, strict=True)]
    near: np.ndarray = np.abs(lowest) < _NEAR_M
    return near


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, nargs="+", required=True, help="folders of sequences")
    parser.add_argument("--surface", choices=SURFACES, default="auto", help="Anny's, where it is installed; capsules have no soles")
    options = parser.parse_args(arguments)
    body = chosen_anny(options.surface)
    table = Table("scene, person", "feet flat", "roll off by, degrees", "joints moved by, mm", "soles within 10 mm, % of frames")
    with quiet("pytorch_lightning", "lightning.pytorch"):
        for case in [Case.read(folder) for folder in options.scenes]:
            for row in rows_of(case, body):
                table.add_row(*row)
    Console(width=150).print(table)


if __name__ == "__main__":
    run(main)
