"""What a refinement is given, as data."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import torch
from problems import make_problem
from torch import Tensor


def tensors(value: object) -> list[Tensor]:
    """All tensors in a dataclass, in order."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for f in fields(value) for tensor in tensors(getattr(value, f.name))] if is_dataclass(value) else []


def test_floats_change_their_type_and_all_else_stays() -> None:
    problem, _ = make_problem(frames=4)
    single = problem.to(torch.float32)
    before, after = tensors(problem), tensors(single)
    assert len(before) == len(after) > 15
    for old, new in zip(before, after, strict=True):
        assert new.dtype == (torch.float32 if old.is_floating_point() else old.dtype)
        torch.testing.assert_close(new, old.to(new.dtype), equal_nan=True)
    assert (single.person_ids, single.fps, single.start.alpha0) == (problem.person_ids, problem.fps, problem.start.alpha0)
    assert problem.start.pelvis.dtype == torch.float64


def test_all_goes_to_a_device() -> None:
    problem, _ = make_problem(frames=4)
    assert {tensor.device.type for tensor in tensors(problem.to(torch.float32, torch.device("meta")))} == {"meta"}
    assert {tensor.device.type for tensor in tensors(problem.to(torch.float32))} == {"cpu"}
