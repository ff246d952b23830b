"""Pictures of pose priors at the size of print, readable without colour: sides by line style, values by size, shade and number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS, PARTS, index_of
from pose_priors.figures.drawing import PAPER_WIDTH, paper_figure, set_paper_text

_SIDES: dict[str, dict[str, Any]] = {"left": {"color": "black", "linewidth": 1.8}, "right": {"color": "0.45", "linewidth": 1.0}}
_MIDDLE: dict[str, Any] = {"color": "0.25", "linewidth": 1.3}
_FACE = (*PARTS["jaw"], *PARTS["eyes"])
_VIEW_DEG = 25.0
_BINS = 36
_CUT = 0.99
_TEXT_SWITCH = 0.55
# A body in front of the reader as a diagram, in joint spacings: true places are too close in the trunk for discs that hold a number.
_CENTRE = {
    "pelvis": (0, 3.7),
    "spine1": (0, 4.7),
    "spine2": (0, 5.7),
    "spine3": (0, 6.7),
    "neck": (0, 7.8),
    "head": (0, 8.9),
    "jaw": (-1.0, 8.6),
}
_LEFT = {
    "hip": (1.0, 3.0),
    "knee": (1.15, 1.4),
    "ankle": (1.25, -0.2),
    "foot": (1.75, -1.2),
    "collar": (1.0, 7.2),
    "shoulder": (2.1, 7.0),
    "elbow": (2.7, 5.5),
    "wrist": (3.1, 4.0),
    "eye_smplhf": (0.7, 9.7),
}
_FINGERS = {"thumb": 0.0, "index": 1.0, "middle": 2.0, "ring": 3.0, "pinky": 4.0}
_HAND_AT = (4.0, 2.2)


def draw_sample_grid(rows: Mapping[str, Tensor], part: str = "body") -> Figure:
    """Stick figures, a row of each group: {name: (N, 55, 3) rotation vectors}. The left side of bodies is thick and black, the right thin
    and grey.

    Args:
        part: `body`, or `left_hand` or `right_hand` for one hand alone.
    """
    hand = part != "body"
    wrist = index_of(f"{part.split('_')[0]}_wrist") if hand else 0
    shown = PARTS[part] if hand else tuple(joint for joint in range(1, NUM_JOINTS) if joint not in _FACE)
    angle, places = np.deg2rad(_VIEW_DEG), {}
    for name, pose in rows.items():
        joints = forward_kinematics(pose.detach().double().cpu(), rest_joints())[0].numpy()
        joints = joints - joints[:, wrist : wrist + 1]
        places[name] = np.stack([joints[..., 0] * np.cos(angle) + joints[..., 2] * np.sin(angle), joints[..., 1]], -1)
    every = np.concatenate([points[:, [wrist, *shown]] for points in places.values()])
    low, high = every.min((0, 1)) - 0.03, every.max((0, 1)) + 0.03
    columns = max(len(points) for points in places.values())
    width = PAPER_WIDTH / (columns + 0.3)
    figure = paper_figure((width * (high[1] - low[1]) / (high[0] - low[0]) + 0.05) * len(rows) + 0.1)
    for row, (name, points) in enumerate(places.items()):
        for column, person in enumerate(points):
            axes = figure.add_subplot(len(rows), columns, row * columns + column + 1)
            for joint in shown:
                style = _SIDES.get(JOINT_NAMES[joint].split("_")[0], _MIDDLE)
                thin = 0.6 if joint >= min(PARTS["left_hand"]) and not hand else 1.0
                line = style | {"linewidth": style["linewidth"] * thin}
                axes.plot(*person[[PARENTS[joint], joint]].T, solid_capstyle="round", **line)
            if not hand:
                axes.plot(*person[index_of("head")], marker="o", markersize=4.5, color=_MIDDLE["color"])
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if not column:
                axes.set_ylabel(name)
    return set_paper_text(figure)


def draw_joint_diagram(groups: Mapping[str, tuple[Sequence[int], Tensor]], title: str) -> Figure:
    """Bodies from the front as diagrams, not to scale; each joint is a disc with its number, the larger and darker the higher. One scale
    serves all bodies. Joints without a value are small rings; fingers are drawn where any has one.

    Args:
        groups: {name: (SMPL-X indices of J joints, values (J,))}.
        title: what the numbers are.
    """
    places = _diagram()
    hands = {*PARTS["left_hand"], *PARTS["right_hand"]}
    used = {joint for joints, _ in groups.values() for joint in joints}
    shown = [joint for joint in range(NUM_JOINTS) if joint in used or (joint not in hands and joint < len(PARTS["body"]) + 1)]
    if used <= hands:
        shown = sorted({PARENTS[joint] for joint in used} | used)
    corner = np.array([places[joint] for joint in shown])
    (left, bottom), (right, top) = corner.min(0) - 0.8, corner.max(0) + 0.8
    values = torch.cat([value.detach().double().cpu().flatten() for _, value in groups.values()]).numpy()
    low, spread = values.min(), max(np.ptp(values), 1e-9)
    columns = max(1, min(len(groups), int(16 // (right - left))))
    rows = -(-len(groups) // columns)
    inches = min(PAPER_WIDTH / (columns * (right - left)), 0.42)
    figure = paper_figure(rows * (inches * (top - bottom) + 0.3) + 0.35, max(columns * inches * (right - left), 3.3))
    for at, (name, (joints, numbers)) in enumerate(groups.items()):
        axes = figure.add_subplot(rows, columns, at + 1)
        found = dict(zip(joints, numbers.detach().double().cpu().tolist(), strict=True))
        for joint in shown:
            if PARENTS[joint] in shown:
                axes.plot(*np.array([places[PARENTS[joint]], places[joint]]).T, color="0.7", linewidth=1.5, zorder=1)
        for joint in shown:
            share = (found[joint] - low) / spread if joint in found else 0.0
            diameter = 72 * inches * (0.72 + 0.26 * share) if joint in found else 4.0
            grey = 1 - 0.85 * share if joint in found else 1.0
            axes.scatter(*places[joint], s=diameter**2, color=str(round(grey, 3)), edgecolor="black", linewidth=0.7, zorder=2)
            if joint in found:
                text = f"{found[joint]:.1f}" if abs(found[joint]) < 9.95 else f"{found[joint]:.0f}"
                colour = "black" if grey > _TEXT_SWITCH else "white"
                axes.text(*places[joint], _number(text), ha="center", va="center", color=colour, zorder=3)
        axes.text(left, top, "right", ha="left", va="top", style="italic")
        axes.text(right, top, "left", ha="right", va="top", style="italic")
        axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", title=name)
        axes.axis("off")
    figure.suptitle(title)
    return set_paper_text(figure)


def draw_real_against_corrupted(groups: Mapping[str, tuple[Tensor, Mapping[str, Tensor]]], xlabel: str) -> Figure:
    """Histograms of real poses' energies (grey) against corrupted ones' (hatched): a row of each prior, a column of each corruption.

    Energies above the 99th percentile of either count in the last bin, which is marked by `>`.

    Args:
        groups: {prior: (energies of real poses (N,), {corruption: (N,)})}.
    """
    kinds = list(next(iter(groups.values()))[1])
    figure = paper_figure(1.55 * len(groups) + 0.5)
    panels = figure.subplots(len(groups), len(kinds), squeeze=False, sharex="row", sharey="row")
    for row, (name, (real, corrupted)) in zip(panels, groups.items(), strict=True):
        sets = {kind: values.detach().cpu().double().numpy() for kind, values in {"real": real, **corrupted}.items()}
        low, high = min(values.min() for values in sets.values()), max(np.quantile(values, _CUT) for values in sets.values())
        edges = np.linspace(low, max(high, low + 1e-6), _BINS + 1)
        for axes, kind in zip(row, kinds, strict=True):
            real_style = {"histtype": "stepfilled", "facecolor": "0.75", "edgecolor": "0.35", "label": "real"}
            label = kind.replace("_", " ").replace("deg", "\N{DEGREE SIGN}")
            wrong_style = {"histtype": "step", "edgecolor": "black", "hatch": "////", "linewidth": 1.0, "label": label}
            for values, style in ((sets["real"], real_style), (sets[kind], wrong_style)):
                share = np.full(len(values), 100 / len(values))
                axes.hist(np.minimum(values, edges[-1]), edges, weights=share, **style)
            axes.legend(frameon=False, loc="upper right", handlelength=1.4)
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(f"{name}\npercent of poses")
        row[0].set_ylim(0, 1.35 * row[0].get_ylim()[1])  # room for the legend
        ticks = [tick for tick in row[0].get_xticks() if edges[0] <= tick < edges[-1] - 0.08 * (edges[-1] - edges[0])]
        row[0].set_xticks([*ticks, edges[-1]], [*(_number(f"{tick:g}") for tick in ticks), _number(f">{edges[-1]:.0f}")])
    for axes in panels[-1]:
        axes.set_xlabel(xlabel)
    return set_paper_text(figure)


def _number(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _diagram() -> dict[int, tuple[float, float]]:
    """The place of each joint; the body's left is on the reader's right."""
    places = {index_of(name): place for name, place in _CENTRE.items()}
    for side, sign in (("left", 1), ("right", -1)):
        places |= {index_of(f"{side}_{name}"): (sign * x, y) for name, (x, y) in _LEFT.items()}
        for finger, column in _FINGERS.items():
            for knuckle in (1, 2, 3):
                x, y = _HAND_AT[0] + column, _HAND_AT[1] - (knuckle - 1) - (0.5 if finger == "thumb" else 0)
                places[index_of(f"{side}_{finger}{knuckle}")] = (sign * x, y)
    return places
