"""BVH and Acclaim files are read as they were written, and what is none is refused in one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from capture_cases import FPS, MIXAMO, NUM, walker, write_bvh

from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.base import UserError
from pose_priors.datamodules.cache import store
from pose_priors.datamodules.cache.conversion import Conversion
from pose_priors.datamodules.cache.stamps import stamp_of
from pose_priors.datamodules.capture.asf_amc import read_amc
from pose_priors.datamodules.capture.bvh import read_bvh
from pose_priors.refinement.motions.batch import digest_of
from pose_priors.refinement.motions.config import MotionsConfig


@pytest.mark.parametrize(("order", "positions"), [("ZXY", False), ("XYZ", True), ("ZYX", False)])
def test_places_of_a_bvh(tmp_path: Path, order: str, positions: bool) -> None:
    read = read_bvh(write_bvh(tmp_path / "walk.bvh", order=order, positions=positions))
    assert read.fps == pytest.approx(FPS, rel=1e-5)
    columns = [read.names.index(f"mixamorig:{MIXAMO[name]}") for name in JOINT_NAMES[:22]]
    np.testing.assert_allclose(read.places[:, columns] / 100, walker()[2], atol=1e-5)
    assert read.turns.shape == (NUM, len(read.names), 3, 3)


def test_a_joints_name_may_speak_of_motion(tmp_path: Path) -> None:
    path = write_bvh(tmp_path / "walk.bvh")
    path.write_text(path.read_text().replace("mixamorig:Spine", "MOTION_Spine"))
    assert "MOTION_Spine" in read_bvh(path).names


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("HIERARCHY", "HIERARCH", "no HIERARCHY and MOTION"),
        ("ROOT", "JOINT", "one root, and names once each"),
        ("mixamorig:LeftLeg", "mixamorig:LeftUpLeg", "names once each"),
        ("CHANNELS 3", "CHANNELS 9", "the channels"),
        ("Zrotation", "Wrotation", "the channels .*Wrotation"),
        ("Frames: 24", "Frames: 25", r"numbers for 25 frames of 69 channels"),
        ("Frame Time: 0.03333333", "Frame Time: 0", "0 seconds each"),
        ("Frame Time: 0.03333333\n", "Frame Time: 0.03333333\nnan ", "not finite"),
        ("}\nMOTION", "MOTION", "not complete"),
        ("OFFSET 0 0 0", "OFFSET 0 0 x", "no BVH"),
    ],
)
def test_what_is_no_bvh(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = write_bvh(tmp_path / "walk.bvh")
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=told) as error:
        read_bvh(path)
    assert "\n" not in str(error.value)


ASF = """:version 1.10
:name VICON
:units
  mass 1.0
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
:bonedata
  begin
     id 1
     name thigh
     direction 0 -1 0
     length 8
     axis 0 0 90 XYZ
    dof rx rz
  end
  begin
     id 2
     name shank
     direction 0 -1 0
     length 7
     axis 0 0 0 XYZ
    dof rx
  end
:hierarchy
  begin
    root thigh
    thigh shank
  end
"""


def test_bones_turn_about_axes_of_their_own(tmp_path: Path) -> None:
    """About the thigh's own x, which is the world's y, nothing of a hanging thigh moves; about its own z it goes aside."""
    (tmp_path / "07.asf").write_text(ASF)
    path = tmp_path / "07_01.amc"
    path.write_text(
        "#!OML\n:FULLY-SPECIFIED\n:DEGREES\n1\nroot 0 20 0 0 0 0\nthigh 40 0\nshank 0\n2\nroot 0 20 0 0 0 0\nthigh 0 90\nshank 90\n"
    )
    read = read_amc(path)
    inch = 0.0254 / 0.45
    assert read.names == ("root", "thigh", "shank", "shank_end")
    np.testing.assert_allclose(read.places[0] / inch, [[0, 20, 0], [0, 20, 0], [0, 12, 0], [0, 5, 0]], atol=1e-9)
    # a quarter about z brings the thigh to +x; the shank bends about an x that went along, and points to -z
    np.testing.assert_allclose(read.places[1] / inch, [[0, 20, 0], [0, 20, 0], [8, 20, 0], [8, 20, -7]], atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("thigh 40 0", "thigh 40", "2 numbers of a bone"),
        ("thigh 40 0", "arm 40 0", "no AMC of this skeleton"),
        ("root 0 20", "root", "6 numbers"),
        ("shank 0\n", "shank 0\n2\nroot 0 20 0 0 0 0\nthigh 40 0\n", "its frame 2 names 2 bones and its first 3; is the file complete"),
    ],
)
def test_what_is_no_amc(tmp_path: Path, old: str, new: str, told: str) -> None:
    (tmp_path / "07.asf").write_text(ASF)
    path = tmp_path / "07_01.amc"
    path.write_text("1\nroot 0 20 0 0 0 0\nthigh 40 0\nshank 0\n".replace(old, new))
    with pytest.raises(UserError, match=told):
        read_amc(path)


def test_a_skeleton_is_needed_and_its_units(tmp_path: Path) -> None:
    path = tmp_path / "07_01.amc"
    path.write_text("1\nroot 0 20 0 0 0 0\n")
    with pytest.raises(UserError, match=re.escape("needs the ASF of its subject beside it, 07.asf; found none")):
        read_amc(path)
    for spoiled, told in ((ASF.replace("length 0.45", ""), "units with length"), (ASF.replace("    root thigh\n", ""), "no ASF")):
        (tmp_path / "07.asf").write_text(spoiled)
        with pytest.raises(UserError, match=told):
            read_amc(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("order TX TY TZ RX RY RZ", "order RX RY RZ TX TY TZ"),
        ("order TX TY TZ RX RY RZ", "order TX TY TZ RX RY RZ\n   axis ZYX"),
        ("order TX TY TZ RX RY RZ", "order TX TY TZ RX RY RZ\n   orientation 0 90 0"),
        ("axis 0 0 90 XYZ", "axis 0 0 90 ZYX"),
    ],
)
def test_axes_that_are_not_read_are_refused(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "07.asf").write_text(ASF.replace(old, new))
    path = tmp_path / "07_01.amc"
    path.write_text("1\nroot 0 20 0 0 0 0\nthigh 40 0\nshank 0\n")
    with pytest.raises(UserError, match=r"07\.asf: .*(ZYX|RX RY RZ TX|0 90 0).*XYZ"):
        read_amc(path)


def test_what_was_made_of_an_amc_is_made_anew_for_another_skeleton(tmp_path: Path) -> None:
    path, skeleton = tmp_path / "07_01.amc", tmp_path / "07.asf"
    path.write_text("1\nroot 0 20 0 0 0 0\n")
    names = []
    for text in (None, ASF, ASF.replace("length 8", "length 9")):
        if text is not None:
            skeleton.write_text(text)
        stamp = stamp_of([path], 1, Conversion()).digest
        names.append((stamp, store._key([path], Conversion()), digest_of(path, "clean", MotionsConfig())))
    assert [len(set(column)) for column in zip(*names, strict=True)] == [3, 3, 3]
