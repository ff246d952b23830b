"""The built-in data: synthetic but anatomical whole-body poses from a seed."""

from datamodules.synthetic.poses import synthetic_poses

__all__ = ["synthetic_poses"]
