"""Recorded people on SMPL-X's joints: where joints are is kept, whatever the other skeleton's axes, unit and up."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from capture_cases import FPS, MIXAMO, NUM, walker, write_bvh
from scipy.spatial.transform import Rotation

from pose_priors.body.builtin import rest_joints
from pose_priors.body.fitting.points import bones_of
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS, index_of
from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import open_arrays
from pose_priors.datamodules.base import DataConfig, load_poses
from pose_priors.datamodules.capture.as_poses import recorded_poses
from pose_priors.datamodules.capture.bvh import read_bvh
from pose_priors.datamodules.capture.recorded import Recorded
from pose_priors.datamodules.capture.retarget import Retargeted, retargeted
from pose_priors.datamodules.capture.skeletons import SKELETONS, recognised
from pose_priors.datamodules.capture.usual_poses import with_girdles
from pose_priors.datamodules.formats import read_poses


@lru_cache(maxsize=1)
def recorded() -> Recorded:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        return read_bvh(write_bvh(Path(folder) / "walk.bvh"))


@lru_cache(maxsize=1)
def found() -> Retargeted:
    return retargeted(recorded())


def test_joints_stand_where_they_were_recorded() -> None:
    assert (found().maker, found().unit) == ("Mixamo", "centimetres")
    assert found().fps == pytest.approx(FPS, rel=1e-5)
    joints, _ = forward_kinematics(found().pose, found().rest, PARENTS)
    joints = (joints + found().pelvis[:, None]).numpy()[:, :22]
    truth = Rotation.from_euler("x", 90, degrees=True).apply(walker()[2].reshape(-1, 3)).reshape(NUM, 22, 3)
    at = [index_of(name) for name in found().names]
    error = np.linalg.norm(joints[:, at] - truth[:, at], axis=-1)
    assert error.mean() < 0.005
    assert np.percentile(error, 99) < 0.015
    np.testing.assert_allclose(found().off.numpy(), error, atol=1e-4)


MOVED = {"hip": (0.03, 0.02, 0.01), "neck": (0.0, -0.05, 0.03), "head": (0.0, -0.02, -0.02), "shoulder": (0.02, -0.04, 0.0)}


@lru_cache(maxsize=1)
def elsewhere() -> tuple[Retargeted, np.ndarray, torch.Tensor]:
    """The walker on a skeleton whose hips, neck, head and shoulders stand elsewhere, its joints (T, 22, 3), and these at rest."""
    pose, pelvis, _ = walker()
    bones = bones_of(rest_joints()[:22], PARENTS[:22])
    for name, shift in MOVED.items():
        for joint in [index for index, whole in enumerate(JOINT_NAMES[:22]) if whole.endswith(name)]:
            bones[joint] += torch.tensor(shift, dtype=bones.dtype) * torch.tensor([-1.0 if "right" in JOINT_NAMES[joint] else 1.0, 1, 1])
    rest = bones.clone()
    for joint in range(1, 22):
        rest[joint] += rest[PARENTS[joint]]
    turned = with_girdles(torch.from_numpy(pose))  # the built-in walker's do not sink when its arms hang, as shoulders that are lower would
    joints = (forward_kinematics(turned, rest, PARENTS[:22])[0] + torch.from_numpy(pelvis)[:, None]).numpy()
    at = [recorded().names.index(f"mixamorig:{MIXAMO[name]}") for name in JOINT_NAMES[:22]]
    places = recorded().places.copy()
    places[:, at] = 100 * joints
    upright = Rotation.from_euler("x", 90, degrees=True).apply(joints.reshape(-1, 3)).reshape(joints.shape)
    return retargeted(replace(recorded(), places=places)), upright, rest


def test_joints_that_stand_elsewhere_on_a_skeleton_stand_there() -> None:
    """They move with the bone that carries them, the same on all frames, and neighbours are not bent for their sake."""
    person, truth, rest = elsewhere()
    joints, _ = forward_kinematics(person.pose, person.rest, PARENTS)
    error = np.linalg.norm((joints + person.pelvis[:, None]).numpy()[:, :22] - truth, axis=-1)[:, [index_of(name) for name in person.names]]
    assert error.mean() < 0.006
    assert error.mean(0).max() < 0.012
    # of what a joint is elsewhere, the joints below it that no skeleton names may have a part
    for name in MOVED:
        joint = index_of(name if name in JOINT_NAMES else f"left_{name}")
        moved = rest[joint] - rest_joints()[joint]
        assert (person.rest[joint] - rest_joints()[joint]) @ moved > 0.5 * moved.square().sum()
    apart = roma.rotmat_geodesic_distance(*(roma.rotvec_to_rotmat(x[:, 1:22]) for x in (person.pose, found().pose))).rad2deg()
    assert apart.mean() < 4


def test_rotations_are_those_of_smplx() -> None:
    truth = torch.from_numpy(walker()[0])
    apart = roma.rotmat_geodesic_distance(*(roma.rotvec_to_rotmat(x[:, 1:22]) for x in (found().pose, truth))).rad2deg()
    legs = [index_of(f"{side}_{name}") - 1 for side in ("left", "right") for name in ("hip", "knee")]
    assert apart[:, legs].mean() < 8
    # what nothing tells, as how the forearm is turned, is as people usually have it
    assert apart.mean() < 12
    knees = found().pose[:, [index_of("left_knee"), index_of("right_knee")], 0]
    assert (knees > -0.2).all()
    assert knees.max() > 0.7


def test_sides_are_kept() -> None:
    truth = torch.from_numpy(walker()[0])
    for name in ("hip", "knee", "shoulder"):
        left, right = (index_of(f"{side}_{name}") for side in ("left", "right"))
        own = (found().pose[:, [left, right]] - truth[:, [left, right]]).norm(dim=-1).mean()
        swapped = (found().pose[:, [left, right]] - truth[:, [right, left]]).norm(dim=-1).mean()
        assert own < swapped


@pytest.mark.parametrize(("unit", "turn"), [(1.0, (90, 0, 0)), (0.001, (0, 0, 0)), (0.0254, (180, 0, 0))])
def test_unit_and_up_are_found(unit: float, turn: tuple[float, float, float]) -> None:
    change = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    few = recorded().places[::8] * 0.01 / unit
    other = replace(recorded(), places=few @ change.T, turns=change @ recorded().turns[::8])
    again = retargeted(other)
    assert again.off.mean() < 0.012
    assert (again.pelvis[:, 2] - found().pelvis[::8, 2]).abs().max() < 0.02
    assert (again.pose[:, 1:22] - found().pose[::8, 1:22]).abs().mean() < 0.05


def test_what_is_refused() -> None:
    names = tuple(name.replace("Leg", "Tentacle") for name in recorded().names)
    with pytest.raises(UserError, match=r"a skeleton of no known maker; known are CMU, .*SOMA; its joints are mixamorig:Hips"):
        retargeted(replace(recorded(), names=names))
    with pytest.raises(UserError, match="those of no person in metres"):
        retargeted(replace(recorded(), places=recorded().places * 0.004))
    lying = recorded().places.copy()
    lying[::2] = lying[::2] @ Rotation.from_euler("x", 180, degrees=True).as_matrix()
    with pytest.raises(UserError, match="no axis is clearly up"):
        retargeted(replace(recorded(), places=lying))


@pytest.mark.parametrize("maker", [skeleton.maker for skeleton in SKELETONS])
def test_every_skeleton_is_told_from_the_others(maker: str) -> None:
    skeleton = next(skeleton for skeleton in SKELETONS if skeleton.maker == maker)
    extra = {"CMU": ("LHipJoint",)}.get(maker, ())
    known, at = recognised(("Root", *extra, *skeleton.joints.values()), "a.bvh")
    assert known.maker == maker
    assert len(at) == len(skeleton.joints)
    assert all(name.startswith("left") == ("left" in ours) for ours, name in skeleton.joints.items() for name in [ours])


def test_a_file_is_read_as_poses(tmp_path: Path) -> None:
    path = write_bvh(tmp_path / "walk.bvh")
    assert set(open_arrays(path)) == {"poses", "trans", "mocap_framerate"}
    poses = read_poses(path)
    assert poses.poses.shape == (NUM, 55, 3)
    assert poses.fps == pytest.approx(FPS, rel=1e-5)
    assert poses.is_sequence
    np.testing.assert_allclose(poses.poses[:, 1:22], found().pose[:, 1:22], atol=1e-4)


def test_who_learns_from_poses_is_given_draws_of_what_they_may_have_been(tmp_path: Path) -> None:
    """Joints are where they were recorded, within their errors; what no joint tells spreads; motions stay the most probable ones."""
    path = write_bvh(tmp_path / "walk.bvh")
    likely, drawn = recorded_poses(path), recorded_poses(path, drawn=True)
    again = retargeted(read_bvh(path), drawn=True)
    np.testing.assert_array_equal(drawn["poses"], again.pose.flatten(1).numpy())
    joints = [
        (forward_kinematics(torch.from_numpy(found["poses"]).view(-1, 55, 3), again.rest, PARENTS)[0].numpy() + found["trans"][:, None])
        for found in (likely, drawn)
    ]
    apart = np.linalg.norm(joints[1] - joints[0], axis=-1)[:, [index_of(name) for name in again.names]]
    assert 0.002 < apart.mean() < 0.012
    spread = [found["poses"].reshape(-1, 55, 3)[:, index_of("left_wrist")].std(0).mean() for found in (likely, drawn)]
    assert spread[1] > 2 * spread[0]
    learnt = load_poses(str(path), DataConfig(cache_dir=str(tmp_path / "cache")))[np.arange(NUM)]
    np.testing.assert_allclose(learnt[:, 1:22].reshape(NUM, -1), drawn["poses"][:, 3:66], atol=1e-5)
    np.testing.assert_allclose(read_poses(path).poses[:, 1:22].reshape(NUM, -1), likely["poses"][:, 3:66], atol=1e-5)
