"""The built-in skeleton against a body model: `pose-priors body --compare models/smplx`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS
from pose_priors.body.smplx_files import load_joint_model
from pose_priors.configs.cli import Parser, run

_NUM_BODY = 22


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints, for each joint of the body, how far it is from the model's, and by how much the bone that ends in it points elsewhere."""
    parser = Parser(description=__doc__)
    parser.add_argument("--compare", required=True, type=Path, metavar="MODEL", help="a file or folder in smplx's format, its mean shape")
    options = parser.parse_args(arguments)
    model = load_joint_model(options.compare, 0, ("smplx", "smplh", "smpl"))
    theirs = model.template[:_NUM_BODY] - model.template[0]
    ours = rest_joints()[:_NUM_BODY]
    off, turned = compared(ours, theirs)
    scale = float((ours * theirs).sum() / (ours * ours).sum())
    scaled, _ = compared(scale * ours, theirs)
    print(f"{'joint':16}{'off, mm':>9}{'bone, deg':>11}")
    for joint in range(1, _NUM_BODY):
        print(f"{JOINT_NAMES[joint]:16}{1000 * float(off[joint]):9.1f}{float(turned[joint]):11.1f}")
    print(f"mean of {_NUM_BODY} joints {1000 * float(off.mean()):.1f} mm, {1000 * float(scaled.mean()):.1f} mm at {scale:.3f} of the size")


def compared(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """How two rest skeletons differ.

    Args:
        ours, theirs: (22, 3) metres from the pelvis, in SMPL-X's order.
    Returns:
        (22,) the distance of each joint in metres; (22,) the angle between the bones from its parent in degrees, the pelvis' 0.
    """
    above = list(PARENTS[1:_NUM_BODY])
    a, b = (rest[1:] - rest[above] for rest in (ours, theirs))
    angle = torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1)).rad2deg()
    return (ours - theirs).norm(dim=-1), torch.cat([angle.new_zeros(1), angle])


if __name__ == "__main__":
    run(main)
