"""The points of an instance that a tracker is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from instance_scenes import SQUARES, H, T, V, W, members, opened, pickled, scene

from pose_priors.configs.base import UserError
from pose_priors.refinement.instances import (
    create_query_npz,
    query_points,
    split_npz_by_instances,
)
from pose_priors.refinement.instances.query import QueryConfig


def projected(points: np.ndarray, camera: int) -> np.ndarray:
    """Pixels and depth of world points, the slow way."""
    matrix = scene()["extrs"][camera]
    out = []
    for point in points:
        x, y, z = matrix @ [*point, 1]
        out.append([30 * x / z + 15.5, 30 * y / z + 11.5, z])
    return np.array(out)


def test_query_points_lie_inside_the_mask_at_the_depth_that_is_seen(npz: Path, tmp_path: Path) -> None:
    path = split_npz_by_instances(npz, tmp_path)["instance_10"]
    found = query_points(path, frames_before=2, frames_after=1, config=QueryConfig(max_points_per_frame=40, border=1.5))
    assert found.points.dtype == np.float32
    # contact at frame 1 of cam_a: frames 0 to 2, of which only 2 has a mask; at frame 5 of cam_b: 3 to 5, the last one
    assert {(c, t) for c, t in zip(found.cameras, found.points[:, 0].astype(int), strict=True)} == {(0, 2), (1, 3), (1, 4), (1, 5)}
    rows, columns = SQUARES["instance_10"]
    for camera in range(V):
        mine = found.points[found.cameras == camera]
        seen = projected(mine[:, 1:], camera)
        x, y = np.rint(seen[:, :2]).astype(int).T
        np.testing.assert_allclose(seen[:, :2], np.stack([x, y], 1), atol=1e-3)
        # a pixel of the rim is at distance 1, so 1.5 leaves it out
        assert x.min() >= columns.start + 1
        assert x.max() <= columns.stop - 2
        assert y.min() >= rows.start + 1
        assert y.max() <= rows.stop - 2
        np.testing.assert_allclose(seen[:, 2], scene()["depths"][camera, mine[:, 0].astype(int), 0, y, x], rtol=1e-5)
    counts = [int(((found.cameras == c) & (found.points[:, 0] == t)).sum()) for c, t in ((0, 2), (1, 3), (1, 4), (1, 5))]
    assert counts == [40] * 4


def test_query_points_are_the_same_each_time_and_others_with_another_seed(npz: Path, tmp_path: Path) -> None:
    path = split_npz_by_instances(npz, tmp_path)["instance_0"]
    few = QueryConfig(max_points_per_frame=20)
    first = create_query_npz(path, tmp_path / "q.npz", config=few)
    np.testing.assert_array_equal(first.points, opened(tmp_path / "q.npz")["query_points"])
    np.testing.assert_array_equal(first.cameras, opened(tmp_path / "q.npz")["query_cameras"])
    assert members(path).items() <= members(tmp_path / "q.npz").items()
    np.testing.assert_array_equal(query_points(path, config=few).points, first.points)
    assert not np.array_equal(query_points(path, config=QueryConfig(max_points_per_frame=20, seed=1)).points, first.points)
    # the points of a frame do not depend on which other frames are taken
    alone = query_points(path, frames_before=0, frames_after=0, config=few)
    np.testing.assert_array_equal(alone.points, first.points[first.points[:, 0] == 3])
    # a query file is split data too: it can be drawn from again
    np.testing.assert_array_equal(query_points(tmp_path / "q.npz", config=few).points, first.points)


def test_the_first_frame_is_the_first_with_a_mask(npz: Path, tmp_path: Path) -> None:
    paths = split_npz_by_instances(npz, tmp_path)
    found = query_points(paths["instance_10"], use_first_frame=True)
    assert {(c, t) for c, t in zip(found.cameras, found.points[:, 0], strict=True)} == {(0, 2), (1, 2)}
    # three pixels high: the middle is taken though it is nearer to the rim than asked for; and nobody touches it
    thin = query_points(paths["instance_2"], config=QueryConfig(border=5.0))
    assert set(thin.points[:, 0]) == {0}
    assert {7} == set(np.rint(projected(thin.points[thin.cameras == 0, 1:], 0)[:, 1]))


def test_without_depth_points_are_pixels_and_depth_maps_may_be_coarser(npz: Path, tmp_path: Path) -> None:
    content = scene()
    # a pixel of the depth maps is two by two of the masks'
    halved = np.array([[15.0, 0, (15.5 + 0.5) / 2 - 0.5], [0, 15.0, (11.5 + 0.5) / 2 - 0.5], [0, 0, 1]])
    coarse = content | {"depths": content["depths"][..., ::2, ::2], "intrs": np.tile(halved, (V, 1, 1))}
    flat = {key: value for key, value in content.items() if key != "depths"}
    for name, arrays in (("coarse", coarse), ("flat", flat)):
        np.savez(tmp_path / f"{name}.npz", **arrays)
    every = QueryConfig(max_points_per_frame=None)
    pixels = query_points(split_npz_by_instances(tmp_path / "flat.npz", tmp_path)["instance_0"], use_first_frame=True, config=every)
    assert pixels.points.shape[1] == 3
    inner = {(float(x), float(y)) for x in range(5, 13) for y in range(6, 14)}
    assert {(x, y) for _, x, y in pixels.points[pixels.cameras == 0].tolist()} == inner
    points = query_points(split_npz_by_instances(tmp_path / "coarse.npz", tmp_path)["instance_0"], use_first_frame=True, config=every)
    seen = projected(points.points[points.cameras == 0, 1:], 0)
    np.testing.assert_allclose(seen[:, :2], pixels.points[pixels.cameras == 0, 1:], atol=1e-3)


def test_wrong_shapes_and_contacts_are_told(npz: Path, tmp_path: Path) -> None:
    wrong = {
        "depth has shape": {"depths": np.ones((V, T - 1, H, W))},
        "intrinsics have shape": {"intrs": np.tile(np.eye(4), (V, 1, 1))},
        "extrinsics have shape": {"extrs": np.full((V, 4, 4), np.nan)},
        "contact of instance_0 at camera cam_c": {"sam2_contact_frames": pickled({"instance_0": {"cam_c": 1}})},
        "frame 6;": {"sam2_contact_frames": pickled({"instance_0": 6})},
        "no mask with depth inside around": {"depths": np.zeros((V, T, H, W))},
    }
    for message, changes in wrong.items():
        np.savez(npz, **scene() | changes)
        path = split_npz_by_instances(npz, tmp_path / "out")["instance_0"]
        with pytest.raises(UserError, match=message):
            query_points(path)
    with pytest.raises(UserError, match="one instance alone is expected"):
        query_points(npz)
