"""Body-model files, on stand-ins."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
from model_files import write_model

from pose_priors.body.smplx_files import load_joint_model
from pose_priors.configs.base import UserError


@pytest.mark.parametrize("kind", ["smpl", "smplx"])
def test_joints_are_the_models_own_at_any_shape(tmp_path: Path, kind: str) -> None:
    path, joints, directions = write_model(tmp_path, kind)
    model = load_joint_model(path, 10)
    np.testing.assert_allclose(model.template, joints, atol=1e-6)
    np.testing.assert_allclose(model.directions, directions, atol=1e-6)
    betas = torch.randn(1, 10, generator=torch.Generator().manual_seed(0))
    options = {} if kind == "smpl" else {"use_pca": False}
    body = smplx.create(str(path), kind, ext=path.suffix[1:], num_betas=10, **options)
    shaped = body.v_template + torch.einsum("vcb,b->vc", body.shapedirs[..., :10], betas[0])
    np.testing.assert_allclose(model.template + model.directions @ betas[0].double(), body.J_regressor @ shaped, atol=1e-5)
    assert model.smplx_index == (tuple(range(55)) if kind == "smplx" else (*range(22), -1, -1))


def test_a_folder_gives_the_kind_that_is_wanted_first(tmp_path: Path) -> None:
    write_model(tmp_path / "models" / "smpl", "smpl")
    write_model(tmp_path / "models" / "smplx", "smplx")
    assert len(load_joint_model(tmp_path, 10).template) == 24
    assert len(load_joint_model(tmp_path, 10, ("smplx", "smpl")).template) == 55
    assert load_joint_model(tmp_path, 4).directions.shape[-1] == 4


class Unsafe:
    def __reduce__(self) -> tuple:
        return os.system, ("false",)


@pytest.mark.parametrize("name", ["SMPL_NEUTRAL.pkl", "SMPLX_NEUTRAL.npz"])
def test_unsafe_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({"v_template": Unsafe()}))
    else:
        np.savez(path, v_template=np.array([Unsafe()], dtype=object))
    with pytest.raises(UserError, match=r"refused to unpickle \w+\.system"):
        load_joint_model(path, 10)


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no body model; looked for SMPL"):
        load_joint_model(tmp_path, 10)
    with pytest.raises(UserError, match="no file or folder"):
        load_joint_model(tmp_path / "gone.pkl", 10)
    (tmp_path / "body.pkl").write_bytes(b"")
    with pytest.raises(UserError, match="call it SMPL_<gender>"):
        load_joint_model(tmp_path / "body.pkl", 10)
    with (tmp_path / "SMPL_NEUTRAL.pkl").open("wb") as stream:
        pickle.dump({"v_template": np.zeros((3, 3))}, stream)
    with pytest.raises(UserError, match="no SMPL model: no 'shapedirs' in it; it holds v_template"):
        load_joint_model(tmp_path, 10)
