"""Pose vectors of every length, against what the files of these lengths are read as, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pose_priors import as_poses, from_poses
from pose_priors.body.pose_vectors import POSE_VECTORS, check_poses
from pose_priors.body.rotations import canonicalize
from pose_priors.datamodules.formats import read_poses


@pytest.mark.parametrize("numbers", POSE_VECTORS)
def test_a_vector_is_what_a_file_of_its_length_is_read_as(numbers: int, tmp_path: Path) -> None:
    values = np.random.default_rng(numbers).normal(0, 0.4, (5, numbers)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    read = torch.from_numpy(read_poses(tmp_path / "a.npy").poses)
    torch.testing.assert_close(canonicalize(as_poses(values)), read)
    torch.testing.assert_close(as_poses(torch.from_numpy(values).view(5, -1, 3)), as_poses(values), rtol=0, atol=0)
    joints = len(POSE_VECTORS[numbers][1])
    back = from_poses(as_poses(values), numbers)
    torch.testing.assert_close(back[:, : 3 * joints], torch.from_numpy(values)[:, : 3 * joints], rtol=0, atol=0)
    assert back.shape == (5, numbers)
    assert not back[:, 3 * joints :].any()


def test_any_batch_gradients_and_precision() -> None:
    values = torch.randn(2, 1, 4, 66, dtype=torch.float64, requires_grad=True)
    poses = as_poses(values)
    assert (poses.shape, poses.dtype) == ((2, 1, 4, 55, 3), torch.float64)
    poses.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, torch.ones_like(values))
    assert as_poses(torch.zeros(63)).shape == (55, 3)
    assert as_poses(np.zeros((0, 165))).shape == (0, 55, 3)
    assert as_poses(torch.zeros(3, 63, dtype=torch.long)).dtype == torch.float32


@pytest.mark.parametrize("shape", [(), (3,), (5, 64), (5, 54, 3), (5, 21, 3, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the last dimension is none of 45"):
        as_poses(torch.zeros(shape))


def test_no_such_vector() -> None:
    with pytest.raises(ValueError, match="no pose vector of 64"):
        from_poses(torch.zeros(2, 55, 3), 64)
    with pytest.raises(ValueError, match="got"):
        from_poses(torch.zeros(2, 54, 3), 63)
    with pytest.raises(TypeError, match=r"takes a tensor, got ndarray; of an array, torch\.from_numpy"):
        from_poses(np.zeros((2, 55, 3)), 63)


@pytest.mark.parametrize("values", [torch.zeros(63, dtype=torch.complex64), np.zeros(63, dtype=complex), None, ["a"] * 63, [None] * 63])
def test_what_is_no_real_number_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="real numbers"):
        as_poses(values)


def test_arrays_in_any_order_of_bytes_and_steps() -> None:
    values = np.arange(63, dtype=np.float32)
    for other in (values.astype(">f4"), values[::-1].copy()[::-1], values.astype(np.uint8), values.astype(np.longdouble)):
        torch.testing.assert_close(as_poses(other).float(), as_poses(values), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("poses", "error", "said"),
    [
        (np.zeros((1, 55, 3)), TypeError, "torch.from_numpy"),
        (torch.zeros(1, 55, 3, dtype=torch.long), TypeError, "floats"),
        (torch.zeros(60, 72), ValueError, "as_poses"),
        (torch.zeros(60, 24, 3), ValueError, "as_poses"),
        (torch.eye(3).expand(60, 55, 3, 3), ValueError, "roma.rotmat_to_rotvec"),
        (torch.zeros(60, 55, 4), ValueError, r"got \(60, 55, 4\)$"),
    ],
)
def test_what_is_no_pose_is_told_what_makes_it_one(poses: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=rf"a pose is \(\*batch, 55, 3\).*{said}"):
        check_poses(poses)
    check_poses(torch.zeros(2, 1, 55, 3))
