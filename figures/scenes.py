"""Pictures of refined clips at the size of print, readable without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pose_priors.figures.drawing import PAPER_WIDTH, paper_figure, set_paper_text

_STYLES: dict[str, dict[str, Any]] = {
    "truth": {"color": "0.75", "linewidth": 4.0, "solid_capstyle": "round"},
    "before": {"color": "0.35", "linewidth": 0.9, "linestyle": (0, (2, 1.2))},
    "after": {"color": "black", "linewidth": 1.3},
}
_NAMES = {"truth": "truth", "before": "before refinement", "after": "after refinement"}
_MARKS = 6


def draw_paths(people: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]], floor: np.ndarray) -> Figure:
    """Where people went, from above, on the ground in squares of a metre; and how high their lowest joint was above the ground.

    The truth is a broad light band, what went in a broken line with crosses, what came out a line; a number stands where a path begins,
    a dot where it ends. Lines end where a person is not seen.

    Args:
        people: for each, {truth, before, after: frames (n,) and joints (n, 22 or more, 3) in metres, in the axes of an OpenCV camera}.
        floor: (4,) up-facing unit normal n and d with n.x + d = 0, of the truth.
    """
    up = floor[:3] / np.linalg.norm(floor[:3])
    across = np.eye(3)[0] if abs(up[0]) < 0.9 else np.eye(3)[1]
    right = across - (across @ up) * up
    right /= np.linalg.norm(right)
    plan = np.stack([right, np.cross(up, right)], 1)
    paths = [{name: _broken(frames, joints[:, 0] @ plan) for name, (frames, joints) in versions.items()} for versions in people]
    corner = np.concatenate([path for versions in paths for path in versions.values()] + [np.zeros((1, 2))])
    low, high = np.floor(np.nanmin(corner, 0) - 0.3), np.ceil(np.nanmax(corner, 0) + 0.3)
    wide = 0.55 * PAPER_WIDTH
    height = float(np.clip(wide * (high[1] - low[1]) / (high[0] - low[0]), 2.8, 4.6)) + 0.5
    figure = paper_figure(max(height, 1.15 * len(people) + 0.6))
    grid = figure.add_gridspec(len(people), 2, width_ratios=[1.35, 1])
    above = figure.add_subplot(grid[:, 0])
    above.set_facecolor("0.97")
    for axis, (begin, end) in zip((above.axvline, above.axhline), zip(low, high, strict=True), strict=True):
        for metre in np.arange(begin, end + 1):
            axis(metre, color="0.88", linewidth=0.6, zorder=0)
    above.plot(0, 0, marker="^", color="black", markersize=7, linestyle="none", label="first camera")
    for number, versions in enumerate(paths, start=1):
        panel = figure.add_subplot(grid[number - 1, 1])
        for name, path in versions.items():
            style = _STYLES[name] | ({"marker": "x", "markersize": 4, "markevery": max(1, len(path) // _MARKS)} if name == "before" else {})
            above.plot(*path.T, label=_NAMES[name] if number == 1 else None, **style)
            frames, joints = people[number - 1][name]
            lowest = (joints @ up + floor[3] / np.linalg.norm(floor[:3])).min(1) * 100
            panel.plot(_broken(frames, lowest[:, None])[:, 0], **style)
        begin, finish = (versions["truth"][at] for at in (0, -1))
        above.annotate(str(number), begin, textcoords="offset points", xytext=(-8, 5), weight="bold")
        above.plot(*finish, marker="o", color="black", markersize=4)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set_title(f"person {number}", loc="left", pad=2)
        panel.set_ylabel("height [cm]")
        panel.spines[["top", "right"]].set_visible(False)
    panel.set_xlabel("frame (lowest joint above the ground)")
    above.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", adjustable="box")
    above.set(xlabel="to the right of the first camera [m]", ylabel="away from it [m]")
    above.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, handlelength=2.6)
    return set_paper_text(figure)


def _broken(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (n, k) of frames (n,) on all frames from 0 to the last, nan where there is none."""
    out = np.full((int(frames[-1]) + 1, values.shape[1]), np.nan)
    out[frames] = values
    return out
