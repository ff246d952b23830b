"""People by image, as ROMP, BEV and SAM 3D Body write them: which frame an image is, and whether somebody is on it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

_FARTHEST = 10  # frames an image, on average, of videos of which not every frame is there


def numbers_in(names: Sequence[str]) -> list[int]:
    """The last number in each of the names of images where all have one and no two the same, else their order."""
    digits = [re.findall(r"\d+", name) for name in names]
    if all(digits):
        numbers = [int(found[-1][-15:]) for found in digits]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(len(names)))


def in_order(images: Mapping[Any, Any]) -> list[tuple[int, str, Any]]:
    """Images by name, in the order of their numbers: the number, the name, and who is on it."""
    names = [str(name) for name in images]
    found = zip(numbers_in(names) if len(names) > 1 else [0], names, images.values(), strict=True)
    return sorted(found, key=lambda image: image[0])


def on_frames(images: Mapping[Any, Any]) -> list[tuple[int, str, Any]]:
    """`in_order`, where most numbers can be those of a video's frames; else, as of photographs and of times, each image on the frame behind
    the last one's."""
    found = in_order(images)
    if found and found[-1][0] - found[0][0] >= _FARTHEST * len(found):
        return [(frame, name, people) for frame, (_, name, people) in enumerate(found)]
    return found


def is_of_nobody(people: Any) -> bool:
    """Whether nobody is seen on an image of ROMP's: nothing, something empty, or poses of none."""
    if not isinstance(people, Mapping):
        return people is None or _is_empty(people)
    return all(_is_empty(value) for name, value in people.items() if name == "smpl_thetas" or "smpl_thetas" not in people)


def _is_empty(value: Any) -> bool:
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.ndim > 0 and len(value) == 0
    return isinstance(value, list | tuple | Mapping) and not value
