"""Writes a family's scene as the folders of the stages, with its truth beside it."""

from __future__ import annotations

from pathlib import Path

from pose_priors.datamodules.synthetic.scenes.builtin import write_sequence
from pose_priors.datamodules.synthetic.scenes.stress.faults import followed, found
from pose_priors.datamodules.synthetic.scenes.stress.filming import filmed
from pose_priors.datamodules.synthetic.scenes.stress.recipes import Recipe


def write_family(folder: Path, recipe: Recipe, seed: int) -> None:
    """Writes stages 1 to 4 into `folder`, and the truth to `<folder>_gt.npz`.

    Args:
        seed: of everything that is drawn; a seed gives the same people and the same noise to every family, but for its faults.
    Raises:
        UserError: if the folder cannot be written to.
    """
    scene = filmed(recipe, seed)
    write_sequence(folder, found(recipe, scene, seed), followed(recipe, scene))
