"""Pictures. The one module that imports matplotlib; it draws off screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS, PARTS, index_of

matplotlib.use("Agg")

_COLOURS = {"left": "tab:blue", "right": "tab:orange"}
_MIDDLE = "0.25"
_HAND_ROOTS = {"left_hand": "left_wrist", "right_hand": "right_wrist"}
_VERSIONS = {"truth": "0.6", "before": "tab:red", "after": "tab:blue"}
_SHOWN_FRAMES = 4
_NAMED_CURVES = 12
_STRIP_STEP_M, _STRIP_TURN_DEG = 0.9, 40.0
_BODY_BONES = [(parent, joint) for joint, parent in enumerate(PARENTS[: 1 + len(PARTS["body"])]) if parent >= 0]

PAPER_WIDTH = 6.9
"""Inches: the text of a page in two columns."""
PAPER_DPI = 200
_FONT_PT = 8


def paper_figure(height: float, width: float = PAPER_WIDTH) -> Figure:
    """An empty figure in inches, at the size that it is to be printed at; text that `set_paper_text` has seen is of 8 points."""
    return Figure(figsize=(width, height), layout="constrained")


def set_paper_text(figure: Figure) -> Figure:
    """The figure with all its text at 8 points."""
    for text in figure.findobj(Text):
        text.set_fontsize(_FONT_PT)
    return figure


def draw_poses(pose: Tensor, titles: Sequence[str] | None = None, columns: int = 6, part: str = "body") -> Figure:
    """Stick figures of poses on the built-in skeleton, seen from the front and a little from the side; left and right are told above.

    Args:
        pose: (N, 55, 3) rotation vectors; the root's is drawn too.
        titles: one for each pose.
        columns: figures in a row.
        part: `body` for whole people, `left_hand` or `right_hand` for one hand alone.
    """
    joints, _ = forward_kinematics(pose.detach().float().cpu(), rest_joints().float())
    if part in _HAND_ROOTS:
        wrist = index_of(_HAND_ROOTS[part])
        keep = [wrist, *PARTS[part]]
        joints = joints - joints[:, wrist : wrist + 1]
        bones = [(PARENTS[j], j) for j in PARTS[part]]
    else:
        keep = list(range(len(PARENTS)))
        bones = [(PARENTS[j], j) for j in keep if PARENTS[j] >= 0]
    points = _turn(joints.numpy())
    low, high = points[:, keep].min((0, 1)) - 0.02, points[:, keep].max((0, 1)) + 0.02
    rows = -(-len(points) // columns)
    figure = Figure(figsize=(2 * columns, 2.4 * rows), layout="constrained")
    for at, person in enumerate(points):
        axes = figure.add_subplot(rows, columns, at + 1)
        _draw_bones(axes, person, bones)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axes.axis("off")
        if titles is not None:
            axes.set_title(titles[at], fontsize=8)
    if part not in _HAND_ROOTS:
        _name_sides(figure)
    return figure


def draw_bars(groups: Mapping[str, Tensor], labels: Sequence[str], ylabel: str) -> Figure:
    """Bars for each label, side by side for each group: {group: (number of labels,)}."""
    figure = Figure(figsize=(max(6.0, 0.28 * len(labels) * max(1, len(groups)) ** 0.5), 3.6), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(groups)
    for at, (name, values) in enumerate(groups.items()):
        axes.bar(np.arange(len(labels)) + (at - (len(groups) - 1) / 2) * width, values.detach().cpu().numpy(), width, label=name)
    axes.set_xticks(np.arange(len(labels)), labels, rotation=90, fontsize=7)
    axes.set_ylabel(ylabel)
    axes.margins(x=0.01)
    if len(groups) > 1:
        axes.legend(fontsize=7)
    return figure


def draw_histograms(groups: Mapping[str, Tensor], xlabel: str) -> Figure:
    """Outlined histograms over a common range: {group: (N,)}."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    edges = np.histogram_bin_edges(torch.cat([values.flatten() for values in groups.values()]).cpu().numpy(), 60).tolist()
    for name, values in groups.items():
        axes.hist(values.cpu().numpy(), edges, histtype="step", density=True, label=name)
    axes.set(xlabel=xlabel, ylabel="density")
    axes.legend(fontsize=7)
    return figure


def draw_curves(x: Tensor, curves: Mapping[str, Tensor], xlabel: str, ylabel: str, mark: float) -> Figure:
    """Curves {name: (N,)} over x (N,), each with a dot where it is highest, and a line at `mark`."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(mark, color="0.8")
    for name, values in curves.items():
        (line,) = axes.plot(x.cpu().numpy(), values.cpu().numpy(), linewidth=1, label=name if len(curves) <= _NAMED_CURVES else None)
        top = int(values.argmax())
        axes.plot(float(x[top]), float(values[top]), "o", color=line.get_color(), markersize=4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if 0 < len(curves) <= _NAMED_CURVES:
        axes.legend(fontsize=_FONT_PT)
    return figure


def draw_motions(joints: Tensor, num_shown: int = 12) -> Figure:
    """A strip for each motion: skeletons at equal intervals from left to right over the floor, seen from the front of the first; what is
    left and right of people is said above.

    Args:
        joints: (N, T, 22, 3) metres, z up, floor at z = 0.
        num_shown: skeletons in a strip.
    """
    points = joints.detach().cpu().numpy()
    points = points[:, np.linspace(0, points.shape[1] - 1, num_shown).round().astype(int)]
    figure = Figure(figsize=(1.1 * num_shown, 2.2 * len(points)), layout="constrained")
    for row, motion in enumerate(points):
        axes = figure.add_subplot(len(points), 1, row + 1)
        hips = motion[0, PARENTS.index(0)] - motion[0, PARENTS.index(0) + 1]  # from the right hip to the left
        sideways = np.array([hips[0], hips[1], 0]) / max(np.hypot(*hips[:2]), 1e-6)
        angle = np.deg2rad(_STRIP_TURN_DEG)
        right = sideways * np.cos(angle) + np.cross([0, 0, 1], sideways) * np.sin(angle)
        axes.axhline(0, color="0.85")
        for at, person in enumerate(motion):
            across = (person - person[:1]) @ right + at * _STRIP_STEP_M
            _draw_bones(axes, np.stack([across, person[:, 2]], 1), _BODY_BONES)
        axes.set(aspect="equal")
        axes.axis("off")
    _name_sides(figure)
    return figure


def draw_scene(people: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]], up: np.ndarray) -> Figure:
    """People before and after a refinement beside the truth: pelvises from above, and some frames as the first camera sees them.

    Args:
        people: for each, {truth, before, after: frames (n,) and joints (n, 22 or more, 3) in metres, in the axes of an OpenCV camera}.
        up: (3,) unit normal of the floor.
    """
    right = np.array([1.0, 0, 0]) - up[0] * up
    right /= np.linalg.norm(right)
    plan, view = np.stack([right, np.cross(up, right)], 1), np.stack([right, up], 1)
    rows = len(people)
    figure = Figure(figsize=(13, max(2.6 * rows, 4.5)), layout="constrained")
    grid = figure.add_gridspec(rows, 2 + _SHOWN_FRAMES, width_ratios=[1.5, 1.5] + [1] * _SHOWN_FRAMES)
    above = figure.add_subplot(grid[:, :2])
    for at, versions in enumerate(people):
        for name, (frames, joints) in versions.items():
            path = np.full((frames[-1] + 1, 2), np.nan)  # lines end where a person is not seen
            path[frames] = joints[:, 0] @ plan
            width = 4 if name == "truth" else 1.3
            above.plot(*path.T, color=_VERSIONS[name], linewidth=width, label=None if at else name, solid_capstyle="round")
        start = versions["truth"][1][0, 0] @ plan
        above.annotate(f"person {at + 1}", start, textcoords="offset points", xytext=(4, 6), fontsize=9)
        panels = [figure.add_subplot(grid[at, 2 + i]) for i in range(_SHOWN_FRAMES)]
        panels[0].set_ylabel(f"person {at + 1}", fontsize=9)
        _draw_frames(panels, versions, view)
    above.set(xlabel="to the right [m]", ylabel="away from the first camera [m]", aspect="equal", title="pelvis, from above")
    above.margins(0.1)
    above.grid(color="0.9")
    above.legend(fontsize=9)
    return figure


def _draw_bones(axes: Axes, points: np.ndarray, bones: Sequence[tuple[int, int]], colour: str | None = None, width: float = 1.5) -> None:
    """Bones between joints (J, 2), each a parent and its child; of one colour, or of those of the body's sides. All at once: a line of its
    own for each bone takes ten times as long."""
    colours = [colour or _COLOURS.get(JOINT_NAMES[joint].split("_")[0], _MIDDLE) for _, joint in bones]
    axes.add_collection(LineCollection(list(points[np.array(bones)]), colors=colours, linewidths=width, capstyle="round"))
    axes.autoscale_view()


def _name_sides(figure: Figure) -> None:
    """Says above all panels which colour is whose side."""
    lines = [Line2D([], [], color=colour, linewidth=1.5) for colour in _COLOURS.values()]
    figure.legend(lines, [f"their {side}" for side in _COLOURS], loc="outside upper center", ncols=2, frameon=False, fontsize=_FONT_PT)


def _draw_frames(axes: Sequence[Axes], versions: Mapping[str, tuple[np.ndarray, np.ndarray]], view: np.ndarray) -> None:
    """One person's skeletons at a few frames which all versions have, where they stand in the image plane `view` (3, 2)."""
    common = versions["truth"][0]
    for frames, _ in versions.values():
        common = np.intersect1d(common, frames)
    for panel, frame in zip(axes, common[np.linspace(0, len(common) - 1, len(axes)).round().astype(int)], strict=True):
        at = {name: joints[np.searchsorted(frames, frame)] @ view for name, (frames, joints) in versions.items()}
        for name, points in at.items():
            _draw_bones(panel, points, _BODY_BONES, _VERSIONS[name], 4 if name == "truth" else 1.5)
        panel.set(aspect="equal", adjustable="datalim", xticks=[], yticks=[])
        panel.set_title(f"frame {frame}", fontsize=9)


def _turn(joints: np.ndarray, degrees: float = 25.0) -> np.ndarray:
    """(..., 3) in smplx axes -> (..., 2) as a viewer in front of the body and to its side sees it."""
    angle = np.deg2rad(degrees)
    return np.stack([joints[..., 0] * np.cos(angle) + joints[..., 2] * np.sin(angle), joints[..., 1]], -1)
