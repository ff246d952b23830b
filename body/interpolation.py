"""Stretches of frames, and frames on which a person was not seen: rotations by slerp, positions by lerp, between those on both sides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from pose_priors.body.rotations import slerp


def runs(marked: np.ndarray) -> Iterator[tuple[int, int]]:
    """First frame, and the one behind the last, of each uninterrupted stretch of marked frames (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _neighbours(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each frame the seen one at or before it, the one after it, and how far between them it lies, in [0, 1]; held at both ends."""
    at = np.flatnonzero(seen)
    frames = np.arange(len(seen)).clip(at[0], at[-1])
    right = np.searchsorted(at, frames, side="left").clip(max=len(at) - 1)
    left = np.where(at[right] == frames, right, right - 1)
    span = np.maximum(at[right] - at[left], 1)
    return at[left], at[right], (frames - at[left]) / span


def lerp_missing(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Values (T, ..., C) with those of unseen frames interpolated linearly; before the first and after the last seen frame they are held.

    Args:
        seen: (T,) bool, at least one true.
    """
    left, right, share = _neighbours(seen)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    between: np.ndarray = values[left] * (1 - share) + values[right] * share
    return between


def slerp_missing(rotvec: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Rotation vectors (T, ..., 3) with those of unseen frames on the shortest arc between the seen ones (Shoemake, "Animating
    rotation with quaternion curves", SIGGRAPH 1985); seen frames come back as they are, and the ends are held.

    Args:
        seen: (T,) bool, at least one true.
    """
    left, right, share = _neighbours(seen)
    out: np.ndarray = rotvec[left].copy()
    between = left != right
    if between.any():
        start, end = (torch.from_numpy(rotvec[i[between]]) for i in (left, right))
        part = torch.from_numpy(share[between]).reshape(-1, *[1] * (rotvec.ndim - 1))
        out[between] = slerp(start, end, part).numpy()
    return out
