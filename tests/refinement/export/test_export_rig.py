"""People in the rigs of others: body_models, posed by what is in the file, stands where the refined people do."""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch
from export_results import FPS, LIVES, Result, exported
from stand_ins.mhr_rig import SIZE, write_stand_in

from pose_priors.body.model import chained
from pose_priors.body.rigs import fit, model
from pose_priors.body.rigs.fit import fit_rig
from pose_priors.body.rigs.model import Rig, load_rig
from pose_priors.configs.base import UserError
from pose_priors.refinement.export.people import AnimatedSkeleton, read_people

ROWS = 6


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for some millimetres."""
    monkeypatch.setattr(fit, "_STEPS", 60)


@pytest.fixture
def person(results: dict[int, Result]) -> AnimatedSkeleton:
    return read_people("clip", results[22].folder).people[1].at(range(ROWS))


def turns_of(person: AnimatedSkeleton) -> np.ndarray:
    return chained(torch.from_numpy(person.rotmat), torch.from_numpy(person.offsets), person.parents)[1].numpy()


def fitted(rig: Rig, person: AnimatedSkeleton, size: float = 1.0) -> fit.Rigged:
    return fit_rig(rig, person.names, size * person.joints, turns_of(person), size * person.rest_joints)


def of_file(path: Path, rig: Rig) -> dict[str, torch.Tensor]:
    with np.load(path, allow_pickle=False) as data:
        return {name: torch.from_numpy(data[name]) for name in rig.shapes}


def test_a_rig_of_the_same_bones_is_where_the_person_is_and_turned_as_they_are(monkeypatch: Any, person: AnimatedSkeleton) -> None:
    monkeypatch.setattr(fit, "_STEPS", 250)
    write_stand_in(monkeypatch, person.rest_joints)
    rig = load_rig("mhr", Path("files"))
    rigged = fitted(rig, person)
    assert len(rigged.joints) == 16
    assert rigged.error.mean() < 2e-3
    assert rigged.error.max() < 1.5e-2
    parameters = {name: torch.from_numpy(value).float() for name, value in rigged.parameters.items()}
    joints = ("head", "left_knee", "right_wrist")
    place, turn = rig(parameters, joints)
    columns = [person.names.index(name) for name in joints]
    assert np.abs(place.numpy() - person.joints[:, columns]).max() < 2e-2
    # the rig's own axes are turned at random: what is compared is how joints turn from the first frame to the others
    ours = torch.from_numpy(turns_of(person)[:, columns]).float()
    off = roma.rotmat_geodesic_distance(turn @ turn[:1].mT, ours @ ours[:1].mT)
    assert math.degrees(float(off.mean())) < 3


def test_proportions_are_the_clip_s_and_the_root_is_left_to_the_global_turn(monkeypatch: Any, person: AnimatedSkeleton) -> None:
    write_stand_in(monkeypatch, person.rest_joints)
    rigged = fitted(load_rig("mhr", Path("files")), person, size=1.2)
    body = rigged.parameters["body_pose"]
    assert body.shape == (ROWS, 94)
    assert not body[:, :6].any()
    assert (body[:, 79:] == body[:1, 79:]).all()
    assert body[0, 79 + SIZE - 139] == pytest.approx(math.log2(1.2), abs=0.05)
    assert (np.diff(body[:, 6:79], axis=0) != 0).any()
    assert not rigged.parameters["shape"].any()


def test_proportions_are_looked_for_from_where_the_rig_bends_as_the_person_does(monkeypatch: Any, person: AnimatedSkeleton) -> None:
    """By places alone, from a rig that stands, Anny's legs came to lie beside those of somebody who squats all along."""
    write_stand_in(monkeypatch, person.rest_joints)
    bend = torch.zeros(len(person.parents), 3, dtype=torch.float64)
    for side in ("left", "right"):
        bend[person.names.index(f"{side}_hip"), 0], bend[person.names.index(f"{side}_knee"), 0] = -2.2, 2.4
    rotmat = person.rotmat.copy()
    rotmat[:, 1:] = roma.rotvec_to_rotmat(bend)[1:].numpy()
    solve, off = fit._Solver.solve, []

    def watched(self: Any, target: torch.Tensor, turned: Any, clip: Any, start: Any = None) -> Any:
        if turned is None and clip is None and len(target) > 1:
            off.append(float("inf") if start is None else float(self.errors(start, target).mean()))
        return solve(self, target, turned, clip, start)

    monkeypatch.setattr(fit._Solver, "solve", watched)
    fitted(load_rig("mhr", Path("files")), dataclasses.replace(person, rotmat=rotmat).at(range(2)))
    assert len(off) == 1
    assert off[0] < 0.05


def test_a_frame_that_ended_elsewhere_starts_anew_from_its_neighbour(monkeypatch: Any, person: AnimatedSkeleton) -> None:
    write_stand_in(monkeypatch, person.rest_joints)
    rig = load_rig("mhr", Path("files"))
    solve = fit._Solver.solve

    def spoilt(self: Any, target: torch.Tensor, turned: Any, clip: Any, start: Any = None) -> Any:
        found = solve(self, target, turned, clip, start)
        if len(target) == ROWS and turned is not None and start is None:
            found.frames["body_pose", 1][3] += 2
        return found

    monkeypatch.setattr(fit._Solver, "solve", spoilt)
    error = fitted(rig, person).error.mean(-1)
    assert error[3] < 1.5 * error[[2, 4]].mean() + 1e-3


def test_the_file_holds_what_body_models_takes(monkeypatch: Any, results: dict[int, Result], tmp_path: Path, caplog: Any) -> None:
    monkeypatch.setattr(fit, "_STEPS", 10)
    people = read_people("clip", results[22].folder).people
    write_stand_in(monkeypatch, people[0].rest_joints)
    with caplog.at_level(logging.INFO):
        paths = exported(results[22], "mhr", tmp_path, "--body-model", str(tmp_path))
    assert [path.name for path in paths] == [f"clip_person_{person:03d}_mhr.npz" for person in LIVES]
    assert caplog.text.count("mm from the refined ones on average") == len(LIVES)
    with np.load(paths[0], allow_pickle=False) as data:
        assert (str(data["rig"]), float(data["fps"])) == ("mhr", FPS)
        assert (data["frame_ids"] == people[0].frames).all()
        assert (data["visible"] == people[0].visible).all()
        names, error = data["joint_names"].tolist(), data["joint_error_mm"]
    rig = load_rig("mhr", tmp_path)
    place, _ = rig(of_file(paths[0], rig), names)
    distance = np.linalg.norm(place.numpy() - people[0].joints[:, [people[0].names.index(name) for name in names]], axis=-1)
    assert np.abs(1e3 * distance - error).max() < 0.1


@pytest.mark.slow
def test_anny_s_own_rig_stands_where_the_person_does(results: dict[int, Result]) -> None:
    pytest.importorskip("anny")
    person = read_people("clip", results[55].folder).people[0].at(range(2))
    rigged = fitted(load_rig("anny", None), person)
    assert len(rigged.joints) == 46
    # the bodies of these results have bones of any length; swings of fingers are beyond what hands do
    body = [number for number, name in enumerate(rigged.joints) if name.endswith(("hip", "knee", "ankle", "shoulder", "elbow", "neck"))]
    assert rigged.error[:, body].mean() < 0.05
    assert ((rigged.parameters["shape"] >= 0) & (rigged.parameters["shape"] <= 1)).all()


def test_what_cannot_be_had_is_told_in_one_line(monkeypatch: Any, tmp_path: Path, results: dict[int, Result]) -> None:
    with pytest.raises(UserError, match=r"^mhr: .*its files cannot be read \(.*--body-model$"):
        exported(results[22], "mhr", tmp_path / "out", "--body-model", str(tmp_path))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="--surface: goes with --format glb or usd"):
        exported(results[22], "soma", tmp_path / "out", "--surface", "anny")

    def offline(*words: object, **options: object) -> None:
        raise OSError("the hub\ncannot be reached")

    monkeypatch.setattr("body_models.create_model", offline)
    with pytest.raises(UserError, match=r"^soma: its files are not here and could not be fetched \(the hub cannot be reached\)"):
        load_rig("soma", None)
    monkeypatch.setattr(model, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"^people in mhr's rig need body-models, which is not installed; pip install 'pose-priors\[rigs\]'$"
    ):
        load_rig("mhr", None)
