"""A path put right by what carries the person: soles that stand do not glide, and they stand on the floor."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, percentile_filter

from pose_priors.body.interpolation import runs
from pose_priors.refinement.motions.faults.support import Support, velocities
from pose_priors.refinement.motions.motion import Motion
from pose_priors.refinement.motions.signals import odd, rolling_mean, rolling_median

_GLIDE_S = 0.4
_EXPLAINED = 0.8  # of what soles glide by: if a path that is too short explains so much of it, it is too short
_LACKS = (0.05, 3.0)  # shares of its length that a path may lack
_ONE_WAY = 0.975  # of the glides of a stretch: a body that was measured badly glides now here, now there
_MOST_OF_PATH = 0.5
_STANDS = 0.6  # of the frames of a stretch: where less, its glides are guesses
_CARRIED_ELSEWHERE = 0.1  # of the frames of a stretch: where more, it is told and left
_FEW = 5  # frames
_APART = 0.35  # of what the faster foot glides by, by which the feet may differ
_FLOAT_S = 0.12
_BACK_M, _WAY_S = 0.01, 0.4
_EVEN_S, _SHARP_M = 0.08, 0.04
_JUMP_S, _STOOD = 0.8, 30


def unslid(motion: Motion, support: Support, marked: np.ndarray) -> Motion:
    """The path on marked frames moved against what carries, so that it stands; later frames keep their steps.

    A stretch whose soles glide against the way of the path, in proportion to its speed, has a path that is too short and is drawn out.
    In flight the speed between the frames before and behind is taken.
    A stretch whose soles glide now here, now there stays as it is: no path stops them. So does one on which hands carry, for some of it: it
    is a fault that is told, but hands let go and soles swing, so that what moves least is no sure measure of by how much.

    Args:
        marked: (T,) bool.
    """
    if not marked.any() or not motion.has_path:
        return motion
    glide = rolling_median(support.slip, odd(_GLIDE_S, motion.fps))
    speed = velocities(motion.pelvis[:, :2], motion.fps)
    short = np.zeros(len(motion), dtype=bool)
    add = np.zeros((len(motion), 2))
    for begin, end in runs(marked):
        part = slice(begin, end)
        if support.elsewhere[part].mean() > _CARRIED_ELSEWHERE:
            continue
        lacks, explained = _proportion(speed[part], glide[part])
        steady = np.linalg.norm(glide[part].mean(0)) / max(np.linalg.norm(glide[part], axis=-1).mean(), 1e-9)
        if explained > _EXPLAINED and _LACKS[0] < lacks < _LACKS[1]:
            short[part] = True
            add[part] = lacks * np.gradient(motion.pelvis[:, :2], axis=0)[part] * motion.fps
        elif steady > _ONE_WAY and support.stands[part].mean() > _STANDS and _feet_agree(support, part):
            add[part] = -glide[part]
    length = np.linalg.norm(speed, axis=-1)
    if length[short].sum() > _MOST_OF_PATH * length.sum():
        # the whole path is, also where it is too slow for a slide to be seen
        lacks, _ = _proportion(speed[short], glide[short])
        add = lacks * np.gradient(motion.pelvis[:, :2], axis=0) * motion.fps
    pelvis = motion.pelvis.copy()
    pelvis[1:, :2] += np.cumsum((add[1:] + add[:-1]) / 2 / motion.fps, axis=0)
    return motion.changed(pelvis=pelvis)


def _feet_agree(support: Support, part: slice) -> bool:
    """Whether both feet glide alike where each of them carries; one foot alone does."""
    slip, left, stands = support.slip[part], support.left[part], support.stands[part]
    feet = [slip[stands & (left > 0.8)], slip[stands & (left < 0.2)]]
    if min(map(len, feet)) < _FEW:
        return True
    glides = [np.median(foot, axis=0) for foot in feet]
    return bool(np.linalg.norm(glides[0] - glides[1]) < _APART * max(np.linalg.norm(glide) for glide in glides))


def _proportion(speed: np.ndarray, glide: np.ndarray) -> tuple[float, float]:
    """By what share of its speed (N, 2) a path is too slow if soles glide so (N, 2), and how much of the glide that explains."""
    lacks = -float((speed * glide).sum() / max((speed**2).sum(), 1e-9))
    rest = glide + lacks * speed
    return lacks, 1 - float((rest**2).sum() / max((glide**2).sum(), 1e-9))


def grounded(motion: Motion, support: Support, marked: np.ndarray) -> Motion:
    """The path on marked frames lowered or raised, so that the lowest sole is on the floor.

    Args:
        marked: (T,) bool.
    """
    if not marked.any() or not motion.has_path:
        return motion
    height = rolling_median(support.height, odd(_FLOAT_S, motion.fps))
    # what is above where the person stands for most of the time around is a jump, and stays
    width = odd(_JUMP_S, motion.fps)
    stood = maximum_filter1d(percentile_filter(height, _STOOD, width, mode="nearest"), width)
    height = np.minimum(height, stood)
    # from where the person leaves the floor to where they are back, or marks that begin high would leave a step
    whole = marked.copy()
    most = round(_WAY_S * motion.fps)
    for begin, end in runs(np.abs(height) > _BACK_M):
        inside = np.flatnonzero(marked[begin:end])
        if inside.size:
            whole[begin + max(0, int(inside[0]) - most) : begin + min(end - begin, int(inside[-1]) + 1 + most)] = True
    width = odd(_EVEN_S, motion.fps)
    above = np.where(whole, height, 0)
    # even, but for a body that is lifted from one frame to the next
    sharp = maximum_filter1d(np.abs(np.diff(above, prepend=above[:1])), width + 2) > _SHARP_M
    pelvis = motion.pelvis.copy()
    pelvis[:, 2] -= np.where(sharp, above, rolling_mean(above, width))
    return motion.changed(pelvis=pelvis)
