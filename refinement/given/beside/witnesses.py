"""What programs say that have looked at the pictures, held against the rest of the clip: which way is up, when feet touch the ground."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.motion import steps
from pose_priors.body.skeleton import index_of
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.witnesses.foot_contacts import NUM_FEET, read_foot_contacts
from pose_priors.refinement.formats.witnesses.gravity import read_gravity

_TRUST = 0.95  # no program is surer, whatever it says
_FEW = 8  # feet on frames of either kind, below which their speeds are not compared
_APART = 20.0  # degrees between two files that both say which way is up
_FEET = [index_of(f"{side}_{joint}") for joint in ("ankle", "foot") for side in ("left", "right")]  # the same in every layout


def with_gravity(clip: UpstreamClip, path: Path | None, warnings: list[str], told: list[str], *, cut: bool) -> UpstreamClip:
    """The clip with the up of a file in place of what its own files say.

    Args:
        path: see `formats.witnesses.gravity`; None leaves the clip as it is.
        warnings: takes a line if the file contradicts itself, or what the clip's own files say.
        told: takes the line that says that the file has the say.
        cut: whether the clip is the first frames of one that the file may know whole.
    Raises:
        UserError: if the file is none such.
    """
    if path is None:
        return clip
    found = read_gravity(path, clip.cameras, cut=cut)
    told.append(found.told)
    if found.doubt:
        warnings.append(found.doubt)
    if clip.up is not None and (apart := float(np.degrees(np.arccos(np.clip(clip.up @ found.up, -1, 1))))) > _APART:
        warnings.append(f"{path}: its up is {apart:.0f} degrees from that of {clip.cameras.source}, and stands in its place")
    return replace(clip, up=found.up)


def contact_log_odds(
    path: Path | None,
    people: tuple[int, ...],
    frame_ids: np.ndarray,
    joints: Tensor,
    alive: np.ndarray,
    fps: float,
    warnings: list[str],
    told: list[str],
    *,
    cut: bool,
) -> Tensor:
    """(P, T, 4) of `problem.Observations`, or (1, 1, 4) of zeros where there is no file, or one whose feet move faster where it says that
    they stand than where it says that they do not: of other people, or of other frames.

    Args:
        path: see `formats.witnesses.foot_contacts`.
        people: P ids.
        joints: (P, T, J, 3) metres, where the refinement starts; alive: (P, T) bool, from each person's first to last seen frame.
        warnings: takes the line if the file is left aside.
        told, cut: as in `with_gravity`.
    Raises:
        UserError: if the file is none such.
    """
    if path is None:
        return torch.zeros(1, 1, NUM_FEET, dtype=joints.dtype)
    found = read_foot_contacts(path, people, frame_ids, cut=cut)
    nothing = np.full((len(frame_ids), NUM_FEET), np.nan)
    of_people = np.stack([found.probability.get(person, nothing) for person in people])
    says = torch.from_numpy(np.where(alive[..., None], of_people, np.nan))
    speed = steps(joints[:, :, _FEET]) * fps
    stands, moves = speed[says > 0.5], speed[says < 0.5]
    if min(len(stands), len(moves)) >= _FEW and stands.median() > moves.median():
        warnings.append(
            f"{path}: feet move by {stands.median():.2f} m/s where it says that they stand, and by {moves.median():.2f} where it says that "
            "they do not; it is left aside; are its people and frames those of the clip?"
        )
        return torch.zeros(1, 1, NUM_FEET, dtype=joints.dtype)
    told.append(found.told)
    return torch.nan_to_num(torch.logit(says, 1 - _TRUST))
