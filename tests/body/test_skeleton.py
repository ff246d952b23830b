"""The joint table against the smplx package, and its own consistency."""

from __future__ import annotations

import pytest

from pose_priors.body.skeleton import (
    JOINT_NAMES,
    MIRROR,
    NUM_JOINTS,
    PARENTS,
    PARTS,
    POSE53_TO_SMPLX,
    SMPL_TO_SMPLX,
    SMPLH_TO_SMPLX,
    index_of,
    tree_depth,
)


def test_names_are_those_of_smplx() -> None:
    joint_names = pytest.importorskip("smplx.joint_names")
    assert list(JOINT_NAMES) == joint_names.JOINT_NAMES[:NUM_JOINTS]


def test_smplh_names_are_those_of_smplx() -> None:
    joint_names = pytest.importorskip("smplx.joint_names")
    smplh = joint_names.SMPLH_JOINT_NAMES[: len(SMPLH_TO_SMPLX)]
    assert [JOINT_NAMES[i] for i in SMPLH_TO_SMPLX] == smplh


def test_every_parent_is_the_anatomical_one() -> None:
    """Parents follow from the names alone: fingers count up from the wrist, limbs go outwards on one side."""
    limb = {"knee": "hip", "ankle": "knee", "foot": "ankle", "shoulder": "collar", "elbow": "shoulder", "wrist": "elbow"}
    middle = {"spine1": "pelvis", "spine2": "spine1", "spine3": "spine2", "neck": "spine3", "head": "neck", "jaw": "head"}
    for name, parent in zip(JOINT_NAMES, PARENTS, strict=True):
        side, _, rest = name.partition("_")
        if name == "pelvis":
            assert parent == -1
            continue
        if name in middle:
            expected = middle[name]
        elif rest == "hip":
            expected = "pelvis"
        elif rest == "collar":
            expected = "spine3"
        elif rest == "eye_smplhf":
            expected = "head"
        elif rest in limb:
            expected = f"{side}_{limb[rest]}"
        else:  # a finger joint
            expected = f"{side}_wrist" if rest.endswith("1") else f"{side}_{rest[:-1]}{int(rest[-1]) - 1}"
        assert JOINT_NAMES[parent] == expected, name


def test_parts_cover_every_joint_once() -> None:
    assert sorted(i for part in PARTS.values() for i in part) == list(range(NUM_JOINTS))
    assert all(JOINT_NAMES[i].startswith("left_") for i in PARTS["left_hand"])
    assert all(JOINT_NAMES[i].startswith("right_") for i in PARTS["right_hand"])
    assert [JOINT_NAMES[i] for i in PARTS["jaw"]] == ["jaw"]


def test_mirror_swaps_sides_and_keeps_the_tree() -> None:
    assert [MIRROR[i] for i in MIRROR] == list(range(NUM_JOINTS))
    for i, j in enumerate(MIRROR):
        assert JOINT_NAMES[i].removeprefix("left_").removeprefix("right_") == JOINT_NAMES[j].removeprefix("left_").removeprefix("right_")
        assert (i == j) == (not JOINT_NAMES[i].startswith(("left_", "right_")))
        if PARENTS[i] >= 0:
            assert PARENTS[j] == MIRROR[PARENTS[i]]


def test_maps_of_relatives() -> None:
    eyes = {index_of("left_eye_smplhf"), index_of("right_eye_smplhf")}
    assert set(range(NUM_JOINTS)) - set(POSE53_TO_SMPLX) == eyes
    assert set(range(NUM_JOINTS)) - set(SMPLH_TO_SMPLX) == eyes | {index_of("jaw")}
    assert [JOINT_NAMES[i] for i in SMPL_TO_SMPLX][-2:] == ["left_wrist", "right_wrist"]


def test_depth_counts_edges_to_the_root() -> None:
    for joint, depth in enumerate(tree_depth(PARENTS)):
        steps = 0
        while PARENTS[joint] >= 0:
            joint, steps = PARENTS[joint], steps + 1
        assert steps == depth


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="tail"):
        index_of("tail")
