"""Anny on skeletons of ours, by a stand-in with its bones, and by the package's own model where that has been made."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins.anny_body import AnnyStandIn

from pose_priors.body.anny import model as anny_model
from pose_priors.body.anny.bones import BY_CONVENTION, MOVED_BY, STANDS_AT, owners
from pose_priors.body.anny.dressing import anny_skin, fitted_skin
from pose_priors.body.anny.joints import convention, fit_phenotypes, joints_in
from pose_priors.body.anny.model import PHENOTYPES, AnnyBody
from pose_priors.body.anny.turns import smallest_turn, turns_to_rest
from pose_priors.body.anny.warp import warped
from pose_priors.body.anthropometry import heights
from pose_priors.body.builtin import rest_joints
from pose_priors.body.layout import layout
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS, index_of
from pose_priors.configs.base import UserError

BODIES = (22, 24, 55)


def skeleton(num: int = 55, stature: float = 1.70) -> np.ndarray:
    """(num, 3) offsets of the built-in one; SMPL's hands are 8 cm before the wrists."""
    rest = rest_joints(stature).numpy()
    offsets = np.zeros((num, 3))
    known = min(num, 22) if num < 55 else 55
    offsets[1:known] = rest[1:known] - rest[list(PARENTS[1:known])]
    if num == 24:
        offsets[22:] = [[0.08, 0, 0], [-0.08, 0, 0]]
    return offsets


def posed(offsets: np.ndarray, seed: int, size: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (J, 3, 3) and joints (J, 3) of a random pose about an upright pelvis."""
    num = len(offsets)
    pose = size * torch.randn(num, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pose[0] = 0
    parents = layout(num).parents
    rest = np.zeros_like(offsets)
    for joint in range(1, num):
        rest[joint] = rest[parents[joint]] + offsets[joint]
    joints, turns = forward_kinematics(pose, torch.from_numpy(rest), parents)
    return turns.numpy(), joints.numpy()


@pytest.fixture(scope="module")
def body() -> AnnyBody:
    return AnnyBody(AnnyStandIn())


def test_every_joint_has_bones_and_sides_are_not_mixed() -> None:
    assert set(MOVED_BY) == set(JOINT_NAMES) == set(STANDS_AT)
    assert len({bone for bones in MOVED_BY.values() for bone in bones}) == sum(map(len, MOVED_BY.values()))
    for joint, bones in (MOVED_BY | STANDS_AT).items():
        sides = {bone[-2:] for bone in bones if bone[-2:] in (".L", ".R")}
        assert sides <= {"left_": {".L"}, "right": {".R"}}.get(joint[:5], {".L", ".R"}), joint
    assert not BY_CONVENTION - set(JOINT_NAMES)
    found = owners([*AnnyStandIn().bone_labels, "tongue00"], [*AnnyStandIn().bone_parents, AnnyStandIn().bone_labels.index("jaw")])
    assert JOINT_NAMES[found[-1]] == "jaw"
    with pytest.raises(ValueError, match=r"no bone is named wrist\.R"):
        owners([bone for bone in AnnyStandIn().bone_labels if bone != "wrist.R"], [-1, *([0] * (len(AnnyStandIn().bone_labels) - 2))])


def test_the_smallest_turn_brings_one_direction_to_the_other_and_leaves_what_is_across() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.normal(size=(2, 3))
        turn = smallest_turn(a, b)
        np.testing.assert_allclose(turn @ a / np.linalg.norm(a), b / np.linalg.norm(b), atol=1e-12)
        np.testing.assert_allclose(turn @ np.cross(a, b), np.cross(a, b), atol=1e-12)
    np.testing.assert_allclose(smallest_turn(a, 2 * a), np.eye(3), atol=1e-12)


def test_turned_bones_have_the_directions_of_the_skeleton_at_rest(body: AnnyBody) -> None:
    rest = rest_joints().numpy()
    standing = joints_in(body, convention(body).mean, rest)
    turns = turns_to_rest(standing, rest)

    def directions(joints: np.ndarray, a: int, b: int) -> np.ndarray:
        return (joints[b] - joints[a]) / np.linalg.norm(joints[b] - joints[a])

    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"), ("index1", "index2"), ("wrist", "middle1")):
        for side in ("left", "right"):
            at, to = index_of(f"{side}_{a}"), index_of(f"{side}_{b}")
            np.testing.assert_allclose(turns[at] @ directions(standing, at, to), directions(rest, at, to), atol=1e-9)
    for name in ("pelvis", "spine3", "head", "jaw"):
        np.testing.assert_allclose(turns[index_of(name)], np.eye(3), atol=1e-12)
    for side in ("left", "right"):
        np.testing.assert_allclose(turns[index_of(f"{side}_ankle")][1], [0, 1, 0], atol=1e-12)  # soles stay level
        # the palm looks down: across the hand, towards the thumb, is forward
        across = [at[index_of(f"{side}_index1")] - at[index_of(f"{side}_pinky1")] for at in (standing, rest)]
        assert (turns[index_of(f"{side}_wrist")] @ across[0])[2] > 0.8 * np.linalg.norm(across[0])


@pytest.mark.parametrize("num", BODIES)
def test_joints_of_the_surface_are_those_of_the_skeleton(body: AnnyBody, num: int) -> None:
    """A vertex blob stands around each of Anny's bones: where both agree on a joint, its middle is carried to ours, in any pose."""
    offsets = skeleton(num, 1.62)
    skin = anny_skin(body, offsets)
    turns, joints = posed(offsets, num)
    vertices, normals = skin.posed(turns, joints)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-9)
    agreed = [name for name in JOINT_NAMES[1:22] if name not in BY_CONVENTION]
    assert len(agreed) == 11
    for name in agreed + ([n for n in JOINT_NAMES[25:] if n not in BY_CONVENTION] if num == 55 else []):
        (bone,) = STANDS_AT[name]
        of_bone = np.flatnonzero(body._model.dense_vertex_bone_weights[:, body.bones.index(bone)])[:6]
        off = vertices[of_bone].mean(0) - joints[index_of(name)]
        assert np.linalg.norm(off) < 0.004, (name, off)
    left = vertices[np.flatnonzero(body.weights[:, index_of("left_elbow")])].mean(0)
    assert np.linalg.norm(left - joints[index_of("left_elbow")]) < 0.5 * np.linalg.norm(left - joints[index_of("right_elbow")])


def test_fingers_move_with_the_hand_that_smpl_has(body: AnnyBody) -> None:
    """Its joint of a hand turns the knuckles about itself, and leaves the wrist."""
    offsets = skeleton(24)
    skin = anny_skin(body, offsets)
    turns, joints = posed(offsets, 0, 0.0)
    still, _ = skin.posed(turns, joints)
    turns[23] = smallest_turn(np.array([0, 1.0, 0]), np.array([0.3, 1.0, 0.2]))
    bent, _ = skin.posed(turns, joints)
    fingers = body.weights[:, 40:].sum(1) > 0.5
    np.testing.assert_allclose(bent[fingers], joints[23] + (still[fingers] - joints[23]) @ turns[23].T, atol=1e-9)
    np.testing.assert_allclose(bent[~fingers], still[~fingers], atol=1e-12)


def test_posing_is_linear_blend_skinning(body: AnnyBody) -> None:
    """Against a sum over joints of each vertex, written out."""
    offsets = skeleton()
    skin = anny_skin(body, offsets)
    turns, joints = posed(offsets, 1)
    found, _ = skin.posed(turns, joints)
    for v in range(0, len(found), 17):
        expected = sum(
            weight * (turns[joint] @ (skin.bind[joint] @ np.append(skin.vertices[v], 1))[:3] + joints[joint])
            for joint, weight in zip(skin.joints[v], skin.weights[v], strict=True)
        )
        np.testing.assert_allclose(found[v], expected, atol=1e-12)
    np.testing.assert_allclose(skin.weights.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize("num", BODIES)
@pytest.mark.parametrize("stature", [1.1, 1.7, 1.95])
def test_soles_are_level_where_feet_stand(body: AnnyBody, num: int, stature: float) -> None:
    offsets = skeleton(num, stature)
    turns, joints = np.tile(np.eye(3), (num, 1, 1)), posed(offsets, 0, 0.0)[1]
    sole = joints[7, 1] - heights(joints[:22], None)[7]
    vertices, _ = anny_skin(body, offsets).posed(turns, joints)
    assert abs(vertices[:, 1].min() - sole) < 0.002
    raised, _ = anny_skin(body, offsets, raised=0.01).posed(turns, joints)
    assert abs(raised[:, 1].min() - vertices[:, 1].min() - 0.01) < 0.003


def test_feet_become_as_thick_as_standing_says(body: AnnyBody) -> None:
    """A floor 8 mm above where the skeleton's soles would be, and some frames in the air."""
    offsets = skeleton()
    joints = np.repeat(posed(offsets, 0, 0.0)[1][None], 12, 0)
    joints[8:, :, 1] += 0.3
    turns = np.tile(np.eye(3), (12, 55, 1, 1))
    sole = joints[0, 7, 1] - heights(joints[0, :22], None)[7]
    floor = np.array([0, 1.0, 0, -(sole + 0.008)])
    vertices, _ = fitted_skin(body, offsets, turns, joints, floor).posed(turns[0], joints[0])
    assert abs(vertices[:, 1].min() + floor[3]) < 0.001
    away, _ = fitted_skin(body, offsets, turns, joints, floor + np.eye(4)[3]).posed(turns[0], joints[0])
    assert abs(away[:, 1].min() - sole) < 0.002  # nobody stands on it: as the skeleton says
    far = floor - 0.02 * np.eye(4)[3]
    bounded, _ = fitted_skin(body, offsets, turns, joints, far).posed(turns[0], joints[0])
    assert bounded[:, 1].min() - sole < 0.0151


def test_a_phenotype_is_as_large_as_the_skeleton(body: AnnyBody) -> None:
    mean = convention(body).mean
    assert np.ptp(body.vertices(mean)[:, 1]) == pytest.approx(1.70, abs=1e-6)
    assert fit_phenotypes(body, rest_joints().numpy()) == pytest.approx(mean, abs=2e-3)
    tall, child = (fit_phenotypes(body, rest_joints(stature).numpy()) for stature in (1.9, 1.1))
    assert np.ptp(body.vertices(tall)[:, 1]) == pytest.approx(1.9, abs=0.03)
    assert np.ptp(body.vertices(child)[:, 1]) == pytest.approx(1.1, abs=0.06)
    assert tall["age"] == PHENOTYPES["age"] > child["age"]
    assert tall["gender"] == child["gender"] == PHENOTYPES["gender"]


def test_a_warp_carries_its_places_and_leaves_an_affine_map_as_it_is() -> None:
    rng = np.random.default_rng(0)
    before, points = rng.normal(size=(9, 3)), rng.normal(size=(20, 3))
    after = before + 0.1 * rng.normal(size=before.shape)
    np.testing.assert_allclose(warped(before, before, after), after, atol=1e-9)
    matrix, shift = rng.normal(size=(3, 3)), rng.normal(size=3)
    np.testing.assert_allclose(warped(points, before, before @ matrix + shift), points @ matrix + shift, atol=1e-9)


def test_a_package_that_is_missing_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    anny_model.load_anny.cache_clear()
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(UserError, match=r"--surface anny needs .* pip install 'pose-priors\[anny\]'"):
        anny_model.chosen_anny("anny")
    assert anny_model.chosen_anny("auto") is None
    assert anny_model.chosen_anny("capsules") is None


def test_a_body_that_cannot_be_made_leaves_capsules_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> AnnyBody:
        raise UserError("the disk is full")

    monkeypatch.setattr(anny_model, "find_spec", lambda name: name)
    monkeypatch.setattr(anny_model, "load_anny", broken)
    assert anny_model.chosen_anny("auto") is None
    assert "the disk is full; bodies are capsules" in caplog.text
    with pytest.raises(UserError, match="the disk is full"):
        anny_model.chosen_anny("anny")


def test_a_bone_without_length_is_refused(body: AnnyBody) -> None:
    for value in (0.0, np.nan):
        offsets = skeleton()
        offsets[18] = value
        with pytest.raises(UserError, match=r"without a bone to left_elbow: .* --surface capsules"):
            anny_skin(body, offsets)


def made() -> AnnyBody:
    """The package's own body, where it is installed and has been made."""
    pytest.importorskip("anny")
    from anny.paths import get_anny_cache_path

    if not any(Path(get_anny_cache_path()).glob("v*/build_compact_model_data_*")):
        pytest.skip("Anny's body has not been made here; pose-priors export --format glb --surface anny makes it once")
    return anny_model.load_anny()


def test_the_real_body_moves_as_its_own_model_does() -> None:
    """Anny's forward by the world orientations that our rotations mean, of the mean adult, whom nothing warps far: both pivot about joints
    of their own, some centimetres apart, and neither left and right nor before and behind are changed."""
    body = made()
    rest, offsets, mean = rest_joints(), skeleton(), convention(body).mean
    skin = anny_skin(body, offsets)
    turns = turns_to_rest(joints_in(body, mean, rest.numpy()), rest.numpy())
    to_ours = anny_model._TO_OURS
    with torch.no_grad():
        model = body._model
        own_rest = model(phenotype_kwargs=mean)["rest_bone_poses"][0, :, :3, :3].double().numpy()
        for seed, most in ((0, 0.035), (1, 0.035)):
            turned, joints = posed(offsets, seed, 0.25)
            world = np.zeros((1, len(body.bones), 4, 4))
            world[..., 3, 3] = 1
            world[0, :, :3, :3] = to_ours.T @ (turned @ turns)[body.owner] @ to_ours @ own_rest
            out = model(pose_parameters=torch.from_numpy(world), phenotype_kwargs=mean, pose_parameterization="world-orient")
            expected = out["vertices"][0].double().numpy() @ to_ours.T
            off = skin.posed(turned, joints)[0] - expected
            distance = np.linalg.norm(off - off.mean(0), axis=1)
            assert distance.mean() < most
            assert distance.max() < 0.1


@pytest.mark.parametrize("stature", [1.2, 1.7, 1.9])
def test_the_real_skin_folds_where_the_joints_are(stature: float) -> None:
    """The ring of vertices that hang on both sides of a joint is about it; soles are level; four joints say all."""
    body, offsets = made(), skeleton(stature=stature)
    skin = anny_skin(body, offsets)
    joints = posed(offsets, 0, 0.0)[1]
    vertices, _ = skin.posed(np.tile(np.eye(3), (55, 1, 1)), joints)
    for name, most in (("knee", 0.03), ("ankle", 0.025), ("elbow", 0.025), ("wrist", 0.008), ("shoulder", 0.042), ("index2", 0.01)):
        for side in ("left", "right"):
            at = index_of(f"{side}_{name}")
            ring = vertices[(body.weights[:, [at, PARENTS[at]]] > 0.3).all(1)]
            assert np.linalg.norm((ring.max(0) + ring.min(0)) / 2 - joints[at]) < most, name
    assert np.ptp(vertices[:, 1]) == pytest.approx(stature, rel=0.03)
    sole = joints[7, 1] - heights(joints[:22], None)[7]
    assert abs(vertices[:, 1].min() - sole) < 0.002
    assert np.sort(body.weights, 1)[:, :-4].sum(1).max() < 0.1
    # the nose is before the head, and the toes before the heels
    assert vertices[body.weights[:, index_of("head")] > 0.9, 2].max() > joints[index_of("head"), 2] + 0.05
    assert vertices[body.weights[:, index_of("left_foot")] > 0.5, 2].mean() > joints[index_of("left_ankle"), 2] + 0.05
