from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pose_priors.configs.base import UserError
from pose_priors.datamodules.cache import conversion, store
from pose_priors.datamodules.cache.conversion import Conversion, row_hashes
from pose_priors.datamodules.cache.store import open_poses
from pose_priors.datamodules.files import find_files

Rows = Callable[..., np.ndarray]


def test_converts_once_and_is_found_again_by_content(tmp_path: Path, random_rows: Rows, cache_home: Path, monkeypatch) -> None:
    rows = random_rows(50, 63)
    np.save(tmp_path / "a.npy", rows)
    first = open_poses([tmp_path / "a.npy"], Conversion())
    assert isinstance(first.poses, np.memmap)
    np.testing.assert_array_equal(first.poses[:, 1:22].reshape(50, 63), rows.astype(np.float32))
    assert len(list(cache_home.iterdir())) == 1

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.npy").rename(tmp_path / "elsewhere" / "b.npy")
    monkeypatch.setattr(store, "_build", lambda *_: pytest.fail("converted again"))
    again = open_poses([tmp_path / "elsewhere" / "b.npy"], Conversion())
    np.testing.assert_array_equal(first.poses, again.poses)


def test_a_changed_file_is_noticed_even_with_size_and_time_kept(tmp_path: Path, random_rows: Rows) -> None:
    path = tmp_path / "a.npy"
    np.save(path, random_rows(50, 63))
    stat = path.stat()
    before = np.array(open_poses([path], Conversion()).poses)
    np.save(path, random_rows(50, 63, seed=1))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    assert not np.array_equal(open_poses([path], Conversion()).poses, before)


def test_options_have_entries_of_their_own(tmp_path: Path, random_rows: Rows) -> None:
    np.save(tmp_path / "a.npy", random_rows(5, 45))
    absolute, relative = (open_poses([tmp_path / "a.npy"], Conversion(convention)).poses for convention in ("absolute", "relative_to_mean"))
    assert np.abs(absolute - relative).max() > 0.8


def test_duplicates_go_and_segments_follow(tmp_path: Path, random_rows: Rows) -> None:
    a, b = random_rows(20, 63), random_rows(30, 63)
    b[3] = a[7]
    b[4] = b[9]
    a[11, 2], b[20] = 0.0, a[11]
    b[20, 2] = -0.0  # the same rotation
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    found = open_poses([tmp_path / "a.npy", tmp_path / "b.npy"], Conversion())
    kept = np.concatenate([a, np.delete(b, [3, 9, 20], axis=0)]).astype(np.float32)
    np.testing.assert_array_equal(found.poses[:, 1:22].reshape(-1, 63), kept)
    assert [(segment.start, segment.stop) for segment in found.segments] == [(0, 20), (20, 47)]
    assert found.counts["duplicates"] == 3
    np.testing.assert_array_equal(found.hashes, row_hashes(found.poses))


def test_hashes_tell_rows_apart() -> None:
    poses = np.zeros((3, 55, 3), dtype=np.float32)
    poses[1, 54, 2] = np.nextafter(np.float32(0), np.float32(1))
    poses[2, 0, 0] = -0.0
    hashes = row_hashes(poses)
    assert hashes[0] == hashes[2] != hashes[1]


def test_subsampling_and_trimming_apply_to_sequences_only(tmp_path: Path, random_rows: Rows) -> None:
    rows = random_rows(1000, 156)
    np.savez(tmp_path / "walk_poses.npz", poses=rows, mocap_framerate=100.0)
    np.save(tmp_path / "shuffled.npy", rows[:, 3:66] + 0.001)
    found = open_poses([tmp_path / "shuffled.npy", tmp_path / "walk_poses.npz"], Conversion(subsample_fps=40.0, trim=True))
    shuffled, walk = found.segments
    assert shuffled.stop - shuffled.start == 1000
    # the middle 800 frames, every 2.5th
    times = np.floor(100 + 2.5 * np.arange(320)).astype(int)
    np.testing.assert_array_equal(found.poses[walk.start : walk.stop, 0], rows[times, :3].astype(np.float32))
    assert (walk.is_sequence, walk.fps) == (True, 40.0)


def test_slower_sequences_keep_all_frames_and_unstated_rates_are_said(tmp_path: Path, random_rows: Rows, caplog) -> None:
    np.savez(tmp_path / "slow.npz", poses=random_rows(60, 156), fps=25.0)
    np.savez(tmp_path / "unknown.npz", poses=random_rows(70, 156), trans=np.zeros((70, 3)))
    found = open_poses([tmp_path / "slow.npz", tmp_path / "unknown.npz"], Conversion(subsample_fps=30.0))
    assert [segment.stop - segment.start for segment in found.segments] == [60, 70]
    assert "unknown.npz does not state its frame rate" in caplog.text


def test_unknown_layouts_among_others_are_skipped_aloud_and_alone_are_errors(tmp_path: Path, random_rows: Rows, caplog) -> None:
    np.save(tmp_path / "odd.npy", np.zeros((4, 7)))
    with pytest.raises(UserError, match=r"odd\.npy: unknown layout"):
        open_poses([tmp_path / "odd.npy"], Conversion())
    np.save(tmp_path / "good.npy", random_rows(5, 63))
    found = open_poses([tmp_path / "good.npy", tmp_path / "odd.npy"], Conversion())
    assert (len(found.poses), found.counts["files"], found.counts["skipped_files"]) == (5, 1, 1)
    assert "odd.npy" in caplog.text


def test_a_failed_conversion_leaves_nothing(tmp_path: Path, random_rows: Rows, cache_home: Path, monkeypatch) -> None:
    np.save(tmp_path / "a.npy", random_rows(5, 63))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_compact", full)
    with pytest.raises(UserError, match=r"No space left on device.*data\.cache_dir"):
        open_poses([tmp_path / "a.npy"], Conversion())
    assert not list(cache_home.iterdir())


def _open_when_told(path: Path, root: Path, barrier, queue) -> None:
    torch.set_num_threads(1)  # a fork does not inherit the threads of OpenMP
    barrier.wait()
    queue.put(open_poses([path], Conversion(), root).poses[:].sum().item())


def test_two_processes_may_build_at_once(tmp_path: Path, random_rows: Rows) -> None:
    rows = random_rows(3000, 63)
    np.save(tmp_path / "a.npy", rows)
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_open_when_told, args=(tmp_path / "a.npy", tmp_path / "c", barrier, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    sums = [queue.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join()
    assert sums[0] == sums[1] == pytest.approx(rows.sum(), abs=0.1)
    assert len(list((tmp_path / "c").iterdir())) == 1


def _convert_within(num_bytes: int, path: Path, root: Path, num_rows: int) -> None:
    torch.set_num_threads(1)  # a fork does not inherit the threads of OpenMP
    in_use = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    # counts private memory, and neither mapped files nor the page cache
    resource.setrlimit(resource.RLIMIT_DATA, (in_use * 1024 + num_bytes,) * 2)
    assert len(open_poses([path], Conversion(), root).poses) == num_rows


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_conversion_holds_chunks_and_not_the_data(tmp_path: Path, monkeypatch) -> None:
    num_rows = 120_000
    rows = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (num_rows, 45))
    rows[:] = np.random.default_rng(0).random((num_rows, 45), dtype=np.float32)
    rows.flush()
    monkeypatch.setattr(conversion, "_CHUNK_ROWS", 1000)
    size_of_the_data = num_rows * 55 * 3 * 4
    arguments = (size_of_the_data // 2, tmp_path / "a.npy", tmp_path / "c", num_rows)
    worker = multiprocessing.get_context("fork").Process(target=_convert_within, args=arguments)
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0


def test_folders_and_globs_leave_out_what_holds_no_poses(tmp_path: Path, random_rows: Rows) -> None:
    (tmp_path / "subject" / "deeper").mkdir(parents=True)
    for name in (
        "neutral_stagei.npz",
        "shape.npz",
        "female.npz",
        "SMPLX_NEUTRAL.npz",
        "subject/walk_poses.npz",
        "subject/deeper/run_stageii.npz",
    ):
        np.savez(tmp_path / name, poses=random_rows(3, 156))
    (tmp_path / "LICENSE").write_text("no")
    names = ["subject/deeper/run_stageii.npz", "subject/walk_poses.npz"]
    assert find_files(str(tmp_path)) == [tmp_path / name for name in names]
    assert find_files(f"{tmp_path}/**/*.npz") == [tmp_path / name for name in names]
    assert find_files(f"{tmp_path}/sub*") == [tmp_path / name for name in names]
    # a file that is named is meant
    assert find_files(str(tmp_path / "shape.npz")) == [tmp_path / "shape.npz"]


@pytest.mark.parametrize(("pattern", "kind"), [("empty", "a folder"), ("nowhere/*.npz", "a glob"), ("nowhere.npz", "does not exist")])
def test_no_files_says_what_was_looked_for(tmp_path: Path, pattern: str, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=rf"no pose files in .*{kind}.*\*\.npz, \*\.npy, \*\.pt, \*\.pkl"):
        find_files(str(tmp_path / pattern))
