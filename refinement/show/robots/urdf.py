"""A robot's description in URDF: its links, what they look like, and where they are for given joint positions.

Read are links with their visuals (box, cylinder, sphere, mesh) and joints (revolute, continuous, prismatic, fixed, floating; `mimic`).
Axes are those of the file, metres and radians.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError, listed, reason_of
from pose_priors.datamodules.containers.regular import read_regular
from pose_priors.refinement.show.robots.solids import Solid, box, cylinder, sphere

MESHES = (".glb", ".gltf", ".obj", ".stl")
"""What of a visual's files can be shown."""
_MOST_BYTES = 64 << 20
_TURNS, _SLIDES, _HOLDS = ("revolute", "continuous"), ("prismatic",), ("fixed", "floating", "planar")
_PLACEHOLDER_M = 0.02


@dataclass(frozen=True)
class Visual:
    """A part of what a link looks like.

    Attributes:
        T_link_visual: (4, 4) from its own axes to those of the link.
        solid: its triangles; None where it is a file.
        path: its file; scale: (3,) of what is in that.
    """

    T_link_visual: np.ndarray
    solid: Solid | None
    path: Path | None
    scale: np.ndarray


@dataclass(frozen=True)
class _Joint:
    name: str
    kind: str
    parent: str
    child: str
    T_parent_joint: np.ndarray
    axis: np.ndarray
    mimics: tuple[str, float, float] | None


@dataclass(frozen=True)
class Robot:
    """A robot.

    Attributes:
        path: of its URDF.
        root: the name of the link that has no parent.
        visuals: by link, every link once.
        movable: names of the joints that take a position, depth first in the order of the file, as MuJoCo orders them.
        missing: files of visuals that are not there, or of a kind that cannot be shown.
    """

    path: Path
    root: str
    visuals: dict[str, tuple[Visual, ...]]
    movable: tuple[str, ...]
    missing: tuple[str, ...]
    joints: tuple[_Joint, ...]

    def links(self, positions: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Where the links are, (T, 4, 4) from each to the root, for positions (T, D) of the joints of these names, by default `movable`.

        Raises:
            UserError: if there are not as many positions as joints, or a joint of a name does not exist.
        """
        names = self.movable if names is None else tuple(names)
        if positions.shape[1] != len(names):
            raise UserError(f"{self.path}: has {len(names)} joints that move, and the motion has {positions.shape[1]} positions")
        if unknown := sorted(set(names) - set(self.movable)):
            raise UserError(f"{self.path}: has no joint {listed(unknown)}; it has {listed(self.movable)}")
        given = {name: positions[:, i] for i, name in enumerate(names)}
        found = {self.root: np.tile(np.eye(4), (len(positions), 1, 1))}
        for joint in self.joints:  # parents first
            found[joint.child] = found[joint.parent] @ joint.T_parent_joint @ _moved(joint, _position(joint, given, len(positions)))
        return found


def _position(joint: _Joint, given: Mapping[str, np.ndarray], num_frames: int) -> np.ndarray:
    if joint.mimics is not None:
        name, times, plus = joint.mimics
        return times * given.get(name, np.zeros(num_frames)) + plus
    return given.get(joint.name, np.zeros(num_frames))


def _moved(joint: _Joint, position: np.ndarray) -> np.ndarray:
    out = np.tile(np.eye(4), (len(position), 1, 1))
    if joint.kind in _TURNS:
        out[:, :3, :3] = Rotation.from_rotvec(position[:, None] * joint.axis).as_matrix()
    elif joint.kind in _SLIDES:
        out[:, :3, 3] = position[:, None] * joint.axis
    return out


def read_urdf(path: Path) -> Robot:
    """A robot in a URDF file. Meshes that are not there leave their link a small ball, and are named in `missing`.

    Raises:
        UserError: if it is no such file, or its joints make no tree.
    """
    data = read_regular(path, _MOST_BYTES)
    try:
        # one encoding, for what is looked at here and what the parser reads, whatever the file declares
        text = data.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ValueError("declares a document type or entities, which no URDF needs")
        tree = ElementTree.fromstring(text)
        if tree.tag != "robot":
            raise ValueError(f"its root is <{tree.tag}>, not <robot>")
        joints = _followed([_joint(node) for node in tree.findall("joint")])
        missing: list[str] = []
        _different([_name(node) for node in tree.findall("link")], "links")
        visuals = {_name(node): tuple(_visual(part, path, missing) for part in node.findall("visual")) for node in tree.findall("link")}
    except (ElementTree.ParseError, ValueError, TypeError, LookupError) as error:
        raise UserError(f"{path}: not a robot in URDF ({reason_of(error)})") from error
    root, ordered = _ordered(path, joints, list(visuals))
    ball = Visual(np.eye(4), sphere(_PLACEHOLDER_M), None, np.ones(3))
    shown = {link: tuple(part for part in parts if part.solid is not None or part.path is not None) for link, parts in visuals.items()}
    seen = {link: kept if kept or not visuals[link] else (ball,) for link, kept in shown.items()}
    if not any(seen.values()):
        seen = dict.fromkeys(seen, (ball,))
    movable = tuple(joint.name for joint in ordered if joint.kind not in _HOLDS and joint.mimics is None)
    return Robot(path, root, seen, movable, tuple(missing), tuple(ordered))


def _ordered(path: Path, joints: Sequence[_Joint], links: Sequence[str]) -> tuple[str, list[_Joint]]:
    """The root, and the joints depth first."""
    children = [joint.child for joint in joints]
    roots = [link for link in links if link not in children]
    if len(roots) != 1 or len(set(children)) != len(children) or not {joint.parent for joint in joints} | set(children) <= set(links):
        raise UserError(f"{path}: its joints make no tree of its links ({len(roots)} links have no parent)")
    of: dict[str, list[_Joint]] = {}
    for joint in joints:
        of.setdefault(joint.parent, []).append(joint)
    found, waiting = [], [*reversed(of.get(roots[0], []))]
    while waiting:
        found.append(waiting.pop())
        waiting += reversed(of.get(found[-1].child, []))
    if len(found) != len(joints):
        raise UserError(f"{path}: some of its joints hang on no link that hangs on {roots[0]}")
    return roots[0], found


def _different(names: Sequence[str], what: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"several {what} are called {listed(twice)}")


def _followed(joints: Sequence[_Joint]) -> list[_Joint]:
    """The joints, with those that mimic one that mimics another told the last of them. Raises `ValueError` if there is none."""
    _different([joint.name for joint in joints], "joints")
    of = {joint.name: joint for joint in joints}
    found = []
    for joint in joints:
        mimics, passed = joint.mimics, {joint.name}
        while mimics is not None and (led := of.get(mimics[0])) is not None and led.mimics is not None and led.name not in passed:
            passed.add(led.name)
            name, times, plus = led.mimics
            mimics = (name, mimics[1] * times, mimics[1] * plus + mimics[2])
        if mimics is not None and (mimics[0] not in of or of[mimics[0]].mimics is not None):
            raise ValueError(f"the joint {joint.name} mimics {mimics[0]}, which leads nowhere")
        found.append(replace(joint, mimics=mimics))
    return found


def _name(node: ElementTree.Element) -> str:
    if not (name := node.get("name")):
        raise ValueError(f"a <{node.tag}> without a name")
    return name


def _joint(node: ElementTree.Element) -> _Joint:
    ends, axis, mimic = [node.find(end) for end in ("parent", "child")], node.find("axis"), node.find("mimic")
    parent, child = (None if end is None else end.get("link") for end in ends)
    kind = node.get("type", "")
    if parent is None or child is None or kind not in (*_TURNS, *_SLIDES, *_HOLDS):
        raise ValueError(f"the joint {_name(node)} of type {kind or 'none'} between {parent} and {child}")
    along = _numbers("1 0 0" if axis is None else axis.get("xyz", "1 0 0"), 3)
    size = float(np.linalg.norm(along))
    if not size and kind not in _HOLDS:
        raise ValueError(f"the joint {_name(node)} moves along an axis of length 0")
    mimics = None if mimic is None else (mimic.get("joint", ""), _number(mimic, "multiplier", "1"), _number(mimic, "offset", "0"))
    return _Joint(_name(node), kind, parent, child, _origin(node), along / size if size else along, mimics)


def _origin(node: ElementTree.Element) -> np.ndarray:
    origin, out = node.find("origin"), np.eye(4)
    if origin is not None:
        out[:3, 3] = _numbers(origin.get("xyz", "0 0 0"), 3)
        out[:3, :3] = Rotation.from_euler("xyz", _numbers(origin.get("rpy", "0 0 0"), 3)).as_matrix()
    return out


def _visual(node: ElementTree.Element, urdf: Path, missing: list[str]) -> Visual:
    at, geometry, one = _origin(node), node.find("geometry"), np.ones(3)
    shape = None if geometry is None or not len(geometry) else geometry[0]
    if shape is None:
        return Visual(at, None, None, one)
    if shape.tag == "box":
        return Visual(at, box(_numbers(shape.get("size", ""), 3)), None, one)
    if shape.tag == "sphere":
        return Visual(at, sphere(_size(shape, "radius")), None, one)
    if shape.tag in ("cylinder", "capsule"):
        return Visual(at, cylinder(_size(shape, "radius"), _size(shape, "length")), None, one)
    if shape.tag != "mesh":
        raise ValueError(f"a visual of the shape <{shape.tag}>")
    named = shape.get("filename", "")
    path = _mesh(named, urdf.parent)
    if path is None:
        missing.append(named)
    return Visual(at, None, path, _numbers(shape.get("scale", "1 1 1"), 3))


def _mesh(named: str, folder: Path) -> Path | None:
    """The file of a mesh: below the folder of the URDF or one around it, as packages lie; None where there is none that can be shown."""
    for scheme in ("package://", "file://", "model://"):
        named = named.removeprefix(scheme)
    parts = Path(named).parts
    if Path(named).suffix.lower() not in MESHES:
        return None
    places = [Path(named)] if Path(named).is_absolute() else []
    places += [around / Path(*parts[skipped:]) for around in (folder, *list(folder.parents)[:2]) for skipped in range(min(2, len(parts)))]
    return next((place for place in places if os.path.isfile(place)), None)  # also of names that no file can have


def _number(node: ElementTree.Element, name: str, default: str = "") -> float:
    return float(_numbers(node.get(name, default), 1)[0])


def _size(node: ElementTree.Element, name: str) -> float:
    found = _number(node, name)
    if found < 0:
        raise ValueError(f"a <{node.tag}> of {name} {found:g}")
    return found


def _numbers(text: str, count: int) -> np.ndarray:
    found = np.array([float(word) for word in text.split()])
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError(f"{text!r} where {count} numbers are expected, all finite")
    return found
