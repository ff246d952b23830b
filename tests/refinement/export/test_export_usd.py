"""Stages of OpenUSD, read and skinned by its own library: joints and skin that come out are those that went in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from export_results import CLIP, FPS, LIVES, TOLERANCE_M, Result, every_body, exported
from pxr import Tf, Usd, UsdGeom, UsdSkel, UsdValidation, Vt

from pose_priors.body.anny.model import AnnyBody
from pose_priors.body.model import chained
from pose_priors.configs.base import UserError
from pose_priors.refinement.export.people import read_people
from pose_priors.refinement.export.rate import resampled
from pose_priors.refinement.export.skins import skin_of
from pose_priors.refinement.export.usd import write_usd

FIRST = 100  # the clip's number of the first frame


def opened(path: Path) -> Usd.Stage:
    stage = Usd.Stage.Open(str(path))
    assert stage
    return stage


def skeleton_of(stage: Usd.Stage, person: int, cache: UsdSkel.Cache) -> UsdSkel.SkeletonQuery:
    root = UsdSkel.Root(stage.GetPrimAtPath(f"/World/person_{person:03d}"))
    cache.Populate(root, Usd.PrimDefaultPredicate)
    return cache.GetSkelQuery(UsdSkel.Skeleton(stage.GetPrimAtPath(f"{root.GetPath()}/skeleton")))


def skinned(stage: Usd.Stage, person: int, frame: int) -> np.ndarray:
    """(V, 3) vertices as USD poses them."""
    cache = UsdSkel.Cache()
    query = skeleton_of(stage, person, cache)
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath(f"/World/person_{person:03d}/skin"))
    points = Vt.Vec3fArray(mesh.GetPointsAttr().Get())
    skinning = cache.GetSkinningQuery(mesh.GetPrim())
    assert skinning.ComputeSkinnedPoints(query.ComputeSkinningTransforms(frame), points, frame)
    return np.array(points)


@every_body
def test_joints_of_everybody_are_where_they_were(results: dict[int, Result], tmp_path: Path, num_joints: int) -> None:
    result = results[num_joints]
    (path,) = exported(result, "usd", tmp_path)
    stage = opened(path)
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert (stage.GetTimeCodesPerSecond(), stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (FPS, FIRST, FIRST + CLIP - 1)
    for person, truth in result.joints.items():
        query = skeleton_of(stage, person, UsdSkel.Cache())
        names = [token.rsplit("/", 1)[-1] for token in query.GetJointOrder()]
        assert names == list(read_people("clip", result.folder).people[0].names)
        begin, end = LIVES[person]
        imageable = UsdGeom.Imageable(stage.GetPrimAtPath(f"/World/person_{person:03d}"))
        for frame in (0, 4, 8, 9, 20, 33, 49, 50, CLIP - 1):
            seen = imageable.ComputeVisibility(FIRST + frame) == UsdGeom.Tokens.inherited
            assert seen == (begin <= frame < end)
            if seen:
                found = np.array(query.ComputeJointSkelTransforms(FIRST + frame))[:, 3, :3]
                assert np.abs(found - truth[frame - begin]).max() < TOLERANCE_M
    data = stage.GetPrimAtPath("/World/person_002").GetCustomData()
    assert (data["first_frame"], data["last_frame"], list(data["frames_not_seen"])) == (104, 149, [109, 110, 111, 112])


def test_frames_may_be_numbered_by_the_time_of_day(results: dict[int, Result], tmp_path: Path) -> None:
    """In milliseconds since 1970, which is more than 32 bits hold."""
    whole = read_people("clip", results[22].folder)
    late = 1_700_000_000_000
    path = tmp_path / "late.usd"
    write_usd(path, replace(whole, people=tuple(replace(person, frames=person.frames + late) for person in whole.people)), None)
    stage = opened(path)
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (late + FIRST, late + FIRST + CLIP - 1)
    data = stage.GetPrimAtPath("/World/person_002").GetCustomData()
    assert (data["last_frame"], list(data["frames_not_seen"])) == (late + 149, [late + frame for frame in (109, 110, 111, 112)])


def test_between_two_frames_rotations_go_the_shortest_way(results: dict[int, Result], tmp_path: Path) -> None:
    """Though the pelvis goes all the way around; the other route is the same clip at twice its rate."""
    (path,) = exported(results[22], "usd", tmp_path)
    stage = opened(path)  # lives as long as a name holds it
    query = skeleton_of(stage, 1, UsdSkel.Cache())
    twice = resampled(read_people("clip", results[22].folder), 2 * FPS).people[0]
    for frame, expected in zip(twice.frames, twice.joints, strict=True):
        found = np.array(query.ComputeJointSkelTransforms(frame / 2))[:, 3, :3]
        assert np.abs(found - expected).max() < TOLERANCE_M


@pytest.mark.parametrize("wear", ["capsules", "anny"])
def test_usd_poses_the_skin_as_it_is_posed_here_and_within_its_extent(
    results: dict[int, Result], tmp_path: Path, anny_stand_in: AnnyBody, wear: str
) -> None:
    result = results[55]
    (path,) = exported(result, "usd", tmp_path, "--surface", wear)
    stage = opened(path)
    person = read_people("clip", result.folder).people[1]
    skin = skin_of(person, anny_stand_in if wear == "anny" else None)
    _, turns = chained(torch.from_numpy(person.rotmat), torch.from_numpy(person.offsets), person.parents)
    extent = UsdGeom.Boundable(stage.GetPrimAtPath("/World/person_002")).GetExtentAttr()
    for row in (0, 20, 45):
        frame = FIRST + LIVES[2][0] + row
        expected, _ = skin.posed(turns[row].numpy(), person.joints[row])
        found = skinned(stage, 2, frame)
        assert np.abs(found - expected).max() < TOLERANCE_M
        low, high = np.array(extent.Get(frame))
        assert (low <= found.min(0)).all()
        assert (found.max(0) <= high).all()


def test_the_mesh_is_drawn_as_it_is_and_from_outside(results: dict[int, Result], tmp_path: Path) -> None:
    (path,) = exported(results[24], "usd", tmp_path)
    stage = opened(path)
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/World/person_007/skin"))
    points, corners = np.array(mesh.GetPointsAttr().Get()), np.array(mesh.GetFaceVertexIndicesAttr().Get())
    assert set(mesh.GetFaceVertexCountsAttr().Get()) == {3}
    solid = trimesh.Trimesh(points, corners.reshape(-1, 3), process=False)
    assert solid.is_watertight
    assert solid.volume > 0
    assert mesh.GetNormalsInterpolation() == UsdGeom.Tokens.vertex
    assert (solid.vertex_normals * np.array(mesh.GetNormalsAttr().Get())).sum(1).min() > 0.8
    assert mesh.GetSubdivisionSchemeAttr().Get() == UsdGeom.Tokens.none  # smoothing would draw capsules that are thinner
    np.testing.assert_array_equal(mesh.GetExtentAttr().Get(), [points.min(0), points.max(0)])
    rest = np.array(skeleton_of(stage, 7, UsdSkel.Cache()).ComputeJointSkelTransforms(FIRST, True))[:, 3, :3]
    np.testing.assert_allclose(rest, results[24].rest[7] - results[24].rest[7][0], atol=TOLERANCE_M)


def test_the_surface_of_a_body_model_is_taken(results: dict[int, Result], tmp_path: Path) -> None:
    (path,) = exported(results[55], "usd", tmp_path, "--body-model", str(results[55].model))
    stage = opened(path)
    assert len(UsdGeom.Mesh(stage.GetPrimAtPath("/World/person_001/skin")).GetPointsAttr().Get()) == 55 * 6


def test_usds_own_validators_find_nothing(results: dict[int, Result], tmp_path: Path) -> None:
    (path,) = exported(results[24], "usd", tmp_path)
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(validators) > 10
    found = UsdValidation.ValidationContext(validators).Validate(opened(path))
    assert [error.GetMessage() for error in found] == []


def test_a_stage_that_cannot_be_saved_is_one_line_and_leaves_nothing(
    results: dict[int, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Usd.Stage.CreateNew

    def without_place(path: str) -> Usd.Stage:
        """A stage that cannot be saved: a folder stands in its place."""
        stage = create(path)
        Path(path).unlink(missing_ok=True)
        Path(path).mkdir()
        return stage

    monkeypatch.setattr(Usd.Stage, "CreateNew", without_place)
    with pytest.raises(UserError, match=r"out: cannot be written .*--output") as refusal:
        exported(results[22], "usd", tmp_path / "out")
    assert isinstance(refusal.value.__cause__.__cause__, Tf.ErrorException)
    assert list((tmp_path / "out").glob("*")) == []
