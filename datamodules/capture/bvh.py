"""BVH: the Biovision hierarchy, as its dialects write it; every joint may have positions of its own, which then replace its offset."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.datamodules.capture.recorded import END, Recorded, euler, posed
from pose_priors.datamodules.containers.regular import read_regular

_MOST_JOINTS, _MOST_NUMBERS = 1000, 200_000_000
_MOTION = re.compile(r"(?<!\S)MOTION(?!\S)")  # which a joint's name may have in it
_CHANNEL = re.compile(r"([XYZ])(position|rotation)", re.IGNORECASE)


@dataclass
class _Tree:
    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[list[str]] = field(default_factory=list)


def read_bvh(path: Path) -> Recorded:
    """The skeleton of a BVH file over time.

    Raises:
        UserError: if the file is not as BVH is written; the message says what was found where.
    """
    try:
        text = read_regular(path).decode("utf-8-sig", "replace")
    except UnicodeError as error:
        raise UserError(f"{path}: no BVH: not a text") from error
    head, *motion = _MOTION.split(text, 1)
    if not text.lstrip().startswith("HIERARCHY") or not motion:
        raise UserError(f"{path}: no BVH: it has no HIERARCHY and MOTION")
    tree = _hierarchy(path, head.split())
    frames, seconds, rows = _motion(path, motion[0], sum(len(channels) for channels in tree.channels))
    offsets = np.tile(np.array(tree.offsets), (frames, 1, 1))
    turns = np.tile(np.eye(3), (frames, len(tree.names), 1, 1))
    at = 0
    for joint, channels in enumerate(tree.channels):
        values = dict(zip(channels, rows[:, at : at + len(channels)].T, strict=True))
        at += len(channels)
        for axis in range(3):
            if (place := values.get("xyz"[axis] + "position")) is not None:
                offsets[:, joint, axis] = place
        order = "".join(name[0] for name in channels if name.endswith("rotation"))
        if order:
            turns[:, joint] = euler(order, np.stack([values[axis + "rotation"] for axis in order], -1))
    places, whole = posed(tuple(tree.parents), offsets, turns)
    return Recorded(str(path), tuple(tree.names), tuple(tree.parents), places, whole, 1 / seconds)


def _hierarchy(path: Path, words: list[str]) -> _Tree:
    tree, open_joints, at = _Tree(), [-1], 1
    pending = -1

    def need(count: int) -> list[str]:
        if at + count >= len(words):
            raise UserError(f"{path}: no BVH: the hierarchy ends after '{' '.join(words[at : at + 3])}'")
        return words[at + 1 : at + 1 + count]

    while at < len(words):
        word = words[at].upper()
        if word in ("ROOT", "JOINT", "END"):
            name = need(1)[0]
            if word == "END":
                name = tree.names[open_joints[-1]] + END if open_joints[-1] >= 0 else name
            if (word == "ROOT") != (not tree.names) or name in tree.names or len(tree.names) >= _MOST_JOINTS:
                raise UserError(f"{path}: no BVH: '{words[at]} {name}' after {len(tree.names)} joints; one root, and names once each")
            tree.names.append(name)
            tree.parents.append(open_joints[-1])
            tree.offsets.append([0.0, 0.0, 0.0])
            tree.channels.append([])
            pending = len(tree.names) - 1
            at += 2
        elif word == "OFFSET":
            tree.offsets[open_joints[-1]] = _numbers(path, need(3))
            at += 4
        elif word == "CHANNELS":
            count = int(_numbers(path, need(1))[0])
            names = need(1 + max(count, 0))[1:]
            if not 0 <= count <= 6 or not all(_CHANNEL.fullmatch(name) for name in names) or len({n.lower() for n in names}) != count:
                raise UserError(f"{path}: no BVH: the channels {' '.join(names)[:60]}; Xposition to Zrotation, once each, are expected")
            tree.channels[open_joints[-1]] = [name.lower() for name in names]
            at += 2 + count
        elif word == "{":
            open_joints.append(pending)
            at += 1
        elif word == "}":
            if len(open_joints) < 2:
                raise UserError(f"{path}: no BVH: a }} more than there are {{")
            open_joints.pop()
            at += 1
        else:
            raise UserError(f"{path}: no BVH: '{words[at][:40]}' in the hierarchy")
    if len(open_joints) != 1 or not tree.names:
        raise UserError(f"{path}: no BVH: its hierarchy is not complete")
    return tree


def _motion(path: Path, text: str, width: int) -> tuple[int, float, np.ndarray]:
    match = re.match(r"\s*Frames:\s*(\d+)\s+Frame\s+Time:\s*(\S+)\s*", text, re.IGNORECASE)
    if match is None:
        raise UserError(f"{path}: no BVH: 'Frames:' and 'Frame Time:' are expected after MOTION")
    frames, seconds = int(match[1]), _numbers(path, [match[2]])[0]
    if not 1e-4 < seconds < 10 or frames * width > _MOST_NUMBERS or not frames:
        raise UserError(f"{path}: {frames} frames of {seconds:g} seconds each; a motion has some, of 0.0001 to 10 seconds")
    values = np.array(_numbers(path, text[match.end() :].split()))
    if values.size != frames * width:
        raise UserError(f"{path}: {values.size} numbers for {frames} frames of {width} channels; is the file complete?")
    return frames, seconds, values.reshape(frames, width)


def _numbers(path: Path, words: list[str]) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise UserError(f"{path}: no BVH: {error}") from error
    if not np.isfinite(numbers).all():
        raise UserError(f"{path}: holds numbers that are not finite")
    return numbers
