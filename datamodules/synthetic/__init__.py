"""The built-in data: synthetic but anatomical whole-body poses, and motions, from a seed."""

from datamodules.synthetic.motions import synthetic_motions
from datamodules.synthetic.poses import synthetic_poses

__all__ = ["synthetic_motions", "synthetic_poses"]
