"""Many instances in one npz, taken apart."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from instance_scenes import SQUARES, H, Hostile, T, V, W, members, opened, pickled, scene

from pose_priors.configs.base import UserError
from pose_priors.refinement.instances import (
    create_single_instance_npz,
    get_mask_instance_ids,
    query_points,
    split_npz_by_instances,
    verify_instance_npz,
)
from pose_priors.refinement.instances.archive import camera_masks


def test_instances_are_taken_apart_and_all_else_is_carried_along(npz: Path, tmp_path: Path) -> None:
    assert get_mask_instance_ids(npz) == ["instance_0", "instance_2", "instance_10"]
    paths = split_npz_by_instances(input_npz_path=npz, output_dir=tmp_path / "out", mask_key="sam2_masks")
    assert {name: path.name for name, path in paths.items()} == {name: f"my scene_{name}.npz" for name in SQUARES}
    whole = members(npz)
    for name, path in paths.items():
        assert verify_instance_npz(path, expected_instance_id=name)
        assert not verify_instance_npz(path, "instance_1")
        part = members(path)
        assert set(part) == set(whole) | {"instance_id.npy", "original_file.npy"}
        assert all(part[key] == content for key, content in whole.items() if key != "sam2_masks.npy")
        (kept,) = opened(path)["sam2_masks"].item().items()
        assert kept[0] == name
        np.testing.assert_array_equal(kept[1], scene()["sam2_masks"].item()[name])
        assert str(opened(path)["instance_id"]) == name
    assert not verify_instance_npz(npz, "instance_0")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in paths.values())


def test_one_instance_keeps_its_own_name_also_if_it_is_a_number(tmp_path: Path) -> None:
    masks = {7: np.ones((T, H, W), np.uint8), 3: np.zeros((T, H, W), np.uint8)}
    np.savez(tmp_path / "a.npz", masks=pickled(masks), extra=np.arange(3), rgbs=np.zeros(2))
    assert get_mask_instance_ids(tmp_path / "a.npz", "masks") == ["3", "7"]
    out = create_single_instance_npz(
        input_npz_path=tmp_path / "a.npz", instance_id="7", output_npz_path=tmp_path / "b" / "c.npz", mask_key="masks", keep_all_data=False
    )
    assert list(opened(out)["masks"].item()) == [7]
    assert verify_instance_npz(out, "7", "masks")
    assert set(opened(out)) == {"masks", "rgbs", "instance_id", "original_file"}
    with pytest.raises(UserError, match="no instance 'x'; there are 3, 7"):
        create_single_instance_npz(tmp_path / "a.npz", "x", tmp_path / "d.npz", "masks")


@pytest.mark.parametrize("where", ["sam2_masks", "robot_states"])
def test_a_pickle_that_would_run_something_is_refused_wherever_it_is(npz: Path, tmp_path: Path, where: str) -> None:
    content = scene()
    content[where] = pickled({"instance_0": Hostile(tmp_path / "ran"), "instance_1": np.ones((T, H, W))})
    np.savez(npz, **content)
    for attempt in (
        lambda: get_mask_instance_ids(npz),
        lambda: split_npz_by_instances(npz, tmp_path / "out"),
        lambda: create_single_instance_npz(npz, "instance_1", tmp_path / "out" / "a.npz"),
        lambda: query_points(npz),
    ):
        with pytest.raises(UserError, match=r"refused to unpickle .*mkdir"):
            attempt()
    assert not verify_instance_npz(npz, "instance_0")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.zeros(3)}, r"no 'sam2_masks'; it holds other \(3,\).*--mask-key"),
        ({"sam2_masks": np.zeros((T, H, W))}, "'sam2_masks' is ndarray; a dict"),
        ({"sam2_masks": pickled({})}, "'sam2_masks' is an empty dict"),
        ({"sam2_masks": pickled({1: 0, "1": 0})}, "two instances of the same name"),
        ({"sam2_masks": pickled({"../../etc": 0})}, r"'\.\./\.\./etc', which cannot be a part of a file name"),
    ],
)
def test_what_holds_no_masks_by_instance_is_told(tmp_path: Path, content: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(UserError, match=message):
        split_npz_by_instances(tmp_path / "a.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_was_cut_off_is_told(npz: Path, tmp_path: Path) -> None:
    npz.write_bytes(npz.read_bytes()[:-200])
    with pytest.raises(UserError, match="not a whole one"):
        get_mask_instance_ids(npz)
    with pytest.raises(UserError, match="no such file"):
        get_mask_instance_ids(tmp_path / "none.npz")


def test_masks_come_in_arrays_and_lists_of_arrays() -> None:
    rng = np.random.default_rng(0)
    of_cameras = rng.random((V, T, H, W)) < 0.5
    shapes = (
        of_cameras,
        of_cameras.astype(np.uint8) * 255,
        list(of_cameras),
        [list(view) for view in of_cameras],
        np.array([None, *of_cameras], dtype=object)[1:],
    )
    for value in shapes:
        found = camera_masks(value, "here")
        assert all(view.dtype == bool for view in found)
        np.testing.assert_array_equal(np.stack(found), of_cameras)
    for value in (of_cameras[0], list(of_cameras[0]), tuple(of_cameras[0])):
        (view,) = camera_masks(value, "here")
        np.testing.assert_array_equal(view, of_cameras[0])
    sizes = camera_masks([of_cameras[0], of_cameras[1, :, :3]], "here")
    assert [view.shape for view in sizes] == [(T, H, W), (T, 3, W)]
    for bad in (of_cameras[0, 0], "text", [], [of_cameras], [of_cameras[0], of_cameras[0, :3]], [of_cameras[0, 0], of_cameras[0, 0, :3]]):
        with pytest.raises(UserError, match=r"^here: "):
            camera_masks(bad, "here")


def test_members_that_are_no_arrays_stay_behind(npz: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(npz, "a") as archive:
        archive.writestr("extra", pickle.dumps(Hostile(tmp_path / "ran")))
    for path in split_npz_by_instances(npz, tmp_path / "out").values():
        assert all(name.endswith(".npy") for name in members(path))
