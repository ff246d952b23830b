"""The body of Anny as arrays: its surface and the places of joints by phenotype. The one module that imports anny."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from pose_priors.body.anny.bones import STANDS_AT, owners
from pose_priors.body.skeleton import JOINT_NAMES, NUM_JOINTS
from pose_priors.configs.base import UserError, reason_of

log = logging.getLogger("surface")

SURFACES = ("auto", "anny", "capsules")
"""What people may wear where no body model is given: Anny where it is installed and else capsules, Anny, or capsules."""
PHENOTYPES: dict[str, float] = {"gender": 0.5, "age": 2 / 3, "muscle": 0.5, "weight": 0.5, "height": 0.5, "proportions": 0.5}
"""What describes a body, in [0, 1]; these are of an adult. Age: 0 is a baby, 1/3 a child, 2/3 a young adult; gender: 0 is a man."""
_INSTALL = "pip install 'pose-priors[anny]'"
# Anny has z up and y backward
_TO_OURS = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


class AnnyBody:
    """Anny's body at rest: arms half lowered, legs apart; metres, x to its left, y up, z forward.

    Args:
        model: of the package, with the rig of MakeHuman and skinning by `lbs`.

    Attributes:
        faces: (F, 3) int, counter-clockwise from outside.
        weights: (V, 55) how much a vertex moves with each joint of SMPL-X; rows have sum 1.
        bones: the names of Anny's N bones; owner: (N,) the joint that moves each.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.bones: tuple[str, ...] = tuple(model.bone_labels)
        self.owner = np.array(owners(self.bones, model.bone_parents))
        self.faces: np.ndarray = np.asarray(model.faces, np.int64)
        by_bone = model.dense_vertex_bone_weights.double().numpy()
        self.weights = np.zeros((len(by_bone), NUM_JOINTS))
        np.add.at(self.weights.T, self.owner, by_bone.T)
        names = ("template_vertices", "blendshapes", "template_bone_heads", "bone_heads_blendshapes")
        self._template, self._directions, heads, moved = (getattr(model, name).double().numpy() @ _TO_OURS.T for name in names)
        places = [[self.bones.index(bone) for bone in STANDS_AT[name]] for name in JOINT_NAMES]
        self._places = np.stack([heads[at].mean(0) for at in places])
        self._places_moved = np.stack([moved[:, at].mean(1) for at in places], 1)

    def vertices(self, phenotypes: Mapping[str, float]) -> np.ndarray:
        """(V, 3) of a body of these phenotypes, by the names of `PHENOTYPES`."""
        vertices: np.ndarray = self._template + np.tensordot(self._coefficients(phenotypes), self._directions, 1)
        return vertices

    def places(self, phenotypes: Mapping[str, float]) -> np.ndarray:
        """(55, 3) where it has the bones by which joints of SMPL-X stand, see `bones.STANDS_AT`."""
        return self._places + np.tensordot(self._coefficients(phenotypes), self._places_moved, 1)

    def _coefficients(self, phenotypes: Mapping[str, float]) -> np.ndarray:
        found: np.ndarray = self._model.get_phenotype_blendshape_coefficients(**phenotypes)[0].double().numpy()
        return found


@cache
def load_anny() -> AnnyBody:
    """Anny's body. Raises `UserError` if the package is not installed or cannot make it."""
    try:
        import anny
        from anny.paths import get_anny_cache_path
    except ImportError as error:
        raise UserError(f"--surface anny needs the package of that name, which cannot be imported ({error}); {_INSTALL}") from error
    logging.getLogger("anny").setLevel(logging.WARNING)  # it tells of every file that it reads
    folder = get_anny_cache_path()
    if not any(folder.glob("v*/build_compact_model_data_*")):
        log.info("Anny's body is made once: a minute or two, and 0.9 GB in %s, which ANNY_CACHE_DIR moves", folder)
    try:
        with torch.no_grad():
            return AnnyBody(anny.Anny(rig="makehuman", topology="anny", skinning_method="lbs"))
    except Exception as error:  # what the package makes of files that are cut short, and of a full disk
        raise UserError(f"Anny's body cannot be made ({reason_of(error)}); remove what is in {folder} and try again") from error


def chosen_anny(surface: str) -> AnnyBody | None:
    """The body for one of `SURFACES`; None for capsules. Raises `UserError` if it is asked for by name and not there."""
    if surface == "capsules":
        return None
    if surface == "auto" and find_spec("anny") is None:
        log.info("bodies are capsules; with Anny they are people, without a licensed model: %s", _INSTALL)
        return None
    try:
        return load_anny()
    except UserError as error:
        if surface != "auto":
            raise
        log.warning("%s; bodies are capsules", error)
        return None
