"""The skin of a body model against smplx's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
import trimesh
from torch import Tensor

from pose_priors.body.skeleton import PARENTS
from pose_priors.body.smplx_files import load_surface

NUM_VERTICES_A_JOINT = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SMPL-X's format with random content: every direction, weight and regressor matters."""
    rng = np.random.default_rng(0)
    num = 55 * NUM_VERTICES_A_JOINT
    weights = rng.random((num, 55)) ** 4
    regressor = rng.random((55, num))
    path = tmp_path_factory.mktemp("model") / "SMPLX_NEUTRAL.npz"
    parents = np.array([2**32 - 1, *PARENTS[1:]], np.int64)
    np.savez(
        path,
        v_template=rng.normal(0, 0.3, (num, 3)),
        shapedirs=rng.normal(0, 0.02, (num, 3, 20)),
        posedirs=rng.normal(0, 0.02, (num, 3, 9 * 54)),
        J_regressor=regressor / regressor.sum(1, keepdims=True),
        weights=weights / weights.sum(1, keepdims=True),
        kintree_table=np.stack([parents, np.arange(55)]),
        f=np.array([[0, 1, 2], [2, 1, 3]], np.uint32),
        **{f"hands_components{side}": np.eye(45) for side in "lr"},
        **{f"hands_mean{side}": np.zeros(45) for side in "lr"},
        lmk_faces_idx=np.zeros(51, np.int64),
        lmk_bary_coords=np.zeros((51, 3)),
        dynamic_lmk_faces_idx=np.zeros((79, 17), np.int64),
        dynamic_lmk_bary_coords=np.zeros((79, 17, 3)),
    )
    return path


def test_equals_smplx(model: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    pose, betas = torch.randn(19, 55, 3, generator=generator), torch.randn(10, generator=generator)  # more than are posed at once
    own = smplx.create(str(model), "smplx", ext="npz", num_betas=10, use_pca=False, flat_hand_mean=True)
    parts = own.v_template, own.shapedirs, own.posedirs, own.J_regressor, own.parents, own.lbs_weights
    vertices, joints = smplx.lbs.lbs(betas.expand(19, 10), pose.flatten(1), *parts)
    pelvis = torch.randn(19, 3, generator=generator)
    expected = vertices + (pelvis - joints[:, 0])[:, None]
    surface = load_surface(model, 10)
    posed = list(surface.posed(pose, betas, pelvis))
    assert len(posed) > 1
    torch.testing.assert_close(torch.cat(posed), expected, rtol=0, atol=1e-5)
    assert surface.faces.tolist() == [[0, 1, 2], [2, 1, 3]]


@pytest.mark.parametrize("shape", [(3, 22, 3), (55, 3)])
def test_other_shapes_are_refused(model: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="are expected"):
        next(load_surface(model, 10).posed(torch.zeros(shape), torch.zeros(10), torch.zeros(3, 3)))


def test_betas_that_are_missing_are_zero(model: Path) -> None:
    def posed(betas: Tensor) -> Tensor:
        return next(load_surface(model, 10).posed(torch.zeros(1, 55, 3), betas, torch.zeros(1, 3)))

    some = torch.randn(4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(posed(some), posed(torch.cat([some, torch.zeros(20)])))
    assert (posed(some) - posed(torch.zeros(0))).abs().max() > 1e-3


def test_normals_point_away_from_a_ball(model: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    surface = replace(load_surface(model, 10), faces=np.asarray(ball.faces, np.uint32))
    centre, size = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 2.0]).view(2, 1, 1)
    away = torch.from_numpy(np.array(ball.vertices)).float()
    torch.testing.assert_close(surface.normals(centre + size * away), away.expand(2, -1, -1), rtol=0, atol=0.02)
