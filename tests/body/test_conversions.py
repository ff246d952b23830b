"""Conversions of rotations: RoMa's to the bit, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import roma
import torch
from torch import Tensor

from pose_priors.body import conversions

GIVEN: dict[str, Callable[[Tensor], Tensor]] = {
    "rotvec_to_unitquat": lambda rotvec: rotvec,
    "rotvec_to_rotmat": lambda rotvec: rotvec,
    "unitquat_to_rotvec": roma.rotvec_to_unitquat,
    "rotmat_to_unitquat": roma.rotvec_to_rotmat,
    "rotmat_to_rotvec": roma.rotvec_to_rotmat,
    "special_procrustes": lambda rotvec: 1.3 * roma.rotvec_to_rotmat(rotvec),
    "quat_conjugation": roma.rotvec_to_unitquat,
}


def vectors(dtype: torch.dtype, shape: tuple[int, ...] = (40, 5)) -> Tensor:
    """(..., 3) of all lengths: none, tiny, small, usual, pi, more than a turn."""
    generator = torch.Generator().manual_seed(3)
    axes = torch.nn.functional.normalize(torch.randn(*shape, 3, generator=generator, dtype=torch.float64), dim=-1)
    lengths = torch.tensor([0, 1e-9, 1e-7, 1e-3, 0.1, 0.3, 1, 2, 3, torch.pi, 4, 7], dtype=torch.float64)
    chosen = torch.randint(len(lengths), shape, generator=generator) if shape else torch.tensor(6)
    return (axes * lengths[chosen][..., None]).to(dtype)


def same(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], *given: Tensor, wrap: Any = lambda *args: args) -> None:
    found = []
    for function in (ours, theirs):
        leaves = [each.detach().clone().requires_grad_() for each in given]
        value = function(*wrap(*leaves))
        weights = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).reshape(value.shape)
        found.append((value, *torch.autograd.grad((value * weights).sum(), leaves)))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a.nan_to_num(nan=9.0), b.nan_to_num(nan=9.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GIVEN)
def test_they_are_romas_to_the_bit(name: str, dtype: torch.dtype) -> None:
    for shape in ((), (7,), (40, 5), (0,), (3, 4, 22)):
        same(getattr(conversions, name), getattr(roma, name), GIVEN[name](vectors(dtype, shape)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_romas_to_the_bit(dtype: torch.dtype) -> None:
    a, b = vectors(dtype), vectors(dtype).flip(0)
    same(conversions.quat_product, roma.quat_product, roma.rotvec_to_unitquat(a), roma.rotvec_to_unitquat(b[:, :1]))
    same(conversions.rotvec_composition, roma.rotvec_composition, a, b, wrap=lambda *both: (list(both),))
