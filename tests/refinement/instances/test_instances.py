"""Many instances in one npz: taken apart, each tracked on its own, put together again."""

from __future__ import annotations

import os
import pickle
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rerun as rr
import yaml
from rerun.chunk import RrdReader

from pose_priors.configs.base import UserError
from pose_priors.configs.load import load_config
from pose_priors.refinement.instances import (
    create_query_npz,
    create_single_instance_npz,
    get_mask_instance_ids,
    query_points,
    split_npz_by_instances,
    verify_instance_npz,
)
from pose_priors.refinement.instances.__main__ import main
from pose_priors.refinement.instances.archive import camera_masks
from pose_priors.refinement.instances.combine import _write_script, combine
from pose_priors.refinement.instances.query import QueryConfig
from pose_priors.refinement.instances.trackers import TrackersConfig

V, T, H, W = 2, 6, 24, 32
K = np.array([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]])
SQUARES = {
    "instance_0": (slice(4, 16), slice(3, 15)),
    "instance_10": (slice(8, 20), slice(18, 30)),
    "instance_2": (slice(6, 9), slice(16, 29)),
}


class Hostile:
    """Leaves a trace if anybody unpickles it the ordinary way."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.trace,)


def pickled(value: object) -> np.ndarray:
    out = np.empty((), dtype=object)
    out[()] = value
    return out


def scene() -> dict[str, np.ndarray]:
    """Two cameras before three squares; depth is a slope, the second instance is seen from frame 2 on."""
    masks = {name: np.zeros((V, T, H, W), bool) for name in SQUARES}
    for name, (rows, columns) in SQUARES.items():
        masks[name][:, (2 if name == "instance_10" else 0) :, rows, columns] = True
    extrinsics = np.tile(np.eye(4)[:3], (V, 1, 1))
    extrinsics[1] = [[0, 0, 1, 0.5], [0, 1, 0, -0.2], [-1, 0, 0, 3.0]]
    depth = 2 + 0.01 * np.arange(W) + 0.1 * np.arange(T)[:, None, None] + np.zeros((V, T, H, W))
    return {
        "sam2_masks": pickled(masks),
        "sam2_contact_frames": pickled({"instance_0": {"cam_b": 3}, "instance_10": {"cam_a": 1, "cam_b": np.int64(5)}}),
        "rgbs": np.random.default_rng(0).integers(0, 255, (V, T, 3, H, W), np.uint8),
        "depths": depth[:, :, None].astype(np.float32),
        "intrs": np.tile(K, (V, 1, 1)),
        "extrs": extrinsics,
        "camera_ids": np.array(["cam_a", "cam_b"]),
    }


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "my scene.npz"
    np.savez_compressed(path, **scene())
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def opened(path: Path) -> dict[str, np.ndarray]:
    """As a tool of others reads it, which trusts its files."""
    with np.load(path, allow_pickle=True) as arrays:
        return dict(arrays)


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


# Stands for a tracker: says what it was told, looks at the points, and leaves the recording that was made for it.
TRACKER = """
import shutil, sys, zipfile
npz, rrd, instance, *told = sys.argv[1:]
print(instance, *told, len(zipfile.ZipFile(npz).read("query_points.npy")))
if instance == "instance_2" and "fails" in told:
    print("Traceback", file=sys.stderr)
    print("OutOfMemory: of " + instance, file=sys.stderr)
    sys.exit(3)
shutil.copy("recordings/" + instance + ".rrd", rrd)
"""


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tracker's code. Its recordings have applications of their own, and something outside any timeline."""
    folder = tmp_path_factory.mktemp("code of others")
    (folder / "track.py").write_text(TRACKER)
    (folder / "recordings").mkdir()
    for name in SQUARES:
        with rr.RecordingStream(f"tracker of {name}") as recording:
            recording.save(folder / "recordings" / f"{name}.rrd")
            recording.log("/", rr.ViewCoordinates.RDF, static=True)
            for frame in range(4):
                recording.set_time("frame", sequence=frame)
                recording.log("tracks/points", rr.Points3D(np.full((3, 3), frame)))
    return folder


@pytest.fixture
def config(tmp_path: Path, tracker: Path) -> Path:
    command = f"{shlex.quote(sys.executable)} track.py {{npz}} {{rrd}} {{instance}} {{temporal_stride}} {{spatial_downsample}}"
    trackers = {
        "good": {"command": command, "directory": str(tracker)},
        "sometimes": {"command": f"{command} fails", "directory": str(tracker)},
        "lazy": {"command": "true {npz} {rrd}"},
        "liar": {"command": "cp {npz} {rrd}"},
    }
    path = tmp_path / "trackers.yaml"
    path.write_text(yaml.safe_dump({"query_points": {"max_points_per_frame": 10}, "trackers": trackers}))
    return path


def command(npz: Path, config: Path, tracker: str, *more: str) -> list[str]:
    return ["--npz", str(npz), "--config", str(config), "--tracker", tracker, "--output-dir", str(npz.parent / "out"), *more]


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said at the end by a run in which something failed."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    return capsys.readouterr().err


def entities(path: Path) -> dict[str, list[int | None]]:
    """The frames at which each entity of the only recording in a file has something; None outside any timeline."""
    reader = RrdReader(path)
    (store,) = reader.recordings()
    found: dict[str, list[int | None]] = {}
    for chunk in reader.stream(store=store):
        if not chunk.entity_path.startswith("/__properties"):
            rows = [None] if chunk.is_static else chunk.to_record_batch().column("frame").to_pylist()
            found.setdefault(chunk.entity_path, []).extend(rows)
    return found


def merged(*names: str) -> dict[str, list[int | None]]:
    return {f"/{name}": [None] for name in names} | {f"/{name}/tracks/points": [0, 1, 2, 3] for name in names}


def test_each_instance_is_tracked_and_the_recordings_become_one(npz: Path, config: Path) -> None:
    found = main(command(npz, config, "good", "--use-first-frame", "--temporal-stride", "2", "--base-name", "scene"))
    out = npz.parent / "out"
    expected = {f"scene_good_{name}.rrd" for name in (*SQUARES, "combined")} | {"view_scene_good_combined.sh", "instances", "logs"}
    assert {path.name for path in out.iterdir()} == expected
    assert {path.name for path in (out / "instances").iterdir()} == {f"my scene_{n}{s}.npz" for n in SQUARES for s in ("", "_query")}
    assert opened(out / "instances" / "my scene_instance_0_query.npz")["query_points"].shape == (20, 4)
    assert (out / "logs" / "scene_good_instance_0.out").read_text().splitlines()[1].split() == ["instance_0", "2", "1", str(128 + 20 * 16)]
    assert found.combined == out / "scene_good_combined.rrd"
    assert entities(found.combined) == merged(*SQUARES)
    script = out / "view_scene_good_combined.sh"
    assert os.access(script, os.X_OK)
    viewer = npz.parent / "bin" / "rerun"
    viewer.parent.mkdir()
    viewer.write_text('#!/bin/sh\npwd\nls "$@"\n')
    viewer.chmod(0o755)
    path = f"{viewer.parent}{os.pathsep}{os.environ['PATH']}"
    shown = subprocess.run([script], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True, cwd="/").stdout
    assert shown.splitlines() == [str(out), "scene_good_combined.rrd"]


def test_one_that_fails_is_named_with_its_last_words_and_the_others_go_on(
    npz: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails(capsys, *command(npz, config, "sometimes"))
    assert "instance_2: exit code 3; its last words: Traceback | OutOfMemory: of instance_2" in said
    out = npz.parent / "out"
    assert entities(out / "tracking_sometimes_combined.rrd") == merged("instance_0", "instance_10")
    assert not (out / "tracking_sometimes_instance_2.rrd").exists()
    # from the instances that were split then, with another tracker into another folder
    instances = out / "instances"
    (instances / "my scene_instance_0_query.npz").unlink()
    before = {path: path.stat().st_mtime_ns for path in instances.iterdir()}
    other = npz.parent / "v2"
    main(command(npz, config, "good", "--skip-split", "--instances-dir", str(instances), "--output-dir", str(other)))
    assert {path: path.stat().st_mtime_ns for path in instances.iterdir()} == before
    assert entities(other / "tracking_good_combined.rrd") == merged(*SQUARES)
    assert {path.name for path in (other / "instances").iterdir()} == {f"my scene_{name}_query.npz" for name in SQUARES}


def test_what_a_tracker_leaves_is_looked_at(npz: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "instance_10: ended well but wrote no {rrd}" in fails(capsys, *command(npz, config, "lazy"))
    out = npz.parent / "out"
    assert not list(out.glob("*.rrd"))
    assert not list(out.glob("*.sh"))
    assert "tracking_liar_instance_0.rrd: no recording that rerun" in fails(capsys, *command(npz, config, "liar"))
    assert not (out / "tracking_liar_combined.rrd").exists()
    script = (out / "view_tracking_liar_combined.sh").read_text()
    assert all(f"tracking_liar_{name}.rrd" in script for name in SQUARES)


def test_an_instance_without_points_does_not_stop_the_others(npz: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = scene()
    content["sam2_masks"].item()["instance_10"][:] = False
    np.savez(npz, **content)
    assert "instance_10: " in fails(capsys, *command(npz, config, "good"))
    assert entities(npz.parent / "out" / "tracking_good_combined.rrd") == merged("instance_0", "instance_2")


def test_a_mistake_ends_with_one_line_and_code_2(npz: Path, config: Path) -> None:
    arguments = [sys.executable, "-m", "refinement.instances", *command(npz, config, "no_such")]
    done = subprocess.run(arguments, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: --tracker no_such: not among the trackers of the config; there are good, lazy, liar, sometimes"
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--frames-after", "-1"], "--frames-after: -1 is not a whole number"),
        (["--depth-estimator", "duster"], r"has no \{depth_estimator\}, so it would not be told"),
        (["--instances-dir", "x"], "give --skip-split too"),
        (["--skip-split"], "leave out --skip-split"),
        (["--mask-key", "none"], "no 'none'; it holds"),
        (["--base-name", "a/b"], "cannot begin the name of a file"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(npz: Path, config: Path, more: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(command(npz, config, "good", *more))
    assert not list((npz.parent / "out").rglob("*.npz"))


@pytest.mark.parametrize("name", ["combined", "instance_0_query"])
def test_instances_named_as_other_files_are_refused(npz: Path, config: Path, name: str) -> None:
    masks = scene()["sam2_masks"].item()
    np.savez(npz, **scene() | {"sam2_masks": pickled(masks | {name: masks["instance_0"]})})
    with pytest.raises(UserError, match=f"an instance named {name}, the name of a file that is made"):
        main(command(npz, config, "good"))
    assert not (npz.parent / "out").exists()


@pytest.mark.parametrize(
    ("command", "directory", "message"),
    [
        ("track {npz} {rrd} {gpu}", None, r"trackers\.t\.command: \{gpu\} stands for nothing; allowed: \{npz\}, \{rrd\}"),
        ("track {npz} {}", None, r"\{\} stands for nothing"),
        ("track {npz}", None, r"\{rrd\} is missing"),
        ("track '{npz} {rrd}", None, "cannot be split into words"),
        ("no_such_program {npz} {rrd}", None, r"trackers\.t\.command: there is no program no_such_program"),
        ("./run {npz} {rrd}", None, r"there is no program \./run in"),
        ("python3 no_such.py {npz} {rrd}", None, r"there is no no_such\.py in .*trackers\.t\.directory"),
        ("true {npz} {rrd}", "no/such/folder", "no/such/folder is no folder"),
    ],
)
def test_a_command_that_cannot_be_run_is_told_before(tmp_path: Path, command: str, directory: str | None, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"trackers": {"t": {"command": command, "directory": directory}}}))
    with pytest.raises(UserError, match=message):
        load_config(TrackersConfig, str(path)).tracker("t")


def test_the_trackers_that_come_with_the_project_take_every_option() -> None:
    config = load_config(TrackersConfig, "trackers")
    assert set(config.trackers) == {"mvtracker", "spatialtrackerv2", "cotracker3_offline"}
    for tracker in config.trackers.values():
        assert {"npz", "rrd", "temporal_stride", "spatial_downsample", "depth_estimator", "depth_cache_dir"} <= tracker.places
    values = dict.fromkeys(("tracker", "temporal_stride", "spatial_downsample", "depth_estimator", "depth_cache_dir"), "1")
    words = config.trackers["mvtracker"].words({**values, "npz": "my {rrd} $(scene).npz", "rrd": "b"})
    assert "my {rrd} $(scene).npz" in words


def test_a_name_that_looks_like_an_option_is_none_in_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pose_priors.refinement.show.record.merge_recordings", lambda *_: None)
    _, script = combine({"a": tmp_path / "--web.rrd", "b c": tmp_path / "$(touch x).rrd"}, tmp_path, "-v")
    assert "exec rerun ./-v.rrd " in script.read_text()
    _write_script(script, [tmp_path / "--web.rrd", tmp_path / "$(touch x).rrd", tmp_path / "a.rrd"])
    assert "exec rerun ./--web.rrd '$(touch x).rrd' a.rrd " in script.read_text()


def test_members_that_are_no_arrays_stay_behind(npz: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(npz, "a") as archive:
        archive.writestr("extra", pickle.dumps(Hostile(tmp_path / "ran")))
    for path in split_npz_by_instances(npz, tmp_path / "out").values():
        assert all(name.endswith(".npy") for name in members(path))
