"""What all frames share: shapes and biases of people, the scale and the floor; and what changes with each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.variables import Variables

_OF_A_PERSON, _OF_ALL = ("shape", "depth_bias"), ("scale", "plane")
_STEP = 0.1  # of a shared variable, whose unit is a few millimetres


@dataclass(frozen=True)
class Shared:
    """Variables that all frames share.

    Attributes:
        names: of those that are free.
        columns: by each person, the places of those that it feels among all, those of each person first.
        size: of them all.
    """

    names: tuple[str, ...]
    columns: tuple[np.ndarray, ...]
    size: int

    @classmethod
    def of(cls, variables: Variables, people: int) -> Shared:
        """The free ones."""
        free = {name: parameter for name, parameter in variables.named_parameters() if parameter.requires_grad}
        own = sum(free[name][0].numel() for name in _OF_A_PERSON if name in free)
        common = sum(free[name].numel() for name in _OF_ALL if name in free)
        columns = tuple(np.r_[p * own : (p + 1) * own, people * own : people * own + common] for p in range(people))
        return cls(tuple(name for name in (*_OF_A_PERSON, *_OF_ALL) if name in free), columns, people * own + common)

    def gathered(self, values: dict[str, Tensor]) -> np.ndarray:
        """(size,) of the values of the variables, or of their gradients."""
        people = len(self.columns)
        own = [values[name].reshape(people, -1) for name in self.names if name in _OF_A_PERSON]
        parts = [torch.cat(own, 1).flatten()] if own else []
        parts += [values[name].flatten() for name in self.names if name in _OF_ALL]
        return torch.cat(parts).detach().cpu().double().numpy() if parts else np.zeros(0)

    def scattered(self, values: np.ndarray, like: dict[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of `gathered`, in the shapes of the variables."""
        people = len(self.columns)
        common = sum(like[name].numel() for name in self.names if name in _OF_ALL)
        own = values[: len(values) - common].reshape(people, -1)
        rest, out, at = values[len(values) - common :], {}, 0
        for name in self.names:
            if name in _OF_A_PERSON:
                width = like[name][0].numel()
                piece, at = own[:, at : at + width], at + width
            else:
                piece, rest = rest[: like[name].numel()], rest[like[name].numel() :]
            out[name] = torch.from_numpy(np.ascontiguousarray(piece)).to(like[name]).reshape(like[name].shape)
        return out


class Near:
    """What changes when a shared variable does: by the scene with a little more of it, of all people's at once. Each is found once, since
    it changes little on the way to a minimum.

    Args:
        scene: as it stands.
        shared: the variables.
    """

    def __init__(self, scene: Scene, variables: Variables, problem: Problem, shared: Shared) -> None:
        self._here, self._more = scene, _with_more(variables, problem, shared)
        self._known: dict[str, Tensor] = {}

    def close(self) -> None:
        """Keeps what was found, and no scene."""
        self._more = []

    def slopes(self, name: str, of: Callable[[Scene], Tensor]) -> Tensor:
        """What a function of a scene, which is to have a name, changes by along each shared variable, on a last dimension."""
        if name not in self._known:
            here = of(self._here)
            found = [torch.zeros_like(here) if there is None else (of(there) - here) / _STEP for there in self._more]
            self._known[name] = torch.stack(found, -1) if found else here[..., None][..., :0]
        return self._known[name]


def _with_more(variables: Variables, problem: Problem, shared: Shared) -> list[Scene | None]:
    """For each shared variable that a person feels the scene with a little more of it; None where that changes nothing."""
    more = list[Scene | None]()
    for name in shared.names:
        parameter = getattr(variables, name)
        flat = parameter.view(len(parameter), -1) if name in _OF_A_PERSON else parameter.view(1, -1)
        if name == "depth_bias" and not variables.bias_step.any():
            more.append(None)
            continue
        for column in range(flat.shape[1]):
            before = flat[:, column].clone()
            flat[:, column] += _STEP
            more.append(variables(problem))
            flat[:, column] = before
    return more
