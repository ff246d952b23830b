"""A stand-in for the model of the package anny: its bones, and a few vertices about each, in its axes (x left, y backward, z up)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Centimetres, of the left side and the middle, rounded from Anny's own (CC0); each after the bone that carries it.
_BONES = {
    "root": ("", 0, 6, 3),
    "pelvis.L": ("root", 0, -1, 5), "upperleg01.L": ("pelvis.L", 10, -1, 4), "upperleg02.L": ("upperleg01.L", 10, -3, -5),
    "lowerleg01.L": ("upperleg02.L", 13, -4, -35), "lowerleg02.L": ("lowerleg01.L", 15, -2, -55), "foot.L": ("lowerleg02.L", 18, 0, -75),
    "toe1-1.L": ("foot.L", 15, -14, -79), "toe1-2.L": ("toe1-1.L", 15, -17, -80), "toe2-1.L": ("foot.L", 17, -14, -79),
    "toe3-1.L": ("foot.L", 19, -14, -80), "toe4-1.L": ("foot.L", 21, -13, -80), "toe5-1.L": ("foot.L", 22, -13, -80),
    "spine05": ("root", 0, -1, 5), "spine04": ("spine05", 0, 2, 12), "spine03": ("spine04", 0, 1, 19), "spine02": ("spine03", 0, 1, 26),
    "breast.L": ("spine02", 0, 3, 39), "spine01": ("spine02", 0, 3, 39), "clavicle.L": ("spine01", 2, -3, 49),
    "shoulder01.L": ("clavicle.L", 10, -3, 51), "upperarm01.L": ("shoulder01.L", 16, -2, 47), "upperarm02.L": ("upperarm01.L", 21, -2, 41),
    "lowerarm01.L": ("upperarm02.L", 33, -2, 28), "lowerarm02.L": ("lowerarm01.L", 39, -10, 22), "wrist.L": ("lowerarm02.L", 45, -18, 16),
    "finger1-1.L": ("wrist.L", 44.7, -22.3, 15.7), "finger1-2.L": ("finger1-1.L", 42.6, -24.3, 14.9),
    "finger1-3.L": ("finger1-2.L", 41.4, -27.4, 13.6), "metacarpal1.L": ("wrist.L", 45.6, -20.5, 14.8),
    "finger2-1.L": ("metacarpal1.L", 47.3, -27.3, 12.5), "finger2-2.L": ("finger2-1.L", 47.6, -29.4, 11.1),
    "finger2-3.L": ("finger2-2.L", 47.5, -31, 9.6), "metacarpal2.L": ("wrist.L", 45.6, -20.5, 14.8),
    "finger3-1.L": ("metacarpal2.L", 48.8, -25.6, 11.4), "finger3-2.L": ("finger3-1.L", 49.6, -27.6, 8.9),
    "finger3-3.L": ("finger3-2.L", 49.8, -29.4, 6.9), "metacarpal3.L": ("wrist.L", 46.8, -19.6, 13.3),
    "finger4-1.L": ("metacarpal3.L", 49.6, -23.9, 10.6), "finger4-2.L": ("finger4-1.L", 50.5, -25.3, 8.3),
    "finger4-3.L": ("finger4-2.L", 50.9, -26.6, 6.3), "metacarpal4.L": ("wrist.L", 46.8, -19.6, 13.3),
    "finger5-1.L": ("metacarpal4.L", 49.7, -22, 9.8), "finger5-2.L": ("finger5-1.L", 50.4, -22.8, 7.9),
    "finger5-3.L": ("finger5-2.L", 50.5, -23.4, 6.5),
    "neck01": ("spine01", 0, -1, 56), "neck02": ("neck01", 0, -2, 59), "neck03": ("neck02", 0, -3, 63), "head": ("neck03", 0, -4, 66),
    "jaw": ("head", 0, -6, 66), "oris05": ("jaw", 0, -15, 64), "eye.L": ("head", 3, -12, 70),
}  # fmt: skip
# Under the foot: how far behind the ankle (negative: before it), to both sides, and how high.
_SOLE = [(4, 2, -82), (-10, 3, -82), (-20, 3, -82)]
_CROWN = 81
_HEIGHT, _AGE = 0.6, 0.9  # by what share of it a body is larger in all directions


class AnnyStandIn:
    """What `AnnyBody` asks of the package's model."""

    def __init__(self) -> None:
        bones: dict[str, tuple[str, np.ndarray]] = {}
        for name, (parent, *place) in _BONES.items():
            bones[name] = parent, np.array(place, float) / 100
        for name, (parent, place) in list(bones.items()):
            if name.endswith(".L"):
                bones[f"{name[:-2]}.R"] = parent.replace(".L", ".R"), place * [-1, 1, 1]
        self.bone_labels = list(bones)
        self.bone_parents = [self.bone_labels.index(parent) if parent else -1 for parent, _ in bones.values()]
        heads = np.stack([place for _, place in bones.values()])
        parts, owners = [], []
        for at, name in enumerate(self.bone_labels):
            radius = 0.004 if name.startswith("finger") else 0.02
            parts.append(heads[at] + radius * np.concatenate([np.eye(3), -np.eye(3)]))
            owners += [at] * 6
            if name.startswith("foot"):
                parts.append(
                    np.array([[heads[at][0] + side * wide / 100, back / 100, low / 100] for back, wide, low in _SOLE for side in (1, -1)])
                )
                owners += [at] * (2 * len(_SOLE))
        parts.append(np.array([[0, -0.05, _CROWN / 100]]))
        owners.append(self.bone_labels.index("head"))
        vertices = np.concatenate(parts)
        octahedron = np.array([[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]])
        starts = [owners.index(at) for at in range(len(heads))]
        self.faces = np.concatenate([start + octahedron for start in starts])
        self.dense_vertex_bone_weights = torch.from_numpy(np.eye(len(heads))[owners])
        self.template_vertices, self.template_bone_heads = torch.from_numpy(vertices), torch.from_numpy(heads)
        self.blendshapes, self.bone_heads_blendshapes = (
            value[None].clone() for value in (self.template_vertices, self.template_bone_heads)
        )

    def get_phenotype_blendshape_coefficients(self, height: float, age: float, **_: float) -> Tensor:
        larger = (1 + _HEIGHT * (height - 0.5)) * (1 + _AGE * (age - 2 / 3)) * 1.1
        return torch.tensor([[larger - 1]])
