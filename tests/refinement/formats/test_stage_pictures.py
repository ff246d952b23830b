"""Depth maps, masks and point clouds of every grid, name and type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.depth import DepthMaps
from pose_priors.refinement.formats.masks import Masks
from pose_priors.refinement.formats.point_cloud import read_points

RNG = np.random.default_rng(3)
K = np.array([[500.0, 0, 320], [0, 510.0, 180], [0, 0, 1]])


def test_depth_maps_of_any_grid_and_type(tmp_path: Path) -> None:
    maps = tmp_path / "depth_maps"
    maps.mkdir()
    np.save(maps / "depth_0000.npy", np.array([[1, 2, 0], [-1, np.nan, np.inf]], np.float16)[..., None])
    np.save(maps / "depth_000001.npy", np.ones((1, 4, 5), np.float32))
    (maps / "depth_000002.npy").write_bytes(b"not numpy")
    (tmp_path / "depth_uncertainty").mkdir()
    np.save(tmp_path / "depth_uncertainty" / "sigma_000001.npy", np.full((4, 5), 0.25))
    warnings: list[str] = []
    depth = DepthMaps(tmp_path, np.arange(4), warnings)
    assert "3 depth maps for 4 cameras" in warnings[0]
    values, weight = depth.read(0)
    np.testing.assert_array_equal(values, [[1, 2, np.nan], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(weight, 1)
    assert depth.read(1)[1][0, 0] == pytest.approx(0.75)
    assert depth.read(2) is None
    assert depth.read(3) is None
    depth.close()
    assert "depth_000002.npy" in warnings[1]


def test_large_depth_maps_are_thinned_about_their_cells_middles(tmp_path: Path) -> None:
    (tmp_path / "depth_maps").mkdir()
    columns = np.tile(np.arange(1.0, 1921.0, dtype=np.float32), (1080, 1))
    np.save(tmp_path / "depth_maps" / "depth_000000.npy", columns)
    values, _ = DepthMaps(tmp_path, np.arange(1), []).read(0)
    assert values.shape == (360, 640)
    np.testing.assert_array_equal(values[0], np.arange(640) * 3 + 2)


@pytest.mark.parametrize("name", ["frame_000003_person_012", "person_012_frame_0003"])
def test_masks_by_either_name_and_suffix(tmp_path: Path, name: str) -> None:
    (tmp_path / "masks").mkdir()
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    if name.startswith("frame"):
        np.save(tmp_path / "masks" / f"{name}.npy", mask)
    else:
        Image.fromarray((mask * 255).astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "masks" / "person_012_frame_0004.png").write_bytes(b"no picture")
    warnings: list[str] = []
    masks = Masks(tmp_path, warnings)
    np.testing.assert_array_equal(masks.read(12, 3), mask)
    assert masks.read(1, 3) is None
    assert masks.read(12, 4) is None
    masks.close()
    assert len(warnings) == 1
    assert "person_012_frame_0004" in warnings[0]


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian"])
def test_point_clouds(tmp_path: Path, kind: str) -> None:
    points = RNG.normal(size=(20, 3)).astype(np.float32)
    header = f"ply\nformat {kind} 1.0\ncomment x\nelement vertex 20\n"
    header += "property float x\nproperty float y\nproperty float z\nproperty uchar red\nend_header\n"
    path = tmp_path / "point_cloud.ply"
    if kind == "ascii":
        path.write_text(header + "\n".join(f"{x} {y} {z} 7" for x, y, z in points.tolist()) + "\n")
    else:
        table = np.zeros(20, [("xyz", "<f4", 3), ("red", "u1")])
        table["xyz"] = points
        path.write_bytes(header.encode() + table.tobytes())
    np.testing.assert_allclose(read_points(path), points, rtol=1e-6)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=r"point_cloud\.ply: (cut short|not a readable)"):
        read_points(path)
