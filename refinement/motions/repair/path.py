"""A path put right by what carries the person: soles that stand do not glide, and they stand on the floor."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, percentile_filter

from pose_priors.body.interpolation import runs
from pose_priors.refinement.motions.faults.lifts import lifts
from pose_priors.refinement.motions.faults.rides import rides
from pose_priors.refinement.motions.faults.shortness import lacking
from pose_priors.refinement.motions.faults.support import CARRIED_M, Support, find_support
from pose_priors.refinement.motions.motion import Motion
from pose_priors.refinement.motions.repair.mended import Left, Mended
from pose_priors.refinement.motions.signals import odd, rolling_mean, rolling_median

_GLIDE_S = 0.4
_TRIES = 3
# Metres a second of the rest of a glide when one way is taken out: above the first on more than a quarter of the frames, a body was
# measured badly, or the person goes elsewhere; up to the second feet roll.
_GLIDES, _MOST, _ROLLS = 0.18, 0.75, 0.1
_STANDS = 0.5  # of the frames of a stretch: where less, its glides are guesses
_CARRIED_ELSEWHERE = 0.1  # of the frames of a stretch
_HANDS_S = 2.0  # shorter, what hands tell is told and left
_GOES_ON, _GOES_ON_S = 0.3, 0.4  # of its speed, and seconds, for which a glide is followed beyond the stretch that is marked
_FEW = 5  # frames
_APART = 0.5  # of what the faster foot glides by, by which the feet may differ
_TIMES, _ENOUGH = 5, 0.01  # a path is asked anew, until it lacks less
_FLOAT_S = 0.12
_BACK_M, _WAY_S = 0.01, 0.4
_EVEN_S, _SHARP_M = 0.08, 0.04
_JUMP_S, _STOOD = 0.8, 30
_STANDS_SHORT = 0.3
_TOO_HIGH = f"{CARRIED_M:g} m off the floor or more: somebody or something may hold the person there, and files err by less"
_TOO_LOW = f"{CARRIED_M:g} m below the floor or more: the ground may be lower there, and files err by less"


def unslid(motion: Motion, support: Support, marked: np.ndarray) -> Mended:
    """The path on marked frames moved against what carries, so that it stands; later frames keep their steps.

    In flight the speed between the frames before and behind is taken, and a stretch goes on for as long as what carries glides that way.
    A stretch whose soles glide now here, now there stays as it is: no path stops them, as is seen when one way is taken out. So does a
    short one on which hands carry, for some of it: hands let go and soles swing. And so does one on which something may carry the person
    along (`rides`).

    Args:
        marked: (T,) bool.
    """
    if not marked.any() or not motion.has_path:
        return Mended(motion)
    left = Left(len(motion))
    glide = rolling_median(support.slip, odd(_GLIDE_S, motion.fps))
    add = np.zeros((len(motion), 2))
    for begin, end in runs(marked):
        part = slice(begin, end)
        way = np.median(glide[part], axis=0)
        lasts = (end - begin) / motion.fps
        if support.elsewhere[part].mean() > _CARRIED_ELSEWHERE and lasts < _HANDS_S:
            left.add(begin, end, "for a short time, and hands carry for some of it: they let go, and soles swing")
            continue
        if support.stands[part].mean() < _STANDS:
            left.add(begin, end, "soles stand for less than half of it, so that how they glide is a guess")
            continue
        if not _feet_agree(support, part):
            left.add(begin, end, "the feet glide differently, and no path stops both")
            continue
        way, rest = _one_way(motion, support.doubted, part, way)
        if np.quantile(np.linalg.norm(rest[part], axis=-1), _MOST) > _GLIDES:
            left.add(begin, end, "what carries glides now here, now there, and no path stops that")
            continue
        speed = float(np.linalg.norm(way))
        along = glide @ way / speed > _GOES_ON * speed
        most = round(_GOES_ON_S * motion.fps)
        before = begin - np.argmin(np.r_[along[max(begin - most, 0) : begin][::-1], False])
        behind = end + np.argmin(np.r_[along[end : end + most], False])
        if why := rides(motion, support, int(before), int(behind), way):
            left.add(begin, end, why)
            continue
        # as one way as it can be: feet that roll glide by as little, and a path that stops them errs
        by = np.clip(np.linalg.norm(rest[part], axis=-1, keepdims=True) / _ROLLS - 1, 0, 1)
        add[before:behind] = -glide[before:behind]
        add[part] = -way - by * rest[part]
    return Mended(_moved(motion, add), left)


def _moved(motion: Motion, velocity: np.ndarray) -> Motion:
    """The motion with a path that goes by other metres a second (T, 2) as well."""
    pelvis = motion.pelvis.copy()
    pelvis[1:, :2] += np.cumsum((velocity[1:] + velocity[:-1]) / 2 / motion.fps, axis=0)
    return motion.changed(pelvis=pelvis)


def _one_way(motion: Motion, doubted: np.ndarray, part: slice, way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The metres a second (2,) by which what carries glides on a stretch, and (T, 2) how it glides when these are taken out.

    Which sole carries is told less well while both glide, so that it is asked again, as of paths that are too short.

    Args:
        way: a first guess.
    """
    inside = np.zeros((len(motion), 1))
    inside[part] = 1
    for _ in range(_TRIES):
        rest = rolling_median(find_support(_moved(motion, -way * inside), doubted).slip, odd(_GLIDE_S, motion.fps))
        by = np.median(rest[part], axis=0)
        way, rest = way + by, rest - by * inside
    return way, rest


def lengthened(motion: Motion, support: Support, marked: np.ndarray) -> Mended:
    """The whole path along the floor as long as the strides say, if some of it is marked as too short.

    Which sole carries is told less well on a path that is too short, so that what it lacks is asked again of the longer one.

    Args:
        marked: (T,) bool.
    """
    if not marked.any() or not motion.has_path:
        return Mended(motion)
    start = motion.pelvis[:1] * [1, 1, 0]
    for _ in range(_TIMES):
        _, lacks = lacking(motion, support)
        if not abs(lacks) > _ENOUGH:
            break
        motion = motion.changed(pelvis=start + (motion.pelvis - start) * [1 + lacks, 1 + lacks, 1])
        support = find_support(motion, support.doubted)
    return Mended(motion)


def _feet_agree(support: Support, part: slice) -> bool:
    """Whether both feet glide alike where each of them carries; one foot alone does."""
    slip, left, stands = support.slip[part], support.left[part], support.stands[part]
    feet = [slip[stands & (left > 0.8)], slip[stands & (left < 0.2)]]
    if min(map(len, feet)) < _FEW:
        return True
    glides = [np.median(foot, axis=0) for foot in feet]
    return bool(np.linalg.norm(glides[0] - glides[1]) < _APART * max(np.linalg.norm(glide) for glide in glides))


def lowered(motion: Motion, support: Support, marked: np.ndarray) -> Mended:
    """The path without those of its lifts that have a marked frame, and are not too high for a fault.

    Args:
        marked: (T,) bool.
    """
    lift, left = lifts(motion, support), Left(len(motion))
    pelvis = motion.pelvis.copy()
    for begin, end in runs(lift != 0):
        inside = begin + np.flatnonzero(marked[begin:end])
        if inside.size and lift[begin:end].max() < CARRIED_M:
            pelvis[begin:end, 2] -= lift[begin:end]
        elif inside.size:
            left.add(inside[0], inside[-1] + 1, _TOO_HIGH)
    return Mended(motion.changed(pelvis=pelvis), left)


def grounded(motion: Motion, support: Support, marked: np.ndarray) -> Mended:
    """The path on marked frames lowered or raised, so that the lowest sole is on the floor; not where it is too far for a fault.

    Args:
        marked: (T,) bool.
    """
    if not marked.any() or not motion.has_path:
        return Mended(motion)
    left = Left(len(motion))
    height = rolling_median(support.height, odd(_FLOAT_S, motion.fps))
    # what is above where the person stands for most of the time around is a jump, and stays
    width = odd(_JUMP_S, motion.fps)
    stood = maximum_filter1d(percentile_filter(height, _STOOD, width, mode="nearest"), width)
    for begin, end in runs(np.abs(height) > _BACK_M):
        # who is off the floor for a shorter time stands there where anything stands
        stands = support.stands[begin:end]
        if end - begin < width and stands.mean() > _STANDS_SHORT:
            stood[begin:end] = np.maximum(stood[begin:end], np.median(height[begin:end][stands]))
    height = np.minimum(height, stood)
    # from where the person leaves the floor to where they are back, or marks that begin high would leave a step
    whole = marked.copy()
    most = round(_WAY_S * motion.fps)
    for begin, end in [*runs(height > _BACK_M), *runs(height < -_BACK_M)]:
        inside = np.flatnonzero(marked[begin:end])
        if inside.size and np.abs(height[begin:end][inside]).max() > CARRIED_M:
            whole[begin:end] = False
            left.add(begin + inside[0], begin + inside[-1] + 1, _TOO_HIGH if height[begin] > 0 else _TOO_LOW)
        elif inside.size:
            whole[begin + max(0, int(inside[0]) - most) : begin + min(end - begin, int(inside[-1]) + 1 + most)] = True
    width = odd(_EVEN_S, motion.fps)
    above = np.where(whole, height, 0)
    # even, but for a body that is lifted from one frame to the next
    sharp = maximum_filter1d(np.abs(np.diff(above, prepend=above[:1])), width + 2) > _SHARP_M
    pelvis = motion.pelvis.copy()
    pelvis[:, 2] -= np.where(sharp, above, rolling_mean(above, width))
    return Mended(motion.changed(pelvis=pelvis), left)
