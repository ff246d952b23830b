"""Acclaim: a skeleton in `.asf`, its motion in `.amc` (as CMU's motion capture has them), angles about axes of each bone's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError, reason_of
from pose_priors.datamodules.capture.recorded import Recorded, posed
from pose_priors.datamodules.containers.regular import read_regular

_INCHES_TO_M = 0.0254
_ORDER, _AXIS = "TX TY TZ RX RY RZ", "XYZ"
USUAL_FPS = 120.0
"""Frames a second of CMU's motions; the format has no place for them."""


@dataclass(frozen=True)
class _Bone:
    direction: np.ndarray
    length: float
    axis: Rotation
    freedoms: tuple[str, ...]


def read_amc(path: Path) -> Recorded:
    """The skeleton of an AMC file over time, in metres; its ASF is the subject's beside it (`02.asf` of `02_01.amc`), or the only one.

    Raises:
        UserError: if there is no such ASF, or a file is not as it should be.
    """
    skeleton = skeleton_of(path)
    bones, parents, unit = _read_asf(skeleton)
    names = ["root", *bones]
    rows = _read_amc(path, bones)
    num = len(rows)
    offsets, turns = np.zeros((num, len(names), 3)), np.tile(np.eye(3), (num, len(names), 1, 1))
    root = np.array([row["root"] for row in rows])
    offsets[:, 0] = root[:, :3]
    turns[:, 0] = Rotation.from_euler("xyz", root[:, 3:], degrees=True).as_matrix()
    for at, (name, bone) in enumerate(bones.items(), start=1):
        # a bone's joint is where it begins; its end is where its children begin
        if (carrier := bones.get(parents[name])) is not None:
            offsets[:, at] = carrier.direction * carrier.length
        if bone.freedoms:
            angles = np.zeros((num, 3))
            given = np.array([row.get(name, [0.0] * len(bone.freedoms)) for row in rows])
            for column, freedom in enumerate(bone.freedoms):
                angles[:, "xyz".index(freedom[1])] = given[:, column]
            turn = Rotation.from_euler("xyz", angles, degrees=True)
            turns[:, at] = (bone.axis * turn * bone.axis.inv()).as_matrix()
    above = [-1, *(names.index(parents[name]) for name in bones)]
    ends = [name for name in bones if name not in parents.values()]
    for name in ends:
        names.append(f"{name}_end")
        above.append(names.index(name))
        offsets = np.concatenate([offsets, np.tile(bones[name].direction * bones[name].length, (num, 1, 1))], 1)
        turns = np.concatenate([turns, np.tile(np.eye(3), (num, 1, 1, 1))], 1)
    places, whole = posed(tuple(above), offsets, turns)
    return Recorded(str(path), tuple(names), tuple(above), places / unit * _INCHES_TO_M, whole, USUAL_FPS)


def skeleton_of(path: Path) -> Path:
    """The ASF that an AMC is read with. Raises `UserError` if there is none, or several."""
    beside = sorted(path.parent.glob("*.asf"))
    own = [file for file in beside if file.stem == path.stem.partition("_")[0] or file.stem == path.stem]
    if len(own or beside) != 1:
        found = ", ".join(file.name for file in beside[:5]) or "none"
        raise UserError(f"{path}: an AMC needs the ASF of its subject beside it, {path.stem.partition('_')[0]}.asf; found {found}")
    return (own or beside)[0]


def _text(path: Path) -> str:
    return read_regular(path).decode("utf-8", "replace")


def _read_asf(path: Path) -> tuple[dict[str, _Bone], dict[str, str], float]:
    """Bones by name, the name of each bone's parent, parents first, and how many of the file's units an inch is."""
    text = re.sub(r"#.*", "", _text(path))
    head, found, rest = text.partition(":bonedata")
    length = re.search(r":units.*?length\s+([\d.eE+-]+)", head, re.DOTALL)
    radians = re.search(r":units.*?angle\s+rad", head, re.DOTALL)
    bone_text, also, tree = rest.partition(":hierarchy")
    if not found or not also or length is None or radians:
        raise UserError(f"{path}: no ASF: units with length and degrees, bonedata and a hierarchy are expected")
    _check_root(path, head.partition(":root")[2])
    try:
        given = {}
        for block in re.findall(r"\bbegin\b(.*?)\bend\b", bone_text, re.DOTALL):
            words = {line.split()[0]: line.split()[1:] for line in block.splitlines() if line.split()}
            if words["axis"][3:] not in ([], [_AXIS]):
                raise ValueError(f"axis {' '.join(words['axis'])}, of which {_AXIS} is read")
            axis = Rotation.from_euler("xyz", [float(x) for x in words["axis"][:3]], degrees=True)
            freedoms = tuple(word.lower() for word in words.get("dof", []) if word.lower() in ("rx", "ry", "rz"))
            direction = np.array([float(x) for x in words["direction"][:3]])
            given[words["name"][0]] = _Bone(direction, float(words["length"][0]), axis, freedoms)
        parents: dict[str, str] = {}
        for line in tree.splitlines():
            words_of = line.split()
            if len(words_of) > 1:
                parents |= dict.fromkeys(words_of[1:], words_of[0])
        ordered: dict[str, _Bone] = {}
        while len(ordered) < len(given):
            fresh = [name for name in given if name not in ordered and (parents[name] == "root" or parents[name] in ordered)]
            if not fresh:
                raise ValueError("bones that hang on nothing")
            ordered |= {name: given[name] for name in fresh}
        return ordered, parents, float(length[1])
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f"{path}: no ASF that can be read ({reason_of(error)})") from error


def _check_root(path: Path, root: str) -> None:
    """Raises `UserError` if the root's numbers are in another order, or turn about other axes, than CMU's, which alone are read."""
    said = {line.split()[0]: line.split()[1:] for line in root.splitlines() if line.split()}
    order, axis, turned = (
        " ".join(said.get(name, usual.split())) for name, usual in (("order", _ORDER), ("axis", _AXIS), ("orientation", "0 0 0"))
    )
    if order.upper() != _ORDER or axis.upper() != _AXIS or re.search(r"[1-9]", turned):
        raise UserError(
            f"{path}: a root of order {order}, axis {axis} and orientation {turned}; {_ORDER}, {_AXIS} and 0 0 0, as CMU's have, are read"
        )


def _read_amc(path: Path, bones: dict[str, _Bone]) -> list[dict[str, list[float]]]:
    rows: list[dict[str, list[float]]] = []
    for line in _text(path).splitlines():
        words = line.split()
        if not words or words[0].startswith(("#", ":")):
            continue
        if len(words) == 1 and words[0].isdigit():
            rows.append({})
            continue
        wanted = 6 if words[0] == "root" else len(bones[words[0]].freedoms) if words[0] in bones else -1
        try:
            values = [float(word) for word in words[1:]]
        except ValueError:
            values = []
        if not rows or len(values) != wanted or not np.isfinite(values).all():
            raise UserError(f"{path}: no AMC of this skeleton: '{line[:50]}'; {max(wanted, 0)} numbers of a bone in the ASF are expected")
        rows[-1][words[0]] = values
    if not rows or any("root" not in row for row in rows):
        raise UserError(f"{path}: no AMC: frames without a root")
    # of a bone that a frame lacks nothing is known: not that it stands as at rest
    if short := next((at for at, row in enumerate(rows) if row.keys() != rows[0].keys()), 0):
        raise UserError(f"{path}: its frame {short + 1} names {len(rows[short])} bones and its first {len(rows[0])}; is the file complete?")
    return rows
