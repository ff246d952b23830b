"""How people usually hold themselves, as far as the built-in bodies say: a Gaussian of the joints' rotations."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.fitting.points import PoseGaussian
from pose_priors.body.skeleton import index_of

_NUM, _SEED = 6000, 5
_GIRDLE = 1 / 3  # of how far an arm is raised: two parts are the shoulder's, one the shoulder blade's (Inman, Saunders & Abbott, 1944)


@lru_cache(maxsize=4)
def usual_poses(num_joints: int, *, girdles: bool = True) -> PoseGaussian:
    """The Gaussian of the first joints of SMPL-X, the root's left out: of the built-in bodies and of their mirror images, so left and
    right are alike; with `girdles` that sink with the arms, where no point of the skin tells."""
    from pose_priors.datamodules.synthetic.poses import synthetic_poses  # what makes people move, and scipy's splines

    pose = synthetic_poses(_NUM, seed=_SEED)[:, :num_joints].to(torch.float64)
    return PoseGaussian.of(with_girdles(pose) if girdles else pose)


def with_girdles(pose: Tensor) -> Tensor:
    """Poses (n, J, 3) of the same arms, whose shoulder girdles take their part in raising them. At rest SMPL-X's arms are level, and its
    girdles raised: they sink when arms do, which the built-in bodies, whose girdles hardly move, leave to the shoulders."""
    out = pose.clone()
    for side, sign in (("left", 1.0), ("right", -1.0)):
        collar, shoulder = index_of(f"{side}_collar"), index_of(f"{side}_shoulder")
        girdle, arm = (conversions.rotvec_to_rotmat(pose[:, joint]) for joint in (collar, shoulder))
        along = sign * (girdle @ arm)[:, :, 0]
        sunk = (-along[:, 1]).clamp(-1, 1).asin().clamp_min(0) * _GIRDLE
        turn = torch.zeros_like(pose[:, 0])
        turn[:, 2] = -sign * sunk
        lower = conversions.rotvec_to_rotmat(turn) @ girdle
        out[:, collar], out[:, shoulder] = conversions.rotmat_to_rotvec(lower), conversions.rotmat_to_rotvec(lower.mT @ girdle @ arm)
    return out
