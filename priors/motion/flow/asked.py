"""What a prior of clips is asked: in its own precision, or refused in a line."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.priors.motion.flow.skeletons import leg_of_bones
from pose_priors.priors.motion.flow.view import Motion, Noise
from pose_priors.priors.networks.precision import widened


def checked(motion: Motion, noise: Noise, dtype: torch.dtype) -> tuple[Motion, Noise]:
    """A motion that is finite, in another type: the identity and zero where nothing is seen. Raises `ValueError` if what is seen is not
    finite, or noise has a standard deviation that is negative or NaN, if there are no frames, or if the type is of half precision."""
    if not motion.joints.shape[1]:
        raise ValueError("a motion without frames was given")
    if dtype in (torch.float16, torch.bfloat16):
        raise ValueError(f"priors of clips need float32 or float64, not {dtype}: prior.float(), under autocast if need be")
    contacts = None if motion.contacts is None else widened(motion.contacts, dtype)
    motion = Motion(widened(motion.rotations, dtype), widened(motion.joints, dtype), contacts)
    noise = Noise(*(getattr(noise, of.name).to(dtype) for of in fields(noise)))
    for of in fields(noise):
        bad = ~(getattr(noise, of.name) >= 0)
        if bad.any():
            raise ValueError(f"noise of {of.name} is negative or NaN in {int(bad.sum())} places: 0 is exact, infinite is not seen")
    shown, placed = noise.rotations.isfinite(), noise.joints.isfinite()
    rotations = torch.where(shown[..., None, None], motion.rotations, torch.eye(3).to(motion.rotations))
    joints = torch.where(placed[..., None], motion.joints, 0.0)
    broken = ~(rotations.isfinite().all(-1).all(-1).all(-1) & joints.isfinite().all(-1).all(-1))
    if broken.any():
        raise ValueError(
            f"what is said to be seen is NaN or infinite on {int(broken.sum())} frames: hide these, by an infinite std or given=False"
        )
    return Motion(rotations, joints, contacts), noise


def checked_bones(bones: Tensor, dtype: torch.dtype) -> Tensor:
    """Bones (B, 22, 3) in another type. Raises `ValueError` if some are not finite, or legs have no length."""
    bones = widened(bones, dtype)
    bad = ~bones.isfinite().flatten(1).all(1) | (leg_of_bones(bones) <= 0)
    if bad.any():
        raise ValueError(f"bones of {int(bad.sum())} bodies are not finite, or those of their legs have no length: give metres, or None")
    return bones


def by_joint(given: Tensor, shape: torch.Size) -> Tensor:
    """Which joints of which frames of states (*batch, T, 339), of a shape, are given: (*batch, T, 22) bool, of anything that is not zero
    where it is given, by joint or by frame. Raises `ValueError` if it is of neither shape."""
    found = given != 0
    if given.shape == shape[:-1]:
        found = found[..., None]
    wanted = (*shape[:-1], NUM_JOINTS)
    try:
        return found.expand(wanted)
    except RuntimeError:
        raise ValueError(f"given is {tuple(given.shape)}: {wanted} of joints, or {wanted[:-1]} of frames, are expected") from None
