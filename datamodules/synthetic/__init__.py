"""The built-in data: synthetic but anatomical whole-body poses, and motions, from a seed."""

from pose_priors.datamodules.synthetic.motions import synthetic_motions
from pose_priors.datamodules.synthetic.poses import synthetic_poses

__all__ = ["synthetic_motions", "synthetic_poses"]
